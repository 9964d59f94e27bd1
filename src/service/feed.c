#include "service/feed.h"

#include "base/text.h"
#include "service/live.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct fed_event {
    char model[LIVE_NAME_MAX + 1], kind[24];
    uint64_t id;
    bool is_new; /* no id before it was larger */
    char *json;
};

struct feed {
    pthread_mutex_t lock; /* held for moves and copies */
    struct fed_event events[FEED_MOST_EVENTS];
    uint64_t first, end; /* events[first..end), each modulo FEED_MOST_EVENTS */
    size_t n_bytes;
    uint64_t last_id;
    int readers[FEED_MOST_READERS]; /* [n_readers] */
    size_t n_readers;
};

int feed_new(struct feed **ret_feed)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    if (!feed)
        return -ENOMEM;
    (void)pthread_mutex_init(&feed->lock, NULL); /* cannot fail with default attributes */
    *ret_feed = feed;
    return 0;
}

static struct fed_event *event_at(struct feed *feed, uint64_t place)
{
    return &feed->events[place % FEED_MOST_EVENTS];
}

static void drop_oldest(struct feed *feed)
{
    struct fed_event *oldest = event_at(feed, feed->first++);

    feed->n_bytes -= strlen(oldest->json);
    free(oldest->json);
    *oldest = (struct fed_event){0};
}

void feed_free(struct feed *feed)
{
    if (!feed)
        return;
    while (feed->first < feed->end)
        drop_oldest(feed);
    (void)pthread_mutex_destroy(&feed->lock);
    free(feed);
}

/* Under the lock. */
static void add(struct feed *feed, const char *model, const char *kind, uint64_t id, char *json)
{
    const size_t size = strlen(json);

    while (feed->end - feed->first == FEED_MOST_EVENTS ||
           (feed->first < feed->end && feed->n_bytes + size > FEED_MOST_BYTES))
        drop_oldest(feed);
    struct fed_event *event = event_at(feed, feed->end++);
    (void)snprintf(event->model, sizeof(event->model), "%s", model);
    (void)snprintf(event->kind, sizeof(event->kind), "%s", kind);
    event->id = id;
    event->is_new = id > feed->last_id;
    event->json = json;
    feed->n_bytes += size;
    if (event->is_new)
        feed->last_id = id;
}

void feed_publish(struct feed *feed, const char *model, const char *kind, uint64_t id, char *json)
{
    (void)pthread_mutex_lock(&feed->lock);
    if (json) {
        add(feed, model, kind, id, json);
    } else {
        while (feed->first < feed->end)
            drop_oldest(feed);
        feed->first = ++feed->end; /* nobody has got what was there */
    }
    for (size_t i = 0; i < feed->n_readers; i++)
        (void)eventfd_write(feed->readers[i], 1);
    (void)pthread_mutex_unlock(&feed->lock);
}

int feed_join(struct feed *feed, int event_fd)
{
    (void)pthread_mutex_lock(&feed->lock);
    const bool is_in = feed->n_readers < FEED_MOST_READERS;
    if (is_in)
        feed->readers[feed->n_readers++] = event_fd;
    (void)pthread_mutex_unlock(&feed->lock);
    return is_in ? 0 : -EAGAIN;
}

void feed_leave(struct feed *feed, int event_fd)
{
    (void)pthread_mutex_lock(&feed->lock);
    for (size_t i = 0; i < feed->n_readers; i++) {
        if (feed->readers[i] != event_fd)
            continue;
        feed->readers[i] = feed->readers[--feed->n_readers];
        break;
    }
    (void)pthread_mutex_unlock(&feed->lock);
}

uint64_t feed_end(struct feed *feed)
{
    (void)pthread_mutex_lock(&feed->lock);
    const uint64_t end = feed->end;
    (void)pthread_mutex_unlock(&feed->lock);
    return end;
}

bool feed_find(struct feed *feed, uint64_t id, uint64_t *ret_place)
{
    bool is_found = false;

    (void)pthread_mutex_lock(&feed->lock);
    for (uint64_t place = feed->first; place < feed->end && !is_found; place++) {
        const struct fed_event *event = event_at(feed, place);
        is_found = event->is_new && event->id == id;
        if (is_found)
            *ret_place = place + 1;
    }
    (void)pthread_mutex_unlock(&feed->lock);
    return is_found;
}

static bool is_wanted(const struct fed_event *event, const char *model, const char *kind)
{
    return (!model || strcmp(event->model, model) == 0) &&
           (!kind || strcmp(event->kind, kind) == 0);
}

int feed_read(struct feed *feed, uint64_t *place, const char *model, const char *kind,
              struct text *text)
{
    int r = 0;

    (void)pthread_mutex_lock(&feed->lock);
    if (*place < feed->first)
        r = -ESTALE;
    while (r == 0 && *place < feed->end) {
        const struct fed_event *event = event_at(feed, (*place)++);
        if (!is_wanted(event, model, kind))
            continue;
        feed_put_message(text, event->kind, event->id, event->is_new, event->json);
        r = 1;
    }
    (void)pthread_mutex_unlock(&feed->lock);
    return r;
}

void feed_put_message(struct text *text, const char *kind, uint64_t id, bool is_new,
                      const char *json)
{
    if (is_new)
        text_printf(text, "id: %" PRIu64 "\n", id);
    text_printf(text, "event: %s\ndata: ", kind);
    text_puts(text, json);
    text_puts(text, "\n\n");
}
