#include "nn/covariance.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS 300
#define MAX_N    8

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

/* Integers, so that Python has the same. */
static void make_rows(float *rows, size_t n_rows, size_t n)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n; j++)
            rows[i * n + j] = (float)((7 * i * i + 13 * j + 5 * i * j + 3 * j * j) % 11 + 100 * j);
}

/* import numpy as np
 * from sklearn.covariance import ledoit_wolf        # 1.2.1
 * for n_rows, n in (8, 3), (3, 5), (300, 4), (7, 1):
 *     X = np.array([[(7*i*i + 13*j + 5*i*j + 3*j*j) % 11 + 100*j for j in range(n)]
 *                   for i in range(n_rows)], float)
 *     covariance, shrinkage = ledoit_wolf(X)
 *     print(shrinkage)
 *     for row in covariance: print(', '.join('%.15g' % v for v in row)) */
static const double of_8_rows[] = {12.5517737078491,  -1.22456699689941,  4.95037722150824,
                                   -1.22456699689941, 9.00834580192746,   -0.885856976480422,
                                   4.95037722150824,  -0.885856976480422, 14.4711304902234};
static const double of_3_rows[] = {
    8.07893929612995,  1.70181438597937,  -1.03140265816931, 0.773551993626986,  2.57850664542329,
    1.70181438597937,  5.80985344815746,  2.63007677833175,  1.39239358852857,   0.154710398725397,
    -1.03140265816931, 2.63007677833175,  9.93546408083471,  2.01123518343016,   -2.26908584797249,
    0.773551993626986, 1.39239358852857,  2.01123518343016,  4.57217025835428,   -0.154710398725397,
    2.57850664542329,  0.154710398725397, -2.26908584797249, -0.154710398725397, 5.6035729165236};
static const double of_300_rows[] = {
    10.0790725884217,   -0.914991395099521, 5.58832946978954,  1.01200972999837,
    -0.914991395099521, 8.14830813731312,   0.050348899245724, 0.924960540046985,
    5.58832946978954,   0.050348899245724,  13.8279742631776,  0.98735417908729,
    1.01200972999837,   0.924960540046985,  0.98735417908729,  11.9993227888654};
static const double of_one_feature[] = {12.6938775510204};

static const struct {
    size_t n_rows, n;
    double shrinkage;
    const double *covariance;
} golden[] = {
    {8,   3, 0.4441681716201275,  of_8_rows     },
    {3,   5, 0.5358688038238086,  of_3_rows     },
    {300, 4, 0.05654779676969699, of_300_rows   },
    {7,   1, 0.0,                 of_one_feature},
};

static void shrinks_as_sklearn_does(void **state)
{
    (void)state;
    float rows[MAX_ROWS * MAX_N];
    double mean[MAX_N], covariance[MAX_N * MAX_N], shrinkage;

    for (size_t g = 0; g < sizeof(golden) / sizeof(*golden); g++) {
        const size_t n = golden[g].n;
        make_rows(rows, golden[g].n_rows, n);
        assert_int_equal(
            covariance_ledoit_wolf(rows, golden[g].n_rows, n, mean, covariance, &shrinkage), 0);
        assert_near(shrinkage, golden[g].shrinkage, 1e-12);
        for (size_t i = 0; i < n * n; i++)
            assert_near(covariance[i], golden[g].covariance[i], 1e-12);
    }
}

static void empirical_covariance_is_the_textbooks(void **state)
{
    (void)state;
    const size_t n_rows = MAX_ROWS, n = 4; /* more than one block */
    float rows[MAX_ROWS * 4];
    double mean[4], covariance[16];

    make_rows(rows, n_rows, n);
    assert_int_equal(covariance_empirical(rows, n_rows, n, mean, covariance), 0);
    for (size_t a = 0; a < n; a++) {
        double sum = 0;
        for (size_t i = 0; i < n_rows; i++)
            sum += (double)rows[i * n + a];
        assert_near(mean[a], sum / (double)n_rows, 1e-14);
        for (size_t b = 0; b < n; b++) {
            double products = 0;
            for (size_t i = 0; i < n_rows; i++)
                products +=
                    ((double)rows[i * n + a] - mean[a]) * ((double)rows[i * n + b] - mean[b]);
            assert_near(covariance[a * n + b], products / (double)n_rows, 1e-12);
        }
    }
}

static void shrinkage_need_not_be_asked_for(void **state)
{
    (void)state;
    float rows[8 * 3];
    double mean[3], covariance[9];

    make_rows(rows, 8, 3);
    assert_int_equal(covariance_ledoit_wolf(rows, 8, 3, mean, covariance, NULL), 0);
    assert_near(covariance[0], golden[0].covariance[0], 1e-12);
}

static void what_could_be_all_chance_is_shrunk_to_a_sphere(void **state)
{
    (void)state;
    const float rows[] = {1, 0, -1, 0, 0, 1.5F, 0, -1.5F};
    double mean[2], covariance[4], shrinkage;

    assert_int_equal(covariance_ledoit_wolf(rows, 4, 2, mean, covariance, &shrinkage), 0);
    assert_true(shrinkage == 1);
    assert_near(covariance[0], (2 * 1 + 2 * 2.25) / 8, 1e-15);
    assert_near(covariance[3], covariance[0], 1e-15);
    assert_true(covariance[1] == 0 && covariance[2] == 0);
}

static void far_off_means_cost_no_digits(void **state)
{
    (void)state;
    float rows[8 * 3];
    double mean[3], near[9], far[9];

    make_rows(rows, 8, 3);
    assert_int_equal(covariance_ledoit_wolf(rows, 8, 3, mean, near, NULL), 0);
    for (size_t i = 0; i < 8 * 3; i++)
        rows[i] += 1e6F;
    assert_int_equal(covariance_ledoit_wolf(rows, 8, 3, mean, far, NULL), 0);
    for (size_t i = 0; i < 9; i++)
        assert_near(far[i], near[i], 1e-9);
}

static void one_row_has_no_covariance(void **state)
{
    (void)state;
    const float row[] = {0.1F, -5, 1e30F};
    double mean[3], covariance[9], shrinkage = 7;

    assert_int_equal(covariance_ledoit_wolf(row, 1, 3, mean, covariance, &shrinkage), 0);
    assert_true(shrinkage == 0);
    for (size_t i = 0; i < 3; i++)
        assert_true(mean[i] == (double)row[i]);
    for (size_t i = 0; i < 9; i++)
        assert_true(covariance[i] == 0);
}

static void constant_columns_have_exactly_no_variance(void **state)
{
    (void)state;
    float rows[50 * 2];
    double mean[2], covariance[4];

    for (size_t i = 0; i < 50; i++) {
        rows[2 * i] = 0.1F;
        rows[2 * i + 1] = (float)i;
    }
    assert_int_equal(covariance_empirical(rows, 50, 2, mean, covariance), 0);
    assert_true(mean[0] == (double)0.1F);
    assert_true(covariance[0] == 0 && covariance[1] == 0 && covariance[2] == 0);
    assert_near(covariance[3], (50.0 * 50.0 - 1.0) / 12.0, 1e-14);
}

/* y = W x. */
static void apply(const double *w, const double *x, size_t n, double *ret_y)
{
    for (size_t i = 0; i < n; i++) {
        ret_y[i] = 0;
        for (size_t j = 0; j < n; j++)
            ret_y[i] += w[i * n + j] * x[j];
    }
}

/* W C Wᵀ = I, and nothing above the diagonal of W. */
static void assert_whitens(const double *w, const double *covariance, size_t n, double tolerance)
{
    double column[MAX_N], across[MAX_N];

    for (size_t i = 0; i < n; i++) {
        apply(covariance, w + i * n, n, column);
        apply(w, column, n, across);
        for (size_t j = 0; j < n; j++) {
            assert_true(fabs(across[j] - (i == j)) < tolerance);
            assert_true(j <= i || w[i * n + j] == 0);
        }
    }
}

static void whitening_makes_the_covariance_the_identity(void **state)
{
    (void)state;
    float rows[MAX_ROWS * 4];
    double mean[4], covariance[16], kept[16], w[16];

    make_rows(rows, MAX_ROWS, 4);
    assert_int_equal(covariance_ledoit_wolf(rows, MAX_ROWS, 4, mean, covariance, NULL), 0);
    memcpy(kept, covariance, sizeof(kept));
    assert_int_equal(covariance_whiten(covariance, 4, w), 0);
    assert_whitens(w, kept, 4, 1e-12);
    for (size_t i = 0; i < 16; i++)
        assert_true(covariance[i] == kept[i]); /* nothing had to be raised */
}

static void whitened_length_is_the_mahalanobis_distance(void **state)
{
    (void)state;
    double covariance[] = {4, NAN, 2, 3}; /* only the lower triangle counts */
    const double x[] = {1, -2};
    double w[4], y[2];

    assert_int_equal(covariance_whiten(covariance, 2, w), 0);
    apply(w, x, 2, y);
    /* C⁻¹ = [3 -2; -2 4] / 8 */
    assert_near(y[0] * y[0] + y[1] * y[1], (3 * 1 + 2 * 2 * 2 + 4 * 4) / 8.0, 1e-14);
}

static void whitened_rows_have_covariance_one(void **state)
{
    (void)state;
    float rows[MAX_ROWS * 4];
    double mean[4], covariance[16], w[16];

    make_rows(rows, MAX_ROWS, 4);
    assert_int_equal(covariance_empirical(rows, MAX_ROWS, 4, mean, covariance), 0);
    assert_int_equal(covariance_whiten(covariance, 4, w), 0);
    for (size_t i = 0; i < MAX_ROWS; i++) {
        double centred[4], white[4];
        for (size_t j = 0; j < 4; j++)
            centred[j] = (double)rows[i * 4 + j] - mean[j];
        apply(w, centred, 4, white);
        for (size_t j = 0; j < 4; j++)
            rows[i * 4 + j] = (float)white[j];
    }
    assert_int_equal(covariance_empirical(rows, MAX_ROWS, 4, mean, covariance), 0);
    for (size_t i = 0; i < 16; i++)
        assert_true(fabs(covariance[i] - (i % 5 == 0)) < 1e-5);
}

static void singular_covariance_is_raised_until_it_can_be_inverted(void **state)
{
    (void)state;
    /* rank 1; rank 2 but for rounding; a feature that never moves; one of the wrong sign */
    double cases[][9] = {
        {1, 1, 1, 1, 1,               1, 1, 1, 1    },
        {1, 1, 0, 1, 1 + DBL_EPSILON, 0, 0, 0, 1    },
        {2, 1, 0, 1, 2,               0, 0, 0, 0    },
        {1, 0, 0, 0, 1,               0, 0, 0, -1e-5},
    };

    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        double before[9], w[9];
        memcpy(before, cases[c], sizeof(before));
        assert_int_equal(covariance_whiten(cases[c], 3, w), 0);
        assert_whitens(w, cases[c], 3, 1e-6);
        for (size_t i = 0; i < 9; i++) {
            const double raised = cases[c][i] - before[i];
            assert_true(i % 4 == 0 ? raised >= 1e-8 && raised < 1e-3 : raised == 0);
        }
    }
}

static void covariance_of_nothing_that_moves_is_whitened_to_finite_numbers(void **state)
{
    (void)state;
    double covariance[4] = {0}, w[4];

    assert_int_equal(covariance_whiten(covariance, 2, w), 0);
    assert_near(w[0], 1e3, 1e-9);
    assert_near(w[3], 1e3, 1e-9);
    assert_true(w[1] == 0 && w[2] == 0);
}

static void duplicated_features_with_fewer_rows_than_features_are_whitened(void **state)
{
    (void)state;
    float rows[3 * 8];
    double mean[8], covariance[64], w[64];

    make_rows(rows, 3, 8);
    for (size_t i = 0; i < 3; i++)
        rows[i * 8 + 7] = rows[i * 8];
    assert_int_equal(covariance_empirical(rows, 3, 8, mean, covariance), 0);
    assert_int_equal(covariance_whiten(covariance, 8, w), 0);
    assert_whitens(w, covariance, 8, 1e-6);
}

static void what_is_not_finite_is_refused_untouched(void **state)
{
    (void)state;
    static const double bad[] = {NAN, INFINITY, -INFINITY, 1e300};
    double w = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        double covariance[] = {bad[i]};
        assert_int_equal(covariance_whiten(covariance, 1, &w), -EINVAL);
        assert_true(w == 7);
    }
}

static void whitening_is_the_same_for_a_wide_matrix(void **state)
{
    (void)state;
    const size_t n = 150; /* where LAPACK works in blocks */
    AUTO_FREE double *covariance = calloc(n * n, sizeof(*covariance));
    AUTO_FREE double *w = calloc(n * n, sizeof(*w));

    assert_true(covariance && w);
    /* C = L Lᵀ of a bidiagonal L, so that C[i][i] = 1.25, C[i][i-1] = 0.5 and L⁻¹ is known */
    for (size_t i = 0; i < n; i++) {
        covariance[i * n + i] = i == 0 ? 1.0 : 1.25;
        if (i > 0)
            covariance[i * n + i - 1] = 0.5;
    }
    assert_int_equal(covariance_whiten(covariance, n, w), 0);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            assert_true(fabs(w[i * n + j] - (j > i ? 0.0 : pow(-0.5, (double)(i - j)))) < 1e-14);
}

static void the_inverse_times_the_covariance_is_the_identity(void **state)
{
    (void)state;
    float rows[40 * 5];
    double mean[5], covariance[25], inverse[25];

    make_rows(rows, 40, 5);
    assert_int_equal(covariance_ledoit_wolf(rows, 40, 5, mean, covariance, NULL), 0);
    assert_int_equal(covariance_invert(covariance, 5, inverse), 0);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < 5; k++)
                sum += covariance[i * 5 + k] * inverse[k * 5 + j];
            assert_true(fabs(sum - (i == j)) < 1e-9);
            assert_true(inverse[i * 5 + j] == inverse[j * 5 + i]);
        }
    covariance[0] = NAN;
    assert_int_equal(covariance_invert(covariance, 5, inverse), -EINVAL);
    alloc_fail_in = 0;
    assert_int_equal(covariance_invert(covariance, 5, inverse), -ENOMEM);
    alloc_fail_in = -1;
}

static void a_failed_allocation_leaves_everything_untouched(void **state)
{
    (void)state;
    float rows[8 * 3];
    double mean[3] = {7}, covariance[9] = {7}, shrinkage = 7;

    make_rows(rows, 8, 3);
    alloc_fail_in = 0;
    const int r = covariance_ledoit_wolf(rows, 8, 3, mean, covariance, &shrinkage);
    alloc_fail_in = 0;
    const int s = covariance_empirical(rows, 8, 3, mean, covariance);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(s, -ENOMEM);
    assert_true(mean[0] == 7 && covariance[0] == 7 && shrinkage == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrinks_as_sklearn_does),
        cmocka_unit_test(empirical_covariance_is_the_textbooks),
        cmocka_unit_test(shrinkage_need_not_be_asked_for),
        cmocka_unit_test(what_could_be_all_chance_is_shrunk_to_a_sphere),
        cmocka_unit_test(far_off_means_cost_no_digits),
        cmocka_unit_test(one_row_has_no_covariance),
        cmocka_unit_test(constant_columns_have_exactly_no_variance),
        cmocka_unit_test(whitening_makes_the_covariance_the_identity),
        cmocka_unit_test(whitened_length_is_the_mahalanobis_distance),
        cmocka_unit_test(whitened_rows_have_covariance_one),
        cmocka_unit_test(singular_covariance_is_raised_until_it_can_be_inverted),
        cmocka_unit_test(covariance_of_nothing_that_moves_is_whitened_to_finite_numbers),
        cmocka_unit_test(duplicated_features_with_fewer_rows_than_features_are_whitened),
        cmocka_unit_test(what_is_not_finite_is_refused_untouched),
        cmocka_unit_test(whitening_is_the_same_for_a_wide_matrix),
        cmocka_unit_test(the_inverse_times_the_covariance_is_the_identity),
        cmocka_unit_test(a_failed_allocation_leaves_everything_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
