/* stream - an answer without an end: a client that follows what happens (service/feed.h), as
 * server-sent events.
 *
 * Whoever sends it asks for bytes; where there are none it puts the connection aside until
 * stream_is_due(). One worker thread. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"
#include "service/live.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct feed;

#define STREAM_HEARTBEAT_US 15000000ULL /* a comment, where nothing else was sent for so long */

struct stream {
    LIST_ENTRY(stream) link;
    struct streams *owner;
    struct feed *feed;
    void *connection;                        /* server.c: whose answer it is */
    bool is_aside;                           /* server.c: it waits until the stream is due */
    char model[LIVE_NAME_MAX + 1], kind[24]; /* that it is about; "": all */
    uint64_t place;                          /* in the feed */
    struct text out;                         /* on its way, from `sent` on */
    size_t sent;
    uint64_t sent_us;
    bool is_over; /* after what is on its way */
};

LIST_HEAD(stream_list, stream);

/* Those of one worker. From {.event_fd = -1}. */
struct streams {
    struct stream_list list;
    int event_fd; /* readable when something has happened */
    bool is_ending;
};
MUST_CHECK int streams_init(struct streams *streams);
void streams_clear(struct streams *streams); /* there are none any more */
void streams_acknowledge(struct streams *streams);
void streams_end(struct streams *streams); /* all are over, and due */

/* Of what comes from place on. -EAGAIN: too many follow already; -ENOMEM. */
MUST_CHECK int stream_new(struct streams *streams, struct feed *feed, uint64_t place,
                          struct stream **ret_stream);
void stream_free(struct stream *stream);
DEFINE_CLEANUP(struct stream *, stream_free)

/* Whether stream_read() has something to say. */
bool stream_is_due(const struct stream *stream, uint64_t now_us);
/* Bytes for buffer[size], size > 0; 0: there are none yet; -1: there will be none any more. */
ssize_t stream_read(struct stream *stream, char *buffer, size_t size, uint64_t now_us);
