/* One model that learns: its record in the store, its features, the version that answers. */
#include "base/checksum.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "service/learner_state.h"
#include "store/event_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
}

static void free_features(struct pupil *pupil)
{
    (void)pthread_mutex_lock(&pupil->view_lock);
    free_names(TAKE(pupil->features), pupil->n_features);
    pupil->n_features = 0;
    (void)pthread_mutex_unlock(&pupil->view_lock);
}

void pupil_clear(struct pupil *pupil)
{
    shadow_end(pupil);
    pupil_let_go(pupil);
    (void)pthread_mutex_lock(&pupil->pin_lock); /* a run may be reading them */
    learning_free(TAKE(pupil->learning));
    free(TAKE(pupil->pinned_path));
    free(TAKE(pupil->stand_in_path));
    pupil->n_schemas++;
    (void)pthread_mutex_unlock(&pupil->pin_lock);
    live_release(pupil->learner->live, TAKE(pupil->live));
    logged_model_clear(&pupil->log);
    free_features(pupil);
    pupil_set_preparation(pupil, NULL);
    pupil->has_series = false;
    pupil->queued_run = 0;
    pupil->figures = (struct learner_figures){0};
    pupil->meter = (struct budget_meter){0};
}

int pupil_forget_features(struct pupil *pupil)
{
    if (pupil->live || pupil->log.live_version || pupil->settings.names_features || !pupil->log.id)
        return 0;
    int r = model_log_reschema(pupil->learner->database, pupil->log.id, "[]", "");
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&pupil->pin_lock); /* a run may be reading it */
    learning_free(TAKE(pupil->learning));
    pupil->n_schemas++;
    (void)pthread_mutex_unlock(&pupil->pin_lock);
    free_features(pupil);
    pupil_set_preparation(pupil, NULL);
    free(TAKE(pupil->log.features));
    free(TAKE(pupil->log.inputs));
    *pupil->log.fingerprint = '\0';
    return 0;
}

void pupil_free(struct pupil *pupil)
{
    if (!pupil)
        return;
    pupil_clear(pupil);
    pupil_clear_settings(&pupil->settings);
    free(pupil->path);
    free(pupil->loading_path);
    (void)pthread_mutex_destroy(&pupil->lock);
    (void)pthread_mutex_destroy(&pupil->view_lock);
    (void)pthread_mutex_destroy(&pupil->pin_lock);
    free(pupil);
}

/* ---- what workers see ---- */

void pupil_lock(struct pupil *pupil)
{
    (void)pthread_mutex_lock(&pupil->lock);
}

void pupil_unlock(struct pupil *pupil)
{
    pupil_unlock_until(pupil, 0);
}

void pupil_unlock_as_before(struct pupil *pupil)
{
    pupil_unlock_until(pupil, atomic_load(&pupil->look_us));
}

void pupil_unlock_until(struct pupil *pupil, uint64_t look_us)
{
    struct learning *learning = pupil->learning;
    struct pupil_view view = {
        .id = pupil->log.id,
        .live_version = pupil->log.live_version,
        .former_version = pupil->log.former_version,
        .pinned_version = pupil->log.pinned_version,
        .is_frozen = pupil->log.is_frozen,
        .rows_needed = learning ? learning_min_rows(learning) : pupil->settings.learning.min_rows,
        .rows_per_day = pupil->log.rows_per_day,
        .current_run = pupil->current_run,
        .done = pupil->done,
        .figures = pupil->figures,
    };

    pupil_let_go(pupil);
    view.figures.progress = pupil->current_run ? pupil->done : 0.0;
    view.figures.rows.capacity = pupil->settings.learning.buffer_rows;
    if (learning) {
        view.figures.rows = learning_counts(learning);
        view.figures.drift_log10 = learning_drift(learning);
        view.figures.incidents = learning_incidents(learning);
    }
    (void)pthread_mutex_lock(&pupil->view_lock);
    pupil->view = view;
    (void)pthread_mutex_unlock(&pupil->view_lock);
    atomic_store(&pupil->look_us, look_us);
    (void)pthread_mutex_unlock(&pupil->lock);
}

struct pupil_view pupil_look(struct pupil *pupil)
{
    (void)pthread_mutex_lock(&pupil->view_lock);
    struct pupil_view view = pupil->view;
    (void)pthread_mutex_unlock(&pupil->view_lock);
    view.figures.n_dropped_queue = atomic_load(&pupil->n_dropped_by_queue);
    view.figures.n_verdicts_dropped = atomic_load(&pupil->n_verdicts_dropped);
    return view;
}

/* ---- features ---- */

static int copy_features(struct pupil *pupil, const char *const *names, size_t n_features)
{
    char **copies = calloc(n_features, sizeof(char *));
    bool is_whole = copies != NULL;

    for (size_t i = 0; is_whole && i < n_features; i++) {
        copies[i] = strdup(names[i]);
        is_whole = copies[i] != NULL;
    }
    if (!is_whole) {
        free_names(copies, n_features);
        return -ENOMEM;
    }
    (void)pthread_mutex_lock(&pupil->view_lock);
    pupil->features = copies;
    pupil->n_features = n_features;
    (void)pthread_mutex_unlock(&pupil->view_lock);
    return 0;
}

int pupil_print_features(const char *const *names, size_t n_features, struct text *text,
                         char fingerprint[SHA256_HEX_SIZE])
{
    text_puts(text, "[");
    for (size_t i = 0; i < n_features; i++) {
        text_puts(text, i ? "," : "");
        text_json_string(text, names[i], strlen(names[i]));
    }
    text_puts(text, "]");
    if (text_failed(text))
        return -ENOMEM;
    sha256_hex(text->data, text->length, fingerprint);
    return 0;
}

int pupil_check_record(const struct pupil *pupil, const char *const *names, size_t n_features)
{
    CLEANUP(text_clear) struct text text = {0};
    char fingerprint[SHA256_HEX_SIZE];

    const int r = pupil_print_features(names, n_features, &text, fingerprint);
    if (r < 0)
        return r;
    return strcmp(pupil->log.fingerprint, fingerprint) == 0 ? 0 : -ESTALE;
}

/* The model's record, made or made anew where the features have changed. */
int pupil_open_record(struct pupil *pupil, const char *const *names, size_t n_features)
{
    struct database *database = pupil->learner->database;
    CLEANUP(text_clear) struct text text = {0};
    char fingerprint[SHA256_HEX_SIZE];

    int r = pupil_print_features(names, n_features, &text, fingerprint);
    if (r < 0)
        return r;
    logged_model_clear(&pupil->log);
    r = model_log_open(database, pupil->name, text.data, fingerprint, &pupil->log);
    if (r != -ESTALE)
        return r;
    r = model_log_open(database, pupil->name, NULL, NULL, &pupil->log);
    if (r == 0 && *pupil->log.fingerprint) /* "": they were forgotten */
        log_warning("model %s: its features have changed: the rows of the old ones are dropped",
                    pupil->name);
    if (r == 0)
        r = model_log_reschema(database, pupil->log.id, text.data, fingerprint);
    if (r < 0)
        return r;
    logged_model_clear(&pupil->log);
    return model_log_open(database, pupil->name, text.data, fingerprint, &pupil->log);
}

bool pupil_has_features(const struct pupil *pupil, const char *const *names, size_t n_features)
{
    if (pupil->n_features != n_features)
        return false;
    for (size_t i = 0; i < n_features; i++)
        if (strcmp(pupil->features[i], names[i]) != 0)
            return false;
    return true;
}

/* Rows and time since the last run go on counting over a restart; before any run, since the live
 * version was made. The clock may have been set meanwhile: then no time has passed. */
static int resume(struct pupil *pupil)
{
    struct database *database = pupil->learner->database;
    CLEANUP(logged_run_clear) struct logged_run run = {0};
    struct logged_version live = {0};
    const uint64_t now_us = clock_realtime_us();

    int r = model_log_last_run(database, pupil->log.id, &run);
    const bool has_run = r == 0;
    if (r == -ENOENT)
        r = model_log_version(database, pupil->log.id, pupil->log.live_version, &live);
    if (r < 0 && r != -ENOENT)
        return r;
    const uint64_t since_us = has_run ? run.started_us : live.made_us;
    const uint64_t stored = learning_counts(pupil->learning).stored;
    const bool is_unknown = has_run && run.stored == 0; /* a run of an older release */
    learning_resume(pupil->learning, has_run, is_unknown ? stored : run.stored,
                    since_us > 0 && since_us < now_us ? now_us - since_us : 0,
                    clock_monotonic_us());
    return 0;
}

int pupil_open(struct pupil *pupil, const char *const *names, size_t n_features,
               struct preparation *preparation)
{
    pupil_set_preparation(pupil, preparation);
    if (pupil->learning && pupil_has_features(pupil, names, n_features))
        return 0;
    (void)pthread_mutex_lock(&pupil->pin_lock); /* a run may be reading it */
    learning_free(TAKE(pupil->learning));
    pupil->n_schemas++;
    (void)pthread_mutex_unlock(&pupil->pin_lock);
    free_features(pupil);
    int r = pupil_open_record(pupil, names, n_features);
    if (r == 0) /* those of the features before */
        r = event_log_close(pupil->learner->database, pupil->log.id, "other features",
                            clock_realtime_us());
    if (r == 0)
        r = copy_features(pupil, names, n_features);
    if (r == 0)
        r = learning_new(pupil->learner->database, pupil->log.id, n_features,
                         &pupil->settings.learning, &pupil->learning);
    if (r == 0)
        r = pupil_follow_maintenance(pupil);
    if (r == 0)
        r = resume(pupil);
    if (r == 0)
        learning_freeze(pupil->learning, pupil->log.is_frozen);
    if (r == 0 && pupil->log.repin)
        learning_set_must_pin(pupil->learning);
    return r;
}

/* ---- what people are told ---- */

const char *const learner_event_kinds[LEARNER_N_EVENT_KINDS] = {
    "drift",         "excess",      "failing",     "incident",      "promoted",   "refused",
    "regime_change", "rolled_back", "series_back", "series_silent", "stale_input"};

void pupil_note_event(struct pupil *pupil, const struct logged_event *event)
{
    const bool is_over = strcmp(event->kind, "incident") == 0 && !event->is_open;

    for (size_t i = 0; i < LEARNER_N_EVENT_KINDS; i++)
        if (strcmp(event->kind, learner_event_kinds[i]) == 0)
            pupil->figures.n_events[i] += !is_over;
    pupil_publish(pupil, event);
    if (event->advice || is_over)
        log_fields(LOG_NOTICE, (const char *const[]){"MODEL", pupil->name, NULL},
                   "model %s: %s%s%s%s%s%s", pupil->name, event->kind, is_over ? " is over" : "",
                   event->reason ? ": " : "", event->reason ? event->reason : "",
                   event->advice ? ": " : "", event->advice ? event->advice : "");
}

void pupil_tell(struct pupil *pupil, const char *kind, const char *detail, const char *advice)
{
    pupil_tell_of(pupil, NULL, kind, NULL, detail, advice);
}

void pupil_tell_of(struct pupil *pupil, const char *series, const char *kind, const char *reason,
                   const char *detail, const char *advice)
{
    struct logged_event event = {
        .id = learner_next_event(pupil->learner),
        .time_us = clock_realtime_us(),
        .detail = detail ? strdup(detail) : NULL,
        .advice = advice ? strdup(advice) : NULL,
        .reason = reason ? strdup(reason) : NULL,
        .series = series ? strdup(series) : NULL,
    };

    (void)snprintf(event.kind, sizeof(event.kind), "%s", kind);
    if (event_log_put(pupil->learner->database, pupil->log.id, &event, 1) < 0)
        log_warning("model %s: the event %s could not be stored", pupil->name, kind);
    pupil_note_event(pupil, &event);
    logged_event_clear(&event);
}

/* It is done already: that it cannot be written down is no reason to undo it. */
void pupil_audit(struct pupil *pupil, const char *who, const char *act, const char *detail)
{
    if (event_log_audit(pupil->learner->database, pupil->name, who, act, detail,
                        clock_realtime_us()) < 0)
        log_warning("model %s: %s by %s could not be written down", pupil->name, act, who);
    log_fields(LOG_NOTICE, (const char *const[]){"MODEL", pupil->name, NULL},
               "model %s: %s%s%s by %s", pupil->name, act, *detail ? " " : "", detail, who);
}
