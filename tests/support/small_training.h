/* small_training - rows and networks for tests of training. Everything is static: include it from
 * the file of one test. */
#pragma once

#include "base/random.h"
#include "nn/network.h"
#include "nn/training.h"

#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS     256
#define MAX_FEATURES 10

static float rows[MAX_ROWS * MAX_FEATURES], other_rows[MAX_ROWS * MAX_FEATURES];
static struct training_options options;
static struct training_result result;
static struct error error;

static inline int set_up(void **state)
{
    (void)state;
    options = (struct training_options){
        .optimizer = {.kind = OPTIMIZER_ADAM},
        .learning_rate = 0.01,
        .n_steps = 100,
        .batch_size = 16,
        .seed = 1,
    };
    memset(&result, 0, sizeof(result));
    memset(&error, 0, sizeof(error));
    return 0;
}

static inline void fill_normal(float *values, size_t n, uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)random_normal(&random);
}

/* Rows near a plane of two dimensions in n_features. */
static inline void fill_plane(float *values, size_t n_rows, size_t n_features, double deviation,
                              uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    for (size_t r = 0; r < n_rows; r++) {
        const double a = random_normal(&random), b = random_normal(&random);
        for (size_t j = 0; j < n_features; j++) {
            const double angle = 1.3 * (double)j;
            *values++ = (float)(a * cos(angle) + b * sin(angle) + 0.1 * (double)j +
                                deviation * random_normal(&random));
        }
    }
}

/* n_features - [hidden -] n_codes - [hidden -] n_features; hidden 0: none. The last layer is
 * linear. */
static inline struct network *build(size_t n_features, size_t hidden, size_t n_codes,
                                    enum activation bend, enum activation code, const bool *bounded)
{
    const size_t deep[] = {n_features, hidden, n_codes, hidden, n_features};
    const size_t flat[] = {n_features, n_codes, n_features};
    const enum activation deep_bends[] = {bend, code, bend, ACTIVATION_LINEAR};
    const enum activation flat_bends[] = {code, ACTIVATION_LINEAR};
    const struct network_shape shape = {
        .n_layers = hidden ? 4 : 2,
        .n_encoder_layers = hidden ? 2 : 1,
        .widths = hidden ? deep : flat,
        .activations = hidden ? deep_bends : flat_bends,
        .bounded = bounded,
    };
    struct network *network = NULL;
    struct random random;

    assert_int_equal(network_new(&shape, &network), 0);
    random_seed(&random, 11);
    network_init(network, NETWORK_INIT_GLOROT, &random);
    return network;
}

static inline struct network *build_linear(size_t n_features, size_t n_codes)
{
    return build(n_features, 0, n_codes, ACTIVATION_LINEAR, ACTIVATION_LINEAR, NULL);
}

static inline int train(struct network *network, size_t n_rows)
{
    return training_run(network, rows, n_rows, NULL, 0, &options, NULL, NULL, &result, &error);
}

/* What a training that cannot fail leaves. */
static inline void train_well(struct network *network, size_t n_rows)
{
    const int r = train(network, n_rows);

    if (r < 0)
        fail_msg("%s", error.text);
}

/* Runs network over values[n_rows]; free the scratch, from which the results are taken. */
static inline float *run_forward(const struct network *network, const float *values, size_t n_rows)
{
    float *scratch = calloc(network_training_floats(network, n_rows), sizeof(*scratch));

    assert_non_null(scratch);
    network_forward(network, scratch, values, n_rows);
    return scratch;
}

/* Mean squared difference between targets and what network makes of values. */
static inline double squared_error(const struct network *network, const float *values,
                                   const float *targets, size_t n_rows)
{
    AUTO_FREE float *scratch = run_forward(network, values, n_rows);
    const float *out = network_output(network, scratch, n_rows);
    const size_t n = n_rows * network_n_features(network);
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += pow((double)(out[i] - targets[i]), 2);
    return sum / (double)n;
}

static inline double distance(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += pow((double)(a[i] - b[i]), 2);
    return sqrt(sum);
}

static inline float *copy_params(const struct network *network)
{
    float *params = malloc(network->n_params * sizeof(*params));

    assert_non_null(params);
    memcpy(params, network->params, network->n_params * sizeof(*params));
    return params;
}
