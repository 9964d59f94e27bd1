#include "nn/norm.h"

#include "base/random.h"

#include "support/cmocka.h"

#include <float.h>
#include <math.h>
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

static void smallest_is_found_wherever_it_stands_at_every_length(void **state)
{
    (void)state;
    float row[MAX];

    for (size_t n = 1; n <= MAX; n++)
        for (size_t where = 0; where < n; where++) {
            for (size_t i = 0; i < MAX; i++)
                row[i] = i < n ? 9 : -100; /* what lies behind must not count */
            row[where] = -1;
            assert_true(norm_smallest(row, n) == -1);
        }
}

static void infinite_values_come_last(void **state)
{
    (void)state;
    const float row[] = {INFINITY, 4, INFINITY};

    assert_true(norm_smallest(row, 3) == 4);
    assert_true(isinf(norm_smallest(row, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares_are_the_textbooks_at_every_length),
        cmocka_unit_test(sums_are_in_double),
        cmocka_unit_test(sums_do_not_depend_on_where_the_row_stands),
        cmocka_unit_test(smallest_is_found_wherever_it_stands_at_every_length),
        cmocka_unit_test(infinite_values_come_last),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
