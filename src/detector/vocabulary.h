/* vocabulary - what people read about: inputs and their values, instead of the columns that a model
 * sees (data/preparation.h).
 *
 * Without a preparation inputs and columns are the same. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct contribution;
struct preparation;
struct schema;
struct text;

struct vocabulary {
    const struct schema *inputs;
    const struct preparation *preparation; /* or NULL */
};

/* Of a model that sees these features, made by preparation (or NULL). */
struct vocabulary vocabulary_of(const struct preparation *preparation,
                                const struct schema *features);

/* A value of an input: a number, or the word for a category, day or time of day. */
void vocabulary_put_json(const struct vocabulary *vocabulary, size_t input, float value,
                         struct text *text);

/* The word; NULL: it is a number. room[PREPARATION_WORD_SIZE]. */
const char *vocabulary_word(const struct vocabulary *vocabulary, size_t input, float value,
                            char *room);

/* "rate" or "delta", whose values are not those that were sent; NULL: they are. */
const char *vocabulary_change(const struct vocabulary *vocabulary, size_t input);

/* Whether there are inputs that row[of features] does not know the newest value of; appends them,
 * ["a","b"]. */
bool vocabulary_misses(const struct vocabulary *vocabulary, const float *row);
void vocabulary_put_missing(const struct vocabulary *vocabulary, const float *row,
                            struct text *text);

/* The input whose column a feature is, of the newest row or one behind. */
size_t vocabulary_input_of(const struct vocabulary *vocabulary, size_t feature);

/* Columns folded back onto their inputs: shares are summed, values and expected ones are those of
 * the newest row in the user's unit. Where a row behind it has more of the blame and was more than
 * twice as far off, or has most of it and the newest is missing or as expected, .rows_back says
 * which, and .back what was there. contributions[of features] in any order → ret[of inputs], the
 * largest share first, equal ones in the order of the inputs. row[of features]; values[of values]
 * as they were sent, NULL: they are turned back from the row. With a preparation only. -ENOMEM. */
MUST_CHECK int vocabulary_fold(const struct vocabulary *vocabulary, const float *row,
                               const double *values, const struct contribution *contributions,
                               struct contribution *ret);

/* The same for one number a feature: summed to one an input. In place is not possible. */
void vocabulary_fold_sums(const struct vocabulary *vocabulary, const double *of_features,
                          double *ret_of_inputs);

/* Copies all columns of an input from one row[of features] to another. */
void vocabulary_copy_input(const struct vocabulary *vocabulary, size_t input, const float *from,
                           float *to);
