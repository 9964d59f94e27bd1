#include "data/npy_feed.h"

#include "data/json_rows.h"
#include "data/schema.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_FEATURES 3
#define N_ROWS     5
#define HEAD       128

static const char *const names[N_FEATURES] = {"cpu", "mem", "net"};
static struct schema *schema;
static char body[HEAD + N_ROWS * N_FEATURES * sizeof(double)];

static int set_up(void **state)
{
    (void)state;
    return schema_new(names, N_FEATURES, &schema, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    schema_free(schema);
    return 0;
}

/* As numpy.save() writes it: value i is i + 0.5, but for what the test wants otherwise. */
static size_t write_array(const char *type, const char *order, size_t n_columns,
                          const double *values)
{
    const size_t n = N_ROWS * n_columns;
    size_t at = HEAD;

    memset(body, ' ', HEAD);
    memcpy(body, "\x93NUMPY\x01\x00\x76\x00", 10);
    (void)snprintf(body + 10, HEAD - 10,
                   "{'descr': '%s', 'fortran_order': %s, 'shape': (%d, %zu), }", type, order,
                   N_ROWS, n_columns);
    body[strlen(body + 10) + 10] = ' ';
    body[HEAD - 1] = '\n';
    for (size_t i = 0; i < n; i++) {
        const double value = values ? values[i] : (double)i + 0.5;
        const float narrow = (float)value;
        if (type[2] == '4')
            memcpy(body + at, &narrow, sizeof(narrow));
        else
            memcpy(body + at, &value, sizeof(value));
        at += (size_t)(type[2] - '0');
    }
    return at;
}

/* In pieces of n bytes; rows[N_ROWS * N_FEATURES]. */
static int read_in_pieces(size_t size, size_t n, size_t most, float *rows, size_t *ret_n_rows,
                          struct npy_feed **ret_feed)
{
    struct npy_feed *feed = NULL;
    int r = npy_feed_new(schema, NULL, &feed);

    *ret_n_rows = 0;
    for (size_t begin = 0; r == 0; begin += n) {
        const bool is_end = begin >= size;
        const size_t n_bytes = is_end ? 0 : begin + n < size ? n : size - begin;
        AUTO_FREE char *piece = malloc(n_bytes + 1);
        assert_non_null(piece);
        memcpy(piece, body + (is_end ? 0 : begin), n_bytes);
        r = npy_feed_put(feed, piece, n_bytes);
        do {
            r = r < 0 ? r : npy_feed_read(feed, most, is_end);
            if (r < 0)
                break;
            const struct json_rows *read = npy_feed_rows(feed);
            if (read->n_rows > 0)
                memcpy(rows + *ret_n_rows * N_FEATURES, read->rows,
                       read->n_rows * N_FEATURES * sizeof(float));
            *ret_n_rows += read->n_rows;
        } while (npy_feed_rows(feed)->n_rows > 0);
        if (is_end)
            break;
    }
    *ret_feed = feed;
    return r;
}

static void an_array_may_come_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const char *const types[] = {"<f4", "<f8"};
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    for (size_t t = 0; t < 2; t++) {
        const size_t size = write_array(types[t], "False", N_FEATURES, NULL);
        for (size_t n = 1; n <= size; n++)
            for (size_t most = 1; most < 4; most += 2) {
                CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
                assert_int_equal(read_in_pieces(size, n, most, rows, &n_rows, &feed), 0);
                assert_int_equal(n_rows, N_ROWS);
                for (size_t i = 0; i < N_ROWS * N_FEATURES; i++)
                    assert_true(rows[i] == (float)i + 0.5F);
            }
    }
}

static void an_array_of_another_length_is_refused_with_its_place(void **state)
{
    (void)state;
    const size_t whole = write_array("<f4", "False", N_FEATURES, NULL);
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    for (size_t size = 0; size <= whole + 1; size++) {
        CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
        if (size == whole)
            continue;
        assert_int_equal(read_in_pieces(size, 7, 10, rows, &n_rows, &feed), -EBADMSG);
        const struct json_rows *read = npy_feed_rows(feed);
        assert_int_equal(read->n_problems, 1);
        assert_int_equal(read->line, 0);
        assert_true(read->offset <= size);
    }
}

static void what_follows_an_array_is_told_alike_however_it_comes(void **state)
{
    (void)state;
    const size_t size = write_array("<f4", "False", N_FEATURES, NULL) + 3;
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    for (size_t n = 1; n <= size; n++) {
        CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
        assert_int_equal(read_in_pieces(size, n, 10, rows, &n_rows, &feed), -EBADMSG);
        const struct json_rows *read = npy_feed_rows(feed);
        assert_int_equal(read->offset, size - 3);
        assert_string_equal(read->problems[0].detail,
                            "the body: something follows behind the array; send it alone");
    }
}

static void values_that_are_wrong_are_told_at_the_end(void **state)
{
    (void)state;
    double values[N_ROWS * N_FEATURES] = {0};
    CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    values[4] = (double)INFINITY;
    values[6] = values[7] = (double)NAN;
    values[14] = 1e39;
    const size_t size = write_array("<f8", "False", N_FEATURES, values);
    assert_int_equal(read_in_pieces(size, 10, 10, rows, &n_rows, &feed), -EINVAL);
    const struct json_rows *read = npy_feed_rows(feed);
    assert_int_equal(n_rows, 1);
    assert_int_equal(read->n_problems, 3);
    assert_string_equal(read->problems[0].pointer, "/1/1");
    assert_string_equal(read->problems[1].pointer, "/2");
    assert_string_equal(read->problems[2].pointer, "/4/2");
}

static void a_missing_value_is_nan(void **state)
{
    (void)state;
    double values[N_ROWS * N_FEATURES] = {0};
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    values[4] = (double)NAN;
    for (size_t t = 0; t < 2; t++) {
        CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
        const size_t size = write_array(t ? "<f4" : "<f8", "False", N_FEATURES, values);
        assert_int_equal(read_in_pieces(size, 1000, 10, rows, &n_rows, &feed), 0);
        assert_true(isnan(rows[4]) && rows[3] == 0.0F);
    }
}

static void columns_one_behind_the_other_are_refused(void **state)
{
    (void)state;
    CLEANUP(npy_feed_freep) struct npy_feed *feed = NULL;
    float rows[N_ROWS * N_FEATURES];
    size_t n_rows;

    const size_t size = write_array("<f4", "True", N_FEATURES, NULL);
    assert_int_equal(read_in_pieces(size, 1000, 10, rows, &n_rows, &feed), -EBADMSG);
    assert_non_null(strstr(npy_feed_rows(feed)->problems[0].detail, "ascontiguousarray"));
}

static void a_whole_array_is_read_at_once(void **state)
{
    (void)state;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};

    size_t size = write_array("<f4", "False", N_FEATURES, NULL);
    assert_int_equal(npy_rows_read(&rows, schema, NULL, body, size), 0);
    assert_int_equal(rows.n_rows, N_ROWS);
    assert_true(rows.is_batch && rows.rows[14] == 14.5F);
    assert_int_equal(npy_rows_read(&rows, schema, NULL, body, size - 1), -EBADMSG);
    size = write_array("<f4", "False", 2, NULL);
    assert_int_equal(npy_rows_read(&rows, schema, NULL, body, size), -EINVAL);
    assert_string_equal(rows.problems[0].pointer, "");
    assert_string_equal(rows.problems[0].detail, "the array has 2 columns, but the model wants 3");
}

static void memory_may_be_short(void **state)
{
    (void)state;
    const size_t size = write_array("<f4", "False", N_FEATURES, NULL);
    bool has_failed = true;

    for (int n = 0; has_failed; n++) {
        CLEANUP(json_rows_clear) struct json_rows rows = {0};
        alloc_fail_in = n;
        const int r = npy_rows_read(&rows, schema, NULL, body, size);
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        assert_int_equal(r, has_failed ? -ENOMEM : 0);
    }
}

#define with_schema(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_schema(an_array_may_come_in_pieces_of_any_size),
        with_schema(an_array_of_another_length_is_refused_with_its_place),
        with_schema(what_follows_an_array_is_told_alike_however_it_comes),
        with_schema(values_that_are_wrong_are_told_at_the_end),
        with_schema(a_missing_value_is_nan),
        with_schema(columns_one_behind_the_other_are_refused),
        with_schema(a_whole_array_is_read_at_once),
        with_schema(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
