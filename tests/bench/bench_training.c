/* bench_training - how near a training comes to what the core can multiply and add.
 *
 *   bench_training [N_FEATURES [ROWS_FILE]]
 *
 * 50,000 rows, the layers of preset fast (38-24-12-24-38 for 38 features; tanh, linear output),
 * mean squared error, 20 passes, Adam, batches of 256, one thread, no noise. ROWS_FILE is written
 * if it is not there, else read: standardised floats as they are in memory, row by row, so that
 * others can train on the same rows. Prints one line of JSON; medians of rounds in which the peak
 * and the training take turns. */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/random.h"
#include "base/sort.h"
#include "nn/blas.h"
#include "nn/network.h"
#include "nn/training.h"
#include "nn/vector.h"

#include "measure.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_ROWS   50000
#define N_PASSES 20
#define N_BATCH  256
#define N_ROUNDS 9

static void standardise(float *rows, size_t n_features)
{
    for (size_t j = 0; j < n_features; j++) {
        double sum = 0.0, squares = 0.0;
        for (size_t i = 0; i < N_ROWS; i++) {
            const double value = (double)rows[i * n_features + j];
            sum += value;
            squares += value * value;
        }
        const double mean = sum / N_ROWS, std = sqrt(squares / N_ROWS - mean * mean);
        for (size_t i = 0; i < N_ROWS; i++)
            rows[i * n_features + j] = (float)(((double)rows[i * n_features + j] - mean) / std);
    }
}

/* Reads the rows, or makes and writes them. */
static int get_rows(const char *path, float *rows, size_t n_features)
{
    const size_t n = (size_t)N_ROWS * n_features;
    FILE *file = path ? fopen(path, "rb") : NULL;

    if (file) {
        const size_t n_read = fread(rows, sizeof(*rows), n, file);
        (void)fclose(file);
        return n_read == n ? 0 : -EINVAL;
    }
    int r = measure_make_rows(rows, N_ROWS, n_features);
    if (r < 0)
        return r;
    standardise(rows, n_features);
    if (!path)
        return 0;
    file = fopen(path, "wb");
    if (!file)
        return -errno;
    const size_t n_written = fwrite(rows, sizeof(*rows), n, file);
    return fclose(file) == 0 && n_written == n ? 0 : -EIO;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* As preset fast has them (detector/plan.c). */
static int make_network(size_t n_features, uint64_t seed, struct network **ret_network)
{
    const size_t hidden = smaller(64, (5 * n_features + 7) / 8);
    const size_t code = smaller(hidden, smaller(32, (3 * n_features + 9) / 10));
    const size_t widths[] = {n_features, hidden, code, hidden, n_features};
    const enum activation activations[] = {ACTIVATION_TANH, ACTIVATION_TANH, ACTIVATION_TANH,
                                           ACTIVATION_LINEAR};
    const struct network_shape shape = {
        .n_layers = 4, .n_encoder_layers = 2, .widths = widths, .activations = activations};
    struct random random;
    int r = network_new(&shape, ret_network);

    if (r < 0)
        return r;
    random_seed(&random, seed);
    network_init(*ret_network, NETWORK_INIT_GLOROT, &random);
    return 0;
}

/* Of one row there and back; nobody needs the gradient by the row. */
static double flop_a_row(const struct network *network)
{
    return 6.0 * (double)network->n_weights -
           2.0 * (double)(network->layers[0].n_in * network->layers[0].n_out);
}

static struct training_options options_of(size_t n_steps, uint64_t seed)
{
    return (struct training_options){
        .optimizer = {.kind = OPTIMIZER_ADAM},
        .learning_rate = 0.001,
        .n_steps = n_steps,
        .batch_size = N_BATCH,
        .seed = seed,
    };
}

struct measured {
    double seconds, gflop, loss;
};

static int train(const float *rows, size_t n_features, uint64_t seed, struct measured *ret_measured)
{
    CLEANUP(network_freep) struct network *network = NULL;
    const struct training_options options =
        options_of((N_ROWS + N_BATCH - 1) / N_BATCH * (size_t)N_PASSES, seed);
    const struct training_options no_steps = options_of(0, seed);
    struct training_result result;
    struct error err = {0};
    int r = make_network(n_features, seed, &network);

    if (r < 0)
        return r;
    const double begin = measure_cpu_seconds();
    r = training_run(network, rows, N_ROWS, NULL, 0, &options, NULL, NULL, &result, &err);
    ret_measured->seconds = measure_cpu_seconds() - begin;
    ret_measured->gflop = 1e-9 * N_ROWS * N_PASSES * flop_a_row(network);
    if (r == 0)
        r = training_run(network, rows, N_ROWS, NULL, 0, &no_steps, NULL, NULL, &result, &err);
    ret_measured->loss = result.loss;
    return r;
}

int main(int argc, char **argv)
{
    const size_t n_features = argc > 1 ? strtoul(argv[1], NULL, 10) : 38;
    double peak[N_ROUNDS], seconds[N_ROUNDS], loss[N_ROUNDS];
    struct measured measured = {0};

    blas_use_one_thread();
    if (n_features == 0 || n_features > NETWORK_MAX_WIDTH) {
        (void)fprintf(stderr, "usage: bench_training [N_FEATURES [ROWS_FILE]]\n");
        return 2;
    }
    AUTO_FREE float *rows = malloc((size_t)N_ROWS * n_features * sizeof(*rows));
    int r = rows ? get_rows(argc > 2 ? argv[2] : NULL, rows, n_features) : -ENOMEM;
    for (size_t round = 0; r == 0 && round < N_ROUNDS; round++) {
        peak[round] = measure_peak_gflops();
        r = train(rows, n_features, round + 1, &measured);
        seconds[round] = measured.seconds;
        loss[round] = measured.loss;
    }
    if (r < 0) {
        (void)fprintf(stderr, "bench_training: %s\n", strerror(-r));
        return 1;
    }
    const double took = sort_median(seconds, N_ROUNDS), most = sort_median(peak, N_ROUNDS);
    (void)printf(
        "{\"who\": \"anomalyd\", \"kernel\": \"%s\", \"features\": %zu, \"seconds\": %.3f, "
        "\"gflops\": %.1f, \"peak_gflops\": %.1f, \"share_of_peak\": %.3f, "
        "\"loss\": %.6f}\n",
        vector_kernel(), n_features, took, measured.gflop / took, most,
        measured.gflop / took / most, sort_median(loss, N_ROUNDS));
    return 0;
}
