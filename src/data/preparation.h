/* preparation - from the inputs that monitoring systems have to the row that a model sees.
 *
 * An input is what users send and read about: a value with a name, or the row's time ("inputs"
 * without a value). Each is turned into one or several columns (data/prepare_spec.h), and with
 * `context` the columns of the last rows of a series stand behind each other: the columns of all
 * these rows are the features of the model. Training and serving go through the same code.
 *
 * Inputs are doubles, because counters lose their last digits in a float; a category is its number,
 * n_categories that of any other one. NaN is a missing value.
 *
 * A row is held against the one before of its series. Where that is not known (the first row, or
 * one more than max_gap later) a rate or delta is missing, and the context is the oldest row there
 * is, again and again. A row that is not newer than the newest of its series is late: it is
 * prepared with what was known then as far as that is still known, its rates and deltas are
 * missing, and it leaves no trace in the series. Where no row before counts, nothing is late. Rows
 * without a time (NaN) come in their order; of rows less than a millisecond apart there is no rate.
 *
 * A struct preparation never changes, and is shared by counting references; any thread. A
 * preparation_state belongs to one series. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "data/prepare_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct preparation;
struct schema;
struct text;
struct zone;

/* One input. Read only. */
struct prepared_input {
    enum preparing how;
    size_t column, n_columns; /* of the columns of one row */
    size_t memory;            /* place of its last value in a state; of a rate or delta */
    char **categories;        /* [n_categories] */
    size_t n_categories;
};

/* Read only. */
struct preparation {
    struct schema *values;   /* what users send, in the order of the model */
    struct schema *inputs;   /* the same, then what is made from the time */
    struct schema *features; /* "rate(bytes)", "state=up", "latency[-1]": [context * n_columns] */
    struct prepared_input *input; /* [of inputs] */
    size_t *input_of;             /* [n_columns] whose column it is */
    size_t n_columns;             /* of one row */
    size_t n_memories;            /* rates and deltas */
    size_t context;
    double max_gap;    /* seconds; 0: none */
    struct zone *zone; /* NULL: no input needs one */
    char *zone_name;
    unsigned references;
};

/* names[n_names]: the values in their order. -EINVAL with the reason, to follow "prepare": a name
 * that is none of them, a value made from the time, too many features; a onehot without
 * categories; -ENOMEM. */
MUST_CHECK int preparation_new(const struct prepare_spec *spec, const char *const *names,
                               size_t n_names, struct preparation **ret_preparation,
                               struct error *reterr);
/* One more who will free it; returns preparation. */
struct preparation *preparation_share(struct preparation *preparation);
void preparation_free(struct preparation *preparation);
DEFINE_CLEANUP(struct preparation *, preparation_free)

/* Whether both make the same features of the same inputs. NULL is "as they are". */
bool preparation_equals(const struct preparation *a, const struct preparation *b);

bool preparation_needs_series(const struct preparation *preparation); /* rows before count */
bool preparation_needs_time(const struct preparation *preparation);   /* NaN will not do */
bool preparation_has_rates(const struct preparation *preparation);    /* so a time means one row */

/* What is wrong with a finite value of an input, "is below 0 …, which log1p cannot take"; NULL:
 * nothing. */
const char *preparation_refuses(const struct preparation *preparation, size_t input, double value);

/* The number of a category, whichever way it is written (prepare_category_text()); n_categories for
 * one that is not among them. */
double preparation_category(const struct prepared_input *input, const char *text, size_t length);

/* ---- rows ---- */

struct preparation_state;

MUST_CHECK int preparation_state_new(const struct preparation *preparation,
                                     struct preparation_state **ret_state);
void preparation_state_free(struct preparation_state *state);
DEFINE_CLEANUP(struct preparation_state *, preparation_state_free)

/* Takes the next row of a series: values[of values], at time (seconds since 1970; NaN: not known),
 * to ret_features[of features]. state NULL: the row stands alone. True: it is late. */
bool preparation_follow(const struct preparation *preparation, struct preparation_state *state,
                        double time, const double *values, float *ret_features);

/* Of its newest row, seconds since 1970; NaN: there was none with a time. */
double preparation_state_time(const struct preparation_state *state);

/* A state as bytes, for a machine of the same kind. */
size_t preparation_state_size(const struct preparation *preparation);
void preparation_state_save(const struct preparation *preparation,
                            const struct preparation_state *state, void *ret_bytes);
/* -EINVAL: the bytes are no state of this preparation; state is as it was. */
MUST_CHECK int preparation_state_load(const struct preparation *preparation,
                                      struct preparation_state *state, const void *bytes,
                                      size_t size);

/* ---- back to what users know ---- */

/* The value of an input that the columns of one row stand for: raw and log1p in the user's unit, a
 * rate per second, a delta as it is, a category its number, hours since midnight, days since
 * Monday. NaN: missing. */
double preparation_value(const struct preparation *preparation, size_t input, const float *columns);

/* The columns of one row that a value of an input stands for: what preparation_value() turns back.
 * Not of a rate or delta's counter, but of the rate or delta. */
void preparation_columns(const struct preparation *preparation, size_t input, double value,
                         float *ret_columns);

/* A word for such a value: a category, a day, "13:45"; NULL: it is a number. */
#define PREPARATION_WORD_SIZE 16
const char *preparation_word(const struct preparation *preparation, size_t input, double value,
                             char room[PREPARATION_WORD_SIZE]);
