/* Which series goes when a new one comes: the one that a scan of all would find, whatever was used
 * and taken back before (service/series_memory.h). */
#include "service/series_memory_state.h"

#include "base/random.h"
#include "data/preparation.h"
#include "detector/detector.h"

#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <stdio.h>
#include <string.h>

#define N_NAMES 12
#define BOUND   5
#define N_UNDOS 4
#define N_TURNS 20000

static struct series_memory *memory;
static struct preparation *preparation;
static struct random random_state;
static struct series_undo *undos[N_UNDOS];
static size_t n_pushed_out, n_taken_back;

static int set_up(void **state)
{
    (void)state;
    random_seed(&random_state, 7);
    preparation = prepared_preparation();
    if (series_memory_new(&memory) < 0)
        return -1;
    series_memory_bound(memory, BOUND);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_UNDOS; i++)
        series_undo_free(undos[i]);
    series_memory_release(memory);
    preparation_free(preparation);
    return 0;
}

/* The plain way. */
static const struct remembered *scan(void)
{
    const struct remembered *oldest = memory->items[0];

    for (size_t i = 1; i < memory->n_items; i++)
        if (memory->items[i]->used < oldest->used)
            oldest = memory->items[i];
    return oldest;
}

static void assert_in_order(void)
{
    const struct remembered *item;
    uint64_t used = 0;
    size_t n = 0;

    for (item = TAILQ_FIRST(&memory->by_use); item; item = TAILQ_NEXT(item, by_use)) {
        assert_true(item->used > used);
        used = item->used;
        n++;
    }
    assert_int_equal(n, memory->n_items);
    for (size_t i = 1; i < memory->n_items; i++)
        assert_true(strcmp(memory->items[i - 1]->name, memory->items[i]->name) < 0);
}

static void prepare(const char *name, struct series_undo **undo)
{
    double times[1], values[PREPARED_VALUES];
    float row[PREPARED_FEATURES];
    bool is_late;

    prepared_values(5, 1, times, values);
    assert_int_equal(
        series_memory_prepare(memory, preparation, name, times, values, 1, row, &is_late, undo), 0);
}

/* By a row that stays, one that may be taken back, or a sign of life. */
static void use(const char *name)
{
    const bool is_new = !series_memory_find(memory, name);
    char oldest[16] = "";

    if (is_new && memory->n_items == BOUND)
        (void)snprintf(oldest, sizeof(oldest), "%s", scan()->name);
    const size_t place = random_below(&random_state, 2 * N_UNDOS);
    if (random_below(&random_state, 2) == 0)
        assert_int_equal(series_memory_touch(memory, name, 1), 0);
    else if (place < N_UNDOS && !undos[place])
        prepare(name, &undos[place]);
    else
        prepare(name, NULL);
    assert_non_null(series_memory_find(memory, name));
    if (!*oldest)
        return;
    assert_int_equal(memory->n_items, BOUND);
    assert_null(series_memory_find(memory, oldest));
    n_pushed_out++;
}

static uint64_t sum_of_uses(void)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < memory->n_items; i++)
        sum += memory->items[i]->used;
    return sum;
}

static void end_undo(struct series_undo **undo)
{
    const uint64_t before = sum_of_uses();

    if (*undo && random_below(&random_state, 3) > 0)
        series_undo_apply(*undo);
    n_taken_back += sum_of_uses() < before;
    series_undo_free(*undo);
    *undo = NULL;
}

static void the_oldest_goes_as_a_scan_of_all_would_find_it(void **state)
{
    (void)state;
    char name[16];

    for (size_t turn = 0; turn < N_TURNS; turn++) {
        (void)snprintf(name, sizeof(name), "%zu", random_below(&random_state, N_NAMES));
        use(name);
        if (random_below(&random_state, 3) == 0)
            end_undo(&undos[random_below(&random_state, N_UNDOS)]);
        assert_in_order();
    }
    assert_true(n_pushed_out > N_TURNS / 10 && n_taken_back > N_TURNS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_goes_as_a_scan_of_all_would_find_it, set_up,
                                        tear_down),
    };
    detector_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
