/* The reader of whole bodies goes step by step; here a step that ends with the bytes is taken again
 * when there are twice as many. So whoever sends byte after byte makes each of them read twice, not
 * as often as there are bytes. */
#include "data/json_feed.h"

#include "data/json_row.h"
#include "data/json_rows.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct json_feed {
    struct json_reader reader;
    struct json_rows rows;
    char *bytes; /* [capacity]: from begin to end not yet read */
    size_t begin, end, capacity;
    size_t wanted;               /* so many make it worth another try */
    size_t offset, line, column; /* of begin in the body, from 0, 1, 1 */
};

int json_feed_new(const struct schema *schema, const struct preparation *preparation,
                  struct json_feed **ret_feed)
{
    assert(schema && ret_feed);
    struct json_feed *feed = calloc(1, sizeof(*feed));
    if (!feed)
        return -ENOMEM;
    json_reader_begin(&feed->reader, &feed->rows, schema, preparation);
    feed->line = feed->column = 1;
    *ret_feed = feed;
    return 0;
}

void json_feed_free(struct json_feed *feed)
{
    if (!feed)
        return;
    json_rows_clear(&feed->rows);
    free(feed->bytes);
    free(feed);
}

struct json_rows *json_feed_rows(struct json_feed *feed)
{
    return &feed->rows;
}

size_t json_feed_size(const struct json_feed *feed)
{
    return sizeof(*feed) + feed->capacity + json_rows_size(&feed->rows);
}

int json_feed_put(struct json_feed *feed, const char *bytes, size_t n)
{
    const size_t n_left = feed->end - feed->begin;

    if (feed->begin > 0)
        memmove(feed->bytes, feed->bytes + feed->begin, n_left);
    feed->begin = 0;
    feed->end = n_left;
    if (n > SIZE_MAX / 4 - n_left)
        return -ENOMEM;
    if (n_left + n > feed->capacity) {
        const size_t capacity = 2 * (n_left + n);
        char *larger = realloc(feed->bytes, capacity);
        if (!larger)
            return -ENOMEM;
        feed->bytes = larger;
        feed->capacity = capacity;
    }
    if (n > 0)
        memcpy(feed->bytes + n_left, bytes, n);
    feed->end += n;
    return 0;
}

/* ---- where in the body ---- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* How many bytes of x have their highest bit, the others of which are 0. */
static size_t count_marks(uint64_t x)
{
    return (size_t)((x >> 7) * EACH(1) >> 56);
}

/* How many bytes of x are 0; exact, unlike the well-known shorter way. */
static size_t count_zeros(uint64_t x)
{
    const uint64_t low = (x & EACH(0x7f)) + EACH(0x7f);

    return count_marks(~(low | x | EACH(0x7f)));
}

/* How many bytes of x go on a character of UTF-8, which another has begun. */
static size_t count_continuations(uint64_t x)
{
    return count_marks(x & ~(x << 1) & EACH(0x80));
}

static size_t count_lines(const char *bytes, size_t n)
{
    size_t lines = 0;
    uint64_t eight;

    for (; n >= sizeof(eight); bytes += sizeof(eight), n -= sizeof(eight)) {
        memcpy(&eight, bytes, sizeof(eight));
        lines += count_zeros(eight ^ EACH('\n'));
    }
    for (; n > 0; bytes++, n--)
        lines += *bytes == '\n';
    return lines;
}

static size_t count_characters(const char *bytes, size_t n)
{
    size_t characters = n;
    uint64_t eight;

    for (; n >= sizeof(eight); bytes += sizeof(eight), n -= sizeof(eight)) {
        memcpy(&eight, bytes, sizeof(eight));
        characters -= count_continuations(eight);
    }
    for (; n > 0; bytes++, n--)
        characters -= ((unsigned char)*bytes & 0xC0) == 0x80;
    return characters;
}

/* What is read counts, because it will not be there when something goes wrong behind it. */
static void pass(struct json_feed *feed, size_t n)
{
    const char *bytes = feed->bytes + feed->begin;
    const char *newline = n > 0 ? memrchr(bytes, '\n', n) : NULL;
    const char *line = newline ? newline + 1 : bytes;

    if (newline) {
        feed->line += count_lines(bytes, (size_t)(line - bytes));
        feed->column = 1;
    }
    feed->column += count_characters(line, (size_t)(bytes + n - line));
    feed->offset += n;
    feed->begin += n;
}

static void tell_place(struct json_feed *feed)
{
    struct json_rows *rows = &feed->rows;

    json_reader_tell_place(&feed->reader);
    rows->offset += feed->offset;
    rows->column += rows->line == 1 ? feed->column - 1 : 0;
    rows->line += feed->line - 1;
}

/* ---- reading ---- */

int json_feed_read(struct json_feed *feed, size_t most, bool is_end)
{
    struct json_reader *reader = &feed->reader;
    const char *bytes = feed->bytes ? feed->bytes + feed->begin : "";
    const size_t n = feed->end - feed->begin;
    bool needs_more;

    feed->rows.n_rows = 0;
    if (!is_end && n < feed->wanted)
        return 0;
    reader->text = (struct json_text){.begin = bytes, .at = bytes, .end = bytes + n};
    reader->is_whole = is_end;
    int r = json_reader_run(reader, most, &needs_more);
    if (r < 0) {
        if (r == -EBADMSG)
            tell_place(feed);
        return r;
    }
    const size_t n_read = (size_t)(reader->text.at - bytes);
    if (n_read > 0)
        pass(feed, n_read);
    feed->wanted = needs_more ? 2 * (n - n_read) : 0;
    if (needs_more && n - n_read > JSON_FEED_MAX_STEP(reader->n_features)) {
        r = json_row_refuse(reader, reader->text.at, NULL,
                            "what begins here is longer than any row can be");
        reader->text.begin = reader->text.at;
        tell_place(feed);
        return r;
    }
    return is_end && feed->rows.n_rows == 0 && reader->has_problems ? -EINVAL : 0;
}
