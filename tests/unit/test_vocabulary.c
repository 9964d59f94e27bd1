#include "detector/vocabulary.h"

#include "base/text.h"
#include "detector/detail.h"
#include "detector/detector.h"
#include "detector/explanation.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define D PREPARED_FEATURES

static struct preparation *preparation;
static struct vocabulary vocabulary;

static int set_up(void **state)
{
    (void)state;
    preparation = prepared_preparation();
    vocabulary = (struct vocabulary){preparation->inputs, preparation};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    preparation_free(preparation);
    return 0;
}

static size_t column_of(size_t input)
{
    return preparation->input[input].column;
}

static void assert_near(double have, double want)
{
    if (!(fabs(have - want) <= 1e-5 * (1.0 + fabs(want))))
        fail_msg("%.9g is not %.9g", have, want);
}

/* Each column has a share and an expected value of its own, the last column comes first. */
static void make_columns(struct contribution columns[D])
{
    for (size_t k = 0; k < D; k++)
        columns[D - 1 - k] = (struct contribution){.feature = k,
                                                   .expected = (float)k,
                                                   .usual_low = (float)k - 0.5F,
                                                   .usual_high = (float)k + 0.5F,
                                                   .share = (double)(k + 1)};
}

static const struct contribution *of_input(const struct contribution *folded, size_t input)
{
    size_t i = 0;

    while (i < PREPARED_INPUTS && folded[i].feature != input)
        i++;
    assert_in_range(i, 0, PREPARED_INPUTS - 1);
    return &folded[i];
}

static void shares_are_summed_over_columns_and_rows_behind(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    float row[D] = {0};
    double of_columns = 0.0, of_inputs = 0.0, want[PREPARED_INPUTS] = {0};

    make_columns(columns);
    for (size_t k = 0; k < D; k++) {
        of_columns += columns[k].share;
        want[vocabulary_input_of(&vocabulary, columns[k].feature)] += columns[k].share;
    }
    assert_int_equal(vocabulary_fold(&vocabulary, row, NULL, columns, folded), 0);
    for (size_t i = 0; i < PREPARED_INPUTS; i++) {
        of_inputs += folded[i].share;
        assert_near(folded[i].share, want[folded[i].feature]);
        assert_true(i == 0 || folded[i].share <= folded[i - 1].share);
    }
    assert_near(of_inputs, of_columns);
}

static void equal_shares_stand_in_the_order_of_the_inputs(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    float row[D] = {0};

    make_columns(columns);
    for (size_t k = 0; k < D; k++)
        columns[k].share = 0.0;
    assert_int_equal(vocabulary_fold(&vocabulary, row, NULL, columns, folded), 0);
    for (size_t i = 0; i < PREPARED_INPUTS; i++)
        assert_int_equal(folded[i].feature, i);
}

static void values_are_in_the_users_units(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    const double values[PREPARED_VALUES] = {123456, 77, 19.5, 1, 10};
    float row[D] = {0};

    make_columns(columns);
    row[column_of(IN_BYTES)] = 25;
    row[column_of(IN_SENT)] = -3;
    row[column_of(IN_LATENCY)] = (float)log1p(19.5);
    row[column_of(IN_STATE) + 1] = 1;
    row[column_of(IN_LOAD)] = 10;
    row[column_of(IN_HOUR)] = 1;                       /* sine of 06:00 */
    row[PREPARED_COLUMNS + column_of(IN_BYTES)] = 999; /* the row behind is not told of */
    for (size_t with_values = 0; with_values < 2; with_values++) {
        assert_int_equal(
            vocabulary_fold(&vocabulary, row, with_values ? values : NULL, columns, folded), 0);
        assert_near((double)of_input(folded, IN_BYTES)->value, 25); /* not the counter */
        assert_near((double)of_input(folded, IN_SENT)->value, -3);
        assert_near((double)of_input(folded, IN_LATENCY)->value, 19.5);
        assert_near((double)of_input(folded, IN_STATE)->value, 1);
        assert_near((double)of_input(folded, IN_LOAD)->value, 10);
        assert_near((double)of_input(folded, IN_HOUR)->value, 6);
    }
    const struct contribution *latency = of_input(folded, IN_LATENCY);
    const double at = (double)column_of(IN_LATENCY);
    assert_near((double)latency->expected, expm1(at));
    assert_near((double)latency->usual_low, expm1(at - 0.5));
    assert_near((double)latency->usual_high, expm1(at + 0.5));
    const struct contribution *bytes = of_input(folded, IN_BYTES);
    assert_near((double)bytes->expected, (double)column_of(IN_BYTES));
    assert_near((double)bytes->usual_high, (double)column_of(IN_BYTES) + 0.5);
    assert_true(isnan(of_input(folded, IN_STATE)->usual_low)); /* there is no such range */
    assert_true(isnan(of_input(folded, IN_HOUR)->usual_high));
    assert_near((double)of_input(folded, IN_STATE)->expected, 2); /* the largest column */
}

static void what_is_missing_stays_missing(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    const double values[PREPARED_VALUES] = {1, 1, (double)NAN, (double)NAN, (double)NAN};
    float row[D];

    for (size_t k = 0; k < D; k++)
        row[k] = NAN;
    make_columns(columns);
    assert_int_equal(vocabulary_fold(&vocabulary, row, values, columns, folded), 0);
    for (size_t i = 0; i < PREPARED_INPUTS; i++)
        assert_true(isnan(folded[i].value));
}

/* The logarithm of the largest float, rounded to a float, is that of none. */
static void no_value_is_infinite(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    const float most = (float)log1p((double)FLT_MAX);
    float row[D] = {0};

    make_columns(columns);
    for (size_t k = 0; k < D; k++) {
        columns[k].expected = columns[k].usual_low = columns[k].usual_high = most;
        row[k] = most;
    }
    assert_int_equal(vocabulary_fold(&vocabulary, row, NULL, columns, folded), 0);
    for (size_t i = 0; i < PREPARED_INPUTS; i++) {
        assert_true(isfinite(folded[i].value) && isfinite(folded[i].expected));
        assert_false(isinf(folded[i].usual_low) || isinf(folded[i].usual_high));
    }
}

static void what_is_blamed_in_a_row_before_is_told_with_it(void **state)
{
    (void)state;
    const size_t behind = PREPARED_COLUMNS + column_of(IN_LATENCY);
    struct contribution columns[D], folded[PREPARED_INPUTS];
    float row[D] = {0};

    make_columns(columns);
    for (size_t k = 0; k < D; k++)
        columns[k].share = columns[k].feature == behind                  ? 0.6
                           : columns[k].feature == column_of(IN_LATENCY) ? 0.3
                           : columns[k].feature == column_of(IN_LOAD)    ? 0.1
                                                                         : 0.0;
    row[behind] = (float)log1p(19.5);
    assert_int_equal(vocabulary_fold(&vocabulary, row, NULL, columns, folded), 0);
    const struct contribution *latency = &folded[0];
    assert_int_equal(latency->feature, IN_LATENCY);
    assert_int_equal(latency->rows_back, 1);
    assert_near((double)latency->back.value, 19.5);
    assert_near((double)latency->back.expected, expm1((double)behind));
    assert_int_equal(of_input(folded, IN_LOAD)->rows_back, 0);
    assert_int_equal(of_input(folded, IN_BYTES)->rows_back, 0);
}

/* A fold of `input` with these shares and expected values in the newest row and in that behind. */
static struct contribution fold_one(size_t input, const float *row, const double shares[2],
                                    const double expected[2])
{
    struct contribution columns[D], folded[PREPARED_INPUTS];
    float stood[PREPARED_COLUMNS];

    make_columns(columns);
    for (size_t k = 0; k < D; k++) {
        const size_t lag = columns[k].feature / PREPARED_COLUMNS;
        const size_t c = columns[k].feature % PREPARED_COLUMNS - column_of(input);
        columns[k].share = 0.0;
        if (columns[k].feature % PREPARED_COLUMNS < column_of(input) ||
            c >= preparation->input[input].n_columns)
            continue;
        preparation_columns(preparation, input, expected[lag], stood);
        columns[k].expected = stood[c];
        columns[k].share = shares[lag] / (double)preparation->input[input].n_columns;
    }
    assert_int_equal(vocabulary_fold(&vocabulary, row, NULL, columns, folded), 0);
    assert_int_equal(folded[0].feature, input);
    return folded[0];
}

static void set_state(float *row, size_t lag, double state)
{
    preparation_columns(preparation, IN_STATE, state,
                        row + lag * PREPARED_COLUMNS + column_of(IN_STATE));
}

/* "state up (expected up)" would say nothing. */
static void where_the_newest_is_as_expected_the_row_behind_is_told_of(void **state)
{
    (void)state;
    float row[D] = {0};

    set_state(row, 0, 1);
    set_state(row, 1, 0);
    struct contribution told = fold_one(IN_STATE, row, (double[]){0.6, 0.4}, (double[]){1, 1});
    assert_int_equal(told.rows_back, 1);
    assert_true(told.value == 1 && told.expected == 1);
    assert_true(told.back.value == 0 && told.back.expected == 1);
    told = fold_one(IN_STATE, row, (double[]){0.6, 0.4}, (double[]){1, 0}); /* nothing is off */
    assert_int_equal(told.rows_back, 0);
    told = fold_one(IN_STATE, row, (double[]){0.4, 0.6}, (double[]){0, 1}); /* both are */
    assert_int_equal(told.rows_back, 0);
}

static void the_row_behind_is_told_of_if_it_has_more_blame_and_was_further_off(void **state)
{
    (void)state;
    float row[D] = {0};

    row[column_of(IN_LOAD)] = 11;
    row[PREPARED_COLUMNS + column_of(IN_LOAD)] = 90;
    struct contribution told = fold_one(IN_LOAD, row, (double[]){0.4, 0.5}, (double[]){10, 10});
    assert_int_equal(told.rows_back, 1);
    assert_true(told.back.value == 90 && told.back.expected == 10);
    told = fold_one(IN_LOAD, row, (double[]){0.5, 0.4}, (double[]){10, 10});
    assert_int_equal(told.rows_back, 0);
    row[column_of(IN_LOAD)] = 80; /* it is still there */
    told = fold_one(IN_LOAD, row, (double[]){0.4, 0.5}, (double[]){10, 10});
    assert_int_equal(told.rows_back, 0);
}

static void where_the_newest_is_missing_the_row_behind_that_is_blamed_is_told_of(void **state)
{
    (void)state;
    float row[D] = {0};

    set_state(row, 0, (double)NAN);
    set_state(row, 1, 0);
    struct contribution told = fold_one(IN_STATE, row, (double[]){0, 0.9}, (double[]){1, 1});
    assert_true(isnan(told.value));
    assert_int_equal(told.rows_back, 1);
    assert_true(told.back.value == 0 && told.back.expected == 1);
    told = fold_one(IN_STATE, row, (double[]){0, 0.9}, (double[]){1, 0}); /* as expected there */
    assert_int_equal(told.rows_back, 1);
}

static void sums_are_folded_alike(void **state)
{
    (void)state;
    double of_features[D], of_inputs[PREPARED_INPUTS], sum = 0.0;

    for (size_t k = 0; k < D; k++)
        of_features[k] = (double)(k + 1);
    vocabulary_fold_sums(&vocabulary, of_features, of_inputs);
    for (size_t i = 0; i < PREPARED_INPUTS; i++)
        sum += of_inputs[i];
    assert_near(sum, D * (D + 1) / 2.0);
    assert_near(of_inputs[IN_BYTES], 1 + 1 + PREPARED_COLUMNS);
    assert_near(of_inputs[IN_HOUR], 8 + 9 + 17 + 18);
}

static void all_columns_of_an_input_are_copied(void **state)
{
    (void)state;
    const struct vocabulary plain = {preparation->values, NULL};
    float from[D], to[D];

    for (size_t input = 0; input < PREPARED_INPUTS; input++) {
        for (size_t k = 0; k < D; k++) {
            from[k] = (float)k;
            to[k] = -1;
        }
        vocabulary_copy_input(&vocabulary, input, from, to);
        for (size_t k = 0; k < D; k++)
            assert_true(to[k] == (vocabulary_input_of(&vocabulary, k) == input ? (float)k : -1.0F));
    }
    to[2] = -1;
    vocabulary_copy_input(&plain, 2, from, to);
    assert_true(to[2] == 2);
}

static void values_are_told_by_their_words(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct vocabulary plain = {preparation->values, NULL};

    vocabulary_put_json(&vocabulary, IN_STATE, 1, &text);
    vocabulary_put_json(&vocabulary, IN_STATE, 2, &text);
    vocabulary_put_json(&vocabulary, IN_HOUR, 13.75F, &text);
    vocabulary_put_json(&vocabulary, IN_LOAD, 1.5F, &text);
    text_puts(&text, ",");
    vocabulary_put_json(&vocabulary, IN_STATE, NAN, &text);
    text_puts(&text, ",");
    vocabulary_put_json(&plain, IN_STATE, 1, &text);
    assert_string_equal(text.data, "\"up\"\"(other)\"\"13:45\"1.5,null,1");
}

static void rates_and_deltas_are_told_to_be_such(void **state)
{
    (void)state;
    const struct vocabulary plain = {preparation->values, NULL};

    assert_string_equal(vocabulary_change(&vocabulary, IN_BYTES), "rate");
    assert_string_equal(vocabulary_change(&vocabulary, IN_SENT), "delta");
    assert_null(vocabulary_change(&vocabulary, IN_LATENCY));
    assert_null(vocabulary_change(&vocabulary, IN_HOUR));
    assert_null(vocabulary_change(&plain, 0));
}

static void inputs_whose_newest_value_is_missing_are_listed(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct vocabulary plain = {preparation->values, NULL};
    float row[D] = {0};

    row[PREPARED_COLUMNS] = NAN; /* of the row behind */
    vocabulary_put_missing(&vocabulary, row, &text);
    row[column_of(IN_STATE)] = row[column_of(IN_STATE) + 1] = row[column_of(IN_STATE) + 2] = NAN;
    row[column_of(IN_BYTES)] = NAN;
    vocabulary_put_missing(&vocabulary, row, &text);
    row[4] = NAN;
    vocabulary_put_missing(&plain, row, &text);
    assert_string_equal(text.data, "[][\"bytes\",\"state\"][\"bytes\",\"state\",\"load\"]");
}

/* ---- with a model ---- */

static double score_of(const struct detector *detector, struct workspace *workspace,
                       const float *row)
{
    struct verdict verdict;

    assert_int_equal(detector_score(detector, workspace, row, 1, 1.0, &verdict), 0);
    return verdict.score;
}

static void explanations_are_about_inputs(void **state)
{
    (void)state;
    enum {
        N = 40
    };
    CLEANUP(detector_freep) struct detector *detector = prepared_detector(1);
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    CLEANUP(explained_clear) struct explained explained = {0};
    static double times[N], values[N * PREPARED_VALUES];
    static float rows[N * D];
    size_t n_found = 0;

    assert_int_equal(detector_workspace_new(&workspace), 0);
    prepared_values(3, N, times, values);
    prepared_rows(preparation, times, values, N, rows);
    for (size_t i = 2; i < N; i++) {
        float row[D], changed[D];
        memcpy(row, rows + i * D, sizeof(row));
        const size_t faulty = i % 3; /* bytes, sent, latency */
        row[column_of(faulty)] += faulty == IN_LATENCY ? 3 : 3000;
        assert_int_equal(
            explained_fill(&explained, detector, NULL, workspace, row, NULL, NULL, 1.0), 0);
        assert_int_equal(explained.contributions[0].feature, faulty);

        double shares = 0.0, error_shares = 0.0;
        for (size_t k = 0; k < PREPARED_INPUTS; k++) {
            shares += explained.contributions[k].share;
            error_shares += explained.error_shares[k];
        }
        assert_near(shares, 1);
        assert_near(error_shares, 1);

        /* What was put back, all its columns and those of the row behind, makes that score. */
        const struct counterfactual *found = &explained.counterfactual;
        if (!found->is_found)
            continue;
        n_found++;
        memcpy(changed, row, sizeof(row));
        float expected[D];
        for (size_t k = 0; k < D; k++)
            expected[explained.columns[k].feature] = explained.columns[k].expected;
        for (size_t k = 0; k < found->n; k++)
            vocabulary_copy_input(&vocabulary, found->inputs[k], expected, changed);
        assert_near(score_of(detector, workspace, changed), found->score);
        assert_true(found->score <= 1.0);
    }
    assert_true(n_found > N / 2);
}

/* Whichever of their columns is blamed first: of state there are three, and two move with load. */
static void a_relation_is_between_two_inputs_and_told_once(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = prepared_detector(1);
    const size_t up = column_of(IN_STATE) + 1, down = column_of(IN_STATE);
    const size_t load = column_of(IN_LOAD);
    const size_t orders[][3] = {
        {up,   down, load},
        {load, up,   down},
        {down, load, up  }
    };
    struct broken_relation relations[DETAIL_MOST_RELATIONS];
    float row[D];

    for (size_t k = 0; k < D; k++)
        row[k] = NAN;        /* of a missing one nothing is known */
    row[up] = row[load] = 0; /* (other) at a load that never was */
    row[down] = 0;
    row[down + 2] = 1;
    for (size_t i = 0; i < 3; i++) {
        struct contribution columns[D] = {{0}};
        size_t n = 0;
        for (; n < 3; n++)
            columns[n] = (struct contribution){.feature = orders[i][n], .share = 0.3};
        for (size_t k = 0; k < D; k++)
            if (k != up && k != down && k != load)
                columns[n++].feature = k;
        assert_int_equal(detail_broken_relations(detector, row, columns, relations), 1);
        const size_t first = orders[i][0] == load ? IN_LOAD : IN_STATE;
        assert_int_equal(relations[0].inputs[0], first);
        assert_int_equal(relations[0].inputs[1], IN_LOAD + IN_STATE - first);
        assert_true(relations[0].distance >= 4.0);
    }
}

/* The second column of the category is further off than another relation that was found before. */
static void a_relation_that_turns_out_to_be_further_off_moves_up(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = prepared_detector(1);
    const struct scaler *scaler = detector_ensemble(detector)->scaler;
    const struct explanation *explanation = detector_explanation(detector);
    const size_t load = column_of(IN_LOAD);
    const size_t blamed[] = {column_of(IN_STATE), column_of(IN_BYTES), column_of(IN_STATE) + 1};
    const double distances[] = {5, 7, 9};
    struct broken_relation relations[DETAIL_MOST_RELATIONS];
    struct contribution columns[D] = {{0}};
    float row[D];
    size_t n = 0;

    for (size_t k = 0; k < D; k++)
        row[k] = NAN;
    row[load] = scaler_mean(scaler)[load];
    for (; n < 3; n++) {
        const size_t j = blamed[n];
        const double correlation = (double)explanation->correlation[j * D + load];
        const double z = distances[n] * sqrt(1.0 - correlation * correlation);
        row[j] = scaler_mean(scaler)[j] + scaler_std(scaler)[j] * (float)z;
        columns[n] = (struct contribution){.feature = j, .share = 0.3};
    }
    columns[n++].feature = load;
    for (size_t k = 0; k < D; k++)
        if (k != load && k != blamed[0] && k != blamed[1] && k != blamed[2])
            columns[n++].feature = k;
    const size_t n_found = detail_broken_relations(detector, row, columns, relations);
    assert_in_range(n_found, 2, DETAIL_MOST_RELATIONS);
    for (size_t i = 1; i < n_found; i++)
        assert_true(relations[i].distance <= relations[i - 1].distance);
    size_t n_of_state = 0;
    for (size_t i = 0; i < n_found; i++)
        n_of_state += relations[i].inputs[0] == IN_STATE && relations[i].inputs[1] == IN_LOAD;
    assert_int_equal(n_of_state, 1);
}

static void survives_a_failed_allocation(void **state)
{
    (void)state;
    struct contribution columns[D], folded[PREPARED_INPUTS];
    float row[D] = {0};

    make_columns(columns);
    alloc_fail_in = 0;
    const int r = vocabulary_fold(&vocabulary, row, NULL, columns, folded);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shares_are_summed_over_columns_and_rows_behind),
        TEST(equal_shares_stand_in_the_order_of_the_inputs),
        TEST(values_are_in_the_users_units),
        TEST(what_is_missing_stays_missing),
        TEST(no_value_is_infinite),
        TEST(what_is_blamed_in_a_row_before_is_told_with_it),
        TEST(where_the_newest_is_as_expected_the_row_behind_is_told_of),
        TEST(the_row_behind_is_told_of_if_it_has_more_blame_and_was_further_off),
        TEST(where_the_newest_is_missing_the_row_behind_that_is_blamed_is_told_of),
        TEST(sums_are_folded_alike),
        TEST(all_columns_of_an_input_are_copied),
        TEST(values_are_told_by_their_words),
        TEST(rates_and_deltas_are_told_to_be_such),
        TEST(inputs_whose_newest_value_is_missing_are_listed),
        TEST(explanations_are_about_inputs),
        TEST(a_relation_is_between_two_inputs_and_told_once),
        TEST(a_relation_that_turns_out_to_be_further_off_moves_up),
        TEST(survives_a_failed_allocation),
    };
    detector_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
