#include "base/parallel.h"

#include "support/cmocka.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define MAX_JOBS 1000

static struct {
    atomic_int n_runs[MAX_JOBS];
    bool fails[MAX_JOBS];
    pthread_t caller;
    atomic_bool other_thread;
} work;

/* Job i fails with -(i + 1). */
static int count(void *userdata, size_t i)
{
    if (userdata != &work)
        return -EINVAL;
    atomic_fetch_add(&work.n_runs[i], 1);
    if (!pthread_equal(pthread_self(), work.caller))
        atomic_store(&work.other_thread, true);
    return work.fails[i] ? -(int)(i + 1) : 0;
}

static int run(size_t n_jobs, size_t n_threads)
{
    work.caller = pthread_self();
    const int r = parallel_run(n_jobs, n_threads, count, &work);
    for (size_t i = 0; i < MAX_JOBS; i++)
        assert_int_equal(work.n_runs[i], i < n_jobs);
    return r;
}

static int set_up(void **state)
{
    (void)state;
    memset(&work, 0, sizeof(work));
    return 0;
}

static void every_job_runs_once(void **state)
{
    static const size_t n_threads[] = {1, 2, 3, 8, 64};

    for (size_t i = 0; i < sizeof(n_threads) / sizeof(*n_threads); i++) {
        set_up(state);
        assert_int_equal(run(MAX_JOBS, n_threads[i]), 0);
    }
}

static void one_thread_is_the_callers(void **state)
{
    (void)state;
    assert_int_equal(run(MAX_JOBS, 1), 0);
    assert_false(work.other_thread);
}

static void no_threads_count_as_one(void **state)
{
    (void)state;
    assert_int_equal(run(10, 0), 0);
    assert_false(work.other_thread);
}

static void one_job_needs_no_other_thread(void **state)
{
    (void)state;
    assert_int_equal(run(1, 8), 0);
    assert_false(work.other_thread);
}

static void more_threads_than_jobs_or_than_there_may_be_do_no_harm(void **state)
{
    assert_int_equal(run(3, 50), 0);
    set_up(state);
    assert_int_equal(run(MAX_JOBS, SIZE_MAX), 0);
}

static void no_jobs_are_done_at_once(void **state)
{
    (void)state;
    assert_int_equal(run(0, 4), 0);
}

static void the_lowest_failed_jobs_error_is_returned_and_the_others_run(void **state)
{
    for (size_t n_threads = 1; n_threads < 9; n_threads++) {
        set_up(state);
        work.fails[999] = work.fails[17] = work.fails[500] = true;
        assert_int_equal(run(MAX_JOBS, n_threads), -18);
    }
}

/* A job that waits for another to run. */
static int meet(void *userdata, size_t i)
{
    (void)pthread_barrier_wait(userdata);
    return i == 1 ? -EIO : -ENOMEM;
}

static void jobs_run_at_the_same_time(void **state)
{
    (void)state;
    pthread_barrier_t both;

    assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
    assert_int_equal(parallel_run(2, 2, meet, &both), -ENOMEM);
    pthread_barrier_destroy(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_job_runs_once, set_up),
        cmocka_unit_test_setup(one_thread_is_the_callers, set_up),
        cmocka_unit_test_setup(no_threads_count_as_one, set_up),
        cmocka_unit_test_setup(one_job_needs_no_other_thread, set_up),
        cmocka_unit_test_setup(more_threads_than_jobs_or_than_there_may_be_do_no_harm, set_up),
        cmocka_unit_test_setup(no_jobs_are_done_at_once, set_up),
        cmocka_unit_test_setup(the_lowest_failed_jobs_error_is_returned_and_the_others_run, set_up),
        cmocka_unit_test(jobs_run_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
