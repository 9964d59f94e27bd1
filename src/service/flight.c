#include "service/flight.h"

#include "base/text.h"
#include "data/schema.h"
#include "service/learning.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MEMORY 8 /* rows: most series of many are short */

static size_t row_bytes(size_t n_features)
{
    return sizeof(struct flight_row) + sizeof(uint64_t) + n_features * sizeof(float);
}

/* ---- on the way to the store ---- */

void flight_recorder_drop(struct flight_recorder *recorder)
{
    for (size_t i = 0; i < recorder->n_flights; i++)
        free(recorder->flights[i].features);
    recorder->n_flights = recorder->n_rows = 0;
}

void flight_recorder_lose(struct flight_recorder *recorder)
{
    recorder->n_lost += recorder->n_rows;
    flight_recorder_drop(recorder);
}

void flight_recorder_clear(struct flight_recorder *recorder)
{
    flight_recorder_drop(recorder);
    free(recorder->flights);
    free(recorder->rows);
    free(recorder->values);
    *recorder = (struct flight_recorder){0};
}

struct flight_batch flight_recorder_batch(const struct flight_recorder *recorder)
{
    return (struct flight_batch){
        .n_features = recorder->n_features,
        .flights = recorder->flights,
        .n_flights = recorder->n_flights,
        .rows = recorder->rows,
        .n_rows = recorder->n_rows,
    };
}

static int reserve_rows(struct flight_recorder *recorder)
{
    const size_t capacity = recorder->rows_capacity ? 2 * recorder->rows_capacity : 64;

    if (recorder->n_rows < recorder->rows_capacity)
        return 0;
    if (recorder->n_rows * row_bytes(recorder->n_features) >= FLIGHT_PENDING_BYTES)
        return -ENOBUFS;
    struct flight_row *rows = realloc(recorder->rows, capacity * sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    recorder->rows = rows;
    float *values = realloc(recorder->values, capacity * recorder->n_features * sizeof(*values));
    if (!values)
        return -ENOMEM;
    recorder->values = values;
    recorder->rows_capacity = capacity;
    for (size_t i = 0; i < recorder->n_rows; i++) /* they may have moved */
        rows[i].values = values + i * recorder->n_features;
    return 0;
}

static int reserve_flight(struct flight_recorder *recorder)
{
    const size_t capacity = recorder->flights_capacity ? 2 * recorder->flights_capacity : 8;

    if (recorder->n_flights < recorder->flights_capacity)
        return 0;
    struct flight *flights = realloc(recorder->flights, capacity * sizeof(*flights));
    if (!flights)
        return -ENOMEM;
    recorder->flights = flights;
    recorder->flights_capacity = capacity;
    return 0;
}

/* features: of one that begins; NULL: it goes on. Takes them over. */
static int put_flight(struct flight_recorder *recorder, struct flight_memory *memory,
                      uint64_t n_missing, char *features)
{
    int r = reserve_flight(recorder);
    if (r < 0) {
        free(features);
        return r;
    }
    recorder->flights[recorder->n_flights++] = (struct flight){
        .incident = memory->incident,
        .n_left_out = memory->n_left_out,
        .n_missing = n_missing,
        .features = features,
    };
    memory->told_missing = n_missing;
    return 0;
}

/* What finds no room is lost; the values are copied. */
static void put_row(struct flight_recorder *recorder, struct flight_memory *memory,
                    const struct flight_row *row, enum flight_part part)
{
    if (reserve_rows(recorder) < 0) {
        memory->n_lost++;
        return;
    }
    float *values = recorder->values + recorder->n_rows * recorder->n_features;
    struct flight_row *put = &recorder->rows[recorder->n_rows++];

    memcpy(values, row->values, recorder->n_features * sizeof(*values));
    *put = *row;
    put->incident = memory->incident;
    put->number = memory->n_recorded++;
    put->part = part;
    put->values = values;
}

/* ---- what a series remembers ---- */

void flight_memory_clear(struct flight_memory *memory, struct flight_recorder *recorder)
{
    recorder->n_remembered -= memory->capacity * row_bytes(recorder->n_features);
    free(memory->rows);
    free(memory->values);
    free(memory->n_dropped);
    *memory = (struct flight_memory){0};
}

static size_t most_before(size_t n_features)
{
    const size_t most = FLIGHT_SERIES_BYTES / row_bytes(n_features);

    return most == 0 ? 1 : most < FLIGHT_MOST_BEFORE ? most : FLIGHT_MOST_BEFORE;
}

static size_t most_in(size_t n_features)
{
    const size_t most = FLIGHT_INCIDENT_BYTES / (n_features * sizeof(float));

    return most < FLIGHT_MOST_IN ? most : FLIGHT_MOST_IN;
}

/* A larger ring; without memory it stays as it is. */
static void grow(struct flight_recorder *recorder, struct flight_memory *memory)
{
    const size_t most = most_before(recorder->n_features);
    size_t capacity = memory->capacity ? 2 * memory->capacity : LEAST_MEMORY;

    capacity = capacity < most ? capacity : most;
    assert(capacity > 0 && recorder->n_features > 0);
    const size_t more = (capacity - memory->capacity) * row_bytes(recorder->n_features);
    if (more == 0 || recorder->n_remembered + more > FLIGHT_MEMORY_BYTES)
        return;
    struct flight_row *rows = realloc(memory->rows, capacity * sizeof(*rows));
    memory->rows = rows ? rows : memory->rows;
    float *values = realloc(memory->values, capacity * recorder->n_features * sizeof(*values));
    memory->values = values ? values : memory->values;
    uint64_t *n_dropped = realloc(memory->n_dropped, capacity * sizeof(*n_dropped));
    memory->n_dropped = n_dropped ? n_dropped : memory->n_dropped;
    if (!rows || !values || !n_dropped)
        return;
    memory->capacity = capacity;
    memory->next = memory->n;
    recorder->n_remembered += more;
}

static void remember(struct flight_recorder *recorder, struct flight_memory *memory,
                     const struct flight_row *row, uint64_t n_dropped)
{
    if (memory->n == memory->capacity && memory->next == 0) /* in order, the oldest first */
        grow(recorder, memory);
    if (memory->capacity == 0)
        return;
    const size_t place = memory->next % memory->capacity;

    memory->rows[place] = *row;
    memcpy(memory->values + place * recorder->n_features, row->values,
           recorder->n_features * sizeof(*memory->values));
    memory->n_dropped[place] = n_dropped;
    memory->next = (place + 1) % memory->capacity;
    memory->n += memory->n < memory->capacity;
}

/* ---- recording ---- */

static char *print_features(const struct schema *schema)
{
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "[");
    for (size_t i = 0; i < schema_n_features(schema); i++) {
        const char *name = schema_name(schema, i);
        text_puts(&text, i ? "," : "");
        text_json_string(&text, name, strlen(name));
    }
    text_puts(&text, "]");
    return text_failed(&text) ? NULL : TAKE(text.data);
}

static void begin(struct flight_recorder *recorder, struct flight_memory *memory,
                  uint64_t n_dropped, uint64_t incident, const struct schema *schema)
{
    char *features = print_features(schema);

    memory->incident = incident;
    memory->n_recorded = memory->n_in = memory->n_left_out = memory->n_lost = 0;
    memory->n_after = 0;
    memory->first_dropped = n_dropped;
    if (!features || put_flight(recorder, memory, 0, features) < 0) {
        memory->incident = 0; /* the next row tries again */
        return;
    }
    const size_t oldest = memory->n < memory->capacity ? 0 : memory->next;
    for (size_t i = 0; i < memory->n; i++) {
        const size_t place = (oldest + i) % memory->capacity;
        struct flight_row row = memory->rows[place];
        if (i == 0)
            memory->first_dropped = memory->n_dropped[place];
        row.values = memory->values + place * recorder->n_features;
        put_row(recorder, memory, &row, FLIGHT_BEFORE);
    }
}

/* The row belongs to what is being recorded. */
static void record(struct flight_recorder *recorder, struct flight_memory *memory,
                   const struct flight_row *row, bool is_open)
{
    const bool is_after = !is_open && memory->n_after > 0;

    if (is_after)
        put_row(recorder, memory, row, FLIGHT_AFTER);
    else if (memory->n_in++ < most_in(recorder->n_features))
        put_row(recorder, memory, row, FLIGHT_IN);
    else
        memory->n_left_out++;
    memory->n_after += !is_open;
}

/* The store learns of what is not kept when that has doubled, and at the end. */
static void tell_counts(struct flight_recorder *recorder, struct flight_memory *memory,
                        uint64_t n_missing)
{
    const uint64_t n = memory->n_left_out;
    const bool is_end = memory->n_after == 1;

    if (n_missing != memory->told_missing || (n > 0 && ((n & (n - 1)) == 0 || is_end)))
        (void)put_flight(recorder, memory, n_missing, NULL);
}

void flight_take(struct flight_recorder *recorder, struct flight_memory *memory,
                 const struct scored_row *row, uint64_t incident, const struct schema *schema)
{
    const struct flight_row kept = {
        .time_us = row->time_us,
        .version = row->version,
        .threshold = row->threshold,
        .reconstruction_error = row->error,
        .score = row->score,
        .p_value = row->p_value,
        .has_aside = row->has_aside,
        .values = row->values,
    };

    const uint64_t n_dropped = row->n_dropped + recorder->n_lost;

    if (incident != 0 && incident != memory->incident)
        begin(recorder, memory, n_dropped, incident, schema);
    if (memory->incident != 0) {
        record(recorder, memory, &kept, incident != 0);
        tell_counts(recorder, memory, n_dropped - memory->first_dropped + memory->n_lost);
        if (memory->n_after > FLIGHT_MOST_AFTER)
            memory->incident = 0;
    }
    remember(recorder, memory, &kept, n_dropped);
}
