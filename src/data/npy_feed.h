/* npy_feed - the rows of a .npy array that comes in pieces, a few at a time: as data/json_feed.h,
 * which says how it is used. Columns are the values of the schema, in its order. Only C order:
 * columns that come one behind the other make no row before the end. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct json_rows;
struct npy_feed;
struct preparation;
struct schema;

/* schema and preparation as for json_rows_read(); both outlive the feed. -ENOMEM. */
MUST_CHECK int npy_feed_new(const struct schema *schema, const struct preparation *preparation,
                            struct npy_feed **ret_feed);
void npy_feed_free(struct npy_feed *feed);
DEFINE_CLEANUP(struct npy_feed *, npy_feed_free)

MUST_CHECK int npy_feed_put(struct npy_feed *feed, const char *bytes, size_t n);

/* 0, -ENOMEM; -EBADMSG: no .npy array of rows, or not all of it: one problem and .offset, no line;
 * -EINVAL, at the end: values or columns that the model does not take. */
MUST_CHECK int npy_feed_read(struct npy_feed *feed, size_t most, bool is_end);
struct json_rows *npy_feed_rows(struct npy_feed *feed);
/* Bytes that it keeps. */
size_t npy_feed_size(const struct npy_feed *feed);

/* All of a body that is there as a whole, as json_rows_read() fills rows. */
MUST_CHECK int npy_rows_read(struct json_rows *rows, const struct schema *schema,
                             const struct preparation *preparation, const char *body, size_t size);
