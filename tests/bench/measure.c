#include "measure.h"

#include "base/cleanup.h"
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define N_CAUSES     8
#define N_SUMS       12
#define N_FMA_ROUNDS 10000000

double measure_cpu_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Twelve independent sums in registers of so many floats hide the latency of a multiply-add. */
#define DEFINE_PEAK(name, instructions, n_lanes)                                     \
    __attribute__((target(instructions))) static double name(void)                   \
    {                                                                                \
        typedef float lanes __attribute__((vector_size((n_lanes) * sizeof(float)))); \
        lanes sums[N_SUMS], factor, term;                                            \
                                                                                     \
        for (size_t lane = 0; lane < (n_lanes); lane++) {                            \
            factor[lane] = 0.999F;                                                   \
            term[lane] = 1e-3F;                                                      \
        }                                                                            \
        for (size_t i = 0; i < N_SUMS; i++)                                          \
            sums[i] = term;                                                          \
        const double begin = measure_cpu_seconds();                                  \
        for (size_t round = 0; round < N_FMA_ROUNDS; round++) {                      \
            _Pragma("GCC unroll 12") for (size_t i = 0; i < N_SUMS; i++) sums[i] =   \
                sums[i] * factor + term;                                             \
        }                                                                            \
        const double seconds = measure_cpu_seconds() - begin;                        \
        for (size_t i = 0; i < N_SUMS; i++)                                          \
            __asm__ volatile("" ::"x"(sums[i]));                                     \
        return 2.0 * (n_lanes)*N_SUMS * N_FMA_ROUNDS / seconds / 1e9;                \
    }

DEFINE_PEAK(peak_of_8, "avx2,fma", 8)
DEFINE_PEAK(peak_of_16, "avx512f", 16)

double measure_peak_gflops(void)
{
    const double narrow = peak_of_8();
    const double wide = __builtin_cpu_supports("avx512f") ? peak_of_16() : 0.0;

    return wide > narrow ? wide : narrow;
}

int measure_make_rows(float *rows, size_t n_rows, size_t n_features)
{
    struct random random;
    AUTO_FREE float *mix = malloc(N_CAUSES * n_features * sizeof(*mix));

    if (!mix)
        return -ENOMEM;
    random_seed(&random, 1);
    for (size_t i = 0; i < N_CAUSES * n_features; i++)
        mix[i] = (float)random_normal(&random);
    for (size_t i = 0; i < n_rows; i++) {
        float *row = rows + i * n_features;
        for (size_t j = 0; j < n_features; j++)
            row[j] = 0.3F * (float)random_normal(&random);
        for (size_t c = 0; c < N_CAUSES; c++) {
            const float cause = (float)random_normal(&random);
            for (size_t j = 0; j < n_features; j++)
                row[j] += cause * mix[c * n_features + j];
        }
    }
    return 0;
}
