/* small_learning - what one model learns, over a real database and a small detector, for tests of
 * service/learning.h. Everything is static: include it from the file of one test. */
#pragma once

#include "detector/calibration.h"
#include "service/learning.h"
#include "store/model_log.h"
#include "support/database_folder.h"
#include "support/tiny_model.h"

#define D             TINY_FEATURES
#define N_CALIBRATION 5000 /* the drift meter wants as many */
#define RATE          0.05
#define SECOND        1000000ULL
#define START_US      (1000 * SECOND)
#define FIRST_EVENT   1000
#define BURST_VALUE   1e6F /* feature 0 of a row that a test wants to find again */

static struct detector *detector;
static double threshold;
static struct learning *learning;
static struct learning_options options;
static struct random source;
static uint64_t next_event, now_us;

static inline struct detector *train_small(const float *rows, size_t n_rows, uint64_t seed)
{
    static float calibration[N_CALIBRATION * D];
    struct trainer_options how = {
        .recipe = tiny_recipe(seed),
        .n_threads = 1,
        .calibration = calibration,
        .n_calibration = N_CALIBRATION,
    };
    struct detector *trained = NULL;
    struct error error;

    tiny_rows(seed + 100, calibration, N_CALIBRATION);
    assert_int_equal(
        detector_train(rows, n_rows, tiny_names, D, &how, NULL, NULL, &trained, &error), 0);
    return trained;
}

static inline int make_detector(void **state)
{
    (void)state;
    static float rows[TINY_ROWS * D];

    detector_init();
    tiny_rows(1, rows, TINY_ROWS);
    detector = train_small(rows, TINY_ROWS, 1);
    threshold = calibration_threshold(detector_calibration(detector), RATE);
    return 0;
}

static inline int free_detector(void **state)
{
    (void)state;
    detector_free(detector);
    return 0;
}

static inline uint64_t give_event_id(void *userdata)
{
    (void)userdata;
    return next_event++;
}

static inline int begin(void **state)
{
    if (make_database(state) < 0)
        return -1;
    options = (struct learning_options){
        .buffer_rows = 4000,
        .learns_scored = true,
        .seed = 7,
        .next_event_id = give_event_id,
    };
    next_event = FIRST_EVENT;
    now_us = START_US;
    random_seed(&source, 3);
    return 0;
}

static inline int end(void **state)
{
    learning_free(TAKE(learning));
    return remove_database(state);
}

#define LEARNING_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

/* With the options as they are now; the model learns anew what is stored. */
static inline void open_without_version(void)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    learning_free(TAKE(learning));
    assert_int_equal(model_log_open(database, "m", "[]", "f", &model), 0);
    assert_int_equal(learning_new(database, model.id, D, &options, &learning), 0);
}

static inline void open_learning(void)
{
    open_without_version();
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
}

static inline void flush(void)
{
    assert_int_equal(learning_flush(learning), 0);
}

/* ---- rows ---- */

/* One of the calibration errors: what the drift meter finds ordinary. */
static inline double draw_error(void)
{
    size_t n;
    const double *errors = calibration_errors(detector_calibration(detector), &n);

    return errors[random_below(&source, n)];
}

/* One more row, a second later, with a made-up verdict. */
static inline void take_row(const char *series, bool is_flagged, float first_value)
{
    float values[D];
    const struct scored_row row = {
        .time_us = now_us += SECOND,
        .series = series,
        .values = values,
        .error = draw_error(),
        .p_value = is_flagged ? 0.001 : 0.5,
        .is_flagged = is_flagged,
    };

    tiny_row(&source, values);
    if (first_value != 0)
        values[0] = first_value;
    assert_int_equal(learning_take(learning, &row, 1), 0);
}

static inline void take_normal(const char *series, size_t n)
{
    for (size_t i = 0; i < n; i++)
        take_row(series, false, 0);
}

/* Flagged rows that can be found again. */
static inline void take_burst(const char *series, size_t n)
{
    for (size_t i = 0; i < n; i++)
        take_row(series, true, BURST_VALUE + (float)i);
}

static inline void observe(const float *values, size_t n)
{
    uint64_t times_us[2000];

    assert_in_range(n, 1, sizeof(times_us) / sizeof(*times_us));
    for (size_t i = 0; i < n; i++)
        times_us[i] = now_us;
    assert_int_equal(learning_observe(learning, values, n, times_us, ""), 0);
    flush();
}

/* Rows that are known to be normal, stored. */
static inline void observe_normal(size_t n)
{
    float values[D];

    for (size_t i = 0; i < n; i++) {
        tiny_row(&source, values);
        assert_int_equal(learning_observe(learning, values, 1, &now_us, ""), 0);
    }
    flush();
}

static inline size_t stored_as(enum row_role role)
{
    return learning_counts(learning).of_role[role];
}

/* Stored rows of a burst that have this role. */
static inline size_t count_burst(enum row_role role)
{
    CLEANUP(row_block_clear) struct row_block block = {0};
    struct row_buffer *buffer = learning_pending(learning).buffer;
    size_t n = 0;

    assert_int_equal(row_buffer_read(buffer, role, SIZE_MAX, SIZE_MAX, &block), 0);
    for (size_t i = 0; i < block.n_rows; i++)
        n += block.values[i * D] >= BURST_VALUE;
    return n;
}

/* Of all that may be learned from. */
static inline size_t count_learned_burst(void)
{
    return count_burst(ROW_TRAIN) + count_burst(ROW_CALIBRATE) + count_burst(ROW_GATE);
}

/* ---- events ---- */

static inline size_t count_events(const char *kind)
{
    char sql[96];

    flush();
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM events WHERE kind = '%s'", kind);
    return (size_t)count(sql);
}

/* The only one of that kind; clear it. */
static inline struct logged_event logged(const char *kind)
{
    struct logged_event *events = NULL;
    size_t n = 0;

    flush();
    assert_int_equal(event_log_list(database, 1, kind, 0, 10, &events, &n), 0);
    if (n != 1)
        fail_msg("%zu events %s", n, kind);
    const struct logged_event event = events[0];
    free(events);
    return event;
}

/* An incident that is open, by 60 flagged rows; its id. */
static inline uint64_t open_incident(void)
{
    CLEANUP(logged_event_clear) struct logged_event event = {0};

    take_normal("", 100);
    take_burst("", 60);
    event = logged("incident");
    assert_true(event.is_open);
    return event.id;
}

/* ---- runs ---- */

/* What a run would train on; clear it. */
static inline struct training_set draw(void)
{
    struct training_set set = {0};
    struct error error = {0};

    if (learning_draw(learning, &set, &error) < 0)
        fail_msg("%s", error.text);
    return set;
}
