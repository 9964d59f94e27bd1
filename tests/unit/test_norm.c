#include "nn/norm.h"

#include "base/random.h"

#include "support/cmocka.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX 100

static float x[MAX], scale[MAX];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

static int set_up(void **state)
{
    struct random random;

    (void)state;
    random_seed(&random, 1);
    for (size_t i = 0; i < MAX; i++) {
        x[i] = (float)random_normal(&random);
        scale[i] = (float)random_normal(&random);
    }
    return 0;
}

static void squares_are_the_textbooks_at_every_length(void **state)
{
    (void)state;
    double squares = 0, scaled = 0;

    for (size_t n = 0; n <= MAX; n++) {
        assert_near(norm_squares(x, n), squares, 1e-14);
        assert_near(norm_scaled_squares(x, scale, n), scaled, 1e-6);
        if (n == MAX)
            break;
        squares += (double)x[n] * (double)x[n];
        scaled += pow((double)x[n] * (double)scale[n], 2);
    }
}

static void sums_are_in_double(void **state)
{
    (void)state;
    const float large[] = {FLT_MAX, FLT_MAX};
    float mixed[64] = {1e4F};

    for (size_t i = 1; i < 64; i++)
        mixed[i] = 0.01F;
    assert_near(norm_squares(large, 2), 2.0 * (double)FLT_MAX * (double)FLT_MAX, 1e-15);
    assert_true(norm_squares(mixed, 64) - 1e8 > 0.006);
}

/* Vector loads of a row that begins anywhere sum in the same order. */
static void sums_do_not_depend_on_where_the_row_stands(void **state)
{
    (void)state;
    _Alignas(64) float moved[MAX + 16], moved_scale[MAX + 16];

    for (size_t n = 1; n <= MAX; n += 3)
        for (size_t begin = 0; begin < 16; begin++) {
            memcpy(moved + begin, x, n * sizeof(*x));
            memcpy(moved_scale + begin, scale, n * sizeof(*scale));
            assert_true(norm_squares(moved + begin, n) == norm_squares(x, n));
            assert_true(norm_scaled_squares(moved + begin, moved_scale + begin, n) ==
                        norm_scaled_squares(x, scale, n));
        }
}

static int by_value(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;

    return (left > right) - (left < right);
}

static void two_smallest_are_those_of_a_sorted_row_at_every_length(void **state)
{
    (void)state;
    float sorted[MAX], found[2];

    for (size_t n = 2; n <= MAX; n++) {
        memcpy(sorted, x, n * sizeof(*x));
        qsort(sorted, n, sizeof(*sorted), by_value);
        norm_two_smallest(x, n, found);
        assert_memory_equal(found, sorted, sizeof(found));
    }
}

static void two_smallest_are_found_wherever_they_stand(void **state)
{
    (void)state;
    float row[35], found[2];

    for (size_t a = 0; a < 35; a++)
        for (size_t b = 0; b < 35; b++) {
            if (a == b)
                continue;
            for (size_t i = 0; i < 35; i++)
                row[i] = 9;
            row[a] = 1;
            row[b] = 2;
            norm_two_smallest(row, 35, found);
            assert_true(found[0] == 1 && found[1] == 2);
        }
}

static void equal_smallest_count_twice(void **state)
{
    (void)state;
    const float row[] = {5, 1, 7, 1, 9, 9, 9, 9, 9, 9};
    float found[2];

    norm_two_smallest(row, 10, found);
    assert_true(found[0] == 1 && found[1] == 1);
}

static void the_smallest_of_one_is_given_twice(void **state)
{
    (void)state;
    const float row[] = {3, -100};
    float found[2];

    norm_two_smallest(row, 1, found);
    assert_true(found[0] == 3 && found[1] == 3);
}

static void infinite_values_come_last(void **state)
{
    (void)state;
    const float row[] = {INFINITY, 4, INFINITY};
    float found[2];

    norm_two_smallest(row, 3, found);
    assert_true(found[0] == 4 && isinf(found[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares_are_the_textbooks_at_every_length),
        cmocka_unit_test(sums_are_in_double),
        cmocka_unit_test(sums_do_not_depend_on_where_the_row_stands),
        cmocka_unit_test(two_smallest_are_those_of_a_sorted_row_at_every_length),
        cmocka_unit_test(two_smallest_are_found_wherever_they_stand),
        cmocka_unit_test(equal_smallest_count_twice),
        cmocka_unit_test(the_smallest_of_one_is_given_twice),
        cmocka_unit_test(infinite_values_come_last),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
