// Forward and backward in time for one cell. The generated part before it defines
//   GATES, SPLIT, SLOTS = GATES + SPLIT, FIELDS, VECTORS, ON_X[GATES], ON_H[GATES] (gates in order of their slots)
//   update(slot, vector, before, after, keep)            one step of LANES units of one row
//   retrace(keep, vector, before, d_after, d_slot, d_vector, d_before)
// A slot is a slice of the pre-activations. Slots are ordered so that both sides are contiguous: x halves of
// split gates, whole gates, h halves of split gates; x's product goes to [0, GATES), h's to [SPLIT, SLOTS).
//
// The order of a sum is one everywhere: bias (or bias + row of W), then x, then h, k ascending, one chain of
// multiply-adds per unit. Tiles, threads, lanes and neighbours never change it.
//
// Units are padded to whole vectors (P of them for H); weights of the padding are zero, and its gradients are
// set to zero, so that nothing leaks out of it. Rows are split over threads, and each thread walks its rows
// through all steps without waiting for another.

enum { TILE = GATES >= 4 ? 1 : 4 / GATES };  // vectors of units worked on together

struct Problem {
  int64_t T, B, D, H, threads, reverse, keeps;
  const int64_t *ids;      // [T, B] or null
  const float *x;          // [T, B, D] or null
  const float *W, *U;      // [D, GATES·H], [H, GATES·H]
  const float *bias;       // [GATES·H]
  const float *h_bias;     // [SPLIT·H]
  const uint8_t *resets;   // [T + 1, B] in walking order: start anew before that step; or null
  const int64_t *lengths;  // [B] or null
  const float *vectors[VECTORS + 1];   // [H]
  const float *first[FIELDS];          // [B, H]
  const float *initial[FIELDS];        // [B, H] where there are resets
  float *y;                            // [T, B, H]
  float *last[FIELDS];                 // [B, H]
  float *before[FIELDS];               // [keeps ? T + 1 : 2, B, P]: the state that enters a step
  float *kept;                         // [T, B, SLOTS, P] where keeps; gradients of the slots afterwards
  float *packed;                       // room for weights, see room_for_weights
  float *scratch;                      // room for threads, see room_for_threads
  const float *d_y;                    // [T, B, H] or null
  const float *d_last[FIELDS];         // [B, H] or null
  float *d_first[FIELDS];              // [B, H]
  float *d_initial[FIELDS];            // [B, H] where there are resets, zeros
  float *d_vectors;                    // [threads, VECTORS, P], zeros
  float *d_W;                          // [D, GATES·H] where ids, zeros
  float *d_x;                          // [T, B, D] or null
  float *W_slots, *U_slots;            // [D, GATES·P], [H, GATES·P]: gradients in the order of slots; or null
  float *sums;                         // [SLOTS, P]: the slots' gradients summed over rows
};

INLINE long padded(long n) { return (n + LANES - 1) / LANES * LANES; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }

// c [R, NV vectors] += a [R, K] · b [K, NV vectors]; a's rows are lda apart, its columns step apart
template <int R, int NV>
INLINE void tile(const float *a, long lda, long step, const float *b, long ldb, long K, float *c, long ldc) {
  V sum[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[r][v] = load(c + r * ldc + v * LANES);
  for (long k = 0; k < K; k++) {
    const float *row = b + k * ldb;
    V w[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      w[v] = load(row + v * LANES);
      __builtin_prefetch(row + 12 * ldb + v * LANES);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      V factor = splat(a[r * lda + k * step]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] = fma(factor, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(c + r * ldc + v * LANES, sum[r][v]);
}

// How many rows of NV vectors fit into the registers beside the NV of b.
constexpr int most_rows(int NV) {
  int rows = (REGISTERS - (REGISTERS == 32 ? 2 : 1) - NV) / NV;
  return rows > 8 ? 8 : rows < 1 ? 1 : rows;
}

template <int R, int NV>
INLINE void tile_of(long rows, const float *a, long lda, long step, const float *b, long ldb, long K, float *c,
                    long ldc) {
  if (rows == R) tile<R, NV>(a, lda, step, b, ldb, K, c, ldc);
  else if constexpr (R > 1) tile_of<R - 1, NV>(rows, a, lda, step, b, ldb, K, c, ldc);
}

template <int NV>
__attribute__((noinline)) static void product(long rows, const float *a, long lda, const float *b, long ldb, long K,
                                              float *c, long ldc) {
  if constexpr (NV > 6) {
    product<4>(rows, a, lda, b, ldb, K, c, ldc);
    product<NV - 4>(rows, a, lda, b + 4 * LANES, ldb, K, c + 4 * LANES, ldc);
  } else {
    constexpr int most = most_rows(NV);
    long tiles = (rows + most - 1) / most, r = 0;
    for (long n = tiles; n > 0; n--) {
      long now = (rows - r + n - 1) / n;
      tile_of<most, NV>(now, a + r * lda, lda, 1, b, ldb, K, c + r * ldc, ldc);
      r += now;
    }
  }
}

// The same for a number of vectors that is known when running.
template <int NV, int STEP>
INLINE void product_of(long vectors, long rows, const float *a, long lda, const float *b, long ldb, long K, float *c,
                       long ldc) {
  if (vectors == NV) product<NV>(rows, a, lda, b, ldb, K, c, ldc);
  else if constexpr (NV > STEP) product_of<NV - STEP, STEP>(vectors, rows, a, lda, b, ldb, K, c, ldc);
}

// One tile of an outer product: a [OUTER] side by side for each k, b [vectors · LANES].
template <int NV>
INLINE void outer_tile(long vectors, long rows, const float *a, const float *b, long ldb, long K, float *c, long ldc) {
  if (vectors == NV) tile_of<most_rows(4), NV>(rows, a, 1, most_rows(4), b, ldb, K, c, ldc);
  else if constexpr (NV > 1) outer_tile<NV - 1>(vectors, rows, a, b, ldb, K, c, ldc);
}

// weights [K, GATES·H] in panels of TILE vectors of units: [K, GATES, units of the panel], in the order of slots
static void pack_forward(const float *weights, const int *order, long K, long H, float *out) {
  const long step = TILE * LANES, P = padded(H);
  for (long j = 0; j < P; j += step) {
    long width = smaller(step, P - j);
    for (long k = 0; k < K; k++)
      for (int g = 0; g < GATES; g++) {
        const float *from = weights + (k * GATES + order[g]) * H;
        for (long v = 0; v < width; v += LANES, out += LANES) {
          long left = H - j - v;
          store(out, left > 0 ? load_part(from + j + v, left) : V{});
        }
      }
  }
}

enum { BACK = 4 };  // vectors of a panel of the transposed weights

// weights [K, GATES·H] transposed, in panels of BACK vectors of rows: [GATES·P, rows of the panel]
static void pack_backward(const float *weights, const int *order, long K, long H, float *out) {
  const long P = padded(H), step = BACK * LANES;
  for (long j = 0; j < padded(K); j += step) {
    long width = smaller(step, padded(K) - j);
    memset(out, 0, (size_t)(GATES * P * width) * 4);
    for (long n = 0; n < width && j + n < K; n++)
      for (int g = 0; g < GATES; g++) {
        const float *from = weights + ((j + n) * GATES + order[g]) * H;
        float *to = out + g * P * width + n;
        for (long u = 0; u < H; u++) to[u * width] = from[u];
      }
    out += GATES * P * width;
  }
}

INLINE long step_of(const Problem &p, long walked) { return p.reverse ? p.T - 1 - walked : walked; }
// The place in p.before of the state that enters the walk's step, or of the last state.
INLINE long place_of(const Problem &p, long walked) {
  if (!p.keeps) return walked & 1;
  return walked < p.T ? step_of(p, walked) : p.T;
}
INLINE bool is_active(const Problem &p, long t, long b) { return !p.lengths || t < p.lengths[b]; }
INLINE bool is_reset(const Problem &p, long walked, long b) { return p.resets && p.resets[walked * p.B + b]; }

static void copy_rows(const float *from, long from_width, float *to, long to_width, long rows) {
  long both = smaller(from_width, to_width);
  for (long r = 0; r < rows; r++) {
    memcpy(to + r * to_width, from + r * from_width, (size_t)both * 4);
    if (to_width > both) memset(to + r * to_width + both, 0, (size_t)(to_width - both) * 4);
  }
}

struct Packed {
  float *bias, *vectors, *x, *h;  // [SLOTS, P], [VECTORS, P], panels of W, panels of U
};

INLINE Packed places(const Problem &p) {
  const long P = padded(p.H);
  Packed at;
  at.bias = p.packed;
  at.vectors = at.bias + SLOTS * P;
  at.h = at.vectors + VECTORS * P;
  at.x = at.h + P * GATES * P;  // U transposed has P rows, U has H
  return at;
}

static void pack_rows(const Problem &p, const Packed &at) {
  const long P = padded(p.H);
  memset(at.bias, 0, (size_t)(SLOTS * P) * 4);
  for (int g = 0; g < GATES; g++) memcpy(at.bias + g * P, p.bias + ON_X[g] * p.H, (size_t)p.H * 4);
  for (int n = 0; n < SPLIT; n++) memcpy(at.bias + (GATES + n) * P, p.h_bias + n * p.H, (size_t)p.H * 4);
  for (int n = 0; n < VECTORS; n++) copy_rows(p.vectors[n], p.H, at.vectors + n * P, P, 1);
}

// The sums' starts for a panel of `count` vectors of units from unit j on: bias, or bias + row of W.
INLINE void start(const Problem &p, const Packed &at, long place, long j, long count, float *out) {
  const long P = padded(p.H), id = p.ids ? p.ids[place] : -1;
  for (int s = 0; s < SLOTS; s++)
    for (long v = 0; v < count; v++) {
      long unit = j + v * LANES;
      V sum = load(at.bias + s * P + unit);
      if (s < GATES && id >= 0 && unit < p.H)
        sum = load_part(p.W + (id * GATES + ON_X[s]) * p.H + unit, p.H - unit) + sum;
      store(out + (s * count + v) * LANES, sum);
    }
}

// One step of a panel's units for one row, from the finished sums.
INLINE void finish(const Problem &p, const Packed &at, long t, long b, long place, long next, long j, long count,
                   const float *sums) {
  const long P = padded(p.H), H = p.H;
  const bool active = is_active(p, t, b);
  for (long v = 0; v < count; v++) {
    const long unit = j + v * LANES, row = t * p.B + b;
    V slot[SLOTS], vector[VECTORS + 1], before[FIELDS], after[FIELDS], keep[SLOTS];
    for (int f = 0; f < FIELDS; f++) after[f] = before[f] = load(p.before[f] + (place * p.B + b) * P + unit);
    for (int s = 0; s < SLOTS; s++) slot[s] = load(sums + (s * count + v) * LANES), keep[s] = V{};
    for (int n = 0; n < VECTORS; n++) vector[n] = load(at.vectors + n * P + unit);
    if (active) update(slot, vector, before, after, keep);
    for (int f = 0; f < FIELDS; f++) store(p.before[f] + (next * p.B + b) * P + unit, after[f]);
    store_part(p.y + row * H + unit, active ? after[0] : V{}, H - unit);
    if (p.keeps)
      for (int s = 0; s < SLOTS; s++) store(p.kept + (row * SLOTS + s) * P + unit, keep[s]);
  }
}

static void forward_rows(const Problem &p, const Packed &at, long from, long to, float *sums) {
  const long P = padded(p.H), rows = to - from, wide = SLOTS * TILE * LANES;
  for (int f = 0; f < FIELDS; f++)
    copy_rows(p.first[f] + from * p.H, p.H, p.before[f] + (place_of(p, 0) * p.B + from) * P, P, rows);
  for (long walked = 0; walked <= p.T; walked++) {
    const long t = step_of(p, walked), place = place_of(p, walked), next = place_of(p, walked + 1);
    for (long b = from; b < to; b++)
      if (is_reset(p, walked, b))
        for (int f = 0; f < FIELDS; f++)
          copy_rows(p.initial[f] + b * p.H, p.H, p.before[f] + (place * p.B + b) * P, P, 1);
    if (walked == p.T) break;
    const float *h = p.before[0] + (place * p.B + from) * P;
    for (long j = 0; j < P; j += TILE * LANES) {
      const long count = smaller(TILE, (P - j) / LANES), ld = GATES * count * LANES;
      for (long r = 0; r < rows; r++) start(p, at, t * p.B + from + r, j, count, sums + r * wide);
      if (p.x)
        product_of<GATES * TILE, GATES>(GATES * count, rows, p.x + (t * p.B + from) * p.D, p.D,
                                        at.x + j * GATES * p.D, ld, p.D, sums, wide);
      product_of<GATES * TILE, GATES>(GATES * count, rows, h, P, at.h + j * GATES * p.H, ld, p.H,
                                      sums + SPLIT * count * LANES, wide);
      for (long r = 0; r < rows; r++)
        finish(p, at, t, from + r, place, next, j, count, sums + r * wide);
    }
  }
  for (int f = 0; f < FIELDS; f++)
    copy_rows(p.before[f] + (place_of(p, p.T) * p.B + from) * P, P, p.last[f] + from * p.H, p.H, rows);
}

// Gradients of the slots of one row, in place of what was kept; d_state becomes the gradient of the state
// before, but for h's product.
INLINE void unfinish(const Problem &p, const Packed &at, long t, long b, float *d_state, long field, float *d_vectors) {
  const long P = padded(p.H), H = p.H, row = t * p.B + b;
  float *kept = p.kept + row * SLOTS * P;
  if (!is_active(p, t, b)) {
    memset(kept, 0, (size_t)(SLOTS * P) * 4);
    return;
  }
  for (long unit = 0; unit < P; unit += LANES) {
    V keep[SLOTS], vector[VECTORS + 1], before[FIELDS], d_after[FIELDS];
    V d_slot[SLOTS], d_vector[VECTORS + 1], d_before[FIELDS];
    for (int s = 0; s < SLOTS; s++) keep[s] = load(kept + s * P + unit);
    for (int n = 0; n < VECTORS; n++) vector[n] = load(at.vectors + n * P + unit);
    for (int f = 0; f < FIELDS; f++) {
      before[f] = load(p.before[f] + row * P + unit);
      d_after[f] = load(d_state + f * field + unit);
    }
    if (p.d_y && unit < H) d_after[0] = d_after[0] + load_part(p.d_y + row * H + unit, H - unit);
    retrace(keep, vector, before, d_after, d_slot, d_vector, d_before);
    for (int s = 0; s < SLOTS; s++) {
      store(kept + s * P + unit, d_slot[s]);
      for (long u = H - unit; u < LANES; u++) kept[s * P + unit + u] = 0.0f;
    }
    for (int f = 0; f < FIELDS; f++) store(d_state + f * field + unit, d_before[f]);
    for (int n = 0; n < VECTORS; n++)
      store(d_vectors + n * P + unit, load(d_vectors + n * P + unit) + d_vector[n]);
  }
}

// Lanes that start anew hand their gradient to the initial state.
static void unreset(const Problem &p, long walked, long b, float *d_state, long field) {
  if (!is_reset(p, walked, b)) return;
  for (int f = 0; f < FIELDS; f++) {
    float *d = d_state + f * field, *d_initial = p.d_initial[f] + b * p.H;
    for (long u = 0; u < p.H; u++) d_initial[u] += d[u];
    memset(d, 0, (size_t)padded(p.H) * 4);
  }
}

static void backward_rows(const Problem &p, const Packed &at, long from, long to, float *d_states, float *d_vectors) {
  const long P = padded(p.H), rows = to - from, field = rows * P;
  for (int f = 0; f < FIELDS; f++) {
    if (p.d_last[f]) copy_rows(p.d_last[f] + from * p.H, p.H, d_states + f * field, P, rows);
    else memset(d_states + f * field, 0, (size_t)field * 4);
  }
  for (long walked = p.T - 1; walked >= 0; walked--) {
    const long t = step_of(p, walked);
    for (long r = 0; r < rows; r++) {
      unreset(p, walked + 1, from + r, d_states + r * P, field);
      unfinish(p, at, t, from + r, d_states + r * P, field, d_vectors);
    }
    const float *d_h_slots = p.kept + ((t * p.B + from) * SLOTS + SPLIT) * P;
    const long K = GATES * P, block = 512;
    for (long k = 0; k < K; k += block)
      for (long j = 0; j < P; j += BACK * LANES) {
        const long width = smaller(BACK * LANES, P - j);
        product_of<BACK, 1>(width / LANES, rows, d_h_slots + k, SLOTS * P, at.h + j * K + k * width, width,
                            smaller(block, K - k), d_states + j, P);
      }
  }
  for (long r = 0; r < rows; r++) unreset(p, 0, from + r, d_states + r * P, field);
  for (int f = 0; f < FIELDS; f++)
    copy_rows(d_states + f * field, P, p.d_first[f] + from * p.H, p.H, rows);
}

static void scatter_rows(const Problem &p) {
  const long P = padded(p.H);
  for (long place = 0; place < p.T * p.B; place++) {
    const long id = p.ids[place];
    if (id < 0) continue;
    for (int g = 0; g < GATES; g++) {
      float *to = p.d_W + (id * GATES + ON_X[g]) * p.H;
      const float *from = p.kept + (place * SLOTS + g) * P;
      for (long unit = 0; unit < p.H; unit += LANES) {
        long n = p.H - unit;
        store_part(to + unit, load_part(to + unit, n) + load_part(from + unit, n), n);
      }
    }
  }
}

enum { DEPTH = 256, CHUNK = 96, OUTER = most_rows(BACK) };

INLINE long room_to_weigh(const Problem &p) {
  const long widest = p.H > p.D ? p.H : p.D;
  return (widest + OUTER) * DEPTH + DEPTH * BACK * LANES + CHUNK * BACK * LANES;
}

// c [M, from:to] = Σ over rows of a [row, M]ᵀ b [row, from:to], rows ascending in one chain; whole vectors.
static void outer_product(long rows, const float *a, long lda, long M, const float *b, long ldb, long from, long to,
                          float *c, long ldc, float *scratch) {
  float *panels = scratch, *panel_b = scratch + (M + OUTER) / OUTER * OUTER * DEPTH;
  for (long m = 0; m < M; m++) memset(c + m * ldc + from, 0, (size_t)(to - from) * 4);
  for (long first = 0; first < rows; first += DEPTH) {
    const long depth = smaller(DEPTH, rows - first);
    for (long k = 0; k < depth; k++)
      for (long m = 0; m < M; m += OUTER)
        memcpy(panels + m * DEPTH + k * OUTER, a + (first + k) * lda + m, (size_t)smaller(OUTER, M - m) * 4);
    for (long j = from; j < to; j += BACK * LANES) {
      const long width = smaller(BACK * LANES, to - j);
      for (long k = 0; k < depth; k++)
        memcpy(panel_b + k * width, b + (first + k) * ldb + j, (size_t)width * 4);
      for (long m = 0; m < M; m += OUTER)
        outer_tile<BACK>(width / LANES, smaller(OUTER, M - m), panels + m * DEPTH, panel_b, width, depth,
                         c + m * ldc + j, ldc);
    }
  }
}

// One thread's share of what is left when all steps are done: gradients of x, W, U and the biases.
static void weigh(const Problem &p, const Packed &at, long k, long n, float *scratch) {
  const long P = padded(p.H), rows = p.T * p.B, ld = SLOTS * P, vectors = GATES * P / LANES;
  const long from = vectors * k / n * LANES, to = vectors * (k + 1) / n * LANES;
  if (p.W_slots) outer_product(rows, p.x, p.D, p.D, p.kept, ld, from, to, p.W_slots, GATES * P, scratch);
  if (p.U_slots)
    outer_product(rows, p.before[0], P, p.H, p.kept + SPLIT * P, ld, from, to, p.U_slots, GATES * P, scratch);
  const long first = ld / LANES * k / n * LANES, last = ld / LANES * (k + 1) / n * LANES;
  memset(p.sums + first, 0, (size_t)(last - first) * 4);
  for (long row = 0; row < rows; row++)
    for (long u = first; u < last; u += LANES) store(p.sums + u, load(p.sums + u) + load(p.kept + row * ld + u));
  if (!p.d_x) return;
  const long K = GATES * P, step = BACK * LANES, block = 512;
  for (long r = rows * k / n, stop = rows * (k + 1) / n; r < stop; r += CHUNK)
    for (long j = 0; j < p.D; j += step) {
      const long now = smaller(CHUNK, stop - r), width = smaller(step, padded(p.D) - j);
      memset(scratch, 0, (size_t)(now * width) * 4);
      for (long q = 0; q < K; q += block)
        product_of<BACK, 1>(width / LANES, now, p.kept + r * ld + q, ld, at.x + j * K + q * width, width,
                            smaller(block, K - q), scratch, width);
      for (long i = 0; i < now; i++)
        memcpy(p.d_x + (r + i) * p.D + j, scratch + i * width, (size_t)smaller(width, p.D - j) * 4);
    }
}

extern "C" {

int64_t lanes() { return LANES; }
int64_t size_of_problem() { return sizeof(Problem); }
int64_t room_for_weights(const Problem *p) {
  const long P = padded(p->H);
  return (SLOTS + VECTORS) * P + (P + (p->x ? padded(p->D) : 0)) * GATES * P;
}
// Each row has a panel of sums when walking forward, and a state's gradient when walking back; after that
// each thread has room for panels.
int64_t room_for_threads(const Problem *p) {
  const long forward = SLOTS * TILE * LANES, backward = FIELDS * padded(p->H);
  const long walking = p->B * (forward > backward ? forward : backward), after = p->threads * room_to_weigh(*p);
  return walking > after ? walking : after;
}

void forward(const Problem *problem) {
  const Problem &p = *problem;
  const Packed at = places(p);
  pack_rows(p, at);
  pack_forward(p.U, ON_H, p.H, p.H, at.h);
  if (p.x) pack_forward(p.W, ON_X, p.D, p.H, at.x);
  const long n = p.threads;
  const long wide = SLOTS * TILE * LANES;
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    forward_rows(p, at, p.B * k / n, p.B * (k + 1) / n, p.scratch + p.B * k / n * wide);
}

void backward(const Problem *problem) {
  const Problem &p = *problem;
  const Packed at = places(p);
  const long P = padded(p.H), n = p.threads;
  pack_rows(p, at);
  pack_backward(p.U, ON_H, p.H, p.H, at.h);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    backward_rows(p, at, p.B * k / n, p.B * (k + 1) / n, p.scratch + p.B * k / n * FIELDS * P,
                  p.d_vectors + k * VECTORS * P);
  if (p.ids) scatter_rows(p);
  if (p.d_x) pack_backward(p.W, ON_X, p.D, p.H, at.x);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++) weigh(p, at, k, n, p.scratch + k * room_to_weigh(p));
}

// One step of n units, a multiple of LANES, from given sums; for tests of the generated functions.
void update_units(int64_t n, const float *sums, const float *vectors, const float *states, float *after, float *keeps) {
  for (long unit = 0; unit < n; unit += LANES) {
    V slot[SLOTS], vector[VECTORS + 1], before[FIELDS], result[FIELDS], keep[SLOTS];
    for (int s = 0; s < SLOTS; s++) slot[s] = load(sums + s * n + unit);
    for (int v = 0; v < VECTORS; v++) vector[v] = load(vectors + v * n + unit);
    for (int f = 0; f < FIELDS; f++) before[f] = load(states + f * n + unit);
    update(slot, vector, before, result, keep);
    for (int f = 0; f < FIELDS; f++) store(after + f * n + unit, result[f]);
    for (int s = 0; s < SLOTS; s++) store(keeps + s * n + unit, keep[s]);
  }
}

}  // extern "C"
