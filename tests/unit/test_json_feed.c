#include "data/json_feed.h"

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
#define MOST_ROWS  64

static const char *const names[N_FEATURES] = {"cpu", "mem", "größe"};

/* Whatever can stand in a body, and what is wrong in each of its places. */
static const char *const bodies[] = {
    "[1,2,3]",
    " [ 1 , -2.5e-3 , null ] \n",
    "{\"features\":[1,2,3]}",
    "{\"features\":{\"cpu\":1,\"mem\":2,\"größe\":3}}",
    "{\"features\":{\"c\\u0070u\":1,\"gr\\u00f6\\u00dfe\":3},\"series\":\"\\ud83d\\ude00 a\"}",
    "{\"instances\":[[1,2,3],[4,5,6],[7,8,9]]}",
    "{\"top\":12,\"instances\":[[1,2,3],{\"cpu\":4,\"mem\":5}],\"learn\":false,\"explain\":"
    "\"all\"}",
    "{\"instances\":[\n[1,2,3],\n[4,5,6]\n],\n\"timestamp\":1709292600.25}",
    "{\"instances\":[[0.1,1e-400,3.4e38],[123456789012345678901234567890,1e5,-0]]}",
    "{ \"series\" : null , \"instances\" : [ [ 1 , 2 , 3 ] ] , \"top\" : 3 }  ",
    "{\"instances\":[[1,2,3],[4,5,6],[7,8,9],[10,11,12],[13,14,15],[16,17,18]],\"top\":77}",
    /* no body */
    "",
    "   ",
    "{}",
    "{\"top\":3}",
    "7",
    "\"rows\"",
    "\xEF\xBB\xBF[1,2,3]",
    "[1,2,3]]",
    "[1,2,3] x",
    "[1,2,3",
    "[1,2,",
    "[[1,2,3]]",
    "{\"features\":[1,2,3]",
    "{\"features\":[1,2,3],}",
    "{\"features\":[1,2,3]}\xff",
    "{\"features\":7}",
    "{\"features\":[1,2,3],\"features\":[1,2,3]}",
    "{\"features\":[1,2,3],\"instances\":[]}",
    "{\"instances\":[[1,2,3]],\"features\":[1,2,3]}",
    "{\"instances\":[[1,2,3] [4,5,6]]}",
    "{\"instances\":[1,2,3]}",
    "{\"instances\":[[1,2,3],7]}",
    "{\"instances\":{}}",
    "{\"instances\":[[1,2,3],[4,5,01]]}",
    "{\"instances\":[[1,2,3],\n[4,5,+1]]}",
    "{\"größe\":1,\n\"\xc3\xa9\xc3\xa9\":[],\"instances\":[]}",
    "{\"instances\":[[1,2,3],[4,5,1e999],[7,8,9]]}",
    "{\"instances\":[[1,2,3],[4,nul,6]]}",
    "{\"instances\":[[1,2,3],{\"cpu\":1,\"mem\":2,\"gr\xc3\x28\":3}]}",
    "{\"instances\":[[1,2,3]],\"top\":[1]}",
    "{\"instances\":[[1,2,3]],\"top\":1,\"top\":2}",
    "{\"instances\":[[1,2,3]],\"a name that is much too long for an option\":1}",
    "{\"instances\":[[1,2,3]],\"series\":\"\\ud800 alone\"}",
    "{\"instances\":[[1,2,3]],\"series\":\"\\u0000\"}",
    "{\"instances\":[[1,2,3]],\"series\":\"a\\qb\"}",
    "{\"instances\":[[1,2,3]],\"series\":\"a\nb\"}",
    "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"instances\":[]}",
    /* a body, of other features */
    "{\"instances\":[]}",
    "[1,2]",
    "{\"instances\":[[1,2,3],[1,2],[1,2,3,4],[\"a\",2,3],[1,[2],3],[{},2,true]]}",
    "{\"instances\":[[1,2,3],{\"cpu\":1,\"men\":2},{\"cpu\":1,\"cpu\":2,\"mem\":3}]}",
    "{\"instances\":[[1,2,3],[null,null,3],[1e39,2,3]],\"top\":5}",
    "{\"instances\":[[1,2],[1],[1],[1],[1],[1],[1],[1],[1],[1],[1]]}",
    "{\"instances\":[[1,2],[3,4]],\"top\":5} nothing may follow",
    "{\"instances\":[[1000000000000000000000000000000000000000000000000,2,3]]}",
};

#define N_BODIES (sizeof(bodies) / sizeof(*bodies))

/* What a reading has brought. */
struct outcome {
    int r;
    float rows[MOST_ROWS * N_FEATURES];
    size_t n_rows;
    struct json_rows rest; /* options and problems */
};

static struct schema *schema;

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

static void keep(struct outcome *outcome, const struct json_rows *rows)
{
    const size_t n = outcome->n_rows + rows->n_rows;

    assert_true(n <= MOST_ROWS);
    if (rows->n_rows > 0)
        memcpy(outcome->rows + outcome->n_rows * N_FEATURES, rows->rows,
               rows->n_rows * N_FEATURES * sizeof(float));
    outcome->n_rows = n;
}

static void read_whole(const char *body, size_t size, struct outcome *outcome)
{
    CLEANUP(json_rows_clear) struct json_rows rows = {0};

    *outcome = (struct outcome){.r = json_rows_read(&rows, schema, NULL, body, size)};
    if (outcome->r == 0)
        keep(outcome, &rows);
    outcome->rest = rows;
}

/* Reads what has come, at most `most` rows at a time. */
static int read_rows(struct json_feed *feed, size_t most, bool is_end, struct outcome *outcome)
{
    int r;

    do {
        r = json_feed_read(feed, most, is_end);
        if (r == 0)
            keep(outcome, json_feed_rows(feed));
    } while (r == 0 && json_feed_rows(feed)->n_rows > 0);
    return r;
}

/* ends[n_pieces]: where the pieces end; each is copied to memory of its own size, for sanitizers.
 */
static void read_pieces(const char *body, const size_t *ends, size_t n_pieces, size_t most,
                        struct outcome *outcome)
{
    CLEANUP(json_feed_freep) struct json_feed *feed = NULL;
    size_t begin = 0;
    int r = json_feed_new(schema, NULL, &feed);

    assert_int_equal(r, 0);
    *outcome = (struct outcome){0};
    for (size_t i = 0; i < n_pieces && r == 0; begin = ends[i++]) {
        const size_t n = ends[i] - begin;
        AUTO_FREE char *piece = malloc(n + 1);
        assert_non_null(piece);
        memcpy(piece, body + begin, n);
        assert_int_equal(json_feed_put(feed, piece, n), 0);
        r = read_rows(feed, most, false, outcome);
    }
    if (r == 0)
        r = read_rows(feed, most, true, outcome);
    outcome->r = r;
    outcome->rest = *json_feed_rows(feed);
}

static void assert_same(const struct outcome *whole, const struct outcome *pieces)
{
    const struct json_rows *a = &whole->rest, *b = &pieces->rest;

    assert_int_equal(whole->r, pieces->r);
    if (whole->r == 0) {
        assert_int_equal(whole->n_rows, pieces->n_rows);
        assert_int_equal(a->is_batch, b->is_batch);
        for (size_t i = 0; i < whole->n_rows * N_FEATURES; i++)
            assert_true(whole->rows[i] == pieces->rows[i] ||
                        (isnan(whole->rows[i]) && isnan(pieces->rows[i])));
        assert_int_equal(a->n_options, b->n_options);
        for (size_t i = 0; i < a->n_options; i++) {
            assert_int_equal(a->options[i].kind, b->options[i].kind);
            assert_string_equal(a->options[i].name, b->options[i].name);
            assert_string_equal(a->options[i].value, b->options[i].value);
        }
        return;
    }
    assert_int_equal(a->n_problems, b->n_problems);
    for (size_t i = 0; i < a->n_problems; i++) {
        assert_string_equal(a->problems[i].pointer, b->problems[i].pointer);
        assert_string_equal(a->problems[i].detail, b->problems[i].detail);
    }
    if (whole->r == -EBADMSG) {
        assert_int_equal(a->offset, b->offset);
        assert_int_equal(a->line, b->line);
        assert_int_equal(a->column, b->column);
    }
}

static void a_body_may_be_cut_at_every_byte(void **state)
{
    (void)state;
    static struct outcome whole, pieces;

    for (size_t i = 0; i < N_BODIES; i++) {
        const size_t size = strlen(bodies[i]);
        read_whole(bodies[i], size, &whole);
        for (size_t cut = 0; cut <= size; cut++)
            for (size_t most = 1; most <= MOST_ROWS; most += MOST_ROWS - 1) {
                read_pieces(bodies[i], (const size_t[]){cut, size}, 2, most, &pieces);
                assert_same(&whole, &pieces);
            }
    }
}

static void a_body_may_come_byte_by_byte(void **state)
{
    (void)state;
    static struct outcome whole, pieces;
    size_t ends[512];

    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
        ends[i] = i + 1;
    for (size_t i = 0; i < N_BODIES; i++) {
        const size_t size = strlen(bodies[i]);
        assert_true(size <= 512);
        read_whole(bodies[i], size, &whole);
        read_pieces(bodies[i], ends, size, 2, &pieces);
        assert_same(&whole, &pieces);
    }
}

/* What a text is told apart by when it is not all there: each prefix is a body of its own. */
static void a_body_that_ends_too_early_is_told_like_a_whole_one(void **state)
{
    (void)state;
    static struct outcome whole, pieces;

    for (size_t i = 0; i < N_BODIES; i++)
        for (size_t size = 0; size < strlen(bodies[i]); size++) {
            read_whole(bodies[i], size, &whole);
            read_pieces(bodies[i], (const size_t[]){size / 2, size}, 2, MOST_ROWS, &pieces);
            assert_same(&whole, &pieces);
        }
}

static void rows_come_as_soon_as_they_are_complete(void **state)
{
    (void)state;
    CLEANUP(json_feed_freep) struct json_feed *feed = NULL;
    static const char first[] = "{\"instances\":[[1,2,3],[4,5,6],[7,8,9", second[] = ",[0]";

    assert_int_equal(json_feed_new(schema, NULL, &feed), 0);
    assert_int_equal(json_feed_put(feed, first, strlen(first)), 0);
    assert_int_equal(json_feed_read(feed, 10, false), 0);
    assert_int_equal(json_feed_rows(feed)->n_rows, 2);
    assert_true(json_feed_rows(feed)->is_batch);
    assert_int_equal(json_feed_read(feed, 10, false), 0);
    assert_int_equal(json_feed_rows(feed)->n_rows, 0);
    assert_int_equal(json_feed_put(feed, second, strlen(second)), 0);
    assert_int_equal(json_feed_read(feed, 10, true), -EBADMSG);
}

/* The memory of a feed is that of a piece and of a row. */
static void a_long_body_takes_no_more_memory_than_its_pieces(void **state)
{
    (void)state;
    CLEANUP(json_feed_freep) struct json_feed *feed = NULL;
    static const char row[] = "[1.5,2.5,3.5],";
    size_t n_rows = 0;

    assert_int_equal(json_feed_new(schema, NULL, &feed), 0);
    assert_int_equal(json_feed_put(feed, "{\"instances\":[", 14), 0);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(json_feed_put(feed, row, strlen(row)), 0);
        assert_int_equal(json_feed_read(feed, 10, false), 0);
        n_rows += json_feed_rows(feed)->n_rows;
        assert_true(json_feed_rows(feed)->capacity <= (size_t)20 * N_FEATURES);
    }
    assert_int_equal(n_rows, 100000);
    assert_int_equal(json_feed_put(feed, "[1,2,3]]}", 9), 0);
    assert_int_equal(json_feed_read(feed, 10, true), 0);
    assert_int_equal(json_feed_rows(feed)->n_rows, 1);
}

static void memory_may_be_short(void **state)
{
    (void)state;
    bool has_failed = true;

    for (int n = 0; has_failed; n++) {
        CLEANUP(json_feed_freep) struct json_feed *feed = NULL;
        alloc_fail_in = n;
        int r = json_feed_new(schema, NULL, &feed);
        if (r == 0)
            r = json_feed_put(feed, "[1,2,3]", 7);
        if (r == 0)
            r = json_feed_read(feed, 10, true);
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        assert_int_equal(r, has_failed ? -ENOMEM : 0);
    }
}

static void a_line_of_ndjson_is_appended(void **state)
{
    (void)state;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    static const char *const lines[] = {"[1,2,3]", "{\"features\":{\"cpu\":4,\"mem\":5}}",
                                        "{\"features\":[6,7,8],\"series\":\"a\"}"};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_rows_read_line(&rows, schema, NULL, lines[i], strlen(lines[i])), 0);
        assert_int_equal(rows.n_rows, i + 1);
        assert_int_equal(rows.n_options, i == 2);
    }
    assert_true(rows.rows[0] == 1.0F && rows.rows[4] == 5.0F && rows.rows[8] == 8.0F);
    assert_true(isnan(rows.rows[5]));
}

static void a_bad_line_leaves_the_rows_before_it(void **state)
{
    (void)state;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    static const char batch[] = "{\"instances\":[[1,2,3]]}";

    assert_int_equal(json_rows_read_line(&rows, schema, NULL, "[1,2,3]", 7), 0);
    assert_int_equal(json_rows_read_line(&rows, schema, NULL, "[4,5]", 5), -EINVAL);
    assert_int_equal(rows.n_rows, 1);
    assert_int_equal(json_rows_read_line(&rows, schema, NULL, batch, strlen(batch)), -EBADMSG);
    assert_string_equal(rows.problems[0].detail,
                        "\"instances\" is for bodies of JSON: a line is one row");
    assert_int_equal(rows.n_rows, 1);
    assert_true(rows.rows[0] == 1.0F);
}

#define with_schema(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_schema(a_body_may_be_cut_at_every_byte),
        with_schema(a_body_may_come_byte_by_byte),
        with_schema(a_body_that_ends_too_early_is_told_like_a_whole_one),
        with_schema(rows_come_as_soon_as_they_are_complete),
        with_schema(a_long_body_takes_no_more_memory_than_its_pieces),
        with_schema(memory_may_be_short),
        with_schema(a_line_of_ndjson_is_appended),
        with_schema(a_bad_line_leaves_the_rows_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
