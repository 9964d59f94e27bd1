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

void pupil_publish(struct pupil *pupil, const struct logged_event *event)
{
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(logged_event_clear) struct logged_event stored = {0};
    /* An incident that was put again has kept when it opened. */
    const bool is_read =
        strcmp(event->kind, "incident") == 0 &&
        event_log_get(pupil->learner->database, pupil->log.id, event->id, &stored) == 0;

    learner_put_event(&text, pupil->name, is_read ? &stored : event);
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
