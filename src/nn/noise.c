#include "nn/noise.h"

#include "base/random.h"
#include "nn/vector.h"
#include "nn/vector_math.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define CHUNK 512 /* numbers drawn at a time; stays in the first-level cache */
#define LANES __attribute__((vector_size(NOISE_LANES * sizeof(uint32_t))))

void noise_seed(struct noise *noise, uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    for (size_t word = 0; word < 4; word++)
        for (size_t lane = 0; lane < NOISE_LANES; lane++)
            noise->state[word][lane] = (uint32_t)(random_u64(&random) >> 32);
}

/* out[n], n > 0 a multiple of NOISE_LANES. The low bits are weak; take the high ones. */
VECTOR_CLONES
static void draw(struct noise *noise, uint32_t *out, size_t n)
{
    LANES uint32_t a, b, c, d;
    size_t i = 0;

    memcpy(&a, noise->state[0], sizeof(a));
    memcpy(&b, noise->state[1], sizeof(b));
    memcpy(&c, noise->state[2], sizeof(c));
    memcpy(&d, noise->state[3], sizeof(d));
    do {
        const LANES uint32_t sum = a + d, shifted = b << 9;

        memcpy(out + i, &sum, sizeof(sum));
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = (d << 11) | (d >> 21);
        i += NOISE_LANES;
    } while (i < n);
    memcpy(noise->state[0], &a, sizeof(a));
    memcpy(noise->state[1], &b, sizeof(b));
    memcpy(noise->state[2], &c, sizeof(c));
    memcpy(noise->state[3], &d, sizeof(d));
}

/* Pairs of normal deviates: a radius from bits[n], an angle from bits[n] behind them. */
VECTOR_CLONES
static void box_muller(const uint32_t *restrict bits, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float uniform = (float)((int32_t)(bits[i] >> 8) + 1) * 0x1p-24F; /* never 0 */
        const float turns = (float)((int32_t)bits[n + i] >> 8) * 0x1p-24F;     /* -0.5 to 0.5 */
        const float radius = sqrtf(-2.0F * vector_log(uniform));

        out[i] = radius * vector_cos_turns(turns);
        out[n + i] = radius * vector_sin_turns(turns);
    }
}

VECTOR_CLONES
static void to_uniform(const uint32_t *restrict bits, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(int32_t)(bits[i] >> 8) * 0x1p-24F;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

void noise_normal(struct noise *noise, float *out, size_t n)
{
    VECTOR_UNINITIALIZED uint32_t bits[CHUNK];
    VECTOR_UNINITIALIZED float normals[CHUNK];

    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t n_wanted = n - i < CHUNK ? n - i : CHUNK;
        const size_t n_drawn = round_up(n_wanted, (size_t)2 * NOISE_LANES);

        draw(noise, bits, n_drawn);
        box_muller(bits, normals, n_drawn / 2);
        memcpy(out + i, normals, n_wanted * sizeof(float));
    }
}

void noise_uniform(struct noise *noise, float *out, size_t n)
{
    VECTOR_UNINITIALIZED uint32_t bits[CHUNK];

    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t n_wanted = n - i < CHUNK ? n - i : CHUNK;

        draw(noise, bits, round_up(n_wanted, NOISE_LANES));
        to_uniform(bits, out + i, n_wanted);
    }
}

VECTOR_CLONES
static void add_scaled(float *out, const float *in, const float *restrict normals, float scale,
                       size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] + scale * normals[i];
}

VECTOR_CLONES
static void mask_below(float *out, const float *in, const float *restrict uniforms, float share,
                       size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniforms[i] < share ? 0.0F : in[i];
}

void noise_corrupt(struct noise *noise, enum noise_kind kind, double amount, float *out,
                   const float *in, float *scratch, size_t n)
{
    assert(amount >= 0.0 && (kind != NOISE_MASKING || amount <= 1.0));

    switch (kind) {
    case NOISE_NONE:
        memmove(out, in, n * sizeof(*out));
        break;
    case NOISE_GAUSSIAN:
        noise_normal(noise, scratch, n);
        add_scaled(out, in, scratch, (float)amount, n);
        break;
    case NOISE_MASKING:
        noise_uniform(noise, scratch, n);
        mask_below(out, in, scratch, (float)amount, n);
        break;
    }
}
