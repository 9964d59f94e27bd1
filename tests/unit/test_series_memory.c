#include "service/series_memory.h"

#include "data/schema.h"
#include "detector/detector.h"
#include "detector/explanation.h"
#include "detector/movement.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define D      TINY_FEATURES
#define N_ROWS 60

static struct detector *first, *other; /* of different rows */
static struct workspace *workspace;
static struct series_memory *memory;
static float rows[N_ROWS * D];
static bool all[N_ROWS];

static int set_up_all(void **state)
{
    (void)state;
    static float shifted[TINY_ROWS * D];
    const struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};

    detector_init();
    first = tiny_detector(1);
    tiny_rows(3, shifted, TINY_ROWS);
    for (size_t k = 0; k < TINY_ROWS * D; k++)
        shifted[k] = 2 * shifted[k] + 7;
    assert_int_equal(
        detector_train(shifted, TINY_ROWS, tiny_names, D, &options, NULL, NULL, &other, NULL), 0);
    tiny_rows(9, rows, N_ROWS);
    memset(all, true, sizeof(all));
    return first ? detector_workspace_new(&workspace) : -1;
}

static int tear_down_all(void **state)
{
    (void)state;
    detector_free(first);
    detector_free(other);
    detector_workspace_free(workspace);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return series_memory_new(&memory);
}

static int tear_down(void **state)
{
    (void)state;
    series_memory_release(memory);
    return 0;
}

/* The hold after a row of a series alone, by detector/movement.h. */
static void follow_alone(const struct detector *detector, size_t n, float ret_hold[D])
{
    CLEANUP(movement_freep) struct movement *movement = NULL;

    assert_int_equal(movement_new(D, &movement), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(detector_follow(detector, workspace, rows + i * D, movement), 0);
    memcpy(ret_hold, movement->hold, D * sizeof(float));
}

static void follow(const struct detector *detector, const char *series, size_t begin, size_t n,
                   float *ret_holds)
{
    assert_int_equal(series_memory_follow(memory, detector, workspace, series, 1, false,
                                          rows + begin * D, n, NULL, all, ret_holds, NULL),
                     0);
}

static void rows_are_followed_alone_or_in_a_batch(void **state)
{
    (void)state;
    float holds[N_ROWS * D], expected[D];

    follow(first, "a", 0, 20, holds);
    for (size_t i = 20; i < 40; i++)
        follow(first, "a", i, 1, holds + i * D);
    follow(first, "a", 40, 20, holds + 40 * D);
    for (size_t i = 0; i < N_ROWS; i++) {
        follow_alone(first, i + 1, expected);
        assert_memory_equal(holds + i * D, expected, sizeof(expected));
    }
}

static void bring(const char *series, size_t begin, size_t n, struct series_undo **undo)
{
    float holds[N_ROWS * D];

    assert_int_equal(series_memory_follow(memory, first, workspace, series, 1, false,
                                          rows + begin * D, n, NULL, all, holds, undo),
                     0);
}

static void assert_moved_as_by(const char *series, size_t n_before, size_t next)
{
    float hold[D], expected[D];

    follow(first, series, next, 1, hold);
    CLEANUP(movement_freep) struct movement *movement = NULL;
    assert_int_equal(movement_new(D, &movement), 0);
    for (size_t i = 0; i < n_before; i++)
        assert_int_equal(detector_follow(first, workspace, rows + i * D, movement), 0);
    assert_int_equal(detector_follow(first, workspace, rows + next * D, movement), 0);
    memcpy(expected, movement->hold, sizeof(expected));
    assert_memory_equal(hold, expected, sizeof(expected));
}

static void the_movement_of_a_refused_request_is_taken_back(void **state)
{
    (void)state;
    struct series_undo *undo = NULL;

    bring("a", 0, 10, NULL);
    bring("a", 10, 10, &undo); /* in two pieces */
    bring("a", 20, 10, &undo);
    bring("b", 0, 10, NULL); /* another series is none of its business */
    series_undo_apply(undo);
    series_undo_free(undo);
    assert_moved_as_by("a", 10, 40);
    assert_moved_as_by("b", 10, 40);
}

static void a_series_that_a_refused_request_began_has_not_moved(void **state)
{
    (void)state;
    struct series_undo *undo = NULL;

    bring("a", 0, 10, &undo);
    series_undo_apply(undo);
    series_undo_free(undo);
    assert_moved_as_by("a", 0, 40);
}

/* So that nobody is told later that it has fallen silent. */
static void a_series_that_a_refused_request_began_is_not_missed(void **state)
{
    (void)state;
    struct series_undo *undo = NULL, *second = NULL;
    struct series_change changes[4];
    struct series_counts counts;
    float holds[N_ROWS * D];

    assert_int_equal(series_memory_follow(memory, first, workspace, "ghost", 10, true, rows, 5,
                                          NULL, all, holds, &undo),
                     0);
    assert_int_equal(series_memory_touch(memory, "real", 10), 0);
    assert_int_equal(series_memory_follow(memory, first, workspace, "real", 1000, true, rows, 5,
                                          NULL, all, holds, &second),
                     0);
    series_undo_apply(undo);
    series_undo_free(undo);
    series_undo_apply(second);
    series_undo_free(second);
    assert_int_equal(series_memory_watch(memory, 1500, 1000, changes, 4, &counts), 1);
    assert_string_equal(changes[0].series, "real");
    assert_int_equal(changes[0].seen_us, 10);
    assert_int_equal(counts.n_series, 1);
}

static void what_others_have_brought_meanwhile_stays(void **state)
{
    (void)state;
    struct series_undo *between = NULL, *since = NULL;

    bring("a", 0, 5, &between);
    bring("a", 5, 5, NULL);
    bring("a", 10, 5, &between);
    series_undo_apply(between);
    series_undo_free(between);
    bring("a", 15, 5, &since);
    bring("a", 20, 5, NULL);
    series_undo_apply(since);
    series_undo_free(since);
    assert_moved_as_by("a", 25, 40);
}

static void only_the_holds_that_are_wanted_are_given(void **state)
{
    (void)state;
    const bool is_wanted[5] = {false, true, false, false, true};
    float holds[2 * D], expected[D];

    assert_int_equal(series_memory_follow(memory, first, workspace, "", 1, false, rows, 5, NULL,
                                          is_wanted, holds, NULL),
                     0);
    follow_alone(first, 2, expected);
    assert_memory_equal(holds, expected, sizeof(expected));
    follow_alone(first, 5, expected);
    assert_memory_equal(holds + D, expected, sizeof(expected));
}

static void series_do_not_know_of_each_other(void **state)
{
    (void)state;
    float holds[N_ROWS * D], expected[D];

    follow(first, "b", 0, 30, holds);
    follow(first, "a", 0, 10, holds);
    follow_alone(first, 10, expected);
    assert_memory_equal(holds + 9 * D, expected, sizeof(expected));
    follow(first, "b", 30, 1, holds);
    follow_alone(first, 31, expected);
    assert_memory_equal(holds, expected, sizeof(expected));
}

/* In the user's units the averages are where they were: z of one is z of the other. */
static void another_version_goes_on_where_the_series_was(void **state)
{
    (void)state;
    CLEANUP(movement_freep) struct movement *expected = NULL;
    float holds[N_ROWS * D];

    follow(first, "a", 0, 40, holds);
    follow(other, "a", 40, 1, holds);

    assert_int_equal(movement_new(D, &expected), 0);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(detector_follow(first, workspace, rows + i * D, expected), 0);
    movement_rescale(expected, detector_ensemble(first)->scaler, detector_ensemble(other)->scaler);
    assert_int_equal(detector_follow(other, workspace, rows + 40 * D, expected), 0);
    assert_memory_equal(holds, expected->hold, D * sizeof(float));
}

static void of_too_many_series_the_one_that_was_silent_for_longest_goes(void **state)
{
    (void)state;
    float hold[D], expected[2 * D];
    char name[16];

    for (size_t i = 0; i < SERIES_MEMORY_MAX_SERIES; i++) {
        (void)snprintf(name, sizeof(name), "%zu", i * 7919 % SERIES_MEMORY_MAX_SERIES);
        follow(first, name, 0, 1, hold);
    }
    follow(first, "0", 1, 1, hold); /* the first one is heard of again */
    follow(first, "new", 0, 1, hold);
    follow_alone(first, 3, expected);
    follow(first, "0", 2, 1, hold);
    assert_memory_equal(hold, expected, sizeof(hold));
    follow_alone(first, 1, expected);
    follow(first, "7919", 0, 1, hold); /* the second one is gone */
    assert_memory_equal(hold, expected, sizeof(hold));
}

static struct detector *wide_detector(size_t n_features, const float *values, size_t n_rows)
{
    struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};
    char names[SCHEMA_MAX_FEATURES][24];
    const char *pointers[SCHEMA_MAX_FEATURES];
    struct detector *detector = NULL;

    options.recipe.epochs = 1;
    for (size_t j = 0; j < n_features; j++) {
        (void)snprintf(names[j], sizeof(names[j]), "%zu", j);
        pointers[j] = names[j];
    }
    assert_int_equal(
        detector_train(values, n_rows, pointers, n_features, &options, NULL, NULL, &detector, NULL),
        0);
    return detector;
}

static void wide_rows_have_room_for_fewer_series(void **state)
{
    (void)state;
    enum {
        WIDE = SCHEMA_MAX_FEATURES,
        FEW = 40
    };
    static float values[FEW * WIDE], hold[WIDE];
    char name[16];

    for (size_t k = 0; k < FEW * WIDE; k++)
        values[k] = (float)(k * 7919 % 101);
    CLEANUP(detector_freep) struct detector *wide = wide_detector(WIDE, values, FEW);
    CLEANUP(movement_freep) struct movement *anew = NULL;
    assert_int_equal(series_memory_most(memory), SERIES_MEMORY_MAX_SERIES);
    assert_int_equal(series_memory_follow(memory, wide, workspace, "", 1, false, values, 1, NULL,
                                          all, hold, NULL),
                     0);
    const size_t most = series_memory_most(memory);

    assert_true(most > 1000 && most * 3 * sizeof(hold) <= SERIES_MEMORY_MAX_BYTES);
    for (size_t i = 0; i <= most; i++) {
        (void)snprintf(name, sizeof(name), "%zu", i);
        assert_int_equal(series_memory_follow(memory, wide, workspace, name, 1, false, values, 1,
                                              NULL, all, hold, NULL),
                         0);
    }
    assert_int_equal(movement_new(WIDE, &anew), 0);
    assert_int_equal(detector_follow(wide, workspace, values + WIDE, anew), 0);
    assert_int_equal(series_memory_follow(memory, wide, workspace, "0", 1, false, values + WIDE, 1,
                                          NULL, all, hold, NULL),
                     0);
    assert_memory_equal(hold, anew->hold, sizeof(hold));
}

static void who_shares_them_keeps_them(void **state)
{
    (void)state;
    struct series_memory *shared = series_memory_share(memory);
    float holds[N_ROWS * D];

    assert_ptr_equal(shared, memory);
    series_memory_release(memory);
    follow(first, "a", 0, 3, holds);
}

enum {
    N_THREADS = 4
};

struct follower {
    const struct detector *detector;
    char series[24];
    float hold[D];
};

static void *follow_alone_and_together(void *data)
{
    struct follower *follower = data;
    CLEANUP(detector_workspace_freep) struct workspace *own = NULL;
    float together[D];

    assert_int_equal(detector_workspace_new(&own), 0);
    for (size_t i = 0; i < N_ROWS; i++) {
        assert_int_equal(series_memory_follow(memory, follower->detector, own, follower->series, 1,
                                              false, rows + i * D, 1, NULL, all, follower->hold,
                                              NULL),
                         0);
        assert_int_equal(series_memory_follow(memory, follower->detector, own, "all", 1, false,
                                              rows + i * D, 1, NULL, all, together, NULL),
                         0);
    }
    return NULL;
}

static void threads_of_two_versions_follow_at_a_time(void **state)
{
    (void)state;
    struct follower followers[N_THREADS];
    pthread_t threads[N_THREADS];
    float expected[D];

    for (size_t i = 0; i < N_THREADS; i++) {
        followers[i].detector = i % 2 ? other : first;
        (void)snprintf(followers[i].series, sizeof(followers[i].series), "%zu", i);
        assert_int_equal(
            pthread_create(&threads[i], NULL, follow_alone_and_together, &followers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        follow_alone(followers[i].detector, N_ROWS, expected);
        for (size_t j = 0; j < D; j++)
            assert_float_equal(followers[i].hold[j], expected[j], 1e-3);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct series_memory *none = NULL;
    float hold[D];
    int r = -ENOMEM, nth = 0;

    alloc_fail_in = 0;
    assert_int_equal(series_memory_new(&none), -ENOMEM);
    for (; r == -ENOMEM && nth < 20; nth++) {
        alloc_fail_in = nth;
        r = series_memory_follow(memory, first, workspace, "a", 1, false, rows, 1, NULL, all, hold,
                                 NULL);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_are_followed_alone_or_in_a_batch),
        TEST(the_movement_of_a_refused_request_is_taken_back),
        TEST(a_series_that_a_refused_request_began_has_not_moved),
        TEST(a_series_that_a_refused_request_began_is_not_missed),
        TEST(what_others_have_brought_meanwhile_stays),
        TEST(only_the_holds_that_are_wanted_are_given),
        TEST(series_do_not_know_of_each_other),
        TEST(another_version_goes_on_where_the_series_was),
        TEST(of_too_many_series_the_one_that_was_silent_for_longest_goes),
        TEST(wide_rows_have_room_for_fewer_series),
        TEST(who_shares_them_keeps_them),
        TEST(threads_of_two_versions_follow_at_a_time),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
