#include "http/deadline.h"

#include "support/cmocka.h"

#define S 1000000ULL

static void a_head_has_the_request_timeout_in_all(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_HEAD, 5 * S);
    assert_int_equal(deadline_check(&deadline, 15 * S - 1, 10 * S, 0), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 15 * S, 10 * S, 0), DEADLINE_TIMEOUT);
}

static void a_body_gets_new_time_with_each_64_kib(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_BODY, 0);
    deadline_receive(&deadline, 65535, 9 * S);
    assert_int_equal(deadline_check(&deadline, 10 * S, 10 * S, 0), DEADLINE_TIMEOUT);
    deadline_receive(&deadline, 1, 9 * S);
    assert_int_equal(deadline_check(&deadline, 19 * S - 1, 10 * S, 0), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 19 * S, 10 * S, 0), DEADLINE_TIMEOUT);
}

static void an_idle_connection_is_closed_after_a_minute(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_IDLE, S);
    assert_int_equal(deadline_check(&deadline, 61 * S - 1, S, 0), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 61 * S, S, 0), DEADLINE_CLOSE);
}

static void draining_closes_idle_connections_after_five_seconds(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_IDLE, S);
    assert_int_equal(deadline_check(&deadline, 15 * S - 1, S, 10 * S), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 15 * S, S, 10 * S), DEADLINE_CLOSE);
}

static void a_refused_request_is_closed_after_a_second(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_REFUSED, S);
    assert_int_equal(deadline_check(&deadline, 2 * S - 1, S, 0), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 2 * S, S, 0), DEADLINE_CLOSE);
}

static void time_in_which_nobody_looked_does_not_count(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_BODY, S);
    deadline_postpone(&deadline, 20 * S, 25 * S);
    assert_int_equal(deadline_check(&deadline, 31 * S - 1, 10 * S, 0), DEADLINE_FINE);
    assert_int_equal(deadline_check(&deadline, 31 * S, 10 * S, 0), DEADLINE_TIMEOUT);
    deadline_postpone(&deadline, 90 * S, 50 * S);
    assert_int_equal(deadline.since_us, 50 * S);
}

static void an_answer_has_no_deadline_here(void **state)
{
    (void)state;
    struct deadline deadline;

    deadline_enter(&deadline, PHASE_ANSWER, 0);
    assert_int_equal(deadline_check(&deadline, 1000 * S, S, 10 * S), DEADLINE_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_the_request_timeout_in_all),
        cmocka_unit_test(a_body_gets_new_time_with_each_64_kib),
        cmocka_unit_test(an_idle_connection_is_closed_after_a_minute),
        cmocka_unit_test(draining_closes_idle_connections_after_five_seconds),
        cmocka_unit_test(a_refused_request_is_closed_after_a_second),
        cmocka_unit_test(time_in_which_nobody_looked_does_not_count),
        cmocka_unit_test(an_answer_has_no_deadline_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
