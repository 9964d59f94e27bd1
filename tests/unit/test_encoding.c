#include "detector/encoding.h"

#include "detector/rank_gauss.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define N_ROWS     200
#define N_FEATURES 6

static float rows[N_ROWS * N_FEATURES];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

/* Light tails, about normal ones, heavy ones, heavier ones, a constant, a coin. */
static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        float *row = rows + i * N_FEATURES;
        row[0] = (float)sin((double)i);
        row[1] = (float)(pow((double)(i * 37 % 100), 3) / 1e5);
        row[2] = i % 10 == 0 ? 50 : (float)sin(3.0 * (double)i);
        row[3] = i % 60 == 0 ? 100 : (float)(1e-3 * sin((double)i));
        row[4] = 0.25F;
        row[5] = (float)(i % 2);
    }
    return 0;
}

static void standard_values_stay_as_they_are(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;
    const float row[] = {-3.5F, 0, 100};
    float out[3];

    assert_int_equal(encoding_new_standard(3, &encoding), 0);
    assert_int_equal(encoding->n_features, 3);
    assert_int_equal(encoding->n_values, 3);
    assert_null(encoding->rank_gauss);
    encoding_apply(encoding, row, out);
    assert_memory_equal(out, row, sizeof(row));
}

static void bounded_features_are_as_they_came(void **state)
{
    (void)state;
    const float raw[] = {0, 10, 0.25F, 20, 1, 60, 0.5F, 30};
    const bool bounded[] = {true, false};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;

    assert_int_equal(scaler_fit(raw, 4, 2, &scaler, NULL), 0);
    assert_int_equal(encoding_new_bounded(scaler, bounded, &encoding), 0);
    assert_int_equal(encoding->n_values, 2);
    for (size_t i = 0; i < 4; i++) {
        float z[2], out[2];
        scaler_apply(scaler, raw + 2 * i, z);
        encoding_apply(encoding, z, out);
        assert_near((double)out[0], (double)raw[2 * i], 1e-6);
        assert_true(out[1] == z[1]);
    }
}

/* i = np.arange(200.0)
 * Z = np.stack([np.sin(i), ((i * 37) % 100) ** 3 / 1e5, np.where(i % 10 == 0, 50, np.sin(3 * i)),
 *               np.where(i % 60 == 0, 100, 1e-3 * np.sin(i)), np.full(200, 0.25), i % 2], 1)
 * low, high = np.percentile(Z, [2, 98], axis=0)                      # as class Kurtosis
 * k = np.nan_to_num(kurtosis(np.clip(Z, low, high), fisher=False), nan=1000.0)
 * print(1 / np.clip(1 + 0.33 * (k - 3), 0.2, 6.0)) */
static void gains_suit_the_tails_as_in_the_reference(void **state)
{
    (void)state;
    static const double gains[N_FEATURES] = {1.97553025, 1.05911329, 0.37362928,
                                             1.0 / 6,    1.0 / 6,    2.94117647};
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;

    assert_int_equal(encoding_fit_pair(rows, N_ROWS, N_FEATURES, &encoding), 0);
    for (size_t j = 0; j < N_FEATURES; j++) {
        assert_near((double)encoding->gain[j], gains[j], 1e-6);
        assert_true(encoding->shift[j] == 0);
    }
}

static void ranks_follow_behind_the_scaled_values(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;
    CLEANUP(rank_gauss_freep) struct rank_gauss *ranks = NULL;
    float out[2 * N_FEATURES], expected[N_FEATURES];

    assert_int_equal(encoding_fit_pair(rows, N_ROWS, N_FEATURES, &encoding), 0);
    assert_int_equal(rank_gauss_fit(rows, N_ROWS, N_FEATURES, &ranks), 0);
    assert_int_equal(encoding->n_features, N_FEATURES);
    assert_int_equal(encoding->n_values, 2 * N_FEATURES);
    for (size_t i = 0; i < N_ROWS; i++) {
        const float *row = rows + i * N_FEATURES;
        encoding_apply(encoding, row, out);
        rank_gauss_apply(ranks, row, expected);
        for (size_t j = 0; j < N_FEATURES; j++)
            assert_true(out[j] == encoding->gain[j] * row[j]);
        assert_memory_equal(out + N_FEATURES, expected, sizeof(expected));
    }
}

/* What is off a constant by rounding alone has no tails. */
static void a_constant_far_from_zero_is_a_constant(void **state)
{
    (void)state;
    float values[100];
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;

    for (size_t i = 0; i < 100; i++)
        values[i] = i % 2 ? 77.7F : nextafterf(77.7F, 100);
    assert_int_equal(encoding_fit_pair(values, 100, 1, &encoding), 0);
    assert_near((double)encoding->gain[0], 1.0 / 6, 1e-6);
}

static void one_row_can_be_fitted(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;
    float out[2 * N_FEATURES];

    assert_int_equal(encoding_fit_pair(rows, 1, N_FEATURES, &encoding), 0);
    encoding_apply(encoding, rows, out);
    for (size_t j = 0; j < N_FEATURES; j++) {
        assert_near((double)encoding->gain[j], 1.0 / 6, 1e-6);
        assert_true(out[N_FEATURES + j] == 0);
    }
}

static struct rank_gauss *some_ranks(void)
{
    struct rank_gauss *ranks = NULL;
    assert_int_equal(rank_gauss_fit(rows, N_ROWS, 2, &ranks), 0);
    return ranks;
}

static void a_files_numbers_are_used(void **state)
{
    (void)state;
    const float gain[] = {2, -1}, shift[] = {0.5F, 3}, row[] = {10, 20};
    CLEANUP(encoding_freep) struct encoding *encoding = NULL;
    struct rank_gauss *ranks = some_ranks();
    float out[4];

    assert_int_equal(encoding_new(gain, shift, 2, ranks, &encoding), 0);
    assert_ptr_equal(encoding->rank_gauss, ranks);
    encoding_apply(encoding, row, out);
    assert_true(out[0] == 20.5F && out[1] == -17);
}

/* ASan sees ranks that nobody frees. */
static void what_is_not_finite_is_refused_and_the_ranks_are_freed(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const float good[] = {1, 1};
    struct encoding *encoding = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const float wrong[] = {1, bad[i]};
        assert_int_equal(encoding_new(wrong, good, 2, some_ranks(), &encoding), -EINVAL);
        assert_int_equal(encoding_new(good, wrong, 2, NULL, &encoding), -EINVAL);
        assert_null(encoding);
    }
}

enum maker {
    STANDARD,
    BOUNDED,
    PAIR,
    FROM_FILE,
    N_MAKERS
};

static int make(enum maker maker, const struct scaler *scaler, struct rank_gauss *ranks,
                struct encoding **ret_encoding)
{
    const bool bounded[] = {true, false};
    const float ones[] = {1, 1};

    switch (maker) {
    case STANDARD:
        return encoding_new_standard(2, ret_encoding);
    case BOUNDED:
        return encoding_new_bounded(scaler, bounded, ret_encoding);
    case PAIR:
        return encoding_fit_pair(rows, N_ROWS, 2, ret_encoding);
    case FROM_FILE:
    case N_MAKERS:
        break;
    }
    return encoding_new(ones, ones, 2, ranks, ret_encoding);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;

    assert_int_equal(scaler_fit(rows, N_ROWS, 2, &scaler, NULL), 0);
    for (enum maker maker = 0; maker < N_MAKERS; maker++) {
        int r = -ENOMEM, nth = 0;
        for (; r == -ENOMEM && nth < 100; nth++) {
            CLEANUP(encoding_freep) struct encoding *encoding = NULL;
            struct rank_gauss *ranks = maker == FROM_FILE ? some_ranks() : NULL;
            alloc_fail_in = nth;
            r = make(maker, scaler, ranks, &encoding);
            alloc_fail_in = -1;
            assert_int_equal(!encoding, r < 0);
        }
        assert_int_equal(r, 0);
        assert_true(nth > 3);
    }
}

static void a_blend_is_the_mean_of_both_views_or_the_value_itself(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *pair = NULL;
    CLEANUP(encoding_freep) struct encoding *standard = NULL;
    float out[2 * N_FEATURES], blended[N_FEATURES];

    assert_int_equal(encoding_fit_pair(rows, N_ROWS, N_FEATURES, &pair), 0);
    encoding_apply(pair, rows, out);
    encoding_blend(pair, rows, out, blended);
    for (size_t j = 0; j < N_FEATURES; j++)
        assert_near((double)blended[j], ((double)out[j] + (double)out[N_FEATURES + j]) / 2, 1e-7);

    assert_int_equal(encoding_new_standard(N_FEATURES, &standard), 0);
    encoding_apply(standard, rows, out);
    out[0] += 1;
    encoding_blend(standard, rows, out, blended);
    assert_memory_equal(blended, rows, sizeof(blended));
}

static void what_was_blended_is_found_again(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *pair = NULL;
    CLEANUP(encoding_freep) struct encoding *standard = NULL;
    float out[2 * N_FEATURES], blended[N_FEATURES], found[N_FEATURES];

    assert_int_equal(encoding_fit_pair(rows, N_ROWS, N_FEATURES, &pair), 0);
    for (size_t i = 0; i < N_ROWS; i++) {
        encoding_apply(pair, rows + i * N_FEATURES, out);
        encoding_blend(pair, rows + i * N_FEATURES, out, blended);
        assert_int_equal(encoding_unblend(pair, blended, found), 0);
        for (size_t j = 0; j < N_FEATURES; j++)
            assert_near((double)found[j], (double)rows[i * N_FEATURES + j], 1e-5);
    }
    assert_int_equal(encoding_new_standard(N_FEATURES, &standard), 0);
    assert_int_equal(encoding_unblend(standard, rows, found), 0);
    for (size_t j = 0; j < N_FEATURES; j++)
        assert_near((double)found[j], (double)rows[j], 1e-5);
}

static void a_blend_out_of_reach_is_the_end_of_the_range(void **state)
{
    (void)state;
    CLEANUP(encoding_freep) struct encoding *standard = NULL;
    const float blended[] = {FLT_MAX, -FLT_MAX};
    float found[2];

    assert_int_equal(encoding_new_standard(2, &standard), 0);
    assert_int_equal(encoding_unblend(standard, blended, found), 0);
    assert_near((double)found[0], (double)SCALER_LIMIT, 1e-5);
    assert_near((double)found[1], -(double)SCALER_LIMIT, 1e-5);
    alloc_fail_in = 0;
    assert_int_equal(encoding_unblend(standard, blended, found), -ENOMEM);
    alloc_fail_in = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standard_values_stay_as_they_are),
        cmocka_unit_test(bounded_features_are_as_they_came),
        cmocka_unit_test(gains_suit_the_tails_as_in_the_reference),
        cmocka_unit_test(ranks_follow_behind_the_scaled_values),
        cmocka_unit_test(a_constant_far_from_zero_is_a_constant),
        cmocka_unit_test(one_row_can_be_fitted),
        cmocka_unit_test(what_was_blended_is_found_again),
        cmocka_unit_test(a_blend_out_of_reach_is_the_end_of_the_range),
        cmocka_unit_test(a_blend_is_the_mean_of_both_views_or_the_value_itself),
        cmocka_unit_test(a_files_numbers_are_used),
        cmocka_unit_test(what_is_not_finite_is_refused_and_the_ranks_are_freed),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
