// Streams of ids that a net draws itself: recurrent layers one on the other, an output layer and the draw, for
// many steps in one call. The generated part before it defines
//   WEIGHTS: FLOAT32, BFLOAT16 or INT8, see below
//   Cell0, Cell1 …: GATES, SPLIT, SLOTS, FIELDS, VECTORS, ON_X, ON_H, update(slot, vector, before, after)
//   CELLS(use): use(0, Cell0) use(1, Cell1) …
//
// The order of a sum is kernels.h's: bias, then x, then h, k ascending, one chain of multiply-adds per unit; the
// two halves of a split gate apart. So a row has the same bits alone, in a batch, and in the training engine. In
// INT8 the two products are whole numbers and exact, and join the chain with one multiply-add each.
//
// Few rows are walked by all threads together, each with units of its own and a barrier after each layer. Of many
// rows each thread walks its own, through all steps, without waiting for another.

#include <algorithm>
#include <sched.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#define FLOAT32 0
#define BFLOAT16 1
#define INT8 2

// Each library has cells of its own under these names.
namespace {

struct Layer {
  int64_t kind, D, H;
  int64_t rows;           // of table
  const float *table;     // [rows, SLOTS·P]: what the sums start from, panel by panel; row id + 1, or the only one
  const float *x, *h;     // panels of weights; x is null where the table has x's part
  const int32_t *x_zero, *h_zero;  // INT8: −128 Σ w of each unit, in the order of panels
  const float *x_scale, *h_scale;  // INT8: what one step of w is worth
  const float *vectors;   // [VECTORS, P]
  const float *initial;   // [FIELDS, H]
};

struct Row {
  int64_t steps, draws;     // draws: ids are written, else read
  float *state;             // in and out: each layer's fields one after the other, [H] each
  int64_t *ids;             // [steps]; −1 is no id
  const double *uniforms;   // [steps] where it draws
  float *logits;            // [steps + 1, V] where `every`, and the first are given where it draws; else [V], the last
  int64_t every;
  const uint8_t *fresh;     // [steps]: the state starts anew before that step; or null
  int64_t *tail, tail_size; // the ids since the last boundary that may begin one
  double temperature, top_p, min_p;
  int64_t top_k;
};

struct Loop {
  int64_t num_layers, num_rows, threads;
  int64_t V, E;                // ids; numbers of an embedding that no table has taken in, else 0
  const Layer *layers;
  const float *embedding;      // [V + 1, E]
  const float *output;         // panels [H, V]
  const float *output_bias;    // [padded V]
  const int64_t *boundary;
  int64_t num_boundary;
  Row *rows;                   // by falling number of steps
  float *scratch;              // room_to_run
};

enum { PER_WORD = WEIGHTS == INT8 ? 4 : WEIGHTS == BFLOAT16 ? 2 : 1 };  // weights in 32 bits
enum { OUT = 2 };    // vectors of a panel of the output layer
enum { SHARED = 1 << 15 };  // multiply-adds of the output layer from which threads share them
enum { APART = 8 };  // rows a thread from which threads walk apart

INLINE long padded(long n, long vectors = 1) { return (n + vectors * LANES - 1) / (vectors * LANES) * vectors * LANES; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long words(long K) { return (K + PER_WORD - 1) / PER_WORD; }
template <class C> constexpr int tile_of() { return C::GATES >= 4 ? 1 : 4 / C::GATES; }  // vectors of a panel's units
constexpr int fewer(int rows) { return rows > 4 ? 4 : rows / 2; }  // rows at a time where there aren't as many
constexpr int most_rows(int NV) {
  int rows = (REGISTERS - (REGISTERS == 32 ? 2 : 1) - NV) / NV;
  return rows > 8 ? 8 : rows < 1 ? 1 : rows;
}

#define USE(number, C) C::FIELDS,
static const int FIELDS_OF[] = {CELLS(USE)};
#undef USE
#define USE(number, C) C::GATES,
static const int GATES_OF[] = {CELLS(USE)};
#undef USE
#define USE(number, C) tile_of<C>(),
static const int TILE_OF[] = {CELLS(USE)};
#undef USE
#define USE(number, C) C::SLOTS,
static const int SLOTS_OF[] = {CELLS(USE)};
#undef USE
#define USE(number, C) +8 * C::SLOTS * tile_of<C>()
enum { MOST_SUMS = 0 CELLS(USE) };  // vectors, more than the rows of any panel have
#undef USE

// H in whole panels.
INLINE long width_of(long kind, long H) { return padded(H, TILE_OF[kind]); }


struct Whole {  // a row in whole numbers: bytes q + 128, and what one step of q is worth
  int32_t *words;
  long ld;
  float *worth;
};

// sums [R rows][N panels][NV vectors] += a [R, K] · panels b [K, NV vectors], `apart` floats from one to the next
template <int R, int N, int NV>
INLINE void product32(const float *a, long lda, const float *b, long apart, long K, float *sums, long ld, long next) {
  V sum[R][N * NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) sum[r][v] = load(sums + r * ld + v / NV * next + v % NV * LANES);
  for (long k = 0; k < K; k++) {
    V w[N * NV];
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) w[v] = load(b + v / NV * apart + (k * NV + v % NV) * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      V factor = splat(a[r * lda + k]);
#pragma GCC unroll 16
      for (int v = 0; v < N * NV; v++) sum[r][v] = fma(factor, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) store(sums + r * ld + v / NV * next + v % NV * LANES, sum[r][v]);
}

#if WEIGHTS == FLOAT32
#define product product32
#elif WEIGHTS == BFLOAT16
// The same for weights of 16 bits, two successive k in a word, widened when they are used.
template <int R, int N, int NV>
INLINE void product(const float *a, long lda, const float *b, long apart, long K, float *sums, long ld, long next) {
  V sum[R][N * NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) sum[r][v] = load(sums + r * ld + v / NV * next + v % NV * LANES);
  for (long k = 0; k < K; k += 2) {
    V w[N * NV];
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) w[v] = load(b + v / NV * apart + (k / 2 * NV + v % NV) * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      V factor = splat(a[r * lda + k]);
#pragma GCC unroll 16
      for (int v = 0; v < N * NV; v++) sum[r][v] = fma(factor, (V)((I)w[v] << 16), sum[r][v]);
    }
    if (k + 1 == K) break;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      V factor = splat(a[r * lda + k + 1]);
#pragma GCC unroll 16
      for (int v = 0; v < N * NV; v++) sum[r][v] = fma(factor, (V)((I)w[v] & (int32_t)0xffff0000), sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) store(sums + r * ld + v / NV * next + v % NV * LANES, sum[r][v]);
}

#else
#if defined(__AVX512BW__) || (defined(__AVX2__) && LANES == 8)
typedef int16_t S __attribute__((vector_size(LANES * 4)));

INLINE I dot_pairs(S a, S w) {
#if defined(__AVX512BW__)
  return (I)_mm512_madd_epi16((__m512i)a, (__m512i)w);
#else
  return (I)_mm256_madd_epi16((__m256i)a, (__m256i)w);
#endif
}
#endif

// sum + Σ over four bytes of a (from 0 to 255) times w (from −127 to 127)
INLINE I dot_bytes(I sum, I a, I w) {
#if defined(__AVX512F__) && defined(__AVX512VNNI__)
  return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)w);
#elif defined(__AVXVNNI__) && LANES == 8
  return (I)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)w);
#elif defined(__AVX512BW__) || (defined(__AVX2__) && LANES == 8)
  // Bytes of even and odd places as numbers of 16 bits, whose products are added by twos in 32.
  const S even = (S)w << 8 >> 8, odd = (S)w >> 8, a_even = (S)(a & 0x00ff00ff), a_odd = (S)(a >> 8 & 0x00ff00ff);
  return sum + dot_pairs(a_even, even) + dot_pairs(a_odd, odd);
#else
#pragma GCC unroll 4
  for (int n = 0; n < 4; n++) sum += ((a >> (8 * n)) & 255) * ((w << (24 - 8 * n)) >> 24);
  return sum;
#endif
}

// The same for weights of 8 bits, four successive k in a word, and rows in whole numbers.
template <int R, int N, int NV>
INLINE void product8(const Whole &a, long row, const float *b, const int32_t *zero, const float *scale, long apart,
                     long K, float *sums, long ld, long next) {
  I sum[R][N * NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++)
      sum[r][v] = (I)load((const float *)zero + v * LANES);
  for (long k = 0; k < words(K); k++) {
    I w[N * NV];
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) w[v] = (I)load(b + v / NV * apart + (k * NV + v % NV) * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      I factor = a.words[(row + r) * a.ld + k] - I{};
#pragma GCC unroll 16
      for (int v = 0; v < N * NV; v++) sum[r][v] = dot_bytes(sum[r][v], factor, w[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int v = 0; v < N * NV; v++) {
      float *to = sums + r * ld + v / NV * next + v % NV * LANES;
      V step = load(scale + v * LANES) * splat(a.worth[row + r]);
      store(to, fma(__builtin_convertvector(sum[r][v], V), step, load(to)));
    }
}

// Bring rows [n, K] into whole numbers: q = round(127 a / max |a|), the scale one for a row.
static void quantize(const float *a, long lda, long rows, long K, const Whole &to) {
  const float magic = 12582912.0f;
  for (long r = 0; r < rows; r++) {
    const float *row = a + r * lda;
    I most = {};  // magnitudes in the order of their bits, in which what is no number comes last
    for (long k = 0; k < K; k += LANES) {
      I bits = (I)fn_abs(load_part(row + k, K - k));
      most = bits > most ? bits : most;
    }
    int32_t top = 0;
    for (int i = 0; i < LANES; i++) top = most[i] > top ? most[i] : top;
    float largest;
    memcpy(&largest, &top, 4);
    to.worth[r] = largest / 127.0f;
    const float factor = largest > 0.0f ? 127.0f / largest : 0.0f;
    int32_t *words_of_row = to.words + r * to.ld;
    uint8_t *bytes = (uint8_t *)words_of_row;
    for (long k = 0; k < K; k += LANES) {
      I q = (I)(load_part(row + k, K - k) * factor + magic) - (I)splat(magic) + 128;
#if defined(__AVX512F__)
      _mm_storeu_si128((__m128i *)(bytes + k), _mm512_cvtepi32_epi8((__m512i)q));
#else
      for (int i = 0; i < LANES; i++) bytes[k + i] = (uint8_t)q[i];
#endif
    }
  }
}

#endif

struct Barrier {
  alignas(64) long arrived = 0;
  alignas(64) long round = 0;
};

// Wait for all n threads. It spins for some microseconds, then lets others have the core: a thread of this team
// may be among them.
static void wait(Barrier *barrier, long n) {
  if (n == 1) return;
  const long round = __atomic_load_n(&barrier->round, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == n) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
    return;
  }
  for (long spins = 0; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; spins++) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
    if (spins > 1000) sched_yield();
  }
}

struct Place {  // where one layer's numbers are, for all rows
  float *h[2];   // [rows, P], by parity of the step
  float *rest;   // [FIELDS − 1, rows, P]
};

struct Team {  // one thread of those that walk the rows from:to together
  const Loop &loop;
  long from, to, k, n;
  Barrier *barrier;
  Place *places;
  float *embedded;   // [rows, E]
  float *logits;     // [rows, padded V]
  int64_t *index;    // [rows]: the first layer's row of its table
  float *sums;       // this thread's
  Whole x, h;        // this thread's
  long rows;         // of all
};

INLINE long index_of(const Layer &layer, const Team &team, long row) { return layer.rows > 1 ? team.index[row] : 0; }

// The elementwise part of a step, for some rows of some panels from unit j on.
template <class C>
__attribute__((noinline)) static void finish(const Layer &layer, const Team &team, const Place &at, long parity,
                                             long row, long rows, long j, long panels) {
  constexpr int TILE = tile_of<C>(), WIDE = C::SLOTS * TILE * LANES;
  const long P = padded(layer.H, TILE);
  for (long r = 0; r < rows; r++)
    for (long v = 0; v < panels * TILE; v++) {
      const long unit = j + v * LANES, place = (row + r) * P + unit;
      const float *from = team.sums + (r * panels + v / TILE) * WIDE + v % TILE * LANES;
      V slot[C::SLOTS], vector[C::VECTORS + 1], before[C::FIELDS], after[C::FIELDS];
      for (int s = 0; s < C::SLOTS; s++) slot[s] = load(from + s * TILE * LANES);
      for (int n = 0; n < C::VECTORS; n++) vector[n] = load(layer.vectors + n * P + unit);
      before[0] = load(at.h[parity] + place);
      for (int f = 1; f < C::FIELDS; f++) before[f] = load(at.rest + (f - 1) * team.rows * P + place);
      C::update(slot, vector, before, after);
      store(at.h[!parity] + place, after[0]);
      for (int f = 1; f < C::FIELDS; f++) store(at.rest + (f - 1) * team.rows * P + place, after[f]);
    }
}

// One step of R rows of a panel, or of two side by side.
template <class C, int R, int N>
INLINE void step_panels(const Layer &layer, const Team &team, const Place &at, const float *x, long ldx, long parity,
                        long row, long j) {
  constexpr int TILE = tile_of<C>(), NV = C::GATES * TILE, WIDE = C::SLOTS * TILE * LANES, UNITS = NV * LANES;
  const long P = padded(layer.H, TILE), ld = N * WIDE;
  float *sums = team.sums, *h_sums = sums + C::SPLIT * TILE * LANES;
  for (int r = 0; r < R; r++)
    memcpy(sums + r * ld, layer.table + index_of(layer, team, row + r) * C::SLOTS * P + j * C::SLOTS, ld * 4);
  const float *x_at = layer.x + j * C::GATES * words(layer.D), *h_at = layer.h + j * C::GATES * words(layer.H);
  const long x_apart = words(layer.D) * UNITS, h_apart = words(layer.H) * UNITS;
#if WEIGHTS == INT8
  const long local = row - team.from, at_units = j * C::GATES;
  if (layer.x)
    product8<R, N, NV>(team.x, local, x_at, layer.x_zero + at_units, layer.x_scale + at_units, x_apart, layer.D, sums,
                       ld, WIDE);
  product8<R, N, NV>(team.h, local, h_at, layer.h_zero + at_units, layer.h_scale + at_units, h_apart, layer.H, h_sums,
                     ld, WIDE);
  (void)x, (void)ldx;
#else
  if (layer.x) product<R, N, NV>(x + row * ldx, ldx, x_at, x_apart, layer.D, sums, ld, WIDE);
  product<R, N, NV>(at.h[parity] + row * P, P, h_at, h_apart, layer.H, h_sums, ld, WIDE);
#endif
  finish<C>(layer, team, at, parity, row, R, j, N);
}

// All rows of one panel, R at a time and the rest fewer at a time.
template <class C, int R>
INLINE void step_rows(const Layer &layer, const Team &team, const Place &at, const float *x, long ldx, long parity,
                      long row, long to, long j) {
  for (; row + R <= to; row += R) step_panels<C, R, 1>(layer, team, at, x, ldx, parity, row, j);
  if constexpr (R > 1) step_rows<C, fewer(R)>(layer, team, at, x, ldx, parity, row, to, j);
}

// One step of one layer: this thread's panels, the rows from team.from to `to`.
template <class C>
__attribute__((noinline)) static void step_layer(long n, const Team &team, long to, long parity) {
  constexpr int TILE = tile_of<C>();
  const Layer &layer = team.loop.layers[n];
  const Place &at = team.places[n];
  const float *x = n ? team.places[n - 1].h[!parity] : team.embedded;
  const long P = padded(layer.H, TILE), units = TILE * LANES, panels = P / units;
  const long ldx = n ? width_of(team.loop.layers[n - 1].kind, team.loop.layers[n - 1].H) : team.loop.E;
  long panel = panels * team.k / team.n;
  const long last = panels * (team.k + 1) / team.n;
#if WEIGHTS == INT8
  if (panel == last) return;
  if (layer.x) quantize(x + team.from * ldx, ldx, to - team.from, layer.D, team.x);
  quantize(at.h[parity] + team.from * P, P, to - team.from, layer.H, team.h);
#endif
  // Whole numbers wait for memory alone, which comes fastest in one row. Of others every second step goes
  // backwards, since the second level of cache still has some of what was read last.
  if (WEIGHTS != INT8 && to - team.from == 1) {
    const long pairs = (last - panel) / 2;
    for (long i = 0; i < pairs; i++) {
      const long pair = panel + 2 * (parity ? pairs - 1 - i : i);
      step_panels<C, 1, 2>(layer, team, at, x, ldx, parity, team.from, pair * units);
    }
    panel += 2 * pairs;
  }
  for (; panel < last; panel++)
    step_rows<C, most_rows(C::GATES * TILE)>(layer, team, at, x, ldx, parity, team.from, to, panel * units);
}

static void step_layer_of(long n, const Team &team, long to, long parity) {
  switch (team.loop.layers[n].kind) {
#define USE(number, C) case number: step_layer<C>(n, team, to, parity); break;
    CELLS(USE)
#undef USE
  }
}

template <int R>
INLINE void output_rows(const float *h, long ldh, long rows, const float *b, long K, float *to, long ld) {
  for (; rows >= R; rows -= R, h += R * ldh, to += R * ld) product32<R, 1, OUT>(h, ldh, b, 0, K, to, ld, 0);
  if constexpr (R > 1) output_rows<fewer(R)>(h, ldh, rows, b, K, to, ld);
}

// Panels of one row, N at a time and the rest fewer at a time.
template <int N>
INLINE void output_panels(const float *h, long panels, const float *b, long K, float *to) {
  const long units = OUT * LANES;
  for (; panels >= N; panels -= N, b += N * units * K, to += N * units)
    product32<1, N, OUT>(h, 0, b, units * K, K, to, 0, units);
  if constexpr (N > 1) output_panels<N - 1>(h, panels, b, K, to);
}

// Logits of the rows after this step; the bias is what the chain starts from.
static void step_output(const Team &team, long to, long parity) {
  const Loop &loop = team.loop;
  const Layer &last = loop.layers[loop.num_layers - 1];
  const long H = last.H, P = width_of(last.kind, H), width = padded(loop.V, OUT), units = OUT * LANES;
  const long panels = width / units, rows = to - team.from, stop = panels * (team.k + 1) / team.n;
  const float *h = team.places[loop.num_layers - 1].h[!parity] + team.from * P;
  float *logits = team.logits + team.from * width;
  long panel = panels * team.k / team.n;
  for (long r = 0; r < rows; r++)
    memcpy(logits + r * width + panel * units, loop.output_bias + panel * units, (stop - panel) * units * 4);
  if (rows == 1) {
    output_panels<4>(h, stop - panel, loop.output + panel * units * H, H, logits + panel * units);
    return;
  }
  for (; panel < stop; panel++)
    output_rows<most_rows(OUT)>(h, P, rows, loop.output + panel * units * H, H, logits + panel * units, width);
}

typedef double D __attribute__((vector_size(LANES * 4)));
typedef double LooseD __attribute__((vector_size(LANES * 4), aligned(8), may_alias));
typedef int64_t J __attribute__((vector_size(LANES * 4)));

INLINE D wide_fma(D a, D b, D c) {
#if defined(__AVX512F__)
  return (D)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX__) && defined(__FMA__)
  return (D)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  return (D)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

// e^x for x ≤ 0: x = n ln 2 + r, and r's series; 0 below −745.2, NaN for NaN.
INLINE D exp_below(D x) {
  const double magic = 6755399441055744.0;
  D low = D{} - 746.0;
  x = x < low ? low : x;
  D n = (x * 1.4426950408889634 + magic) - magic;
  D r = wide_fma(n, D{} - 6.93147180369123816490e-01, x);
  r = wide_fma(n, D{} - 1.90821492927058770002e-10, r);
  D p = D{} + 1.6059043836821613e-10;
  const double c[] = {2.08767569878681e-9, 2.505210838544172e-8, 2.755731922398589e-7, 2.7557319223985893e-6,
                      2.48015873015873e-5, 1.984126984126984e-4, 1.3888888888888889e-3, 8.333333333333333e-3,
                      4.1666666666666664e-2, 1.6666666666666666e-1, 0.5, 1.0, 1.0};
#pragma GCC unroll 16
  for (int i = 0; i < 13; i++) p = wide_fma(p, r, D{} + c[i]);
  J whole = (J)(n + magic) - (J)(D{} + magic), half = whole >> 1;
  return p * (D)((half + 1023) << 52) * (D)((whole - half + 1023) << 52);
}

struct Share {
  double weight;
  int64_t id;
};

// Zero the weights that top-k, top-p or min-p leave out; the likeliest, ties going to the lowest id, stays.
static void truncate(const Row &row, long V_, double *weights, Share *sorted) {
  double sum = 0.0, running = 0.0;
  for (long i = 0; i < V_; i++) sorted[i] = {weights[i], i}, sum += weights[i];
  if (sum != sum) return;
  std::sort(sorted, sorted + V_, [](const Share &a, const Share &b) {
    return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
  });
  long keep = row.top_k && row.top_k < V_ ? row.top_k : V_;
  if (row.top_p < 1.0)
    for (long i = 0; i < keep; i++) {
      running += sorted[i].weight;
      if (running / sum >= row.top_p) keep = i + 1;
    }
  for (long i = keep; i < V_; i++) weights[sorted[i].id] = 0.0;
  const double least = row.min_p * sorted[0].weight;
  for (long i = 0; i < keep && row.min_p > 0.0; i++)
    if (sorted[i].weight < least) weights[sorted[i].id] = 0.0;
}

// The first of the largest numbers, or of those that are none.
static long likeliest(const float *logits, long V_) {
  long found = 0;
  for (long i = 1; i < V_; i++)
    if (logits[i] > logits[found] || (logits[i] != logits[i] && logits[found] == logits[found])) found = i;
  return found;
}

// The largest number, or NaN where one is.
INLINE float largest(const float *numbers, long n) {
  const float low = -__builtin_inff();
  V most = splat(low);
  for (long i = 0; i < n; i += LANES) most = fn_maximum(most, load_or(numbers + i, n - i, low));
  float found = most[0];
  for (int i = 1; i < LANES; i++) found = most[i] > found || most[i] != most[i] ? most[i] : found;
  return found;
}

// Invert a uniform number over the running sum of float64 weights in the order of ids. room: 3 · (padded V) doubles.
static int64_t draw(const Row &row, const float *logits, double uniform, long V_, double *room) {
  if (row.temperature == 0.0) return likeliest(logits, V_);
  const double most = largest(logits, V_);
  if (most != most) return V_ - 1;
  double *weights = room, *sums = room + padded(V_) + LANES, total = 0.0;
  const long step = LANES / 2;
  for (long i = 0; i < V_; i++) weights[i] = (double)logits[i] - most;
  for (long i = V_; i < V_ + step; i++) weights[i] = 0.0;
  for (long i = 0; i < V_; i += step) {
    *(LooseD *)(weights + i) = exp_below(*(LooseD *)(weights + i) / row.temperature);
    for (long n = i; n < smaller(i + step, V_); n++) sums[n] = total += weights[n];
  }
  if (row.top_k || row.top_p < 1.0 || row.min_p > 0.0) {
    truncate(row, V_, weights, (Share *)sums);
    total = 0.0;
    for (long i = 0; i < V_; i++) sums[i] = total += weights[i];
  }
  const double place = uniform * total;
  long found = 0;
  for (long i = 0; i < V_; i++) found += !(sums[i] > place);
  if (found < V_) return found;
  while (--found > 0 && weights[found] == 0.0) {}
  return found;
}

// What comes before a step: the id, and whether a document starts with it.
static void begin(const Team &team, long r, long s, long parity, double *room) {
  const Loop &loop = team.loop;
  Row &row = loop.rows[r];
  if (row.draws) row.ids[s] = draw(row, row.logits + s * loop.V, row.uniforms[s], loop.V, room);
  const int64_t id = row.ids[s], size = loop.num_boundary;
  bool fresh = row.fresh && row.fresh[s];
  if (size) {
    const bool ends = row.tail_size == size && !memcmp(row.tail, loop.boundary, (size_t)size * 8);
    fresh = fresh || ends;
    if (ends) row.tail_size = 0;
    if (row.tail_size == size) memmove(row.tail, row.tail + 1, (size_t)(--row.tail_size) * 8);
    row.tail[row.tail_size++] = id;
  }
  for (long n = 0; fresh && n < loop.num_layers; n++) {
    const Layer &layer = loop.layers[n];
    const long P = width_of(layer.kind, layer.H), fields = FIELDS_OF[layer.kind];
    memcpy(team.places[n].h[parity] + r * P, layer.initial, (size_t)layer.H * 4);
    for (long f = 1; f < fields; f++)
      memcpy(team.places[n].rest + ((f - 1) * team.rows + r) * P, layer.initial + f * layer.H, (size_t)layer.H * 4);
  }
  team.index[r] = id + 1;
  if (loop.E) memcpy(team.embedded + r * loop.E, loop.embedding + (id + 1) * loop.E, (size_t)loop.E * 4);
}

INLINE bool wants(const Row &row, long s) { return row.every || s + 1 == row.steps; }

static void walk(const Team &team, double *room) {
  const Loop &loop = team.loop;
  const long width = padded(loop.V, OUT), work = width * loop.layers[loop.num_layers - 1].H;
  long to = team.to;
  for (long s = 0;; s++) {
    const long parity = s & 1;
    while (to > team.from && loop.rows[to - 1].steps <= s) to--;
    if (to == team.from) return;
    if (team.k == 0)
      for (long r = team.from; r < to; r++) begin(team, r, s, parity, room);
    wait(team.barrier, team.n);
    for (long n = 0; n < loop.num_layers; n++) {
      step_layer_of(n, team, to, parity);
      wait(team.barrier, team.n);
    }
    bool wanted = false;
    for (long r = team.from; r < to; r++) wanted = wanted || wants(loop.rows[r], s);
    if (!wanted) continue;
    Team one = team;
    const bool shared = work * (to - team.from) >= SHARED;
    if (!shared) one.k = 0, one.n = 1;
    if (shared || team.k == 0) step_output(one, to, parity);
    if (shared) wait(team.barrier, team.n);
    for (long r = team.from; r < to && team.k == 0; r++)
      if (wants(loop.rows[r], s))
        memcpy(loop.rows[r].logits + (loop.rows[r].every ? (s + 1) * loop.V : 0), team.logits + r * width,
               (size_t)loop.V * 4);
  }
}

// Copy states between rows and places; the padding is zero.
static void move_states(const Loop &loop, const Place *places, bool in) {
  for (long r = 0; r < loop.num_rows; r++) {
    const Row &row = loop.rows[r];
    float *state = row.state;
    for (long n = 0; n < loop.num_layers; n++) {
      const Layer &layer = loop.layers[n];
      const long P = width_of(layer.kind, layer.H), size = layer.H * 4;
      for (long f = 0; f < FIELDS_OF[layer.kind]; f++, state += layer.H) {
        float *at = (f ? places[n].rest + (f - 1) * loop.num_rows * P : places[n].h[in ? 0 : row.steps & 1]) + r * P;
        if (!in) { memcpy(state, at, (size_t)size); continue; }
        memcpy(at, state, (size_t)size);
        memset(at + layer.H, 0, (size_t)(P - layer.H) * 4);
        if (!f) memset(places[n].h[1] + r * P, 0, (size_t)P * 4);
      }
    }
  }
}

struct Sizes {
  long state, shared, sums, whole, own;
};

static Sizes sizes_of(const Loop &loop) {
  Sizes s = {0, 0, 0, 0, 0};
  long widest = loop.E;
  for (long n = 0; n < loop.num_layers; n++) {
    const Layer &layer = loop.layers[n];
    s.state += (FIELDS_OF[layer.kind] + 1) * loop.num_rows * width_of(layer.kind, layer.H);
    widest = layer.H > widest ? layer.H : widest;
    widest = layer.D > widest ? layer.D : widest;
  }
  s.shared = s.state + loop.num_rows * (padded(loop.E) + padded(loop.V, OUT)) + padded(2 * loop.num_rows);
  s.sums = MOST_SUMS * LANES;
  s.whole = WEIGHTS == INT8 ? loop.num_rows * (padded(widest) / 4 + LANES) + padded(loop.num_rows) : 0;
  s.own = s.sums + 2 * s.whole + 6 * (padded(loop.V) + 2 * LANES) + 64;
  return s;
}

// A weight rounded: the scale's inverse only counts in INT8.
INLINE uint32_t bits_of(float w, float inverse) {
  uint32_t bits;
#if WEIGHTS == INT8
  bits = (uint8_t)(int32_t)((w * inverse + 12582912.0f) - 12582912.0f);
#else
  memcpy(&bits, &w, 4);
#endif
#if WEIGHTS == BFLOAT16
  bits = w == w ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fc0;
#endif
  (void)inverse;
  return bits;
}

struct Scales {
  int32_t *zero;
  float *scale;
};

// weights [K, GATES·H] as panels of `tile` vectors of units: [words of K, GATES, units of the panel]
static void pack_panels(const float *weights, const int64_t *order, long gates, long tile, long K, long H, float *out,
                        Scales scales) {
  const long width = tile * LANES, apart = gates * H;
  for (long unit = 0; unit < padded(H, tile); unit++)
    for (long g = 0; g < gates; g++) {
      const long j = unit / width * width, place = (j * gates + g * width) + unit - j;
      const float *from = weights + order[g] * H + unit;
      int32_t *to = (int32_t *)(out + j * gates * words(K)) + g * width + unit - j;
      const long real = unit < H ? K : 0;
      float largest = 0.0f;
      if (scales.scale)
        for (long k = 0; k < real; k++) {
          const float size = from[k * apart] < 0.0f ? -from[k * apart] : from[k * apart];
          largest = size > largest ? size : largest;
        }
      const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
      int32_t sum = 0;
      for (long word = 0; word < words(K); word++) {
        uint32_t bits = 0;
        for (long n = 0; n < PER_WORD; n++) {
          const long k = word * PER_WORD + n;
          const uint32_t one = bits_of(k < real ? from[k * apart] : 0.0f, inverse);
          sum += (int8_t)one;
          bits |= one << (32 / PER_WORD * n % 32);
        }
        to[word * gates * width] = (int32_t)bits;
      }
      if (scales.scale) scales.scale[place] = largest / 127.0f, scales.zero[place] = -128 * sum;
    }
}

// Rows of a table: bias, and x's part of each of `rows` rows of x [rows, D] in float32, in the chain's order. Without
// x it is one-hot: no id, then the rows of W [D, GATES·H] themselves.
template <class C>
static void fill(const float *bias, const float *h_bias, const float *x, const float *W, long rows, long D, long H,
                 float *table) {
  enum { MANY = 8 };
  constexpr int TILE = tile_of<C>(), UNITS = TILE * LANES;
  const long P = padded(H, TILE);
  for (long first = 0; first < rows; first += MANY)
    for (long s = 0; s < C::SLOTS; s++)
      for (long unit = 0; unit < P; unit += LANES) {
        const long left = H - unit, now = smaller(MANY, rows - first), j = unit / UNITS * UNITS;
        const long place = j * C::SLOTS + s * UNITS + unit - j;
        const bool has_x = s < C::GATES && W && left > 0;
        const float *from = s < C::GATES ? bias + C::ON_X[s] * H : h_bias + (s - C::GATES) * H;
        const float *w = has_x ? W + C::ON_X[s] * H + unit : nullptr;
        V sum[MANY];
        for (long r = 0; r < MANY; r++) {
          sum[r] = left > 0 ? load_part(from + unit, left) : V{};
          if (has_x && !x && r < now && first + r)
            sum[r] = load_part(w + (first + r - 1) * C::GATES * H, left) + sum[r];
        }
        for (long k = 0; has_x && x && k < D; k++) {
          const V factor = load_part(w + k * C::GATES * H, left);
          for (long r = 0; r < now; r++) sum[r] = fma(splat(x[(first + r) * D + k]), factor, sum[r]);
        }
        for (long r = 0; r < now; r++) store(table + (first + r) * C::SLOTS * P + place, sum[r]);
      }
}

}  // namespace

extern "C" {

int64_t lanes() { return LANES; }
int64_t size_of_layer() { return sizeof(Layer); }
int64_t size_of_row() { return sizeof(Row); }
int64_t size_of_loop() { return sizeof(Loop); }

int64_t room_to_run(const Loop *loop) {
  const Sizes sizes = sizes_of(*loop);
  return sizes.shared + loop->threads * (sizes.own + 64) + 64;
}

// Floats (and ints) of panels of weights [K, GATES·H] of a kind of cell.
int64_t room_for_panels(int64_t kind, int64_t K, int64_t H) { return words(K) * GATES_OF[kind] * width_of(kind, H); }
int64_t room_for_units(int64_t kind, int64_t H) { return GATES_OF[kind] * width_of(kind, H); }
int64_t room_for_table(int64_t kind, int64_t rows, int64_t H) { return rows * SLOTS_OF[kind] * width_of(kind, H); }
int64_t width(int64_t kind, int64_t H) { return width_of(kind, H); }
int64_t output_width(int64_t V_) { return padded(V_, OUT); }

void pack(int64_t kind, int64_t side, const float *weights, int64_t K, int64_t H, float *out, int32_t *zero,
          float *scale) {
  switch (kind) {
#define USE(number, C)                                                                                     \
  case number: {                                                                                           \
    int64_t order[C::GATES];                                                                               \
    for (int g = 0; g < C::GATES; g++) order[g] = side ? C::ON_H[g] : C::ON_X[g];                           \
    pack_panels(weights, order, C::GATES, tile_of<C>(), K, H, out, {zero, scale});                         \
    break;                                                                                                 \
  }
    CELLS(USE)
#undef USE
  }
}

void fill_table(int64_t kind, const float *bias, const float *h_bias, const float *x, const float *W, int64_t rows,
                int64_t D, int64_t H, float *table) {
  switch (kind) {
#define USE(number, C) case number: fill<C>(bias, h_bias, x, W, rows, D, H, table); break;
    CELLS(USE)
#undef USE
  }
}

// weights [H, V], `row` and `column` floats from one row and column to the next, as panels of OUT vectors
void pack_output(const float *weights, int64_t row, int64_t column, int64_t H, int64_t V_, float *out) {
  for (long j = 0; j < V_; j += OUT * LANES)
    for (long k = 0; k < H; k++)
      for (long u = j; u < j + OUT * LANES; u++) *out++ = u < V_ ? weights[k * row + u * column] : 0.0f;
}

void run(const Loop *given) {
  const Loop &loop = *given;
  const Sizes sizes = sizes_of(loop);
  Place places[64];
  float *at = loop.scratch;
  at += (64 - ((uintptr_t)at & 63)) / 4 % 16;
  float *const base = at;
  for (long n = 0; n < loop.num_layers; n++) {
    const long size = loop.num_rows * width_of(loop.layers[n].kind, loop.layers[n].H);
    places[n] = {{at, at + size}, at + 2 * size};
    at += (FIELDS_OF[loop.layers[n].kind] + 1) * size;
  }
  float *embedded = at, *logits = at + loop.num_rows * padded(loop.E);
  int64_t *index = (int64_t *)(logits + loop.num_rows * padded(loop.V, OUT));
  move_states(loop, places, true);
  const bool apart = loop.num_rows >= APART * loop.threads;
  Barrier barrier;
#pragma omp parallel num_threads(loop.threads) if (loop.threads > 1)
  {
    long k = 0, n = 1;
#ifdef _OPENMP
    k = omp_get_thread_num(), n = omp_get_num_threads();
#endif
    float *own = base + sizes.shared + k * (sizes.own + 64 - sizes.own % 64);
    const long wide = sizes.whole - padded(loop.num_rows);
    Whole x = {(int32_t *)(own + sizes.sums), wide / (loop.num_rows ? loop.num_rows : 1), own + sizes.sums + wide};
    Whole h = x;
    h.words += sizes.whole, h.worth += sizes.whole;
    double *room = (double *)(own + sizes.sums + 2 * sizes.whole);
    room += (uintptr_t)room & 7 ? 1 : 0;
    const long from = apart ? loop.num_rows * k / n : 0, to = apart ? loop.num_rows * (k + 1) / n : loop.num_rows;
    Team team = {loop, from, to, apart ? 0 : k, apart ? 1 : n, &barrier, places, embedded, logits, index, own, x, h,
                 loop.num_rows};
    walk(team, room);
  }
  move_states(loop, places, false);
}

// Whether n pairs of pieces are the same to the bit; each is two addresses and a number of bytes.
int64_t same(const int64_t *pieces, int64_t n) {
  for (; n > 0; n--, pieces += 3)
    if (memcmp((const void *)pieces[0], (const void *)pieces[1], (size_t)pieces[2])) return 0;
  return 1;
}

// For tests: one draw.
int64_t draw_one(const Row *row, const float *logits, double uniform, int64_t V_, double *room) {
  return draw(*row, logits, uniform, V_, room);
}

}  // extern "C"
