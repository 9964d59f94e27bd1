#include "detector/vocabulary.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void vocabulary_put_missing(const struct vocabulary *vocabulary, const float *row,
                            struct text *text)
{
    const struct preparation *preparation = vocabulary->preparation;
    size_t n = 0;

    for (size_t i = 0; i < schema_n_features(vocabulary->inputs); i++) {
        const char *name = schema_name(vocabulary->inputs, i);
        if (!isnan(row[preparation ? preparation->input[i].column : i]))
            continue;
        text_puts(text, n++ ? "," : "[");
        text_json_string(text, name, strlen(name));
    }
    text_puts(text, n ? "]" : "[]");
}

/* ---- folding ---- */

/* The columns of a category that never was let expect several others alike: then the most frequent
 * one. */
#define PRIOR 0.1F

static float usual(const struct prepared_input *input, float quantile)
{
    switch (input->how) {
    case PREPARE_RAW:
    case PREPARE_RATE:
    case PREPARE_DELTA:
        return quantile;
    case PREPARE_LOG1P:
        return (float)expm1((double)quantile);
    case PREPARE_ONEHOT:
    case PREPARE_HOUR:
    case PREPARE_WEEKDAY:
        break;
    }
    return NAN;
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

int vocabulary_fold(const struct vocabulary *vocabulary, const float *row, const double *values,
                    const struct contribution *contributions, const float *means,
                    struct contribution *ret)
{
    const struct preparation *preparation = vocabulary->preparation;
    const size_t n_columns = preparation->n_columns;
    const size_t n_inputs = schema_n_features(preparation->inputs);
    AUTO_FREE float *expected = calloc(n_columns, sizeof(*expected));
    if (!expected)
        return -ENOMEM;

    for (size_t i = 0; i < n_inputs; i++)
        ret[i] = (struct contribution){.feature = i, .usual_low = NAN, .usual_high = NAN};
    for (size_t k = 0; k < n_columns * preparation->context; k++) {
        const struct contribution *column = &contributions[k];
        const size_t input = preparation->input_of[column->feature % n_columns];
        ret[input].share += column->share;
        if (column->feature >= n_columns)
            continue;
        expected[column->feature] = column->expected;
        if (preparation->input[input].how == PREPARE_ONEHOT)
            expected[column->feature] += PRIOR * means[column->feature];
        ret[input].usual_low = usual(&preparation->input[input], column->usual_low);
        ret[input].usual_high = usual(&preparation->input[input], column->usual_high);
    }
    for (size_t i = 0; i < n_inputs; i++) {
        ret[i].value = (float)value_of(preparation, i, row, values);
        ret[i].expected =
            (float)preparation_value(preparation, i, expected + preparation->input[i].column);
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
