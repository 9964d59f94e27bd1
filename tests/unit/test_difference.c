#include "anomalyctl/difference.h"

#include "detector/detector.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <string.h>

static float rows[TINY_ROWS * TINY_FEATURES];

/* About 0, times factors[f], plus shifts[f]; a factor of 0 makes the feature constant. */
static struct detector *train(const char *const *names, const float *factors, const float *shifts)
{
    const struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};
    struct detector *detector = NULL;
    struct error error;

    tiny_rows(1, rows, TINY_ROWS);
    for (size_t i = 0; i < TINY_ROWS * TINY_FEATURES; i++)
        rows[i] = (rows[i] - 100) * factors[i % TINY_FEATURES] + shifts[i % TINY_FEATURES];
    if (detector_train(rows, TINY_ROWS, names, TINY_FEATURES, &options, NULL, NULL, &detector,
                       &error) < 0)
        fail_msg("%s", error.text);
    return detector;
}

static const float as_it_is[TINY_FEATURES] = {1, 1, 1, 1, 1, 1}, nowhere[TINY_FEATURES] = {0};

static void the_same_version_does_not_differ(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *a = train(tiny_names, as_it_is, nowhere);
    CLEANUP(difference_clear) struct difference difference = {0};

    assert_int_equal(difference_make(a, a, &difference), 0);
    assert_int_equal(difference.n_features, TINY_FEATURES);
    assert_int_equal(difference.n_matter + difference.n_added + difference.n_removed, 0);
    for (size_t i = 0; i < TINY_FEATURES; i++) {
        assert_int_equal(difference.features[i].in_a, i);
        assert_true(difference.features[i].shift == 0 && difference.features[i].spread == 1);
    }
}

static void what_moved_most_comes_first(void **state)
{
    (void)state;
    static const float factors[TINY_FEATURES] = {1, 8, 1, 1.1F, 1, 1};
    CLEANUP(detector_freep) struct detector *a = train(tiny_names, as_it_is, nowhere);
    const float std = scaler_std(detector_ensemble(a)->scaler)[2];
    const float shifts[TINY_FEATURES] = {0, 0, -4 * std, 0};
    CLEANUP(detector_freep) struct detector *b = train(tiny_names, factors, shifts);
    CLEANUP(difference_clear) struct difference difference = {0};

    assert_int_equal(difference_make(a, b, &difference), 0);
    assert_int_equal(difference.n_matter, 2);
    assert_int_equal(difference.features[0].in_a, 2);
    assert_float_equal(difference.features[0].shift, -4, 1e-3);
    assert_float_equal(difference.features[0].spread, 1, 1e-3);
    assert_int_equal(difference.features[1].in_a, 1);
    assert_float_equal(difference.features[1].spread, 8, 1e-3);
    assert_int_equal(difference.features[2].in_a, 3);
}

static void features_that_one_lacks_are_named_not_compared(void **state)
{
    (void)state;
    static const char *const names[TINY_FEATURES] = {"new", "d", "newer", "a", "x", "y"};
    CLEANUP(detector_freep) struct detector *a = train(tiny_names, as_it_is, nowhere);
    CLEANUP(detector_freep) struct detector *b = train(names, as_it_is, nowhere);
    CLEANUP(difference_clear) struct difference difference = {0};

    assert_int_equal(difference_make(a, b, &difference), 0);
    assert_int_equal(difference.n_features, 2);
    assert_int_equal(difference.n_added, 4);
    assert_int_equal(difference.added[0], 0);
    assert_int_equal(difference.added[1], 2);
    assert_int_equal(difference.n_removed, 4);
    assert_int_equal(difference.removed[0], 1);
    assert_int_equal(difference.removed[1], 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(difference.features[i].in_b, difference.features[i].in_a == 0 ? 3 : 1);
}

static void a_constant_that_begins_to_move_is_told(void **state)
{
    (void)state;
    static const float still[TINY_FEATURES] = {1, 1, 0, 0, 1, 1};
    static const float sevens[TINY_FEATURES] = {0, 0, 7, 7, 0, 0};
    static const float one_moves[TINY_FEATURES] = {1, 1, 1, 0, 1, 1};
    CLEANUP(detector_freep) struct detector *a = train(tiny_names, still, sevens);
    CLEANUP(detector_freep) struct detector *b = train(tiny_names, one_moves, sevens);
    CLEANUP(difference_clear) struct difference difference = {0};

    assert_int_equal(difference_make(a, b, &difference), 0);
    assert_int_equal(difference.n_matter, 1);
    assert_int_equal(difference.features[0].in_a, 2);
    assert_true(difference.features[0].was_constant && !difference.features[0].is_constant);
    assert_true(difference.features[3].was_constant && difference.features[3].is_constant);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *a = train(tiny_names, as_it_is, nowhere);
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(difference_clear) struct difference difference = {0};
        alloc_fail_in = nth;
        r = difference_make(a, a, &difference);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

static int begin(void **state)
{
    (void)state;
    detector_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_version_does_not_differ),
        cmocka_unit_test(what_moved_most_comes_first),
        cmocka_unit_test(features_that_one_lacks_are_named_not_compared),
        cmocka_unit_test(a_constant_that_begins_to_move_is_told),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
