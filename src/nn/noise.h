/* noise - random numbers in bulk for denoising: eight generators side by side (xoshiro128+,
 * Blackman & Vigna 2018) that the compiler vectorises, normal deviates by Box & Muller 1958. Same
 * seed, same numbers. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NOISE_LANES 8

enum noise_kind {
    NOISE_NONE,
    NOISE_GAUSSIAN, /* adds a normal deviate of deviation `amount` */
    NOISE_MASKING   /* sets a share `amount` of the values to 0 */
};

struct noise {
    uint32_t state[4][NOISE_LANES];
};

void noise_seed(struct noise *noise, uint64_t seed);

void noise_normal(struct noise *noise, float *out, size_t n);  /* mean 0, deviation 1 */
void noise_uniform(struct noise *noise, float *out, size_t n); /* in [0, 1) */

/* out[n] = in[n] with noise; scratch[n]. amount is at least 0, for masking at most 1. */
void noise_corrupt(struct noise *noise, enum noise_kind kind, double amount, float *out,
                   const float *in, float *scratch, size_t n);
