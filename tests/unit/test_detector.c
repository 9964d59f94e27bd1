#include "detector/detector.h"

#include "detector/calibration.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <float.h>
#include <string.h>

#define N 50

static struct detector *detector;
static struct workspace *workspace;
static double threshold;
static float rows[N * TINY_FEATURES];

static int set_up(void **state)
{
    (void)state;
    detector_init();
    detector = tiny_detector(1);
    assert_non_null(detector);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    threshold = calibration_threshold(detector_calibration(detector), 0.05);
    tiny_rows(2, rows, N);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(detector);
    detector_workspace_free(workspace);
    return 0;
}

static void normal_rows_pass_and_broken_relations_are_flagged(void **state)
{
    (void)state;
    struct verdict verdicts[N];
    size_t flagged = 0;

    assert_int_equal(detector_score(detector, workspace, rows, N, threshold, verdicts), 0);
    for (size_t i = 0; i < N; i++)
        flagged += verdicts[i].anomaly;
    assert_true(flagged <= 10);

    /* Each value is usual by itself, but c is no longer a + b. */
    const float broken[TINY_FEATURES] = {110, 110, 80, 100, 120, 130};
    struct verdict verdict;
    assert_int_equal(detector_score(detector, workspace, broken, 1, threshold, &verdict), 0);
    assert_true(verdict.anomaly);
    assert_true(verdict.p_value < 0.05);
}

static void a_row_scores_bit_equal_alone_and_in_a_batch(void **state)
{
    (void)state;
    struct verdict batch[N], alone;

    assert_int_equal(detector_score(detector, workspace, rows, N, threshold, batch), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(
            detector_score(detector, workspace, rows + i * TINY_FEATURES, 1, threshold, &alone), 0);
        assert_memory_equal(&alone.reconstruction_error, &batch[i].reconstruction_error,
                            sizeof(double));
        assert_memory_equal(&alone.score, &batch[i].score, sizeof(double));
    }
}

static void anomaly_is_score_above_one_is_error_above_threshold(void **state)
{
    (void)state;
    struct verdict verdicts[N];

    assert_int_equal(detector_score(detector, workspace, rows, N, threshold, verdicts), 0);
    for (size_t i = 0; i < N; i++) {
        /* The row itself as the threshold, and the numbers next to it: the narrowest cases. */
        const double error = verdicts[i].reconstruction_error;
        const double near[] = {error, nextafter(error, 0), nextafter(error, HUGE_VAL)};
        for (size_t k = 0; k < 3; k++) {
            struct verdict verdict;
            assert_int_equal(
                detector_score(detector, workspace, rows + i * TINY_FEATURES, 1, near[k], &verdict),
                0);
            assert_int_equal(verdict.anomaly, verdict.score > 1.0);
            assert_int_equal(verdict.anomaly, error > near[k]);
        }
    }
}

static void missing_values_are_left_out_of_the_error(void **state)
{
    (void)state;
    float row[TINY_FEATURES];
    struct verdict whole, gap;

    memcpy(row, rows, sizeof(row));
    row[1] = 1e6F;
    assert_int_equal(detector_score(detector, workspace, row, 1, threshold, &whole), 0);
    assert_int_equal(whole.n_imputed, 0);
    row[1] = NAN;
    assert_int_equal(detector_score(detector, workspace, row, 1, threshold, &gap), 0);
    assert_int_equal(gap.n_imputed, 1);
    assert_true(gap.reconstruction_error < whole.reconstruction_error / 100);
}

static void extreme_rows_give_finite_verdicts(void **state)
{
    (void)state;
    const float extremes[3][TINY_FEATURES] = {
        {FLT_MAX,      -FLT_MAX, FLT_MAX,       -FLT_MAX, FLT_MAX, -FLT_MAX},
        {FLT_TRUE_MIN, 0,        -FLT_TRUE_MIN, 0,        0,       0       },
        {NAN,          NAN,      NAN,           NAN,      NAN,     NAN     },
    };
    struct verdict verdicts[3];

    assert_int_equal(detector_score(detector, workspace, extremes[0], 3, threshold, verdicts), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(isfinite(verdicts[i].reconstruction_error) && isfinite(verdicts[i].score));
        assert_true(verdicts[i].p_value > 0 && verdicts[i].p_value <= 1);
    }
    assert_true(verdicts[0].anomaly);
}

/* Weights of a hostile file may be finite and yet overflow on the way through the layers. */
static void overflowing_weights_give_finite_verdicts(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *hostile = tiny_detector(1);
    struct network *network = (struct network *)(uintptr_t)detector_network(hostile);
    struct contribution parts[TINY_FEATURES];
    struct verdict verdict;

    for (size_t i = 0; i < network->n_params; i++)
        network->params[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    network_pack(network);
    assert_int_equal(detector_score(hostile, workspace, rows, 1, threshold, &verdict), 0);
    assert_true(isfinite(verdict.reconstruction_error) && isfinite(verdict.score));
    assert_true(verdict.anomaly && verdict.score > 1);
    assert_int_equal(detector_explain(hostile, workspace, rows, parts), 0);
    for (size_t i = 0; i < TINY_FEATURES; i++)
        assert_true(isfinite(parts[i].share));
}

static void contributions_sum_to_one_and_name_the_culprit_first(void **state)
{
    (void)state;
    struct contribution parts[TINY_FEATURES];
    float row[TINY_FEATURES];
    double sum = 0;

    memcpy(row, rows, sizeof(row));
    row[4] += 200;
    row[0] = NAN;
    assert_int_equal(detector_explain(detector, workspace, row, parts), 0);
    assert_int_equal(parts[0].feature, 4);
    assert_float_equal(parts[0].value, row[4], 0);
    assert_float_equal(parts[0].expected, scaler_median(detector_scaler(detector))[4], 0);
    for (size_t i = 0; i < TINY_FEATURES; i++) {
        sum += parts[i].share;
        assert_true(i == 0 || parts[i - 1].share >= parts[i].share);
        if (parts[i].feature == 0)
            assert_true(parts[i].share == 0.0 && isnan(parts[i].value));
    }
    assert_float_equal((float)sum, 1, 1e-6);
}

static void shares_are_those_of_the_squared_scaled_residual(void **state)
{
    (void)state;
    const struct network *network = detector_network(detector);
    AUTO_FREE float *scratch = calloc(residual_scratch_floats(network), sizeof(*scratch));
    struct contribution parts[TINY_FEATURES];
    struct verdict verdict;
    float row[TINY_FEATURES], residuals[TINY_FEATURES];
    size_t n_missing;

    assert_non_null(scratch);
    memcpy(row, rows, sizeof(row));
    row[4] += 20;
    const double error =
        residual_compute(detector_scaler(detector), network, scratch, row, residuals, &n_missing);
    assert_int_equal(detector_score(detector, workspace, row, 1, 2 * threshold, &verdict), 0);
    assert_true(verdict.reconstruction_error == error);
    assert_true(verdict.score == error / (2 * threshold));
    assert_int_equal(detector_explain(detector, workspace, row, parts), 0);
    for (size_t i = 0; i < TINY_FEATURES; i++) {
        const double residual = (double)residuals[parts[i].feature];
        assert_true(fabs(parts[i].share - residual * residual / (error * TINY_FEATURES)) < 1e-12);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct verdict verdict;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(detector_workspace_freep) struct workspace *other = NULL;
        alloc_fail_in = nth;
        r = detector_workspace_new(&other);
        if (r == 0)
            r = detector_score(detector, other, rows, 1, threshold, &verdict);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_rows_pass_and_broken_relations_are_flagged),
        cmocka_unit_test(a_row_scores_bit_equal_alone_and_in_a_batch),
        cmocka_unit_test(anomaly_is_score_above_one_is_error_above_threshold),
        cmocka_unit_test(missing_values_are_left_out_of_the_error),
        cmocka_unit_test(extreme_rows_give_finite_verdicts),
        cmocka_unit_test(overflowing_weights_give_finite_verdicts),
        cmocka_unit_test(contributions_sum_to_one_and_name_the_culprit_first),
        cmocka_unit_test(shares_are_those_of_the_squared_scaled_residual),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
