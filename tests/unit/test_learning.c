/* What trained networks can do; the training itself is in test_training.c. */
#include "nn/training.h"

#include "support/cmocka.h"
#include "support/small_training.h"

#include <math.h>
#include <stdlib.h>

static void one_row_is_learnt_by_heart(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *network = build(4, 3, 2, ACTIVATION_SILU, ACTIVATION_LINEAR, NULL);

    fill_normal(rows, 4, 1);
    options.n_steps = 500;
    train_well(network, 1);
    assert_true(squared_error(network, rows, rows, 1) < 1e-6);
}

static double mean_code_size(const struct network *network, size_t n_rows)
{
    AUTO_FREE float *scratch = run_forward(network, rows, n_rows);
    const size_t n = n_rows * network_n_codes(network);
    const float *codes = network_codes(network, scratch, n_rows);
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += fabs((double)codes[i]);
    return sum / (double)n;
}

static void kl_sparsity_brings_the_mean_code_to_its_target(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *network = build(6, 0, 8, ACTIVATION_LINEAR, ACTIVATION_SIGMOID, NULL);

    fill_plane(rows, 200, 6, 0.1, 1);
    options.n_steps = 600;
    options.batch_size = 50;
    options.sparsity = 5;
    options.sparsity_target = 0.05;
    train_well(network, 200);
    assert_float_equal((float)mean_code_size(network, 200), 0.05F, 0.015);
}

static void dead_and_saturated_codes_keep_the_sparsity_finite(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        CLEANUP(network_freep)
        struct network *network = build(6, 0, 8, ACTIVATION_LINEAR, ACTIVATION_SIGMOID, NULL);

        for (size_t j = 0; j < 8; j++)
            network->params[network->layers[0].bias + j] = (float)sign * 200;
        fill_plane(rows, 20, 6, 0.1, 1);
        options.sparsity = 1;
        options.sparsity_target = 0.05;
        train_well(network, 20);
        assert_true(isfinite(squared_error(network, rows, rows, 20)));
    }
}

/* The share of codes that are 0 for a row. */
static double share_of_silent_codes(const struct network *network, size_t n_rows)
{
    AUTO_FREE float *scratch = run_forward(network, rows, n_rows);
    const size_t n = n_rows * network_n_codes(network);
    const float *codes = network_codes(network, scratch, n_rows);
    size_t n_silent = 0;

    for (size_t i = 0; i < n; i++)
        n_silent += codes[i] < 1e-3F;
    return (double)n_silent / (double)n;
}

static void an_overcomplete_sparse_network_learns(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *dense = build(4, 0, 12, ACTIVATION_LINEAR, ACTIVATION_RELU, NULL);
    CLEANUP(network_freep)
    struct network *sparse = build(4, 0, 12, ACTIVATION_LINEAR, ACTIVATION_RELU, NULL);

    fill_normal(rows, 200 * 4, 1);
    options.n_steps = 1000;
    options.batch_size = 50;
    options.cosine = true;
    train_well(dense, 200);
    options.code_l1 = 0.03;
    options.optimizer.weight_decay = 1e-3; /* else the weights grow where the codes shrink */
    train_well(sparse, 200);
    assert_true(squared_error(sparse, rows, rows, 200) < 0.1);
    assert_true(mean_code_size(sparse, 200) < 0.75 * mean_code_size(dense, 200));
    assert_true(share_of_silent_codes(sparse, 200) > share_of_silent_codes(dense, 200) + 0.1);
}

/* Eigenvalues of the symmetric a[n][n] end up on its diagonal: Jacobi's rotations. */
static void jacobi(double a[MAX_FEATURES][MAX_FEATURES], size_t n)
{
    for (int sweep = 0; sweep < 50; sweep++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                const double angle = 0.5 * atan2(2 * a[p][q], a[q][q] - a[p][p]);
                const double c = cos(angle), s = sin(angle);
                for (size_t i = 0; i < n; i++) {
                    const double x = a[i][p], y = a[i][q];
                    a[i][p] = c * x - s * y;
                    a[i][q] = s * x + c * y;
                }
                for (size_t i = 0; i < n; i++) {
                    const double x = a[p][i], y = a[q][i];
                    a[p][i] = c * x - s * y;
                    a[q][i] = s * x + c * y;
                }
            }
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The least mean squared error of any linear code: what the other components hold. */
static double pca_error(size_t n_rows, size_t n, size_t n_components)
{
    double covariance[MAX_FEATURES][MAX_FEATURES] = {{0}}, mean[MAX_FEATURES] = {0};
    double values[MAX_FEATURES], sum = 0.0;

    for (size_t i = 0; i < n_rows * n; i++)
        mean[i % n] += (double)rows[i] / (double)n_rows;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                covariance[i][j] += ((double)rows[r * n + i] - mean[i]) *
                                    ((double)rows[r * n + j] - mean[j]) / (double)n_rows;
    jacobi(covariance, n);
    for (size_t i = 0; i < n; i++)
        values[i] = covariance[i][i];
    qsort(values, n, sizeof(*values), compare_doubles);
    for (size_t i = 0; i < n - n_components; i++)
        sum += values[i];
    return sum / (double)n;
}

static void a_linear_network_reaches_the_error_of_pca(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);

    fill_plane(rows, 200, 6, 0.3, 1);
    options.n_steps = 2000;
    options.batch_size = 200;
    options.cosine = true;
    train_well(network, 200);
    const double least = pca_error(200, 6, 2);
    const double reached = squared_error(network, rows, rows, 200);
    if (reached < (1 - 1e-4) * least || reached > 1.01 * least)
        fail_msg("error %g, of PCA %g", reached, least);
}

/* a, b and their product are uncorrelated, so that no linear code of two has them all. */
static void a_deep_network_codes_a_product_that_pca_cannot(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *network = build(3, 8, 2, ACTIVATION_TANH, ACTIVATION_TANH, NULL);

    for (size_t r = 0; r < 4; r++) {
        rows[3 * r] = r % 2 ? 1 : -1;
        rows[3 * r + 1] = r / 2 ? 1 : -1;
        rows[3 * r + 2] = rows[3 * r] * rows[3 * r + 1];
    }
    options.n_steps = 1500;
    train_well(network, 4);
    assert_float_equal((float)pca_error(4, 3, 2), 1.0F / 3, 1e-6);
    assert_true(squared_error(network, rows, rows, 4) < 0.01);
}

/* On rows that the network has not seen: nearer to the clean ones than what it was given. */
static void denoising_beats_the_identity_on_noisy_rows(void **state)
{
    (void)state;
    for (enum noise_kind kind = NOISE_GAUSSIAN; kind <= NOISE_MASKING; kind++) {
        CLEANUP(network_freep)
        struct network *network = build(10, 16, 6, ACTIVATION_SILU, ACTIVATION_LINEAR, NULL);
        static float noisy[MAX_ROWS * MAX_FEATURES], scratch[MAX_ROWS * MAX_FEATURES];
        struct noise noise;

        fill_plane(rows, 200, 10, 0.05, 1);
        fill_plane(other_rows, 100, 10, 0.05, 2);
        options.n_steps = 1500;
        options.batch_size = 32;
        options.cosine = true;
        options.noise = kind;
        options.noise_amount = kind == NOISE_MASKING ? 0.2 : 0.5;
        train_well(network, 200);

        noise_seed(&noise, 99);
        noise_corrupt(&noise, kind, options.noise_amount, noisy, other_rows, scratch, 1000);
        const double noise_size = pow(distance(noisy, other_rows, 1000), 2) / 1000;
        assert_true(squared_error(network, noisy, other_rows, 100) < 0.6 * noise_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_row_is_learnt_by_heart, set_up),
        cmocka_unit_test_setup(kl_sparsity_brings_the_mean_code_to_its_target, set_up),
        cmocka_unit_test_setup(dead_and_saturated_codes_keep_the_sparsity_finite, set_up),
        cmocka_unit_test_setup(an_overcomplete_sparse_network_learns, set_up),
        cmocka_unit_test_setup(a_linear_network_reaches_the_error_of_pca, set_up),
        cmocka_unit_test_setup(a_deep_network_codes_a_product_that_pca_cannot, set_up),
        cmocka_unit_test_setup(denoising_beats_the_identity_on_noisy_rows, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
