#include "detector/vocabulary.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FURTHER_OFF 2.0 /* times the newest row, to be told of in its place */

struct vocabulary vocabulary_of(const struct preparation *preparation,
                                const struct schema *features)
{
    return (struct vocabulary){preparation ? preparation->inputs : features, preparation};
}

const char *vocabulary_word(const struct vocabulary *vocabulary, size_t input, float value,
                            char *room)
{
    return vocabulary->preparation
               ? preparation_word(vocabulary->preparation, input, (double)value, room)
               : NULL;
}

void vocabulary_put_json(const struct vocabulary *vocabulary, size_t input, float value,
                         struct text *text)
{
    char room[PREPARATION_WORD_SIZE];
    const char *word = vocabulary_word(vocabulary, input, value, room);

    if (word)
        text_json_string(text, word, strlen(word));
    else
        text_float(text, value);
}

const char *vocabulary_change(const struct vocabulary *vocabulary, size_t input)
{
    const struct preparation *preparation = vocabulary->preparation;

    if (!preparation || (preparation->input[input].how != PREPARE_RATE &&
                         preparation->input[input].how != PREPARE_DELTA))
        return NULL;
    return preparing_name(preparation->input[input].how);
}

size_t vocabulary_input_of(const struct vocabulary *vocabulary, size_t feature)
{
    const struct preparation *preparation = vocabulary->preparation;

    return preparation ? preparation->input_of[feature % preparation->n_columns] : feature;
}

static bool is_missing(const struct vocabulary *vocabulary, const float *row, size_t input)
{
    const struct preparation *preparation = vocabulary->preparation;

    return isnan(row[preparation ? preparation->input[input].column : input]) != 0;
}

bool vocabulary_misses(const struct vocabulary *vocabulary, const float *row)
{
    for (size_t i = 0; i < schema_n_features(vocabulary->inputs); i++)
        if (is_missing(vocabulary, row, i))
            return true;
    return false;
}

void vocabulary_put_missing(const struct vocabulary *vocabulary, const float *row,
                            struct text *text)
{
    const char *separator = "[";

    for (size_t i = 0; i < schema_n_features(vocabulary->inputs); i++) {
        const char *name = schema_name(vocabulary->inputs, i);
        if (!is_missing(vocabulary, row, i))
            continue;
        text_puts(text, separator);
        text_json_string(text, name, strlen(name));
        separator = ",";
    }
    text_puts(text, *separator == '[' ? "[]" : "]");
}

/* ---- folding ---- */

/* Categories and times have no range. */
static float usual(const struct preparation *preparation, size_t input, float quantile)
{
    const enum preparing how = preparation->input[input].how;

    return how == PREPARE_ONEHOT || preparing_is_of_time(how)
               ? NAN
               : (float)preparation_value(preparation, input, &quantile);
}

/* As it was sent where that is what the input tells of. */
static double value_of(const struct preparation *preparation, size_t input, const float *row,
                       const double *values)
{
    const struct prepared_input *how = &preparation->input[input];
    const bool is_as_sent = how->how == PREPARE_RAW || how->how == PREPARE_LOG1P;

    return values && is_as_sent ? values[input]
                                : preparation_value(preparation, input, row + how->column);
}

static int by_share(const void *a, const void *b)
{
    const struct contribution *x = a, *y = b;

    if (x->share != y->share)
        return x->share > y->share ? -1 : 1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

/* What each input has to do with a row: its columns there, and their share of the blame. */
struct folding {
    const struct preparation *preparation;
    size_t n_inputs;
    float *expected; /* [of features] */
    double *shares;  /* [context][n_inputs] */
};

static void fold_columns(const struct folding *folding, const struct contribution *contributions,
                         struct contribution *ret)
{
    const struct preparation *preparation = folding->preparation;
    const size_t n_columns = preparation->n_columns;

    for (size_t k = 0; k < n_columns * preparation->context; k++) {
        const struct contribution *column = &contributions[k];
        const size_t input = preparation->input_of[column->feature % n_columns];
        const size_t lag = column->feature / n_columns;
        ret[input].share += column->share;
        folding->shares[lag * folding->n_inputs + input] += column->share;
        folding->expected[column->feature] = column->expected;
        if (lag > 0)
            continue;
        ret[input].usual_low = usual(preparation, input, column->usual_low);
        ret[input].usual_high = usual(preparation, input, column->usual_high);
    }
}

/* How far an input was from what was expected in a row behind; of categories whether. NaN: it was
 * missing. */
static double off_by(const struct folding *folding, const float *row, size_t input, size_t lag)
{
    const struct preparation *preparation = folding->preparation;
    const size_t at = lag * preparation->n_columns + preparation->input[input].column;
    const double off = fabs(preparation_value(preparation, input, row + at) -
                            preparation_value(preparation, input, folding->expected + at));

    return preparation->input[input].how == PREPARE_ONEHOT && off > 0.0 ? 1.0 : off;
}

/* The row that has an input's blame: the newest, unless it is missing or as expected there, or one
 * behind has more and was further off. */
static void look_back(const struct folding *folding, const float *row, struct contribution *ret)
{
    const struct preparation *preparation = folding->preparation;
    const size_t input = ret->feature;
    const double off = off_by(folding, row, input, 0);
    const bool is_off = off > 0.0; /* and not missing */
    const double least_off = isnan(off) ? -1.0 : FURTHER_OFF * off;
    double most = is_off ? folding->shares[input] : 0.0;

    for (size_t lag = 1; lag < preparation->context; lag++) {
        const size_t at = lag * preparation->n_columns + preparation->input[input].column;
        const double share = folding->shares[lag * folding->n_inputs + input];
        if (!(share > most && off_by(folding, row, input, lag) > least_off))
            continue;
        most = share;
        ret->rows_back = lag;
        ret->back.value = (float)preparation_value(preparation, input, row + at);
        ret->back.expected = (float)preparation_value(preparation, input, folding->expected + at);
    }
}

int vocabulary_fold(const struct vocabulary *vocabulary, const float *row, const double *values,
                    const struct contribution *contributions, struct contribution *ret)
{
    const struct preparation *preparation = vocabulary->preparation;
    const size_t n_inputs = schema_n_features(preparation->inputs);
    const size_t context = preparation->context;
    AUTO_FREE float *expected = calloc(context * preparation->n_columns, sizeof(*expected));
    AUTO_FREE double *shares = calloc(context * n_inputs, sizeof(*shares));
    const struct folding folding = {preparation, n_inputs, expected, shares};
    if (!expected || !shares)
        return -ENOMEM;

    for (size_t i = 0; i < n_inputs; i++)
        ret[i] = (struct contribution){.feature = i, .usual_low = NAN, .usual_high = NAN};
    fold_columns(&folding, contributions, ret);
    for (size_t i = 0; i < n_inputs; i++) {
        ret[i].value = (float)value_of(preparation, i, row, values);
        ret[i].expected =
            (float)preparation_value(preparation, i, expected + preparation->input[i].column);
        look_back(&folding, row, &ret[i]);
    }
    qsort(ret, n_inputs, sizeof(*ret), by_share);
    return 0;
}

void vocabulary_fold_sums(const struct vocabulary *vocabulary, const double *of_features,
                          double *ret_of_inputs)
{
    const struct preparation *preparation = vocabulary->preparation;

    for (size_t i = 0; i < schema_n_features(preparation->inputs); i++)
        ret_of_inputs[i] = 0.0;
    for (size_t k = 0; k < preparation->n_columns * preparation->context; k++)
        ret_of_inputs[preparation->input_of[k % preparation->n_columns]] += of_features[k];
}

void vocabulary_copy_input(const struct vocabulary *vocabulary, size_t input, const float *from,
                           float *to)
{
    const struct preparation *preparation = vocabulary->preparation;

    if (!preparation) {
        to[input] = from[input];
        return;
    }
    const struct prepared_input *how = &preparation->input[input];
    for (size_t lag = 0; lag < preparation->context; lag++) {
        const size_t at = lag * preparation->n_columns + how->column;
        memcpy(to + at, from + at, how->n_columns * sizeof(*to));
    }
}
