/* random - reproducible random numbers: the same seed gives the same stream on every machine.
 *
 * xoshiro256++ by Blackman and Vigna, seeded through splitmix64 (prng.di.unimi.it). Not for
 * secrets. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
uint64_t random_u64(struct random *random);
double random_uniform(struct random *random);         /* [0, 1) */
double random_normal(struct random *random);          /* mean 0, deviation 1 */
size_t random_below(struct random *random, size_t n); /* 0 … n - 1, n > 0, unbiased */
void random_shuffle(struct random *random, size_t *items, size_t n);
