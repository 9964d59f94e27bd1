/* vector_math - exp and friends without a branch or a call, so that the compiler vectorises the
 * loops around them. Relative error below 3e-7; NaN stays NaN. Arguments beyond ±VECTOR_EXP_LIMIT
 * count as the limit: no result overflows or is denormal.
 *
 * exp(x) = 2ⁿ exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2, and exp(r) - 1 a polynomial. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VECTOR_EXP_LIMIT 87.0F

/* Two comparisons in a row would be one branch too many for the compiler: the sign goes round. */
static inline float vector_clamp(float x)
{
    const float size = __builtin_fabsf(x);

    return __builtin_copysignf(size > VECTOR_EXP_LIMIT ? VECTOR_EXP_LIMIT : size, x);
}

/* exp(x) = *ret_scale · (1 + returned value) */
static inline float vector_exp_parts(float x, float *ret_scale)
{
    const float round = 0x1.8p23F; /* a float this large has no bits left for a fraction */
    const float shifted = x * 0x1.715476p+0F + round;
    const float n = shifted - round;
    const float r = (x - n * 0x1.62e4p-1F) - n * 0x1.7f7d1cp-20F; /* ln 2 in two parts */
    uint32_t bits;

    memcpy(&bits, &shifted, sizeof(bits));
    bits = (bits + 127U) << 23;
    memcpy(ret_scale, &bits, sizeof(bits));

    float p = 1.39505237e-3F;
    p = p * r + 8.36890824e-3F;
    p = p * r + 4.16662053e-2F;
    p = p * r + 1.66665187e-1F;
    p = p * r + 0.50000001F;
    return p * r * r + r;
}

static inline float vector_exp(float x)
{
    float scale;
    const float p = vector_exp_parts(vector_clamp(x), &scale);

    return scale * p + scale;
}

/* exp(x) - 1 */
static inline float vector_expm1(float x)
{
    float scale;
    const float p = vector_exp_parts(vector_clamp(x), &scale);

    return scale * p + (scale - 1.0F);
}

static inline float vector_sigmoid(float x)
{
    return 1.0F / (1.0F + vector_exp(-x));
}

static inline float vector_tanh(float x)
{
    const float e = vector_expm1(2.0F * x);

    return e / (e + 2.0F);
}

/* log(1 + x) for x in [0, 1], from the series of 2 atanh(s), s = x / (2 + x) <= 1/3 */
static inline float vector_log1p(float x)
{
    const float s = x / (2.0F + x), t = s * s;

    float p = 0.281915463F;
    p = p * t + 0.27957666F;
    p = p * t + 0.400251143F;
    p = p * t + 0.666663101F;
    p = p * t + 2.00000001F;
    return p * s;
}

/* log(x) for finite x > 0 that is not denormal: x = 2ⁿ m with m between sqrt(1/2) and sqrt(2),
 * where vector_log1p() serves m - 1 below 0 too. */
static inline float vector_log(float x)
{
    const int32_t root_half = 0x3F3504F3; /* the bits of sqrt(1/2) */
    int32_t bits;
    float m;

    memcpy(&bits, &x, sizeof(bits));
    const int32_t n = (bits - root_half) >> 23;
    bits -= n * (1 << 23);
    memcpy(&m, &bits, sizeof(m));
    return (float)n * 0x1.62e43p-1F + vector_log1p(m - 1.0F);
}

/* sin(2πx) for |x| <= 1/4 */
static inline float vector_sin_quarter(float x)
{
    const float y = x * x;

    float p = 39.71092F;
    p = p * y - 76.57499F;
    p = p * y + 81.602234F;
    p = p * y - 41.34168F;
    p = p * y + 6.2831855F;
    return p * x;
}

/* sin(2πx) and cos(2πx) for |x| <= 1/2, within 3e-7 */
static inline float vector_sin_turns(float x)
{
    const float size = 0.25F - fabsf(fabsf(x) - 0.25F);

    return vector_sin_quarter(copysignf(size, x));
}

static inline float vector_cos_turns(float x)
{
    return vector_sin_quarter(0.25F - fabsf(x));
}
