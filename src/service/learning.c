#include "service/learning.h"

#include "detector/detector.h"
#include "detector/ensemble.h"
#include "detector/scaler.h"
#include "service/guard.h"
#include "service/learning_state.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEEDBACK_ROWS  500 /* after an answer "normal" a run for each so many */
#define FEEDBACK_RUNS  4   /* at least */
#define LEAST_FRESH    100 /* rows since the last run; of a large buffer */
#define FRESH_SHARE    100 /* a hundredth of what is in it */
#define LEAST_MIN_ROWS 1000
#define ROWS_A_FEATURE 20
#define LEAST_TO_TRAIN                                                        \
    80 /* rows: a quarter calibrates, and a run refuses to with fewer than 20 \
        */

int learning_new(struct database *database, int64_t model, size_t n_features,
                 const struct learning_options *options, struct learning **ret_learning)
{
    assert(database && n_features > 0 && options && ret_learning);
    CLEANUP(learning_freep) struct learning *learning = calloc(1, sizeof(*learning));
    if (!learning)
        return -ENOMEM;

    learning->options = *options;
    learning->database = database;
    learning->model = model;
    learning->n_features = n_features;
    learning->recorder.n_features = n_features;
    drift_init(&learning->drift, options->seed);
    random_seed(&learning->sampling_random, options->seed);
    int r = detector_workspace_new(&learning->workspace);
    if (r == 0)
        r = detector_workspace_new(&learning->explaining);
    if (r == 0)
        r = blaming_init(&learning->blaming, n_features);
    learning->std = calloc(n_features, sizeof(*learning->std));
    if (!learning->std)
        r = -ENOMEM;
    if (r == 0)
        r = row_buffer_open(database, model, n_features, options->buffer_rows, options->seed,
                            &learning->buffer);
    if (r < 0)
        return r;
    const struct row_counts counts = row_buffer_counts(learning->buffer);
    learning->n_placed = counts.stored;
    learning->stored_at_run = counts.stored;
    *ret_learning = TAKE(learning);
    return 0;
}

static void configure_admissions(struct learning *learning)
{
    for (size_t i = 0; i < learning->n_series; i++)
        admission_configure(learning->series[i]->admission, learning->std,
                            learning->options.follow_after);
}

void learning_configure(struct learning *learning, const struct learning_options *options)
{
    learning->options = *options;
    learning->skips_us = 0;
    row_buffer_set_capacity(learning->buffer, options->buffer_rows);
    configure_admissions(learning);
}

void series_free(struct series *series)
{
    if (!series)
        return;
    admission_free(series->admission);
    series_forget_incident(series);
    stretch_clear(&series->odd_rows);
    stretch_clear(&series->alarming_rows);
    flight_memory_clear(&series->flight, &series->learning->recorder);
    free(series->held);
    free(series->name);
    free(series);
}

void learning_free(struct learning *learning)
{
    if (!learning)
        return;
    for (size_t i = 0; i < learning->n_series; i++)
        series_free(learning->series[i]);
    free(learning->series);
    learning_told(learning);
    learning_stored(learning);
    free(learning->events);
    flight_recorder_clear(&learning->recorder);
    free(learning->names);
    free(learning->windows);
    free(learning->pending);
    free(learning->pending_values);
    free(learning->std);
    guard_free(learning->guard);
    detector_workspace_free(learning->workspace);
    detector_workspace_free(learning->explaining);
    blaming_clear(&learning->blaming);
    row_buffer_free(learning->buffer);
    free(learning);
}

/* ---- what judges ---- */

static void set_live(struct learning *learning, const struct detector *live)
{
    learning->live = live;
    learning->has_live = true;
    memcpy(learning->std, scaler_std(detector_ensemble(live)->scaler),
           learning->n_features * sizeof(*learning->std));
}

int learning_swap(struct learning *learning, const struct detector *live, double threshold,
                  double false_alarm_rate)
{
    assert(live);
    set_live(learning, live);
    learning_set_threshold(learning, threshold, false_alarm_rate);
    drift_reset(&learning->drift);
    for (size_t i = 0; i < learning->n_series; i++)
        admission_swap(learning->series[i]->admission, learning->std);
    return 0;
}

void learning_rebind(struct learning *learning, const struct detector *live)
{
    set_live(learning, live);
    configure_admissions(learning);
}

void learning_lend(struct learning *learning, const struct detector *live)
{
    learning->live = learning->has_live ? live : NULL;
}

void learning_set_rules(struct learning *learning, const struct relevance_rule *rules)
{
    learning->blaming.rules = rules;
}

void learning_set_threshold(struct learning *learning, double threshold, double false_alarm_rate)
{
    learning->threshold = threshold;
    learning->false_alarm_rate = false_alarm_rate;
}

int learning_pin(struct learning *learning, const struct detector *pinned)
{
    struct guard *guard = NULL;

    if (pinned) {
        int r = guard_new(pinned, NULL, 0, &guard);
        if (r < 0)
            return r;
    }
    guard_free(learning->guard);
    learning->guard = guard;
    learning->pinned = pinned;
    return 0;
}

void learning_freeze(struct learning *learning, bool is_frozen)
{
    learning->is_frozen = is_frozen;
}

/* ---- what is there ---- */

struct row_counts learning_counts(struct learning *learning)
{
    return row_buffer_counts(learning->buffer);
}

uint64_t learning_n_sampled_out(const struct learning *learning)
{
    return learning->n_sampled_out;
}

double learning_drift(const struct learning *learning)
{
    return learning->drift.meter / M_LN10;
}

struct learning_incidents learning_incidents(const struct learning *learning)
{
    return learning->incidents;
}

/* ---- feedback ---- */

void learning_approve(struct learning *learning)
{
    learning->must_pin = true;
    learning->feedback_runs = FEEDBACK_RUNS;
}

int learning_rebaseline(struct learning *learning)
{
    int r = learning_flush(learning);
    if (r == 0)
        r = row_buffer_approve(learning->buffer);
    if (r == 0)
        learning_approve(learning);
    return r;
}

int learning_answer(struct learning *learning, uint64_t incident, bool is_normal)
{
    bool is_open = false;
    size_t n = 0;

    int r = learning_flush(learning);
    for (size_t i = 0; r == 0 && i < learning->n_series && !is_open; i++) {
        struct admission *admission = learning->series[i]->admission;
        is_open = is_normal ? admission_answer_normal(admission, incident)
                            : admission_answer_anomaly(admission, incident);
    }
    if (r == 0) /* what the answer let go is not quarantined any more */
        r = learning_flush(learning);
    if (r == 0)
        r = is_normal ? row_buffer_release(learning->buffer, incident, &n)
                      : row_buffer_confirm(learning->buffer, incident, &n);
    if (r < 0)
        return r;
    if (!is_open && n == 0)
        return -ENOENT;
    if (is_normal)
        learning_approve(learning);
    return 0;
}

int learning_forget(struct learning *learning)
{
    for (size_t i = 0; i < learning->n_series; i++)
        series_free(learning->series[i]);
    learning->n_series = 0;
    learning_stored(learning);
    learning->feedback_runs = 0;
    learning->must_pin = learning->is_drifting = false;
    learning->followed = 0;
    learning->n_in_vain = 0;
    drift_reset(&learning->drift);
    return row_buffer_forget(learning->buffer);
}

/* ---- when to train ---- */

size_t learning_min_rows(const struct learning *learning)
{
    const size_t by_width = ROWS_A_FEATURE * learning->n_features;
    const size_t capacity = learning->options.buffer_rows; /* more will never be there */
    size_t n = learning->options.min_rows;

    if (n == 0)
        n = by_width > LEAST_MIN_ROWS ? by_width : LEAST_MIN_ROWS;
    if (n < LEAST_TO_TRAIN)
        n = LEAST_TO_TRAIN;
    return n < capacity ? n : capacity;
}

/* An operator has approved what is new, and the model may not know all of it yet. */
static bool is_following(const struct learning *learning)
{
    if (learning->feedback_runs > 0)
        return true;
    for (size_t i = 0; i < learning->n_series; i++)
        if (admission_is_answered(learning->series[i]->admission))
            return true;
    return false;
}

bool learning_must_pin(const struct learning *learning)
{
    return learning->must_pin;
}

void learning_set_must_pin(struct learning *learning)
{
    learning_approve(learning);
}

void learning_pinned(struct learning *learning)
{
    learning->must_pin = is_following(learning);
}

/* New ones, without which a run by time or drift would only repeat the last one: its version would
 * push out the former, to which one may have to go back. */
static uint64_t least_fresh(size_t n_rows)
{
    const uint64_t share = n_rows / FRESH_SHARE;

    return share > LEAST_FRESH ? share : LEAST_FRESH;
}

/* What came to nothing would do so again, were it not for new rows. */
static uint64_t fresh_after_failure(const struct learning *learning, size_t n_rows)
{
    const uint64_t capacity = learning->options.buffer_rows;
    uint64_t n = learning->n_in_vain > 0 ? least_fresh(n_rows) : 0;

    for (unsigned i = 1; i < learning->n_in_vain && n < capacity; i++)
        n *= 2;
    return n < capacity ? n : capacity;
}

const char *learning_is_due(struct learning *learning, uint64_t now_us)
{
    const struct learning_options *options = &learning->options;
    const struct row_counts counts = learning_counts(learning);
    const uint64_t fresh = counts.stored - learning->stored_at_run;

    if (!learning->has_begun)
        learning->last_run_us = now_us;
    learning->has_begun = true;
    const uint64_t since_us = now_us - learning->last_run_us;
    if (learning->is_frozen || fresh < fresh_after_failure(learning, counts.rows))
        return NULL;
    if (!learning->has_live)
        return counts.rows >= learning_min_rows(learning) &&
                       (!learning->has_run || since_us >= options->retrain_min_interval_us)
                   ? "first"
                   : NULL;
    if (is_following(learning) && fresh >= FEEDBACK_ROWS)
        return "feedback";
    if (learning->has_run && since_us < options->retrain_min_interval_us)
        return NULL;
    if (learning->is_drifting && fresh >= FEEDBACK_ROWS)
        return "shift";
    const bool has_news = fresh >= least_fresh(counts.rows);
    if (options->retrain_on_drift && learning->drift.is_alarming && has_news)
        return "drift";
    if (options->retrain_rows > 0 && fresh >= options->retrain_rows)
        return "rows";
    if (options->retrain_every_us > 0 && since_us >= options->retrain_every_us && has_news)
        return "time";
    return NULL;
}

uint64_t learning_due_us(const struct learning *learning, uint64_t now_us)
{
    const struct learning_options *options = &learning->options;
    const uint64_t waits_us[] = {options->retrain_min_interval_us, options->retrain_every_us};
    const uint64_t since_us = now_us - learning->last_run_us;
    uint64_t left_us = UINT64_MAX - now_us;

    for (size_t i = 0; i < sizeof(waits_us) / sizeof(*waits_us); i++)
        if (waits_us[i] > since_us && waits_us[i] - since_us < left_us)
            left_us = waits_us[i] - since_us;
    return now_us + left_us;
}

void learning_run_began(struct learning *learning, uint64_t now_us)
{
    learning->has_run = learning->has_begun = true;
    learning->last_run_us = now_us;
    learning->stored_at_run = learning_counts(learning).stored;
    learning->is_drifting = false;
    if (learning->feedback_runs > 0)
        learning->feedback_runs--;
}

unsigned learning_run_ended(struct learning *learning, bool is_in_vain)
{
    learning->n_in_vain = is_in_vain ? learning->n_in_vain + 1 : 0;
    return learning->n_in_vain;
}

/* now_us counts from the machine's start: the difference may wrap, and wraps back when it is used.
 */
void learning_resume(struct learning *learning, bool has_run, uint64_t stored, uint64_t ago_us,
                     uint64_t now_us)
{
    const uint64_t all = learning_counts(learning).stored;

    learning->has_run = has_run;
    learning->has_begun = true;
    learning->last_run_us = now_us - ago_us;
    learning->stored_at_run = stored < all ? stored : all;
}
