// Matrix products on tiles that fit into the registers. Every number of a result is one chain of multiply-adds
// over k ascending, begun from what is there: neither the tile nor the row's neighbours change its bits.
//
// Both factors are given in words: a word is one float32, or with BF16 defined a pair of bfloat16 that are
// neighbours in k (one float32 rounded to bfloat16, where the processor has no instruction for pairs).
#pragma once

#if defined(BF16) && defined(__AVX512BF16__)
enum { PAIR = 2 };
INLINE V multiply(V a, V b, V sum) {
  return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)(I)a, (__m512bh)(__m512i)(I)b);
}
// Lane for lane, a pair of a's and b's number.
INLINE V join(V a, V b) {
  __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)a));
  __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)b));
  return (V)(I)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
INLINE void row_words(const float *from, long n, float *to) {
  for (long i = 0; i < n; i += 2 * LANES) {
    V low = load_part(from + i, n - i), high = n - i > LANES ? load_part(from + i + LANES, n - i - LANES) : V{};
    store_part(to + i / 2, (V)(I)(__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low), (n - i + 1) / 2);
  }
}
#else
enum { PAIR = 1 };
INLINE V multiply(V a, V b, V sum) { return fma(a, b, sum); }
#if defined(BF16)
INLINE V join(V a, V) {
  I bits = (I)a, half = 0x7fff + ((bits >> 16) & 1);
  return (V)select(a == a, (V)((bits + half) & (int32_t)0xffff0000), a);
}
INLINE void row_words(const float *from, long n, float *to) {
  for (long i = 0; i < n; i += LANES) store_part(to + i, join(load_part(from + i, n - i), V{}), n - i);
}
#else
INLINE V join(V a, V) { return a; }
#endif
#endif

INLINE long padded(long n) { return (n + LANES - 1) / LANES * LANES; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long words(long n) { return (n + PAIR - 1) / PAIR; }

struct Rows {
  const float *at;
  long apart;
};

// n numbers a row as words; in the room given, or where they are if they are words already.
INLINE Rows as_words(Rows from, long n, long rows, float *room) {
#ifdef BF16
  for (long r = 0; r < rows; r++) row_words(from.at + r * from.apart, n, room + r * words(n));
  return {room, words(n)};
#else
  (void)n, (void)rows, (void)room;
  return from;
#endif
}
#ifdef BF16
enum { JOINS = 1 };
#else
enum { JOINS = 0 };
#endif
INLINE long room_for_words(long n) { return JOINS ? padded(words(n)) : 0; }

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
      V factor = broadcast(a + r * lda + k * step);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] = multiply(factor, w[v], sum[r][v]);
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
INLINE void product_of(long vectors, long rows, Rows a, const float *b, long ldb, long K, float *c, long ldc) {
  if (vectors == NV) product<NV>(rows, a.at, a.apart, b, ldb, K, c, ldc);
  else if constexpr (NV > STEP) product_of<NV - STEP, STEP>(vectors, rows, a, b, ldb, K, c, ldc);
}

enum { WIDE = 4, DEEP = 512 };  // vectors of a panel, and how many of its rows stay in the cache together

// Lay a matrix [K, N] out for times_panels: its columns in panels of WIDE vectors, each [all words, columns], of
// which this fills the rows from word `at` on. Element (k, n) is from[k · step_k + n · step_n].
static void pack_panels(const float *from, long step_k, long step_n, long K, long N, float *out, long all, long at) {
  float block[LANES * WIDE * LANES];
  for (long j = 0; j < padded(N); j += WIDE * LANES) {
    const long width = smaller(WIDE * LANES, padded(N) - j), real = smaller(width, N - j);
    float *to = out + j * all + at * width;
    for (long k = 0; k < K; k += LANES) {
      const long depth = smaller(LANES, K - k), filled = words(depth) * PAIR;
      memset(block, 0, sizeof block);
      for (long n = 0; n < real; n++)
        for (long i = 0; i < depth; i++) block[i * width + n] = from[(k + i) * step_k + (j + n) * step_n];
      for (long i = 0; i < filled; i += PAIR, to += width)
        for (long v = 0; v < width; v += LANES)
          store(to + v, join(load(block + i * width + v), load(block + (i + PAIR - 1) * width + v)));
    }
  }
}

// c [rows, padded N] += a [rows, K words] · b, which is in panels of K words
static void times_panels(long rows, Rows a, const float *b, long K, long N, float *c, long ldc) {
  const long P = padded(N);
  for (long k = 0; k < K; k += DEEP)
    for (long j = 0; j < P; j += WIDE * LANES) {
      const long width = smaller(WIDE * LANES, P - j);
      product_of<WIDE, 1>(width / LANES, rows, {a.at + k, a.apart}, b + j * K + k * width, width,
                          smaller(DEEP, K - k), c + j, ldc);
    }
}

enum { DEPTH = 256, OUTER = most_rows(WIDE) };

// One tile of an outer product: a [OUTER] side by side for each k, b [vectors · LANES].
template <int NV>
INLINE void outer_tile(long vectors, long rows, const float *a, const float *b, long ldb, long K, float *c, long ldc) {
  if (vectors == NV) tile_of<OUTER, NV>(rows, a, 1, OUTER, b, ldb, K, c, ldc);
  else if constexpr (NV > 1) outer_tile<NV - 1>(vectors, rows, a, b, ldb, K, c, ldc);
}

// Fetch some rows into the cache ahead of their use.
INLINE void prefetch_rows(const float *at, long apart, long rows, long width) {
  for (long r = 0; r < rows; r++)
    for (long v = 0; v < width; v += LANES) __builtin_prefetch(at + r * apart + v, 1);
}

// A panel of a: OUTER numbers for each k, and a gap, so that a row's pieces do not all fall on one set of the cache.
enum { PANEL = DEPTH * OUTER + LANES, TOGETHER = 8 };
// Copying so many at once is quicker than OUTER; what is too much lands where the next k goes.
enum { COPIED = OUTER <= 2 ? OUTER : OUTER <= 4 ? 4 : 8 };

INLINE long panels_of(long M) { return (M + OUTER - 1) / OUTER; }
INLINE long room_for_outer(long M) {
  return panels_of(M) * PANEL + DEPTH * WIDE * LANES + (JOINS ? TOGETHER * padded(M) : 0);
}

// Rows first to first + depth of words of a, count rows in all, into panels of OUTER columns.
INLINE void pack_outer(Rows a, long first, long count, long depth, long M, float *panels, float *joined) {
  for (long k = 0; k < depth; k += TOGETHER) {
    const long now = smaller(TOGETHER, depth - k);
    Rows from = {a.at + (first + k) * a.apart, a.apart};
    if (JOINS) {
      for (long i = 0; i < now; i++) {
        const float *row = a.at + (first + (k + i) * PAIR) * a.apart;
        const bool paired = PAIR == 2 && first + (k + i) * PAIR + 1 < count;
        for (long m = 0; m < M; m += LANES)
          store(joined + i * padded(M) + m,
                join(load_part(row + m, M - m), paired ? load_part(row + a.apart + m, M - m) : V{}));
      }
      from = {joined, padded(M)};
    }
    for (long i = 0; i < now * PAIR; i++) prefetch_rows(a.at + (first + (k + 2 * TOGETHER) * PAIR + i) * a.apart, 0, 1, M);
    for (long m = 0, n = 0; m < M; m += OUTER, n++) {
      float *out = panels + n * PANEL + k * OUTER;
      if (m + COPIED <= M)
        for (long i = 0; i < now; i++) memcpy(out + i * OUTER, from.at + i * from.apart + m, COPIED * 4);
      else
        for (long i = 0; i < now; i++)
          memcpy(out + i * OUTER, from.at + i * from.apart + m, (size_t)smaller(OUTER, M - m) * 4);
    }
  }
}

// c [M, from:to] = Σ over rows of a [row, M]ᵀ b [row, from:to], rows ascending in one chain. From and to are
// whole vectors of c; b has N numbers a row, and counts as zero beyond.
static void outer_product(long rows, Rows a, long M, Rows b, long N, long from, long to, float *c, long ldc,
                          float *scratch) {
  float *panels = scratch, *panel_b = panels + panels_of(M) * PANEL, *joined = panel_b + DEPTH * WIDE * LANES;
  for (long m = 0; m < M; m++) memset(c + m * ldc + from, 0, (size_t)(to - from) * 4);
  for (long first = 0; first < rows; first += DEPTH * PAIR) {
    const long left = rows - first, depth = smaller(DEPTH, words(left));
    pack_outer(a, first, rows, depth, M, panels, joined);
    for (long j = from; j < to; j += WIDE * LANES) {
      const long width = smaller(WIDE * LANES, to - j);
      for (long k = 0; k < depth; k++)
        for (long v = 0; v < width; v += LANES) {
          const float *at = b.at + (first + k * PAIR) * b.apart + j + v;
          const long real = N - j - v;
          __builtin_prefetch(at + 8 * PAIR * b.apart);
          V low = real > 0 ? load_part(at, real) : V{}, high = V{};
          if (PAIR == 2 && real > 0 && k * PAIR + 1 < left) high = load_part(at + b.apart, real);
          store(panel_b + k * width + v, join(low, high));
        }
      for (long m = 0; m < M; m += OUTER) {
        prefetch_rows(c + (m + OUTER) * ldc + j, ldc, smaller(OUTER, M - m - OUTER), width);
        outer_tile<WIDE>(width / LANES, smaller(OUTER, M - m), panels + m / OUTER * PANEL, panel_b, width, depth,
                         c + m * ldc + j, ldc);
      }
    }
  }
}
