#include "http/later.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

static bool is_readable(const struct later_queue *queue)
{
    struct pollfd wanted = {.fd = later_queue_fd(queue), .events = POLLIN};
    return poll(&wanted, 1, 0) == 1;
}

static struct later *make(struct later_queue *queue)
{
    struct later *later = later_new(queue, NULL, "web");

    assert_non_null(later);
    return later;
}

static void what_is_done_comes_back_in_its_order(void **state)
{
    (void)state;
    CLEANUP(later_queue_freep) struct later_queue *queue = NULL;
    const struct error error = {"the disk is full"};

    assert_int_equal(later_queue_new(&queue), 0);
    CLEANUP(later_freep) struct later *first = make(queue);
    CLEANUP(later_freep) struct later *second = make(queue);
    assert_false(is_readable(queue));
    later_done(second, 0, NULL);
    later_done(first, -EAGAIN, &error);
    assert_true(is_readable(queue));

    later_queue_acknowledge(queue);
    assert_false(is_readable(queue));
    assert_ptr_equal(later_take(queue), second);
    assert_int_equal(second->r, 0);
    assert_ptr_equal(later_take(queue), first);
    assert_int_equal(first->r, -EAGAIN);
    assert_string_equal(first->error.text, "the disk is full");
    assert_string_equal(first->model, "web");
    assert_null(later_take(queue));
}

static void what_nobody_took_is_freed(void **state)
{
    (void)state;
    struct later_queue *queue;

    assert_int_equal(later_queue_new(&queue), 0);
    later_done(make(queue), 0, NULL);
    later_queue_free(queue); /* the leak sanitizer looks */
    later_queue_free(NULL);
}

static void free_count(void *work)
{
    ++*(int *)work;
}

static void what_it_holds_is_freed_with_it(void **state)
{
    (void)state;
    CLEANUP(later_queue_freep) struct later_queue *queue = NULL;
    int n_freed = 0;

    assert_int_equal(later_queue_new(&queue), 0);
    struct later *later = make(queue);
    later->work = &n_freed;
    later->free_work = free_count;
    later_done(later, 0, NULL);
    assert_int_equal(n_freed, 0);
    later_free(later_take(queue));
    assert_int_equal(n_freed, 1);
}

#define N_LATERS 1000

static void *finish_all(void *userdata)
{
    struct later **laters = userdata;

    for (size_t i = 0; i < N_LATERS; i++)
        later_done(laters[i], 0, NULL);
    return NULL;
}

static void other_threads_wake_the_worker_and_none_is_lost(void **state)
{
    (void)state;
    CLEANUP(later_queue_freep) struct later_queue *queue = NULL;
    static struct later *laters[2][N_LATERS];
    pthread_t threads[2];
    size_t n = 0;

    assert_int_equal(later_queue_new(&queue), 0);
    for (size_t i = 0; i < N_LATERS; i++) {
        laters[0][i] = make(queue);
        laters[1][i] = make(queue);
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, finish_all, laters[i]), 0);
    while (n < 2 * N_LATERS) {
        struct pollfd wanted = {.fd = later_queue_fd(queue), .events = POLLIN};
        struct later *later;
        assert_int_equal(poll(&wanted, 1, 60000), 1);
        later_queue_acknowledge(queue);
        while ((later = later_take(queue))) {
            later_free(later);
            n++;
        }
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_null(later_take(queue));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(later_queue_freep) struct later_queue *queue = NULL;
        alloc_fail_in = nth;
        r = later_queue_new(&queue);
        struct later *later = r == 0 ? later_new(queue, NULL, "web") : NULL;
        alloc_fail_in = -1;
        if (r == 0 && !later)
            r = -ENOMEM;
        later_free(later);
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_done_comes_back_in_its_order),
        cmocka_unit_test(what_nobody_took_is_freed),
        cmocka_unit_test(what_it_holds_is_freed_with_it),
        cmocka_unit_test(other_threads_wake_the_worker_and_none_is_lost),
        cmocka_unit_test(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
