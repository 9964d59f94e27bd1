/* fuzz_npy - files of numpy: what is opened holds as many values as it says. A body that comes in
 * pieces is read as if it were there at once, and is none where the file is none. */
#include "data/json_rows.h"
#include "data/npy.h"
#include "data/npy_feed.h"
#include "data/schema.h"
#include "fuzz/fuzz.h"

#include <errno.h>

#define N_FEATURES 3
#define PIECE      37
#define MOST_ROWS  2

/* What has come; r of the whole, whose rows these have to be from *n_rows on. */
static int read_some(struct npy_feed *feed, bool is_end, int whole_r, const struct json_rows *whole,
                     size_t *n_rows)
{
    const struct json_rows *rows = npy_feed_rows(feed);
    const size_t size = N_FEATURES * sizeof(float);
    int r;

    do {
        r = npy_feed_read(feed, MOST_ROWS, is_end);
        must(r == 0 || r == -EINVAL || r == -EBADMSG);
        for (size_t i = 0; r == 0 && whole_r == 0 && i < rows->n_rows; i++, (*n_rows)++)
            must(*n_rows < whole->n_rows && memcmp(whole->rows + *n_rows * N_FEATURES,
                                                   rows->rows + i * N_FEATURES, size) == 0);
    } while (r == 0 && rows->n_rows > 0);
    return r;
}

/* 0, or why it is no body of rows. */
static int read_body(const struct schema *schema, const uint8_t *bytes, size_t size)
{
    CLEANUP(json_rows_clear) struct json_rows whole = {0};
    CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
    AUTO_FREE char *body = fuzz_block(bytes, size);
    size_t n_rows = 0;
    int r = 0;

    const int whole_r = npy_rows_read(&whole, schema, NULL, body, size);
    must(whole_r == 0 || ((whole_r == -EINVAL || whole_r == -EBADMSG) && whole.n_problems > 0));
    must(npy_feed_new(schema, NULL, &feed) == 0);
    for (size_t at = 0; at < size && r == 0; at += PIECE) {
        const size_t n = size - at < PIECE ? size - at : PIECE;
        AUTO_FREE char *block = fuzz_block(bytes + at, n);
        must(npy_feed_put(feed, block, n) == 0);
        r = read_some(feed, false, whole_r, &whole, &n_rows);
    }
    if (r == 0)
        r = read_some(feed, true, whole_r, &whole, &n_rows);
    must(r == whole_r && (r < 0 || n_rows == whole.n_rows));
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[N_FEATURES] = {"cpu", "mem", "net"};
    static struct schema *schema;
    CLEANUP(input_clear) struct input input = {0};
    static struct npy_slice slice;
    struct error error = {0};
    struct npy npy;
    size_t n = 0;

    fuzz_open_input(&input, bytes, size);
    input.chunk = 1 + size / 5;
    must(input_read(&input, 0, input.chunk, NULL) == 0);
    if (!schema)
        must(schema_new(names, N_FEATURES, &schema, NULL) == 0);
    const int body_r = read_body(schema, bytes, size);
    if (!npy_is(input.bytes, input.size)) {
        must(body_r == -EBADMSG);
        return 0;
    }
    int r = npy_open(&input, &npy, &error);
    must(r == 0 || (r == -EINVAL && error.text[0]));
    must(r == 0 || body_r < 0); /* -EINVAL: it has no rows */
    if (r < 0)
        return 0;
    must(body_r != 0 || (npy.n_columns == N_FEATURES && !npy.is_fortran));
    must(npy.n_rows > 0 && npy.n_columns > 0);
    while ((r = npy_next(&npy, &slice, &error)) > 0) {
        must(slice.n > 0 && slice.n <= NPY_MAX_SLICE);
        must(slice.row < npy.n_rows && slice.column < npy.n_columns);
        n += slice.n;
    }
    must(r == 0 && n == npy.n_rows * npy.n_columns);
    return 0;
}
