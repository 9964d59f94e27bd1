/* What is remembered of the series of each model: kept over a restart, and watched, so that one
 * that falls silent is told of. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "detector/detector.h"
#include "service/learner_state.h"
#include "service/series_memory.h"
#include "store/series_log.h"

#include <stdlib.h>
#include <string.h>

#define MOST_CHANGES 100 /* told of a model at a time */
#define MOST_SAVED   256 /* saved at a time */

#define SILENT_ADVICE \
    "see whether who sends this series still runs; it is judged again when it sends"

/* ---- over a restart ---- */

/* What of the next series has changed, after the last one in name. Below 0: no more of them now. */
static int save_some(struct pupil *pupil, struct series_memory *memory, bool all,
                     char name[SERIES_NAME_MAX + 1], size_t *ret_n)
{
    struct learner *learner = pupil->learner;
    AUTO_FREE struct logged_series *series = NULL;
    size_t n = 0;

    *ret_n = 0;
    if (pupil->log.id == 0 || learner_is_damaged(learner))
        return 0;
    int r = series_memory_save(memory, all, name, MOST_SAVED, &series, &n);
    if (r == 0 && n > 0) {
        r = series_log_put(learner->database, pupil->log.id, series, n, series_memory_most(memory));
        learner_note(learner, r);
        memcpy(name, series[n - 1].series, SERIES_NAME_MAX + 1);
    }
    for (size_t i = 0; i < n; i++)
        logged_series_clear(&series[i]);
    *ret_n = n;
    return r;
}

/* Under the pupil's lock, which rows that come meanwhile get in between. */
static void save(struct pupil *pupil, struct series_memory *memory)
{
    const bool all = pupil->has_unsaved_series;
    char name[SERIES_NAME_MAX + 1] = "";
    size_t n = 0;

    int r = save_some(pupil, memory, all, name, &n);
    while (r == 0 && n == MOST_SAVED) {
        pupil_unlock(pupil);
        pupil_lock(pupil);
        r = save_some(pupil, memory, all, name, &n);
    }
    if (r < 0 && !pupil->has_unsaved_series)
        log_warning("model %s: a restart would forget what its series were doing: %s", pupil->name,
                    strerrordesc_np(-r));
    pupil->has_unsaved_series = r < 0;
}

void pupil_load_series(struct pupil *pupil, struct live_model *model)
{
    struct live *live = pupil->learner->live;
    AUTO_FREE struct logged_series *series = NULL;
    size_t n = 0;
    int r = 0;

    if (pupil->has_series || pupil->log.id == 0)
        return;
    pupil->has_series = true;
    if (series_log_read(pupil->learner->database, pupil->log.id, &series, &n) < 0)
        return; /* they begin anew */
    const bool is_held = n > 0 && model->state == LIVE_SERVING && live_hold(live, model, NULL) == 0;
    const struct detector *detector = is_held ? model->detector : NULL;
    struct preparation *preparation =
        detector ? detector_preparation(detector) : pupil->preparation;
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = series_memory_load(model->memory, preparation, detector, &series[i]);
        logged_series_clear(&series[i]);
    }
    if (is_held)
        live_let_go(live, model);
}

/* ---- silence ---- */

/* Under the pupil's lock. */
static void tell(struct pupil *pupil, const struct series_change *change)
{
    CLEANUP(text_clear) struct text detail = {0}, reason = {0};
    char shown[TEXT_SHOWN_SIZE];
    const char *name = *change->series ? change->series : "(the default series)";

    text_puts(&detail, "{\"series\":");
    text_json_string(&detail, change->series, strlen(change->series));
    text_puts(&detail, ",\"last_row_at\":\"");
    text_time(&detail, change->seen_us);
    text_puts(&detail, "\"}");
    text_printf(&reason, change->is_silent ? "no row of %s since " : "%s sends again, since ",
                text_show(shown, name, strlen(name)));
    text_time(&reason, change->seen_us);
    if (!text_failed(&detail) && !text_failed(&reason))
        pupil_tell_of(pupil, change->series, change->is_silent ? "series_silent" : "series_back",
                      reason.data, detail.data, change->is_silent ? SILENT_ADVICE : NULL);
}

static void watch(struct pupil *pupil, struct series_memory *memory)
{
    AUTO_FREE struct series_change *changes = calloc(MOST_CHANGES, sizeof(*changes));
    struct series_counts counts = {0};
    if (!changes)
        return;

    const size_t n =
        series_memory_watch(memory, clock_realtime_us(), pupil->settings.stale_after_us, changes,
                            MOST_CHANGES, &counts);
    pupil->figures.series = counts;
    for (size_t i = 0; i < n && pupil->log.id != 0; i++)
        tell(pupil, &changes[i]);
}

/* all: also the models in which no series falls silent. */
static void for_each(struct learner *learner, bool all,
                     void (*act)(struct pupil *pupil, struct series_memory *memory))
{
    struct pupil *pupil;

    for (size_t i = 0; (pupil = learner_nth(learner, i)); i++) {
        if (!all && !atomic_load(&pupil->is_watched))
            continue;
        struct live_model *model = live_acquire(learner->live, pupil->name, strlen(pupil->name));
        pupil_lock(pupil);
        if (model && !pupil->is_gone)
            act(pupil, model->memory);
        pupil_unlock_as_before(pupil);
        live_release(learner->live, model);
    }
}

void learner_watch_series(struct learner *learner, bool all)
{
    for_each(learner, all, watch);
}

void learner_save_series(struct learner *learner)
{
    for_each(learner, true, save);
}
