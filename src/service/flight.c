#include "service/flight.h"

#include "base/text.h"
#include "data/schema.h"
#include "detector/relevance.h"
#include "detector/safetensors.h"
#include "service/learning.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MEMORY 8 /* rows: most series of many are short */

static size_t row_bytes(size_t n_features)
{
    return sizeof(struct flight_past) + n_features * sizeof(float);
}

/* ---- on the way to the store ---- */

void flight_recorder_drop(struct flight_recorder *recorder)
{
    for (size_t i = 0; i < recorder->n_flights; i++)
        flight_clear(&recorder->flights[i]);
    recorder->n_flights = recorder->n_rows = 0;
}

static uint64_t *lost_of(struct flight_recorder *recorder, uint64_t incident)
{
    return &recorder->n_lost[incident % FLIGHT_LOST_COUNTERS];
}

void flight_recorder_lose(struct flight_recorder *recorder)
{
    for (size_t i = 0; i < recorder->n_rows; i++)
        ++*lost_of(recorder, recorder->rows[i].incident);
    recorder->n_losses++;
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

static char *print_rules(const struct flight_memory *memory)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < memory->n_rules; i++)
        if (json_array_append_new(list, relevance_to_json(memory->rules[i])) < 0)
            return NULL;
    return list ? safetensors_print_json(list) : NULL;
}

/* schema: all is told, as at the beginning; NULL: the counts alone. */
static int tell(struct flight_recorder *recorder, struct flight_memory *memory, uint64_t n_missing,
                const struct schema *schema)
{
    CLEANUP(flight_clear)
    struct flight flight = {
        .incident = memory->incident,
        .n_left_out = memory->n_left_out,
        .n_missing = n_missing,
        .features = schema ? print_features(schema) : NULL,
        .rules = schema ? print_rules(memory) : NULL,
    };

    if ((schema && (!flight.features || !flight.rules)) || reserve_flight(recorder) < 0)
        return -ENOMEM;
    recorder->flights[recorder->n_flights++] = flight;
    flight = (struct flight){0};
    memory->told_missing = n_missing;
    if (schema) {
        memory->told_rules = memory->n_rules;
        memory->told_losses = recorder->n_losses;
    }
    return 0;
}

/* The number of rules among those of what is recorded; 0: they have none. */
static unsigned find_rules(const struct flight_memory *memory, const struct relevance *relevance)
{
    for (size_t i = 0; i < memory->n_rules; i++)
        if (relevance_is_same(memory->rules[i], relevance))
            return (unsigned)i + 1;
    return 0;
}

/* Where there is no more room for rules, rows that are judged by them are lost. */
static void add_rules(struct flight_memory *memory, struct relevance *relevance)
{
    if (relevance && memory->n_rules < FLIGHT_MOST_RULES && find_rules(memory, relevance) == 0)
        memory->rules[memory->n_rules++] = relevance_share(relevance);
}

static void forget_rules(struct flight_memory *memory)
{
    while (memory->n_rules > 0)
        relevance_release(memory->rules[--memory->n_rules]);
}

/* What finds no room is lost; the values are copied. */
static void put_row(struct flight_recorder *recorder, struct flight_memory *memory,
                    const struct flight_past *past, enum flight_part part)
{
    const unsigned rules = find_rules(memory, past->relevance);

    if ((past->relevance && rules == 0) || rules > memory->told_rules ||
        reserve_rows(recorder) < 0) {
        memory->n_lost++;
        return;
    }
    float *values = recorder->values + recorder->n_rows * recorder->n_features;
    struct flight_row *put = &recorder->rows[recorder->n_rows++];

    memcpy(values, past->row.values, recorder->n_features * sizeof(*values));
    *put = past->row;
    put->incident = memory->incident;
    put->number = memory->n_recorded++;
    put->part = part;
    put->rules = rules;
    put->values = values;
}

/* ---- what a series remembers ---- */

void flight_memory_clear(struct flight_memory *memory, struct flight_recorder *recorder)
{
    recorder->n_remembered -= memory->capacity * row_bytes(recorder->n_features);
    for (size_t i = 0; i < memory->n; i++)
        relevance_release(memory->rows[i].relevance);
    forget_rules(memory);
    free(memory->rows);
    free(memory->values);
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
    struct flight_past *rows = realloc(memory->rows, capacity * sizeof(*rows));
    memory->rows = rows ? rows : memory->rows;
    float *values = realloc(memory->values, capacity * recorder->n_features * sizeof(*values));
    memory->values = values ? values : memory->values;
    if (!rows || !values)
        return;
    memory->capacity = capacity;
    memory->next = memory->n;
    recorder->n_remembered += more;
}

static void remember(struct flight_recorder *recorder, struct flight_memory *memory,
                     const struct flight_past *row)
{
    if (memory->n == memory->capacity && memory->next == 0) /* in order, the oldest first */
        grow(recorder, memory);
    if (memory->capacity == 0)
        return;
    const size_t place = memory->next % memory->capacity;
    struct flight_past *past = &memory->rows[place];

    if (memory->n == memory->capacity)
        relevance_release(past->relevance);
    *past = *row;
    past->relevance = relevance_share(row->relevance);
    memcpy(memory->values + place * recorder->n_features, row->row.values,
           recorder->n_features * sizeof(*memory->values));
    memory->next = (place + 1) % memory->capacity;
    memory->n += memory->n < memory->capacity;
}

/* The i-th of those that are remembered, the oldest first, with its values. */
static struct flight_past recall(const struct flight_recorder *recorder,
                                 const struct flight_memory *memory, size_t i)
{
    const size_t oldest = memory->n < memory->capacity ? 0 : memory->next;
    const size_t place = (oldest + i) % memory->capacity;
    struct flight_past past = memory->rows[place];

    past.row.values = memory->values + place * recorder->n_features;
    return past;
}

/* ---- recording ---- */

static void begin(struct flight_recorder *recorder, struct flight_memory *memory,
                  const struct flight_past *row, uint64_t incident, const struct schema *schema)
{
    memory->incident = incident;
    memory->n_recorded = memory->n_in = memory->n_left_out = memory->n_lost = 0;
    memory->n_after = 0;
    memory->first_lost = *lost_of(recorder, incident);
    forget_rules(memory);
    for (size_t i = 0; i < memory->n; i++)
        add_rules(memory, recall(recorder, memory, i).relevance);
    add_rules(memory, row->relevance);
    if (tell(recorder, memory, 0, schema) < 0) {
        memory->incident = 0; /* the next row tries again */
        return;
    }
    memory->first_dropped = memory->n > 0 ? recall(recorder, memory, 0).n_dropped : row->n_dropped;
    for (size_t i = 0; i < memory->n; i++) {
        const struct flight_past past = recall(recorder, memory, i);
        put_row(recorder, memory, &past, FLIGHT_BEFORE);
    }
}

/* The row belongs to what is being recorded. */
static void record(struct flight_recorder *recorder, struct flight_memory *memory,
                   const struct flight_past *row, bool is_open)
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

/* The store learns of new rules before their rows; of all again when what it was told may have been
 * lost. Without memory for that the next row tries again. */
static void tell_news(struct flight_recorder *recorder, struct flight_memory *memory,
                      uint64_t n_missing, const struct schema *schema)
{
    if (memory->told_rules != memory->n_rules || memory->told_losses != recorder->n_losses)
        (void)tell(recorder, memory, n_missing, schema);
}

/* Of what is not kept when that has doubled, and at the end. */
static void tell_counts(struct flight_recorder *recorder, struct flight_memory *memory,
                        uint64_t n_missing)
{
    const uint64_t n = memory->n_left_out;
    const bool is_end = memory->n_after == 1;

    if (n_missing != memory->told_missing || (n > 0 && ((n & (n - 1)) == 0 || is_end)))
        (void)tell(recorder, memory, n_missing, NULL);
}

/* Rows that came at once may come here in another order than what was dropped was counted in. */
static uint64_t count_missing(struct flight_recorder *recorder, const struct flight_memory *memory,
                              uint64_t n_dropped)
{
    const uint64_t first = memory->first_dropped;
    const uint64_t n = (n_dropped > first ? n_dropped - first : 0) + memory->n_lost +
                       *lost_of(recorder, memory->incident) - memory->first_lost;

    return n > memory->told_missing ? n : memory->told_missing;
}

void flight_take(struct flight_recorder *recorder, struct flight_memory *memory,
                 const struct scored_row *row, uint64_t incident, const struct schema *schema)
{
    const struct flight_past past = {
        .row = {.time_us = row->time_us,
                .version = row->version,
                .threshold = row->threshold,
                .reconstruction_error = row->error,
                .score = row->score,
                .p_value = row->p_value,
                .has_aside = row->has_aside,
                .values = row->values},
        .relevance = row->relevance,
        .n_dropped = row->n_dropped,
    };

    if (incident != 0 && incident != memory->incident)
        begin(recorder, memory, &past, incident, schema);
    if (memory->incident != 0) {
        add_rules(memory, row->relevance);
        tell_news(recorder, memory, count_missing(recorder, memory, row->n_dropped), schema);
        record(recorder, memory, &past, incident != 0);
        tell_counts(recorder, memory, count_missing(recorder, memory, row->n_dropped));
        if (memory->n_after > FLIGHT_MOST_AFTER)
            memory->incident = 0;
    }
    remember(recorder, memory, &past);
}
