// Vectors of float32 of the width that the compiler was told of, and elementwise functions of them.
// Nothing is contracted or reordered: a multiply-add is written fma, and each function has one form, so that
// a number has the same result in every lane.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__AVX__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(LANES * 4)));
typedef int32_t I __attribute__((vector_size(LANES * 4)));
typedef float Loose __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

INLINE V load(const float *p) { return *(const Loose *)p; }
INLINE void store(float *p, V v) { *(Loose *)p = v; }
// The first n lanes; the others are zero, and untouched in memory.
INLINE V load_part(const float *p, long n) {
  if (n >= LANES) return load(p);
  V v = {};
  memcpy(&v, p, (size_t)n * 4);
  return v;
}
// The same with a number of choice in the others.
INLINE V load_or(const float *p, long n, float other) {
  if (n >= LANES) return load(p);
  V v = {};
  for (long i = 0; i < LANES; i++) v[i] = i < n ? p[i] : other;
  return v;
}
INLINE void store_part(float *p, V v, long n) {
  if (n >= LANES) store(p, v);
  else memcpy(p, &v, (size_t)n * 4);
}
INLINE void add(float *p, V v) { store(p, load(p) + v); }
INLINE V splat(float x) { return x - V{}; }
// The four bytes at p in every lane, whatever they mean.
INLINE V broadcast(const float *p) {
  int32_t word;
  memcpy(&word, p, 4);
  return (V)(word + I{});
}
INLINE V select(I mask, V a, V b) { return mask ? a : b; }

// a · b + c, rounded once where the processor can, else twice: the same everywhere in one build.
INLINE V fma(V a, V b, V c) {
#if defined(__AVX512F__)
  return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX__) && defined(__FMA__)
  return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

INLINE V fn_sqrt(V x) {
#if defined(__AVX512F__)
  return (V)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__)
  return (V)_mm256_sqrt_ps((__m256)x);
#else
  V y;
  for (int i = 0; i < LANES; i++) y[i] = __builtin_sqrtf(x[i]);
  return y;
#endif
}

INLINE V fn_abs(V x) { return (V)((I)x & 0x7fffffff); }
INLINE V with_sign_of(V magnitude, V sign) { return (V)((I)magnitude | ((I)sign & (int32_t)0x80000000)); }
INLINE V fn_relu(V x) { return select(x <= 0.0f, V{}, x); }
// The processor's own give their second operand where one is NaN, as the comparisons do.
INLINE V fn_clamp_min(V x, V low) {
#if defined(__AVX512F__)
  return (V)_mm512_max_ps((__m512)low, (__m512)x);
#elif defined(__AVX__)
  return (V)_mm256_max_ps((__m256)low, (__m256)x);
#else
  return select(x < low, low, x);
#endif
}
INLINE V fn_clamp_max(V x, V high) {
#if defined(__AVX512F__)
  return (V)_mm512_min_ps((__m512)high, (__m512)x);
#elif defined(__AVX__)
  return (V)_mm256_min_ps((__m256)high, (__m256)x);
#else
  return select(x > high, high, x);
#endif
}
INLINE V fn_maximum(V a, V b) { return select(a != a, a, select(a > b, a, b)); }
INLINE V fn_minimum(V a, V b) { return select(a != a, a, select(a < b, a, b)); }

// x = n ln 2 + r with a whole n and |r| ≤ ln 2 / 2; returns e^r − 1.
INLINE V reduced_expm1(V x, V *n) {
  const V magic = splat(12582912.0f);
  *n = (x * 1.44269504f + magic) - magic;
  V r = fma(*n, splat(-0.693359375f), x);
  r = fma(*n, splat(2.12194440e-4f), r);
  V p = splat(1.990043092519045e-4f);
  p = fma(p, r, splat(1.3934534508734941e-3f));
  p = fma(p, r, splat(8.333297446370125e-3f));
  p = fma(p, r, splat(4.166645556688309e-2f));
  p = fma(p, r, splat(1.666666716337204e-1f));
  p = fma(p, r, splat(0.5f));
  return fma(p, r * r, r);
}

// m · 2^n for n from −252 to 254, through the numbers below 2^−126 too.
INLINE V scaled(V m, V n) {
#if defined(__AVX512F__)
  return (V)_mm512_scalef_ps((__m512)m, (__m512)n);
#else
  I whole = __builtin_convertvector(n, I), half = whole >> 1;
  return m * (V)((half + 127) << 23) * (V)((whole - half + 127) << 23);
#endif
}

INLINE V fn_exp(V x) {
  x = fn_clamp_max(fn_clamp_min(x, splat(-105.0f)), splat(89.0f));
  V n, q = reduced_expm1(x, &n);
  return scaled(1.0f + q, n);
}

INLINE V fn_sigmoid(V x) { return 1.0f / (1.0f + fn_exp(-x)); }

INLINE V fn_tanh(V x) {
  V a = fn_clamp_max(fn_abs(x), splat(10.0f)), n, q = reduced_expm1(a + a, &n);
  V power = (V)((__builtin_convertvector(n, I) + 127) << 23);
  V e = fma(power, q, power - 1.0f);
  return with_sign_of(e / (e + 2.0f), x);
}

INLINE V fn_log(V x) {
  I tiny = x < 1.17549435e-38f;
  V y = select(tiny, x * 8388608.0f, x);
  I bits = (I)y - 0x3f3504f3, exponent = bits >> 23;
  V f = (V)((I)y - (exponent << 23)) - 1.0f;
  V e = __builtin_convertvector(exponent, V) - select(tiny, splat(23.0f), V{});
  V p = splat(7.151006162166595e-2f);
  p = fma(p, f, splat(-1.1575357615947723e-1f));
  p = fma(p, f, splat(1.166287362575531e-1f));
  p = fma(p, f, splat(-1.2410575151443481e-1f));
  p = fma(p, f, splat(1.4249767363071442e-1f));
  p = fma(p, f, splat(-1.6668495535850525e-1f));
  p = fma(p, f, splat(2.000071257352829e-1f));
  p = fma(p, f, splat(-2.4999989569187164e-1f));
  p = fma(p, f, splat(3.333333134651184e-1f));
  V square = f * f, tail = fma(p, square * f, e * -2.12194440e-4f);
  tail = fma(square, splat(-0.5f), tail);
  V y_log = (f + tail) + e * 0.693359375f;
  const V infinity = splat(__builtin_inff());
  y_log = select(x == infinity, x, y_log);
  y_log = select(x == 0.0f, -infinity, y_log);
  return select(x >= 0.0f, y_log, splat(__builtin_nanf("")));
}

INLINE V fn_softplus(V x) {
  V u = fn_exp(-fn_abs(x)), w = 1.0f + u;
  V curved = fn_clamp_min(x, V{}) + (fn_log(w) + (u - (w - 1.0f)) / w);
  return select(x > 20.0f, x, curved);
}

INLINE V fn_erf(V x) {
  V a = fn_clamp_max(fn_abs(x), splat(4.1f)), s = a * a;
  V near = splat(8.218382572522387e-5f);
  near = fma(near, s, splat(-8.106569875963032e-4f));
  near = fma(near, s, splat(5.197838880121708e-3f));
  near = fma(near, s, splat(-2.6858113706111908e-2f));
  near = fma(near, s, splat(1.1283672600984573e-1f));
  near = fma(near, s, splat(-3.7612631916999817e-1f));
  near = fma(near, s, splat(1.128379225730896f)) * a;
  V far = splat(5.784741574643704e-7f);
  far = fma(far, a, splat(1.342866107734153e-5f));
  far = fma(far, a, splat(-3.908924700226635e-4f));
  far = fma(far, a, splat(4.032324068248272e-3f));
  far = fma(far, a, splat(-2.484859526157379e-2f));
  far = fma(far, a, splat(1.0794805735349655e-1f));
  far = fma(far, a, splat(6.335967183113098e-1f));
  far = fma(far, a, splat(1.1294094324111938f));
  far = fma(far, a, splat(-1.5553159755654633e-4f));
  return with_sign_of(select(a > 0.9f, 1.0f - fn_exp(-far), near), x);
}
