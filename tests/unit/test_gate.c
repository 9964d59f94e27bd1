#include "service/gate.h"

#include "detector/calibration.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <string.h>

#define D       TINY_FEATURES
#define N_TRAIN 1000
#define N_HELD  600
#define N_MANY  (20 * N_TRAIN)

static const double rate = 0.05;
static struct detector *live;
static double live_threshold;
static float rows[N_MANY * D], held[N_HELD * D], calibrating[N_HELD * D];

static struct detector *train_by(const struct recipe *recipe, size_t n_rows)
{
    const struct trainer_options options = {.recipe = *recipe, .n_threads = 1};
    struct detector *detector = NULL;
    struct error error;

    assert_int_equal(
        detector_train(rows, n_rows, tiny_names, D, &options, NULL, NULL, &detector, &error), 0);
    return detector;
}

static struct detector *train(size_t n_rows, uint64_t seed)
{
    const struct recipe recipe = tiny_recipe(seed);

    return train_by(&recipe, n_rows);
}

/* By rows that no detector here has learnt from. */
static double threshold_of(const struct detector *detector)
{
    static struct verdict verdicts[N_HELD];
    static double errors[N_HELD];
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;

    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(detector_score(detector, workspace, calibrating, N_HELD, 1.0, verdicts), 0);
    for (size_t i = 0; i < N_HELD; i++)
        errors[i] = verdicts[i].reconstruction_error;
    assert_int_equal(calibration_fit(errors, N_HELD, &calibration), 0);
    return calibration_threshold(calibration, rate);
}

static struct gate_input input_of(const struct detector *candidate)
{
    return (struct gate_input){
        .live = live,
        .candidate = candidate,
        .live_threshold = live_threshold,
        .candidate_threshold = threshold_of(candidate),
        .false_alarm_rate = rate,
        .n_calibration = N_HELD,
        .held = held,
        .n_held = N_HELD,
        .n_train = N_TRAIN,
        .min_train = N_TRAIN,
        .seed = 1,
    };
}

static struct gate_report compare(const struct gate_input *input)
{
    struct gate_report report;

    assert_int_equal(gate_compare(input, &report), 0);
    assert_int_equal(report.is_accepted, !*report.reason);
    return report;
}

static struct gate_report compare_to_live(const struct detector *candidate)
{
    const struct gate_input input = input_of(candidate);

    return compare(&input);
}

static void assert_refused(const struct gate_report *report, const char *why)
{
    assert_false(report->is_accepted);
    if (!strstr(report->reason, why))
        fail_msg("refused because \"%s\", not \"%s\"", report->reason, why);
}

static int set_up(void **state)
{
    (void)state;
    detector_init();
    tiny_rows(11, rows, N_TRAIN);
    tiny_rows(12, held, N_HELD);
    tiny_rows(13, calibrating, N_HELD);
    live = train(N_TRAIN, 1);
    live_threshold = threshold_of(live);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(live);
    return 0;
}

static void its_threshold_is_what_the_calibration_rows_set(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report told = compare_to_live(candidate);
    struct gate_input input = input_of(candidate);

    input.candidate_threshold = 0.0;
    input.calibration = calibrating;
    const struct gate_report found = compare(&input);
    assert_float_equal(found.candidate.false_alarms, told.candidate.false_alarms, 0);
    assert_float_equal(found.binomial_p, told.binomial_p, 0);
    assert_true(found.candidate.false_alarms > 0 && found.candidate.false_alarms < 1);
}

static void a_candidate_of_fresh_rows_is_accepted(void **state)
{
    (void)state;
    for (uint64_t seed = 2; seed < 6; seed++) {
        tiny_rows(100 + seed, rows, N_TRAIN);
        CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, seed);
        const struct gate_report report = compare_to_live(candidate);

        assert_string_equal(report.reason, "");
        assert_true(report.is_accepted);
        assert_true(report.candidate.mean_roc_auc > 0.8);
        assert_true(report.candidate.mean_partial_auc > 0.2);
        assert_true(report.binomial_p > 1e-4);
        assert_int_equal(report.n_held, N_HELD);
        assert_int_equal(report.n_train, N_TRAIN);
        assert_true(isnan(report.candidate.confirmed_roc_auc));
    }
}

static void noise_is_refused(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t k = 0; k < N_TRAIN * D; k++)
        rows[k] = (float)random_normal(&random);
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "it flags 0 %"); /* all rows are too far from it to be told apart */
    assert_true(report.candidate.mean_roc_auc < report.live.mean_roc_auc - 0.1);
}

/* Each feature as it was, but of a row of its own: nothing hangs together any more. */
static void rows_that_were_shuffled_by_feature_are_refused(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    tiny_rows(101, rows, N_TRAIN);
    for (size_t j = 0; j < D; j++)
        for (size_t i = N_TRAIN - 1; i > 0; i--) {
            const size_t other = random_below(&random, i + 1);
            const float kept = rows[i * D + j];
            rows[i * D + j] = rows[other * D + j];
            rows[other * D + j] = kept;
        }
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "ROC AUC on synthetic anomalies");
}

/* Of a collector that repeats one row. */
static void a_frozen_candidate_is_refused(void **state)
{
    (void)state;
    tiny_rows(101, rows, 1);
    for (size_t i = 1; i < N_TRAIN; i++)
        memcpy(rows + i * D, rows, D * sizeof(*rows));
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "feature a never moved");
    assert_false(isnan(report.candidate.mean_roc_auc)); /* the numbers are there all the same */
}

/* The held-out rows do not move either: the two scalers alone must tell. */
static void a_frozen_candidate_is_refused_by_frozen_rows_too(void **state)
{
    (void)state;
    static float frozen[N_HELD * D];

    tiny_rows(101, rows, 1);
    for (size_t i = 0; i < N_TRAIN; i++)
        memcpy(rows + i * D, rows, D * sizeof(*rows));
    memcpy(frozen, rows, sizeof(frozen));
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    struct gate_input input = input_of(candidate);
    input.held = frozen;
    const struct gate_report report = compare(&input);

    assert_refused(&report, "feature a never moved");
}

static int by_first_feature(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;

    return (a > b) - (a < b);
}

/* The twentieth of all rows that lies in the middle of the first feature's range. */
static void a_narrow_candidate_is_refused(void **state)
{
    (void)state;
    const size_t n = N_MANY;

    tiny_rows(101, rows, n);
    qsort(rows, n, D * sizeof(*rows), by_first_feature);
    memmove(rows, rows + n / 2 * D, N_TRAIN * D * sizeof(*rows));
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "ROC AUC on synthetic anomalies");
}

static void shrink(float *values, size_t n_rows)
{
    for (size_t i = D; i < n_rows * D; i++)
        values[i] = values[i % D] + 0.2F * (values[i] - values[i % D]);
}

static float corner[N_HELD * D], corner_calibration[N_HELD * D];

/* A candidate of a corner of normal; rows that judge it are of that corner too, as after a reset:
 * they find nothing wrong. */
static struct detector *know_a_corner(const struct recipe *recipe, struct gate_input *ret_input)
{
    tiny_rows(101, rows, N_TRAIN);
    shrink(rows, N_TRAIN);
    memcpy(corner, rows, D * sizeof(*rows));
    tiny_rows(102, corner + D, N_HELD - 1);
    shrink(corner, N_HELD);
    memcpy(corner_calibration, rows, D * sizeof(*rows));
    tiny_rows(103, corner_calibration + D, N_HELD - 1);
    shrink(corner_calibration, N_HELD);
    struct detector *candidate = train_by(recipe, N_TRAIN);
    *ret_input = input_of(candidate);
    ret_input->held = corner;
    ret_input->calibration = corner_calibration;
    ret_input->n_calibration = N_HELD;
    return candidate;
}

static void a_corner_of_normal_is_refused_by_how_little_its_rows_move(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe(2);
    struct gate_input input;
    CLEANUP(detector_freep) struct detector *candidate = know_a_corner(&recipe, &input);
    const struct gate_report report = compare(&input);

    assert_true(isnan(report.forgotten));
    assert_refused(&report, "its rows move 0.2");
}

/* A live version that has typical rows; the caller frees it. */
static struct detector *train_with_prototypes(struct gate_input *input)
{
    const struct recipe recipe = tiny_recipe_of_all_parts(1);
    struct detector *memory;

    tiny_rows(11, rows, N_TRAIN);
    memory = train_by(&recipe, N_TRAIN);
    input->live = memory;
    input->live_threshold = threshold_of(memory);
    return memory;
}

static void a_corner_of_normal_is_refused_by_what_it_forgets(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(2);
    struct gate_input input;
    CLEANUP(detector_freep) struct detector *candidate = know_a_corner(&recipe, &input);
    CLEANUP(detector_freep) struct detector *memory = train_with_prototypes(&input);
    const struct gate_report report = compare(&input);

    assert_true(report.forgotten > 0.8 && report.forgotten <= 1.0);
    assert_refused(&report, "of what is typical to the live version");
}

static void fresh_rows_forget_next_to_nothing(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(2);

    tiny_rows(101, rows, N_TRAIN);
    CLEANUP(detector_freep) struct detector *candidate = train_by(&recipe, N_TRAIN);
    struct gate_input input = input_of(candidate);
    CLEANUP(detector_freep) struct detector *memory = train_with_prototypes(&input);
    const struct gate_report report = compare(&input);

    assert_true(report.forgotten <= 0.1);
    assert_string_equal(report.reason, "");
}

static void a_corner_that_an_operator_has_approved_is_accepted(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(2);
    struct gate_input input;
    CLEANUP(detector_freep) struct detector *candidate = know_a_corner(&recipe, &input);
    CLEANUP(detector_freep) struct detector *memory = train_with_prototypes(&input);

    input.n_approved = N_TRAIN / 2;
    assert_false(compare(&input).is_accepted);
    input.n_approved = N_TRAIN / 2 + 1;
    const struct gate_report report = compare(&input);
    assert_string_equal(report.reason, "");
}

static void a_candidate_around_which_a_third_was_left_out_is_refused(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    input.n_candidates = 3000;
    input.n_guarded = 1000;
    assert_true(compare(&input).is_accepted);
    input.n_guarded = 1001;
    const struct gate_report report = compare(&input);
    assert_refused(&report, "1001 of 3000 training rows are too rare to the pinned version");
}

static void a_candidate_of_too_few_rows_is_refused(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    input.n_train = N_TRAIN - 1;
    const struct gate_report report = compare(&input);
    assert_refused(&report, "learnt from 999 rows, and at least 1000 are needed");
}

/* Even where nobody counted. */
static void a_candidate_of_twenty_rows_is_refused_by_its_errors(void **state)
{
    (void)state;
    tiny_rows(101, rows, 20);
    CLEANUP(detector_freep) struct detector *candidate = train(20, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "synthetic anomalies");
}

/* A threshold that flags just so many of the held rows. */
static void find_flagging_threshold(struct gate_input *input, size_t n_flags)
{
    double low = 0, high = 1000 * live_threshold;

    for (size_t i = 0; i < 60; i++) {
        input->candidate_threshold = (low + high) / 2;
        const double found = compare(input).candidate.false_alarms * N_HELD;
        if (lrint(found) == (long)n_flags)
            return;
        *(found > (double)n_flags ? &low : &high) = input->candidate_threshold;
    }
    fail();
}

static void a_candidate_that_flags_too_much_or_nothing_is_refused(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    find_flagging_threshold(&input, 80);
    struct gate_report report = compare(&input);
    assert_refused(&report, "it flags 13.3 % of 600 held-out rows, for a false-alarm rate of 5 %");
    assert_true(report.binomial_p < 1e-4);

    input.candidate_threshold = 100 * live_threshold;
    report = compare(&input);
    assert_refused(&report, "it flags 0 % of 600");
}

/* Wanted: twice the tail of 600 rows at 0.05 beyond 50 or 14 flags, by exact fractions; and of the
 * beta-binomial with parameters .05 · 601 and .95 · 601, by gamma functions. */
static void flags_are_tested_as_the_textbook_says(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    input.n_calibration = 0;
    find_flagging_threshold(&input, 50);
    assert_float_equal(compare(&input).binomial_p, 0.000725, 1e-5);
    input.n_calibration = N_HELD;
    assert_float_equal(compare(&input).binomial_p, 0.019744, 1e-5);
    input.n_calibration = 0;
    find_flagging_threshold(&input, 14);
    assert_float_equal(compare(&input).binomial_p, 0.001460, 1e-5);
    find_flagging_threshold(&input, 30);
    assert_float_equal(compare(&input).binomial_p, 1, 0);
}

static void too_few_held_rows_are_refused(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    for (size_t n = 0; n < GATE_MIN_ROWS; n += 33) {
        input.n_held = n;
        const struct gate_report report = compare(&input);
        assert_refused(&report, "held back to compare on, and at least 100 are needed");
    }
    input.n_held = GATE_MIN_ROWS;
    assert_true(compare(&input).is_accepted);
}

static void weights_that_are_not_finite_are_refused_always(void **state)
{
    (void)state;
    tiny_rows(101, rows, N_TRAIN);
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    struct gate_input input = input_of(candidate);

    detector_ensemble(candidate)->networks[0]->params[3] = NAN;
    struct gate_report report = compare(&input);
    assert_refused(&report, "a weight is not a finite number");
    input.live = NULL;
    report = compare(&input);
    assert_refused(&report, "a weight is not a finite number");
}

/* Bad in all other ways: few rows, noise, far too many flags. */
static void the_first_version_needs_only_finite_weights(void **state)
{
    (void)state;
    for (size_t k = 0; k < 30 * D; k++)
        rows[k] = (float)(k * k % 97);
    CLEANUP(detector_freep) struct detector *candidate = train(30, 2);
    struct gate_input input = input_of(candidate);
    input.live = NULL;
    input.n_train = 30;
    input.candidate_threshold = 1e-9;

    struct gate_report report = compare(&input);
    assert_true(report.is_accepted);
    assert_false(isnan(report.candidate.mean_roc_auc));
    assert_true(isnan(report.live.mean_roc_auc) && isnan(report.live.roc_auc[0]));

    input.held = NULL;
    input.n_held = 0;
    report = compare(&input);
    assert_true(report.is_accepted);
    assert_true(isnan(report.candidate.mean_roc_auc) && isnan(report.binomial_p));
}

static void a_newly_constant_feature_is_refused_by_name(void **state)
{
    (void)state;
    tiny_rows(101, rows, N_TRAIN);
    for (size_t i = 0; i < N_TRAIN; i++)
        rows[i * D + 4] = 117;
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    const struct gate_report report = compare_to_live(candidate);

    assert_refused(&report, "feature e never moved in the rows it learnt from (always 117)");
}

static void stop_feature(float *values, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        values[i * D + 4] = 117;
}

static void a_newly_constant_feature_that_an_operator_has_approved_is_accepted(void **state)
{
    (void)state;
    static float still[N_HELD * D], calibration[N_HELD * D];

    tiny_rows(101, rows, N_TRAIN);
    stop_feature(rows, N_TRAIN);
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    memcpy(still, held, sizeof(held));
    stop_feature(still, N_HELD);
    memcpy(calibration, calibrating, sizeof(calibrating));
    stop_feature(calibration, N_HELD);
    struct gate_input input = input_of(candidate);
    input.held = still;
    input.calibration = calibration;
    assert_false(compare(&input).is_accepted);
    input.n_approved = N_TRAIN;
    const struct gate_report report = compare(&input);
    assert_string_equal(report.reason, "");
}

/* The last feature of the live version moved in n of N_TRAIN rows, and in none of the others. */
static struct gate_report compare_with_a_counter(size_t n)
{
    static float held_counter[N_HELD * D];
    struct detector *found[2];

    for (size_t which = 0; which < 2; which++) {
        tiny_rows(101 + which, rows, N_TRAIN);
        for (size_t i = 0; i < N_TRAIN; i++)
            rows[i * D + D - 1] = which == 0 && i < n;
        found[which] = train(N_TRAIN, 1 + which);
    }
    CLEANUP(detector_freep) struct detector *was = found[0];
    CLEANUP(detector_freep) struct detector *candidate = found[1];
    memcpy(held_counter, held, sizeof(held));
    for (size_t i = 0; i < N_HELD; i++)
        held_counter[i * D + D - 1] = 0;

    struct gate_input input = input_of(candidate);
    input.live = was;
    input.held = held_counter;
    input.false_alarm_rate = 0.5; /* what it flags plays no part here */
    input.candidate_threshold = 1;
    struct gate_report report = compare(&input);
    return report;
}

static void a_rare_counter_that_did_not_move_this_time_is_no_reason(void **state)
{
    (void)state;
    const struct gate_report rare = compare_with_a_counter(5);
    const struct gate_report common = compare_with_a_counter(50);

    assert_null(strstr(rare.reason, "never moved"));
    assert_refused(&common, "feature f never moved");
}

static void a_feature_constant_in_both_versions_is_no_reason(void **state)
{
    (void)state;
    const struct gate_report report = compare_with_a_counter(0);

    assert_null(strstr(report.reason, "never moved"));
}

/* The GATE_MIN_CONFIRMED of many rows that the live version finds the strangest compared to the
 * candidate, as if somebody had confirmed those. */
static void pick_confirmed(const struct detector *candidate, float *ret_confirmed)
{
    static struct verdict by_live[N_MANY], by_candidate[N_MANY];
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;

    tiny_rows(102, rows, N_MANY);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(detector_score(live, workspace, rows, N_MANY, live_threshold, by_live), 0);
    assert_int_equal(
        detector_score(candidate, workspace, rows, N_MANY, threshold_of(candidate), by_candidate),
        0);
    for (size_t n = 0; n < GATE_MIN_CONFIRMED; n++) {
        size_t best = 0;
        for (size_t i = 1; i < N_MANY; i++)
            if (by_candidate[i].p_value - by_live[i].p_value >
                by_candidate[best].p_value - by_live[best].p_value)
                best = i;
        memcpy(ret_confirmed + n * D, rows + best * D, D * sizeof(*rows));
        by_live[best].p_value = 1; /* not again */
    }
}

static void confirmed_anomalies_count_from_twenty_on(void **state)
{
    (void)state;
    static float confirmed[GATE_MIN_CONFIRMED * D];

    tiny_rows(101, rows, N_TRAIN);
    CLEANUP(detector_freep) struct detector *candidate = train(N_TRAIN, 2);
    struct gate_input input = input_of(candidate);
    pick_confirmed(candidate, confirmed);
    input.confirmed = confirmed;

    input.n_confirmed = GATE_MIN_CONFIRMED - 1;
    struct gate_report report = compare(&input);
    assert_true(report.is_accepted);
    assert_true(isnan(report.live.confirmed_roc_auc));

    input.n_confirmed = GATE_MIN_CONFIRMED;
    report = compare(&input);
    assert_refused(&report, "ROC AUC on confirmed anomalies");
    assert_true(report.live.confirmed_roc_auc > report.candidate.confirmed_roc_auc + 0.01);
}

static void both_sides_judge_the_same_anomalies(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);

    input.confirmed = held;
    input.n_confirmed = 2 * GATE_MIN_CONFIRMED;
    const struct gate_report report = compare(&input);
    assert_true(report.is_accepted);
    assert_memory_equal(&report.live, &report.candidate, sizeof(report.live));
}

static void the_same_seed_gives_the_same_report(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);
    const struct gate_report first = compare(&input), again = compare(&input);

    assert_memory_equal(&first.live, &again.live, sizeof(first.live));
    input.seed = 2;
    const struct gate_report other = compare(&input);
    assert_true(first.live.mean_roc_auc != other.live.mean_roc_auc);
}

static void the_report_is_json(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    struct gate_report report = {.reason = "p = \"1\"", .n_held = 3, .n_train = 4};

    report.live.mean_roc_auc = NAN;
    report.candidate.roc_auc[SYNTHETIC_PUSH_6] = 0.75;
    gate_print(&report, &text);
    assert_non_null(strstr(text.data,
                           "{\"accepted\":false,\"reason\":\"p = \\\"1\\\"\","
                           "\"held_rows\":3,\"confirmed_anomalies\":0,\"train_rows\":4,"
                           "\"binomial_p\":0,\"forgotten\":0,\"live\":{\"false_alarm_rate\":0,"
                           "\"synthetic\":{\"roc_auc\":null,\"partial_auc\":0},"));
    assert_non_null(strstr(text.data, "\"push-6\":{\"roc_auc\":0.75,\"partial_auc\":0}"));
    assert_string_equal(text.data + text.length - 2, "}}");
}

static void failed_allocations_leave_the_report_untouched(void **state)
{
    (void)state;
    struct gate_input input = input_of(live);
    struct gate_report report = {.n_held = 42};
    int r = -ENOMEM, nth;

    input.n_held = GATE_MIN_ROWS;
    input.confirmed = held;
    input.n_confirmed = GATE_MIN_CONFIRMED;
    for (nth = 0; r == -ENOMEM && nth < 1000; nth++) {
        assert_int_equal(report.n_held, 42);
        alloc_fail_in = nth;
        r = gate_compare(&input, &report);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 20);
    assert_true(report.is_accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_of_fresh_rows_is_accepted),
        cmocka_unit_test(its_threshold_is_what_the_calibration_rows_set),
        cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(rows_that_were_shuffled_by_feature_are_refused),
        cmocka_unit_test(a_frozen_candidate_is_refused),
        cmocka_unit_test(a_frozen_candidate_is_refused_by_frozen_rows_too),
        cmocka_unit_test(a_narrow_candidate_is_refused),
        cmocka_unit_test(a_corner_of_normal_is_refused_by_how_little_its_rows_move),
        cmocka_unit_test(a_corner_of_normal_is_refused_by_what_it_forgets),
        cmocka_unit_test(fresh_rows_forget_next_to_nothing),
        cmocka_unit_test(a_corner_that_an_operator_has_approved_is_accepted),
        cmocka_unit_test(a_candidate_around_which_a_third_was_left_out_is_refused),
        cmocka_unit_test(a_candidate_of_too_few_rows_is_refused),
        cmocka_unit_test(a_candidate_of_twenty_rows_is_refused_by_its_errors),
        cmocka_unit_test(a_candidate_that_flags_too_much_or_nothing_is_refused),
        cmocka_unit_test(flags_are_tested_as_the_textbook_says),
        cmocka_unit_test(too_few_held_rows_are_refused),
        cmocka_unit_test(weights_that_are_not_finite_are_refused_always),
        cmocka_unit_test(the_first_version_needs_only_finite_weights),
        cmocka_unit_test(a_newly_constant_feature_is_refused_by_name),
        cmocka_unit_test(a_newly_constant_feature_that_an_operator_has_approved_is_accepted),
        cmocka_unit_test(a_rare_counter_that_did_not_move_this_time_is_no_reason),
        cmocka_unit_test(a_feature_constant_in_both_versions_is_no_reason),
        cmocka_unit_test(confirmed_anomalies_count_from_twenty_on),
        cmocka_unit_test(both_sides_judge_the_same_anomalies),
        cmocka_unit_test(the_same_seed_gives_the_same_report),
        cmocka_unit_test(the_report_is_json),
        cmocka_unit_test(failed_allocations_leave_the_report_untouched),
    };

    return cmocka_run_group_tests_name("gate", tests, set_up, tear_down);
}
