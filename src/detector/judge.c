#include "detector/judge.h"

#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/ensemble.h"
#include "detector/explanation.h"
#include "detector/relevance.h"
#include "detector/scaler.h"
#include "detector/vocabulary.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROUNDS     5
#define LEAST_DEVIATION 2.0 /* conditional deviations */

/* Whether an input deviates in a way that matters, in any row that the model sees of it. */
static bool matters(const struct vocabulary *vocabulary, const struct relevance_rule *rule,
                    size_t input, const float *row, const float *expected)
{
    const struct preparation *preparation = vocabulary->preparation;

    if (!preparation)
        return relevance_matters(rule, (double)row[input], (double)expected[input]);
    for (size_t lag = 0; lag < preparation->context; lag++) {
        const size_t at = lag * preparation->n_columns + preparation->input[input].column;
        const double value = preparation_value(preparation, input, row + at);
        if (lag > 0 && isnan(value)) /* nothing is known of it */
            continue;
        if (relevance_matters(rule, value, preparation_value(preparation, input, expected + at)))
            return true;
    }
    return false;
}

/* All columns of an input. */
static void set_columns(const struct vocabulary *vocabulary, size_t input, bool value,
                        bool *is_aside)
{
    const struct preparation *preparation = vocabulary->preparation;

    if (!preparation) {
        is_aside[input] = value;
        return;
    }
    for (size_t lag = 0; lag < preparation->context; lag++)
        memset(is_aside + lag * preparation->n_columns + preparation->input[input].column, value,
               preparation->input[input].n_columns * sizeof(*is_aside));
}

static size_t newest_column(const struct vocabulary *vocabulary, size_t input)
{
    return vocabulary->preparation ? vocabulary->preparation->input[input].column : input;
}

/* Given the others, or where that is not known, in training. */
static double deviation_of(const struct detector *detector, size_t j)
{
    const struct explanation *explanation = detector_explanation(detector);
    const double std = (double)scaler_std(detector_ensemble(detector)->scaler)[j];

    return explanation && explanation->precision ? std * (double)explanation->deviation[j] : std;
}

/* Whether any column of the input is further than two deviations from what was expected. */
static bool deviates(const struct detector *detector, const struct vocabulary *vocabulary,
                     size_t input, const float *row, const float *expected)
{
    const struct preparation *preparation = vocabulary->preparation;
    const size_t context = preparation ? preparation->context : 1;
    const size_t n = preparation ? preparation->input[input].n_columns : 1;
    const size_t stride = preparation ? preparation->n_columns : 0;

    for (size_t lag = 0; lag < context; lag++)
        for (size_t k = 0; k < n; k++) {
            const size_t j = lag * stride + newest_column(vocabulary, input) + k;
            const double off = fabs((double)row[j] - (double)expected[j]);
            if (off > LEAST_DEVIATION * deviation_of(detector, j))
                return true;
        }
    return false;
}

/* One round: of those that were aside, those that still do not matter. Returns how many. */
static size_t narrow(const struct vocabulary *vocabulary, const struct relevance_rule *rules,
                     const float *row, const float *expected, bool *is_aside)
{
    size_t n = 0;

    for (size_t i = 0; i < schema_n_features(vocabulary->inputs); i++) {
        const bool was = is_aside[newest_column(vocabulary, i)];
        const bool is = was && !matters(vocabulary, &rules[i], i, row, expected);
        set_columns(vocabulary, i, is, is_aside);
        n += is;
    }
    return n;
}

int judge_set_aside(const struct detector *detector, const struct relevance_rule *rules,
                    struct workspace *workspace, const float *row, bool *ret_is_aside,
                    float *ret_row, size_t *ret_n)
{
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    const size_t n_inputs = schema_n_features(vocabulary.inputs);
    const size_t d = detector_n_features(detector);
    float *const expected = ret_row;
    bool is_settled = false;

    memset(ret_is_aside, true, d * sizeof(*ret_is_aside));
    for (size_t k = 0, n = n_inputs; k < MOST_ROUNDS && !is_settled; k++) {
        int r = detector_expect(detector, workspace, row, k > 0 ? ret_is_aside : NULL, expected);
        if (r < 0)
            return r;
        const size_t n_left = narrow(&vocabulary, rules, row, expected, ret_is_aside);
        is_settled = n_left == 0 || (k > 0 && n_left == n);
        n = n_left;
    }
    *ret_n = 0;
    for (size_t i = 0; i < n_inputs; i++) {
        if (!ret_is_aside[newest_column(&vocabulary, i)])
            continue;
        const bool is_aside = deviates(detector, &vocabulary, i, row, expected);
        set_columns(&vocabulary, i, is_aside, ret_is_aside);
        *ret_n += is_aside;
    }
    for (size_t j = 0; j < d; j++)
        ret_row[j] = ret_is_aside[j] ? expected[j] : row[j];
    return 0;
}

/* The verdict of one row that is flagged; room for one row and its flags. */
static int judge_again(const struct detector *detector, const struct relevance_rule *rules,
                       struct workspace *workspace, const float *row, double threshold,
                       float *put_back, bool *is_aside, struct verdict *verdict)
{
    struct verdict lowered;
    size_t n = 0;

    int r = judge_set_aside(detector, rules, workspace, row, is_aside, put_back, &n);
    if (r < 0 || n == 0)
        return r;
    r = detector_score(detector, workspace, put_back, 1, threshold, &lowered);
    if (r < 0)
        return r;
    if (lowered.reconstruction_error < verdict->reconstruction_error)
        *verdict = lowered;
    verdict->n_set_aside = (unsigned)n;
    return 0;
}

int judge_rows(const struct detector *detector, const struct relevance_rule *rules,
               struct workspace *workspace, const float *rows, size_t n_rows, double threshold,
               struct verdict *ret_verdicts)
{
    const size_t d = detector_n_features(detector);
    AUTO_FREE float *put_back = NULL;

    int r = detector_score(detector, workspace, rows, n_rows, threshold, ret_verdicts);
    for (size_t i = 0; rules && r == 0 && i < n_rows; i++) {
        if (!ret_verdicts[i].anomaly)
            continue;
        if (!put_back)
            put_back = malloc(d * (sizeof(*put_back) + sizeof(bool)));
        if (!put_back)
            return -ENOMEM;
        r = judge_again(detector, rules, workspace, rows + i * d, threshold, put_back,
                        (bool *)(put_back + d), &ret_verdicts[i]);
    }
    return r;
}
