#include "detector/outliers.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS     600
#define N_FEATURES 3

static float rows[N_ROWS * N_FEATURES];
static float low[N_FEATURES], high[N_FEATURES];

/* Around 50, around 0, mostly 0 with bursts. */
static int set_up(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        rows[i * N_FEATURES] = (float)(50.0 + 3.0 * random_normal(&random));
        rows[i * N_FEATURES + 1] = (float)random_normal(&random);
        rows[i * N_FEATURES + 2] = i % 150 == 7 ? 1e6F : 0.0F;
    }
    return 0;
}

static float *cell(size_t row, size_t column)
{
    return &rows[row * N_FEATURES + column];
}

static long find(void)
{
    return outliers_find(rows, N_ROWS, N_FEATURES, 6, low, high);
}

static void clean_rows_have_none(void **state)
{
    (void)state;
    assert_int_equal(find(), 0);
    for (size_t j = 0; j < N_FEATURES; j++)
        assert_true(low[j] == -INFINITY && high[j] == INFINITY);
}

static void one_absurd_value_is_found_in_any_column_at_any_size(void **state)
{
    (void)state;
    static const float sizes[] = {1e6F, -1e6F, 1e12F, -1e30F, 3e38F};

    for (size_t column = 0; column < 2; column++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            const float kept = *cell(100, column);
            *cell(100, column) = sizes[i];
            assert_int_equal(find(), 1);
            assert_true(sizes[i] < low[column] || sizes[i] > high[column]);
            assert_true(kept >= low[column] && kept <= high[column]);
            *cell(100, column) = kept;
        }
}

static void larger_ones_do_not_hide_smaller_ones(void **state)
{
    (void)state;
    *cell(1, 1) = 1e30F;
    *cell(2, 1) = -1e20F;
    *cell(3, 1) = 1e10F;
    *cell(4, 1) = 1e6F;
    assert_int_equal(find(), 4);
    assert_true(high[1] < 1e6F && low[1] > -1e20F);
}

static void many_values_far_away_are_a_second_kind_of_normal(void **state)
{
    (void)state;
    for (size_t i = 0; i < 7; i++)
        *cell(i, 1) = 1e9F;
    assert_int_equal(find(), 0);
    *cell(0, 1) = 0;
    assert_int_equal(find(), 6);
}

/* Bursts are not told apart from the zeros between them. */
static void bursts_on_what_never_moves_are_none(void **state)
{
    (void)state;
    *cell(50, 2) = 1e30F; /* nor this: without it the column still varies as it does */
    assert_int_equal(find(), 1);
    assert_true(high[2] >= 1e6F);
    for (size_t i = 0; i < N_ROWS; i++)
        *cell(i, 2) = i == 9 ? 1e30F : 0.0F;
    assert_int_equal(find(), 0);
}

static void a_step_from_a_constant_is_none_and_garbage_in_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++)
        *cell(i, 1) = i == 9 ? 8.0F : 5.0F;
    assert_int_equal(find(), 0);
    *cell(9, 1) = 1e9F;
    assert_int_equal(find(), 1);
}

static void heavy_tails_are_none(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 2);
    for (size_t i = 0; i < N_ROWS; i++) {
        *cell(i, 0) = (float)exp(3.0 * random_normal(&random));
        *cell(i, 1) = (float)tan(M_PI * (random_uniform(&random) - 0.5)); /* Cauchy */
    }
    assert_int_equal(find(), 0);
}

static void missing_values_do_not_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++)
        *cell(i, 0) = i % 2 ? NAN : *cell(i, 0);
    for (size_t i = 0; i < N_ROWS; i++)
        *cell(i, 1) = NAN;
    *cell(100, 0) = 1e9F;
    assert_int_equal(find(), 1);
}

static void what_is_outside_becomes_missing_and_nothing_else_changes(void **state)
{
    (void)state;
    float before[N_ROWS * N_FEATURES];

    *cell(100, 0) = 1e9F;
    *cell(200, 1) = -1e9F;
    memcpy(before, rows, sizeof(rows));
    assert_int_equal(find(), 2);
    outliers_remove(rows, N_ROWS, N_FEATURES, low, high);
    assert_true(isnan(*cell(100, 0)) && isnan(*cell(200, 1)));
    *cell(100, 0) = 1e9F;
    *cell(200, 1) = -1e9F;
    assert_memory_equal(rows, before, sizeof(rows));
}

static void a_failed_allocation_is_reported(void **state)
{
    (void)state;
    alloc_fail_in = 0;
    assert_int_equal(find(), -ENOMEM);
    alloc_fail_in = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(clean_rows_have_none, set_up),
        cmocka_unit_test_setup(one_absurd_value_is_found_in_any_column_at_any_size, set_up),
        cmocka_unit_test_setup(larger_ones_do_not_hide_smaller_ones, set_up),
        cmocka_unit_test_setup(many_values_far_away_are_a_second_kind_of_normal, set_up),
        cmocka_unit_test_setup(bursts_on_what_never_moves_are_none, set_up),
        cmocka_unit_test_setup(a_step_from_a_constant_is_none_and_garbage_in_it_is, set_up),
        cmocka_unit_test_setup(heavy_tails_are_none, set_up),
        cmocka_unit_test_setup(missing_values_do_not_count, set_up),
        cmocka_unit_test_setup(what_is_outside_becomes_missing_and_nothing_else_changes, set_up),
        cmocka_unit_test_setup(a_failed_allocation_is_reported, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
