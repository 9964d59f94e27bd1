#include "detector/evaluation.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void assert_near(double value, double want)
{
    assert_true(fabs(value - want) < 1e-12);
}

static void perfect_order_gives_one(void **state)
{
    (void)state;
    const double scores[] = {0.1, 3, 0.2, 2};
    const bool is_anomaly[] = {false, true, false, true};
    const bool flagged[] = {false, true, false, true};
    struct evaluation found;

    assert_int_equal(evaluation_compute(scores, is_anomaly, flagged, 4, &found), 0);
    assert_int_equal(found.n_rows, 4);
    assert_int_equal(found.n_anomalies, 2);
    assert_near(found.roc_auc, 1);
    assert_near(found.average_precision, 1);
    assert_near(found.false_positive_rate, 0);
    assert_near(found.recall, 1);
    assert_near(found.precision, 1);
    assert_near(found.f1, 1);
}

/* By hand: falling scores 5+ 4- 3+ 2- 1-. Pairs won: 3 + 2 of 6; precisions 1/1 and 2/3. */
static void mixed_order_matches_the_hand_computed_values(void **state)
{
    (void)state;
    const double scores[] = {1, 5, 2, 3, 4};
    const bool is_anomaly[] = {false, true, false, true, false};
    const bool flagged[] = {false, true, false, false, true}; /* above 3.5 */
    struct evaluation found;

    assert_int_equal(evaluation_compute(scores, is_anomaly, flagged, 5, &found), 0);
    assert_near(found.roc_auc, 5.0 / 6);
    assert_near(found.average_precision, (1 + 2.0 / 3) / 2);
    assert_near(found.false_positive_rate, 1.0 / 3);
    assert_near(found.recall, 0.5);
    assert_near(found.precision, 0.5);
    assert_near(found.f1, 0.5);
}

/* 3+ | 2+ 2- 2- | 1-: pairs won 3 + (0.5 + 0.5 + 1) = 5 of 6; precisions 1/1 and 2/4. */
static void tied_scores_count_half_in_any_order(void **state)
{
    (void)state;
    const double scores[2][5] = {
        {3, 2, 2, 2, 1},
        {1, 2, 2, 3, 2}
    };
    const bool is_anomaly[2][5] = {
        {true,  true,  false, false, false},
        {false, false, false, true,  true }
    };
    const bool flagged[5] = {false};

    for (size_t i = 0; i < COUNT(scores); i++) {
        struct evaluation found;
        assert_int_equal(evaluation_compute(scores[i], is_anomaly[i], flagged, 5, &found), 0);
        assert_near(found.roc_auc, 5.0 / 6);
        assert_near(found.average_precision, 0.75);
    }
}

static void equal_scores_tell_nothing(void **state)
{
    (void)state;
    const double scores[] = {1, 1, 1, 1};
    const bool is_anomaly[] = {true, false, false, false};
    const bool flagged[] = {false, false, false, false};
    struct evaluation found;

    assert_int_equal(evaluation_compute(scores, is_anomaly, flagged, 4, &found), 0);
    assert_near(found.roc_auc, 0.5);
    assert_near(found.average_precision, 0.25);
    assert_near(found.recall, 0);
    assert_true(isnan(found.precision)); /* nothing was flagged */
    assert_near(found.f1, 0);
}

static void what_one_class_cannot_tell_is_nan(void **state)
{
    (void)state;
    const double scores[] = {1, 2};
    const bool none[] = {false, false}, all[] = {true, true}, flagged[] = {false, true};
    struct evaluation found;

    assert_int_equal(evaluation_compute(scores, none, flagged, 2, &found), 0);
    assert_true(isnan(found.roc_auc) && isnan(found.average_precision) && isnan(found.recall));
    assert_near(found.false_positive_rate, 0.5);
    assert_near(found.precision, 0);

    assert_int_equal(evaluation_compute(scores, all, flagged, 2, &found), 0);
    assert_true(isnan(found.roc_auc) && isnan(found.false_positive_rate));
    assert_near(found.average_precision, 1);
    assert_near(found.recall, 0.5);
}

static void no_rows_give_nan_and_no_crash(void **state)
{
    (void)state;
    struct evaluation found;

    assert_int_equal(evaluation_compute(NULL, NULL, NULL, 0, &found), 0);
    assert_int_equal(found.n_rows, 0);
    assert_true(isnan(found.roc_auc) && isnan(found.f1));
}

/* 3+ | 2+ 2- 2- | 1-: one step for the three that are tied. */
static void curve_has_one_point_for_each_different_score(void **state)
{
    (void)state;
    const double scores[] = {1, 2, 2, 3, 2};
    const bool is_anomaly[] = {false, false, false, true, true};
    const struct evaluation_point want[] = {
        {3, 1, 0},
        {2, 2, 2},
        {1, 2, 3}
    };
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points;

    assert_int_equal(evaluation_curve(scores, is_anomaly, 5, &points, &n_points), 0);
    assert_int_equal(n_points, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_near(points[i].score, want[i].score);
        assert_int_equal(points[i].n_hits, want[i].n_hits);
        assert_int_equal(points[i].n_false_alarms, want[i].n_false_alarms);
    }
}

static void area_under_the_curve_is_the_auc(void **state)
{
    (void)state;
    double scores[500];
    bool is_anomaly[COUNT(scores)];
    const size_t n_rows = COUNT(scores);

    for (size_t i = 0; i < n_rows; i++) {
        is_anomaly[i] = i % 7 == 0;
        scores[i] = (double)(i * 31 % 97) + 20 * is_anomaly[i]; /* with ties */
    }
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points;
    struct evaluation found;
    assert_int_equal(evaluation_compute(scores, is_anomaly, is_anomaly, n_rows, &found), 0);
    assert_int_equal(evaluation_curve(scores, is_anomaly, n_rows, &points, &n_points), 0);

    const double positives = (double)found.n_anomalies, negatives = (double)n_rows - positives;
    double area = 0, x = 0, y = 0;
    for (size_t i = 0; i < n_points; i++) {
        const double next_x = (double)points[i].n_false_alarms / negatives;
        const double next_y = (double)points[i].n_hits / positives;
        area += (next_x - x) * (y + next_y) / 2;
        x = next_x;
        y = next_y;
    }
    assert_true(n_points < n_rows);
    assert_near(x, 1);
    assert_near(y, 1);
    assert_near(area, found.roc_auc);
    assert_near(evaluation_partial_auc(points, n_points, 1), found.roc_auc);
}

/* Falling scores 5- 4+ 3- 2+ 1- 0-: the curve goes through (1/4, 0), (1/4, 1/2), (1/2, 1/2),
 * (1/2, 1), (1, 1). */
static void partial_area_matches_the_hand_computed_values(void **state)
{
    (void)state;
    const double scores[] = {0, 1, 2, 3, 4, 5};
    const bool is_anomaly[] = {false, false, true, false, true, false};
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points;

    assert_int_equal(evaluation_curve(scores, is_anomaly, 6, &points, &n_points), 0);
    assert_near(evaluation_partial_auc(points, n_points, 0.1), 0);
    assert_near(evaluation_partial_auc(points, n_points, 0.25), 0);
    assert_near(evaluation_partial_auc(points, n_points, 0.4), 0.15 * 0.5 / 0.4);
    assert_near(evaluation_partial_auc(points, n_points, 0.5), 0.25);
    assert_near(evaluation_partial_auc(points, n_points, 1), 5.0 / 8);
}

/* One step for all: the straight line from (0, 0) to (1, 1). */
static void partial_area_of_equal_scores_is_that_of_chance(void **state)
{
    (void)state;
    const double scores[] = {7, 7, 7, 7};
    const bool is_anomaly[] = {true, false, false, false};
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points;

    assert_int_equal(evaluation_curve(scores, is_anomaly, 4, &points, &n_points), 0);
    assert_near(evaluation_partial_auc(points, n_points, 0.05), 0.025);
    assert_near(evaluation_partial_auc(points, n_points, 1), 0.5);
}

static void partial_area_of_one_class_is_nan(void **state)
{
    (void)state;
    const double scores[] = {1, 2};
    const bool none[] = {false, false}, all[] = {true, true};

    for (size_t i = 0; i < 2; i++) {
        AUTO_FREE struct evaluation_point *points = NULL;
        size_t n_points;
        assert_int_equal(evaluation_curve(scores, i ? all : none, 2, &points, &n_points), 0);
        assert_true(isnan(evaluation_partial_auc(points, n_points, 0.05)));
    }
    assert_true(isnan(evaluation_partial_auc(NULL, 0, 0.05)));
}

static void curve_of_no_rows_is_empty(void **state)
{
    (void)state;
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points = 42;

    assert_int_equal(evaluation_curve(NULL, NULL, 0, &points, &n_points), 0);
    assert_int_equal(n_points, 0);
}

static void failed_allocations_leave_the_result_untouched(void **state)
{
    (void)state;
    const double scores[] = {1, 2};
    const bool is_anomaly[] = {false, true};
    struct evaluation found = {.n_rows = 42};
    int r = -ENOMEM, nth;

    for (nth = 0; r == -ENOMEM && nth < 100; nth++) {
        assert_int_equal(found.n_rows, 42);
        alloc_fail_in = nth;
        r = evaluation_compute(scores, is_anomaly, is_anomaly, 2, &found);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 2);
    assert_int_equal(found.n_rows, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_order_gives_one),
        cmocka_unit_test(mixed_order_matches_the_hand_computed_values),
        cmocka_unit_test(tied_scores_count_half_in_any_order),
        cmocka_unit_test(equal_scores_tell_nothing),
        cmocka_unit_test(what_one_class_cannot_tell_is_nan),
        cmocka_unit_test(no_rows_give_nan_and_no_crash),
        cmocka_unit_test(curve_has_one_point_for_each_different_score),
        cmocka_unit_test(area_under_the_curve_is_the_auc),
        cmocka_unit_test(partial_area_matches_the_hand_computed_values),
        cmocka_unit_test(partial_area_of_equal_scores_is_that_of_chance),
        cmocka_unit_test(partial_area_of_one_class_is_nan),
        cmocka_unit_test(curve_of_no_rows_is_empty),
        cmocka_unit_test(failed_allocations_leave_the_result_untouched),
    };

    return cmocka_run_group_tests_name("evaluation", tests, NULL, NULL);
}
