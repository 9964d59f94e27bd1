/* What a stretch of rows comes to: service/stretch.h. */
#include "service/stretch.h"

#include "service/learning.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#define D 2

static void take(struct stretch *stretch, uint64_t time_us, double score)
{
    const float values[D] = {(float)time_us, (float)score};
    const struct scored_row row = {.time_us = time_us,
                                   .values = values,
                                   .score = score,
                                   .is_flagged = score > 1,
                                   .version = (unsigned)time_us};

    stretch_take(stretch, &row, NULL, D);
}

static void it_knows_its_beginning_its_length_and_its_worst_row(void **state)
{
    (void)state;
    struct stretch stretch = {0};

    take(&stretch, 10, 0.5);
    take(&stretch, 11, 4);
    take(&stretch, 12, 4);
    take(&stretch, 13, 2);
    assert_int_equal(stretch.began_us, 10);
    assert_int_equal(stretch.n_rows, 4);
    assert_int_equal(stretch.n_anomalies, 3);
    assert_true(stretch.peak_score == 4);
    assert_int_equal(stretch.peak_us, 11);
    assert_int_equal(stretch.peak_version, 11);
    assert_true(stretch.peak_values[0] == 11);
    stretch_clear(&stretch);
    assert_int_equal(stretch.n_rows, 0);
    assert_null(stretch.peak_values);
}

static void of_two_the_longer_and_the_worse_stay(void **state)
{
    (void)state;
    struct stretch longer = {0}, worse = {0};

    for (uint64_t i = 0; i < 5; i++)
        take(&longer, 10 + i, 0.5);
    take(&worse, 14, 3);
    stretch_join(&longer, &worse);
    assert_int_equal(longer.began_us, 10);
    assert_int_equal(longer.n_rows, 5);
    assert_int_equal(longer.n_anomalies, 1);
    assert_int_equal(longer.peak_us, 14);
    assert_true(longer.peak_values[1] == 3);
    stretch_join(&worse, &longer);
    assert_int_equal(worse.began_us, 10);
    assert_int_equal(worse.n_rows, 5);
    stretch_clear(&longer);
    stretch_clear(&worse);
}

static void an_empty_one_becomes_the_other(void **state)
{
    (void)state;
    struct stretch stretch = {0}, other = {0};

    take(&other, 10, 0.25);
    stretch_join(&stretch, &other);
    assert_int_equal(stretch.began_us, 10);
    assert_true(stretch.peak_score == 0.25);
    assert_true(stretch.peak_values[0] == 10);
    stretch_join(&stretch, &(const struct stretch){0});
    assert_int_equal(stretch.n_rows, 1);
    stretch_clear(&stretch);
    stretch_clear(&other);
}

static const struct scored_row flagged = {
    .values = (const float[]){1, 2},
       .score = 2, .is_flagged = true
};

static void blame_is_summed_over_rows(void **state)
{
    (void)state;
    struct stretch stretch = {0};

    take(&stretch, 10, 0.5);
    assert_null(stretch.blame);
    stretch_take(&stretch, &flagged, (const double[]){1, 2}, D);
    stretch_take(&stretch, &flagged, (const double[]){3, 0.5}, D);
    stretch_take(&stretch, &flagged, NULL, D);
    assert_true(stretch.blame[0] == 4 && stretch.blame[1] == 2.5);
    assert_int_equal(stretch.n_blamed, 2);
    stretch_clear(&stretch);
    assert_null(stretch.blame);
}

/* Blames of so many flagged rows in their order, as they are asked for. */
static size_t blame_many(struct stretch *stretch, size_t n, size_t n_features)
{
    const float values[300] = {0};
    const double blame[300] = {1};
    const struct scored_row row = {.values = values, .score = 2, .is_flagged = true};
    size_t n_wanted = 0;

    for (size_t i = 0; i < n; i++) {
        const bool is_wanted = stretch_step(stretch, n_features) > 0;
        stretch_take(stretch, &row, is_wanted ? blame : NULL, n_features);
        n_wanted += is_wanted;
    }
    return n_wanted;
}

static void of_a_long_one_ever_fewer_rows_stand_for_the_others(void **state)
{
    (void)state;
    struct stretch shorter = {0}, longer = {0}, wide = {0};

    assert_int_equal(blame_many(&shorter, 64, D), 64);
    const size_t n = blame_many(&longer, 100000, D);
    assert_in_range(n, 64 + 32 * 10, 64 + 32 * 11);
    assert_true(longer.blame[0] > 99000 && longer.blame[0] < 101500);
    assert_true(longer.blame[1] == 0);
    assert_in_range(blame_many(&wide, 1000, 300), 30, 70);
    stretch_clear(&shorter);
    stretch_clear(&longer);
    stretch_clear(&wide);
}

static void of_two_the_blame_of_more_rows_stays(void **state)
{
    (void)state;
    struct stretch more = {0}, fewer = {0}, none = {0};

    stretch_take(&more, &flagged, (const double[]){1, 0}, D);
    stretch_take(&more, &flagged, (const double[]){1, 0}, D);
    stretch_take(&fewer, &flagged, (const double[]){0, 9}, D);
    stretch_join(&more, &fewer);
    assert_true(more.blame[0] == 2 && more.blame[1] == 0);
    stretch_join(&fewer, &more);
    assert_true(fewer.blame[0] == 2 && fewer.blame[1] == 0);
    stretch_join(&none, &more);
    assert_true(none.blame[0] == 2);
    stretch_join(&more, &(const struct stretch){0});
    assert_int_equal(more.n_blamed, 2);
    stretch_clear(&more);
    stretch_clear(&fewer);
    stretch_clear(&none);
}

static void without_memory_nothing_is_blamed(void **state)
{
    (void)state;
    struct stretch stretch = {0}, other = {0};

    alloc_fail_in = 1;
    stretch_take(&stretch, &flagged, (const double[]){1, 0}, D);
    alloc_fail_in = -1;
    assert_null(stretch.blame);
    assert_int_equal(stretch.n_blamed, 0);
    stretch_take(&other, &flagged, (const double[]){1, 0}, D);
    alloc_fail_in = 0;
    stretch_join(&stretch, &other);
    alloc_fail_in = -1;
    assert_null(stretch.blame);
    stretch_clear(&stretch);
    stretch_clear(&other);
}

static void without_memory_only_the_values_are_missing(void **state)
{
    (void)state;
    struct stretch stretch = {0};

    alloc_fail_in = 0;
    take(&stretch, 10, 2);
    alloc_fail_in = -1;
    assert_int_equal(stretch.n_rows, 1);
    assert_true(stretch.peak_score == 2);
    assert_null(stretch.peak_values);
    stretch_clear(&stretch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_knows_its_beginning_its_length_and_its_worst_row),
        cmocka_unit_test(of_two_the_longer_and_the_worse_stay),
        cmocka_unit_test(an_empty_one_becomes_the_other),
        cmocka_unit_test(blame_is_summed_over_rows),
        cmocka_unit_test(of_a_long_one_ever_fewer_rows_stand_for_the_others),
        cmocka_unit_test(of_two_the_blame_of_more_rows_stays),
        cmocka_unit_test(without_memory_nothing_is_blamed),
        cmocka_unit_test(without_memory_only_the_values_are_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
