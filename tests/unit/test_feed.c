/* What happens, for those who follow: service/feed.h. */
#include "service/feed.h"

#include "base/text.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct feed *feed;

static int begin(void **state)
{
    (void)state;
    return feed_new(&feed);
}

static int end(void **state)
{
    (void)state;
    feed_free(TAKE(feed));
    return 0;
}

static void publish(const char *model, const char *kind, uint64_t id)
{
    feed_publish(feed, model, kind, id, strdup("{}"));
}

static int read_next(uint64_t *place, const char *model, const char *kind, struct text *text)
{
    text_clear(text);
    return feed_read(feed, place, model, kind, text);
}

static void a_reader_gets_what_comes_after_its_place_in_order(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    publish("web", "drift", 1);
    uint64_t place = feed_end(feed);
    assert_int_equal(read_next(&place, NULL, NULL, &text), 0);
    publish("web", "incident", 5);
    publish("db", "promoted", 6);
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    assert_string_equal(text.data, "id: 5\nevent: incident\ndata: {}\n\n");
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    assert_string_equal(text.data, "id: 6\nevent: promoted\ndata: {}\n\n");
    assert_int_equal(read_next(&place, NULL, NULL, &text), 0);
}

static void what_is_not_asked_for_is_passed_over(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    uint64_t place = 0;

    publish("web", "drift", 1);
    publish("db", "incident", 2);
    publish("web", "incident", 3);
    assert_int_equal(read_next(&place, "web", "incident", &text), 1);
    assert_string_equal(text.data, "id: 3\nevent: incident\ndata: {}\n\n");
    publish("db", "incident", 4);
    assert_int_equal(read_next(&place, "web", NULL, &text), 0);
    assert_int_equal(place, feed_end(feed)); /* it need not look again */
}

static void ids_grow_along_the_stream(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    uint64_t place = 0, found = 42;

    publish("web", "incident", 7);
    publish("web", "incident", 9);
    publish("web", "incident", 7); /* it is over */
    place = 2;
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    assert_string_equal(text.data, "event: incident\ndata: {}\n\n");
    assert_true(feed_find(feed, 7, &found));
    assert_int_equal(found, 1);
    assert_true(feed_find(feed, 9, &found));
    assert_int_equal(found, 2);
    assert_false(feed_find(feed, 8, &found));
}

static void who_falls_behind_has_lost_its_place(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    uint64_t place = 0, found;

    for (uint64_t id = 1; id <= FEED_MOST_EVENTS; id++)
        publish("web", "drift", id);
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    place = 0;
    publish("web", "drift", FEED_MOST_EVENTS + 1);
    assert_int_equal(read_next(&place, NULL, NULL, &text), -ESTALE);
    assert_false(feed_find(feed, 1, &found));
    place = 1;
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
}

static void its_bytes_are_bounded(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    uint64_t place = 0;
    const size_t size = FEED_MOST_BYTES / 4;

    for (uint64_t id = 1; id <= 6; id++) {
        char *json = malloc(size + 1);
        assert_non_null(json);
        memset(json, 'x', size);
        json[size] = '\0';
        feed_publish(feed, "web", "drift", id, json);
    }
    assert_int_equal(read_next(&place, NULL, NULL, &text), -ESTALE);
    place = 2;
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    assert_int_equal(strncmp(text.data, "id: 3\n", 6), 0);
}

static void an_event_that_had_no_memory_is_as_if_missed(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    uint64_t place = 0, late = 0;

    publish("web", "drift", 1);
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
    feed_publish(feed, "web", "drift", 2, NULL);
    assert_int_equal(read_next(&place, NULL, NULL, &text), -ESTALE);
    assert_int_equal(read_next(&late, NULL, NULL, &text), -ESTALE);
    place = feed_end(feed);
    publish("web", "drift", 3);
    assert_int_equal(read_next(&place, NULL, NULL, &text), 1);
}

static void readers_are_woken_and_are_not_too_many(void **state)
{
    (void)state;
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eventfd_t n;

    for (int i = 0; i < FEED_MOST_READERS; i++)
        assert_int_equal(feed_join(feed, fd), 0);
    assert_int_equal(feed_join(feed, fd), -EAGAIN);
    publish("web", "drift", 1);
    assert_int_equal(eventfd_read(fd, &n), 0);
    assert_int_equal(n, FEED_MOST_READERS);
    feed_leave(feed, fd);
    assert_int_equal(feed_join(feed, fd), 0);
    for (int i = 0; i < FEED_MOST_READERS; i++)
        feed_leave(feed, fd);
    publish("web", "drift", 2);
    assert_true(eventfd_read(fd, &n) < 0);
    (void)close(fd);
}

#define N_PUBLISHED 20000

static void *publish_many(void *userdata)
{
    (void)userdata;
    for (uint64_t id = 1; id <= N_PUBLISHED; id++)
        publish("web", "drift", id);
    return NULL;
}

/* Two write, one reads: each event once, or it is told that it has lost some. */
static void threads_share_it(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    pthread_t threads[2];
    uint64_t place = 0, n_read = 0, n_lost = 0;

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, NULL), 0);
    while (place < 2 * N_PUBLISHED) {
        const uint64_t before = place;
        const int r = read_next(&place, NULL, NULL, &text);
        if (r == -ESTALE)
            place = feed_end(feed);
        n_lost += r == -ESTALE ? place - before : 0;
        n_read += r == 1;
    }
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(n_read + n_lost, 2 * N_PUBLISHED);
}

#define FEED_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FEED_TEST(a_reader_gets_what_comes_after_its_place_in_order),
        FEED_TEST(what_is_not_asked_for_is_passed_over),
        FEED_TEST(ids_grow_along_the_stream),
        FEED_TEST(who_falls_behind_has_lost_its_place),
        FEED_TEST(its_bytes_are_bounded),
        FEED_TEST(an_event_that_had_no_memory_is_as_if_missed),
        FEED_TEST(readers_are_woken_and_are_not_too_many),
        FEED_TEST(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
