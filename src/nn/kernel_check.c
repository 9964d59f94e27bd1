#include "nn/kernel_check.h"

#include "base/random.h"
#include "nn/activation.h"
#include "nn/dense.h"
#include "nn/packed.h"

#include <assert.h>
#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Neither a multiple of what a register holds; as many rows as a block, and some alone. */
#define N_IN   ((size_t)77)
#define N_OUT  ((size_t)45)
#define N_ROWS ((size_t)19)
#define STRIDE ((size_t)48) /* of N_OUT in whole panels (nn/packed.h) */

struct check {
    float weight[N_OUT * N_IN], bias[N_OUT], rows[N_ROWS * N_IN], out[N_ROWS * STRIDE];
    float scratch[(N_IN + 1) * STRIDE]; /* of dense_forward() */
    double tolerance;
    float d_weight[N_OUT * N_IN], d_bias[N_OUT];
};

static void fill(float *values, size_t n, struct random *random)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(2.0 * random_uniform(random) - 1.0);
}

/* Whether a sum of that size is as it should be. */
static bool is_near(const struct check *check, float is, double should_be, double size)
{
    return fabs((double)is - should_be) <= check->tolerance * size;
}

/* bias + in · weight, or the squared distance, of every row and output. */
static bool sums_agree(const struct check *check, size_t stride, bool is_distance)
{
    for (size_t r = 0; r < N_ROWS; r++)
        for (size_t o = 0; o < N_OUT; o++) {
            double sum = is_distance ? 0.0 : (double)check->bias[o], size = fabs(sum);
            for (size_t i = 0; i < N_IN; i++) {
                const double in = (double)check->rows[r * N_IN + i];
                const double weight = (double)check->weight[o * N_IN + i];
                const double term = is_distance ? (in - weight) * (in - weight) : in * weight;
                sum += term;
                size += fabs(term);
            }
            if (!is_near(check, check->out[r * stride + o], sum, size))
                return false;
        }
    return true;
}

static double apply(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_RELU:
        return fmax(x, 0.0);
    case ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case ACTIVATION_ELU:
        return x > 0.0 ? x : expm1(x);
    case ACTIVATION_LINEAR:
    case N_ACTIVATIONS:
        break;
    }
    return x;
}

static bool activations_agree(struct check *check)
{
    for (size_t a = 0; a < N_ACTIVATIONS; a++) {
        activation_forward((enum activation)a, check->out, check->rows, N_IN);
        for (size_t i = 0; i < N_IN; i++)
            if (!is_near(check, check->out[i], apply((enum activation)a, (double)check->rows[i]),
                         1.0))
                return false;
    }
    return true;
}

static void multiply_with_blas(struct check *check)
{
    for (size_t r = 0; r < N_ROWS; r++)
        memcpy(check->out + r * N_OUT, check->bias, sizeof(check->bias));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N_ROWS, N_OUT, N_IN, 1.0F, check->rows,
                N_IN, check->weight, N_IN, 1.0F, check->out, N_OUT);
}

/* d_weight = outᵀ · rows, out being whatever it is. */
static bool products_agree(struct check *check, struct dense_shape shape)
{
    memset(check->d_weight, 0, sizeof(check->d_weight));
    memset(check->d_bias, 0, sizeof(check->d_bias));
    dense_backward(NULL, check->d_weight, check->d_bias, check->out, check->rows, check->weight,
                   shape, check->scratch);
    for (size_t o = 0; o < N_OUT; o++)
        for (size_t i = 0; i < N_IN; i++) {
            double sum = 0.0, size = 0.0;
            for (size_t r = 0; r < N_ROWS; r++) {
                const double term =
                    (double)check->out[r * N_OUT + o] * (double)check->rows[r * N_IN + i];
                sum += term;
                size += fabs(term);
            }
            if (!is_near(check, check->d_weight[o * N_IN + i], sum, size))
                return false;
        }
    return true;
}

static const char *find_difference(struct check *check, const struct packed *packed)
{
    const struct dense_shape shape = {.n_rows = N_ROWS, .n_in = N_IN, .n_out = N_OUT};
    assert(dense_scratch_floats(N_IN, N_OUT) <= sizeof(check->scratch) / sizeof(float));

    packed_multiply(packed, check->out, check->rows, N_IN, N_ROWS);
    if (!sums_agree(check, STRIDE, false))
        return "the multiplication of layers";
    packed_distances(packed, check->out, check->rows, N_IN, N_ROWS);
    if (!sums_agree(check, STRIDE, true))
        return "distances";
    dense_forward(check->out, check->rows, check->weight, check->bias, shape, check->scratch);
    if (!sums_agree(check, N_OUT, false))
        return "the multiplication of training";
    if (!products_agree(check, shape))
        return "the gradient of training";
    multiply_with_blas(check);
    if (!sums_agree(check, N_OUT, false))
        return "the multiplication of OpenBLAS";
    return activations_agree(check) ? NULL : "an activation";
}

int kernel_check(double tolerance, const char **ret_what)
{
    AUTO_FREE struct check *check = calloc(1, sizeof(*check));
    CLEANUP(packed_freep) struct packed *packed = NULL;
    struct random random;

    if (!check)
        return -ENOMEM;
    check->tolerance = tolerance;
    random_seed(&random, 1);
    fill(check->weight, N_OUT * N_IN, &random);
    fill(check->bias, N_OUT, &random);
    fill(check->rows, N_ROWS * N_IN, &random);
    int r = packed_new(check->weight, check->bias, N_IN, N_OUT, &packed);
    if (r < 0)
        return r;
    const char *what = find_difference(check, packed);
    if (what)
        *ret_what = what;
    return what ? -EIO : 0;
}
