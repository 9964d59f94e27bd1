#include "detector/sample.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS     500
#define N_FEATURES 2

static float rows[N_ROWS * N_FEATURES];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        rows[i * N_FEATURES] = (float)i;
        rows[i * N_FEATURES + 1] = (float)sin((double)i);
    }
    return 0;
}

static int draw(size_t most, uint64_t seed, struct sample *ret_sample)
{
    struct random random;

    random_seed(&random, seed);
    return sample_draw(rows, N_ROWS, N_FEATURES, most, 0.01, &random, ret_sample);
}

static void all_rows_are_used_where_they_are(void **state)
{
    (void)state;
    CLEANUP(sample_clear) struct sample sample = {0};

    assert_int_equal(draw(N_ROWS, 1, &sample), 0);
    assert_ptr_equal(sample.rows, rows);
    assert_int_equal(sample.n_rows, N_ROWS);
    assert_int_equal(sample.n_outliers, 0);
    assert_null(sample.is_drawn);
}

static void of_more_rows_so_many_are_drawn_in_their_order(void **state)
{
    (void)state;
    CLEANUP(sample_clear) struct sample sample = {0};
    size_t n = 0;

    assert_int_equal(draw(100, 1, &sample), 0);
    assert_int_equal(sample.n_rows, 100);
    for (size_t i = 0; i < N_ROWS; i++)
        if (sample.is_drawn[i])
            assert_memory_equal(sample.rows + n++ * N_FEATURES, rows + i * N_FEATURES,
                                N_FEATURES * sizeof(*rows));
    assert_int_equal(n, 100);
}

static void every_row_is_drawn_as_often(void **state)
{
    (void)state;
    size_t first_half = 0;

    for (uint64_t seed = 0; seed < 100; seed++) {
        CLEANUP(sample_clear) struct sample sample = {0};
        assert_int_equal(draw(50, seed, &sample), 0);
        for (size_t i = 0; i < N_ROWS / 2; i++)
            first_half += sample.is_drawn[i];
    }
    assert_in_range(first_half, 2500 - 5 * 34, 2500 + 5 * 34); /* five binomial deviations */
}

static void outliers_are_missing_and_the_given_rows_stay(void **state)
{
    (void)state;
    for (size_t most = 400; most <= N_ROWS; most += 100) {
        CLEANUP(sample_clear) struct sample sample = {0};
        size_t n_missing = 0;
        for (size_t i = 0; i < 4; i++)
            rows[(100 * i + 1) * N_FEATURES + 1] = 1e20F;
        assert_int_equal(draw(most, 1, &sample), 0);
        for (size_t i = 0; i < sample.n_rows * N_FEATURES; i++)
            n_missing += isnan(sample.rows[i]);
        assert_int_equal(sample.n_outliers, n_missing);
        assert_true(most < N_ROWS || n_missing == 4);
        assert_true(rows[N_FEATURES + 1] == 1e20F);
    }
}

static void rows_left_out_are_gone_and_those_in_doubt_are_spare(void **state)
{
    (void)state;
    enum trim_verdict verdicts[N_ROWS] = {0};
    CLEANUP(sample_clear) struct sample sample = {0};

    verdicts[0] = TRIM_DOUBT;
    verdicts[3] = TRIM_DISCARD;
    verdicts[N_ROWS - 1] = TRIM_DOUBT;
    assert_int_equal(draw(N_ROWS, 1, &sample), 0);
    assert_int_equal(sample_leave_out(&sample, N_FEATURES, verdicts), 0);
    assert_int_equal(sample.n_rows, N_ROWS - 3);
    assert_int_equal(sample.n_drawn, N_ROWS);
    assert_memory_equal(sample.rows, rows + N_FEATURES, 2 * N_FEATURES * sizeof(*rows));
    assert_memory_equal(sample.rows + 2 * N_FEATURES, rows + 4 * N_FEATURES,
                        (N_ROWS - 5) * N_FEATURES * sizeof(*rows));
    assert_int_equal(sample.n_spare, 2);
    assert_memory_equal(sample.spare, rows, N_FEATURES * sizeof(*rows));
    assert_memory_equal(sample.spare + N_FEATURES, rows + (N_ROWS - 1) * N_FEATURES,
                        N_FEATURES * sizeof(*rows));
}

static void a_sample_that_cannot_leave_out_rows_is_as_it_was(void **state)
{
    (void)state;
    const enum trim_verdict verdicts[N_ROWS] = {TRIM_DISCARD};
    CLEANUP(sample_clear) struct sample sample = {0};

    assert_int_equal(draw(N_ROWS, 1, &sample), 0);
    alloc_fail_in = 0;
    assert_int_equal(sample_leave_out(&sample, N_FEATURES, verdicts), -ENOMEM);
    alloc_fail_in = -1;
    assert_ptr_equal(sample.rows, rows);
    assert_int_equal(sample.n_rows, N_ROWS);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    rows[1] = 1e20F;
    for (; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(sample_clear) struct sample sample = {0};
        alloc_fail_in = nth;
        r = draw(nth % 2 ? 100 : N_ROWS, 1, &sample);
        alloc_fail_in = -1;
        assert_int_equal(!sample.rows, r < 0);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_rows_are_used_where_they_are, set_up),
        cmocka_unit_test_setup(of_more_rows_so_many_are_drawn_in_their_order, set_up),
        cmocka_unit_test_setup(every_row_is_drawn_as_often, set_up),
        cmocka_unit_test_setup(outliers_are_missing_and_the_given_rows_stay, set_up),
        cmocka_unit_test_setup(rows_left_out_are_gone_and_those_in_doubt_are_spare, set_up),
        cmocka_unit_test_setup(a_sample_that_cannot_leave_out_rows_is_as_it_was, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
