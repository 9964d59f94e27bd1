#include "detector/residual.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define WIDE      60
#define N_TRAINED 60
#define N_HELD    21
#define N_NEW     6

static struct residual *residual;
static float trained[N_TRAINED * WIDE], held[N_HELD * WIDE], fresh[N_NEW * WIDE];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

/* Whole numbers over whole numbers, so that Python has the same. */
static void make_rows(size_t first, size_t n_rows, size_t n, float *rows)
{
    for (size_t i = first; i < first + n_rows; i++)
        for (size_t j = 0; j < n; j++) {
            const int number = (int)((7 * i * i + 13 * j + 5 * i * j + 3 * j * j) % 101) - 50;
            *rows++ = (float)((double)number / (double)(10 * (1 + j % 7)));
        }
}

static void fit(size_t n)
{
    make_rows(0, N_TRAINED, n, trained);
    make_rows(60, N_HELD, n, held);
    make_rows(100, N_NEW, n, fresh);
    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(trained, N_TRAINED, held, N_HELD, n, &residual), 0);
}

static int tear_down(void **state)
{
    (void)state;
    residual_free(TAKE(residual));
    return 0;
}

static void measure(const struct residual *by, const float *rows, size_t stride, size_t n_rows,
                    double *ret_distances)
{
    AUTO_FREE float *scratch = malloc(residual_scratch_floats(by, n_rows) * sizeof(*scratch));
    assert_non_null(scratch);
    residual_distances(by, scratch, rows, stride, n_rows, ret_distances);
}

/* import numpy as np                                # 1.24.2
 * def make(first, n, d):
 *     return np.float32([[((7*i*i + 13*j + 5*i*j + 3*j*j) % 101 - 50) / (10 * (1 + j % 7))
 *                         for j in range(d)] for i in range(first, first + n)]).astype(float)
 * for d in 5, 60:
 *     R, H = make(0, 60, d), make(60, 21, d)
 *     k = min(24, d // 2)
 *     mean, (values, vectors) = R.mean(0), np.linalg.eigh(np.cov(R.T, bias=True))
 *     values = 0.7 * values + 0.3 * values.mean()
 *     rest = values[:-k].mean()
 *     def distances(r):
 *         p = (r - mean) @ vectors[:, -k:]
 *         left = ((r - mean)**2).sum(1) - (p**2).sum(1)
 *         return np.sqrt((p**2 / values[-k:]).sum(1) + left / rest)
 *     scale = np.median(distances(H))
 *     print(d, k, rest, scale, distances(make(100, 6, d)) / scale) */
static const struct {
    size_t n, n_directions;
    double rest_variance, scale, distances[N_NEW];
} golden[] = {
    {5,
     2,                   1.050759847251378,
     1.9138041417834242, {1.0687912881814008, 1.2423490138855815, 1.0942262501466242, 0.7900182567909886,
      0.9762927343540588, 1.0855204943715882}},
    {WIDE,
     RESIDUAL_DIRECTIONS, 0.6980763603210449,
     7.536136311853613,  {1.0301788487311259, 0.7841197402992297, 0.7981365318982722, 0.7839948765870081,
      0.7077636796463613, 0.7865513177019372} },
};

static void distances_are_those_of_numpy(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++) {
        double distances[N_NEW];
        fit(golden[g].n);
        assert_int_equal(residual->n_values, golden[g].n);
        assert_int_equal(residual->n_directions, golden[g].n_directions);
        assert_near(residual->rest_variance, golden[g].rest_variance, 1e-6);
        assert_near(residual->scale, golden[g].scale, 1e-5);
        measure(residual, fresh, golden[g].n, N_NEW, distances);
        for (size_t i = 0; i < N_NEW; i++)
            assert_near(distances[i], golden[g].distances[i], 1e-5);
    }
}

static void at_most_half_of_the_values_are_directions(void **state)
{
    (void)state;
    static const struct {
        size_t n, n_directions;
    } cases[] = {
        {1,    1 },
        {2,    1 },
        {3,    1 },
        {4,    2 },
        {47,   23},
        {48,   24},
        {WIDE, 24}
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        fit(cases[i].n);
        assert_int_equal(residual->n_directions, cases[i].n_directions);
    }
}

/* What is common in one direction is rare in another. */
static void a_step_where_rows_hardly_vary_counts_more(void **state)
{
    (void)state;
    float along[100 * 4] = {0}, odd[2 * 4] = {0};
    double distances[2];

    for (size_t i = 0; i < 100; i++)
        for (size_t j = 0; j < 4; j++)
            along[i * 4 + j] = (float)((int)(i * (j + 3) % 19) - 9) * (j == 0 ? 1.0F : 0.1F);
    odd[0] = odd[4 + 2] = 5;
    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(along, 100, along, 100, 4, &residual), 0);
    measure(residual, odd, 4, 2, distances);
    assert_true(distances[1] > 2 * distances[0]);
}

static void a_held_row_in_the_middle_is_at_one(void **state)
{
    (void)state;
    const float some[] = {-1, 1, -2, 2, -3, 3};

    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(some, 6, some, 6, 1, &residual), 0);
    double distances[6];
    measure(residual, some, 1, 6, distances);
    assert_near(distances[2], 1, 1e-6);
    assert_near(distances[5], 1.5, 1e-6);
}

static void what_a_network_copies_perfectly_divides_by_no_zero(void **state)
{
    (void)state;
    const float nothing[5 * 2] = {0}, something[] = {0.5F, 0};
    double distances[1];

    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(nothing, 5, nothing, 5, 2, &residual), 0);
    measure(residual, nothing, 2, 1, distances);
    assert_true(distances[0] == 0);
    measure(residual, something, 2, 1, distances);
    assert_true(isfinite(distances[0]) && distances[0] > 10);
}

static void wide_rows_that_never_vary_divide_by_no_zero(void **state)
{
    (void)state;
    double distances[N_NEW];

    memset(trained, 0, sizeof(trained));
    memset(held, 0, sizeof(held));
    make_rows(100, N_NEW, WIDE, fresh);
    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(trained, N_TRAINED, held, N_HELD, WIDE, &residual), 0);
    measure(residual, fresh, WIDE, N_NEW, distances);
    for (size_t i = 0; i < N_NEW; i++)
        assert_true(isfinite(distances[i]) && distances[i] > 10);
}

static void one_row_of_each_kind_can_be_fitted(void **state)
{
    (void)state;
    const float one[] = {1, 2, 3};
    double distances[1];

    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(one, 1, one, 1, 3, &residual), 0);
    measure(residual, one, 3, 1, distances);
    assert_true(distances[0] >= 0 && distances[0] <= 1);
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    static const size_t widths[] = {5, 37, WIDE};

    for (size_t w = 0; w < 3; w++) {
        double alone[N_HELD], batch[N_HELD];
        fit(widths[w]);
        for (size_t i = 0; i < N_HELD; i++)
            measure(residual, held + i * widths[w], widths[w], 1, alone + i);
        for (size_t n = 1; n <= N_HELD; n++) {
            measure(residual, held, widths[w], n, batch);
            assert_memory_equal(batch, alone, n * sizeof(*alone));
        }
    }
}

static void rows_may_stand_apart(void **state)
{
    (void)state;
    float apart[N_NEW * 9];
    double distances[N_NEW], expected[N_NEW];

    fit(5);
    for (size_t i = 0; i < N_NEW * 9; i++)
        apart[i] = i % 9 < 5 ? fresh[i / 9 * 5 + i % 9] : NAN;
    measure(residual, fresh, 5, N_NEW, expected);
    measure(residual, apart, 9, N_NEW, distances);
    assert_memory_equal(distances, expected, sizeof(expected));
}

static struct residual_parts parts_of(const struct residual *of)
{
    return (struct residual_parts){
        .n_values = of->n_values,
        .n_directions = of->n_directions,
        .mean = of->mean,
        .whitening = of->whitening,
        .variances = of->variances,
        .rest_variance = of->rest_variance,
        .scale = of->scale,
    };
}

static void kept_numbers_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++) {
        CLEANUP(residual_freep) struct residual *read = NULL;
        double distances[N_NEW], expected[N_NEW];
        fit(golden[g].n);
        const struct residual_parts parts = parts_of(residual);
        assert_int_equal(residual_new(&parts, &read), 0);
        measure(residual, fresh, golden[g].n, N_NEW, expected);
        measure(read, fresh, golden[g].n, N_NEW, distances);
        assert_memory_equal(distances, expected, sizeof(expected));
    }
}

static void assert_refused(const struct residual_parts *parts)
{
    struct residual *read = NULL;

    assert_int_equal(residual_new(parts, &read), -EINVAL);
    assert_null(read);
}

/* Refused with one number replaced, taken without. */
static void assert_checks_floats(const struct residual_parts *parts, float *number,
                                 const float *bad, size_t n_bad)
{
    const float kept = *number;
    CLEANUP(residual_freep) struct residual *read = NULL;

    for (size_t i = 0; i < n_bad; i++) {
        *number = bad[i];
        assert_refused(parts);
    }
    *number = kept;
    assert_int_equal(residual_new(parts, &read), 0);
}

static void impossible_numbers_of_a_file_are_refused_untouched(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0, -1};

    fit(WIDE);
    struct residual_parts parts = parts_of(residual);
    assert_checks_floats(&parts, &residual->mean[WIDE - 1], bad, 3);
    assert_checks_floats(&parts, &residual->whitening[8 * WIDE - 1], bad, 3);
    assert_checks_floats(&parts, &residual->variances[7], bad, 5);
    for (size_t i = 0; i < 5; i++) {
        parts.rest_variance = (double)bad[i];
        assert_refused(&parts);
    }
    parts.rest_variance = 1;
    for (size_t i = 0; i < 5; i++) {
        parts.scale = (double)bad[i];
        assert_refused(&parts);
    }
}

static void residuals_that_are_not_finite_are_an_error(void **state)
{
    (void)state;
    static const size_t widths[] = {5, WIDE};
    static const float bad[] = {NAN, INFINITY};
    struct residual *made = NULL;

    for (size_t w = 0; w < 2; w++)
        for (size_t i = 0; i < 2; i++) {
            fit(widths[w]);
            trained[3] = bad[i];
            assert_int_equal(residual_fit(trained, N_TRAINED, held, N_HELD, widths[w], &made),
                             -EDOM);
            assert_null(made);
        }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++) {
        int r = -ENOMEM, nth = 0;
        fit(golden[g].n);
        for (; r == -ENOMEM && nth < 100; nth++) {
            CLEANUP(residual_freep) struct residual *made = NULL;
            CLEANUP(residual_freep) struct residual *read = NULL;
            alloc_fail_in = nth;
            r = residual_fit(trained, N_TRAINED, held, N_HELD, golden[g].n, &made);
            if (r == 0) {
                const struct residual_parts parts = parts_of(made);
                r = residual_new(&parts, &read);
            }
            alloc_fail_in = -1;
            assert_int_equal(!read, r < 0);
        }
        assert_int_equal(r, 0);
        assert_true(nth > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_those_of_numpy),
        cmocka_unit_test(at_most_half_of_the_values_are_directions),
        cmocka_unit_test(a_step_where_rows_hardly_vary_counts_more),
        cmocka_unit_test(a_held_row_in_the_middle_is_at_one),
        cmocka_unit_test(what_a_network_copies_perfectly_divides_by_no_zero),
        cmocka_unit_test(wide_rows_that_never_vary_divide_by_no_zero),
        cmocka_unit_test(one_row_of_each_kind_can_be_fitted),
        cmocka_unit_test(a_row_gives_the_same_bits_alone_and_in_any_batch),
        cmocka_unit_test(rows_may_stand_apart),
        cmocka_unit_test(kept_numbers_give_the_same_bits),
        cmocka_unit_test(impossible_numbers_of_a_file_are_refused_untouched),
        cmocka_unit_test(residuals_that_are_not_finite_are_an_error),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
