/* fuzz_json_feed - a body that comes in pieces is read as if it were there at once: the same rows
 * to the bit, the same options, the same problems at the same place.
 *
 * The first byte says how long the pieces are, the second how many rows are read at a time; 'l' in
 * place of both: the rest is NDJSON, which is there as a whole. */
#include "data/json_feed.h"
#include "data/json_lines.h"
#include "data/json_rows.h"
#include "data/schema.h"
#include "fuzz/fuzz.h"

#include <errno.h>

#define N_FEATURES 3

/* The next rows have to be those of the whole from *n_rows on; how many there are. */
static size_t check_rows(const struct json_rows *whole, const struct json_rows *rows,
                         size_t n_before)
{
    const size_t size = N_FEATURES * sizeof(float);

    must(n_before + rows->n_rows <= whole->n_rows);
    for (size_t i = 0; i < rows->n_rows; i++)
        must(memcmp(whole->rows + (n_before + i) * N_FEATURES, rows->rows + i * N_FEATURES, size) ==
             0);
    return rows->n_rows;
}

static int read_some(struct json_feed *feed, size_t most, bool is_end, int whole_r,
                     const struct json_rows *whole, size_t *n_rows)
{
    const struct json_rows *rows = json_feed_rows(feed);
    int r;

    do {
        r = json_feed_read(feed, most, is_end);
        must(r == 0 || r == -EINVAL || r == -EBADMSG);
        must(r < 0 || rows->n_rows <= most);
        if (r == 0 && whole_r == 0)
            *n_rows += check_rows(whole, rows, *n_rows);
    } while (r == 0 && rows->n_rows > 0);
    return r;
}

static void check_same(int r, const struct json_rows *a, const struct json_rows *b)
{
    must(a->n_problems == b->n_problems);
    for (size_t i = 0; i < a->n_problems; i++)
        must(strcmp(a->problems[i].pointer, b->problems[i].pointer) == 0 &&
             strcmp(a->problems[i].detail, b->problems[i].detail) == 0);
    if (r == -EBADMSG)
        must(a->offset == b->offset && a->line == b->line && a->column == b->column);
    if (r < 0)
        return;
    must(a->is_batch == b->is_batch && a->n_options == b->n_options);
    for (size_t i = 0; i < a->n_options; i++)
        must(a->options[i].kind == b->options[i].kind &&
             strcmp(a->options[i].name, b->options[i].name) == 0 &&
             strcmp(a->options[i].value, b->options[i].value) == 0);
}

static void check_pieces(const struct schema *schema, const uint8_t *bytes, size_t size,
                         size_t piece, size_t most)
{
    CLEANUP(json_rows_clear) struct json_rows whole = {0};
    CLEANUP(json_feed_freep) struct json_feed *feed = NULL;
    AUTO_FREE char *body = fuzz_block(bytes, size);
    size_t n_rows = 0;
    int r = 0;

    const int whole_r = json_rows_read(&whole, schema, NULL, body, size);
    must(json_feed_new(schema, NULL, &feed) == 0);
    for (size_t at = 0; at < size && r == 0; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        AUTO_FREE char *block = fuzz_block(bytes + at, n);
        must(json_feed_put(feed, block, n) == 0);
        r = read_some(feed, most, false, whole_r, &whole, &n_rows);
    }
    if (r == 0)
        r = read_some(feed, most, true, whole_r, &whole, &n_rows);
    must(r == whole_r && (r < 0 || n_rows == whole.n_rows));
    check_same(r, &whole, json_feed_rows(feed));
}

static void check_lines(const struct schema *schema, const uint8_t *bytes, size_t size)
{
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    AUTO_FREE char *body = fuzz_block(bytes, size);

    const int r = json_lines_read(&rows, schema, NULL, body, size);
    must(r == 0 || ((r == -EINVAL || r == -EBADMSG) && rows.n_problems > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[N_FEATURES] = {"cpu", "mem", "größe"};
    static struct schema *schema;

    if (!schema)
        must(schema_new(names, N_FEATURES, &schema, NULL) == 0);
    if (size > 0 && bytes[0] == 'l')
        check_lines(schema, bytes + 1, size - 1);
    else if (size > 2)
        check_pieces(schema, bytes + 2, size - 2, 1 + bytes[0] % 100, 1 + bytes[1] % 8);
    return 0;
}
