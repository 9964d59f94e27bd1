#include "detector/movement.h"

#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

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

/* Vectors take many at a time, and what is left over one by one. */
static void many_features_move_as_each_alone(void **state)
{
    (void)state;
    enum {
        MANY = 29
    };
    CLEANUP(movement_freep) struct movement *many = NULL;
    CLEANUP(movement_freep) struct movement *alone = NULL;
    float many_jumps[MOVEMENT_WINDOWS * MANY], row[MANY];

    for (size_t j = 0; j < MANY; j++) {
        many_jumps[j] = 0.1F * (float)j;
        many_jumps[MANY + j] = 3.0F - 0.1F * (float)j;
    }
    assert_int_equal(movement_new(MANY, &many), 0);
    for (size_t i = 0; i < 30; i++) {
        for (size_t j = 0; j < MANY; j++)
            row[j] = (i + j) % 7 == 3 ? NAN : (float)((i * 31 + j * 17) % 13) - 6;
        movement_follow(many, many_jumps, row, row);
    }
    for (size_t j = 0; j < MANY; j++) {
        const float own[MOVEMENT_WINDOWS] = {many_jumps[j], many_jumps[MANY + j]};
        movement_free(TAKE(alone));
        assert_int_equal(movement_new(1, &alone), 0);
        for (size_t i = 0; i < 30; i++) {
            row[0] = (i + j) % 7 == 3 ? NAN : (float)((i * 31 + j * 17) % 13) - 6;
            movement_follow(alone, own, row, row);
        }
        assert_near((double)many->hold[j], (double)alone->hold[0]);
        assert_near((double)many->averages[j], (double)alone->averages[0]);
        assert_near((double)many->averages[MANY + j], (double)alone->averages[1]);
    }
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

static struct movement *moved(const struct scaler *scaler)
{
    struct movement *movement = NULL;

    assert_int_equal(movement_new(N, &movement), 0);
    for (size_t i = 0; i < 30; i++) {
        const float row[N] = {10 + (float)(i % 5), (float)i, -3};
        float z[N];
        for (size_t j = 0; j < N; j++)
            z[j] = (row[j] - scaler_mean(scaler)[j]) / scaler_std(scaler)[j];
        movement_follow(movement, jumps, row, z);
    }
    return movement;
}

static void a_saved_movement_goes_on_where_it_was(void **state)
{
    (void)state;
    CLEANUP(scaler_freep) struct scaler *from = NULL;
    CLEANUP(scaler_freep) struct scaler *to = NULL;
    const float means[N] = {10, 0, 5}, stds[N] = {2, 10, 1};
    const float other_means[N] = {8, 20, 0}, other_stds[N] = {4, 1, 100};
    char bytes[256];

    assert_int_equal(scaler_new(means, stds, means, N, &from), 0);
    assert_int_equal(scaler_new(other_means, other_stds, other_means, N, &to), 0);
    CLEANUP(movement_freep) struct movement *movement = moved(from);
    CLEANUP(movement_freep) struct movement *again = NULL;
    assert_int_equal(movement_new(N, &again), 0);
    assert_in_range(movement_size(N), 1, sizeof(bytes));
    movement_save(movement, from, bytes);
    assert_int_equal(movement_load(again, from, bytes, movement_size(N)), 0);
    assert_int_equal(again->n_rows, 30);
    for (size_t k = 0; k < MOVEMENT_WINDOWS * N; k++)
        assert_near((double)again->averages[k], (double)movement->averages[k]);
    assert_memory_equal(again->hold, movement->hold, sizeof(float[N]));

    /* In terms of another scaler it is as if it had been rescaled. */
    assert_int_equal(movement_load(again, to, bytes, movement_size(N)), 0);
    movement_rescale(movement, from, to);
    for (size_t k = 0; k < MOVEMENT_WINDOWS * N; k++)
        assert_near((double)again->averages[k], (double)movement->averages[k]);
}

static void damaged_bytes_are_refused_and_change_nothing(void **state)
{
    (void)state;
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    const float zeros[N] = {0}, ones[N] = {1, 1, 1}, bad[] = {NAN, INFINITY, -INFINITY};
    char good[256], damaged[256], after[256];
    const size_t size = movement_size(N);

    assert_int_equal(scaler_new(zeros, ones, zeros, N, &scaler), 0);
    CLEANUP(movement_freep) struct movement *movement = moved(scaler);
    movement_save(movement, scaler, good);
    assert_int_equal(movement_load(movement, scaler, good, size - 1), -EINVAL);
    assert_int_equal(movement_load(movement, scaler, good, size + 1), -EINVAL);
    assert_int_equal(movement_load(movement, scaler, good, 0), -EINVAL);
    for (size_t k = 0; k < (MOVEMENT_WINDOWS + 1) * N; k++)
        for (size_t i = 0; i < 3; i++) {
            memcpy(damaged, good, size);
            memcpy(damaged + sizeof(uint64_t) + k * sizeof(float), &bad[i], sizeof(float));
            assert_int_equal(movement_load(movement, scaler, damaged, size), -EINVAL);
            movement_save(movement, scaler, after);
            assert_memory_equal(after, good, size);
        }
}

static void a_loaded_average_is_within_what_a_scaler_gives(void **state)
{
    (void)state;
    CLEANUP(scaler_freep) struct scaler *wide = NULL;
    CLEANUP(scaler_freep) struct scaler *narrow = NULL;
    const float zeros[N] = {0}, ones[N] = {1, 1, 1}, tiny[N] = {1e-30F, 1e-30F, 1e-30F};
    char bytes[256];

    assert_int_equal(scaler_new(zeros, ones, zeros, N, &wide), 0);
    assert_int_equal(scaler_new(zeros, tiny, zeros, N, &narrow), 0);
    CLEANUP(movement_freep) struct movement *movement = moved(wide);
    movement->averages[0] = 3e38F;
    movement_save(movement, wide, bytes);
    assert_int_equal(movement_load(movement, narrow, bytes, movement_size(N)), 0);
    for (size_t k = 0; k < MOVEMENT_WINDOWS * N; k++)
        assert_true(fabsf(movement->averages[k]) <= SCALER_LIMIT);
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
        cmocka_unit_test(many_features_move_as_each_alone),
        cmocka_unit_test(what_is_missing_does_not_move),
        cmocka_unit_test(a_new_scaler_leaves_the_averages_where_they_are_in_the_users_units),
        cmocka_unit_test(a_saved_movement_goes_on_where_it_was),
        cmocka_unit_test(damaged_bytes_are_refused_and_change_nothing),
        cmocka_unit_test(a_loaded_average_is_within_what_a_scaler_gives),
        cmocka_unit_test(usual_jumps_are_a_quantile_of_the_hold_in_training),
        cmocka_unit_test(failed_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
