#include "detector/ensemble.h"

#include "base/random.h"
#include "detector/clusters.h"
#include "detector/encoding.h"
#include "detector/prototypes.h"
#include "detector/rank_gauss.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/network.h"
#include "nn/packed.h"

#include "support/cmocka.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define N_ROWS 70 /* more than four blocks, and not a whole number of them */
#define N      5  /* features; 2 N values with ranks */

static struct ensemble ensemble;
static float rows[N_ROWS * N];

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

static struct network *make_network(uint64_t seed)
{
    const size_t widths[] = {2 * N, 7, 3, 7, 2 * N};
    const enum activation bends[] = {ACTIVATION_SILU, ACTIVATION_LINEAR, ACTIVATION_TANH,
                                     ACTIVATION_LINEAR};
    const struct network_shape shape = {
        .n_layers = 4, .n_encoder_layers = 2, .widths = widths, .activations = bends};
    struct network *network = NULL;
    struct random random;

    assert_int_equal(network_new(&shape, &network), 0);
    random_seed(&random, seed);
    network_init(network, NETWORK_INIT_HE, &random);
    assert_int_equal(network_pack(network), 0);
    return network;
}

/* What a network leaves of a row, one row at a time. */
static void leave(const struct network *network, const float *row, float *ret_z,
                  float *ret_residual)
{
    float encoded[2 * N];
    AUTO_FREE float *scratch = calloc(network_inference_floats(network, 1), sizeof(*scratch));
    assert_non_null(scratch);

    (void)scaler_apply(ensemble.scaler, row, ret_z);
    encoding_apply(ensemble.encoding, ret_z, encoded);
    const float *out = network_infer(network, scratch, encoded, 1);
    for (size_t j = 0; j < 2 * N; j++)
        ret_residual[j] = encoded[j] - out[j];
}

static void fit_residual(size_t which)
{
    static float residuals[N_ROWS * 2 * N];
    float z[N];

    for (size_t i = 0; i < N_ROWS; i++)
        leave(ensemble.networks[which], rows + i * N, z, residuals + i * 2 * N);
    assert_int_equal(residual_fit(residuals, N_ROWS - 20, residuals + (N_ROWS - 20) * 2 * N, 20,
                                  2 * N, &ensemble.residuals[which]),
                     0);
}

static void make_encoding(void)
{
    static float z[N_ROWS * N];

    assert_int_equal(scaler_fit(rows, N_ROWS, N, &ensemble.scaler, NULL), 0);
    for (size_t i = 0; i < N_ROWS; i++)
        (void)scaler_apply(ensemble.scaler, rows + i * N, z + i * N);
    assert_int_equal(encoding_fit_pair(z, N_ROWS, N, &ensemble.encoding), 0);
    struct random random;
    random_seed(&random, 3);
    assert_int_equal(prototypes_fit(z, N_ROWS, N, 20, &random, &ensemble.prototypes), 0);
    assert_int_equal(clusters_fit(z, N_ROWS, N, 3, &random, &ensemble.clusters), 0);
}

/* All parts: two networks with their residuals, prototypes, clusters. */
static int set_up(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS * N; i++)
        rows[i] = (float)(10.0 * (double)(i % N) + random_normal(&random));
    ensemble = (struct ensemble){
        .n_networks = 2, .median_networks = 2, .median_prototypes = 4, .median_clusters = 8};
    make_encoding();
    for (size_t i = 0; i < 2; i++) {
        ensemble.networks[i] = make_network(10 + i);
        fit_residual(i);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ensemble_clear(&ensemble);
    return 0;
}

/* One network, no statistics: a classic autoencoder. */
static void make_classic(void)
{
    network_free(TAKE(ensemble.networks[1]));
    prototypes_free(TAKE(ensemble.prototypes));
    clusters_free(TAKE(ensemble.clusters));
    for (size_t i = 0; i < 2; i++)
        residual_free(TAKE(ensemble.residuals[i]));
    ensemble.n_networks = 1;
}

static void measure(const float *of, size_t n_rows, size_t n_networks, struct ensemble_terms *terms)
{
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(&ensemble) * sizeof(*scratch));
    assert_non_null(scratch);
    ensemble_terms(&ensemble, scratch, of, n_rows, n_networks, terms);
}

static double distance_of(size_t which, const float *row, double *ret_prototypes,
                          double *ret_clusters)
{
    float z[N], encoded[2 * N], residual[2 * N], scratch[2048];
    double distance;

    leave(ensemble.networks[which], row, z, residual);
    assert_true(residual_scratch_floats(ensemble.residuals[which], 1) <= 2048);
    residual_distances(ensemble.residuals[which], scratch, residual, 2 * N, 1, &distance);
    encoding_apply(ensemble.encoding, z, encoded);
    encoding_blend(ensemble.encoding, z, encoded, z);
    prototypes_distances(ensemble.prototypes, scratch, z, NULL, 1, ret_prototypes);
    clusters_distances(ensemble.clusters, scratch, z, NULL, 1, ret_clusters);
    return distance;
}

static void terms_are_the_distances_of_the_parts(void **state)
{
    (void)state;
    struct ensemble_terms terms[N_ROWS];

    measure(rows, N_ROWS, 2, terms);
    for (size_t i = 0; i < N_ROWS; i++) {
        double prototypes, clusters;
        const double first = distance_of(0, rows + i * N, &prototypes, &clusters);
        const double second = distance_of(1, rows + i * N, &prototypes, &clusters);
        assert_near(terms[i].networks, (first + second) / 2, 1e-14);
        assert_true(terms[i].prototypes == prototypes && terms[i].clusters == clusters);
        assert_int_equal(terms[i].n_missing, 0);
    }
}

static void only_the_first_networks_count_if_so_wanted(void **state)
{
    (void)state;
    struct ensemble_terms first[N_ROWS], both[N_ROWS], all[N_ROWS];

    measure(rows, N_ROWS, 1, first);
    measure(rows, N_ROWS, 2, both);
    measure(rows, N_ROWS, SIZE_MAX, all);
    for (size_t i = 0; i < N_ROWS; i++) {
        double prototypes, clusters;
        assert_true(first[i].networks == distance_of(0, rows + i * N, &prototypes, &clusters));
        assert_true(first[i].prototypes == both[i].prototypes);
        assert_true(all[i].networks == both[i].networks);
    }
}

static void error_is_the_weighted_geometric_mean_of_the_ratios(void **state)
{
    (void)state;
    const struct ensemble_terms terms = {.networks = 6, .prototypes = 20, .clusters = 16};

    assert_near(ensemble_error(&ensemble, &terms), pow(3.0 * 5.0 * sqrt(2.0), 1 / 2.5), 1e-15);
    prototypes_free(TAKE(ensemble.prototypes));
    assert_near(ensemble_error(&ensemble, &terms), pow(3.0 * sqrt(2.0), 1 / 1.5), 1e-15);
    clusters_free(TAKE(ensemble.clusters));
    assert_near(ensemble_error(&ensemble, &terms), 3.0, 1e-15);
}

/* Or a row with a prototype's values would be normal whatever the networks say. */
static void no_term_alone_can_make_a_row_normal(void **state)
{
    (void)state;
    const struct ensemble_terms nothing = {.networks = 200, .prototypes = 0, .clusters = 0};
    const struct ensemble_terms little = {.networks = 200, .prototypes = 0.4, .clusters = 0.8};

    assert_near(ensemble_error(&ensemble, &nothing), pow(100 * 0.1 * sqrt(0.1), 1 / 2.5), 1e-15);
    assert_near(ensemble_error(&ensemble, &little), ensemble_error(&ensemble, &nothing), 1e-15);
}

static void the_median_row_is_at_one(void **state)
{
    (void)state;
    const struct ensemble_terms terms = {.networks = 2, .prototypes = 4, .clusters = 8};

    assert_near(ensemble_error(&ensemble, &terms), 1, 1e-15);
}

static void parts_that_are_not_there_measure_zero(void **state)
{
    (void)state;
    struct ensemble_terms terms[2];

    prototypes_free(TAKE(ensemble.prototypes));
    clusters_free(TAKE(ensemble.clusters));
    measure(rows, 2, 2, terms);
    assert_true(terms[1].networks > 0 && terms[1].prototypes == 0 && terms[1].clusters == 0);
}

static double mean_square(const float *row, const bool *is_missing)
{
    float z[N], residual[2 * N];
    double sum = 0, n = 0;

    leave(ensemble.networks[0], row, z, residual);
    for (size_t j = 0; j < 2 * N; j++)
        if (!is_missing[j % N]) {
            sum += pow((double)residual[j], 2);
            n++;
        }
    return sum / n;
}

static void the_classic_error_is_the_mean_square(void **state)
{
    (void)state;
    const bool nothing[N] = {false};
    struct ensemble_terms terms[N_ROWS];

    make_classic();
    measure(rows, N_ROWS, 1, terms);
    for (size_t i = 0; i < N_ROWS; i++)
        assert_near(ensemble_error(&ensemble, &terms[i]), mean_square(rows + i * N, nothing),
                    1e-14);
}

static void the_classic_error_leaves_missing_values_out(void **state)
{
    (void)state;
    const bool is_missing[N] = {false, true, false, false, true};
    struct ensemble_terms terms;

    make_classic();
    rows[1] = rows[4] = NAN;
    measure(rows, 1, 1, &terms);
    assert_int_equal(terms.n_missing, 2);
    assert_near(ensemble_error(&ensemble, &terms), mean_square(rows, is_missing), 1e-14);
}

/* Single values, nearly all, a whole row. */
static void take_values_away(void)
{
    for (size_t i = 0; i < N_ROWS; i += 7)
        rows[i * N + i % N] = NAN;
    for (size_t j = 1; j < N; j++)
        rows[20 * N + j] = NAN;
    for (size_t j = 0; j < N; j++)
        rows[33 * N + j] = NAN;
}

static void assert_batches_equal_single_rows(void)
{
    struct ensemble_terms alone[N_ROWS], batch[N_ROWS];

    for (size_t i = 0; i < N_ROWS; i++)
        measure(rows + i * N, 1, 2, alone + i);
    for (size_t n = 1; n <= N_ROWS; n++) {
        measure(rows, n, 2, batch);
        assert_memory_equal(batch, alone, n * sizeof(*alone));
    }
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    assert_batches_equal_single_rows();
    take_values_away();
    assert_batches_equal_single_rows();
    make_classic();
    assert_batches_equal_single_rows();
}

static void neighbours_missing_values_do_not_matter(void **state)
{
    (void)state;
    struct ensemble_terms before[N_ROWS], after[N_ROWS];

    measure(rows, N_ROWS, 2, before);
    take_values_away();
    measure(rows, N_ROWS, 2, after);
    for (size_t i = 0; i < N_ROWS; i++)
        if (after[i].n_missing == 0)
            assert_memory_equal(&after[i], &before[i], sizeof(*after));
    assert_int_equal(after[0].n_missing, 1);
    assert_int_equal(after[20].n_missing, N - 1);
}

static void a_row_with_nothing_is_as_normal_as_can_be(void **state)
{
    (void)state;
    struct ensemble_terms terms[N_ROWS];

    take_values_away();
    measure(rows, N_ROWS, 2, terms);
    assert_int_equal(terms[33].n_missing, N);
    assert_near(ensemble_error(&ensemble, &terms[33]), 0.1, 1e-12);
    assert_true(ensemble_error(&ensemble, &terms[20]) > 0.1);
}

static void what_is_there_still_shows_beside_what_is_missing(void **state)
{
    (void)state;
    struct ensemble_terms normal, odd;

    rows[0] = NAN;
    measure(rows, 1, 2, &normal);
    rows[3] += 20;
    measure(rows, 1, 2, &odd);
    assert_true(ensemble_error(&ensemble, &odd) > 2 * ensemble_error(&ensemble, &normal));
    assert_true(odd.networks > normal.networks && odd.prototypes > normal.prototypes &&
                odd.clusters > normal.clusters);
}

/* The residual that it has on average, and all scaled up. */
static void the_networks_take_an_average_residual_for_what_is_missing(void **state)
{
    (void)state;
    float z[N], residual[2 * N], scratch[2048];
    struct ensemble_terms terms;
    double distance;

    rows[2] = NAN;
    measure(rows, 1, 1, &terms);
    leave(ensemble.networks[0], rows, z, residual);
    residual[2] = ensemble.residuals[0]->mean[2];
    residual[N + 2] = ensemble.residuals[0]->mean[N + 2];
    residual_distances(ensemble.residuals[0], scratch, residual, 2 * N, 1, &distance);
    assert_near(terms.networks, distance * sqrt((double)N / (N - 1)), 1e-14);
}

static void parts_follow_the_value_and_a_little_of_the_residual(void **state)
{
    (void)state;
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(&ensemble) * sizeof(*scratch));
    double parts[N], squares[N] = {0};
    float z[N], residual[2 * N];

    assert_non_null(scratch);
    rows[1] = NAN;
    rows[3] += 8;
    ensemble_parts(&ensemble, scratch, rows, parts);
    for (size_t which = 0; which < 2; which++) {
        leave(ensemble.networks[which], rows, z, residual);
        for (size_t j = 0; j < 2 * N; j++)
            squares[j % N] += pow((double)residual[j], 2) / 2;
    }
    assert_true(z[3] > 3 && fabsf(z[0]) < 3);
    for (size_t j = 0; j < N; j++) {
        const double size = fabs((double)z[j]);
        const double expected = fmax(size - 3, 0) + 0.1 * size + 0.1 * sqrt(squares[j]);
        assert_near(parts[j], j == 1 ? 0 : expected, 1e-14);
    }
}

static void assert_errors_are_finite(void)
{
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(&ensemble) * sizeof(*scratch));
    struct ensemble_terms terms[N_ROWS];
    double parts[N];

    assert_non_null(scratch);
    ensemble_terms(&ensemble, scratch, rows, N_ROWS, 2, terms);
    for (size_t i = 0; i < N_ROWS; i++) {
        const double error = ensemble_error(&ensemble, &terms[i]);
        assert_true(isfinite(error) && error >= 0);
        ensemble_parts(&ensemble, scratch, rows + i * N, parts);
        for (size_t j = 0; j < N; j++)
            assert_true(isfinite(parts[j]) && parts[j] >= 0);
    }
}

static void make_network_hostile(struct network *network, float size)
{
    for (size_t i = 0; i < network->n_params; i++)
        network->params[i] = i % 3 ? size : -size;
    assert_int_equal(network_pack(network), 0);
}

static void typical_rows_are_its_prototypes_in_units_of_the_rows(void **state)
{
    (void)state;
    float typical[20 * N];
    struct ensemble_terms terms[20];
    const size_t n = ensemble.prototypes->n_centroids;

    assert_in_range(n, 2, 20);
    assert_int_equal(ensemble_typical_rows(&ensemble, typical), 0);
    for (size_t k = 0; k < n * N; k++)
        assert_true(fabs((double)typical[k] - 10.0 * (double)(k % N)) < 5.0);
    measure(typical, n, 2, terms);
    for (size_t i = 0; i < n; i++)
        assert_true(terms[i].prototypes < 1e-3);
}

static void without_prototypes_there_are_no_typical_rows(void **state)
{
    (void)state;
    float untouched = 7;

    make_classic();
    assert_int_equal(ensemble_typical_rows(&ensemble, &untouched), 0);
    assert_true(untouched == 7);
}

static void hostile_weights_give_finite_errors(void **state)
{
    (void)state;
    static const float sizes[] = {1e9F, 1e30F, FLT_MAX};

    take_values_away();
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        make_network_hostile(ensemble.networks[0], sizes[s]);
        assert_errors_are_finite();
    }
    make_classic();
    assert_errors_are_finite();
}

static void make_statistics_hostile(float size, double scale)
{
    float mean[2 * N], variances[2 * N], whitening[2 * N * 2 * N];
    const struct residual_parts parts = {.n_values = 2 * N,
                                         .n_directions = 2 * N,
                                         .mean = mean,
                                         .whitening = whitening,
                                         .variances = variances,
                                         .rest_variance = 1 / (double)size,
                                         .scale = scale};

    for (size_t i = 0; i < 2 * N; i++) {
        mean[i] = i % 2 ? size : -size;
        variances[i] = i % 2 ? size : 1 / size;
    }
    for (size_t i = 0; i < 2 * N * 2 * N; i++)
        whitening[i] = i % 3 ? size : -size;
    residual_free(TAKE(ensemble.residuals[0]));
    assert_int_equal(residual_new(&parts, &ensemble.residuals[0]), 0);
    clusters_free(TAKE(ensemble.clusters));
    assert_int_equal(clusters_new(mean, whitening, 2, N, &ensemble.clusters), 0);
    prototypes_free(TAKE(ensemble.prototypes));
    assert_int_equal(prototypes_new(whitening, 2, N, &ensemble.prototypes), 0);
}

static void hostile_statistics_give_finite_errors(void **state)
{
    (void)state;
    static const float sizes[] = {1e9F, 1e30F, 1e38F};
    static const double scales[] = {DBL_MIN, 1, DBL_MAX};

    take_values_away();
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        for (size_t i = 0; i < 3; i++) {
            make_statistics_hostile(sizes[s], scales[i]);
            ensemble.median_networks = ensemble.median_prototypes = 1;
            assert_errors_are_finite();
            ensemble.median_networks = ensemble.median_prototypes = DBL_MIN;
            assert_errors_are_finite();
        }
    }
}

static void hostile_gains_and_infinite_values_give_finite_errors(void **state)
{
    (void)state;
    rows[0] = INFINITY;
    rows[N + 1] = -INFINITY;
    rows[2 * N + 2] = FLT_MAX;
    take_values_away();
    assert_errors_are_finite();
    for (size_t j = 0; j < N; j++)
        ensemble.encoding->gain[j] = j % 2 ? FLT_MAX : -FLT_MAX;
    assert_errors_are_finite();
}

static void far_values_have_large_errors(void **state)
{
    (void)state;
    struct ensemble_terms terms[2];

    rows[N] += 1e6F;
    measure(rows, 2, 2, terms);
    assert_true(ensemble_error(&ensemble, &terms[1]) > 5 * ensemble_error(&ensemble, &terms[0]));
}

static void cost_counts_every_part(void **state)
{
    (void)state;
    const struct ensemble_cost all = ensemble_cost(&ensemble);
    const struct packed *of_prototypes = ensemble.prototypes->packed;
    const size_t multiply_adds = packed_multiply_adds(of_prototypes);
    const size_t bytes = packed_bytes(of_prototypes);

    prototypes_free(TAKE(ensemble.prototypes));
    const struct ensemble_cost without = ensemble_cost(&ensemble);
    assert_int_equal(all.multiply_adds - without.multiply_adds, multiply_adds);
    assert_int_equal(all.bytes - without.bytes, bytes);

    size_t expected = 0;
    for (size_t k = 0; k < ensemble.clusters->n_clusters; k++)
        expected += packed_multiply_adds(ensemble.clusters->packed[k]);
    clusters_free(TAKE(ensemble.clusters));
    const struct ensemble_cost networks = ensemble_cost(&ensemble);
    assert_int_equal(without.multiply_adds - networks.multiply_adds, expected);

    ensemble.n_networks = 1;
    const struct ensemble_cost one = ensemble_cost(&ensemble);
    ensemble.n_networks = 2;
    expected = packed_multiply_adds(ensemble.residuals[1]->packed) + 2 * 2 * N;
    for (size_t l = 0; l < 4; l++)
        expected += packed_multiply_adds(ensemble.networks[1]->layers[l].packed);
    assert_int_equal(networks.multiply_adds - one.multiply_adds, expected);
}

static void cost_of_a_classic_network_is_its_matrices_and_the_scaling(void **state)
{
    (void)state;
    make_classic();
    encoding_free(TAKE(ensemble.encoding));
    assert_int_equal(encoding_new_standard(N, &ensemble.encoding), 0);
    size_t expected = 2 * N;
    for (size_t l = 0; l < 4; l++)
        expected += packed_multiply_adds(ensemble.networks[0]->layers[l].packed);
    assert_int_equal(ensemble_cost(&ensemble).multiply_adds, expected);
}

static void a_cleared_ensemble_may_be_cleared_again(void **state)
{
    (void)state;
    ensemble_clear(&ensemble);
    assert_null(ensemble.networks[0]);
    assert_int_equal(ensemble.n_networks, 0);
    ensemble_clear(&ensemble);
}

#define ENSEMBLE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENSEMBLE_TEST(terms_are_the_distances_of_the_parts),
        ENSEMBLE_TEST(only_the_first_networks_count_if_so_wanted),
        ENSEMBLE_TEST(error_is_the_weighted_geometric_mean_of_the_ratios),
        ENSEMBLE_TEST(no_term_alone_can_make_a_row_normal),
        ENSEMBLE_TEST(the_median_row_is_at_one),
        ENSEMBLE_TEST(parts_that_are_not_there_measure_zero),
        ENSEMBLE_TEST(the_classic_error_is_the_mean_square),
        ENSEMBLE_TEST(the_classic_error_leaves_missing_values_out),
        ENSEMBLE_TEST(a_row_gives_the_same_bits_alone_and_in_any_batch),
        ENSEMBLE_TEST(neighbours_missing_values_do_not_matter),
        ENSEMBLE_TEST(a_row_with_nothing_is_as_normal_as_can_be),
        ENSEMBLE_TEST(what_is_there_still_shows_beside_what_is_missing),
        ENSEMBLE_TEST(the_networks_take_an_average_residual_for_what_is_missing),
        ENSEMBLE_TEST(parts_follow_the_value_and_a_little_of_the_residual),
        ENSEMBLE_TEST(typical_rows_are_its_prototypes_in_units_of_the_rows),
        ENSEMBLE_TEST(without_prototypes_there_are_no_typical_rows),
        ENSEMBLE_TEST(hostile_weights_give_finite_errors),
        ENSEMBLE_TEST(hostile_statistics_give_finite_errors),
        ENSEMBLE_TEST(hostile_gains_and_infinite_values_give_finite_errors),
        ENSEMBLE_TEST(far_values_have_large_errors),
        ENSEMBLE_TEST(cost_counts_every_part),
        ENSEMBLE_TEST(cost_of_a_classic_network_is_its_matrices_and_the_scaling),
        ENSEMBLE_TEST(a_cleared_ensemble_may_be_cleared_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
