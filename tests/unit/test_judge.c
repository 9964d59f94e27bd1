#include "detector/judge.h"

#include "detector/calibration.h"
#include "detector/detail.h"
#include "detector/detector.h"
#include "detector/relevance.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define D      TINY_FEATURES
#define N_ROWS 60

/* Features a and e have one cause, b and f another, c and d both. */
enum {
    A,
    B,
    C,
    E = 4
};

static struct detector *detector; /* all parts */
static struct workspace *workspace;
static double threshold;
static float rows[N_ROWS * D];

static int set_up(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(1);

    detector_init();
    detector = tiny_train(&recipe);
    tiny_rows(5, rows, N_ROWS);
    if (!detector)
        return -1;
    threshold = calibration_threshold(detector_calibration(detector), 0.05);
    return detector_workspace_new(&workspace);
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(detector);
    detector_workspace_free(workspace);
    return 0;
}

static struct verdict judge(const struct relevance_rule *rules, const float *row)
{
    struct verdict verdict;

    assert_int_equal(judge_rows(detector, rules, workspace, row, 1, threshold, &verdict), 0);
    return verdict;
}

/* A normal row with something added to some of its features. */
static const float *row_with(size_t feature, float added)
{
    static float row[D];

    memcpy(row, rows, sizeof(row));
    assert_false(judge(NULL, row).anomaly);
    row[feature] += added;
    return row;
}

/* Both of one cause. */
static const float *joint_row(float added)
{
    static float row[D];

    memcpy(row, row_with(A, added), sizeof(row));
    row[E] += 2 * added;
    row[C] += added;
    row[3] += added;
    return row;
}

static void what_falls_is_no_anomaly_where_only_its_rise_matters(void **state)
{
    (void)state;
    const struct relevance_rule rules[D] = {[A] = {.direction = RELEVANCE_ABOVE}};

    assert_true(judge(NULL, row_with(A, -60)).anomaly);
    const struct verdict fallen = judge(rules, row_with(A, -60));
    assert_false(fallen.anomaly);
    assert_true(fallen.score <= 1.0 && fallen.p_value > 0.05);
    assert_int_equal(fallen.n_set_aside, 1);

    const struct verdict risen = judge(rules, row_with(A, 60));
    assert_true(risen.anomaly);
    assert_int_equal(risen.n_set_aside, 0);
    assert_true(risen.score == judge(NULL, row_with(A, 60)).score);
}

static void a_deviation_below_the_tolerance_is_none(void **state)
{
    (void)state;
    const struct relevance_rule absolute[D] = {[A] = {.tolerance = 40}};
    const struct relevance_rule relative[D] = {
        [A] = {.tolerance = 0.5, .is_relative = true}
    };

    assert_true(judge(NULL, row_with(A, 30)).anomaly);
    assert_false(judge(absolute, row_with(A, 30)).anomaly);
    assert_false(judge(absolute, row_with(A, -30)).anomaly);
    assert_true(judge(absolute, row_with(A, 60)).anomaly);
    assert_false(judge(relative, row_with(A, 30)).anomaly);
    assert_true(judge(relative, row_with(A, 100)).anomaly);
}

static void two_that_fall_together_do_not_vouch_for_each_other(void **state)
{
    (void)state;
    struct relevance_rule rules[D];

    for (size_t j = 0; j < D; j++)
        rules[j] = (struct relevance_rule){.direction = RELEVANCE_ABOVE};
    assert_true(judge(NULL, joint_row(-60)).anomaly);
    assert_false(judge(rules, joint_row(-60)).anomaly);
    assert_true(judge(rules, joint_row(60)).anomaly);
}

static void two_that_rise_together_beyond_their_tolerance_matter(void **state)
{
    (void)state;
    struct relevance_rule rules[D];

    for (size_t j = 0; j < D; j++)
        rules[j] = (struct relevance_rule){.tolerance = 40};
    const struct verdict without = judge(NULL, joint_row(70)), with = judge(rules, joint_row(70));
    assert_true(without.anomaly && with.anomaly);
}

static void no_verdict_gets_worse_and_quiet_ones_stay_as_they_are(void **state)
{
    (void)state;
    struct relevance_rule rules[D];
    struct verdict with[N_ROWS], without[N_ROWS];

    for (size_t j = 0; j < D; j++)
        rules[j] = (struct relevance_rule){.direction = 1 + j % 2, .tolerance = (double)j};
    for (size_t i = 0; i < N_ROWS; i++)
        rows[i * D + i % D] += (float)(i % 5) * (i % 2 ? 20.0F : -20.0F);
    assert_int_equal(judge_rows(detector, NULL, workspace, rows, N_ROWS, threshold, without), 0);
    assert_int_equal(judge_rows(detector, rules, workspace, rows, N_ROWS, threshold, with), 0);
    size_t n_lowered = 0, n_quiet = 0;
    for (size_t i = 0; i < N_ROWS; i++) {
        assert_true(with[i].score <= without[i].score);
        assert_true(with[i].p_value >= without[i].p_value);
        assert_true(with[i].anomaly == (with[i].score > 1.0));
        assert_true(with[i].n_set_aside > 0 || with[i].score == without[i].score);
        if (!without[i].anomaly) {
            assert_int_equal(with[i].n_set_aside, 0);
            n_quiet++;
        }
        n_lowered += with[i].score < without[i].score;
        /* Alone as in a batch. */
        assert_true(judge(rules, rows + i * D).reconstruction_error ==
                    with[i].reconstruction_error);
    }
    assert_true(n_lowered > 5 && n_quiet > 5);
    tiny_rows(5, rows, N_ROWS);
}

static void what_was_set_aside_is_blamed_for_nothing(void **state)
{
    (void)state;
    const struct relevance_rule rules[D] = {[A] = {.direction = RELEVANCE_ABOVE}};
    CLEANUP(explained_clear) struct explained explained = {0};
    float row[D];

    memcpy(row, row_with(A, -60), sizeof(row));
    row[B] += 90;
    const struct verdict verdict = judge(rules, row);
    assert_true(verdict.anomaly && verdict.n_set_aside == 1);
    assert_int_equal(
        explained_fill(&explained, detector, rules, workspace, row, NULL, NULL, threshold), 0);
    assert_int_equal(explained.n_aside, 1);
    assert_true(explained.is_aside[A]);
    assert_int_equal(explained.contributions[0].feature, B);
    double sum = 0.0;
    for (size_t k = 0; k < D; k++) {
        sum += explained.contributions[k].share;
        if (explained.contributions[k].feature != A)
            continue;
        assert_true(explained.contributions[k].share == 0.0);
        assert_true(explained.contributions[k].value == row[A]); /* as it was sent */
    }
    assert_true(fabs(sum - 1.0) < 1e-9);
    /* What would make it normal begins without it, too. */
    assert_true(explained.counterfactual.is_found);
    for (size_t k = 0; k < explained.counterfactual.n; k++)
        assert_true(explained.counterfactual.inputs[k] != A);
}

static void a_missing_value_is_not_set_aside(void **state)
{
    (void)state;
    const struct relevance_rule rules[D] = {
        [A] = {.direction = RELEVANCE_ABOVE}, [B] = {.direction = RELEVANCE_ABOVE}};
    float row[D];

    memcpy(row, row_with(A, -60), sizeof(row));
    row[B] = NAN;
    const struct verdict verdict = judge(rules, row);
    assert_int_equal(verdict.n_set_aside, 1);
    assert_int_equal(verdict.n_imputed, 1);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const struct relevance_rule rules[D] = {[A] = {.direction = RELEVANCE_ABOVE}};
    const float *row = row_with(A, -60);
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 30; nth++) {
        CLEANUP(detector_workspace_freep) struct workspace *own = NULL;
        struct verdict verdict;
        assert_int_equal(detector_workspace_new(&own), 0);
        alloc_fail_in = nth;
        r = judge_rows(detector, rules, own, row, 1, threshold, &verdict);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_falls_is_no_anomaly_where_only_its_rise_matters),
        cmocka_unit_test(a_deviation_below_the_tolerance_is_none),
        cmocka_unit_test(two_that_fall_together_do_not_vouch_for_each_other),
        cmocka_unit_test(two_that_rise_together_beyond_their_tolerance_matter),
        cmocka_unit_test(no_verdict_gets_worse_and_quiet_ones_stay_as_they_are),
        cmocka_unit_test(what_was_set_aside_is_blamed_for_nothing),
        cmocka_unit_test(a_missing_value_is_not_set_aside),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
