/* What a run trains on, and whether its candidate may serve: service/learning_runs.c. */
#include "service/learning.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/small_learning.h"

#include <string.h>

/* ---- what is drawn ---- */

static void assert_no_draw(const char *why)
{
    struct training_set set = {0};
    struct error error = {0};

    assert_int_equal(learning_draw(learning, &set, &error), -ENODATA);
    assert_string_equal(error.text, why);
    assert_null(set.rows); /* untouched */
}

static void mark(bool *is_seen, const float *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++) {
        const size_t number = (size_t)rows[i * D];
        assert_false(is_seen[number]);
        is_seen[number] = true;
    }
}

static void parts_of_a_draw_have_no_row_in_common(void **state)
{
    (void)state;
    static float rows[1200 * D];
    bool is_seen[1200] = {false};

    for (size_t i = 0; i < 1200; i++)
        rows[i * D] = (float)i;
    options.buffer_rows = 800; /* so that there are reservoirs */
    open_without_version();
    observe(rows, 1200);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_int_equal(set.n_rows, 400);
    assert_int_equal(set.n_candidates, 400);
    assert_int_equal(set.n_guarded + set.n_thinned + set.n_confirmed, 0);
    assert_int_equal(set.n_calibration, 200);
    assert_int_equal(set.n_held, 200);
    mark(is_seen, set.rows, set.n_rows);
    mark(is_seen, set.calibration, set.n_calibration);
    mark(is_seen, set.held, set.n_held);
}

static void what_serves_is_calibrated_on_the_gates_rows_too(void **state)
{
    (void)state;
    static float rows[400 * D];

    for (size_t i = 0; i < 400; i++)
        rows[i * D] = (float)i;
    open_without_version();
    observe(rows, 400);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_int_equal(set.n_all_calibration, set.n_calibration + set.n_held);
    assert_memory_equal(set.calibration + set.n_calibration * D, set.held,
                        set.n_held * D * sizeof(float));
    const struct gate_input input = learning_gate_input(learning, &set, detector);
    assert_ptr_equal(input.calibration, set.calibration);
    assert_int_equal(input.n_calibration, set.n_calibration); /* but it is judged without them */
}

static void a_level_that_was_approved_weighs_twice_what_was_before(void **state)
{
    (void)state;
    open_learning();
    observe_normal(2000);
    const uint64_t incident = open_incident();
    take_burst("", 340);
    flush();
    CLEANUP(training_set_clear) struct training_set before = draw();
    assert_int_equal(before.n_calibration, 500 + 25 - 4); /* and what came before the incident */
    assert_int_equal(learning_answer(learning, incident, true), 0);
    CLEANUP(training_set_clear) struct training_set set = draw();
    const size_t n_new = count_burst(ROW_CALIBRATE);
    assert_in_range(n_new, 98, 102);
    assert_in_range(set.n_calibration, n_new + n_new / 2, n_new + n_new / 2 + 8);
    assert_in_range(set.n_held, 147, 160);
    assert_int_equal(set.n_candidates, before.n_candidates + count_burst(ROW_TRAIN) + 8);
}

static void confirmed_anomalies_are_drawn_and_quarantine_is_not(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, false), 0);
    take_burst("", 50); /* in quarantine */
    take_normal("", 300);
    flush();
    assert_int_equal(count_burst(ROW_QUARANTINE), 50);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_in_range(set.n_confirmed, 60, 60 + 16);
    assert_int_equal(count_burst(ROW_CONFIRMED), 60);
    assert_int_equal(set.n_rows + set.n_calibration + set.n_held, learning_counts(learning).rows);
}

static void a_draw_says_how_many_rows_are_missing(void **state)
{
    (void)state;
    open_without_version();
    assert_no_draw("0 training and 0 calibration rows are too few; 20 of each are needed");
    observe_normal(60);
    assert_no_draw("30 training and 15 calibration rows are too few; 20 of each are needed");
    observe_normal(20);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_int_equal(set.n_calibration, 20);

    assert_int_equal(row_buffer_forget(learning_pending(learning).buffer), 0);
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
    take_burst(NULL, 100); /* flagged: none trains */
    flush();
    assert_no_draw("0 training and 25 calibration rows are too few; 20 of each are needed");
}

static bool has_burst(const float *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        if (rows[i * D] >= BURST_VALUE)
            return true;
    return false;
}

static void the_guard_leaves_out_what_the_pinned_version_finds_too_rare(void **state)
{
    (void)state;
    float values[D];

    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    for (size_t i = 0; i < 8; i++) { /* somebody says that they are normal; too few to be a push */
        observe_normal(i == 0 ? 320 : 240);
        tiny_row(&source, values);
        values[0] = BURST_VALUE;
        observe(values, 1);
    }
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_false(set.has_excess);
    assert_int_equal(set.n_candidates, 1004);
    assert_in_range(set.n_guarded, 4, 4 + 60); /* of the normal ones 2.5 % */
    assert_int_equal(set.n_candidates, set.n_rows + set.n_guarded + set.n_thinned);
    assert_false(has_burst(set.rows, set.n_rows));
    assert_true(has_burst(set.held, set.n_held));
    assert_int_equal(set.n_calibration + set.n_held, 1004);

    assert_int_equal(learning_pin(learning, NULL), 0);
    CLEANUP(training_set_clear) struct training_set all = draw();
    assert_int_equal(all.n_rows, all.n_candidates);
    assert_true(has_burst(all.rows, all.n_rows));
}

static void the_guard_follows_where_normal_has_moved(void **state)
{
    (void)state;
    static const float deviations[D] = {10, 10, 14, 14, 20, 30};
    float values[D];

    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    for (size_t i = 0; i < 2000; i++) {
        tiny_row(&source, values);
        for (size_t j = 0; j < D; j++) /* alternating: what hangs together moves apart */
            values[j] += (j % 2 ? 1.0F : -1.0F) * deviations[j];
        assert_int_equal(learning_observe(learning, values, 1, &now_us, ""), 0);
    }
    flush();
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_in_range(set.n_guarded, 0, 60);
    assert_false(set.is_pushed);
}

/* A row of the day, or of the night. */
static void shift_row(float row[D], bool is_night)
{
    for (size_t j = 0; is_night && j < D; j++)
        row[j] += j % 2 ? 100.0F : -100.0F;
}

static void the_guard_knows_more_than_one_kind_of_normal(void **state)
{
    (void)state;
    static float rows[2000 * D];
    struct trainer_options how = {.n_threads = 1}; /* a classic network knows what is between two
                                                      kinds as well as either */
    CLEANUP(detector_freep) struct detector *pinned = NULL;
    struct error error;
    float values[D];

    recipe_init(&how.recipe);
    how.recipe.false_alarm_rate = RATE;
    tiny_rows(5, rows, 2000);
    for (size_t i = 0; i < 2000; i++)
        shift_row(rows + i * D, i / 500 % 2);
    assert_int_equal(detector_train(rows, 2000, tiny_names, D, &how, NULL, NULL, &pinned, &error),
                     0);
    open_learning();
    assert_int_equal(learning_pin(learning, pinned), 0);
    for (size_t i = 0; i < 4000; i++) { /* half of them train: two stretches of each */
        tiny_row(&source, values);
        shift_row(values, i / 2000);
        assert_int_equal(learning_observe(learning, values, 1, &now_us, ""), 0);
    }
    flush();
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_int_equal(set.n_candidates, 2000);
    assert_in_range(set.n_guarded, 0, 120); /* 2.5 % are expected */
}

/* Rows that are rare to the detector, but less so than what the guard leaves out. */
static void observe_pushed(size_t n)
{
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    struct verdict verdict;
    float values[D];

    assert_int_equal(detector_workspace_new(&workspace), 0);
    while (n > 0) {
        tiny_row(&source, values);
        assert_int_equal(detector_score(detector, workspace, values, 1, threshold, &verdict), 0);
        if (verdict.p_value <= 0.03 || verdict.p_value > 0.05)
            continue;
        assert_int_equal(learning_observe(learning, values, 1, &now_us, ""), 0);
        n--;
    }
    flush();
}

static void of_who_pushes_nothing_rare_trains_and_strict_refuses(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        options.is_strict = strict;
        open_learning();
        assert_int_equal(learning_pin(learning, detector), 0);
        observe_normal(1000);
    }
    CLEANUP(training_set_clear) struct training_set before = draw();
    assert_false(before.has_excess);
    assert_in_range(before.n_thinned, 0, 20);
    observe_pushed(600);
    assert_no_draw("more rows than chance allows are rare to the pinned version: strict refuses "
                   "the batch");

    options.is_strict = false;
    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    CLEANUP(training_set_clear) struct training_set after = draw();
    assert_true(after.has_excess && after.is_pushed);
    assert_in_range(after.n_guarded, 300,
                    300 + 130); /* all that is rare, a tenth of the normal too */
    assert_in_range(after.n_thinned, 0, 20);
    assert_int_equal(after.n_candidates, after.n_rows + after.n_guarded + after.n_thinned);
}

/* Whoever looked at them may find that a new kind of normal has come. */
static void rebaseline_lets_in_what_was_taken_for_a_push(void **state)
{
    (void)state;
    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    observe_normal(1000);
    observe_pushed(600);
    assert_false(learning_must_pin(learning));
    assert_int_equal(learning_rebaseline(learning), 0);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_false(set.has_excess || set.is_pushed);
    assert_int_equal(set.n_rows, set.n_candidates);
    assert_true(learning_must_pin(learning)); /* or what comes next of it would be rare again */
}

/* Neighbours of a real stream are alike: some in a row are worth a word, but not worth a refusal.
 */
static void an_excess_of_the_newest_rows_alone_is_no_push(void **state)
{
    (void)state;
    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    observe_normal(8000);
    observe_pushed(60);
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_true(set.has_new_excess);
    assert_false(set.has_excess || set.is_pushed);
}

static void of_one_row_over_and_over_a_hundred_train(void **state)
{
    (void)state;
    float values[D];

    open_learning();
    observe_normal(1000);
    tiny_row(&source, values);
    for (size_t i = 0; i < 4000; i++)
        assert_int_equal(learning_observe(learning, values, 1, &now_us, ""), 0);
    flush();
    CLEANUP(training_set_clear) struct training_set set = draw();
    assert_in_range(set.n_rows, 300, 600); /* of some 2,000 */
    assert_in_range(set.n_all_calibration, 300, 700);
}

static void the_same_rows_are_drawn_again(void **state)
{
    (void)state;
    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    observe_normal(1000);
    observe_pushed(30); /* too few to be a push, too many for chance */
    CLEANUP(training_set_clear) struct training_set one = draw();
    CLEANUP(training_set_clear) struct training_set two = draw();
    assert_true(one.n_thinned > 0);
    assert_int_equal(one.n_rows, two.n_rows);
    assert_memory_equal(one.rows, two.rows, one.n_rows * D * sizeof(float));
}

static void a_draw_survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    open_learning();
    assert_int_equal(learning_pin(learning, detector), 0);
    observe_normal(200);
    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(training_set_clear) struct training_set set = {0};
        struct error error;
        alloc_fail_in = nth;
        r = learning_draw(learning, &set, &error);
        alloc_fail_in = -1;
        assert_true(r == 0 || !set.rows);
    }
    assert_int_equal(r, 0);
}

/* ---- judging ---- */

static void a_candidate_is_judged_on_the_held_rows(void **state)
{
    (void)state;
    struct gate_report report;

    open_learning();
    observe_normal(2400);
    CLEANUP(training_set_clear) struct training_set set = draw();
    CLEANUP(detector_freep) struct detector *candidate = train_small(set.rows, set.n_rows, 2);
    assert_int_equal(learning_judge(learning, &set, candidate, &report), 0);
    assert_string_equal(report.reason, "");
    assert_true(report.is_accepted);
    assert_int_equal(report.n_held, 600);
    assert_int_equal(report.n_train, 1200);
    assert_true(report.live.false_alarms > 0.02 && report.live.false_alarms < 0.08);
    assert_true(report.candidate.false_alarms > 0.02 && report.candidate.false_alarms < 0.08);

    for (size_t i = 0; i < set.n_held; i++)
        set.held[i * D] = BURST_VALUE;
    assert_int_equal(learning_judge(learning, &set, candidate, &report), 0);
    assert_false(report.is_accepted);
    assert_true(report.candidate.false_alarms == 1);
}

static void a_candidate_of_too_few_rows_is_refused_unless_it_is_the_first(void **state)
{
    (void)state;
    struct gate_report report;

    open_without_version();
    observe_normal(400);
    CLEANUP(training_set_clear) struct training_set set = draw();
    CLEANUP(detector_freep) struct detector *candidate = train_small(set.rows, set.n_rows, 2);
    assert_int_equal(learning_judge(learning, &set, candidate, &report), 0);
    assert_true(report.is_accepted);
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
    assert_int_equal(learning_judge(learning, &set, candidate, &report), 0);
    assert_false(report.is_accepted);
    assert_string_equal(report.reason, "it learnt from 200 rows, and at least 1000 are needed");
}

/* ---- after a restart ---- */

static void assert_is_due(const char *why)
{
    const char *is = learning_is_due(learning, now_us);

    assert_string_equal(is ? is : "", why);
}

static void rows_since_the_last_run_count_after_a_restart(void **state)
{
    (void)state;
    options.retrain_rows = 80;
    open_learning();
    observe_normal(100);
    learning_resume(learning, true, 30, 0, now_us);
    assert_is_due("");
    observe_normal(10);
    assert_is_due("rows");
    learning_resume(learning, false, 0, 0, now_us); /* there was no run: all are new */
    assert_is_due("rows");
    learning_resume(learning, true, UINT64_MAX, 0, now_us); /* that cannot be: none is */
    assert_is_due("");
    observe_normal(80);
    assert_is_due("rows");
}

static void time_since_the_last_run_counts_after_a_restart(void **state)
{
    (void)state;
    options.retrain_every_us = 100 * SECOND;
    options.retrain_min_interval_us = 10 * SECOND;
    open_learning();
    observe_normal(100);
    now_us = 5 * SECOND; /* the machine has just started */
    learning_resume(learning, true, 0, 40 * SECOND, now_us);
    now_us += 59 * SECOND;
    assert_is_due("");
    now_us += SECOND;
    assert_is_due("time");
    learning_resume(learning, true, 0, 5 * SECOND, 5 * SECOND); /* at the very start of it */
    now_us = 100 * SECOND;
    assert_is_due("time");
    learning_resume(learning, true, 0, UINT64_MAX / 2, now_us); /* long ago, says the clock */
    assert_is_due("time");
    learning_run_began(learning, now_us);
    assert_is_due("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEARNING_TEST(parts_of_a_draw_have_no_row_in_common),
        LEARNING_TEST(what_serves_is_calibrated_on_the_gates_rows_too),
        LEARNING_TEST(a_level_that_was_approved_weighs_twice_what_was_before),
        LEARNING_TEST(confirmed_anomalies_are_drawn_and_quarantine_is_not),
        LEARNING_TEST(a_draw_says_how_many_rows_are_missing),
        LEARNING_TEST(the_guard_leaves_out_what_the_pinned_version_finds_too_rare),
        LEARNING_TEST(the_guard_follows_where_normal_has_moved),
        LEARNING_TEST(the_guard_knows_more_than_one_kind_of_normal),
        LEARNING_TEST(of_who_pushes_nothing_rare_trains_and_strict_refuses),
        LEARNING_TEST(rebaseline_lets_in_what_was_taken_for_a_push),
        LEARNING_TEST(an_excess_of_the_newest_rows_alone_is_no_push),
        LEARNING_TEST(of_one_row_over_and_over_a_hundred_train),
        LEARNING_TEST(the_same_rows_are_drawn_again),
        LEARNING_TEST(a_draw_survives_every_failed_allocation),
        LEARNING_TEST(a_candidate_is_judged_on_the_held_rows),
        LEARNING_TEST(a_candidate_of_too_few_rows_is_refused_unless_it_is_the_first),
        LEARNING_TEST(rows_since_the_last_run_count_after_a_restart),
        LEARNING_TEST(time_since_the_last_run_counts_after_a_restart),
    };

    return cmocka_run_group_tests(tests, make_detector, free_detector);
}
