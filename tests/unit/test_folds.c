#include "detector/folds.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <string.h>

static struct folds folds;

static void deal(size_t n_rows, uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    folds_clear(&folds);
    assert_int_equal(folds_deal(n_rows, &random, &folds), 0);
    assert_int_equal(folds.n_rows, n_rows);
}

static int tear_down(void **state)
{
    (void)state;
    folds_clear(&folds);
    return 0;
}

/* Counts each row of a stretch in n_seen[n_rows]. */
static void count(struct stretch stretch, unsigned char *n_seen)
{
    assert_true(stretch.begin + stretch.n <= 2 * folds.n_rows);
    for (size_t i = stretch.begin; i < stretch.begin + stretch.n; i++) {
        assert_true(folds.order[i] < folds.n_rows);
        n_seen[folds.order[i]]++;
    }
}

static void assert_all_are_one(const unsigned char *n_seen)
{
    for (size_t i = 0; i < folds.n_rows; i++)
        assert_int_equal(n_seen[i], 1);
}

static const size_t sizes[] = {8, 9, 10, 11, 100, 1003, 4096};
#define N_SIZES (sizeof(sizes) / sizeof(*sizes))

static void every_row_is_in_exactly_one_fold(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++) {
        deal(sizes[s], s);
        AUTO_FREE unsigned char *n_seen = calloc(sizes[s], 1);
        assert_non_null(n_seen);
        for (size_t fold = 0; fold < N_FOLDS; fold++)
            count(folds_inside(&folds, fold), n_seen);
        assert_all_are_one(n_seen);
    }
}

/* One stretch: what is outside needs no copy. */
static void a_fold_and_its_outside_are_all_rows(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++)
        for (size_t fold = 0; fold < N_FOLDS; fold++) {
            deal(sizes[s], s);
            AUTO_FREE unsigned char *n_seen = calloc(sizes[s], 1);
            assert_non_null(n_seen);
            count(folds_inside(&folds, fold), n_seen);
            count(folds_outside(&folds, fold), n_seen);
            assert_all_are_one(n_seen);
        }
}

static void folds_are_equal_within_one_row(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++) {
        deal(sizes[s], s);
        for (size_t fold = 0; fold < N_FOLDS; fold++) {
            const size_t n = folds_inside(&folds, fold).n;
            assert_true(n == sizes[s] / N_FOLDS || n == sizes[s] / N_FOLDS + 1);
        }
    }
}

static void the_ring_goes_twice_around(void **state)
{
    (void)state;
    deal(101, 1);
    assert_memory_equal(folds.order, folds.order + 101, 101 * sizeof(*folds.order));
    assert_int_equal(folds.begin[0], 0);
    assert_int_equal(folds.begin[N_FOLDS], 101);
}

static void the_same_seed_deals_the_same(void **state)
{
    (void)state;
    size_t kept[1000];

    deal(1000, 7);
    memcpy(kept, folds.order, sizeof(kept));
    deal(1000, 7);
    assert_memory_equal(folds.order, kept, sizeof(kept));
    deal(1000, 8);
    assert_memory_not_equal(folds.order, kept, sizeof(kept));
}

static void blocks_are_dealt_at_random(void **state)
{
    (void)state;
    const size_t n_rows = 100 * N_FOLDS;
    size_t n_early = 0;

    for (uint64_t seed = 0; seed < 50; seed++) {
        deal(n_rows, seed);
        const struct stretch inside = folds_inside(&folds, 0);
        for (size_t i = 0; i < inside.n; i++)
            n_early += folds.order[inside.begin + i] < n_rows / 2;
    }
    assert_in_range(n_early, 50 * 40, 50 * 60); /* about half of 50 folds of 100 rows */
}

/* Where a row's neighbour in the ring is not its neighbour in time, a block ends. */
static void neighbours_of_a_block_stay_together(void **state)
{
    (void)state;
    const size_t n_rows = 2 * FOLDS_BLOCKS + 1;
    size_t n_ends = 0;

    deal(n_rows, 1);
    for (size_t i = 0; i + 1 < n_rows; i++)
        n_ends += folds.order[i + 1] != folds.order[i] + 1;
    assert_in_range(n_ends, FOLDS_BLOCKS / 2, FOLDS_BLOCKS - 1);
}

static void fewer_rows_than_blocks_are_dealt_singly(void **state)
{
    (void)state;
    size_t n_ends = 0;

    deal(20, 1);
    for (size_t i = 0; i + 1 < 20; i++)
        n_ends += folds.order[i + 1] != folds.order[i] + 1;
    assert_true(n_ends > 10);
}

static void cleared_folds_may_be_cleared_again(void **state)
{
    (void)state;
    deal(8, 1);
    folds_clear(&folds);
    assert_null(folds.order);
    folds_clear(&folds);
}

static void a_failed_allocation_deals_nothing(void **state)
{
    (void)state;
    struct random random;
    int r = -ENOMEM, nth = 0;

    random_seed(&random, 1);
    folds_clear(&folds);
    for (; r == -ENOMEM && nth < 10; nth++) {
        alloc_fail_in = nth;
        r = folds_deal(100, &random, &folds);
        alloc_fail_in = -1;
        const struct folds untouched = {0};
        if (r < 0)
            assert_memory_equal(&folds, &untouched, sizeof(folds));
    }
    assert_int_equal(r, 0);
    assert_true(nth > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_in_exactly_one_fold),
        cmocka_unit_test(a_fold_and_its_outside_are_all_rows),
        cmocka_unit_test(folds_are_equal_within_one_row),
        cmocka_unit_test(the_ring_goes_twice_around),
        cmocka_unit_test(the_same_seed_deals_the_same),
        cmocka_unit_test(blocks_are_dealt_at_random),
        cmocka_unit_test(neighbours_of_a_block_stay_together),
        cmocka_unit_test(fewer_rows_than_blocks_are_dealt_singly),
        cmocka_unit_test(cleared_folds_may_be_cleared_again),
        cmocka_unit_test(a_failed_allocation_deals_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
