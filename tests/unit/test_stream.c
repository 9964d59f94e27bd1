/* Answers without an end: http/stream.h. */
#include "http/stream.h"

#include "service/feed.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELLO ": events of anomalyd\n\n"

static struct feed *feed;
static struct streams streams;
static struct stream *stream;
static char seen[4096];

static int begin(void **state)
{
    (void)state;
    streams = (struct streams){.event_fd = -1};
    if (feed_new(&feed) < 0 || streams_init(&streams) < 0)
        return -1;
    return stream_new(&streams, feed, feed_end(feed), &stream);
}

static int end(void **state)
{
    (void)state;
    stream_free(TAKE(stream));
    assert_true(LIST_EMPTY(&streams.list));
    streams_clear(&streams);
    feed_free(TAKE(feed));
    return 0;
}

static void publish(uint64_t id)
{
    feed_publish(feed, "web", "drift", id, strdup("{}"));
}

/* All there is at that time; false: it is over. */
static bool read_all(uint64_t now_us, size_t piece)
{
    size_t length = 0;
    ssize_t n;

    while ((n = stream_read(stream, seen + length, piece, now_us)) > 0)
        length += (size_t)n;
    seen[length] = '\0';
    return n == 0;
}

static void the_client_sees_that_it_is_connected(void **state)
{
    (void)state;
    assert_true(stream_is_due(stream, stream->sent_us));
    assert_true(read_all(stream->sent_us, 100));
    assert_string_equal(seen, HELLO);
    assert_false(stream_is_due(stream, stream->sent_us));
}

static void events_come_whole_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 50; piece += 7) {
        publish(piece);
        publish(piece + 1);
        assert_true(stream_is_due(stream, stream->sent_us));
        assert_true(read_all(stream->sent_us, piece));
        assert_non_null(strstr(seen, "event: drift\ndata: {}\n\n"));
    }
}

static void only_what_was_asked_for_comes(void **state)
{
    (void)state;
    (void)read_all(stream->sent_us, 100);
    (void)strcpy(stream->kind, "incident");
    publish(1);
    assert_true(stream_is_due(stream, stream->sent_us));
    assert_true(read_all(stream->sent_us, 100));
    assert_string_equal(seen, "");
    assert_false(stream_is_due(stream, stream->sent_us));
}

static void a_comment_comes_where_nothing_else_did(void **state)
{
    (void)state;
    (void)read_all(stream->sent_us, 100);
    const uint64_t now_us = stream->sent_us + STREAM_HEARTBEAT_US;
    assert_false(stream_is_due(stream, now_us - 1));
    assert_true(stream_is_due(stream, now_us));
    assert_true(read_all(now_us, 100));
    assert_string_equal(seen, ": still here\n\n");
    assert_false(stream_is_due(stream, now_us + STREAM_HEARTBEAT_US - 1));
    publish(1);
    assert_true(read_all(now_us + STREAM_HEARTBEAT_US, 100));
    assert_null(strstr(seen, ": still here"));
}

static void a_slow_reader_is_told_and_dropped(void **state)
{
    (void)state;
    (void)read_all(stream->sent_us, 100);
    for (uint64_t id = 1; id <= FEED_MOST_EVENTS + 1; id++)
        publish(id);
    assert_false(read_all(stream->sent_us, 100));
    assert_int_equal(strncmp(seen, "event: dropped\ndata: {\"reason\":\"", 32), 0);
    assert_non_null(strstr(seen, "Last-Event-ID"));
    assert_true(stream_is_due(stream, stream->sent_us));
}

static void the_end_comes_between_messages(void **state)
{
    (void)state;
    publish(1);
    assert_int_equal(stream_read(stream, seen, 3, stream->sent_us), 3);
    streams_end(&streams);
    assert_true(stream_is_due(stream, stream->sent_us));
    assert_false(read_all(stream->sent_us, 100));
    assert_string_equal(seen, HELLO + 3);
}

static void more_than_may_follow_are_refused(void **state)
{
    (void)state;
    struct stream *others[FEED_MOST_READERS];
    size_t n = 0;
    int r;

    while ((r = stream_new(&streams, feed, 0, &others[n])) == 0)
        assert_in_range(++n, 1, FEED_MOST_READERS - 1);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(n, FEED_MOST_READERS - 1);
    stream_free(others[--n]);
    assert_int_equal(stream_new(&streams, feed, 0, &others[n]), 0);
    for (n++; n > 0;)
        stream_free(others[--n]);
}

static void without_memory_it_ends(void **state)
{
    (void)state;
    struct stream *other = NULL;

    alloc_fail_in = 0;
    assert_int_equal(stream_new(&streams, feed, 0, &other), -ENOMEM);
    alloc_fail_in = 1;
    assert_int_equal(stream_new(&streams, feed, 0, &other), 0);
    alloc_fail_in = -1;
    assert_int_equal(stream_read(other, seen, 10, 0), -1);
    stream_free(other);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(the_client_sees_that_it_is_connected),
        STREAM_TEST(events_come_whole_in_pieces_of_any_size),
        STREAM_TEST(only_what_was_asked_for_comes),
        STREAM_TEST(a_comment_comes_where_nothing_else_did),
        STREAM_TEST(a_slow_reader_is_told_and_dropped),
        STREAM_TEST(the_end_comes_between_messages),
        STREAM_TEST(more_than_may_follow_are_refused),
        STREAM_TEST(without_memory_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
