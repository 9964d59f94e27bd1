/* json_feed - the rows of a body that comes in pieces: what json_rows_read() would read of the
 * whole, a few rows at a time, in memory that does not grow with it.
 *
 *     json_feed_put(feed, bytes, n)               for each piece, then as often as it brings rows
 *     json_feed_read(feed, most, false)
 *     json_feed_read(feed, most, true)            at the end, the same
 *
 * A piece may end anywhere. What is not complete is kept until it is: a row, or a key of the body
 * with its value. One thread at a time. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct json_feed;
struct json_rows;
struct preparation;
struct schema;

/* schema and preparation as for json_rows_read(); both outlive the feed. -ENOMEM. */
MUST_CHECK int json_feed_new(const struct schema *schema, const struct preparation *preparation,
                             struct json_feed **ret_feed);
void json_feed_free(struct json_feed *feed);
DEFINE_CLEANUP(struct json_feed *, json_feed_free)

/* No row, and no key with its value, is so long, in bytes: not one with n_features long names and
 * numbers. What is longer is refused before all of it is there, because it would be read in one go.
 */
#define JSON_FEED_MAX_STEP(n_features) (((size_t)1 << 20) + ((size_t)1024 * (n_features)))

/* Copies the next bytes of the body. -ENOMEM. */
MUST_CHECK int json_feed_put(struct json_feed *feed, const char *bytes, size_t n);

/* The next rows, at most `most`, in json_feed_rows() in place of those before; none: more bytes are
 * needed, or with is_end (the body is complete) all have been read. Options are all that have come
 * so far; is_batch holds from the first row on. Fails as json_rows_read() would: what is no body at
 * once, wrong features at the end, with offset, line and column as of the whole; the feed is of no
 * use then. */
MUST_CHECK int json_feed_read(struct json_feed *feed, size_t most, bool is_end);
struct json_rows *json_feed_rows(struct json_feed *feed);
/* Bytes that it keeps. */
size_t json_feed_size(const struct json_feed *feed);
