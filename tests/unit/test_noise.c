#include "nn/noise.h"

#include "nn/vector_math.h"

#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define N 200000 /* a multiple of 16: a whole number of draws */

static float numbers[N], scratch[N], others[N];

static struct noise seeded(uint64_t seed)
{
    struct noise noise;

    noise_seed(&noise, seed);
    return noise;
}

static void log_sine_and_cosine_agree_with_libm(void **state)
{
    (void)state;
    for (double x = 1e-37; x < 1e38; x *= 1.0001) {
        const double want = log((double)(float)x);
        assert_true(fabs((double)vector_log((float)x) - want) <= 3e-7 * fabs(want));
    }
    for (float x = -0.5F; x <= 0.5F; x += 0x1p-17F) {
        const double angle = 2.0 * M_PI * (double)x;
        assert_true(fabs((double)vector_sin_turns(x) - sin(angle)) < 3e-7);
        assert_true(fabs((double)vector_cos_turns(x) - cos(angle)) < 3e-7);
    }
    assert_float_equal(vector_log(1.0F), 0, 0);
    assert_true(vector_log(1.0F - 0x1p-24F) < 0.0F); /* or Box and Muller's root would be NaN */
}

static void same_seed_same_numbers_other_seed_others(void **state)
{
    (void)state;
    struct noise one = seeded(7), two = seeded(7), three = seeded(8);

    noise_normal(&one, numbers, N);
    noise_normal(&two, others, N);
    assert_memory_equal(numbers, others, sizeof(numbers));
    noise_uniform(&one, numbers, 100); /* and they go on alike */
    noise_uniform(&two, others, 100);
    assert_memory_equal(numbers, others, 100 * sizeof(float));

    noise_seed(&one, 7);
    noise_uniform(&one, numbers, N);
    noise_uniform(&three, others, N);
    size_t n_equal = 0;
    for (size_t i = 0; i < N; i++)
        n_equal += numbers[i] == others[i];
    assert_true(n_equal < 10);
}

/* The generator as its authors wrote it, one lane after the other. */
static uint32_t textbook_next(uint32_t s[4])
{
    const uint32_t result = s[0] + s[3], t = s[1] << 9;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >> 21);
    return result;
}

static void uniforms_are_the_24_high_bits_of_xoshiro128_plus(void **state)
{
    (void)state;
    struct noise noise = seeded(3);
    uint32_t lanes[NOISE_LANES][4];

    for (size_t lane = 0; lane < NOISE_LANES; lane++)
        for (size_t word = 0; word < 4; word++)
            lanes[lane][word] = noise.state[word][lane];
    noise_uniform(&noise, numbers, 1001);
    for (size_t i = 0; i < 1001; i++) {
        const double want = (double)(textbook_next(lanes[i % NOISE_LANES]) >> 8) / 0x1p24;
        assert_float_equal(numbers[i], (float)want, 0);
    }
}

static double moment(const float *x, int power)
{
    double sum = 0.0;

    for (size_t i = 0; i < N; i++)
        sum += pow((double)x[i], power);
    return sum / N;
}

static void uniforms_are_flat(void **state)
{
    (void)state;
    struct noise noise = seeded(1);
    size_t counts[10] = {0};

    noise_uniform(&noise, numbers, N);
    for (size_t i = 0; i < N; i++) {
        assert_true(numbers[i] >= 0.0F && numbers[i] < 1.0F);
        counts[(size_t)(numbers[i] * 10.0F)]++;
    }
    for (size_t i = 0; i < 10; i++) /* five deviations */
        assert_true(fabs((double)counts[i] - N / 10.0) < 5.0 * sqrt(N * 0.09));
}

/* Bounds are five deviations of the estimates. */
static void normals_have_the_moments_of_a_normal(void **state)
{
    (void)state;
    struct noise noise = seeded(1);
    const double n = N;
    size_t beyond_2 = 0;

    noise_normal(&noise, numbers, N);
    assert_true(fabs(moment(numbers, 1)) < 5 * sqrt(1 / n));
    assert_true(fabs(moment(numbers, 2) - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(moment(numbers, 3)) < 5 * sqrt(15 / n));
    assert_true(fabs(moment(numbers, 4) - 3) < 5 * sqrt(96 / n));
    for (size_t i = 0; i < N; i++)
        beyond_2 += fabsf(numbers[i]) > 2.0F;
    assert_true(fabs((double)beyond_2 / n - 0.0455003) < 5 * sqrt(0.0455 * 0.9545 / n));
}

/* Of x[i] and x[i + lag], and of their squares. */
static void expect_no_correlation(const float *x, size_t lag)
{
    double sum = 0.0, sum_of_squares = 0.0;

    for (size_t i = 0; i + lag < N; i++) {
        const double a = (double)x[i], b = (double)x[i + lag];
        sum += a * b;
        sum_of_squares += (a * a - 1.0) * (b * b - 1.0) / 2.0;
    }
    if (fabs(sum) > 5 * sqrt(N) || fabs(sum_of_squares) > 10 * sqrt(N))
        fail_msg("lag %zu: correlations %g and %g", lag, sum / N, sum_of_squares / N);
}

static void lanes_and_pairs_are_independent(void **state)
{
    (void)state;
    struct noise noise = seeded(5);

    noise_normal(&noise, numbers, N);
    for (size_t lag = 1; lag <= 2 * NOISE_LANES; lag++)
        expect_no_correlation(numbers, lag);
    expect_no_correlation(numbers, 256); /* from a cosine to its sine */
    expect_no_correlation(numbers, 512);
}

/* A state whose first number is 0 in every lane: the longest radius there is. */
static void the_rarest_number_gives_a_finite_normal(void **state)
{
    (void)state;
    struct noise noise = seeded(1);

    memset(noise.state[0], 0, sizeof(noise.state[0]));
    memset(noise.state[3], 0, sizeof(noise.state[3]));
    noise_normal(&noise, numbers, 16);
    for (size_t i = 0; i < 8; i++)
        assert_float_equal(hypotf(numbers[i], numbers[i + 8]), sqrtf(48 * logf(2)), 1e-4);
}

static void nothing_is_written_behind_the_end(void **state)
{
    (void)state;
    struct noise noise = seeded(1);

    for (size_t n = 0; n <= 40; n++) {
        for (size_t i = 0; i < 64; i++)
            numbers[i] = 42.0F;
        noise_normal(&noise, numbers, n);
        assert_float_equal(numbers[n], 42, 0);
        noise_uniform(&noise, numbers, n);
        assert_float_equal(numbers[n], 42, 0);
    }
}

static void gaussian_noise_is_added_with_its_deviation(void **state)
{
    (void)state;
    struct noise noise = seeded(2);

    for (size_t i = 0; i < N; i++)
        others[i] = (float)(i % 7);
    noise_corrupt(&noise, NOISE_GAUSSIAN, 0.5, numbers, others, scratch, N);
    for (size_t i = 0; i < N; i++)
        numbers[i] -= others[i];
    assert_true(fabs(moment(numbers, 1)) < 5 * 0.5 / sqrt(N));
    assert_true(fabs(moment(numbers, 2) - 0.25) < 5 * 0.25 * sqrt(2.0 / N));
}

static void masking_sets_its_share_to_0_and_keeps_the_rest(void **state)
{
    (void)state;
    struct noise noise = seeded(2);
    size_t n_masked = 0;

    for (size_t i = 0; i < N; i++)
        others[i] = (float)(i + 1);
    noise_corrupt(&noise, NOISE_MASKING, 0.3, numbers, others, scratch, N);
    for (size_t i = 0; i < N; i++) {
        assert_true(numbers[i] == 0.0F || numbers[i] == others[i]);
        n_masked += numbers[i] == 0.0F;
    }
    assert_true(fabs((double)n_masked - 0.3 * N) < 5 * sqrt(0.21 * N));

    noise_corrupt(&noise, NOISE_MASKING, 0.0, numbers, others, scratch, N);
    assert_memory_equal(numbers, others, sizeof(numbers));
    noise_corrupt(&noise, NOISE_MASKING, 1.0, numbers, others, scratch, N);
    for (size_t i = 0; i < N; i++)
        assert_float_equal(numbers[i], 0, 0);
}

static void no_noise_is_a_copy_and_all_work_in_place(void **state)
{
    (void)state;
    struct noise one = seeded(4), two = seeded(4);

    for (size_t i = 0; i < N; i++)
        others[i] = (float)i;
    noise_corrupt(&one, NOISE_NONE, 0.0, numbers, others, scratch, N);
    assert_memory_equal(numbers, others, sizeof(numbers));

    noise_corrupt(&one, NOISE_GAUSSIAN, 1.0, numbers, others, scratch, N);
    noise_corrupt(&two, NOISE_GAUSSIAN, 1.0, others, others, scratch, N);
    assert_memory_equal(numbers, others, sizeof(numbers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_sine_and_cosine_agree_with_libm),
        cmocka_unit_test(same_seed_same_numbers_other_seed_others),
        cmocka_unit_test(uniforms_are_the_24_high_bits_of_xoshiro128_plus),
        cmocka_unit_test(uniforms_are_flat),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(lanes_and_pairs_are_independent),
        cmocka_unit_test(the_rarest_number_gives_a_finite_normal),
        cmocka_unit_test(nothing_is_written_behind_the_end),
        cmocka_unit_test(gaussian_noise_is_added_with_its_deviation),
        cmocka_unit_test(masking_sets_its_share_to_0_and_keeps_the_rest),
        cmocka_unit_test(no_noise_is_a_copy_and_all_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
