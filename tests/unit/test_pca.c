#include "nn/pca.h"

#include "base/random.h"
#include "nn/covariance.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS 200
#define N      5

static float rows[N_ROWS * N];

/* Three hidden causes of different strength, some noise, means off 0. */
static void make_rows(double noise)
{
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        const double a = 5 * random_normal(&random), b = 2 * random_normal(&random);
        const double c = random_normal(&random);
        const double row[N] = {a + b, a - b, 2 * a + c, b + c, c - a};
        for (size_t j = 0; j < N; j++)
            rows[i * N + j] = (float)(row[j] + 3.0 * (double)j + noise * random_normal(&random));
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t j = 0; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    return sum;
}

static void assert_orthonormal(const float *vectors, size_t n_vectors, size_t n)
{
    for (size_t a = 0; a < n_vectors; a++)
        for (size_t b = 0; b <= a; b++) {
            const double product = dot(vectors + a * n, vectors + b * n, n);
            assert_true(fabs(product - (a == b)) < 1e-6);
        }
}

/* Mean square error of rows rebuilt from k components. */
static double reconstruction_error(const float *mean, const float *vectors, size_t k)
{
    double sum = 0;

    for (size_t i = 0; i < N_ROWS; i++) {
        float centred[N];
        for (size_t j = 0; j < N; j++)
            centred[j] = rows[i * N + j] - mean[j];
        sum += dot(centred, centred, N);
        for (size_t c = 0; c < k; c++)
            sum -= pow(dot(centred, vectors + c * N, N), 2);
    }
    return sum / N_ROWS;
}

static void vectors_are_orthonormal_and_sorted_by_variance(void **state)
{
    (void)state;
    float mean[N], vectors[N * N];
    double values[N], trace, sum = 0;

    make_rows(0.5);
    assert_int_equal(pca_fit(rows, N_ROWS, N, N, mean, vectors, values, &trace), 0);
    assert_orthonormal(vectors, N, N);
    for (size_t c = 0; c < N; c++) {
        assert_true(c == 0 || values[c] < values[c - 1]);
        sum += values[c];
    }
    assert_true(fabs(sum - trace) < 1e-9 * trace);
}

static void vectors_are_eigenvectors_of_the_covariance(void **state)
{
    (void)state;
    float mean[N], vectors[3 * N];
    double values[3], trace, means[N], covariance[N * N];

    make_rows(0.5);
    assert_int_equal(pca_fit(rows, N_ROWS, N, 3, mean, vectors, values, &trace), 0);
    assert_int_equal(covariance_empirical(rows, N_ROWS, N, means, covariance), 0);
    for (size_t j = 0; j < N; j++)
        assert_true(mean[j] == (float)means[j]);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < N; i++) {
            double image = 0;
            for (size_t j = 0; j < N; j++)
                image += covariance[i * N + j] * (double)vectors[c * N + j];
            assert_true(fabs(image - values[c] * (double)vectors[c * N + i]) < 1e-5 * trace);
        }
}

static void reconstruction_error_is_the_variance_left_out(void **state)
{
    (void)state;
    float mean[N], vectors[N * N];
    double values[N], trace;

    make_rows(0.5);
    for (size_t k = 1; k <= N; k++) {
        assert_int_equal(pca_fit(rows, N_ROWS, N, k, mean, vectors, values, &trace), 0);
        double left_out = trace;
        for (size_t c = 0; c < k; c++)
            left_out -= values[c];
        assert_true(fabs(reconstruction_error(mean, vectors, k) - left_out) < 1e-5 * trace);
    }
}

static void the_largest_entry_of_a_vector_is_positive(void **state)
{
    (void)state;
    float mean[N], vectors[N * N];
    double values[N], trace;

    make_rows(0.5);
    for (int flip = 0; flip < 2; flip++) {
        assert_int_equal(pca_fit(rows, N_ROWS, N, N, mean, vectors, values, &trace), 0);
        for (size_t c = 0; c < N; c++) {
            float largest = 0;
            for (size_t j = 0; j < N; j++)
                if (fabsf(vectors[c * N + j]) > fabsf(largest))
                    largest = vectors[c * N + j];
            assert_true(largest > 0);
        }
        for (size_t i = 0; i < N_ROWS; i++) /* other rows, so that LAPACK meets both signs */
            rows[i * N] = -rows[i * N];
    }
}

static void duplicated_features_share_a_component(void **state)
{
    (void)state;
    float mean[N], vectors[N * N];
    double values[N], trace;

    make_rows(0.5);
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t j = 1; j < N; j++)
            rows[i * N + j] = rows[i * N];
    assert_int_equal(pca_fit(rows, N_ROWS, N, N, mean, vectors, values, &trace), 0);
    assert_orthonormal(vectors, N, N);
    for (size_t j = 0; j < N; j++)
        assert_true(fabs((double)vectors[j] - 1 / sqrt(N)) < 1e-6);
    assert_true(fabs(values[0] - trace) < 1e-9 * trace);
    for (size_t c = 1; c < N; c++)
        assert_true(values[c] >= 0 && values[c] < 1e-9 * trace);
}

static void components_beyond_the_rank_are_orthogonal_and_have_no_variance(void **state)
{
    (void)state;
    float mean[N], vectors[N * N];
    double values[N], trace;

    make_rows(0.0); /* three causes, five features */
    assert_int_equal(pca_fit(rows, N_ROWS, N, N, mean, vectors, values, &trace), 0);
    assert_orthonormal(vectors, N, N);
    assert_true(values[2] > 1e-3 * trace);
    assert_true(values[3] >= 0 && values[3] < 1e-9 * trace);
    assert_true(values[4] >= 0 && values[4] < 1e-9 * trace);
}

static void equal_rows_have_components_without_variance(void **state)
{
    (void)state;
    float mean[N], vectors[2 * N];
    double values[2], trace = 7;

    for (size_t i = 0; i < N_ROWS * N; i++)
        rows[i] = 0.1F;
    assert_int_equal(pca_fit(rows, N_ROWS, N, 2, mean, vectors, values, &trace), 0);
    assert_orthonormal(vectors, 2, N);
    assert_true(values[0] == 0 && values[1] == 0 && trace == 0 && mean[0] == 0.1F);
}

static void one_feature_is_its_own_component(void **state)
{
    (void)state;
    const float column[] = {1, 2, 3};
    float mean, vector;
    double value, trace;

    assert_int_equal(pca_fit(column, 3, 1, 1, &mean, &vector, &value, &trace), 0);
    assert_true(mean == 2 && vector == 1);
    assert_true(fabs(value - 2.0 / 3) < 1e-15 && fabs(trace - 2.0 / 3) < 1e-15);
}

static void fewer_rows_than_features_will_do(void **state)
{
    (void)state;
    enum {
        FEW = 10,
        WIDE = 300
    };
    static float wide[FEW * WIDE], mean[WIDE], vectors[12 * WIDE];
    double values[12], trace;
    struct random random;

    random_seed(&random, 2);
    for (size_t i = 0; i < FEW * WIDE; i++)
        wide[i] = (float)random_normal(&random);
    assert_int_equal(pca_fit(wide, FEW, WIDE, 12, mean, vectors, values, &trace), 0);
    assert_orthonormal(vectors, 12, WIDE);
    assert_true(values[FEW - 2] > 0.01 * trace);
    assert_true(values[FEW - 1] < 1e-9 * trace); /* the mean took one dimension */
}

static void what_is_not_finite_is_refused(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    float mean[N] = {7}, vectors[N];
    double values[1], trace;

    make_rows(0.5);
    for (size_t i = 0; i < 2; i++) {
        rows[3] = bad[i];
        assert_int_equal(pca_fit(rows, N_ROWS, N, 1, mean, vectors, values, &trace), -EDOM);
        assert_true(mean[0] == 7);
    }
}

static struct network *linear_network(bool is_tied)
{
    static const size_t widths[] = {N, 2, N};
    static const enum activation linear[] = {ACTIVATION_LINEAR, ACTIVATION_LINEAR};
    const struct network_shape shape = {.n_layers = 2,
                                        .n_encoder_layers = 1,
                                        .widths = widths,
                                        .activations = linear,
                                        .is_tied = is_tied};
    struct network *network = NULL;

    assert_int_equal(network_new(&shape, &network), 0);
    return network;
}

static void a_network_reproduces_the_projection(void **state)
{
    (void)state;
    float mean[N], vectors[2 * N];
    double values[2], trace;

    make_rows(0.5);
    assert_int_equal(pca_fit(rows, N_ROWS, N, 2, mean, vectors, values, &trace), 0);
    for (int is_tied = 0; is_tied < 2; is_tied++) {
        CLEANUP(network_freep) struct network *network = linear_network(is_tied);
        AUTO_FREE float *scratch =
            calloc(network_training_floats(network, N_ROWS), sizeof(*scratch));
        double square = 0;
        assert_non_null(scratch);
        assert_int_equal(pca_init_network(network, rows, N_ROWS), 0);
        network_forward(network, scratch, rows, N_ROWS);
        const float *codes = network_codes(network, scratch, N_ROWS);
        const float *output = network_output(network, scratch, N_ROWS);
        for (size_t i = 0; i < N_ROWS; i++)
            for (size_t j = 0; j < N; j++) {
                const double want = (double)mean[j] + (double)codes[i * 2] * (double)vectors[j] +
                                    (double)codes[i * 2 + 1] * (double)vectors[N + j];
                assert_true(fabs((double)output[i * N + j] - want) < 1e-4);
                square += pow((double)output[i * N + j] - (double)rows[i * N + j], 2);
            }
        assert_true(fabs(square / N_ROWS - (trace - values[0] - values[1])) < 1e-5 * trace);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = linear_network(false);
    int r = -ENOMEM, nth = 0;

    make_rows(0.5);
    for (; r == -ENOMEM && nth < 100; nth++) {
        assert_true(network->params[0] == 0);
        alloc_fail_in = nth;
        r = pca_init_network(network, rows, N_ROWS);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 10 && network->params[0] != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_orthonormal_and_sorted_by_variance),
        cmocka_unit_test(vectors_are_eigenvectors_of_the_covariance),
        cmocka_unit_test(reconstruction_error_is_the_variance_left_out),
        cmocka_unit_test(the_largest_entry_of_a_vector_is_positive),
        cmocka_unit_test(duplicated_features_share_a_component),
        cmocka_unit_test(components_beyond_the_rank_are_orthogonal_and_have_no_variance),
        cmocka_unit_test(equal_rows_have_components_without_variance),
        cmocka_unit_test(one_feature_is_its_own_component),
        cmocka_unit_test(fewer_rows_than_features_will_do),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(a_network_reproduces_the_projection),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
