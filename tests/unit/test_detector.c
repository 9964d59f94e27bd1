#include "detector/detector.h"

#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/movement.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <float.h>
#include <string.h>

#define N 150 /* more than detector_score() takes at once */

/* A classic detector, and one with all the parts; each test looks at both. */
#define N_DETECTORS 2

static struct detector *detectors[N_DETECTORS];
static struct workspace *workspace;
static double thresholds[N_DETECTORS];
static float rows[N * TINY_FEATURES];

static int set_up(void **state)
{
    (void)state;
    struct recipe recipe = tiny_recipe_of_all_parts(1);
    recipe.epochs = 30;
    detector_init();
    detectors[0] = tiny_detector(1);
    detectors[1] = tiny_train(&recipe);
    for (size_t k = 0; k < N_DETECTORS; k++) {
        assert_non_null(detectors[k]);
        thresholds[k] = calibration_threshold(detector_calibration(detectors[k]), 0.05);
    }
    assert_int_equal(detector_workspace_new(&workspace), 0);
    tiny_rows(2, rows, N);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_DETECTORS; k++)
        detector_free(detectors[k]);
    detector_workspace_free(workspace);
    return 0;
}

static void score(size_t k, const float *given, size_t n_rows, double threshold,
                  struct verdict *ret_verdicts)
{
    assert_int_equal(
        detector_score(detectors[k], workspace, given, n_rows, threshold, ret_verdicts), 0);
}

static void normal_rows_pass_and_broken_relations_are_flagged(void **state)
{
    (void)state;
    /* Each value is usual by itself, but c is no longer a + b. */
    const float broken[TINY_FEATURES] = {110, 110, 80, 100, 120, 130};
    struct verdict verdicts[N], verdict;

    for (size_t k = 0; k < N_DETECTORS; k++) {
        size_t flagged = 0;
        score(k, rows, N, thresholds[k], verdicts);
        for (size_t i = 0; i < N; i++)
            flagged += verdicts[i].anomaly;
        assert_true(flagged <= N / 10);
        score(k, broken, 1, thresholds[k], &verdict);
        assert_true(verdict.anomaly);
        assert_true(verdict.p_value < 0.05);
    }
}

static void a_row_scores_bit_equal_alone_and_in_a_batch(void **state)
{
    (void)state;
    struct verdict batch[N], alone;

    rows[3] = NAN; /* also beside a row with a gap */
    rows[70 * TINY_FEATURES] = NAN;
    for (size_t k = 0; k < N_DETECTORS; k++) {
        score(k, rows, N, thresholds[k], batch);
        for (size_t i = 0; i < N; i++) {
            score(k, rows + i * TINY_FEATURES, 1, thresholds[k], &alone);
            assert_memory_equal(&alone.reconstruction_error, &batch[i].reconstruction_error,
                                sizeof(double));
            assert_memory_equal(&alone.score, &batch[i].score, sizeof(double));
            assert_memory_equal(&alone.p_value, &batch[i].p_value, sizeof(double));
            assert_int_equal(alone.n_imputed, batch[i].n_imputed);
        }
    }
    tiny_rows(2, rows, N);
}

static void anomaly_is_score_above_one_is_error_above_threshold(void **state)
{
    (void)state;
    struct verdict verdicts[N], verdict;

    for (size_t k = 0; k < N_DETECTORS; k++) {
        score(k, rows, N, thresholds[k], verdicts);
        for (size_t i = 0; i < N; i++) {
            /* The row itself as the threshold, and the numbers next to it: the narrowest cases. */
            const double error = verdicts[i].reconstruction_error;
            const double near[] = {error, nextafter(error, 0), nextafter(error, HUGE_VAL)};
            for (size_t n = 0; n < 3; n++) {
                score(k, rows + i * TINY_FEATURES, 1, near[n], &verdict);
                assert_true(verdict.reconstruction_error == error);
                assert_true(verdict.score == error / near[n]);
                assert_int_equal(verdict.anomaly, verdict.score > 1.0);
                assert_int_equal(verdict.anomaly, error > near[n]);
            }
        }
    }
}

static void the_p_value_is_the_calibrations(void **state)
{
    (void)state;
    struct verdict verdicts[N];

    for (size_t k = 0; k < N_DETECTORS; k++) {
        score(k, rows, N, thresholds[k], verdicts);
        for (size_t i = 0; i < N; i++)
            assert_true(verdicts[i].p_value ==
                        calibration_p_value(detector_calibration(detectors[k]),
                                            verdicts[i].reconstruction_error));
    }
}

static void all_networks_judge_a_row(void **state)
{
    (void)state;
    const struct ensemble *ensemble = detector_ensemble(detectors[1]);
    AUTO_FREE float *scratch = calloc(ensemble_scratch_floats(ensemble), sizeof(*scratch));
    struct ensemble_terms one, both;
    struct verdict verdict;

    assert_non_null(scratch);
    score(1, rows, 1, thresholds[1], &verdict);
    ensemble_terms(ensemble, scratch, rows, 1, 1, &one);
    ensemble_terms(ensemble, scratch, rows, 1, 2, &both);
    assert_true(verdict.reconstruction_error == ensemble_error(ensemble, &both));
    assert_true(verdict.reconstruction_error != ensemble_error(ensemble, &one));
}

static void missing_values_are_left_out_of_the_error(void **state)
{
    (void)state;
    struct verdict whole, gap;
    float row[TINY_FEATURES];

    for (size_t k = 0; k < N_DETECTORS; k++) {
        memcpy(row, rows, sizeof(row));
        row[1] = 1e6F;
        score(k, row, 1, thresholds[k], &whole);
        assert_int_equal(whole.n_imputed, 0);
        row[1] = NAN;
        score(k, row, 1, thresholds[k], &gap);
        assert_int_equal(gap.n_imputed, 1);
        assert_true(gap.reconstruction_error < whole.reconstruction_error / 10);
    }
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

    for (size_t k = 0; k < N_DETECTORS; k++) {
        score(k, extremes[0], 3, thresholds[k], verdicts);
        for (size_t i = 0; i < 3; i++) {
            assert_true(isfinite(verdicts[i].reconstruction_error) && isfinite(verdicts[i].score));
            assert_true(verdicts[i].p_value > 0 && verdicts[i].p_value <= 1);
        }
        assert_true(verdicts[0].anomaly);
        assert_int_equal(verdicts[2].n_imputed, TINY_FEATURES);
    }
}

/* Weights of a hostile file may be finite and yet overflow on the way through the layers. */
static void overflowing_weights_give_finite_verdicts(void **state)
{
    (void)state;
    const struct recipe recipes[] = {tiny_recipe(1), tiny_recipe_of_all_parts(1)};
    struct contribution parts[TINY_FEATURES];
    struct verdict verdict;

    for (size_t k = 0; k < N_DETECTORS; k++) {
        CLEANUP(detector_freep) struct detector *hostile = tiny_train(&recipes[k]);
        struct network *network = detector_ensemble(hostile)->networks[0];
        for (size_t i = 0; i < network->n_params; i++)
            network->params[i] = i % 2 ? FLT_MAX : -FLT_MAX;
        assert_int_equal(network_pack(network), 0);
        assert_int_equal(detector_score(hostile, workspace, rows, 1, thresholds[k], &verdict), 0);
        assert_true(isfinite(verdict.reconstruction_error) && isfinite(verdict.score));
        assert_true(verdict.anomaly && verdict.score > 1);
        assert_int_equal(detector_explain(hostile, workspace, rows, NULL, NULL, parts), 0);
        for (size_t i = 0; i < TINY_FEATURES; i++)
            assert_true(isfinite(parts[i].share));
    }
}

static void contributions_sum_to_one_and_name_the_culprit_first(void **state)
{
    (void)state;
    struct contribution parts[TINY_FEATURES];
    float row[TINY_FEATURES];

    memcpy(row, rows, sizeof(row));
    row[4] += 200;
    row[0] = NAN;
    for (size_t k = 0; k < N_DETECTORS; k++) {
        bool seen[TINY_FEATURES] = {false};
        double sum = 0;
        assert_int_equal(detector_explain(detectors[k], workspace, row, NULL, NULL, parts), 0);
        assert_int_equal(parts[0].feature, 4);
        for (size_t i = 0; i < TINY_FEATURES; i++) {
            const size_t feature = parts[i].feature;
            assert_false(seen[feature]);
            seen[feature] = true;
            sum += parts[i].share;
            assert_true(i == 0 || parts[i - 1].share >= parts[i].share);
            assert_memory_equal(&parts[i].value, &row[feature], sizeof(float));
            assert_true(parts[i].usual_low <= parts[i].usual_high);
        }
        assert_true(fabs((double)(parts[0].expected - rows[4])) < 20.0); /* of the 200 too many */
        assert_true(parts[TINY_FEATURES - 1].share == 0.0); /* what is missing is not to blame */
        assert_int_equal(parts[TINY_FEATURES - 1].feature, 0);
        assert_true(fabs(sum - 1) < 1e-12);
    }
}

/* How far each feature of a row is from what the others let expect. */
static void find_unusual(const struct detector *detector, const float *row, float *z,
                         float *ret_unusual)
{
    static const bool is_missing[TINY_FEATURES];
    const struct explanation *explanation = detector_explanation(detector);
    AUTO_FREE float *scratch = calloc(explanation_scratch_floats(explanation), sizeof(*scratch));

    assert_non_null(scratch);
    (void)scaler_apply(detector_ensemble(detector)->scaler, row, z);
    explanation_find_faults(explanation, scratch, z, is_missing, ret_unusual, NULL);
}

static void shares_of_an_independent_row_go_by_its_values_and_what_the_others_let_expect(
    void **state)
{
    (void)state;
    struct contribution parts[TINY_FEATURES];
    float z[TINY_FEATURES], unusual[TINY_FEATURES];

    for (size_t k = 0; k < N_DETECTORS; k++) {
        double weights[TINY_FEATURES], sum = 0;
        find_unusual(detectors[k], rows, z, unusual);
        for (size_t j = 0; j < TINY_FEATURES; j++) {
            const double off = fabs((double)z[j]);
            weights[j] = fmax(off - 3, 0) + 0.1 * off + 0.1 * (double)unusual[j];
            sum += weights[j];
        }
        assert_int_equal(detector_explain(detectors[k], workspace, rows, NULL, NULL, parts), 0);
        for (size_t i = 0; i < TINY_FEATURES; i++)
            assert_true(fabs(parts[i].share - weights[parts[i].feature] / sum) < 1e-6);
    }
}

static void shares_of_a_series_row_go_by_how_it_moved_and_what_the_others_let_expect(void **state)
{
    (void)state;
    const float hold[TINY_FEATURES] = {1, 0, 2, 0.5F, 7, 3};
    struct contribution parts[TINY_FEATURES];
    float z[TINY_FEATURES], unusual[TINY_FEATURES];

    for (size_t k = 0; k < N_DETECTORS; k++) {
        double weights[TINY_FEATURES], sum = 0;
        find_unusual(detectors[k], rows, z, unusual);
        for (size_t j = 0; j < TINY_FEATURES; j++) {
            weights[j] = pow((double)hold[j], 0.7) * pow((double)unusual[j], 0.3);
            sum += weights[j];
        }
        assert_int_equal(detector_explain(detectors[k], workspace, rows, hold, NULL, parts), 0);
        for (size_t i = 0; i < TINY_FEATURES; i++)
            assert_true(fabs(parts[i].share - weights[parts[i].feature] / sum) < 1e-6);
        assert_int_equal(parts[TINY_FEATURES - 1].feature, 1); /* it did not move */
    }
}

static void a_series_is_followed_row_by_row(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_DETECTORS; k++) {
        CLEANUP(movement_freep) struct movement *movement = NULL;
        CLEANUP(movement_freep) struct movement *expected = NULL;
        float z[TINY_FEATURES];

        assert_int_equal(movement_new(TINY_FEATURES, &movement), 0);
        assert_int_equal(movement_new(TINY_FEATURES, &expected), 0);
        for (size_t i = 0; i < 30; i++) {
            const float *row = rows + i * TINY_FEATURES;
            (void)scaler_apply(detector_ensemble(detectors[k])->scaler, row, z);
            movement_follow(expected, detector_explanation(detectors[k])->jumps, row, z);
            assert_int_equal(detector_follow(detectors[k], workspace, row, movement), 0);
        }
        assert_memory_equal(movement->hold, expected->hold, TINY_FEATURES * sizeof(float));
    }
}

static void equal_shares_stand_in_the_order_of_the_schema(void **state)
{
    (void)state;
    const float nothing[TINY_FEATURES] = {NAN, NAN, NAN, NAN, NAN, NAN};
    struct contribution parts[TINY_FEATURES];

    for (size_t k = 0; k < N_DETECTORS; k++) {
        assert_int_equal(detector_explain(detectors[k], workspace, nothing, NULL, NULL, parts), 0);
        for (size_t i = 0; i < TINY_FEATURES; i++) {
            assert_int_equal(parts[i].feature, i);
            assert_true(parts[i].share == 0.0);
        }
    }
}

static void one_workspace_serves_any_number_of_detectors(void **state)
{
    (void)state;
    CLEANUP(detector_workspace_freep) struct workspace *other = NULL;
    struct verdict first, again;

    score(0, rows, 1, thresholds[0], &first);
    assert_int_equal(detector_workspace_new(&other), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(detector_score(detectors[i % 2], other, rows, 1, thresholds[0], &again),
                         0);
        assert_int_equal(again.reconstruction_error == first.reconstruction_error, i % 2 == 0);
    }
    /* It has grown as far as it must: no allocation is left that could fail. */
    alloc_fail_in = 0;
    const int r = detector_score(detectors[1], other, rows, N / 2, thresholds[1],
                                 (struct verdict[N / 2]){{0}});
    alloc_fail_in = -1;
    assert_int_equal(r, 0);
}

static void what_it_is_made_of_can_be_read(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_DETECTORS; k++) {
        assert_int_equal(detector_n_features(detectors[k]), TINY_FEATURES);
        assert_string_equal(schema_name(detector_schema(detectors[k]), 5), "f");
        assert_int_equal(detector_ensemble(detectors[k])->n_networks, k + 1);
        assert_int_equal(detector_summary(detectors[k])->n_networks, k + 1);
        assert_int_equal(detector_ensemble(detectors[k])->prototypes != NULL, k == 1);
        assert_non_null(detector_calibration(detectors[k]));
    }
    assert_non_null(strstr(detector_summary(detectors[0])->kernel, detector_kernel()));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct contribution parts[TINY_FEATURES];
    struct verdict verdict;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(detector_workspace_freep) struct workspace *scored = NULL;
        CLEANUP(detector_workspace_freep) struct workspace *explained = NULL;
        alloc_fail_in = nth;
        r = detector_workspace_new(&scored);
        if (r == 0)
            r = detector_score(detectors[1], scored, rows, 1, thresholds[1], &verdict);
        if (r == 0)
            r = detector_workspace_new(&explained);
        if (r == 0)
            r = detector_explain(detectors[1], explained, rows, NULL, NULL, parts);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_int_equal(nth, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_rows_pass_and_broken_relations_are_flagged),
        cmocka_unit_test(a_row_scores_bit_equal_alone_and_in_a_batch),
        cmocka_unit_test(anomaly_is_score_above_one_is_error_above_threshold),
        cmocka_unit_test(the_p_value_is_the_calibrations),
        cmocka_unit_test(all_networks_judge_a_row),
        cmocka_unit_test(missing_values_are_left_out_of_the_error),
        cmocka_unit_test(extreme_rows_give_finite_verdicts),
        cmocka_unit_test(overflowing_weights_give_finite_verdicts),
        cmocka_unit_test(contributions_sum_to_one_and_name_the_culprit_first),
        cmocka_unit_test(
            shares_of_an_independent_row_go_by_its_values_and_what_the_others_let_expect),
        cmocka_unit_test(shares_of_a_series_row_go_by_how_it_moved_and_what_the_others_let_expect),
        cmocka_unit_test(a_series_is_followed_row_by_row),
        cmocka_unit_test(equal_shares_stand_in_the_order_of_the_schema),
        cmocka_unit_test(one_workspace_serves_any_number_of_detectors),
        cmocka_unit_test(what_it_is_made_of_can_be_read),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
