#include "detector/trim.h"

#include "base/random.h"
#include "detector/recipe.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS 1500 /* more than are drawn to compare with */

static float rows[N_ROWS * TINY_FEATURES];
static enum trim_verdict verdicts[N_ROWS];

static int set_up(void **state)
{
    (void)state;
    tiny_rows(1, rows, N_ROWS);
    return 0;
}

static int find(size_t n_rows, double trim, size_t n_threads)
{
    struct random random;

    random_seed(&random, 1);
    return trim_find(rows, n_rows, TINY_FEATURES, trim, n_threads, &random, verdicts);
}

static size_t count(size_t n_rows, enum trim_verdict verdict)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++)
        n += verdicts[i] == verdict;
    return n;
}

/* Every step-th row: all features as far from what is normal, in a direction that none has. */
static void plant(size_t n_rows, size_t step, float by)
{
    for (size_t i = 0; i < n_rows; i += step)
        for (size_t j = 0; j < TINY_FEATURES; j++)
            rows[i * TINY_FEATURES + j] = 100 + (j % 2 ? -by : by);
}

static void expect_planted(size_t n_rows, size_t step)
{
    for (size_t i = 0; i < n_rows; i++)
        assert_int_equal(verdicts[i], i % step ? TRIM_KEEP : TRIM_DISCARD);
}

static void of_clean_rows_at_most_one_is_left_out(void **state)
{
    (void)state;
    const size_t sizes[] = {20, 100, 400, N_ROWS};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        assert_int_equal(find(sizes[i], RECIPE_TRIM_AUTO, 1), 0);
        assert_true(count(sizes[i], TRIM_KEEP) + 1 >= sizes[i]);
    }
}

static void far_rows_do_not_belong_even_if_they_are_alike(void **state)
{
    (void)state;
    plant(N_ROWS, 40, 300);
    assert_int_equal(find(N_ROWS, RECIPE_TRIM_AUTO, 1), 0);
    expect_planted(N_ROWS, 40);
}

/* What is not found; docs/quality.md says so. */
static void alike_rows_that_are_many_are_a_kind_of_normal(void **state)
{
    (void)state;
    plant(N_ROWS, 10, 300);
    assert_int_equal(find(N_ROWS, RECIPE_TRIM_AUTO, 1), 0);
    assert_int_equal(count(N_ROWS, TRIM_KEEP), N_ROWS);
}

static void a_share_is_the_farthest_rows_and_those_that_may_be_normal_are_in_doubt(void **state)
{
    (void)state;
    plant(N_ROWS, 100, 300);
    assert_int_equal(find(N_ROWS, 0.04, 1), 0);
    assert_int_equal(count(N_ROWS, TRIM_DISCARD), N_ROWS / 100);
    assert_int_equal(count(N_ROWS, TRIM_DOUBT), N_ROWS * 4 / 100 - N_ROWS / 100);
    for (size_t i = 0; i < N_ROWS; i += 100)
        assert_int_equal(verdicts[i], TRIM_DISCARD);
}

static void where_most_rows_repeat_distances_tell_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++)
        if (i % 10)
            memcpy(rows + i * TINY_FEATURES, rows, TINY_FEATURES * sizeof(*rows));
    assert_int_equal(find(N_ROWS, RECIPE_TRIM_AUTO, 1), 0);
    assert_int_equal(count(N_ROWS, TRIM_KEEP), N_ROWS);
}

/* Flags: most rows are one flip away from as many as count, and a rare value is hardly farther. */
static void of_a_few_distances_none_is_a_tail(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 3);
    for (size_t i = 0; i < N_ROWS * TINY_FEATURES; i++)
        rows[i] = (float)random_below(&random, 2);
    for (size_t i = 0; i < N_ROWS; i += 100)
        rows[i * TINY_FEATURES] = 2;
    assert_int_equal(find(N_ROWS, RECIPE_TRIM_AUTO, 1), 0);
    assert_int_equal(count(N_ROWS, TRIM_KEEP), N_ROWS);
}

static void a_missing_value_makes_no_row_far(void **state)
{
    (void)state;
    plant(N_ROWS, 100, 300);
    for (size_t i = 7; i < N_ROWS; i += 50)
        rows[i * TINY_FEATURES + i % TINY_FEATURES] = NAN;
    assert_int_equal(find(N_ROWS, RECIPE_TRIM_AUTO, 1), 0);
    expect_planted(N_ROWS, 100);
}

static void the_verdicts_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    enum trim_verdict alone[N_ROWS];

    assert_int_equal(find(N_ROWS, 0.1, 1), 0);
    memcpy(alone, verdicts, sizeof(alone));
    for (size_t n_threads = 2; n_threads <= 5; n_threads += 3) {
        assert_int_equal(find(N_ROWS, 0.1, n_threads), 0);
        assert_memory_equal(verdicts, alone, sizeof(alone));
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        alloc_fail_in = nth;
        r = find(40, RECIPE_TRIM_AUTO, 1);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(of_clean_rows_at_most_one_is_left_out, set_up),
        cmocka_unit_test_setup(far_rows_do_not_belong_even_if_they_are_alike, set_up),
        cmocka_unit_test_setup(alike_rows_that_are_many_are_a_kind_of_normal, set_up),
        cmocka_unit_test_setup(
            a_share_is_the_farthest_rows_and_those_that_may_be_normal_are_in_doubt, set_up),
        cmocka_unit_test_setup(where_most_rows_repeat_distances_tell_nothing, set_up),
        cmocka_unit_test_setup(of_a_few_distances_none_is_a_tail, set_up),
        cmocka_unit_test_setup(a_missing_value_makes_no_row_far, set_up),
        cmocka_unit_test_setup(the_verdicts_do_not_depend_on_the_number_of_threads, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
