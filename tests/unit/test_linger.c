#include "http/linger.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ret_fds[0] goes to the linger set, ret_fds[1] is the client. */
static void make_pair(int ret_fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ret_fds), 0);
}

/* Runs until no socket is left; every wait ends by itself within the linger time. */
static void run_to_the_end(struct linger_set *linger)
{
    while (linger_count(linger) > 0) {
        struct pollfd wanted = {.fd = linger_fd(linger), .events = POLLIN};
        (void)poll(&wanted, 1, linger_timeout_ms(linger));
        linger_run(linger);
    }
}

static void the_client_reads_the_answer_and_then_the_end(void **state)
{
    (void)state;
    CLEANUP(linger_freep) struct linger_set *linger = NULL;
    int fds[2];
    char bytes[8];

    assert_int_equal(linger_new(&linger), 0);
    make_pair(fds);
    assert_int_equal(write(fds[1], "request", 7), 7);
    assert_int_equal(write(fds[0], "answer", 6), 6);
    linger_add(linger, fds[0]);
    assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 6);
    assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 0);
    (void)close(fds[1]);
    run_to_the_end(linger);
}

static void input_is_thrown_away_while_the_client_still_sends(void **state)
{
    (void)state;
    CLEANUP(linger_freep) struct linger_set *linger = NULL;
    static const char piece[4096];
    int fds[2];

    assert_int_equal(linger_new(&linger), 0);
    make_pair(fds);
    linger_add(linger, fds[0]);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(write(fds[1], piece, sizeof(piece)), sizeof(piece));
        linger_run(linger);
        assert_int_equal(linger_count(linger), 1);
    }
    (void)close(fds[1]);
    linger_run(linger);
    assert_int_equal(linger_count(linger), 0);
}

static void a_client_that_never_closes_is_closed_after_a_second(void **state)
{
    (void)state;
    CLEANUP(linger_freep) struct linger_set *linger = NULL;
    int fds[2];

    assert_int_equal(linger_new(&linger), 0);
    assert_int_equal(linger_timeout_ms(linger), -1);
    make_pair(fds);
    linger_add(linger, fds[0]);
    assert_in_range(linger_timeout_ms(linger), 1, 1001);
    run_to_the_end(linger);
    assert_int_equal(send(fds[1], "x", 1, MSG_NOSIGNAL), -1);
    (void)close(fds[1]);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(linger_freep) struct linger_set *linger = NULL;
        alloc_fail_in = nth;
        r = linger_new(&linger);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

static void without_memory_the_socket_is_closed_at_once(void **state)
{
    (void)state;
    CLEANUP(linger_freep) struct linger_set *linger = NULL;
    int fds[2];
    char byte;

    assert_int_equal(linger_new(&linger), 0);
    make_pair(fds);
    alloc_fail_in = 0;
    linger_add(linger, fds[0]);
    alloc_fail_in = -1;
    assert_int_equal(linger_count(linger), 0);
    assert_int_equal(read(fds[1], &byte, 1), 0);
    (void)close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_reads_the_answer_and_then_the_end),
        cmocka_unit_test(input_is_thrown_away_while_the_client_still_sends),
        cmocka_unit_test(a_client_that_never_closes_is_closed_after_a_second),
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(without_memory_the_socket_is_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
