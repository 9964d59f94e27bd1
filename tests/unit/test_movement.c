#include "detector/movement.h"

#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>

#define N 3

static const float jumps[MOVEMENT_WINDOWS * N] = {0.8F, 1.8F, 0.3F, 1.8F, 0.8F, 0.8F};

static void assert_near(double have, double want)
{
    if (!(fabs(have - want) <= 1e-5 * (1.0 + fabs(want))))
        fail_msg("%.9g is not %.9g", have, want);
}

static void begins_at_the_mean_of_training(void **state)
{
    (void)state;
    CLEANUP(movement_freep) struct movement *movement = NULL;

    assert_int_equal(movement_new(N, &movement), 0);
    for (size_t k = 0; k < MOVEMENT_WINDOWS * N; k++)
        assert_true(movement->averages[k] == 0);
    for (size_t j = 0; j < N; j++)
        assert_true(movement->hold[j] == 0);
}

/* Two rows by hand: the average is updated after the row has been held against it. */
static void holds_the_largest_jump_over_what_is_usual_and_lets_it_fade(void **state)
{
    (void)state;
    CLEANUP(movement_freep) struct movement *movement = NULL;
    const float first[N] = {3, -2, 0}, second[N] = {0.15F, -2, 0};

    assert_int_equal(movement_new(N, &movement), 0);
    movement_follow(movement, jumps, first, first);
    assert_near((double)movement->hold[0], 3 / 1.0); /* |3 - 0| / (0.8 + 0.2) */
    assert_near((double)movement->hold[1], 2 / 1.0); /* the day's jump is smaller: 0.8 + 0.2 */
    assert_near((double)movement->averages[0], 3);
    assert_near((double)movement->averages[N], 3);

    movement_follow(movement, jumps, second, second);
    assert_near((double)movement->hold[0], 2.85 / 1.0); /* more than 0.9 · 3 and 2.85 / 2 */
    assert_near((double)movement->hold[1], 0.9 * 2);    /* fades: it stayed */
    assert_near((double)movement->hold[2], 0);
    assert_near((double)movement->averages[0], (3 + 0.15) / 2);

    for (size_t i = 2; i < 20; i++)
        movement_follow(movement, jumps, second, second);
    assert_near((double)movement->averages[0], (3 + 19 * 0.15) / 20);
    const double day = (double)movement->averages[N];
    movement_follow(movement, jumps, first, first);
    assert_near((double)movement->averages[N], day + (3 - day) / 1440);
}

static void what_is_missing_does_not_move(void **state)
{
    (void)state;
    CLEANUP(movement_freep) struct movement *movement = NULL;
    const float row[N] = {NAN, 1, 1}, z[N] = {5, 1, 1};

    assert_int_equal(movement_new(N, &movement), 0);
    movement_follow(movement, jumps, row, z);
    assert_true(movement->hold[0] == 0 && movement->averages[0] == 0 && movement->averages[N] == 0);
    assert_true(movement->hold[1] > 0);
}

static void a_new_scaler_leaves_the_averages_where_they_are_in_the_users_units(void **state)
{
    (void)state;
    CLEANUP(movement_freep) struct movement *movement = NULL;
    CLEANUP(scaler_freep) struct scaler *from = NULL;
    CLEANUP(scaler_freep) struct scaler *to = NULL;
    const float means[N] = {10, 0, 0}, stds[N] = {2, 1, 1};
    const float other_means[N] = {8, 0, 0}, other_stds[N] = {4, 1, 1e-9F};

    assert_int_equal(scaler_new(means, stds, means, N, &from), 0);
    assert_int_equal(scaler_new(other_means, other_stds, other_means, N, &to), 0);
    assert_int_equal(movement_new(N, &movement), 0);
    movement->averages[0] = 3; /* 16 */
    movement->averages[2] = 1;
    movement->hold[0] = 7;
    movement_rescale(movement, from, to);
    assert_near((double)movement->averages[0], 2);
    assert_near((double)movement->averages[N], 0.5); /* 10 */
    assert_near((double)movement->averages[2], (double)SCALER_LIMIT);
    assert_true(movement->hold[0] == 7);
}

/* A feature that goes up and down by 1 each row, one that never moves, and many rows of both. */
static void usual_jumps_are_a_quantile_of_the_hold_in_training(void **state)
{
    (void)state;
    enum {
        N_ROWS = 50000,
        WIDE = 40
    };
    static float rows[N_ROWS * WIDE];
    float found[MOVEMENT_WINDOWS * WIDE];

    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t j = 0; j < WIDE; j++)
            rows[i * WIDE + j] = j % 2 ? 0.0F : i % 2 ? 1.0F : -1.0F;
    assert_int_equal(movement_find_jumps(rows, N_ROWS, WIDE, found), 0);
    for (size_t k = 0; k < MOVEMENT_WINDOWS * WIDE; k++)
        if (k % 2)
            assert_true(found[k] == 0);
        else
            assert_true(fabs((double)found[k] - 1.0) < 0.05);

    assert_int_equal(movement_find_jumps(rows, 1, WIDE, found), 0);
    assert_near((double)found[0], 1);
}

static void failed_allocations_are_told(void **state)
{
    (void)state;
    struct movement *movement = NULL;
    const float row[N] = {0};
    float found[MOVEMENT_WINDOWS * N];

    for (int nth = 0; nth < 2; nth++) {
        alloc_fail_in = nth;
        assert_int_equal(movement_new(N, &movement), -ENOMEM);
    }
    alloc_fail_in = 0;
    assert_int_equal(movement_find_jumps(row, 1, N, found), -ENOMEM);
    alloc_fail_in = -1;
    assert_null(movement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_at_the_mean_of_training),
        cmocka_unit_test(holds_the_largest_jump_over_what_is_usual_and_lets_it_fade),
        cmocka_unit_test(what_is_missing_does_not_move),
        cmocka_unit_test(a_new_scaler_leaves_the_averages_where_they_are_in_the_users_units),
        cmocka_unit_test(usual_jumps_are_a_quantile_of_the_hold_in_training),
        cmocka_unit_test(failed_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
