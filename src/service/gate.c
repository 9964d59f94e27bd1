#include "service/gate.h"

#include "base/sort.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/ensemble.h"
#include "detector/evaluation.h"
#include "detector/prototypes.h"
#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK          64 /* rows that are judged at a time */
#define PARTIAL        0.05
#define MIN_BINOMIAL_P 1e-4
#define MOST_GUARDED   (1.0 / 3)
#define MOST_FORGOTTEN 0.5
#define LEAST_SPREAD   0.33
#define RARE_SHARE     0.01 /* a feature that moves in fewer rows may seem constant */
#define EXACT_ROWS     1e12 /* calibration rows beyond which a threshold has no uncertainty */

/* What comparing takes, and what it works on. */
struct comparison {
    const struct gate_input *input;
    size_t n_features;
    struct workspace *workspace;
    float *anomalies; /* [n_held][n_features] */
    bool *is_anomaly; /* [n_held + most], false for the held rows */
    double *errors;   /* [n_held + most], the held rows' first */
};

static void comparison_clear(struct comparison *comparison)
{
    detector_workspace_free(comparison->workspace);
    free(comparison->anomalies);
    free(comparison->is_anomaly);
    free(comparison->errors);
}

static int comparison_init(struct comparison *comparison, const struct gate_input *input)
{
    const size_t n_held = input->n_held;
    const size_t most = n_held > input->n_confirmed ? n_held : input->n_confirmed;

    comparison->input = input;
    comparison->n_features = detector_n_features(input->candidate);
    comparison->anomalies = malloc(n_held * comparison->n_features * sizeof(float));
    comparison->is_anomaly = calloc(n_held + most, sizeof(bool));
    comparison->errors = calloc(n_held + most, sizeof(double));
    if (!comparison->anomalies || !comparison->is_anomaly || !comparison->errors)
        return -ENOMEM;
    for (size_t i = n_held; i < n_held + most; i++)
        comparison->is_anomaly[i] = true;
    return detector_workspace_new(&comparison->workspace);
}

static int find_errors(const struct comparison *comparison, const struct detector *detector,
                       const float *rows, size_t n_rows, double *ret_errors)
{
    for (size_t begin = 0; begin < n_rows; begin += BLOCK) {
        struct verdict verdicts[BLOCK];
        const size_t n = n_rows - begin < BLOCK ? n_rows - begin : BLOCK;
        int r = detector_score(detector, comparison->workspace,
                               rows + begin * comparison->n_features, n, 1.0, verdicts);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            ret_errors[begin + i] = verdicts[i].reconstruction_error;
    }
    return 0;
}

static int judge_held(const struct comparison *comparison, const struct detector *detector,
                      double threshold, double *ret_false_alarms)
{
    const size_t n_held = comparison->input->n_held;
    size_t n_flags = 0;
    int r = find_errors(comparison, detector, comparison->input->held, n_held, comparison->errors);
    if (r < 0)
        return r;

    for (size_t i = 0; i < n_held; i++)
        n_flags += comparison->errors[i] > threshold;
    *ret_false_alarms = (double)n_flags / (double)n_held;
    return 0;
}

/* How well a detector tells anomalies[n] from the held rows; after judge_held(). */
static int judge_anomalies(const struct comparison *comparison, const struct detector *detector,
                           const float *anomalies, size_t n, double *ret_roc_auc,
                           double *ret_partial_auc)
{
    const size_t n_held = comparison->input->n_held;
    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points = 0;

    int r = find_errors(comparison, detector, anomalies, n, comparison->errors + n_held);
    if (r == 0)
        r = evaluation_curve(comparison->errors, comparison->is_anomaly, n_held + n, &points,
                             &n_points);
    if (r < 0)
        return r;
    *ret_roc_auc = evaluation_partial_auc(points, n_points, 1.0);
    *ret_partial_auc = evaluation_partial_auc(points, n_points, PARTIAL);
    return 0;
}

/* Makes the anomalies anew from the seed: the same ones for either side. */
static int judge_side(const struct comparison *comparison, const struct detector *detector,
                      double threshold, struct gate_side *side)
{
    const struct gate_input *input = comparison->input;
    const struct detector *measure = input->live ? input->live : input->candidate;
    struct random random;

    random_seed(&random, input->seed);
    int r = judge_held(comparison, detector, threshold, &side->false_alarms);
    side->mean_roc_auc = side->mean_partial_auc = 0.0;
    for (size_t kind = 0; r == 0 && kind < SYNTHETIC_KINDS; kind++) {
        r = synthetic_make(kind, input->held, input->n_held, detector_ensemble(measure)->scaler,
                           &random, comparison->anomalies);
        if (r == 0)
            r = judge_anomalies(comparison, detector, comparison->anomalies, input->n_held,
                                &side->roc_auc[kind], &side->partial_auc[kind]);
        side->mean_roc_auc += side->roc_auc[kind] / SYNTHETIC_KINDS;
        side->mean_partial_auc += side->partial_auc[kind] / SYNTHETIC_KINDS;
    }
    if (r == 0 && input->n_confirmed >= GATE_MIN_CONFIRMED)
        r = judge_anomalies(comparison, detector, input->confirmed, input->n_confirmed,
                            &side->confirmed_roc_auc, &side->confirmed_partial_auc);
    return r;
}

/* Of n_flags among n held rows. A threshold set by n_calibration rows for this rate has a true rate
 * that is Beta(a, b) distributed, so the flags are beta-binomial. */
static double two_sided_p(size_t n_flags, size_t n, double rate, size_t n_calibration)
{
    const double n_rows = n_calibration > 0 ? (double)n_calibration + 1.0 : EXACT_ROWS;
    const double a = rate * n_rows, b = (1.0 - rate) * n_rows;
    double log_p = 0.0, at_most = 0.0, at_least = 0.0; /* log_p: of k flags, from 0 on */

    for (size_t i = 0; i < n; i++)
        log_p += log((b + (double)i) / (a + b + (double)i));
    for (size_t k = 0; k <= n; k++) {
        const double left = (double)(n - k);
        at_most += k <= n_flags ? exp(log_p) : 0.0;
        at_least += k >= n_flags ? exp(log_p) : 0.0;
        if (k < n)
            log_p += log(left / ((double)k + 1.0) * (a + (double)k) / (b + left - 1.0));
    }
    return fmin(1.0, 2.0 * fmin(at_most, at_least));
}

/* Of the typical rows of the live version's ensemble that it does not flag itself, the share that
 * the candidate flags; NaN if it keeps none. */
static int find_forgotten(const struct comparison *comparison, double threshold,
                          double *ret_forgotten)
{
    const struct gate_input *input = comparison->input;
    const struct ensemble *ensemble = detector_ensemble(input->live);
    const size_t n = ensemble->prototypes ? ensemble->prototypes->n_centroids : 0;
    AUTO_FREE float *rows = malloc((n * comparison->n_features + 1) * sizeof(*rows));
    AUTO_FREE double *errors = malloc((2 * n + 1) * sizeof(*errors));
    size_t n_known = 0, n_forgotten = 0;

    if (!rows || !errors)
        return -ENOMEM;
    int r = ensemble_typical_rows(ensemble, rows);
    if (r == 0)
        r = find_errors(comparison, input->live, rows, n, errors);
    if (r == 0)
        r = find_errors(comparison, input->candidate, rows, n, errors + n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const bool is_known = errors[i] <= input->live_threshold;
        n_known += is_known;
        n_forgotten += is_known && errors[n + i] > threshold;
    }
    *ret_forgotten = n_known > 0 ? (double)n_forgotten / (double)n_known : (double)NAN;
    return r;
}

/* Without the held rows, which the candidate's own threshold rests on as well. */
static int find_threshold(const struct comparison *comparison, double *ret_threshold)
{
    const struct gate_input *input = comparison->input;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    AUTO_FREE double *errors = NULL;

    if (!input->calibration) {
        *ret_threshold = input->candidate_threshold;
        return 0;
    }
    errors = calloc(input->n_calibration, sizeof(*errors));
    if (!errors)
        return -ENOMEM;
    int r =
        find_errors(comparison, input->candidate, input->calibration, input->n_calibration, errors);
    if (r == 0)
        r = calibration_fit(errors, input->n_calibration, &calibration);
    if (r == 0)
        *ret_threshold = calibration_threshold(calibration, input->false_alarm_rate);
    return r;
}

static int measure(const struct gate_input *input, struct gate_report *report)
{
    CLEANUP(comparison_clear) struct comparison comparison = {0};
    double threshold = 0.0;

    int r = comparison_init(&comparison, input);
    if (r == 0 && input->live)
        r = judge_side(&comparison, input->live, input->live_threshold, &report->live);
    if (r == 0)
        r = find_threshold(&comparison, &threshold);
    if (r == 0)
        r = judge_side(&comparison, input->candidate, threshold, &report->candidate);
    if (r == 0 && input->live)
        r = find_forgotten(&comparison, threshold, &report->forgotten);
    if (r < 0)
        return r;

    const double n_flags = report->candidate.false_alarms * (double)input->n_held;
    report->binomial_p = two_sided_p((size_t)lrint(n_flags), input->n_held, input->false_alarm_rate,
                                     input->n_calibration);
    return 0;
}

static size_t count_others(const struct gate_input *input, size_t feature, float constant)
{
    const size_t d = detector_n_features(input->candidate);
    size_t n = 0;

    for (size_t i = 0; i < input->n_held; i++) {
        const float value = input->held[i * d + feature];
        n += !isnan(value) && value != constant;
    }
    return n;
}

/* A value that comes up in a share q of the rows moves the mean by sqrt(q (1 - q)) deviations. */
static bool is_rare(const struct gate_input *input, size_t feature, float constant)
{
    const struct scaler *live = detector_ensemble(input->live)->scaler;
    const float mean = scaler_mean(live)[feature], std = scaler_std(live)[feature];

    return scaler_median(live)[feature] == constant &&
           fabs((double)mean - (double)constant) <= sqrt(RARE_SHARE) * (double)std &&
           (double)count_others(input, feature, constant) <= RARE_SHARE * (double)input->n_held;
}

/* False: no feature is newly constant. */
static bool find_newly_constant(const struct gate_input *input, size_t *ret_feature)
{
    const struct scaler *live = detector_ensemble(input->live)->scaler;
    const struct scaler *candidate = detector_ensemble(input->candidate)->scaler;

    for (size_t j = 0; j < scaler_n_features(candidate); j++)
        if (scaler_is_constant(candidate, j) && !scaler_is_constant(live, j) &&
            !is_rare(input, j, scaler_median(candidate)[j])) {
            *ret_feature = j;
            return true;
        }
    return false;
}

/* The median over the features of how much they moved, candidate to live; 1 if none ever did. */
static int find_spread(const struct gate_input *input, double *ret_spread)
{
    const struct scaler *live = detector_ensemble(input->live)->scaler;
    const struct scaler *candidate = detector_ensemble(input->candidate)->scaler;
    const size_t n_features = scaler_n_features(live);
    AUTO_FREE float *ratios = calloc(2 * n_features, sizeof(*ratios)); /* the half to sort with */
    size_t n = 0;
    if (!ratios)
        return -ENOMEM;

    for (size_t j = 0; j < n_features; j++)
        if (!scaler_is_constant(live, j) && !scaler_is_constant(candidate, j))
            ratios[n++] = scaler_std(candidate)[j] / scaler_std(live)[j];
    sort_floats(ratios, n, ratios + n);
    *ret_spread = n > 0 ? (double)ratios[n / 2] : 1.0;
    return 0;
}

static void refuse(struct gate_report *report, const char *format, ...) PRINTF_LIKE(2, 3);

static void refuse(struct gate_report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(report->reason, sizeof(report->reason), format, arguments);
    va_end(arguments);
}

static void refuse_constant(struct gate_report *report, const struct detector *candidate,
                            size_t feature)
{
    const char *name = schema_name(detector_schema(candidate), feature);
    char shown[TEXT_SHOWN_SIZE];

    refuse(report,
           "feature %s never moved in the rows it learnt from (always %g), as it did before; "
           "rebaseline if that is normal now",
           text_show(shown, name, strlen(name)),
           (double)scaler_median(detector_ensemble(candidate)->scaler)[feature]);
}

/* An operator knows most of what it learnt from. */
static bool is_approved(const struct gate_input *input)
{
    return 2 * input->n_approved > input->n_train;
}

/* Before anything is measured: what the rows and the candidate must be. */
static void check_candidate(const struct gate_input *input, struct gate_report *report)
{
    size_t feature;

    if (!ensemble_has_finite_weights(detector_ensemble(input->candidate)))
        refuse(report, "a weight is not a finite number: the training went wrong");
    else if (!input->live)
        return;
    else if (input->n_train < input->min_train)
        refuse(report, "it learnt from %zu rows, and at least %zu are needed", input->n_train,
               input->min_train);
    else if ((double)input->n_guarded > MOST_GUARDED * (double)input->n_candidates)
        refuse(report,
               "%zu of %zu training rows are too rare to the pinned version: see who sends them; "
               "rebaseline if they are normal",
               input->n_guarded, input->n_candidates);
    else if (!is_approved(input) && find_newly_constant(input, &feature))
        refuse_constant(report, input->candidate, feature);
    else if (input->n_held < GATE_MIN_ROWS)
        refuse(report, "%zu rows are held back to compare on, and at least %d are needed",
               input->n_held, GATE_MIN_ROWS);
}

/* To what knows a corner of normal only all else is an anomaly, and rows of that corner cannot
 * tell: what the live version remembers can. */
static int check_corner(const struct gate_input *input, struct gate_report *report)
{
    double spread = 1.0;

    if (is_approved(input))
        return 0;
    int r = isnan(report->forgotten) ? find_spread(input, &spread) : 0;
    if (report->forgotten > MOST_FORGOTTEN)
        refuse(report,
               "it flags %.0f %% of what is typical to the live version: it would know a corner "
               "only; rebaseline if that corner is all there is",
               100 * report->forgotten);
    else if (spread < LEAST_SPREAD)
        refuse(report,
               "its rows move %.2f times as much as those of the live version, and at least %.2f "
               "is needed: it would know a corner only; rebaseline if that corner is all there is",
               spread, LEAST_SPREAD);
    return r;
}

static void check_against_live(const struct gate_input *input, struct gate_report *report)
{
    const struct gate_side *was = &report->live, *is = &report->candidate;
    const struct {
        const char *what;
        double live, candidate, most;
    } drops[] = {
        {"ROC AUC on synthetic",     was->mean_roc_auc,          is->mean_roc_auc,          0.015},
        {"partial AUC on synthetic", was->mean_partial_auc,      is->mean_partial_auc,      0.08 },
        {"ROC AUC on confirmed",     was->confirmed_roc_auc,     is->confirmed_roc_auc,     0.01 },
        {"partial AUC on confirmed", was->confirmed_partial_auc, is->confirmed_partial_auc, 0.12 },
    };
    const size_t n_drops = input->n_confirmed >= GATE_MIN_CONFIRMED ? 4 : 2;

    if (report->binomial_p < MIN_BINOMIAL_P) {
        refuse(
            report,
            "it flags %.3g %% of %zu held-out rows, for a false-alarm rate of %.3g %% (p = %.1g)",
            100 * is->false_alarms, input->n_held, 100 * input->false_alarm_rate,
            report->binomial_p);
        return;
    }
    for (size_t i = 0; i < n_drops; i++) {
        if (drops[i].live - drops[i].candidate <= drops[i].most)
            continue;
        refuse(report, "%s anomalies %.4f, the live version has %.4f: it may drop by %g",
               drops[i].what, drops[i].candidate, drops[i].live, drops[i].most);
        return;
    }
}

static void side_init(struct gate_side *side)
{
    side->false_alarms = side->mean_roc_auc = side->mean_partial_auc = NAN;
    side->confirmed_roc_auc = side->confirmed_partial_auc = NAN;
    for (size_t kind = 0; kind < SYNTHETIC_KINDS; kind++)
        side->roc_auc[kind] = side->partial_auc[kind] = NAN;
}

int gate_compare(const struct gate_input *input, struct gate_report *ret_report)
{
    assert(input->candidate && input->n_held <= GATE_MOST_ROWS);
    assert(!input->calibration || input->n_calibration > 0);
    assert(input->false_alarm_rate > 0.0 && input->false_alarm_rate < 1.0);
    assert(!input->live ||
           detector_n_features(input->live) == detector_n_features(input->candidate));
    struct gate_report report = {
        .n_held = input->n_held,
        .n_confirmed = input->n_confirmed,
        .n_train = input->n_train,
        .binomial_p = NAN,
        .forgotten = NAN,
    };
    side_init(&report.live);
    side_init(&report.candidate);

    check_candidate(input, &report);
    if (input->n_held >= 2 && ensemble_has_finite_weights(detector_ensemble(input->candidate))) {
        int r = measure(input, &report); /* refused or not: a person will ask for the numbers */
        if (r < 0)
            return r;
    }
    if (input->live && !*report.reason)
        check_against_live(input, &report);
    if (input->live && !*report.reason) {
        int r = check_corner(input, &report);
        if (r < 0)
            return r;
    }
    report.is_accepted = !*report.reason;
    *ret_report = report;
    return 0;
}

static void print_number(struct text *text, const char *key, double value)
{
    text_printf(text, "\"%s\":", key);
    text_double(text, value);
}

static void print_aucs(struct text *text, const char *key, double roc_auc, double partial_auc)
{
    text_printf(text, ",\"%s\":{", key);
    print_number(text, "roc_auc", roc_auc);
    text_puts(text, ",");
    print_number(text, "partial_auc", partial_auc);
    text_puts(text, "}");
}

static void print_side(struct text *text, const char *key, const struct gate_side *side)
{
    text_printf(text, ",\"%s\":{", key);
    print_number(text, "false_alarm_rate", side->false_alarms);
    print_aucs(text, "synthetic", side->mean_roc_auc, side->mean_partial_auc);
    for (size_t kind = 0; kind < SYNTHETIC_KINDS; kind++)
        print_aucs(text, synthetic_kind_name(kind), side->roc_auc[kind], side->partial_auc[kind]);
    print_aucs(text, "confirmed", side->confirmed_roc_auc, side->confirmed_partial_auc);
    text_puts(text, "}");
}

void gate_print(const struct gate_report *report, struct text *text)
{
    text_printf(text, "{\"accepted\":%s,\"reason\":", report->is_accepted ? "true" : "false");
    text_json_string(text, report->reason, strlen(report->reason));
    text_printf(text, ",\"held_rows\":%zu,\"confirmed_anomalies\":%zu,\"train_rows\":%zu,",
                report->n_held, report->n_confirmed, report->n_train);
    print_number(text, "binomial_p", report->binomial_p);
    text_puts(text, ",");
    print_number(text, "forgotten", report->forgotten);
    print_side(text, "live", &report->live);
    print_side(text, "candidate", &report->candidate);
    text_puts(text, "}");
}
