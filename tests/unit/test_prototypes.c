#include "detector/prototypes.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define N_ROWS 33
#define N      7

static struct prototypes *prototypes;
static float rows[N_ROWS * N], centroids[20 * N];
static bool is_missing[N_ROWS * N];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

static void fill(float *values, size_t n, uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)random_normal(&random);
}

static int set_up(void **state)
{
    (void)state;
    fill(rows, N_ROWS * N, 1);
    fill(centroids, 20 * N, 2);
    memset(is_missing, 0, sizeof(is_missing));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    prototypes_free(TAKE(prototypes));
    return 0;
}

static void use(const float *points, size_t n_points, size_t n_features)
{
    prototypes_free(TAKE(prototypes));
    assert_int_equal(prototypes_new(points, n_points, n_features, &prototypes), 0);
}

static void measure(const float *points, const bool *missing, size_t n_rows, double *ret_distances)
{
    AUTO_FREE float *scratch =
        malloc(prototypes_scratch_floats(prototypes, n_rows) * sizeof(*scratch));
    assert_non_null(scratch);
    prototypes_distances(prototypes, scratch, points, missing, n_rows, ret_distances);
}

/* The smallest distance over the values that are there, scaled up. */
static double textbook(const float *row, const bool *missing, size_t n_centroids)
{
    double nearest = INFINITY, n_present = 0;

    for (size_t j = 0; j < N; j++)
        n_present += !missing[j];
    for (size_t k = 0; k < n_centroids; k++) {
        double sum = 0;
        for (size_t j = 0; j < N; j++)
            if (!missing[j])
                sum += pow((double)row[j] - (double)centroids[k * N + j], 2);
        nearest = fmin(nearest, sqrt(sum));
    }
    return sqrt(N / n_present) * nearest;
}

static void assert_as_textbook(size_t n_centroids, const bool *missing)
{
    double distances[N_ROWS];

    use(centroids, n_centroids, N);
    measure(rows, missing, N_ROWS, distances);
    for (size_t i = 0; i < N_ROWS; i++)
        assert_near(distances[i], textbook(rows + i * N, is_missing + i * N, n_centroids), 1e-6);
}

static void distance_is_to_the_nearest(void **state)
{
    (void)state;
    const float points[] = {0, 0, 30, 40}, row[] = {3, 4};
    double distance;

    for (size_t n_centroids = 1; n_centroids <= 20; n_centroids++)
        assert_as_textbook(n_centroids, NULL);
    use(points, 2, 2);
    measure(row, NULL, 1, &distance);
    assert_true(distance == 5);
}

static void missing_values_are_left_out_and_scaled_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS * N; i++)
        is_missing[i] = i * i % 5 == 1;
    assert_as_textbook(20, is_missing);
    assert_as_textbook(1, is_missing);
}

/* What stands in its place does not matter, even if nothing of the sum over all could be left. */
static void what_stands_for_a_missing_value_does_not_matter(void **state)
{
    (void)state;
    const float points[] = {100, 1, 2, -100, 3, 4}, row[] = {0.1F, 1.01F, 2};
    const bool first[] = {true, false, false};
    double distance;

    use(points, 2, 3);
    measure(row, first, 1, &distance);
    assert_near(distance, sqrt(3.0 / 2) * ((double)1.01F - 1), 1e-7);
}

static void a_row_with_nothing_is_at_zero(void **state)
{
    (void)state;
    double distances[N_ROWS];

    memset(is_missing + N, true, N);
    use(centroids, 20, N);
    measure(rows, is_missing, 3, distances);
    assert_true(distances[0] > 0 && distances[1] == 0 && distances[2] > 0);
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    double alone[N_ROWS], batch[N_ROWS], complete[N_ROWS];

    for (size_t i = 0; i < N_ROWS; i += 3)
        is_missing[i * N + i % N] = true;
    use(centroids, 20, N);
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

static void fitted_prototypes_lie_among_the_rows(void **state)
{
    (void)state;
    const float corners[] = {0, 0, 0, 1, 50, 50, 50, 51, 99, 0, 99, 1};
    struct random random;
    double distances[6];

    random_seed(&random, 1);
    prototypes_free(TAKE(prototypes));
    assert_int_equal(prototypes_fit(corners, 6, 2, 5, &random, &prototypes), 0);
    assert_true(prototypes->n_centroids >= 3 && prototypes->n_centroids <= 5);
    assert_int_equal(prototypes->n_features, 2);
    for (size_t k = 0; k < prototypes->n_centroids; k++) {
        const float x = prototypes->centroids[2 * k], y = prototypes->centroids[2 * k + 1];
        assert_true(x >= 0 && x <= 99 && y >= 0 && y <= 51);
    }
    measure(corners, NULL, 6, distances);
    for (size_t i = 0; i < 6; i++)
        assert_true(isfinite(distances[i]));
}

static void fewer_rows_than_wanted_are_prototypes_themselves(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    prototypes_free(TAKE(prototypes));
    assert_int_equal(prototypes_fit(rows, 5, N, 500, &random, &prototypes), 0);
    assert_int_equal(prototypes->n_centroids, 5);
    assert_memory_equal(prototypes->centroids, rows, 5 * N * sizeof(*rows));
}

static void the_same_seed_fits_the_same(void **state)
{
    (void)state;
    float kept[4 * N];

    for (int i = 0; i < 2; i++) {
        struct random random;
        random_seed(&random, 5);
        prototypes_free(TAKE(prototypes));
        assert_int_equal(prototypes_fit(rows, N_ROWS, N, 4, &random, &prototypes), 0);
        assert_int_equal(prototypes->n_centroids, 4);
        if (i == 0)
            memcpy(kept, prototypes->centroids, sizeof(kept));
    }
    assert_memory_equal(prototypes->centroids, kept, sizeof(kept));
}

static void centroids_that_are_not_finite_are_refused_untouched(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct prototypes *made = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        centroids[20 * N - 1] = bad[i];
        assert_int_equal(prototypes_new(centroids, 20, N, &made), -EINVAL);
        assert_null(made);
    }
}

static void the_farthest_centroids_of_a_file_give_no_nan(void **state)
{
    (void)state;
    double distances[2];

    for (size_t i = 0; i < 20 * N; i++)
        centroids[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    is_missing[3] = true;
    use(centroids, 20, N);
    measure(rows, is_missing, 2, distances);
    assert_true(distances[0] > 1e19 && distances[1] > 1e19);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(prototypes_freep) struct prototypes *made = NULL;
        struct random random;
        random_seed(&random, 1);
        alloc_fail_in = nth;
        r = prototypes_fit(rows, N_ROWS, N, 4, &random, &made);
        alloc_fail_in = -1;
        assert_int_equal(!made, r < 0);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(distance_is_to_the_nearest, set_up),
        cmocka_unit_test_setup(missing_values_are_left_out_and_scaled_up, set_up),
        cmocka_unit_test_setup(what_stands_for_a_missing_value_does_not_matter, set_up),
        cmocka_unit_test_setup(a_row_with_nothing_is_at_zero, set_up),
        cmocka_unit_test_setup(a_row_gives_the_same_bits_alone_and_in_any_batch, set_up),
        cmocka_unit_test_setup(fitted_prototypes_lie_among_the_rows, set_up),
        cmocka_unit_test_setup(fewer_rows_than_wanted_are_prototypes_themselves, set_up),
        cmocka_unit_test_setup(the_same_seed_fits_the_same, set_up),
        cmocka_unit_test_setup(centroids_that_are_not_finite_are_refused_untouched, set_up),
        cmocka_unit_test_setup(the_farthest_centroids_of_a_file_give_no_nan, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
