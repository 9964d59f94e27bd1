/* bench_detector - what training and scoring cost, as ratios to what the processor can do: run by
 * `make bench`.
 *
 * CPU time of this thread, everything measured in turns in one run, medians: a noisy neighbour hits
 * both sides of a ratio. Rows are made up: 38 features that hang on 8 causes. */
#include "base/sort.h"
#include "detector/detector.h"
#include "detector/movement.h"
#include "detector/scaler.h"
#include "detector/trainer.h"

#include "measure.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define N_FEATURES  38
#define N_ROWS      10000
#define N_ROUNDS    9
#define TRAIN_GFLOP 50.0 /* what preset best needs, rounded up */

static struct detector *train(const float *rows)
{
    static char texts[N_FEATURES][8];
    const char *names[N_FEATURES];
    struct trainer_options options = {.n_threads = 1};
    struct detector *detector = NULL;
    struct error err = {0};

    for (size_t j = 0; j < N_FEATURES; j++) {
        (void)snprintf(texts[j], sizeof(texts[j]), "f%zu", j);
        names[j] = texts[j];
    }
    recipe_init(&options.recipe);
    if (detector_train(rows, N_ROWS, names, N_FEATURES, &options, NULL, NULL, &detector, &err) <
        0) {
        (void)fprintf(stderr, "bench_detector: %s\n", err.text);
        exit(1);
    }
    return detector;
}

/* Microseconds a row. */
static double score(const struct detector *detector, struct workspace *workspace, const float *rows,
                    struct verdict *verdicts, size_t batch)
{
    const double begin = measure_cpu_seconds();

    for (size_t i = 0; i + batch <= N_ROWS; i += batch)
        if (detector_score(detector, workspace, rows + i * N_FEATURES, batch, 1.0, verdicts) < 0)
            exit(1);
    return 1e6 * (measure_cpu_seconds() - begin) / (double)(N_ROWS / batch * batch);
}

/* Microseconds a row to follow its series, and to explain it then: every row has a fault of five
 * deviations in three features. */
static void explain(const struct detector *detector, struct workspace *workspace, float *rows,
                    double *ret_follow, double *ret_explain)
{
    CLEANUP(movement_freep) struct movement *movement = NULL;
    struct contribution parts[N_FEATURES];
    const float *std = scaler_std(detector_ensemble(detector)->scaler);

    if (movement_new(N_FEATURES, &movement) < 0)
        exit(1);
    double begin = measure_cpu_seconds();
    for (size_t i = 0; i < N_ROWS; i++)
        if (detector_follow(detector, workspace, rows + i * N_FEATURES, movement) < 0)
            exit(1);
    *ret_follow = 1e6 * (measure_cpu_seconds() - begin) / N_ROWS;
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t j = 0; j < N_FEATURES; j += 13)
            rows[i * N_FEATURES + (i + j) % N_FEATURES] += 5 * std[(i + j) % N_FEATURES];
    begin = measure_cpu_seconds();
    for (size_t i = 0; i < N_ROWS; i++)
        if (detector_explain(detector, workspace, rows + i * N_FEATURES, movement->hold, NULL,
                             parts) < 0)
            exit(1);
    *ret_explain = 1e6 * (measure_cpu_seconds() - begin) / N_ROWS;
}

/* Microseconds of one matrix times vector of as many multiply-adds. */
static double sgemv(const float *matrix, size_t width, float *vector)
{
    enum {
        N_TIMES = 5000
    };
    const double begin = measure_cpu_seconds();

    for (size_t i = 0; i < N_TIMES; i++)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)width, (int)width, 1.0F, matrix, (int)width,
                    vector, 1, 0.0F, vector + width, 1);
    return 1e6 * (measure_cpu_seconds() - begin) / N_TIMES;
}

int main(void)
{
    AUTO_FREE float *rows = malloc((size_t)N_ROWS * N_FEATURES * sizeof(*rows));
    AUTO_FREE struct verdict *verdicts = malloc(N_ROWS * sizeof(*verdicts));
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    double peak[N_ROUNDS], training[N_ROUNDS], alone[N_ROUNDS], batch[N_ROUNDS], gemv[N_ROUNDS];
    double follow[N_ROUNDS], explained[N_ROUNDS];
    struct ensemble_cost cost = {0};

    detector_init();
    if (!rows || !verdicts || detector_workspace_new(&workspace) < 0)
        return 1;
    for (size_t round = 0; round < N_ROUNDS; round++) {
        if (measure_make_rows(rows, N_ROWS, N_FEATURES) < 0)
            return 1;
        peak[round] = measure_peak_gflops();
        const double begin = measure_cpu_seconds();
        CLEANUP(detector_freep) struct detector *detector = train(rows);
        training[round] = measure_cpu_seconds() - begin;

        cost = ensemble_cost(detector_ensemble(detector));
        const size_t width = (size_t)lround(sqrt((double)cost.multiply_adds));
        AUTO_FREE float *matrix = calloc(width * width + 2 * width, sizeof(*matrix));
        if (!matrix)
            return 1;
        alone[round] = score(detector, workspace, rows, verdicts, 1);
        batch[round] = score(detector, workspace, rows, verdicts, 1000);
        gemv[round] = sgemv(matrix, width, matrix + width * width);
        explain(detector, workspace, rows, &follow[round], &explained[round]);
    }
    const double peak_gflops = sort_median(peak, N_ROUNDS);
    const double at_peak = TRAIN_GFLOP / peak_gflops, seconds = sort_median(training, N_ROUNDS);
    const double one = sort_median(alone, N_ROUNDS), many = sort_median(batch, N_ROUNDS);
    const double vector = sort_median(gemv, N_ROUNDS);
    const double followed = sort_median(follow, N_ROUNDS);
    const double explanation = sort_median(explained, N_ROUNDS);
    char kernels[DETECTOR_KERNELS_SIZE];

    detector_print_kernels(kernels);
    (void)printf("kernels                   %s\n", kernels);
    (void)printf("multiply-add peak         %.1f GFLOP/s\n", peak_gflops);
    (void)printf("training %d x %d       %.2f s, %.2f times %.0f GFLOP at the peak\n", N_ROWS,
                 N_FEATURES, seconds, seconds / at_peak, TRAIN_GFLOP);
    (void)printf("cost of a row             %zu multiply-adds, %zu kB\n", cost.multiply_adds,
                 (cost.bytes + 500) / 1000);
    (void)printf("sgemv of that size        %.2f us\n", vector);
    (void)printf("a row alone               %.2f us, %.2f times the sgemv\n", one, one / vector);
    (void)printf("a row in a batch          %.2f us, %.2f times the sgemv\n", many, many / vector);
    (void)printf("following its series      %.2f us\n", followed);
    (void)printf("explaining three faults   %.2f us: %.2f times the verdict without\n", explanation,
                 (one + followed + explanation) / (one + followed));
    return 0;
}
