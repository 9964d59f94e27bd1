/* Answers, when to train, and the loop as a whole: service/learning.c. The rows on their way and
 * the runs: test_learning_rows.c, test_learning_runs.c. */
#include "service/learning.h"

#include "detector/evaluation.h"

#include "support/cmocka.h"
#include "support/small_learning.h"

#include <string.h>

/* ---- answers ---- */

static void normal_lets_an_open_incidents_rows_and_all_further_ones_in(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    assert_int_equal(count_burst(ROW_QUARANTINE), 60);
    assert_int_equal(learning_answer(learning, incident, true), 0);
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
    assert_int_equal(count_learned_burst(), 60);
    assert_in_range(count_burst(ROW_TRAIN), 28, 32); /* although flagged */
    take_burst("", 100);
    flush();
    assert_int_equal(count_learned_burst(), 160);
    assert_in_range(count_burst(ROW_TRAIN), 76, 84);
}

static void anomaly_confirms_an_open_incidents_rows_and_keeps_the_others_out(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, false), 0);
    assert_int_equal(count_burst(ROW_CONFIRMED), 60);
    assert_int_equal(stored_as(ROW_CONFIRMED), 60);
    assert_int_equal(stored_as(ROW_QUARANTINE), 16); /* what came before is no anomaly yet */
    take_burst("", 700);
    assert_int_equal(count_events("regime_change"), 0);
    assert_int_equal(count_learned_burst(), 0);
}

static void an_incident_that_is_over_can_still_be_answered(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    take_normal("", 300);
    flush();
    assert_int_equal(learning_answer(learning, incident, true), 0);
    assert_int_equal(count_learned_burst(), 60);
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
}

static void an_answer_may_change_its_mind(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, true), 0);
    take_burst("", 40); /* let in by the answer */
    assert_int_equal(learning_answer(learning, incident, false), 0);
    assert_int_equal(count_learned_burst(), 0);
    assert_int_equal(count_burst(ROW_CONFIRMED), 100);
    assert_int_equal(learning_answer(learning, incident, true), 0);
    assert_int_equal(count_learned_burst(), 100);
}

static void an_answer_stores_what_was_pending_first(void **state)
{
    (void)state;
    open_learning();
    take_normal("", 100);
    take_burst("", 60);
    assert_true(learning_pending(learning).n_rows > 60);
    assert_int_equal(learning_answer(learning, FIRST_EVENT, true), 0);
    assert_int_equal(learning_pending(learning).n_rows, 0);
    assert_int_equal(count_learned_burst(), 60);
}

/* Rows near normal, none of them flagged, that are too many: a soft incident. */
static void anomaly_confirms_the_rows_that_wait_too(void **state)
{
    (void)state;
    float values[D];
    struct scored_row row = {.series = "", .values = values, .p_value = 0.05};

    open_learning();
    take_normal("", 100);
    for (size_t i = 0; i < 350; i++) { /* older than 300 rows: it lets them in again */
        tiny_row(&source, values);
        values[0] = BURST_VALUE;
        row.time_us = now_us += SECOND;
        row.error = draw_error();
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    flush();
    assert_in_range(count_learned_burst(), 20, 50);
    const size_t n_known = count_learned_burst() + count_burst(ROW_QUARANTINE);
    assert_in_range(n_known, 320, 340); /* the others wait */
    assert_int_equal(learning_answer(learning, FIRST_EVENT, false), 0);
    flush();
    assert_int_equal(count_burst(ROW_QUARANTINE), 0);
    assert_int_equal(count_burst(ROW_CONFIRMED), ROW_BUFFER_CONFIRMED);
}

static void an_answer_that_cannot_be_stored_changes_nothing(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    execute("DELETE FROM models");
    take_burst("", 1);
    assert_int_equal(learning_answer(learning, incident, true), -ENOENT);
    take_burst("", 1);
    const struct row_batch pending = learning_pending(learning);
    assert_int_equal(pending.n_rows, 2);
    assert_int_equal(pending.rows[1].role, ROW_QUARANTINE);
}

static void an_unknown_incident_cannot_be_answered(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident + 1, true), -ENOENT);
    assert_int_equal(learning_answer(learning, incident + 1, false), -ENOENT);
    assert_int_equal(learning_answer(learning, 0, true), -ENOENT);
    assert_int_equal(count_burst(ROW_QUARANTINE), 60);
}

/* ---- when to train ---- */

static void assert_due(const char *why)
{
    const char *is = learning_is_due(learning, now_us);

    if (!why != !is || (why && strcmp(why, is) != 0))
        fail_msg("%s, not %s", is ? is : "not due", why ? why : "not due");
}

static void the_first_run_is_due_at_min_rows(void **state)
{
    (void)state;
    options.min_rows = 100;
    options.retrain_min_interval_us = 10 * SECOND;
    open_without_version();
    assert_int_equal(learning_min_rows(learning), 100);
    observe_normal(99);
    assert_due(NULL);
    observe_normal(1);
    assert_due("first");
    learning_run_began(learning, now_us); /* it failed, there is no version yet */
    now_us += 9 * SECOND;
    assert_due(NULL);
    now_us += SECOND;
    assert_due("first");
    learning_freeze(learning, true);
    assert_due(NULL);
}

/* A run would refuse to train on fewer, and the next one may come only after retrain_min_interval.
 */
static void min_rows_are_never_fewer_than_a_run_takes(void **state)
{
    (void)state;
    options.min_rows = 1;
    open_without_version();
    assert_int_equal(learning_min_rows(learning), 80);
    observe_normal(80);
    assert_non_null(learning_is_due(learning, SECOND));
    CLEANUP(training_set_clear) struct training_set set = draw(); /* fails with too few rows */
    assert_int_equal(set.n_calibration, 20);
}

static void min_rows_are_1000_unless_said(void **state)
{
    (void)state;
    open_without_version();
    assert_int_equal(learning_min_rows(learning), 1000);
}

static void min_rows_are_never_more_than_the_buffer_holds(void **state)
{
    (void)state;
    options.buffer_rows = 40;
    open_without_version();
    assert_int_equal(learning_min_rows(learning), 40);
    observe_normal(50);
    assert_due("first");
    options.min_rows = 50;
    open_without_version();
    assert_int_equal(learning_min_rows(learning), 40);
    assert_due("first");
}

static void a_run_is_due_after_retrain_rows(void **state)
{
    (void)state;
    options.retrain_rows = 80;
    options.retrain_min_interval_us = 10 * SECOND;
    open_learning();
    observe_normal(79);
    assert_due(NULL);
    observe_normal(1);
    assert_due("rows");
    learning_run_began(learning, now_us);
    assert_due(NULL);
    observe_normal(80);
    assert_due(NULL); /* too soon */
    now_us += 10 * SECOND;
    assert_due("rows");
}

static void runs_that_begin_by_themselves_keep_the_least_time_apart(void **state)
{
    (void)state;
    options.retrain_rows = 8;
    options.retrain_every_us = SECOND;
    options.retrain_min_interval_us = 10 * SECOND;
    open_learning();
    for (size_t i = 0; i < 3; i++) {
        observe_normal(8);
        assert_due("rows");
        learning_run_began(learning, now_us);
        observe_normal(8);
        now_us += 10 * SECOND - 1;
        assert_due(NULL); /* neither by rows nor by time */
        now_us += 1;
        assert_due("rows");
        learning_run_began(learning, now_us);
        now_us += 10 * SECOND;
    }
}

static void nothing_is_due_by_itself_unless_said(void **state)
{
    (void)state;
    open_learning();
    observe_normal(3000);
    now_us += 1000000 * SECOND;
    assert_due(NULL);
}

static void a_run_is_due_after_retrain_every(void **state)
{
    (void)state;
    options.retrain_every_us = 100 * SECOND;
    open_learning();
    for (size_t i = 0; i < 2; i++) {
        assert_due(NULL);
        observe_normal(100);
        now_us += 99 * SECOND;
        assert_due(NULL);
        now_us += SECOND;
        assert_due("time");
        learning_run_began(learning, now_us);
    }
}

static void when_time_alone_may_make_one_due_is_known(void **state)
{
    (void)state;
    open_learning();
    options.retrain_min_interval_us = options.retrain_every_us = 0;
    learning_configure(learning, &options);
    assert_due(NULL);
    assert_true(learning_due_us(learning, now_us) == UINT64_MAX);
    options.retrain_min_interval_us = 10 * SECOND;
    options.retrain_every_us = 100 * SECOND;
    learning_configure(learning, &options);
    learning_run_began(learning, now_us);
    const uint64_t began_us = now_us;
    assert_true(learning_due_us(learning, now_us) == began_us + 10 * SECOND);
    now_us += 10 * SECOND;
    assert_true(learning_due_us(learning, now_us) == began_us + 100 * SECOND);
    now_us += 90 * SECOND;
    assert_true(learning_due_us(learning, now_us) == UINT64_MAX);
}

static void a_run_by_time_waits_for_rows_that_are_new(void **state)
{
    (void)state;
    options.retrain_every_us = 100 * SECOND;
    options.buffer_rows = 100000;
    open_learning();
    assert_due(NULL);
    now_us += 1000 * SECOND;
    observe_normal(99);
    assert_due(NULL);
    observe_normal(20000);
    assert_due("time");
    learning_run_began(learning, now_us);
    now_us += 100 * SECOND;
    observe_normal(200);
    assert_due(NULL); /* a hundredth of the buffer is 202 */
    observe_normal(10);
    assert_due("time");
}

static void what_came_to_nothing_waits_for_twice_as_many_new_rows_each_time(void **state)
{
    (void)state;
    options.min_rows = 100;
    options.buffer_rows = 500;
    open_without_version();
    observe_normal(100);
    for (size_t n = 100; n <= 400; n *= 2) {
        assert_due("first");
        learning_run_began(learning, now_us);
        (void)learning_run_ended(learning, true);
        now_us += 1000000 * SECOND;
        assert_due(NULL);
        observe_normal(n - 1);
        assert_due(NULL);
        observe_normal(1);
    }
    learning_run_began(learning, now_us);
    assert_int_equal(learning_run_ended(learning, true), 4);
    observe_normal(500); /* all that it holds is new */
    assert_due("first");
    assert_int_equal(learning_run_ended(learning, false), 0);
    assert_int_equal(learning_run_ended(learning, true), 1);
}

static void nothing_is_followed_after_it_was_forgotten(void **state)
{
    (void)state;
    options.retrain_min_interval_us = 1000000 * SECOND;
    open_learning();
    learning_run_began(learning, now_us);
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, true), 0);
    assert_true(learning_must_pin(learning));
    assert_int_equal(learning_forget(learning), 0);
    assert_false(learning_must_pin(learning));
    take_normal("", 600);
    flush();
    assert_due(NULL);
    learning_pinned(learning);
    assert_false(learning_must_pin(learning));
}

static void a_drift_that_was_forgotten_is_none(void **state)
{
    float values[D];
    struct scored_row row = {.series = "", .values = values, .p_value = 0.05};

    (void)state;
    options.retrain_min_interval_us = SECOND;
    open_learning();
    learning_run_began(learning, now_us);
    for (size_t i = 0; i < 350; i++) { /* a soft incident older than 300 rows */
        tiny_row(&source, values);
        values[0] = BURST_VALUE;
        row.time_us = now_us += SECOND;
        row.error = draw_error();
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    flush();
    assert_int_equal(learning_forget(learning), 0);
    take_normal("", 700);
    flush();
    assert_due(NULL);
}

static void alarm_the_drift_meter(void)
{
    float values[D] = {0};
    const struct scored_row row = {.values = values, .error = 2 * threshold, .p_value = 0.001};

    for (size_t i = 0; i < 300; i++)
        assert_int_equal(learning_take(learning, &row, 1), 0);
    flush();
}

static void drift_is_acted_on_only_if_that_was_said(void **state)
{
    (void)state;
    open_learning();
    alarm_the_drift_meter();
    assert_due(NULL);
    options.retrain_on_drift = true;
    options.retrain_min_interval_us = 10 * SECOND;
    open_learning();
    assert_due(NULL);
    alarm_the_drift_meter();
    assert_due("drift");
    learning_run_began(learning, now_us);
    assert_due(NULL);
    now_us += 10 * SECOND;
    assert_due(NULL); /* the rows are the same */
    alarm_the_drift_meter();
    assert_due("drift"); /* the run changed nothing */
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
    assert_due(NULL);
}

static void triggers_have_an_order(void **state)
{
    (void)state;
    options.retrain_every_us = 100 * SECOND;
    options.retrain_on_drift = true;
    options.retrain_min_interval_us = 10 * SECOND;
    options.retrain_rows = 200;
    open_learning();
    assert_due(NULL);
    now_us += 100 * SECOND;
    observe_normal(100);
    assert_due("time");
    observe_normal(100);
    assert_due("rows");
    alarm_the_drift_meter();
    assert_due("drift");
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, true), 0);
    take_burst("", 400);
    flush();
    assert_due("feedback");
    learning_freeze(learning, true);
    assert_due(NULL);
}

static void after_an_answer_normal_each_500_rows_are_learned_four_times(void **state)
{
    (void)state;
    options.retrain_rows = 100000;
    options.retrain_min_interval_us = 1000000 * SECOND;
    open_learning();
    learning_run_began(learning, now_us);
    const uint64_t incident = open_incident();
    assert_int_equal(learning_answer(learning, incident, true), 0);
    for (size_t i = 0; i < 2; i++) {
        take_burst("", 300);
        flush();
        assert_due(NULL);
        take_burst("", 250);
        flush();
        assert_due("feedback");
        learning_run_began(learning, now_us);
    }
    for (size_t i = 0; i < 2; i++) { /* it is over */
        take_normal("", 600);
        flush();
        assert_due("feedback");
        learning_run_began(learning, now_us);
    }
    take_normal("", 600);
    flush();
    assert_due(NULL);
}

static void after_a_restart_what_was_approved_is_still_followed(void **state)
{
    (void)state;
    options.retrain_rows = 100000;
    open_learning();
    learning_set_must_pin(learning);
    assert_true(learning_must_pin(learning));
    take_normal("", 300);
    flush();
    assert_due(NULL);
    take_normal("", 300);
    flush();
    assert_due("feedback");
}

/* ---- another version ---- */

static void another_version_begins_with_empty_sums(void **state)
{
    (void)state;
    open_learning();
    (void)open_incident();
    alarm_the_drift_meter();
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
    assert_true(learning_drift(learning) <= 0);
    take_normal("", 100);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_false(event.is_open); /* the new version finds nothing odd */
    take_burst("", 5);           /* less than an incident takes */
    assert_int_equal(count_events("incident"), 1);
    take_burst("", 10);
    assert_int_equal(count_events("incident"), 2);
}

static void the_same_version_from_another_place_begins_nothing_anew(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    learning_rebind(learning, detector);
    take_burst("", 500);
    assert_int_equal(count_events("incident"), 1);
    assert_int_equal(count_events("regime_change"), 1);
    assert_int_equal(learning_answer(learning, incident, false), 0);
}

static void another_follow_after_holds_for_series_that_are_there(void **state)
{
    (void)state;
    open_learning();
    (void)open_incident();
    options.follow_after = 100;
    learning_configure(learning, &options);
    take_burst("", 50);
    assert_true(learning_must_pin(learning)); /* taken for an answer "normal" */
}

/* ---- the loop as a whole ---- */

#define STREAM     2200 /* rows between two runs */
#define BURST      55   /* rows, at two places of the stream: 5 % */
#define MOST_BURST (3 * 2 * BURST)
#define N_TEST     600

static float test_rows[2 * N_TEST * D]; /* normal ones, then anomalies */
static float burst_rows[MOST_BURST * D];
static size_t n_burst_rows;

/* Each value is ordinary; that they hang together is broken. */
static void odd_row(float row[D])
{
    static const double deviations[D] = {10, 10, 14, 14, 20, 30};

    for (size_t j = 0; j < D; j++)
        row[j] = (float)(100 + deviations[j] * random_normal(&source));
}

static double roc_auc(const struct detector *judge)
{
    static struct verdict verdicts[2 * N_TEST];
    static double errors[2 * N_TEST];
    static bool is_anomaly[2 * N_TEST], is_flagged[2 * N_TEST];
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    struct evaluation evaluation;

    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(detector_score(judge, workspace, test_rows, 2 * N_TEST, 1, verdicts), 0);
    for (size_t i = 0; i < 2 * N_TEST; i++) {
        errors[i] = verdicts[i].reconstruction_error;
        is_anomaly[i] = i >= N_TEST;
    }
    assert_int_equal(evaluation_compute(errors, is_anomaly, is_flagged, 2 * N_TEST, &evaluation),
                     0);
    return evaluation.roc_auc;
}

static struct detector *train_on(const struct training_set *set, uint64_t seed)
{
    const struct trainer_options how = {
        .recipe = tiny_recipe(seed),
        .n_threads = 1,
        .calibration = set->calibration,
        .n_calibration = set->n_all_calibration,
    };
    struct detector *trained = NULL;
    struct error error;

    assert_int_equal(
        detector_train(set->rows, set->n_rows, tiny_names, D, &how, NULL, NULL, &trained, &error),
        0);
    return trained;
}

static void swap_to(const struct detector *live)
{
    threshold = calibration_threshold(detector_calibration(live), RATE);
    assert_int_equal(learning_swap(learning, live, threshold, RATE), 0);
}

/* Rows as they come, scored by the live version. */
static void stream(const struct detector *live)
{
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;

    assert_int_equal(detector_workspace_new(&workspace), 0);
    for (size_t i = 0; i < STREAM; i++) {
        const bool is_odd = i % (STREAM / 2) >= 600 && i % (STREAM / 2) < 600 + BURST;
        struct verdict verdict;
        float values[D];

        if (is_odd)
            odd_row(values);
        else
            tiny_row(&source, values);
        if (is_odd)
            memcpy(burst_rows + n_burst_rows++ * D, values, sizeof(values));
        assert_int_equal(detector_score(live, workspace, values, 1, threshold, &verdict), 0);
        const struct scored_row row = {.time_us = now_us += SECOND,
                                       .series = "",
                                       .values = values,
                                       .error = verdict.reconstruction_error,
                                       .p_value = verdict.p_value,
                                       .is_flagged = verdict.anomaly};
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    flush();
}

static size_t count_odd(const float *rows, size_t n_rows)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++)
        for (size_t k = 0; k < n_burst_rows; k++)
            n += memcmp(rows + i * D, burst_rows + k * D, D * sizeof(float)) == 0;
    return n;
}

static void three_retrains_among_bursts_of_anomalies_learn_none_and_lose_nothing(void **state)
{
    (void)state;
    struct detector *versions[4] = {NULL};
    const double threshold_before = threshold;
    size_t n_promoted = 0, live = 0;
    struct gate_report report;

    options.retrain_rows = 1600; /* some are quarantined */
    options.buffer_rows = 5000;
    options.min_rows = 2400;
    open_without_version();
    tiny_rows(77, test_rows, N_TEST);
    for (size_t i = N_TEST; i < 2 * N_TEST; i++)
        odd_row(test_rows + i * D);
    observe_normal(2400);
    for (size_t run = 0; run < 4; run++) {
        assert_due(run ? "rows" : "first");
        learning_run_began(learning, now_us);
        CLEANUP(training_set_clear) struct training_set set = draw();
        assert_int_equal(count_odd(set.rows, set.n_rows), 0);
        assert_int_equal(count_odd(set.calibration, set.n_calibration), 0);
        versions[run] = train_on(&set, run + 1);
        assert_int_equal(learning_judge(learning, &set, versions[run], &report), 0);
        if (report.is_accepted) {
            swap_to(versions[run]);
            live = run;
            n_promoted++;
        }
        if (run == 0)
            assert_int_equal(learning_pin(learning, versions[0]), 0);
        assert_true(roc_auc(versions[live]) >= roc_auc(versions[0]) - 0.02);
        if (run < 3)
            stream(versions[live]);
    }
    assert_true(n_promoted >= 3); /* the first, and two of three */
    assert_true(roc_auc(versions[0]) > 0.9);
    assert_int_equal(count_events("incident"), 6);
    assert_int_equal(n_burst_rows, MOST_BURST);

    learning_free(TAKE(learning));
    for (size_t run = 0; run < 4; run++)
        detector_free(versions[run]);
    threshold = threshold_before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEARNING_TEST(normal_lets_an_open_incidents_rows_and_all_further_ones_in),
        LEARNING_TEST(anomaly_confirms_an_open_incidents_rows_and_keeps_the_others_out),
        LEARNING_TEST(an_incident_that_is_over_can_still_be_answered),
        LEARNING_TEST(an_answer_may_change_its_mind),
        LEARNING_TEST(an_answer_stores_what_was_pending_first),
        LEARNING_TEST(anomaly_confirms_the_rows_that_wait_too),
        LEARNING_TEST(an_answer_that_cannot_be_stored_changes_nothing),
        LEARNING_TEST(an_unknown_incident_cannot_be_answered),
        LEARNING_TEST(the_first_run_is_due_at_min_rows),
        LEARNING_TEST(min_rows_are_1000_unless_said),
        LEARNING_TEST(min_rows_are_never_fewer_than_a_run_takes),
        LEARNING_TEST(min_rows_are_never_more_than_the_buffer_holds),
        LEARNING_TEST(a_run_is_due_after_retrain_rows),
        LEARNING_TEST(runs_that_begin_by_themselves_keep_the_least_time_apart),
        LEARNING_TEST(nothing_is_due_by_itself_unless_said),
        LEARNING_TEST(a_run_is_due_after_retrain_every),
        LEARNING_TEST(when_time_alone_may_make_one_due_is_known),
        LEARNING_TEST(a_run_by_time_waits_for_rows_that_are_new),
        LEARNING_TEST(what_came_to_nothing_waits_for_twice_as_many_new_rows_each_time),
        LEARNING_TEST(nothing_is_followed_after_it_was_forgotten),
        LEARNING_TEST(a_drift_that_was_forgotten_is_none),
        LEARNING_TEST(drift_is_acted_on_only_if_that_was_said),
        LEARNING_TEST(triggers_have_an_order),
        LEARNING_TEST(after_an_answer_normal_each_500_rows_are_learned_four_times),
        LEARNING_TEST(after_a_restart_what_was_approved_is_still_followed),
        LEARNING_TEST(another_version_begins_with_empty_sums),
        LEARNING_TEST(the_same_version_from_another_place_begins_nothing_anew),
        LEARNING_TEST(another_follow_after_holds_for_series_that_are_there),
        LEARNING_TEST(three_retrains_among_bursts_of_anomalies_learn_none_and_lose_nothing),
    };

    return cmocka_run_group_tests(tests, make_detector, free_detector);
}
