/* One row after the other through a preparation, and its values back from the columns. */
#include "base/zone.h"
#include "data/preparation.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_PASSED 1e-3 /* seconds: of rows closer than that the times are made up */

#define DAY  86400.0
#define TURN (2.0 * M_PI)

struct preparation_state {
    double time;     /* of the newest row; NaN: there was none with a time */
    size_t n_behind; /* rows in .behind, newest first, at most context - 1 */
    double *last;    /* [n_memories] last value there was; NaN: none */
    double *last_at; /* [n_memories] its time; NaN: not known */
    float *behind;   /* [context - 1][n_columns] */
};

/* ---- state ---- */

static size_t n_behind_floats(const struct preparation *preparation)
{
    return (preparation->context - 1) * preparation->n_columns;
}

static void forget(const struct preparation *preparation, struct preparation_state *state)
{
    state->n_behind = 0;
    for (size_t i = 0; i < preparation->n_memories; i++)
        state->last[i] = state->last_at[i] = (double)NAN;
}

int preparation_state_new(const struct preparation *preparation,
                          struct preparation_state **ret_state)
{
    const size_t n_doubles = 2 * preparation->n_memories;
    struct preparation_state *state = calloc(1, sizeof(*state) + n_doubles * sizeof(double) +
                                                    n_behind_floats(preparation) * sizeof(float));
    if (!state)
        return -ENOMEM;
    state->last = (double *)(void *)(state + 1);
    state->last_at = state->last + preparation->n_memories;
    state->behind = (float *)(void *)(state->last + n_doubles);
    state->time = (double)NAN;
    forget(preparation, state);
    *ret_state = state;
    return 0;
}

void preparation_state_free(struct preparation_state *state)
{
    free(state);
}

double preparation_state_time(const struct preparation_state *state)
{
    return state->time;
}

size_t preparation_state_size(const struct preparation *preparation)
{
    return sizeof(double) + sizeof(uint64_t) + 2 * preparation->n_memories * sizeof(double) +
           n_behind_floats(preparation) * sizeof(float);
}

void preparation_state_save(const struct preparation *preparation,
                            const struct preparation_state *state, void *ret_bytes)
{
    const uint64_t n_behind = state->n_behind;
    void *at = mempcpy(ret_bytes, &state->time, sizeof(state->time));

    at = mempcpy(at, &n_behind, sizeof(n_behind));
    at = mempcpy(at, state->last, 2 * preparation->n_memories * sizeof(double));
    (void)mempcpy(at, state->behind, n_behind_floats(preparation) * sizeof(float));
}

int preparation_state_load(const struct preparation *preparation, struct preparation_state *state,
                           const void *bytes, size_t size)
{
    const char *at = bytes;
    uint64_t n_behind;
    double time;

    if (size != preparation_state_size(preparation))
        return -EINVAL;
    memcpy(&time, at, sizeof(time));
    memcpy(&n_behind, at + sizeof(time), sizeof(n_behind));
    if (n_behind >= preparation->context || isinf(time))
        return -EINVAL;
    at += sizeof(time) + sizeof(n_behind);
    for (size_t i = 0; i < 2 * preparation->n_memories; i++) {
        double value;
        memcpy(&value, at + i * sizeof(value), sizeof(value));
        if (isinf(value))
            return -EINVAL;
    }
    const char *const floats = at + 2 * preparation->n_memories * sizeof(double);
    for (size_t i = 0; i < n_behind_floats(preparation); i++) {
        float value;
        memcpy(&value, floats + i * sizeof(value), sizeof(value));
        if (isinf(value))
            return -EINVAL;
    }
    state->time = time;
    state->n_behind = (size_t)n_behind;
    memcpy(state->last, at, 2 * preparation->n_memories * sizeof(double));
    memcpy(state->behind, floats, n_behind_floats(preparation) * sizeof(float));
    return 0;
}

/* ---- forwards ---- */

static float to_float(double value)
{
    return value > (double)FLT_MAX    ? FLT_MAX
           : value < -(double)FLT_MAX ? -FLT_MAX
                                      : (float)value; /* NaN stays */
}

/* By how much a counter grew. One that falls was reset to 0, or wrapped round if it was in the last
 * quarter of its range, of 32 or 64 bits, and is in the first again. */
static double growth(double before, double now)
{
    static const double ranges[] = {4294967296.0, 18446744073709551616.0};

    if (now >= before)
        return now - before;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
        if (before < ranges[i] && before >= 0.75 * ranges[i] && now < 0.25 * ranges[i])
            return now + (ranges[i] - before);
    return now;
}

/* What a rate or delta is at a row that is not late; NaN: not known. */
static double change_of(const struct preparation *preparation, const struct prepared_input *input,
                        const struct preparation_state *state, double time, double value)
{
    const double last = state->last[input->memory], last_at = state->last_at[input->memory];
    const double passed = time - last_at;

    if (preparation->max_gap > 0.0 && passed > preparation->max_gap)
        return (double)NAN;
    if (input->how == PREPARE_DELTA)
        return value - last;
    return passed >= LEAST_PASSED ? growth(last, value) / passed : (double)NAN;
}

static void put_angle(double turns, float *columns)
{
    columns[0] = (float)sin(TURN * turns);
    columns[1] = (float)cos(TURN * turns);
}

static double modulo(double value, double turn)
{
    return value - turn * floor(value / turn);
}

/* Hours since midnight, or days since Monday, on the wall; 1970-01-01 was a Thursday. */
static double clock_value(const struct preparation *preparation, enum preparing how, double time)
{
    const double wall = time + (double)zone_offset(preparation->zone, time);

    return how == PREPARE_HOUR ? modulo(wall, DAY) / 3600.0 : modulo(floor(wall / DAY) + 3.0, 7.0);
}

void preparation_columns(const struct preparation *preparation, size_t input, double value,
                         float *ret_columns)
{
    const struct prepared_input *how = &preparation->input[input];

    switch (how->how) {
    case PREPARE_RAW:
    case PREPARE_RATE:
    case PREPARE_DELTA:
        ret_columns[0] = to_float(value);
        break;
    case PREPARE_LOG1P:
        ret_columns[0] = to_float(log1p(value));
        break;
    case PREPARE_ONEHOT:
        for (size_t i = 0; i < how->n_columns; i++)
            ret_columns[i] = isnan(value) ? NAN : value == (double)i ? 1.0f : 0.0f;
        break;
    case PREPARE_HOUR:
        put_angle(value / 24.0, ret_columns);
        break;
    case PREPARE_WEEKDAY:
        put_angle(value / 7.0, ret_columns);
        break;
    }
}

/* The columns of one row. state NULL: of a row that nothing is known before. */
static void prepare(const struct preparation *preparation, const struct preparation_state *state,
                    double time, const double *values, float *ret_columns)
{
    const size_t n = schema_n_features(preparation->inputs);

    for (size_t i = 0; i < n; i++) {
        const struct prepared_input *input = &preparation->input[i];
        double value;

        if (preparing_is_of_time(input->how))
            value = clock_value(preparation, input->how, time);
        else if (input->how == PREPARE_RATE || input->how == PREPARE_DELTA)
            value = state ? change_of(preparation, input, state, time, values[i]) : (double)NAN;
        else
            value = values[i];
        preparation_columns(preparation, i, value, ret_columns + input->column);
    }
}

static void remember(const struct preparation *preparation, struct preparation_state *state,
                     double time, const double *values, const float *columns)
{
    const size_t n = preparation->n_columns;

    for (size_t i = 0; i < schema_n_features(preparation->values); i++) {
        const struct prepared_input *input = &preparation->input[i];
        if ((input->how != PREPARE_RATE && input->how != PREPARE_DELTA) || isnan(values[i]))
            continue;
        state->last[input->memory] = values[i];
        state->last_at[input->memory] = time;
    }
    if (!isnan(time))
        state->time = time;
    if (preparation->context == 1)
        return;
    const size_t n_kept =
        state->n_behind < preparation->context - 2 ? state->n_behind : preparation->context - 2;
    memmove(state->behind + n, state->behind, n_kept * n * sizeof(float));
    memcpy(state->behind, columns, n * sizeof(float));
    state->n_behind = n_kept + 1;
}

/* The rows behind; the oldest again and again where there are too few. */
static void stack(const struct preparation *preparation, const struct preparation_state *state,
                  float *features)
{
    const size_t n = preparation->n_columns, n_behind = state ? state->n_behind : 0;

    for (size_t lag = 1; lag < preparation->context; lag++)
        memcpy(features + lag * n,
               lag <= n_behind ? state->behind + (lag - 1) * n : features + (lag - 1) * n,
               n * sizeof(*features));
}

bool preparation_follow(const struct preparation *preparation, struct preparation_state *state,
                        double time, const double *values, float *ret_features)
{
    const bool is_late = state && preparation_needs_series(preparation) &&
                         time <= state->time; /* false where one is NaN */

    if (state && preparation->max_gap > 0.0 && time - state->time > preparation->max_gap)
        forget(preparation, state);
    prepare(preparation, is_late ? NULL : state, time, values, ret_features);
    stack(preparation, state, ret_features);
    if (state && !is_late)
        remember(preparation, state, time, values, ret_features);
    return is_late;
}

/* ---- backwards ---- */

static double turns_of(const float *columns)
{
    const double turns = atan2((double)columns[0], (double)columns[1]) / TURN;

    return turns < 0.0 ? turns + 1.0 : turns;
}

static double largest_of(const float *columns, size_t n)
{
    size_t largest = 0;

    for (size_t i = 1; i < n; i++)
        if (columns[i] > columns[largest])
            largest = i;
    return (double)largest;
}

double preparation_value(const struct preparation *preparation, size_t input, const float *columns)
{
    const struct prepared_input *how = &preparation->input[input];

    if (isnan(columns[0]))
        return (double)NAN;
    switch (how->how) {
    case PREPARE_RAW:
    case PREPARE_RATE:
    case PREPARE_DELTA:
        break;
    case PREPARE_LOG1P:
        return fmin(expm1((double)columns[0]), (double)FLT_MAX);
    case PREPARE_ONEHOT:
        return largest_of(columns, how->n_columns);
    case PREPARE_HOUR:
        return 24.0 * turns_of(columns);
    case PREPARE_WEEKDAY:
        return fmod(round(7.0 * turns_of(columns)), 7.0);
    }
    return (double)columns[0];
}

const char *preparation_word(const struct preparation *preparation, size_t input, double value,
                             char room[PREPARATION_WORD_SIZE])
{
    static const char *const days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};
    const struct prepared_input *how = &preparation->input[input];

    if (isnan(value) || value < 0.0)
        return NULL;
    switch (how->how) {
    case PREPARE_RAW:
    case PREPARE_LOG1P:
    case PREPARE_RATE:
    case PREPARE_DELTA:
        break;
    case PREPARE_ONEHOT:
        return value < (double)how->n_categories ? how->categories[(size_t)value] : "(other)";
    case PREPARE_HOUR: {
        const unsigned minutes = (unsigned)(fmod(value, 24.0) * 60.0 + 0.5) % 1440;
        (void)snprintf(room, PREPARATION_WORD_SIZE, "%02u:%02u", minutes / 60, minutes % 60);
        return room;
    }
    case PREPARE_WEEKDAY:
        return days[(size_t)fmod(value, 7.0)];
    }
    return NULL;
}
