#include "http/stream.h"

#include "base/clock.h"
#include "base/file.h"
#include "service/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define DROPPED                                                                                  \
    "event: dropped\ndata: {\"reason\":\"You read more slowly than events come; connect again, " \
    "with your last id as Last-Event-ID, to go on from there\"}\n\n"

int streams_init(struct streams *streams)
{
    LIST_INIT(&streams->list);
    streams->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return streams->event_fd < 0 ? -errno : 0;
}

void streams_clear(struct streams *streams)
{
    close_fd(&streams->event_fd);
}

void streams_acknowledge(struct streams *streams)
{
    eventfd_t n;

    (void)eventfd_read(streams->event_fd, &n);
}

void streams_end(struct streams *streams)
{
    streams->is_ending = true;
}

int stream_new(struct streams *streams, struct feed *feed, uint64_t place,
               struct stream **ret_stream)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return -ENOMEM;
    int r = feed_join(feed, streams->event_fd);
    if (r < 0) {
        free(stream);
        return r;
    }
    stream->owner = streams;
    stream->feed = feed;
    stream->place = place;
    stream->sent_us = clock_monotonic_us();
    text_puts(&stream->out, ": events of anomalyd\n\n"); /* the client sees that it is connected */
    LIST_INSERT_HEAD(&streams->list, stream, link);
    *ret_stream = stream;
    return 0;
}

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    feed_leave(stream->feed, stream->owner->event_fd);
    LIST_REMOVE(stream, link);
    text_clear(&stream->out);
    free(stream);
}

bool stream_is_due(const struct stream *stream, uint64_t now_us)
{
    return stream->sent < stream->out.length || stream->is_over || stream->owner->is_ending ||
           stream->place != feed_end(stream->feed) ||
           now_us >= stream->sent_us + STREAM_HEARTBEAT_US;
}

/* What is to be sent next, if there is anything. */
static void fill(struct stream *stream, uint64_t now_us)
{
    stream->out.length = stream->sent = 0;
    const int r = feed_read(stream->feed, &stream->place, *stream->model ? stream->model : NULL,
                            *stream->kind ? stream->kind : NULL, &stream->out);
    if (r == -ESTALE) {
        text_puts(&stream->out, DROPPED);
        stream->is_over = true;
    } else if (r == 0 && now_us >= stream->sent_us + STREAM_HEARTBEAT_US) {
        text_puts(&stream->out, ": still here\n\n");
    }
}

ssize_t stream_read(struct stream *stream, char *buffer, size_t size, uint64_t now_us)
{
    if (stream->sent == stream->out.length) {
        if (stream->is_over || stream->owner->is_ending)
            return -1;
        fill(stream, now_us);
    }
    if (text_failed(&stream->out))
        return -1;
    const size_t left = stream->out.length - stream->sent;
    const size_t n = left < size ? left : size;
    if (n == 0)
        return 0;
    memcpy(buffer, stream->out.data + stream->sent, n);
    stream->sent += n;
    stream->sent_us = now_us;
    return (ssize_t)n;
}
