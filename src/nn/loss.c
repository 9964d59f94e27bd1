#include "nn/loss.h"

#include "nn/vector.h"
#include "nn/vector_math.h"

#define LANES       8 /* sums side by side, so that one addition need not wait for another */
#define CHUNK_LANES 32
#define CHUNK       2048

static inline float squared_error(float out, float target)
{
    return (out - target) * (out - target);
}

static inline float cross_entropy(float logit, float target)
{
    const float size = logit < 0.0F ? -logit : logit;
    const float positive = logit < 0.0F ? 0.0F : logit;

    return positive - logit * target + vector_log1p(vector_exp(-size));
}

static double sum_lanes(const double *lanes)
{
    double sum = 0.0;

    for (size_t k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}

/* Of at most CHUNK values: so few that floats can add them up. */
static inline float sum_chunk(const float *restrict out, const float *restrict target, size_t n)
{
    float lanes[CHUNK_LANES] = {0};
    size_t i = 0;

    for (; i + CHUNK_LANES <= n; i += CHUNK_LANES)
        for (size_t k = 0; k < CHUNK_LANES; k++)
            lanes[k] += squared_error(out[i + k], target[i + k]);
    for (size_t k = 0; i + k < n; k++)
        lanes[k] += squared_error(out[i + k], target[i + k]);
    for (size_t width = CHUNK_LANES / 2; width > 0; width /= 2)
        for (size_t k = 0; k < width; k++)
            lanes[k] += lanes[k + width];
    return lanes[0];
}

VECTOR_CLONES static double sum_squared_errors(const float *out, const float *target, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i += CHUNK)
        sum += (double)sum_chunk(out + i, target + i, n - i < CHUNK ? n - i : CHUNK);
    return sum;
}

/* Of one row whose features differ. */
VECTOR_CLONES static double sum_mixed(const float *sums, const float *out, const float *target,
                                      const bool *bounded, size_t n)
{
    const unsigned char *flags = (const unsigned char *)bounded; /* what the compiler vectorises */
    double lanes[LANES] = {0};

    for (size_t i = 0; i < n; i += LANES) {
        const size_t n_lanes = n - i < LANES ? n - i : LANES;
        float losses[LANES] = {0};

        for (size_t k = 0; k < n_lanes; k++) {
            const float entropy = cross_entropy(sums[i + k], target[i + k]);
            const float square = squared_error(out[i + k], target[i + k]);

            losses[k] = flags[i + k] ? entropy : square;
        }
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += (double)losses[k];
    }
    return sum_lanes(lanes);
}

double loss_forward(const struct loss *loss, const float *sums, const float *out,
                    const float *target, size_t n_rows)
{
    const size_t n = loss->n_features;
    double sum = 0.0;

    if (!loss->bounded)
        return sum_squared_errors(out, target, n_rows * n) / (double)(n_rows * n);
    for (size_t r = 0; r < n_rows; r++)
        sum += sum_mixed(sums + r * n, out + r * n, target + r * n, loss->bounded, n);
    return sum / (double)(n_rows * n);
}

VECTOR_CLONES static void subtract(float *restrict d_sums, const float *restrict out,
                                   const float *restrict target, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        d_sums[i] = scale * (out[i] - target[i]);
}

/* The gradient of cross-entropy by the logit is the plain difference. */
VECTOR_CLONES static void replace_bounded(float *d_sums, const float *out, const float *target,
                                          const bool *bounded, size_t n, float scale)
{
    const unsigned char *flags = (const unsigned char *)bounded;

    for (size_t i = 0; i < n; i++) {
        const float difference = scale * (out[i] - target[i]);

        d_sums[i] = flags[i] ? difference : d_sums[i];
    }
}

void loss_backward(const struct loss *loss, float *d_sums, const float *sums, const float *out,
                   const float *target, size_t n_rows)
{
    const size_t n = loss->n_features;
    const float scale = 1.0F / (float)(n_rows * n);

    subtract(d_sums, out, target, n_rows * n, 2.0F * scale);
    activation_backward(loss->activation, d_sums, sums, out, n_rows * n);
    for (size_t r = 0; loss->bounded && r < n_rows; r++)
        replace_bounded(d_sums + r * n, out + r * n, target + r * n, loss->bounded, n, scale);
}
