#include "base/random.h"

#include <assert.h>
#include <math.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

void random_seed(struct random *random, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t random_u64(struct random *random)
{
    uint64_t *s = random->state;
    const uint64_t result = rotate(s[0] + s[3], 23) + s[0];
    const uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

double random_uniform(struct random *random)
{
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

/* Box-Muller; the second value is thrown away, so that the state is only the four words. */
double random_normal(struct random *random)
{
    const double radius = sqrt(-2.0 * log(1.0 - random_uniform(random)));

    return radius * cos(2.0 * M_PI * random_uniform(random));
}

/* Lemire, "Fast Random Integer Generation in an Interval" (2019): no modulo bias. */
size_t random_below(struct random *random, size_t n)
{
    assert(n > 0);
    unsigned __int128 product = (unsigned __int128)random_u64(random) * n;

    if ((uint64_t)product < n) {
        const uint64_t threshold = -(uint64_t)n % n;
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)random_u64(random) * n;
    }
    return (size_t)(product >> 64);
}

void random_shuffle(struct random *random, size_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = random_below(random, i);
        const size_t kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}
