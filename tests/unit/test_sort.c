#include "base/sort.h"

#include "base/random.h"

#include "support/cmocka.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX 5000

static float values[MAX], scratch[MAX];

/* As sort_floats() has it: -0 stands before 0. */
static int by_value_and_sign(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return x == y ? !!signbit(y) - !!signbit(x) : (x > y) - (x < y);
}

static void assert_sorts_as_qsort_does(size_t n)
{
    static float expected[MAX];

    memcpy(expected, values, n * sizeof(*values));
    qsort(expected, n, sizeof(*expected), by_value_and_sign);
    sort_floats(values, n, scratch);
    assert_memory_equal(values, expected, n * sizeof(*values));
}

static void floats_are_sorted_as_qsort_does(void **state)
{
    (void)state;
    static const size_t sizes[] = {2, 3, 10, 255, 256, 2048, 2049, MAX};
    struct random random;

    random_seed(&random, 1);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        for (size_t i = 0; i < sizes[s]; i++)
            values[i] = (float)(random_normal(&random) * pow(10.0, 20.0 * random_normal(&random)));
        for (size_t i = 0; i < sizes[s]; i++)
            if (!isfinite(values[i]))
                values[i] = 1.0F;
        assert_sorts_as_qsort_does(sizes[s]);
    }
}

static void floats_of_any_bits_are_sorted(void **state)
{
    (void)state;
    struct random random;
    size_t n = 0;

    random_seed(&random, 2);
    while (n < MAX) {
        const uint32_t bits = (uint32_t)random_u64(&random);
        memcpy(&values[n], &bits, sizeof(bits));
        n += !isnan(values[n]);
    }
    assert_sorts_as_qsort_does(MAX);
}

static void the_ends_of_the_number_line_are_in_order(void **state)
{
    (void)state;
    static const float ordered[] = {-INFINITY, -FLT_MAX, -1,           -FLT_MIN, -FLT_TRUE_MIN,
                                    -0.0F,     0.0F,     FLT_TRUE_MIN, FLT_MIN,  FLT_EPSILON,
                                    1,         FLT_MAX,  INFINITY};
    const size_t n = sizeof(ordered) / sizeof(*ordered);

    for (size_t i = 0; i < n; i++)
        values[i] = ordered[n - 1 - i];
    sort_floats(values, n, scratch);
    assert_memory_equal(values, ordered, sizeof(ordered));
}

static void equal_floats_stay_as_many(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3000; i++)
        values[i] = (float)(i * 7 % 3);
    sort_floats(values, 3000, scratch);
    for (size_t i = 0; i < 3000; i++)
        assert_true(values[i] == (float)(i / 1000));
}

static void nothing_and_one_float_are_sorted_already(void **state)
{
    (void)state;
    values[0] = 7;
    sort_floats(values, 0, scratch);
    sort_floats(values, 1, scratch);
    assert_true(values[0] == 7);
}

static void items_are_sorted_down_and_equal_ones_stay_as_they_were(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 38, 257, MAX};
    static struct sort_item items[MAX], room[MAX];
    struct random random;

    random_seed(&random, 3);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        const size_t n = sizes[s];
        for (size_t i = 0; i < n; i++) {
            const double value = i % 3 ? floor(3 * random_normal(&random))
                                       : random_normal(&random) * pow(10.0, (double)(i % 60) - 30);
            items[i] = (struct sort_item){.value = (float)value, .index = (uint32_t)i};
        }
        sort_items_down(items, n, room);
        for (size_t i = 1; i < n; i++)
            assert_true(items[i - 1].value > items[i].value ||
                        (items[i - 1].value == items[i].value &&
                         (items[i - 1].index < items[i].index || items[i].value == 0.0F)));
    }
}

static void doubles_are_sorted(void **state)
{
    (void)state;
    double some[] = {3, -INFINITY, 1e300, -1e-300, INFINITY, 0, 3, -DBL_MAX};
    static const double ordered[] = {-INFINITY, -DBL_MAX, -1e-300, 0, 3, 3, 1e300, INFINITY};

    sort_doubles(some, 8);
    assert_memory_equal(some, ordered, sizeof(ordered));
    sort_doubles(some, 0);
}

static void median_is_the_middle_one_or_the_mean_of_two(void **state)
{
    (void)state;
    double one[] = {5}, two[] = {4, 1}, three[] = {9, 1, 4}, four[] = {8, 1, 2, 100};

    assert_true(sort_median(one, 1) == 5);
    assert_true(sort_median(two, 2) == 2.5);
    assert_true(sort_median(three, 3) == 4);
    assert_true(sort_median(four, 4) == 5);
}

static void median_of_the_largest_does_not_overflow(void **state)
{
    (void)state;
    double large[] = {DBL_MAX, DBL_MAX}, apart[] = {-DBL_MAX, DBL_MAX};

    assert_true(sort_median(large, 2) == DBL_MAX);
    assert_true(sort_median(apart, 2) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_sorted_as_qsort_does),
        cmocka_unit_test(floats_of_any_bits_are_sorted),
        cmocka_unit_test(the_ends_of_the_number_line_are_in_order),
        cmocka_unit_test(equal_floats_stay_as_many),
        cmocka_unit_test(nothing_and_one_float_are_sorted_already),
        cmocka_unit_test(items_are_sorted_down_and_equal_ones_stay_as_they_were),
        cmocka_unit_test(doubles_are_sorted),
        cmocka_unit_test(median_is_the_middle_one_or_the_mean_of_two),
        cmocka_unit_test(median_of_the_largest_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
