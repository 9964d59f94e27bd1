#include "nn/vector.h"

#include "nn/vector_math.h"

#include "support/cmocka.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define CLAIMED 3e-7 /* relative error */

static bool relatively_near(float have, double want, double tolerance)
{
    return fabs((double)have - want) <= tolerance * fabs(want);
}

static void assert_relatively_near(float have, double want, float x)
{
    if (!relatively_near(have, want, CLAIMED))
        fail_msg("f(%.9g) = %.9g is not %.9g", (double)x, (double)have, want);
}

static void kernel_is_one_that_the_processor_has(void **state)
{
    (void)state;
    const char *kernel = vector_kernel();

    assert_true(strcmp(kernel, "fma") == 0 || strcmp(kernel, "portable") == 0);
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        assert_string_equal(kernel, "portable");
#else
    assert_string_equal(kernel, "portable");
#endif
}

VECTOR_CLONES
static void add_squares(float *sums, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        VECTOR_UNROLL
        for (size_t k = 0; k < 4; k++)
            sums[k] += x[4 * i + k] * x[4 * i + k];
    }
}

static void cloned_functions_are_called_like_any_other(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    float sums[4] = {0};

    add_squares(sums, x, 2);
    assert_true(sums[0] == 26 && sums[1] == 40 && sums[2] == 58 && sums[3] == 80);
}

static void exp_is_within_its_claim(void **state)
{
    (void)state;
    for (float x = -VECTOR_EXP_LIMIT; x <= VECTOR_EXP_LIMIT; x += 0.00371F)
        assert_relatively_near(vector_exp(x), exp((double)x), x);
    assert_true(vector_exp(0) == 1);
}

static void expm1_keeps_its_digits_near_zero(void **state)
{
    (void)state;
    for (float x = -VECTOR_EXP_LIMIT; x <= VECTOR_EXP_LIMIT; x += 0.00371F)
        assert_relatively_near(vector_expm1(x), expm1((double)x), x);
    for (float x = 1e-30F; x < 1; x *= 1.1F) {
        assert_relatively_near(vector_expm1(x), expm1((double)x), x);
        assert_relatively_near(vector_expm1(-x), expm1((double)-x), -x);
    }
}

static void sigmoid_and_tanh_are_within_their_claim(void **state)
{
    (void)state;
    for (float x = -20; x <= 20; x += 0.00171F) {
        assert_relatively_near(vector_sigmoid(x), 1 / (1 + exp(-(double)x)), x);
        assert_relatively_near(vector_tanh(x), tanh((double)x), x);
    }
}

static void logarithms_are_within_their_claim(void **state)
{
    (void)state;
    for (float x = 1e-20F; x <= 1; x *= 1.01F)
        assert_relatively_near(vector_log1p(x), log1p((double)x), x);
    for (float x = FLT_MIN; x < FLT_MAX / 2; x *= 1.003F)
        if (fabsf(x - 1.0F) > 1e-3F)
            assert_relatively_near(vector_log(x), log((double)x), x);
    assert_true(vector_log(1) == 0);
}

static void sine_and_cosine_of_turns_are_within_their_claim(void **state)
{
    (void)state;
    for (float x = -0.5F; x <= 0.5F; x += 0.0001F) {
        const double angle = 2.0 * acos(-1.0) * (double)x;
        assert_true(fabs((double)vector_sin_turns(x) - sin(angle)) <= CLAIMED);
        assert_true(fabs((double)vector_cos_turns(x) - cos(angle)) <= CLAIMED);
    }
}

static void beyond_the_limit_counts_as_the_limit(void **state)
{
    (void)state;
    static const float far[] = {88, 1000, FLT_MAX, INFINITY};
    const float most = vector_exp(VECTOR_EXP_LIMIT), least = vector_exp(-VECTOR_EXP_LIMIT);

    assert_true(isfinite(most) && isnormal(least));
    for (size_t i = 0; i < sizeof(far) / sizeof(*far); i++) {
        assert_true(vector_exp(far[i]) == most);
        assert_true(vector_exp(-far[i]) == least);
        assert_true(vector_sigmoid(far[i]) == 1 && vector_sigmoid(-far[i]) >= 0);
        assert_true(vector_tanh(far[i]) == 1 && vector_tanh(-far[i]) == -1);
        assert_true(vector_expm1(-far[i]) == -1);
    }
}

static void nan_stays_nan(void **state)
{
    (void)state;
    assert_true(isnan(vector_exp(NAN)));
    assert_true(isnan(vector_expm1(NAN)));
    assert_true(isnan(vector_sigmoid(NAN)));
    assert_true(isnan(vector_tanh(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_is_one_that_the_processor_has),
        cmocka_unit_test(cloned_functions_are_called_like_any_other),
        cmocka_unit_test(exp_is_within_its_claim),
        cmocka_unit_test(expm1_keeps_its_digits_near_zero),
        cmocka_unit_test(sigmoid_and_tanh_are_within_their_claim),
        cmocka_unit_test(logarithms_are_within_their_claim),
        cmocka_unit_test(sine_and_cosine_of_turns_are_within_their_claim),
        cmocka_unit_test(beyond_the_limit_counts_as_the_limit),
        cmocka_unit_test(nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
