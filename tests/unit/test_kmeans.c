#include "nn/kmeans.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS 1000 /* more than one block, and not a whole number of them */
#define N      3

static float rows[N_ROWS * N];

/* Row i lies about corner i % 4 of a square of side 100. */
static void make_blobs(double deviation)
{
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        rows[i * N] = (float)(100.0 * (double)(i % 2) + deviation * random_normal(&random));
        rows[i * N + 1] = (float)(100.0 * (double)(i / 2 % 2) + deviation * random_normal(&random));
        rows[i * N + 2] = (float)(deviation * random_normal(&random));
    }
}

static int cluster(uint64_t seed, size_t k, size_t n_rounds, float *centroids, size_t *ret_k,
                   uint32_t *nearest)
{
    struct random random;

    random_seed(&random, seed);
    return kmeans(rows, N_ROWS, N, k, n_rounds, &random, centroids, ret_k, nearest);
}

static double square_distance(const float *a, const float *b)
{
    double sum = 0;

    for (size_t j = 0; j < N; j++)
        sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    return sum;
}

static double smallest_distance(const float *row, const float *centroids, size_t k)
{
    double smallest = INFINITY;

    for (size_t c = 0; c < k; c++)
        smallest = fmin(smallest, square_distance(row, centroids + c * N));
    return smallest;
}

static double inertia(const float *centroids, size_t k)
{
    double sum = 0;

    for (size_t i = 0; i < N_ROWS; i++)
        sum += smallest_distance(rows + i * N, centroids, k);
    return sum;
}

/* Some random start has a row in each; from there Lloyd's rounds cannot leave. */
static void separate_blobs_are_found(void **state)
{
    (void)state;
    float centroids[4 * N];
    uint32_t nearest[N_ROWS];
    double best = INFINITY;
    size_t k;

    make_blobs(1.0);
    for (uint64_t seed = 0; seed < 20 && best > 4.0 * N_ROWS; seed++) {
        assert_int_equal(cluster(seed, 4, 8, centroids, &k, nearest), 0);
        best = inertia(centroids, k);
    }
    assert_int_equal(k, 4);
    assert_true(best < 4.0 * N_ROWS); /* variance 1 in three dimensions */
    for (size_t i = 0; i < N_ROWS; i++)
        assert_int_equal(nearest[i], nearest[i % 4]);
    for (size_t c = 0; c < 4; c++) {
        const float corner[] = {100.0F * (float)(c % 2), 100.0F * (float)(c / 2), 0};
        assert_true(square_distance(centroids + nearest[c] * N, corner) < 0.1);
    }
}

static void a_centroid_is_the_mean_of_its_rows(void **state)
{
    (void)state;
    float before[7 * N], after[7 * N];
    uint32_t nearest[N_ROWS];
    size_t k_before, k_after;

    make_blobs(30.0);
    assert_int_equal(cluster(5, 7, 3, before, &k_before, nearest), 0);
    assert_int_equal(cluster(5, 7, 4, after, &k_after, NULL), 0);
    assert_int_equal(k_before, 7);
    assert_int_equal(k_after, 7);
    for (size_t c = 0; c < 7; c++) {
        double sum[N] = {0}, count = 0;
        for (size_t i = 0; i < N_ROWS; i++) {
            if (nearest[i] != c)
                continue;
            count++;
            for (size_t j = 0; j < N; j++)
                sum[j] += (double)rows[i * N + j];
        }
        for (size_t j = 0; j < N; j++)
            assert_true(fabs(sum[j] / count - (double)after[c * N + j]) < 1e-4);
    }
}

static void nearest_belongs_to_the_final_centroids(void **state)
{
    (void)state;
    float centroids[50 * N];
    uint32_t nearest[N_ROWS];
    size_t k;

    make_blobs(30.0);
    assert_int_equal(cluster(2, 50, 2, centroids, &k, nearest), 0); /* far from converged */
    for (size_t i = 0; i < N_ROWS; i++) {
        assert_true(nearest[i] < k);
        const double have = square_distance(rows + i * N, centroids + nearest[i] * N);
        assert_true(have <= smallest_distance(rows + i * N, centroids, k) + 0.02);
    }
}

static void without_rounds_centroids_are_different_rows(void **state)
{
    (void)state;
    float centroids[(N_ROWS - 1) * N];
    size_t k, at = 0;

    make_blobs(30.0);
    assert_int_equal(cluster(3, N_ROWS - 1, 0, centroids, &k, NULL), 0);
    assert_int_equal(k, N_ROWS - 1);
    for (size_t c = 0; c < k; c++, at++) { /* the rows in their order, but for the one left out */
        if (memcmp(centroids + c * N, rows + at * N, N * sizeof(float)) != 0)
            at++;
        assert_memory_equal(centroids + c * N, rows + at * N, N * sizeof(float));
    }
}

static void every_row_is_as_likely_to_be_a_start(void **state)
{
    (void)state;
    size_t times[10] = {0};
    struct random random;

    random_seed(&random, 4);
    for (size_t trial = 0; trial < 10000; trial++) {
        const float numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
        float centroids[3];
        size_t k;
        assert_int_equal(kmeans(numbers, 10, 1, 3, 0, &random, centroids, &k, NULL), 0);
        for (size_t c = 0; c < 3; c++)
            times[(size_t)centroids[c]]++;
    }
    for (size_t i = 0; i < 10; i++) /* 3000 expected, deviation 46 */
        assert_in_range(times[i], 2800, 3200);
}

static void empty_clusters_are_dropped(void **state)
{
    (void)state;
    float centroids[20 * N];
    uint32_t nearest[N_ROWS];
    size_t k;

    make_blobs(0.0); /* four different rows: at most four of twenty keep any */
    assert_int_equal(cluster(1, 20, 1, centroids, &k, nearest), 0);
    assert_int_equal(k, 4);
    for (size_t i = 0; i < N_ROWS; i++)
        assert_true(square_distance(centroids + nearest[i] * N, rows + i * N) == 0);
}

static void equal_rows_are_one_cluster(void **state)
{
    (void)state;
    float centroids[5 * N];
    uint32_t nearest[N_ROWS];
    size_t k;

    for (size_t i = 0; i < N_ROWS * N; i++)
        rows[i] = 0.1F;
    assert_int_equal(cluster(1, 5, 8, centroids, &k, nearest), 0);
    assert_int_equal(k, 1);
    for (size_t j = 0; j < N; j++)
        assert_true(centroids[j] == 0.1F);

    assert_int_equal(cluster(1, 5, 0, centroids, &k, nearest), 0);
    assert_int_equal(k, 5);
    assert_int_equal(nearest[N_ROWS - 1], 0); /* the first of equally near ones */
}

static void as_many_centroids_as_rows_are_the_rows(void **state)
{
    (void)state;
    const float few[] = {1, 2, 3, 3, 2, 1, 1, 2, 3};
    struct random random;

    random_seed(&random, 1);
    for (size_t k = 3; k <= 4; k++) {
        float centroids[4 * N] = {0};
        uint32_t nearest[3] = {9, 9, 9};
        size_t got = 0;
        assert_int_equal(kmeans(few, 3, N, k, 8, &random, centroids, &got, nearest), 0);
        assert_int_equal(got, 3);
        assert_memory_equal(centroids, few, sizeof(few));
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(nearest[i], i);
        assert_int_equal(kmeans(few, 3, N, k, 8, &random, centroids, &got, NULL), 0);
    }
}

static void inertia_never_rises_over_the_rounds(void **state)
{
    (void)state;
    float centroids[40 * N];
    double before = INFINITY;
    size_t k;

    make_blobs(30.0);
    for (size_t n_rounds = 0; n_rounds < 12; n_rounds++) {
        assert_int_equal(cluster(6, 40, n_rounds, centroids, &k, NULL), 0);
        assert_int_equal(k, 40); /* a dropped centroid might raise it */
        const double now = inertia(centroids, k);
        assert_true(now <= before * (1 + 1e-6));
        assert_true(n_rounds != 1 || now < 0.9 * before);
        before = now;
    }
}

static void the_same_seed_gives_the_same_centroids(void **state)
{
    (void)state;
    float a[40 * N] = {0}, b[40 * N] = {0}, other[40 * N] = {0};
    size_t k_a, k_b;

    make_blobs(30.0);
    assert_int_equal(cluster(7, 40, 8, a, &k_a, NULL), 0);
    assert_int_equal(cluster(7, 40, 8, b, &k_b, NULL), 0);
    assert_int_equal(k_a, k_b);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_equal(cluster(8, 40, 8, other, &k_b, NULL), 0);
    assert_memory_not_equal(a, other, sizeof(a));
}

static void rows_beyond_float_squares_still_get_a_centroid(void **state)
{
    (void)state;
    float centroids[4 * N];
    uint32_t nearest[N_ROWS];
    size_t k;

    make_blobs(1.0);
    for (size_t j = 0; j < N; j++)
        rows[j] = 3e38F; /* its square is infinite, and so is any product with it */
    for (uint64_t seed = 0; seed < 300; seed++) {
        assert_int_equal(cluster(seed, 4, 2, centroids, &k, nearest), 0);
        assert_in_range(k, 1, 4);
        for (size_t i = 0; i < N_ROWS; i++)
            assert_true(nearest[i] < k);
        for (size_t i = 0; i < k * N; i++)
            assert_true(isfinite(centroids[i]));
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;
    int nth = 0;

    make_blobs(30.0);
    for (; r == -ENOMEM && nth < 100; nth++) {
        float centroids[4 * N] = {7};
        size_t k = 7;
        alloc_fail_in = nth;
        r = cluster(1, 4, 2, centroids, &k, NULL);
        alloc_fail_in = -1;
        assert_true(r == 0 || (centroids[0] == 7 && k == 7));
    }
    assert_int_equal(r, 0);
    assert_true(nth > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separate_blobs_are_found),
        cmocka_unit_test(a_centroid_is_the_mean_of_its_rows),
        cmocka_unit_test(nearest_belongs_to_the_final_centroids),
        cmocka_unit_test(without_rounds_centroids_are_different_rows),
        cmocka_unit_test(every_row_is_as_likely_to_be_a_start),
        cmocka_unit_test(empty_clusters_are_dropped),
        cmocka_unit_test(equal_rows_are_one_cluster),
        cmocka_unit_test(as_many_centroids_as_rows_are_the_rows),
        cmocka_unit_test(inertia_never_rises_over_the_rounds),
        cmocka_unit_test(the_same_seed_gives_the_same_centroids),
        cmocka_unit_test(rows_beyond_float_squares_still_get_a_centroid),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
