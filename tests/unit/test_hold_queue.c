#include "service/hold_queue.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>

static void push(struct hold_queue *queue, uint64_t row)
{
    const float values[2] = {(float)row, -(float)row};

    assert_int_equal(hold_queue_reserve(queue), 0);
    hold_queue_push(queue, (struct waiting_row){row, row % 3 == 0}, values);
}

static void expect(struct hold_queue *queue, uint64_t row)
{
    const float *values;
    const struct waiting_row oldest = hold_queue_pop(queue, &values);

    assert_int_equal(oldest.row, row);
    assert_int_equal(oldest.is_flagged, row % 3 == 0);
    assert_float_equal(values[0], (float)row, 0);
    assert_float_equal(values[1], -(float)row, 0);
}

/* Longer and shorter, so that the ring turns and grows at any place of it. */
static void rows_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct hold_queue queue = {.n_features = 2};
    uint64_t first = 1, next = 1;

    for (size_t length = 1; length <= 300; length += 7) {
        while (queue.n_rows < length)
            push(&queue, next++);
        while (queue.n_rows > length / 3)
            expect(&queue, first++);
    }
    while (queue.n_rows > 0)
        expect(&queue, first++);
    assert_int_equal(first, next);
    hold_queue_clear(&queue);
}

static void a_short_queue_gives_memory_back_and_keeps_its_rows(void **state)
{
    (void)state;
    struct hold_queue queue = {.n_features = 2};

    for (uint64_t row = 1; row <= 200; row++)
        push(&queue, row);
    for (uint64_t row = 1; row <= 190; row++)
        expect(&queue, row);
    const size_t n_before = queue.n_slots;
    hold_queue_shrink(&queue);
    assert_true(queue.n_slots < n_before);
    const size_t n_few = queue.n_slots;
    hold_queue_shrink(&queue);
    assert_int_equal(queue.n_slots, n_few);
    for (uint64_t row = 191; row <= 200; row++)
        expect(&queue, row);
    hold_queue_clear(&queue);
}

static void a_long_queue_keeps_its_memory(void **state)
{
    (void)state;
    struct hold_queue queue = {.n_features = 2};

    for (uint64_t row = 1; row <= 200; row++)
        push(&queue, row);
    const size_t n_before = queue.n_slots;
    hold_queue_shrink(&queue);
    assert_int_equal(queue.n_slots, n_before);
    hold_queue_clear(&queue);
}

static void without_memory_it_stays_as_it_was(void **state)
{
    (void)state;
    struct hold_queue queue = {.n_features = 2};

    push(&queue, 1);
    while (queue.n_rows < queue.n_slots)
        push(&queue, queue.n_rows + 1);
    const size_t n = queue.n_rows;
    for (int nth = 0; nth < 2; nth++) {
        alloc_fail_in = nth;
        assert_int_equal(hold_queue_reserve(&queue), -ENOMEM);
        alloc_fail_in = -1;
        assert_int_equal(queue.n_rows, n);
    }
    for (uint64_t row = 1; row <= n; row++)
        expect(&queue, row);
    hold_queue_clear(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_out_as_they_went_in),
        cmocka_unit_test(a_short_queue_gives_memory_back_and_keeps_its_rows),
        cmocka_unit_test(a_long_queue_keeps_its_memory),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
    };

    return cmocka_run_group_tests_name("hold_queue", tests, NULL, NULL);
}
