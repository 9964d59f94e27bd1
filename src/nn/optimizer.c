#include "nn/optimizer.h"

#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOMENTUM       0.9
#define MEAN_DECAY     0.9
#define SQUARE_DECAY   0.999
#define EPSILON        1e-8
#define CLIP_EPSILON   1e-6
#define N_PARTIAL_SUMS 32

static const char *const names[N_OPTIMIZERS] = {
    [OPTIMIZER_SGD] = "sgd",   [OPTIMIZER_MOMENTUM] = "momentum", [OPTIMIZER_NESTEROV] = "nesterov",
    [OPTIMIZER_ADAM] = "adam", [OPTIMIZER_ADAMW] = "adamw",
};

const char *optimizer_name(enum optimizer_kind kind)
{
    return names[kind];
}

int optimizer_from_name(const char *name, enum optimizer_kind *ret_kind)
{
    for (size_t i = 0; i < N_OPTIMIZERS; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_kind = (enum optimizer_kind)i;
            return 0;
        }
    return -EINVAL;
}

static bool has_mean_square(enum optimizer_kind kind)
{
    return kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMW;
}

int optimizer_init(struct optimizer *optimizer, const struct optimizer_options *options,
                   size_t n_params, size_t n_decayed)
{
    assert(n_decayed <= n_params && options->kind < N_OPTIMIZERS);
    AUTO_FREE float *mean = calloc(n_params, sizeof(*mean));
    AUTO_FREE float *mean_square = NULL;

    if (has_mean_square(options->kind))
        mean_square = calloc(n_params, sizeof(*mean_square));
    if (!mean || (has_mean_square(options->kind) && !mean_square))
        return -ENOMEM;

    *optimizer = (struct optimizer){
        .options = *options,
        .n_params = n_params,
        .n_decayed = n_decayed,
        .mean = TAKE(mean),
        .mean_square = TAKE(mean_square),
    };
    return 0;
}

void optimizer_clear(struct optimizer *optimizer)
{
    free(optimizer->mean);
    free(optimizer->mean_square);
    *optimizer = (struct optimizer){0};
}

/* One step's numbers; the decays are 0 for biases. */
struct step {
    float rate;       /* adam: by the bias correction of the mean */
    float root_scale; /* adam: by the bias correction of the root of the mean square */
    float l2, l1;
    float shrink; /* adamw: 1 - rate · weight_decay */
};

static inline float decayed(float d, float param, const struct step *step)
{
    const float sign = (float)((param > 0.0F) - (param < 0.0F));

    return d + step->l2 * param + step->l1 * sign;
}

VECTOR_CLONES
static void step_sgd(struct step step, size_t n, float *restrict params,
                     const float *restrict d_params)
{
    for (size_t i = 0; i < n; i++)
        params[i] -= step.rate * decayed(d_params[i], params[i], &step);
}

VECTOR_CLONES
static void step_momentum(struct step step, size_t n, float *restrict params,
                          const float *restrict d_params, float *restrict velocity)
{
    const float momentum = (float)MOMENTUM;

    for (size_t i = 0; i < n; i++) {
        const float v = momentum * velocity[i] + decayed(d_params[i], params[i], &step);

        velocity[i] = v;
        params[i] -= step.rate * v;
    }
}

VECTOR_CLONES
static void step_nesterov(struct step step, size_t n, float *restrict params,
                          const float *restrict d_params, float *restrict velocity)
{
    const float momentum = (float)MOMENTUM;

    for (size_t i = 0; i < n; i++) {
        const float d = decayed(d_params[i], params[i], &step);
        const float v = momentum * velocity[i] + d;

        velocity[i] = v;
        params[i] -= step.rate * (d + momentum * v);
    }
}

VECTOR_CLONES
static void step_adam(struct step step, size_t n, float *restrict params,
                      const float *restrict d_params, float *restrict mean,
                      float *restrict mean_square)
{
    const float b1 = (float)MEAN_DECAY, b2 = (float)SQUARE_DECAY, epsilon = (float)EPSILON;
    const float c1 = (float)(1.0 - MEAN_DECAY), c2 = (float)(1.0 - SQUARE_DECAY);

    for (size_t i = 0; i < n; i++) {
        const float d = decayed(d_params[i], params[i], &step);
        const float m = b1 * mean[i] + c1 * d;
        const float s = b2 * mean_square[i] + c2 * d * d;

        mean[i] = m;
        mean_square[i] = s;
        params[i] =
            step.shrink * params[i] - step.rate * m / (sqrtf(s) * step.root_scale + epsilon);
    }
}

/* Of the params from begin to end, which are decayed alike. */
static void step_range(const struct optimizer *optimizer, struct step step, size_t begin,
                       size_t end, float *params, const float *d_params)
{
    const size_t n = end - begin;
    float *mean = optimizer->mean + begin;

    switch (optimizer->options.kind) {
    case OPTIMIZER_SGD:
        step_sgd(step, n, params + begin, d_params + begin);
        break;
    case OPTIMIZER_MOMENTUM:
        step_momentum(step, n, params + begin, d_params + begin, mean);
        break;
    case OPTIMIZER_NESTEROV:
        step_nesterov(step, n, params + begin, d_params + begin, mean);
        break;
    case OPTIMIZER_ADAM:
    case OPTIMIZER_ADAMW:
        step_adam(step, n, params + begin, d_params + begin, mean, optimizer->mean_square + begin);
        break;
    case N_OPTIMIZERS:
        break;
    }
}

void optimizer_step(struct optimizer *optimizer, float *params, const float *d_params,
                    double learning_rate)
{
    const struct optimizer_options *options = &optimizer->options;
    struct step step = {.rate = (float)learning_rate, .shrink = 1.0F};

    optimizer->step++;
    if (has_mean_square(options->kind)) { /* the averages start at 0; this takes that bias away */
        const double steps = (double)optimizer->step;
        step.rate = (float)(learning_rate / (1.0 - pow(MEAN_DECAY, steps)));
        step.root_scale = (float)(1.0 / sqrt(1.0 - pow(SQUARE_DECAY, steps)));
    }
    struct step decay = step;
    decay.l1 = (float)options->l1;
    if (options->kind == OPTIMIZER_ADAMW)
        decay.shrink = (float)(1.0 - learning_rate * options->weight_decay);
    else
        decay.l2 = (float)options->weight_decay;

    step_range(optimizer, decay, 0, optimizer->n_decayed, params, d_params);
    step_range(optimizer, step, optimizer->n_decayed, optimizer->n_params, params, d_params);
}

/* Several partial sums: one alone would wait for each addition. */
VECTOR_CLONES
static double sum_of_squares(const float *x, size_t n)
{
    double sums[N_PARTIAL_SUMS] = {0.0};
    size_t i = 0;

    for (; i + N_PARTIAL_SUMS <= n; i += N_PARTIAL_SUMS)
        for (size_t j = 0; j < N_PARTIAL_SUMS; j++)
            sums[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        sums[0] += (double)x[i] * (double)x[i];

    double sum = 0.0;
    for (size_t j = 0; j < N_PARTIAL_SUMS; j++)
        sum += sums[j];
    return sum;
}

double optimizer_clip(float *d_params, size_t n, double max_norm)
{
    const double norm = sqrt(sum_of_squares(d_params, n));

    if (max_norm > 0.0 && norm > max_norm) {
        const float scale = (float)(max_norm / (norm + CLIP_EPSILON));
        for (size_t i = 0; i < n; i++)
            d_params[i] *= scale;
    }
    return norm;
}
