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
  int64_t T, B, D, H, ids_count, threads, reverse, keeps;
  const int64_t *ids;      // [T, B], −1 to ids_count − 1, or null
  const float *x;          // [T, B, D] or null
  const float *rows;       // [ids_count, D], what the ids stand for; null: rows of the identity, or no ids
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
  float *kept;                         // [T, B, kept_row] where keeps: SLOTS of P numbers; their gradients afterwards
  float *packed;                       // room for weights, see room_for_weights
  float *scratch;                      // room for threads, see room_for_threads
  const float *d_y;                    // [T, B, H] or null
  const float *d_last[FIELDS];         // [B, H] or null
  float *d_first[FIELDS];              // [B, H]
  float *d_initial[FIELDS];            // [B, H] where there are resets, zeros
  float *d_vectors;                    // [threads, VECTORS, P]
  float *d_sums;                       // [threads, SLOTS, P]: the slots' gradients summed over rows
  float *d_table;                      // [ids_count, GATES·P] where ids, in the order of slots
  float *d_x, *d_rows;                 // [T, B, D], [ids_count, D]; or null
  float *W_slots, *U_slots;            // [D, GATES·P], [H, GATES·P], in the order of slots; or null
};

// weights [K, GATES·H] in panels of TILE vectors of units: [K, GATES, units of the panel] in words, in the order
// of slots. The panel of unit j begins at j · GATES · words(K).
static void pack_forward(const float *weights, const int *order, long K, long H, float *out) {
  const long step = TILE * LANES, P = padded(H);
  for (long j = 0; j < P; j += step) {
    const long width = smaller(step, P - j);
    for (long k = 0; k < K; k += PAIR)
      for (int g = 0; g < GATES; g++) {
        const float *from = weights + (k * GATES + order[g]) * H + j;
        for (long v = 0; v < width; v += LANES, out += LANES) {
          const long left = H - j - v;
          V low = left > 0 ? load_part(from + v, left) : V{}, high = V{};
          if (PAIR == 2 && left > 0 && k + 1 < K) high = load_part(from + GATES * H + v, left);
          store(out, join(low, high));
        }
      }
  }
}

// weights [K, GATES·H] transposed, in panels of rows: [GATES·P, rows of the panel] in words, in the order of slots
static void pack_backward(const float *weights, const int *order, long K, long H, float *out) {
  const long P = padded(H), all = GATES * P / PAIR;
  memset(out, 0, (size_t)(padded(K) * all) * 4);
  for (int g = 0; g < GATES; g++)
    pack_panels(weights + order[g] * H, 1, GATES * H, H, K, out, all, g * P / PAIR);
}

INLINE long step_of(const Problem &p, long walked) { return p.reverse ? p.T - 1 - walked : walked; }
// The place in p.before of the state that enters the walk's step, or of the last state.
INLINE long place_of(const Problem &p, long walked) {
  if (!p.keeps) return walked & 1;
  return walked < p.T ? step_of(p, walked) : p.T;
}
// A row's slots and a gap, without which the same part of many rows would fall on few sets of the cache.
INLINE long kept_row(const Problem &p) { return SLOTS * padded(p.H) + LANES; }
INLINE bool is_active(const Problem &p, long t, long b) { return !p.lengths || t < p.lengths[b]; }
INLINE bool is_reset(const Problem &p, long walked, long b) { return p.resets && p.resets[walked * p.B + b]; }

static void copy_rows(const float *from, long from_width, float *to, long to_width, long rows) {
  long both = smaller(from_width, to_width);
  for (long r = 0; r < rows; r++) {
    memcpy(to + r * to_width, from + r * from_width, (size_t)both * 4);
    if (to_width > both) memset(to + r * to_width + both, 0, (size_t)(to_width - both) * 4);
  }
}

// The part of a problem that has weights of x: its items, or what few ids stand for.
INLINE bool has_table(const Problem &p) { return p.ids && (p.rows || p.ids_count <= p.T * p.B); }
INLINE long num_items(const Problem &p) { return p.x ? p.T * p.B : p.rows ? p.ids_count : 0; }

struct Packed {
  float *bias, *vectors, *h, *x, *table;  // [SLOTS, P], [VECTORS, P], panels of U, panels of W, [ids + 1, GATES·P]
};

INLINE Packed places(const Problem &p) {
  const long P = padded(p.H);
  Packed at;
  at.bias = p.packed;
  at.vectors = at.bias + SLOTS * P;
  at.h = at.vectors + VECTORS * P;
  at.x = at.h + P * GATES * P;  // U transposed has P rows, U has H
  at.table = at.x + (num_items(p) ? padded(p.D) * GATES * P : 0);
  return at;
}

static void pack_rows(const Problem &p, const Packed &at) {
  const long P = padded(p.H);
  memset(at.bias, 0, (size_t)(SLOTS * P) * 4);
  for (int g = 0; g < GATES; g++) memcpy(at.bias + g * P, p.bias + ON_X[g] * p.H, (size_t)p.H * 4);
  for (int n = 0; n < SPLIT; n++) memcpy(at.bias + (GATES + n) * P, p.h_bias + n * p.H, (size_t)p.H * 4);
  for (int n = 0; n < VECTORS; n++) copy_rows(p.vectors[n], p.H, at.vectors + n * P, P, 1);
}

// The sums' starts for `count` vectors of units from unit j on: bias, or bias + row of W.
INLINE void start(const Problem &p, const Packed &at, long id, long j, long count, int slots, float *out) {
  const long P = padded(p.H);
  for (int s = 0; s < slots; s++)
    for (long v = 0; v < count; v++) {
      const long unit = j + v * LANES;
      V sum = load(at.bias + s * P + unit);
      if (s < GATES && id >= 0 && unit < p.H)
        sum = load_part(p.W + (id * GATES + ON_X[s]) * p.H + unit, p.H - unit) + sum;
      store(out + (s * count + v) * LANES, sum);
    }
}

// What each id begins the sums with, in the order of forward_rows' panels; the row after the last is for no id.
static void make_table(const Problem &p, const Packed &at, float *room) {
  const long P = padded(p.H), wide = GATES * P, ids = p.ids_count;
  Rows items = {p.rows, p.D};
  if (p.rows) items = as_words(items, p.D, ids, room);
  for (long j = 0; j < P; j += TILE * LANES) {
    const long count = smaller(TILE, (P - j) / LANES), ld = GATES * count * LANES;
    for (long id = 0; id <= ids; id++)
      start(p, at, p.rows || id == ids ? -1 : id, j, count, GATES, at.table + id * wide + j * GATES);
    if (p.rows)
      product_of<GATES * TILE, GATES>(GATES * count, ids, items, at.x + j * GATES * words(p.D), ld, words(p.D),
                                      at.table + j * GATES, wide);
  }
}

// The same starts, from the table where there is one.
INLINE void begin(const Problem &p, const Packed &at, bool table, long place, long j, long count, float *out) {
  long id = p.ids ? p.ids[place] : -1;
  if (!table) {
    start(p, at, id, j, count, SLOTS, out);
    return;
  }
  const long P = padded(p.H), width = GATES * count * LANES;
  memcpy(out, at.table + (id < 0 ? p.ids_count : id) * GATES * P + j * GATES, (size_t)width * 4);
  for (int n = 0; n < SPLIT; n++)
    memcpy(out + width + n * count * LANES, at.bias + (GATES + n) * P + j, (size_t)(count * LANES) * 4);
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
      for (int s = 0; s < SLOTS; s++) store(p.kept + row * kept_row(p) + s * P + unit, keep[s]);
  }
}

INLINE long row_of_forward(const Problem &p) {
  return SLOTS * TILE * LANES + room_for_words(p.D) + room_for_words(p.H);
}

static void forward_rows(const Problem &p, const Packed &at, long from, long to, float *scratch) {
  const long P = padded(p.H), rows = to - from, wide = SLOTS * TILE * LANES;
  const bool table = has_table(p);
  float *sums = scratch, *x_words = sums + rows * wide, *h_words = x_words + rows * room_for_words(p.D);
  for (int f = 0; f < FIELDS; f++)
    copy_rows(p.first[f] + from * p.H, p.H, p.before[f] + (place_of(p, 0) * p.B + from) * P, P, rows);
  for (long walked = 0; walked <= p.T; walked++) {
    const long t = step_of(p, walked), place = place_of(p, walked), next = place_of(p, walked + 1);
    for (long b = from; b < to; b++)
      if (is_reset(p, walked, b))
        for (int f = 0; f < FIELDS; f++)
          copy_rows(p.initial[f] + b * p.H, p.H, p.before[f] + (place * p.B + b) * P, P, 1);
    if (walked == p.T) break;
    Rows h = as_words({p.before[0] + (place * p.B + from) * P, P}, p.H, rows, h_words), x = {};
    if (p.x) x = as_words({p.x + (t * p.B + from) * p.D, p.D}, p.D, rows, x_words);
    for (long j = 0; j < P; j += TILE * LANES) {
      const long count = smaller(TILE, (P - j) / LANES), ld = GATES * count * LANES;
      for (long r = 0; r < rows; r++) begin(p, at, table, t * p.B + from + r, j, count, sums + r * wide);
      if (p.x)
        product_of<GATES * TILE, GATES>(GATES * count, rows, x, at.x + j * GATES * words(p.D), ld, words(p.D), sums,
                                        wide);
      product_of<GATES * TILE, GATES>(GATES * count, rows, h, at.h + j * GATES * words(p.H), ld, words(p.H),
                                      sums + SPLIT * count * LANES, wide);
      for (long r = 0; r < rows; r++) finish(p, at, t, from + r, place, next, j, count, sums + r * wide);
    }
  }
  for (int f = 0; f < FIELDS; f++)
    copy_rows(p.before[f] + (place_of(p, p.T) * p.B + from) * P, P, p.last[f] + from * p.H, p.H, rows);
}

// Gradients of the slots of one row, in place of what was kept; d_state becomes the gradient of the state
// before, but for h's product.
INLINE void unfinish(const Problem &p, const Packed &at, long t, long b, float *d_state, long field, float *d_vectors,
                     float *d_sums) {
  const long P = padded(p.H), H = p.H, row = t * p.B + b;
  float *kept = p.kept + row * kept_row(p);
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
      add(d_sums + s * P + unit, d_slot[s]);
    }
    for (int f = 0; f < FIELDS; f++) store(d_state + f * field + unit, d_before[f]);
    for (int n = 0; n < VECTORS; n++) add(d_vectors + n * P + unit, d_vector[n]);
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

INLINE long row_of_backward(const Problem &p) {
  const long P = padded(p.H);
  return FIELDS * P + room_for_words(GATES * P);
}

static void backward_rows(const Problem &p, const Packed &at, long from, long to, float *d_states, float *d_vectors,
                          float *d_sums) {
  const long P = padded(p.H), rows = to - from, field = rows * P;
  memset(d_vectors, 0, (size_t)(VECTORS * P) * 4);
  memset(d_sums, 0, (size_t)(SLOTS * P) * 4);
  for (int f = 0; f < FIELDS; f++) {
    if (p.d_last[f]) copy_rows(p.d_last[f] + from * p.H, p.H, d_states + f * field, P, rows);
    else memset(d_states + f * field, 0, (size_t)field * 4);
  }
  for (long walked = p.T - 1; walked >= 0; walked--) {
    const long t = step_of(p, walked);
    for (long r = 0; r < rows; r++) {
      unreset(p, walked + 1, from + r, d_states + r * P, field);
      unfinish(p, at, t, from + r, d_states + r * P, field, d_vectors, d_sums);
    }
    Rows d_h_slots = {p.kept + (t * p.B + from) * kept_row(p) + SPLIT * P, kept_row(p)};
    d_h_slots = as_words(d_h_slots, GATES * P, rows, d_states + FIELDS * field);
    times_panels(rows, d_h_slots, at.h, GATES * P / PAIR, p.H, d_states, P);
  }
  for (long r = 0; r < rows; r++) unreset(p, 0, from + r, d_states + r * P, field);
  for (int f = 0; f < FIELDS; f++)
    copy_rows(d_states + f * field, P, p.d_first[f] + from * p.H, p.H, rows);
}

enum { CHUNK = 96 };

INLINE long room_to_weigh(const Problem &p) {
  const long chunk = CHUNK * (padded(p.D) + room_for_words(GATES * padded(p.H)));
  const long outer = room_for_outer(p.H > p.D ? p.H : p.D);
  return outer > chunk ? outer : chunk;
}

// The columns from:to of the table's gradient: each id's steps summed.
static void gather(const Problem &p, long from, long to) {
  const long wide = GATES * padded(p.H), ld = kept_row(p);
  for (long id = 0; id < p.ids_count; id++) memset(p.d_table + id * wide + from, 0, (size_t)(to - from) * 4);
  for (long place = 0; place < p.T * p.B; place++)
    if (p.ids[place] >= 0)
      for (long u = from; u < to; u += LANES)
        add(p.d_table + p.ids[place] * wide + u, load(p.kept + place * ld + u));
}

// The gradients of the slots on x's side: a row for each item.
INLINE Rows d_items(const Problem &p) {
  return p.x ? Rows{p.kept, kept_row(p)} : Rows{p.d_table, GATES * padded(p.H)};
}

// One thread's share of the weights' gradients, when all steps are done: some columns of each.
static void weigh(const Problem &p, long k, long n, float *scratch) {
  const long P = padded(p.H), wide = GATES * P, vectors = wide / LANES;
  const long from = vectors * k / n * LANES, to = vectors * (k + 1) / n * LANES;
  if (p.d_table) gather(p, from, to);
  if (p.W_slots)
    outer_product(num_items(p), {p.x ? p.x : p.rows, p.D}, p.D, d_items(p), wide, from, to, p.W_slots, wide, scratch);
  if (p.U_slots)
    outer_product(p.T * p.B, {p.before[0], P}, p.H, {p.kept + SPLIT * P, kept_row(p)}, wide, from, to, p.U_slots, wide, scratch);
}

// One thread's share of the items' gradients.
static void hand_back(const Problem &p, const Packed &at, long k, long n, float *scratch) {
  const long P = padded(p.D), count = num_items(p);
  float *d = p.x ? p.d_x : p.d_rows, *sums = scratch, *room = sums + CHUNK * P;
  const Rows d_slots = d_items(p);
  for (long r = count * k / n, stop = count * (k + 1) / n; r < stop; r += CHUNK) {
    const long now = smaller(CHUNK, stop - r);
    Rows part = as_words({d_slots.at + r * d_slots.apart, d_slots.apart}, GATES * padded(p.H), now, room);
    memset(sums, 0, (size_t)(now * P) * 4);
    times_panels(now, part, at.x, GATES * padded(p.H) / PAIR, p.D, sums, P);
    copy_rows(sums, P, d + r * p.D, p.D, now);
  }
}

extern "C" {

int64_t lanes() { return LANES; }
int64_t size_of_problem() { return sizeof(Problem); }
int64_t room_for_weights(const Problem *p) {
  const long P = padded(p->H), x = num_items(*p) ? padded(p->D) : 0, table = has_table(*p) ? p->ids_count + 1 : 0;
  return (SLOTS + VECTORS) * P + (P + x + table) * GATES * P;
}
// Each row has a panel of sums when walking forward, and a state's gradient when walking back; before and after
// that there is room for a table's rows and for panels.
int64_t room_for_threads(const Problem *p) {
  const long forward = row_of_forward(*p), backward = row_of_backward(*p), row = forward > backward ? forward : backward;
  const long walking = p->B * row, after = p->threads * room_to_weigh(*p), before = p->ids_count * room_for_words(p->D);
  const long most = walking > after ? walking : after;
  return most > before ? most : before;
}

void forward(const Problem *problem) {
  const Problem &p = *problem;
  const Packed at = places(p);
  pack_rows(p, at);
  pack_forward(p.U, ON_H, p.H, p.H, at.h);
  if (num_items(p)) pack_forward(p.W, ON_X, p.D, p.H, at.x);
  if (has_table(p)) make_table(p, at, p.scratch);
  const long n = p.threads, row = row_of_forward(p);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    forward_rows(p, at, p.B * k / n, p.B * (k + 1) / n, p.scratch + p.B * k / n * row);
}

void backward(const Problem *problem) {
  const Problem &p = *problem;
  const Packed at = places(p);
  const long P = padded(p.H), n = p.threads, row = row_of_backward(p);
  const bool hands_back = p.d_x || p.d_rows;
  pack_rows(p, at);
  pack_backward(p.U, ON_H, p.H, p.H, at.h);
  if (hands_back) pack_backward(p.W, ON_X, p.D, p.H, at.x);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    backward_rows(p, at, p.B * k / n, p.B * (k + 1) / n, p.scratch + p.B * k / n * row, p.d_vectors + k * VECTORS * P,
                  p.d_sums + k * SLOTS * P);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++) weigh(p, k, n, p.scratch + k * room_to_weigh(p));
  if (!hands_back) return;
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++) hand_back(p, at, k, n, p.scratch + k * room_to_weigh(p));
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
