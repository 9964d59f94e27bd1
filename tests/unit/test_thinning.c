#include "service/thinning.h"

#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>

#define N     20000
#define EXACT 1000000000 /* p-values that rest on so many rows are what they say */

static double p_values[N];
static bool keep[N];

static void fill_uniform(struct random *random, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p_values[i] = 1.0 - random_uniform(random); /* (0, 1] */
}

/* The first n_pushed rows have p-values in (low, high]. */
static void push(struct random *random, size_t n_pushed, double low, double high)
{
    for (size_t i = 0; i < n_pushed; i++)
        p_values[i] = high - (high - low) * random_uniform(random);
}

static size_t count_kept(double low, double high)
{
    size_t n = 0;

    for (size_t i = 0; i < N; i++)
        n += keep[i] && p_values[i] > low && p_values[i] <= high;
    return n;
}

static size_t count(double low, double high)
{
    size_t n = 0;

    for (size_t i = 0; i < N; i++)
        n += p_values[i] > low && p_values[i] <= high;
    return n;
}

static void bins_reach_from_zero_to_one(void **state)
{
    (void)state;
    assert_true(thinning_bin_edge(0) == 0.0);
    assert_true(thinning_bin_edge(1) == 0.0025);
    assert_true(thinning_bin_edge(9) == 0.1);
    assert_true(thinning_bin_edge(THINNING_BINS) == 1.0);
    for (size_t bin = 0; bin < THINNING_BINS; bin++)
        assert_true(thinning_bin_edge(bin) < thinning_bin_edge(bin + 1));
}

static void rows_of_the_pinned_kind_are_all_kept(void **state)
{
    (void)state;
    struct random random;

    for (uint64_t seed = 0; seed < 20; seed++) {
        random_seed(&random, seed);
        fill_uniform(&random, N);
        assert_true(thinning_keep(p_values, N, EXACT, &random, keep) >=
                    N - 20); /* 2 sigma of luck */
    }
}

/* 5 % of the rows pushed into the bin (.02, .03]: of its about 1,200 rows 1.25 E + 2 sqrt(E) = 278
 * stay, E = 200. */
static void a_crowded_bin_is_cut_to_its_probability(void **state)
{
    (void)state;
    const double expected = 1.25 * 200 + 2 * sqrt(200);
    struct random random;
    double sum = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        random_seed(&random, seed);
        fill_uniform(&random, N);
        push(&random, N / 20, 0.02, 0.03);
        const size_t n_kept = thinning_keep(p_values, N, EXACT, &random, keep);

        assert_int_equal(n_kept, count_kept(0, 1));
        assert_true(count(0.02, 0.03) > 1000);
        assert_true(count_kept(0.03, 1) >= count(0.03, 1) - 20); /* other bins are left alone */
        sum += (double)count_kept(0.02, 0.03);
    }
    /* binomial, deviation about 15 a seed: 2.4 of the mean of 40 */
    assert_true(fabs(sum / 40 - expected) < 10);
}

static void a_p_value_on_an_edge_belongs_to_the_bin_below(void **state)
{
    (void)state;
    size_t bin = 99;

    for (size_t i = 0; i < 1000; i++)
        p_values[i] = i < 100 ? 0.005 : 0.9;
    assert_true(thinning_has_excess(p_values, 1000, EXACT, &bin));
    assert_int_equal(bin, 1);
    for (size_t i = 0; i < 100; i++)
        p_values[i] = 0.0; /* the least there is */
    assert_true(thinning_has_excess(p_values, 1000, EXACT, &bin));
    assert_int_equal(bin, 0);
}

static void the_same_seed_keeps_the_same_rows(void **state)
{
    (void)state;
    static bool again[N];
    struct random random;

    random_seed(&random, 1);
    fill_uniform(&random, N);
    push(&random, N / 10, 0.01, 0.1);
    for (size_t n = 0; n < 2; n++) {
        random_seed(&random, 7);
        (void)thinning_keep(p_values, N, EXACT, &random, n ? again : keep);
    }
    assert_memory_equal(keep, again, sizeof(keep));
}

static void chance_is_no_excess(void **state)
{
    (void)state;
    struct random random;
    size_t bin;

    random_seed(&random, 3);
    for (size_t n = 0; n < 300; n++) {
        fill_uniform(&random, 2000);
        assert_false(thinning_has_excess(p_values, 2000, EXACT, &bin));
    }
}

/* What rests on few rows is uncertain: a hundred more of them in a bin may be chance. */
static void few_calibration_rows_explain_more(void **state)
{
    (void)state;
    size_t bin;

    for (size_t i = 0; i < 2000; i++)
        p_values[i] = i < 140 ? 0.06 : 0.7;
    assert_true(thinning_has_excess(p_values, 2000, 2000, &bin));
    assert_false(thinning_has_excess(p_values, 2000, 250, &bin));
}

/* E = 2000 · 0.025 = 50 in (.05, .075]: more than 1.25 · 50 + 5 sqrt(51) = 98.2 are an excess. */
static void excess_begins_where_the_formula_says(void **state)
{
    (void)state;
    size_t bin = 99;

    for (size_t i = 0; i < 2000; i++)
        p_values[i] = i < 98 ? 0.06 : 0.7;
    assert_false(thinning_has_excess(p_values, 2000, EXACT, &bin));
    assert_int_equal(bin, 99);
    p_values[98] = 0.06;
    assert_true(thinning_has_excess(p_values, 2000, EXACT, &bin));
    assert_int_equal(bin, 7);
}

static void crowded_bins_above_a_tenth_are_no_excess(void **state)
{
    (void)state;
    size_t bin;

    for (size_t i = 0; i < 2000; i++)
        p_values[i] = 0.12;
    assert_false(thinning_has_excess(p_values, 2000, EXACT, &bin));
}

/* 5 % of a batch of 2,000 walk just above the guard's limit. */
static void slow_poisoning_is_an_excess_in_the_first_batch(void **state)
{
    (void)state;
    struct random random;
    size_t bin;

    for (uint64_t seed = 0; seed < 50; seed++) {
        random_seed(&random, seed);
        fill_uniform(&random, 2000);
        push(&random, 100, 0.005, 0.015);
        assert_true(thinning_has_excess(p_values, 2000, EXACT, &bin));
        assert_true(bin == 2 || bin == 3);
    }
}

/* A share of the rows is rare, as often as the store of who pushes with 15 % may hold it. */
static void who_adds_rare_rows_pushes(void **state)
{
    (void)state;
    struct random random;

    for (uint64_t seed = 0; seed < 50; seed++) {
        random_seed(&random, seed);
        fill_uniform(&random, 2000);
        push(&random, seed % 2 ? 100 : 600, 0.005, 0.015);
        assert_true(thinning_is_pushed(p_values, 2000));
    }
}

static void a_bin_with_twice_its_share_is_left_to_thinning(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    fill_uniform(&random, N);
    push(&random, N / 40, 0.05, 0.075);
    assert_false(thinning_is_pushed(p_values, N));
    push(&random, N / 10, 0.05, 0.075);
    assert_true(thinning_is_pushed(p_values, N));
}

/* p^k: all of it becomes smaller, little (k = 2) or much. */
static void where_normal_moves_nobody_pushes(void **state)
{
    (void)state;
    struct random random;

    for (uint64_t seed = 0; seed < 50; seed++) {
        random_seed(&random, seed);
        fill_uniform(&random, 2000);
        for (size_t i = 0; i < 2000; i++)
            p_values[i] = pow(p_values[i], seed % 2 ? 2 : 20);
        assert_false(thinning_is_pushed(p_values, 2000));
    }
}

static void no_rows_are_nothing(void **state)
{
    (void)state;
    struct random random;
    size_t bin;

    random_seed(&random, 1);
    assert_int_equal(thinning_keep(NULL, 0, EXACT, &random, NULL), 0);
    assert_false(thinning_has_excess(NULL, 0, EXACT, &bin));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_reach_from_zero_to_one),
        cmocka_unit_test(rows_of_the_pinned_kind_are_all_kept),
        cmocka_unit_test(a_crowded_bin_is_cut_to_its_probability),
        cmocka_unit_test(a_p_value_on_an_edge_belongs_to_the_bin_below),
        cmocka_unit_test(the_same_seed_keeps_the_same_rows),
        cmocka_unit_test(chance_is_no_excess),
        cmocka_unit_test(few_calibration_rows_explain_more),
        cmocka_unit_test(excess_begins_where_the_formula_says),
        cmocka_unit_test(crowded_bins_above_a_tenth_are_no_excess),
        cmocka_unit_test(slow_poisoning_is_an_excess_in_the_first_batch),
        cmocka_unit_test(who_adds_rare_rows_pushes),
        cmocka_unit_test(a_bin_with_twice_its_share_is_left_to_thinning),
        cmocka_unit_test(where_normal_moves_nobody_pushes),
        cmocka_unit_test(no_rows_are_nothing),
    };

    return cmocka_run_group_tests_name("thinning", tests, NULL, NULL);
}
