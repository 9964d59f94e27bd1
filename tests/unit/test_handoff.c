#include "http/handoff.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

static bool is_readable(const struct handoff *handoff)
{
    struct pollfd wanted = {.fd = handoff_fd(handoff), .events = POLLIN};
    return poll(&wanted, 1, 0) == 1;
}

static void sockets_come_out_in_their_order(void **state)
{
    (void)state;
    CLEANUP(handoff_freep) struct handoff *handoff = NULL;
    int fds[2], first, second;

    assert_int_equal(handoff_new(&handoff), 0);
    assert_int_equal(pipe(fds), 0);
    assert_false(is_readable(handoff));
    assert_int_equal(handoff_put(handoff, fds[0]), 0);
    assert_int_equal(handoff_put(handoff, fds[1]), 0);
    assert_true(is_readable(handoff));

    handoff_acknowledge(handoff);
    assert_false(is_readable(handoff));
    assert_true(handoff_take(handoff, &first));
    assert_true(handoff_take(handoff, &second));
    assert_false(handoff_take(handoff, &second));
    assert_int_equal(first, fds[0]);
    assert_int_equal(second, fds[1]);
    (void)close(first);
    (void)close(second);
}

static void waking_needs_no_socket(void **state)
{
    (void)state;
    CLEANUP(handoff_freep) struct handoff *handoff = NULL;
    int fd;

    assert_int_equal(handoff_new(&handoff), 0);
    handoff_wake(handoff);
    assert_true(is_readable(handoff));
    assert_false(handoff_take(handoff, &fd));
}

static void what_nobody_took_is_closed(void **state)
{
    (void)state;
    struct handoff *handoff;
    int fds[2];

    assert_int_equal(handoff_new(&handoff), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(handoff_put(handoff, fds[0]), 0);
    handoff_free(handoff);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    (void)close(fds[1]);
}

static void without_memory_the_socket_stays_the_callers(void **state)
{
    (void)state;
    CLEANUP(handoff_freep) struct handoff *handoff = NULL;
    int fds[2];

    alloc_fail_in = 0;
    assert_int_equal(handoff_new(&handoff), -ENOMEM);
    alloc_fail_in = -1;
    assert_int_equal(handoff_new(&handoff), 0);
    assert_int_equal(pipe(fds), 0);
    alloc_fail_in = 0;
    assert_int_equal(handoff_put(handoff, fds[0]), -ENOMEM);
    alloc_fail_in = -1;
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

#define N_SENT 2000

static void *put_many(void *handoff)
{
    for (int i = 0; i < N_SENT; i++)
        while (handoff_put(handoff, 1000000 + i) < 0)
            ;
    return NULL;
}

static void nothing_is_lost_between_two_threads(void **state)
{
    (void)state;
    CLEANUP(handoff_freep) struct handoff *handoff = NULL;
    pthread_t sender;
    int taken = 0, fd;

    assert_int_equal(handoff_new(&handoff), 0);
    assert_int_equal(pthread_create(&sender, NULL, put_many, handoff), 0);
    while (taken < N_SENT) {
        struct pollfd wanted = {.fd = handoff_fd(handoff), .events = POLLIN};
        assert_int_equal(poll(&wanted, 1, 10000), 1);
        handoff_acknowledge(handoff);
        while (handoff_take(handoff, &fd))
            assert_int_equal(fd, 1000000 + taken++);
    }
    (void)pthread_join(sender, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_come_out_in_their_order),
        cmocka_unit_test(waking_needs_no_socket),
        cmocka_unit_test(what_nobody_took_is_closed),
        cmocka_unit_test(without_memory_the_socket_stays_the_callers),
        cmocka_unit_test(nothing_is_lost_between_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
