/* prepared_model - a tiny detector whose inputs are prepared in every way there is. */
#pragma once

#include "base/random.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/trainer.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdlib.h>

/* bytes, sent, latency, state, load; then hour-of-day. Two rows are seen at once. */
#define PREPARED_VALUES   5
#define PREPARED_INPUTS   6
#define PREPARED_COLUMNS  9
#define PREPARED_CONTEXT  2
#define PREPARED_FEATURES (PREPARED_CONTEXT * PREPARED_COLUMNS)
#define PREPARED_ROWS     400

enum prepared_input_number {
    IN_BYTES,
    IN_SENT,
    IN_LATENCY,
    IN_STATE,
    IN_LOAD,
    IN_HOUR
};

static const char *const prepared_names[PREPARED_VALUES] = {"bytes", "sent", "latency", "state",
                                                            "load"};

static inline struct preparation *prepared_preparation(void)
{
    struct preparation *preparation = NULL;
    struct prepare_spec spec;
    struct error error = {0};

    prepare_spec_init(&spec);
    assert_int_equal(prepare_spec_parse(&spec,
                                        "bytes=rate,sent=delta,latency=log1p,"
                                        "state=onehot:down|up,timestamp=hour-of-day",
                                        &error),
                     0);
    spec.context = PREPARED_CONTEXT;
    assert_int_equal(preparation_new(&spec, prepared_names, PREPARED_VALUES, &preparation, &error),
                     0);
    assert_int_equal(schema_n_features(preparation->features), PREPARED_FEATURES);
    prepare_spec_clear(&spec);
    return preparation;
}

/* One load moves all; a row a minute from the first of March 2024 on. */
static inline void prepared_values(uint64_t seed, size_t n_rows, double *ret_times,
                                   double *ret_values)
{
    struct random random;
    double bytes = 1e6, sent = 0;

    random_seed(&random, seed);
    for (size_t i = 0; i < n_rows; i++) {
        const double load = 10 + 2 * random_normal(&random);
        double *const values = ret_values + i * PREPARED_VALUES;
        bytes += 60 * (1000 + 80 * (load - 10) + 5 * random_normal(&random));
        sent += 50 * (load - 10) + random_normal(&random);
        ret_times[i] = 1709251200 + 60 * (double)i;
        values[IN_BYTES] = floor(bytes);
        values[IN_SENT] = sent;
        values[IN_LATENCY] = expm1(1 + load / 10 + 0.01 * random_normal(&random));
        values[IN_STATE] = (load > 10) == (random_below(&random, 50) > 0) ? 1 : 0;
        values[IN_LOAD] = load;
    }
}

/* All of one series. ret_rows[n_rows][PREPARED_FEATURES] */
static inline void prepared_rows(struct preparation *preparation, const double *times,
                                 const double *values, size_t n_rows, float *ret_rows)
{
    CLEANUP(preparation_state_freep) struct preparation_state *state = NULL;

    assert_int_equal(preparation_state_new(preparation, &state), 0);
    for (size_t i = 0; i < n_rows; i++)
        assert_false(preparation_follow(preparation, state, times[i], values + i * PREPARED_VALUES,
                                        ret_rows + i * PREPARED_FEATURES));
}

static inline struct detector *prepared_detector(uint64_t seed)
{
    static double times[PREPARED_ROWS], values[PREPARED_ROWS * PREPARED_VALUES];
    static float rows[PREPARED_ROWS * PREPARED_FEATURES];
    CLEANUP(preparation_freep) struct preparation *preparation = prepared_preparation();
    const struct trainer_options options = {
        .recipe = tiny_recipe(seed), .n_threads = 1, .preparation = preparation};
    struct detector *detector = NULL;
    struct error error = {0};

    prepared_values(seed, PREPARED_ROWS, times, values);
    prepared_rows(preparation, times, values, PREPARED_ROWS, rows);
    if (detector_train(rows, PREPARED_ROWS, schema_names(preparation->features), PREPARED_FEATURES,
                       &options, NULL, NULL, &detector, &error) < 0)
        fail_msg("%s", error.text);
    return detector;
}
