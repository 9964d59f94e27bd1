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

    stretch_take(stretch, &row, D);
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
        cmocka_unit_test(without_memory_only_the_values_are_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
