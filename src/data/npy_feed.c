#include "data/npy_feed.h"

#include "base/error.h"
#include "base/text.h"
#include "data/json_row.h"
#include "data/json_rows.h"
#include "data/npy.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct npy_feed {
    struct json_reader reader; /* for its checks; there is no text */
    struct json_rows rows;
    struct npy npy;
    bool has_header, has_wrong_columns;
    struct text bytes; /* that are not yet read from begin on */
    size_t begin;
    uint64_t n_header, n_wanted, n_taken; /* bytes: of the header, of values, of these that came */
    double *values;                       /* [n_columns] */
};

int npy_feed_new(const struct schema *schema, const struct preparation *preparation,
                 struct npy_feed **ret_feed)
{
    assert(schema && ret_feed);
    CLEANUP(npy_feed_freep) struct npy_feed *feed = calloc(1, sizeof(*feed));
    if (!feed)
        return -ENOMEM;
    json_reader_begin(&feed->reader, &feed->rows, schema, preparation);
    feed->reader.place = "";
    feed->rows.is_batch = true;
    feed->values = calloc(feed->reader.n_features, sizeof(*feed->values));
    if (!feed->values)
        return -ENOMEM;
    *ret_feed = TAKE(feed);
    return 0;
}

void npy_feed_free(struct npy_feed *feed)
{
    if (!feed)
        return;
    json_rows_clear(&feed->rows);
    text_clear(&feed->bytes);
    free(feed->values);
    free(feed);
}

struct json_rows *npy_feed_rows(struct npy_feed *feed)
{
    return &feed->rows;
}

size_t npy_feed_size(const struct npy_feed *feed)
{
    return sizeof(*feed) + feed->bytes.capacity + feed->reader.n_features * sizeof(*feed->values) +
           json_rows_size(&feed->rows);
}

int npy_feed_put(struct npy_feed *feed, const char *bytes, size_t n)
{
    struct text *text = &feed->bytes;

    if (feed->begin > 0) {
        text->length -= feed->begin;
        memmove(text->data, text->data + feed->begin, text->length);
        feed->begin = 0;
    }
    text_append(text, bytes, n);
    return text_failed(text) ? -ENOMEM : 0;
}

/* The body is no array. */
static int refuse(struct npy_feed *feed, uint64_t offset, const char *why)
{
    struct json_rows *rows = &feed->rows;

    rows->n_problems = 1;
    rows->problems[0].pointer[0] = '\0';
    (void)snprintf(rows->problems[0].detail, sizeof(rows->problems[0].detail), "%.*s",
                   (int)sizeof(rows->problems[0].detail) - 1, why);
    rows->offset = (size_t)offset;
    return -EBADMSG;
}

/* The array has not the model's columns: told at the end, like values that are wrong. */
static void check_columns(struct npy_feed *feed)
{
    feed->has_wrong_columns = feed->npy.n_columns != feed->reader.n_features;
    if (feed->has_wrong_columns) {
        feed->rows.is_batch = false; /* it is not the first row that is wrong */
        json_row_problem(&feed->reader, NULL, "the array has %zu column%s, but the model wants %zu",
                         feed->npy.n_columns, feed->npy.n_columns == 1 ? "" : "s",
                         feed->reader.n_features);
        feed->rows.is_batch = true;
    }
}

static int read_header(struct npy_feed *feed, bool is_end)
{
    struct error error = {0};
    size_t n_header = 0;

    int r = npy_begin("the body", feed->bytes.data ? feed->bytes.data : "", feed->bytes.length,
                      &feed->npy, &n_header, &feed->n_wanted, &error);
    if (r == -EAGAIN)
        return is_end ? refuse(feed, feed->bytes.length,
                               feed->bytes.length == 0 ? "the body is empty"
                                                       : "the body: the .npy file is cut off in "
                                                         "its header")
                      : 0;
    if (r == -ENODATA)
        return json_rows_refuse_none(&feed->rows);
    if (r < 0)
        return refuse(feed, 0, error.text);
    if (feed->npy.is_fortran)
        return refuse(feed, 0,
                      "the body: the array is stored column by column; save "
                      "numpy.ascontiguousarray(array)");
    feed->has_header = true;
    feed->n_header = feed->begin = n_header;
    check_columns(feed);
    return 0;
}

/* NaN or infinite. Without branches, for the compiler to vectorise. */
static unsigned count_unusual(const float *row, size_t n)
{
    unsigned n_unusual = 0;

    for (size_t i = 0; i < n; i++)
        n_unusual += !(fabsf(row[i]) <= FLT_MAX);
    return n_unusual;
}

/* One row of float32 as they are: false, and nothing is taken, if any wants a second look. */
static bool take_floats(struct npy_feed *feed, const char *items)
{
    struct json_rows *rows = &feed->rows;
    const size_t n = feed->reader.n_features;
    float *row = rows->rows + rows->n_rows * n;

    memcpy(row, items, n * sizeof(*row));
    if (feed->reader.has_problems || count_unusual(row, n) > 0)
        return false;
    rows->n_rows++;
    return true;
}

static int take_row(struct npy_feed *feed, const char *items)
{
    struct json_reader *reader = &feed->reader;
    const bool is_plain =
        !reader->preparation && feed->npy.item_size == sizeof(float) && !feed->npy.is_swapped;

    if (is_plain && take_floats(feed, items))
        return 0;
    npy_read_items(&feed->npy, items, reader->n_features, feed->values);
    return json_row_take(reader, feed->values);
}

/* Of an array with the wrong columns, however long its rows are. */
static void skip_values(struct npy_feed *feed)
{
    const uint64_t n_left = feed->n_wanted - feed->n_taken;
    const size_t n_there = feed->bytes.length - feed->begin;
    const size_t n = n_left < n_there ? (size_t)n_left : n_there;

    feed->begin += n;
    feed->n_taken += n;
}

/* At most `most` rows of those that are complete. */
static int take_rows(struct npy_feed *feed, size_t most)
{
    const size_t size = feed->reader.n_features * feed->npy.item_size;
    const size_t n_there = (feed->bytes.length - feed->begin) / size;
    int r = 0;

    if (!feed->reader.preparation)
        r = json_rows_reserve(&feed->rows,
                              (most < n_there ? most : n_there) * feed->reader.n_features);
    while (r == 0 && feed->rows.n_rows < most && feed->bytes.length - feed->begin >= size &&
           feed->n_taken + size <= feed->n_wanted) {
        r = take_row(feed, feed->bytes.data + feed->begin);
        feed->reader.instance++;
        feed->begin += size;
        feed->n_taken += size;
    }
    return r;
}

int npy_feed_read(struct npy_feed *feed, size_t most, bool is_end)
{
    struct error error = {0};

    feed->rows.n_rows = 0;
    int r = feed->has_header ? 0 : read_header(feed, is_end);
    if (r < 0 || !feed->has_header)
        return r;
    if (feed->has_wrong_columns)
        skip_values(feed);
    else
        r = take_rows(feed, most);
    if (r < 0 || feed->rows.n_rows > 0)
        return r;
    const uint64_t n_bytes = feed->n_taken + (feed->bytes.length - feed->begin);
    const uint64_t offset = feed->n_header + feed->n_taken;
    if (n_bytes > feed->n_wanted) /* how many more there are is not known yet */
        return refuse(feed, offset, "the body: something follows behind the array; send it alone");
    if (is_end && npy_check_length("the body", feed->n_wanted, n_bytes, &error) < 0)
        return refuse(feed, offset, error.text);
    return is_end && feed->reader.has_problems ? -EINVAL : 0;
}

int npy_rows_read(struct json_rows *rows, const struct schema *schema,
                  const struct preparation *preparation, const char *body, size_t size)
{
    CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;

    int r = npy_feed_new(schema, preparation, &feed);
    if (r == 0)
        r = npy_feed_put(feed, body, size);
    if (r == 0)
        r = npy_feed_read(feed, SIZE_MAX, true);
    const size_t n_rows = r == 0 ? feed->rows.n_rows : 0;
    if (n_rows > 0)
        r = npy_feed_read(feed, SIZE_MAX, true); /* whether that was the end */
    if (!feed)
        return r;
    feed->rows.n_rows = n_rows;
    const struct json_rows read = feed->rows; /* and what they replace goes with the feed */
    feed->rows = *rows;
    *rows = read;
    return r;
}
