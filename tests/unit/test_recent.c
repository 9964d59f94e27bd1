#include "service/recent.h"

#include "detector/detector.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define S         ((uint64_t)1000000)
#define BEGIN     (100 * S)
#define N_THREADS 4
#define N_ADDS    5000

static struct recent *recent;

static int setup(void **state)
{
    (void)state;
    return recent_new(BEGIN, &recent);
}

static int teardown(void **state)
{
    (void)state;
    recent_release(recent);
    return 0;
}

static void add(double error, size_t n_rows, uint64_t now_us)
{
    const struct verdict verdict = {.reconstruction_error = error};

    for (size_t i = 0; i < n_rows; i++)
        recent_add(recent, &verdict, 1, now_us);
}

static struct recent_rows look(uint64_t now_us)
{
    struct recent_rows rows;

    assert_int_equal(recent_read(recent, now_us, &rows), 0);
    return rows;
}

static void before_the_first_row_there_is_nothing(void **state)
{
    (void)state;
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);

    assert_int_equal(rows.n_rows, 0);
    assert_true(rows.rows_per_second == 0.0);
    assert_int_equal(recent_rows_above(&rows, 0.0), 0);
}

static void an_error_at_the_threshold_is_no_alarm(void **state)
{
    (void)state;
    const struct verdict verdicts[] = {{.reconstruction_error = 1.0},
                                       {.reconstruction_error = 2.0},
                                       {.reconstruction_error = 3.0}};

    recent_add(recent, verdicts, 3, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
    assert_int_equal(rows.n_rows, 3);
    assert_int_equal(recent_rows_above(&rows, 2.0), 1);
    assert_int_equal(recent_rows_above(&rows, 1.9999999999), 2);
}

static void the_newest_rows_are_kept(void **state)
{
    (void)state;
    add(1.0, 500, BEGIN);
    add(2.0, RECENT_ROWS - 100, BEGIN + S);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + 2 * S);
    assert_int_equal(rows.n_rows, RECENT_ROWS);
    assert_int_equal(recent_rows_above(&rows, 1.5), RECENT_ROWS - 100);
}

static void while_all_are_kept_the_rate_is_since_the_beginning(void **state)
{
    (void)state;
    add(1.0, 50, BEGIN + 9 * S);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + 10 * S);
    assert_float_equal(rows.rows_per_second, 5.0, 1e-9);
}

/* 10 a second after a long silence, then for long enough. */
static void the_rate_is_that_of_the_rows_that_are_kept(void **state)
{
    (void)state;
    add(1.0, RECENT_ROWS, BEGIN + S);
    for (uint64_t i = 0; i < RECENT_ROWS + 50; i++)
        add(1.0, 1, BEGIN + 1000 * S + i * S / 10);
    CLEANUP(recent_rows_clear)
    struct recent_rows rows = look(BEGIN + 1000 * S + (RECENT_ROWS + 50) * S / 10);
    assert_float_equal(rows.rows_per_second, 10.0, 0.01);
}

static void silence_lowers_the_rate(void **state)
{
    (void)state;
    add(1.0, 2 * RECENT_ROWS, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + RECENT_ROWS * S);
    assert_float_equal(rows.rows_per_second, 1.0, 1e-9);
}

static void a_batch_may_be_larger_than_what_is_kept(void **state)
{
    (void)state;
    const size_t n = RECENT_ROWS + 10;
    struct verdict *verdicts = calloc(n, sizeof(*verdicts));

    assert_non_null(verdicts);
    for (size_t i = 0; i < n; i++)
        verdicts[i].reconstruction_error = (double)i;
    recent_add(recent, verdicts, n, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
    assert_int_equal(recent_rows_above(&rows, 9.5), RECENT_ROWS);
    free(verdicts);
}

static void a_ring_adds_what_its_rows_would_have(void **state)
{
    (void)state;
    static double ring[RECENT_ROWS];
    const size_t n = RECENT_ROWS + 10;

    add(5e9, 7, BEGIN);
    for (size_t i = 0; i < n; i++)
        ring[i % RECENT_ROWS] = (double)i;
    recent_add_ring(recent, ring, n, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
    assert_int_equal(rows.n_rows, RECENT_ROWS);
    assert_int_equal(recent_rows_above(&rows, 9.5), RECENT_ROWS);
    assert_int_equal(recent_rows_above(&rows, 1e9), 0);
    recent_add_ring(recent, (const double[]){1.0, 2.0, 3.0}, 3, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows later = look(BEGIN + S);
    assert_int_equal(recent_rows_above(&later, 9.5), RECENT_ROWS - 3);
}

static void it_lives_as_long_as_its_last_user(void **state)
{
    (void)state;
    struct recent *other = recent_share(recent);

    recent_release(other);
    add(1.0, 1, BEGIN);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
    assert_int_equal(rows.n_rows, 1);
}

static void *add_many(void *userdata)
{
    (void)userdata;
    for (int i = 0; i < N_ADDS; i++)
        add(1.0, 1, BEGIN);
    return NULL;
}

static void nothing_is_lost_while_threads_add_and_one_reads(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];

    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < 20; i++) {
        CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
        assert_true(recent_rows_above(&rows, 0.5) <= rows.n_rows);
    }
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    CLEANUP(recent_rows_clear) struct recent_rows rows = look(BEGIN + S);
    assert_int_equal(recent_rows_above(&rows, 0.5), RECENT_ROWS);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct recent *other = NULL;
    struct recent_rows rows = {0};

    alloc_fail_in = 0;
    assert_int_equal(recent_new(BEGIN, &other), -ENOMEM);
    alloc_fail_in = 0;
    assert_int_equal(recent_read(recent, BEGIN, &rows), -ENOMEM);
    alloc_fail_in = -1;
    assert_null(other);
    assert_null(rows.errors);
    recent_release(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(before_the_first_row_there_is_nothing),
        TEST(an_error_at_the_threshold_is_no_alarm),
        TEST(the_newest_rows_are_kept),
        TEST(while_all_are_kept_the_rate_is_since_the_beginning),
        TEST(the_rate_is_that_of_the_rows_that_are_kept),
        TEST(silence_lowers_the_rate),
        TEST(a_batch_may_be_larger_than_what_is_kept),
        TEST(a_ring_adds_what_its_rows_would_have),
        TEST(it_lives_as_long_as_its_last_user),
        TEST(nothing_is_lost_while_threads_add_and_one_reads),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
