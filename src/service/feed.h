/* feed - what happens to the models, for those who follow it: a ring of the newest events, in which
 * each reader has its own place.
 *
 * Nobody waits for a reader: one that falls behind by more than the ring holds has lost its place.
 * Any thread. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed;
struct text;

#define FEED_MOST_EVENTS  8192 /* that a reader may be behind, as long as they have */
#define FEED_MOST_BYTES   ((size_t)16 << 20)
#define FEED_MOST_READERS 64

MUST_CHECK int feed_new(struct feed **ret_feed);
void feed_free(struct feed *feed); /* there are no readers any more */
DEFINE_CLEANUP(struct feed *, feed_free)

/* json: one line, from malloc(), taken over; NULL: there was no memory, and readers are as if they
 * had been too slow. Never blocks for long. */
void feed_publish(struct feed *feed, const char *model, const char *kind, uint64_t id, char *json);

/* Each event that comes from here on writes to this eventfd. -EAGAIN: there are
 * FEED_MOST_READERS. */
MUST_CHECK int feed_join(struct feed *feed, int event_fd);
void feed_leave(struct feed *feed, int event_fd); /* once for each time it joined */

uint64_t feed_end(struct feed *feed); /* the place of the next event */
/* The place behind the event of that id. False: it is not known any more, or not yet. */
bool feed_find(struct feed *feed, uint64_t id, uint64_t *ret_place);

/* The next event from *place on, of that model and kind (NULL: any), is appended as a message of a
 * stream of server-sent events, and *place moves behind it. 1: one was; 0: there is none; -ESTALE:
 * the place is lost. */
MUST_CHECK int feed_read(struct feed *feed, uint64_t *place, const char *model, const char *kind,
                         struct text *text);

/* One message. An event that changes (an incident that ends) comes again under its id. is_new: ids
 * grow along a stream, so that a reader that says its last one can go on from there. */
void feed_put_message(struct text *text, const char *kind, uint64_t id, bool is_new,
                      const char *json);
