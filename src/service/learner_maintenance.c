/* Maintenance: windows in which a person wants no alarms, or nothing learned, beside those of the
 * configuration's calendar. */
#include "base/clock.h"
#include "service/learner_state.h"
#include "store/maintenance_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pupil_follow_maintenance(struct pupil *pupil)
{
    AUTO_FREE struct maintenance_window *windows = NULL;
    size_t n = 0;

    if (!pupil->learning)
        return 0;
    int r = maintenance_log_list(pupil->learner->database, pupil->log.id, &windows, &n);
    return r < 0 ? r : learning_set_maintenance(pupil->learning, windows, n);
}

static int add(struct pupil *pupil, const struct maintenance_window *window, struct error *reterr)
{
    int64_t id = 0;

    if (pupil->log.id == 0)
        return error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has learned nothing yet",
                         pupil->name);
    int r = maintenance_log_add(pupil->learner->database, pupil->log.id, window,
                                clock_realtime_us(), &id);
    if (r == -E2BIG)
        return error_set(reterr, LEARNER_CONFLICT,
                         "Model \"%s\" has %d windows of maintenance; DELETE some of them",
                         pupil->name, MAINTENANCE_LOG_MOST);
    if (r == 0)
        r = pupil_follow_maintenance(pupil);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_add_maintenance(struct learner *learner, const char *model,
                            struct maintenance_window *window, const char *who,
                            struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    CLEANUP(text_clear) struct text detail = {0};
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    (void)snprintf(window->who, sizeof(window->who), "%s", who);
    text_time(&detail, window->from_us);
    text_puts(&detail, " to ");
    text_time(&detail, window->until_us);
    pupil_lock(pupil);
    const int r = add(pupil, window, reterr);
    if (r == 0)
        pupil_audit(pupil, who, "maintenance", text_failed(&detail) ? "" : detail.data);
    pupil_unlock(pupil);
    return r;
}

static int remove_window(struct pupil *pupil, int64_t id, struct error *reterr)
{
    int r = pupil->log.id ? maintenance_log_remove(pupil->learner->database, pupil->log.id, id)
                          : -ENOENT;

    if (r == -ENOENT)
        return id ? error_set(reterr, LEARNER_NOT_FOUND,
                              "Model \"%s\" has no window of maintenance %" PRId64, pupil->name, id)
                  : 0;
    if (r == 0)
        r = pupil_follow_maintenance(pupil);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_end_maintenance(struct learner *learner, const char *model, int64_t id, const char *who,
                            struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    char detail[32] = "all";
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    if (id)
        (void)snprintf(detail, sizeof(detail), "window %" PRId64, id);
    pupil_lock(pupil);
    const int r = remove_window(pupil, id, reterr);
    if (r == 0)
        pupil_audit(pupil, who, "end maintenance", detail);
    pupil_unlock(pupil);
    return r;
}

/* ---- printing ---- */

static void put_skips(struct text *text, bool skips_alarms, bool skips_learning)
{
    text_printf(text, "\"skip_alarms\":%s,\"skip_learning\":%s", skips_alarms ? "true" : "false",
                skips_learning ? "true" : "false");
}

static void put_window(struct text *text, const struct maintenance_window *window)
{
    text_printf(text, "{\"id\":%" PRId64 ",\"from\":\"", window->id);
    text_time(text, window->from_us);
    text_puts(text, "\",\"until\":\"");
    text_time(text, window->until_us);
    text_puts(text, "\",");
    put_skips(text, window->skips_alarms, window->skips_learning);
    text_puts(text, ",\"who\":");
    text_json_string(text, window->who, strlen(window->who));
    text_puts(text, "}");
}

int learner_print_maintenance(struct learner *learner, const char *model, struct text *text,
                              struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    AUTO_FREE struct maintenance_window *windows = NULL;
    struct learning_skips now = {0};
    size_t n = 0, n_put = 0;
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const uint64_t now_us = clock_realtime_us();
    pupil_lock(pupil);
    if (pupil->learning)
        now = learning_skips(pupil->learning, now_us);
    if (pupil->log.id)
        r = maintenance_log_list(learner->database, pupil->log.id, &windows, &n);
    pupil_unlock(pupil);
    if (r < 0)
        return learner_store_failed(r, reterr);
    text_printf(text, "{\"model\":\"%s\",\"now\":{", model);
    put_skips(text, now.alarms, now.learning);
    text_puts(text, "},\"windows\":[");
    for (size_t i = 0; i < n; i++) {
        if (windows[i].until_us <= now_us)
            continue;
        text_puts(text, n_put++ ? "," : "");
        put_window(text, &windows[i]);
    }
    text_puts(text, "]}");
    return 0;
}
