#include "detector/residual.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define WIDE      (RESIDUAL_MAX_WHITENED + 1)
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

/* from sklearn.covariance import ledoit_wolf        # 1.2.1
 * def make(first, n, d):
 *     return np.float32([[((7*i*i + 13*j + 5*i*j + 3*j*j) % 101 - 50) / (10 * (1 + j % 7))
 *                         for j in range(d)] for i in range(first, first + n)]).astype(float)
 * for d in 5, 401:
 *     R, H = make(0, 60, d), make(60, 21, d)
 *     mean, sd = R.mean(0), np.sqrt((R.var(0) + H.var(0)) / 2 + 1e-3)
 *     values, vectors = np.linalg.eigh(np.cov(R.T, bias=True))
 *     rest = values[:-8].mean() if d > 400 else 0
 *     def squares(r):
 *         off = r - mean
 *         if d <= 400:
 *             return np.einsum('ij,jk,ik->i', off, np.linalg.inv(ledoit_wolf(R)[0]), off)
 *         p = off @ vectors[:, -8:]
 *         return (p**2 / values[-8:]).sum(1) + ((off**2).sum(1) - (p**2).sum(1)) / rest
 *     distances = lambda r: np.sqrt([(r**2).sum(1), ((r / sd)**2).sum(1), squares(r)])
 *     scales = np.median(distances(H), axis=1)
 *     print(d, rest, scales, (distances(make(100, 6, d)).T / scales).mean(1)) */
static const struct {
    size_t n, n_directions;
    double rest_variance, scales[3], distances[N_NEW];
} golden[] = {
    {5,
     5,                       0,
     {3.10988750334028, 2.22062578990062, 2.14235190158319},
     {1.18662413175431, 1.4021482364187, 1.2126472239844, 0.837821986405841, 0.951213503665762,
      1.17554957242606} },
    {WIDE,
     RESIDUAL_TOP_DIRECTIONS, 1.278067557112436,
     {26.5546769169324, 19.6749303257568, 22.86142156845},
     {1.04598230727773, 1.00191395411577, 0.952504388170635, 0.991289107848866, 1.03883155919463,
      0.920422511631642}},
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
        for (size_t kind = 0; kind < 3; kind++)
            assert_near(residual->scales[kind], golden[g].scales[kind], 1e-5);
        measure(residual, fresh, golden[g].n, N_NEW, distances);
        for (size_t i = 0; i < N_NEW; i++)
            assert_near(distances[i], golden[g].distances[i], 1e-5);
    }
}

static void up_to_the_limit_all_directions_count(void **state)
{
    (void)state;
    fit(RESIDUAL_MAX_WHITENED);
    assert_int_equal(residual->n_directions, RESIDUAL_MAX_WHITENED);
    assert_null(residual->variances);
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

/* The deviation is of both kinds of rows, so that what the network has learned by heart does not
 * count as certain. */
static void deviation_is_of_trained_and_held_rows(void **state)
{
    (void)state;
    const float known[] = {0.1F, -0.1F, 0.1F, -0.1F}, unknown[] = {3, -3};

    residual_free(TAKE(residual));
    assert_int_equal(residual_fit(known, 4, unknown, 2, 1, &residual), 0);
    assert_near((double)residual->std[0], sqrt((0.01 + 9) / 2 + 1e-3), 1e-6);
    assert_near((double)residual->inv_std[0], 1 / sqrt((0.01 + 9) / 2 + 1e-3), 1e-6);
    assert_near((double)residual->mean[0], 0, 1e-7);
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
    assert_true(isfinite(distances[0]) && distances[0] > 1e6);
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
        assert_true(isfinite(distances[i]) && distances[i] > 1e6);
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
        .std = of->std,
        .whitening = of->whitening,
        .variances = of->variances,
        .rest_variance = of->rest_variance,
        .scales = of->scales,
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
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0, -1, FLT_TRUE_MIN}; /* 1 / the last */

    fit(WIDE);
    struct residual_parts parts = parts_of(residual);
    assert_checks_floats(&parts, &residual->mean[400], bad, 3);
    assert_checks_floats(&parts, &residual->whitening[8 * WIDE - 1], bad, 3);
    assert_checks_floats(&parts, &residual->std[400], bad, 6);
    assert_checks_floats(&parts, &residual->variances[7], bad, 6);
    for (size_t i = 0; i < 5; i++) {
        parts.rest_variance = (double)bad[i];
        assert_refused(&parts);
    }
    parts.rest_variance = 1;
    for (size_t i = 0; i < 15; i++) {
        double scales[] = {1, 1, 1};
        scales[i / 5] = (double)bad[i % 5];
        parts.scales = scales;
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
        cmocka_unit_test(up_to_the_limit_all_directions_count),
        cmocka_unit_test(a_held_row_in_the_middle_is_at_one),
        cmocka_unit_test(deviation_is_of_trained_and_held_rows),
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
