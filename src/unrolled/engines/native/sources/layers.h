// The layers at a net's end: a matrix with a bias, and the softmax loss. Rows are split over threads; what a row
// gives depends on nothing but the row.

enum { BLOCK = 96 };  // rows worked on together

INLINE long first_of(long count, long k, long n) { return count * k / n; }

extern "C" {

int64_t lanes() { return LANES; }

// Rooms, in numbers.
int64_t room_for_matrix(int64_t D, int64_t K) { return padded(K) * D + padded(D) * K; }
int64_t room_for_rows(int64_t D, int64_t K, int64_t threads) {
  const long widest = D > K ? D : K, block = BLOCK * (padded(widest) + room_for_words(widest));
  const long outer = room_for_outer(D);
  return threads * (block > outer ? block : outer);
}

// y [N, K] = bias (or 0) + x [N, D] · W, whose element (d, k) is W[d · step_d + k · step_k]
void linear_forward(int64_t N, int64_t D, int64_t K, int64_t threads, const float *x, const float *W, int64_t step_d,
                    int64_t step_k, const float *bias, float *y, float *packed, float *scratch) {
  const long P = padded(K), n = threads, share = room_for_rows(D, K, 1);
  pack_panels(W, step_d, step_k, D, K, packed, words(D), 0);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++) {
    float *sums = scratch + k * share;
    for (long r = first_of(N, k, n), stop = first_of(N, k + 1, n); r < stop; r += BLOCK) {
      const long now = smaller(BLOCK, stop - r);
      for (long i = 0; i < now; i++)
        for (long u = 0; u < P; u += LANES) store(sums + i * P + u, bias && u < K ? load_part(bias + u, K - u) : V{});
      times_panels(now, as_words({x + r * D, D}, D, now, sums + BLOCK * P), packed, words(D), K, sums, P);
      for (long i = 0; i < now; i++) memcpy(y + (r + i) * K, sums + i * P, (size_t)K * 4);
    }
  }
}

// d_x [N, D], d_W [D, padded K] and d_bias [padded K], each of which may be null
void linear_backward(int64_t N, int64_t D, int64_t K, int64_t threads, const float *x, const float *W, int64_t step_d,
                     int64_t step_k, const float *d_y, float *d_x, float *d_W, float *d_bias, float *packed,
                     float *scratch) {
  const long P = padded(D), wide = padded(K), n = threads, share = room_for_rows(D, K, 1);
  if (d_x) pack_panels(W, step_k, step_d, K, D, packed, words(K), 0);
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++) {
    float *sums = scratch + k * share;
    for (long r = first_of(N, k, n), stop = first_of(N, k + 1, n); d_x && r < stop; r += BLOCK) {
      const long now = smaller(BLOCK, stop - r);
      memset(sums, 0, (size_t)(now * P) * 4);
      times_panels(now, as_words({d_y + r * K, K}, K, now, sums + BLOCK * P), packed, words(K), D, sums, P);
      for (long i = 0; i < now; i++) memcpy(d_x + (r + i) * D, sums + i * P, (size_t)D * 4);
    }
    const long from = wide / LANES * k / n * LANES, to = wide / LANES * (k + 1) / n * LANES;
    if (d_W) outer_product(N, {x, D}, D, {d_y, K}, K, from, to, d_W, wide, sums);
    for (long u = from; d_bias && u < to; u += LANES) {
      V sum = {};
      for (long r = 0; r < N; r++) sum = sum + load_part(d_y + r * K + u, K - u);
      store(d_bias + u, sum);
    }
  }
}

// For each row of logits [N, K]: log Σ exp, and nats = that − the target's logit; 0 where the target is −1.
// right: whether the target is the likeliest, the first of several.
void softmax_forward(int64_t N, int64_t K, int64_t threads, const float *logits, const int64_t *targets, float *nats,
                     float *log_sums, uint8_t *right) {
  const long n = threads;
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    for (long r = first_of(N, k, n); r < first_of(N, k + 1, n); r++) {
      const float *row = logits + r * K;
      V most = splat(-__builtin_inff()), sums = {};
      for (long u = 0; u < K; u += LANES) most = fn_maximum(load_or(row + u, K - u, -__builtin_inff()), most);
      float top = most[0], sum = 0.0f;
      for (int i = 1; i < LANES; i++) top = most[i] > top || most[i] != most[i] ? most[i] : top;
      for (long u = 0; u < K; u += LANES)
        sums = sums + fn_exp(load_or(row + u, K - u, -__builtin_inff()) - splat(top));
      for (int i = 0; i < LANES; i++) sum += sums[i];
      const long target = targets[r];
      log_sums[r] = top + fn_log(splat(sum))[0];
      nats[r] = target < 0 ? 0.0f : log_sums[r] - row[target];
      right[r] = target >= 0 && row[target] == top;
      for (long i = 0; right[r] && i < target; i++) right[r] = row[i] < top;
    }
}

// d_logits [N, K] = d_nats · (softmax − one-hot target)
void softmax_backward(int64_t N, int64_t K, int64_t threads, const float *logits, const int64_t *targets,
                      const float *log_sums, const float *d_nats, float *d_logits) {
  const long n = threads;
#pragma omp parallel for num_threads(n) schedule(static, 1) if (n > 1)
  for (long k = 0; k < n; k++)
    for (long r = first_of(N, k, n); r < first_of(N, k + 1, n); r++) {
      const float *row = logits + r * K, d = targets[r] < 0 ? 0.0f : d_nats[r];
      float *out = d_logits + r * K;
      for (long u = 0; u < K; u += LANES)
        store_part(out + u, targets[r] < 0 ? V{} : fn_exp(load_part(row + u, K - u) - splat(log_sums[r])) * d, K - u);
      if (targets[r] >= 0) out[targets[r]] -= d;
    }
}

}  // extern "C"
