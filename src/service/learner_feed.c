/* What happens to the models, for those who follow it: into the feed, and out of the log for those
 * who come back after it has forgotten where they were. */
#include "service/feed.h"
#include "service/learner_state.h"
#include "store/event_log.h"

#include <errno.h>
#include <string.h>

struct feed *learner_feed(struct learner *learner)
{
    return learner->feed;
}

/* An incident that is put again keeps when it opened, and its advice and reason where there is
 * nothing new; all else may have changed again since. */
static void complete(struct logged_event *event, const struct logged_event *stored)
{
    event->time_us = stored->time_us;
    event->ended_us = event->is_open ? 0 : stored->ended_us;
    if (!event->advice)
        event->advice = stored->advice;
    if (!event->reason)
        event->reason = stored->reason;
}

void pupil_publish(struct pupil *pupil, const struct logged_event *event)
{
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(logged_event_clear) struct logged_event stored = {0};
    struct logged_event told = *event; /* its texts are borrowed */

    if (strcmp(event->kind, "incident") == 0 &&
        event_log_get(pupil->learner->database, pupil->log.id, event->id, &stored) == 0)
        complete(&told, &stored);
    learner_put_event(&text, pupil->name, &told);
    feed_publish(pupil->learner->feed, pupil->name, event->kind, event->id,
                 text_failed(&text) ? NULL : TAKE(text.data));
}

/* ---- out of the log ---- */

struct backlog {
    struct text *text;
    size_t n;
};

static int put_message(void *userdata, const char *model, const struct logged_event *event)
{
    struct backlog *backlog = userdata;
    CLEANUP(text_clear) struct text json = {0};

    learner_put_event(&json, model, event);
    if (text_failed(&json))
        return -ENOMEM;
    feed_put_message(backlog->text, event->kind, event->id, true, json.data);
    backlog->n++;
    return 0;
}

int learner_print_backlog(struct learner *learner, const struct event_filter *filter, size_t most,
                          struct text *text, size_t *ret_n, struct error *reterr)
{
    struct backlog backlog = {.text = text};

    const int r = event_log_after(learner->database, filter, most, put_message, &backlog);
    *ret_n = backlog.n;
    return r == -ENOMEM ? r : r < 0 ? learner_store_failed(r, reterr) : 0;
}
