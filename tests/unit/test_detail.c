#include "detector/detail.h"

#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/explanation.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define D TINY_FEATURES

static struct detector *detector; /* all parts */
static struct workspace *workspace;
static double threshold;
static float rows[20 * D];

static int set_up(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(1);

    detector_init();
    detector = tiny_train(&recipe);
    tiny_rows(5, rows, 20);
    if (!detector)
        return -1;
    threshold = calibration_threshold(detector_calibration(detector), 0.05);
    return detector_workspace_new(&workspace);
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(detector);
    detector_workspace_free(workspace);
    return 0;
}

static void explain(const float *row, double in_detail, struct explained *explained)
{
    assert_int_equal(
        explained_fill(explained, detector, NULL, workspace, row, NULL, NULL, in_detail), 0);
}

static double score_of(const float *row)
{
    struct verdict verdict;

    assert_int_equal(detector_score(detector, workspace, row, 1, threshold, &verdict), 0);
    return verdict.score;
}

/* Features a and e are 1 and 2 of one cause: they are all but the same. */
static void a_pair_that_no_longer_moves_together_is_named(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};
    float row[D];

    memcpy(row, rows, sizeof(row));
    row[0] += 60;
    explain(row, 0.0, &explained);
    assert_in_range(explained.n_relations, 1, DETAIL_MOST_RELATIONS);
    const struct broken_relation *relation = &explained.relations[0];
    assert_int_equal(relation->inputs[0], 0);
    assert_int_equal(relation->inputs[1], 4);
    assert_true(relation->correlation > 0.95 && relation->correlation < 1.0);
    assert_true(relation->distance > 4.0);
    for (size_t i = 1; i < explained.n_relations; i++)
        assert_true(relation[i].distance <= relation[i - 1].distance);
}

static void of_what_moves_together_no_relation_is_broken(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};
    float row[D];

    for (size_t i = 0; i < 20; i++) {
        explain(rows + i * D, 0.0, &explained);
        assert_int_equal(explained.n_relations, 0);
    }
    memcpy(row, rows, sizeof(row));
    row[0] += 60;
    row[4] = NAN; /* of a missing one nothing is known */
    explain(row, 0.0, &explained);
    for (size_t i = 0; i < explained.n_relations; i++)
        assert_true(explained.relations[i].inputs[1] != 4);
}

static void what_is_put_back_makes_the_row_normal_and_all_of_it_is_needed(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};
    float row[D], changed[D];

    for (size_t i = 0; i < 20; i++) {
        memcpy(row, rows + i * D, sizeof(row));
        if (score_of(row) > 0.9)
            continue; /* what is expected is not better than it was */
        row[i % D] += 150;
        explain(row, threshold, &explained);
        const struct counterfactual *found = &explained.counterfactual;
        assert_true(found->is_found && found->n > 0 && found->score <= 1.0);

        memcpy(changed, row, sizeof(row));
        for (size_t k = 0; k < found->n; k++)
            changed[found->inputs[k]] = found->values[k];
        assert_true(fabs(score_of(changed) - found->score) < 1e-12);
        for (size_t k = 0; k < found->n; k++) {
            changed[found->inputs[k]] = row[found->inputs[k]];
            assert_true(score_of(changed) > 1.0);
            changed[found->inputs[k]] = found->values[k];
        }
    }
}

static void a_normal_row_needs_no_change(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};

    explain(rows, threshold, &explained);
    assert_true(score_of(rows) <= 1.0);
    assert_true(explained.counterfactual.is_found);
    assert_int_equal(explained.counterfactual.n, 0);
}

static void what_cannot_become_normal_is_told(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};

    explain(rows, 1e-9, &explained); /* nothing is below such a threshold */
    assert_false(explained.counterfactual.is_found);
    assert_int_equal(explained.counterfactual.n, 0);
}

static void error_shares_are_each_features_part_of_the_squares(void **state)
{
    (void)state;
    const struct ensemble *ensemble = detector_ensemble(detector);
    AUTO_FREE float *scratch = calloc(ensemble_scratch_floats(ensemble), sizeof(*scratch));
    double squares[D], shares[D], sum = 0, total = 0;
    float row[D];

    assert_non_null(scratch);
    memcpy(row, rows, sizeof(row));
    row[1] = NAN;
    ensemble_squares(ensemble, scratch, row, squares);
    assert_int_equal(detail_error_shares(detector, workspace, row, shares), 0);
    for (size_t j = 0; j < D; j++)
        sum += squares[j];
    for (size_t j = 0; j < D; j++) {
        assert_true(fabs(shares[j] - squares[j] / sum) < 1e-12);
        total += shares[j];
    }
    assert_true(fabs(total - 1) < 1e-12);
    assert_true(shares[1] == 0);
}

/* Format 1, presets fast: one network, the mean square is the error. */
static void squares_of_a_classic_network_are_its_error(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *classic = tiny_detector(1);
    AUTO_FREE float *scratch =
        calloc(ensemble_scratch_floats(detector_ensemble(classic)), sizeof(*scratch));
    struct verdict verdict;
    double squares[D], sum = 0;

    assert_non_null(scratch);
    ensemble_squares(detector_ensemble(classic), scratch, rows, squares);
    for (size_t j = 0; j < D; j++)
        sum += squares[j];
    assert_int_equal(detector_score(classic, workspace, rows, 1, 1.0, &verdict), 0);
    assert_true(fabs(sum / D / verdict.reconstruction_error - 1) < 1e-6);
}

static void detail_is_found_only_if_asked_for(void **state)
{
    (void)state;
    CLEANUP(explained_clear) struct explained explained = {0};

    explain(rows, 0.0, &explained);
    assert_false(explained.has_detail);
    explain(rows, threshold, &explained);
    assert_true(explained.has_detail);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;
    float row[D];

    memcpy(row, rows, sizeof(row));
    row[2] += 150;
    for (; r == -ENOMEM && nth < 30; nth++) {
        CLEANUP(explained_clear) struct explained explained = {0};
        CLEANUP(detector_workspace_freep) struct workspace *own = NULL;
        assert_int_equal(detector_workspace_new(&own), 0);
        alloc_fail_in = nth;
        r = explained_fill(&explained, detector, NULL, own, row, NULL, NULL, threshold);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_that_no_longer_moves_together_is_named),
        cmocka_unit_test(of_what_moves_together_no_relation_is_broken),
        cmocka_unit_test(what_is_put_back_makes_the_row_normal_and_all_of_it_is_needed),
        cmocka_unit_test(a_normal_row_needs_no_change),
        cmocka_unit_test(what_cannot_become_normal_is_told),
        cmocka_unit_test(error_shares_are_each_features_part_of_the_squares),
        cmocka_unit_test(squares_of_a_classic_network_are_its_error),
        cmocka_unit_test(detail_is_found_only_if_asked_for),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
