#include "detector/clusters.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define N_ROWS 40
#define N      4
#define N_NEW  6

static struct clusters *clusters;
static float rows[N_ROWS * N], fresh[N_NEW * N];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

static void make_rows(size_t first, size_t n_rows, float *out)
{
    for (size_t i = first; i < first + n_rows; i++)
        for (size_t j = 0; j < N; j++)
            *out++ = (float)((7 * i * i + 13 * j + 5 * i * j + 3 * j * j) % 11) / 4;
}

static int set_up(void **state)
{
    (void)state;
    make_rows(0, N_ROWS, rows);
    make_rows(100, N_NEW, fresh);
    for (size_t i = 0; i < N_NEW; i++) {
        fresh[i * N] += 3;
        fresh[i * N + 2] -= 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clusters_free(TAKE(clusters));
    return 0;
}

/* Two clouds far apart: every start of k-means ends there. */
static void move_apart(void)
{
    for (size_t i = 0; i < N_ROWS; i += 2)
        for (size_t j = 0; j < N; j++)
            rows[i * N + j] += 50;
    for (size_t i = 3; i < N_NEW; i++)
        for (size_t j = 0; j < N; j++)
            fresh[i * N + j] += 50;
}

static void fit(size_t n_rows, size_t n_clusters)
{
    struct random random;

    random_seed(&random, 1);
    clusters_free(TAKE(clusters));
    assert_int_equal(clusters_fit(rows, n_rows, N, n_clusters, &random, &clusters), 0);
}

static void measure(const float *points, const bool *is_missing, size_t n_rows,
                    double *ret_distances)
{
    AUTO_FREE float *scratch = malloc(clusters_scratch_floats(clusters, n_rows) * sizeof(*scratch));
    assert_non_null(scratch);
    clusters_distances(clusters, scratch, points, is_missing, n_rows, ret_distances);
}

static void assert_distances(const double *expected)
{
    double distances[N_NEW];

    measure(fresh, NULL, N_NEW, distances);
    for (size_t i = 0; i < N_NEW; i++)
        assert_near(distances[i], expected[i], 1e-5);
}

/* from sklearn.covariance import ledoit_wolf        # 1.2.1
 * d = 4
 * make = lambda first, n: np.float32([[((7*i*i + 13*j + 5*i*j + 3*j*j) % 11) / 4
 *            for j in range(d)] for i in range(first, first + n)]).astype(float)
 * Z, U = make(0, 40), make(100, 6) + [3, 0, -1, 0]
 * def shapes(Z, C):
 *     near = ((Z[:, None] - C)**2).sum(2).argmin(1)
 *     W, _ = ledoit_wolf(Z - C[near])
 *     for j in range(len(C)):
 *         X = Z[near == j] - C[j]
 *         yield (X.T @ X + 2 * d * W) / (len(X) + 2 * d) + 1e-4 * np.eye(d)
 * def show(C):
 *     print(np.sqrt(np.min([np.einsum('ij,jk,ik->i', U - c, np.linalg.inv(s), U - c)
 *                           for c, s in zip(C, shapes(Z, C))], axis=0)))
 * show(Z.mean(0)[None])
 * Z[::2] += 50; U[3:] += 50
 * show(np.stack([Z[1::2].mean(0), Z[::2].mean(0)])) */
static void one_cloud_is_measured_as_numpy_does(void **state)
{
    (void)state;
    static const double expected[N_NEW] = {6.61838466873489, 4.78374277654062, 4.90176824701402,
                                           4.10609968626706, 5.61046753945867, 5.89653149435315};

    fit(N_ROWS, 1);
    assert_int_equal(clusters->n_clusters, 1);
    assert_distances(expected);
}

static void the_nearest_of_two_clouds_counts_each_with_its_own_shape(void **state)
{
    (void)state;
    static const double expected[N_NEW] = {6.66901244393872, 4.86079839542119, 4.9333572682684,
                                           4.0109190448624,  5.43742411433697, 5.8272600117864};

    move_apart();
    fit(N_ROWS, 2);
    assert_int_equal(clusters->n_clusters, 2);
    assert_distances(expected);
}

static void whitening_is_lower_triangular(void **state)
{
    (void)state;
    move_apart();
    fit(N_ROWS, 2);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < N; i++)
            for (size_t j = i + 1; j < N; j++)
                assert_true(clusters->whitening[(k * N + i) * N + j] == 0);
}

static void there_are_ten_rows_for_a_cluster(void **state)
{
    (void)state;
    fit(N_ROWS, 100);
    assert_in_range(clusters->n_clusters, 2, 4);
    fit(19, 100);
    assert_int_equal(clusters->n_clusters, 1);
    fit(3, 100);
    assert_int_equal(clusters->n_clusters, 1);
}

static void rows_that_never_vary_have_the_least_variance(void **state)
{
    (void)state;
    double distance;

    for (size_t i = 0; i < N_ROWS * N; i++)
        rows[i] = 1;
    fit(N_ROWS, 1);
    measure(rows, NULL, 1, &distance);
    assert_near(distance, 0, 1e-4);
    measure((const float[]){1, 1, 1.5F, 1}, NULL, 1, &distance);
    assert_near(distance, 0.5 / sqrt(1e-4), 1e-5);
}

static void one_row_can_be_fitted(void **state)
{
    (void)state;
    double distance;

    fit(1, 4);
    measure(rows, NULL, 1, &distance);
    assert_near(distance, 0, 1e-3);
}

static void the_same_seed_fits_the_same(void **state)
{
    (void)state;
    double first[N_NEW], second[N_NEW];

    fit(N_ROWS, 3);
    measure(fresh, NULL, N_NEW, first);
    fit(N_ROWS, 3);
    measure(fresh, NULL, N_NEW, second);
    assert_memory_equal(second, first, sizeof(first));
}

/* Square distance to a cluster by the textbook loop. */
static double square_distance(size_t k, const double *off)
{
    double sum = 0;

    for (size_t i = 0; i < N; i++) {
        double white = 0;
        for (size_t j = 0; j < N; j++)
            white += (double)clusters->whitening[(k * N + i) * N + j] * off[j];
        sum += white * white;
    }
    return sum;
}

static double textbook(const float *row, const bool *is_missing)
{
    double nearest = INFINITY, n_present = 0;

    for (size_t j = 0; j < N; j++)
        n_present += !is_missing[j];
    for (size_t k = 0; k < clusters->n_clusters; k++) {
        double off[N];
        for (size_t j = 0; j < N; j++)
            off[j] = is_missing[j] ? 0 : (double)row[j] - (double)clusters->centers[k * N + j];
        nearest = fmin(nearest, square_distance(k, off));
    }
    return sqrt(nearest * N / n_present);
}

static void missing_values_are_at_the_center_and_scaled_up(void **state)
{
    (void)state;
    bool is_missing[N_NEW * N];
    double distances[N_NEW];

    move_apart();
    fit(N_ROWS, 2);
    for (size_t i = 0; i < N_NEW * N; i++)
        is_missing[i] = i % 5 == 2;
    measure(fresh, is_missing, N_NEW, distances);
    for (size_t i = 0; i < N_NEW; i++)
        assert_near(distances[i], textbook(fresh + i * N, is_missing + i * N), 1e-5);
}

static void a_row_with_nothing_is_at_zero(void **state)
{
    (void)state;
    bool is_missing[N_NEW * N] = {false};
    double distances[N_NEW];

    memset(is_missing + N, true, N);
    fit(N_ROWS, 2);
    measure(fresh, is_missing, N_NEW, distances);
    for (size_t i = 0; i < N_NEW; i++)
        assert_int_equal(distances[i] == 0, i == 1);
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    bool is_missing[N_ROWS * N] = {false};
    double alone[N_ROWS], batch[N_ROWS], complete[N_ROWS];

    fit(N_ROWS, 4);
    for (size_t i = 0; i < N_ROWS; i += 3)
        is_missing[i * N + i % N] = true;
    measure(rows, NULL, N_ROWS, complete);
    for (size_t i = 0; i < N_ROWS; i++) {
        measure(rows + i * N, is_missing + i * N, 1, alone + i);
        assert_int_equal(alone[i] == complete[i], i % 3 != 0);
    }
    for (size_t n = 1; n <= N_ROWS; n++) {
        measure(rows, is_missing, n, batch);
        assert_memory_equal(batch, alone, n * sizeof(*alone));
    }
}

static void kept_numbers_give_the_same_bits(void **state)
{
    (void)state;
    double expected[N_NEW], distances[N_NEW];

    fit(N_ROWS, 4);
    measure(fresh, NULL, N_NEW, expected);
    CLEANUP(clusters_freep) struct clusters *fitted = TAKE(clusters);
    assert_int_equal(
        clusters_new(fitted->centers, fitted->whitening, fitted->n_clusters, N, &clusters), 0);
    measure(fresh, NULL, N_NEW, distances);
    assert_memory_equal(distances, expected, sizeof(expected));
}

static void what_is_not_finite_is_refused_untouched(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct clusters *made = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        float centers[2 * N] = {0}, whitening[2 * N * N] = {0};
        centers[2 * N - 1] = bad[i];
        assert_int_equal(clusters_new(centers, whitening, 2, N, &made), -EINVAL);
        centers[2 * N - 1] = 0;
        whitening[2 * N * N - 1] = bad[i];
        assert_int_equal(clusters_new(centers, whitening, 2, N, &made), -EINVAL);
        assert_null(made);
    }
}

static void the_wildest_numbers_of_a_file_give_no_nan(void **state)
{
    (void)state;
    float centers[N], whitening[N * N];
    const bool is_missing[N] = {true};
    double distance;

    for (size_t i = 0; i < N * N; i++)
        whitening[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    for (size_t j = 0; j < N; j++)
        centers[j] = j % 2 ? FLT_MAX : -FLT_MAX;
    clusters_free(TAKE(clusters));
    assert_int_equal(clusters_new(centers, whitening, 1, N, &clusters), 0);
    measure(fresh, NULL, 1, &distance);
    assert_true(distance > 0);
    measure(fresh, is_missing, 1, &distance);
    assert_true(distance > 0);
}

static void rows_that_are_not_finite_are_an_error(void **state)
{
    (void)state;
    struct clusters *made = NULL;
    struct random random;

    random_seed(&random, 1);
    rows[5] = INFINITY;
    assert_int_equal(clusters_fit(rows, N_ROWS, N, 1, &random, &made), -EDOM);
    assert_null(made);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(clusters_freep) struct clusters *made = NULL;
        CLEANUP(clusters_freep) struct clusters *read = NULL;
        struct random random;
        random_seed(&random, 1);
        alloc_fail_in = nth;
        r = clusters_fit(rows, N_ROWS, N, 2, &random, &made);
        if (r == 0)
            r = clusters_new(made->centers, made->whitening, made->n_clusters, N, &read);
        alloc_fail_in = -1;
        assert_int_equal(!read, r < 0);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_cloud_is_measured_as_numpy_does, set_up),
        cmocka_unit_test_setup(the_nearest_of_two_clouds_counts_each_with_its_own_shape, set_up),
        cmocka_unit_test_setup(whitening_is_lower_triangular, set_up),
        cmocka_unit_test_setup(there_are_ten_rows_for_a_cluster, set_up),
        cmocka_unit_test_setup(rows_that_never_vary_have_the_least_variance, set_up),
        cmocka_unit_test_setup(one_row_can_be_fitted, set_up),
        cmocka_unit_test_setup(the_same_seed_fits_the_same, set_up),
        cmocka_unit_test_setup(missing_values_are_at_the_center_and_scaled_up, set_up),
        cmocka_unit_test_setup(a_row_with_nothing_is_at_zero, set_up),
        cmocka_unit_test_setup(a_row_gives_the_same_bits_alone_and_in_any_batch, set_up),
        cmocka_unit_test_setup(kept_numbers_give_the_same_bits, set_up),
        cmocka_unit_test_setup(what_is_not_finite_is_refused_untouched, set_up),
        cmocka_unit_test_setup(the_wildest_numbers_of_a_file_give_no_nan, set_up),
        cmocka_unit_test_setup(rows_that_are_not_finite_are_an_error, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
