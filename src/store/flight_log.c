#include "store/flight_log.h"

#include "store/database.h"
#include "store/event_log.h"
#include "store/query.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#define CHECK_ROWS 128 /* of an incident, between looks at what all of them take */

void flight_clear(struct flight *flight)
{
    free(flight->features);
    free(flight->rules);
    *flight = (struct flight){0};
}

/* ---- writing ---- */

/* One that is there; that it has gone is no matter. */
static int update_flight(struct database *database, struct sqlite3 *connection,
                         const struct flight *flight)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "UPDATE flights SET n_left_out = ?2, n_missing = ?3 WHERE incident = ?1");
    query_bind_uint(&query, flight->incident);
    query_bind_uint(&query, flight->n_left_out);
    query_bind_uint(&query, flight->n_missing);
    return query_run(&query);
}

/* Where the log has its incident. It may be there already, and is told anew. */
static int add_flight(struct database *database, struct sqlite3 *connection, int64_t model,
                      const struct flight *flight)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "INSERT INTO flights (incident, model, features, rules, n_left_out, n_missing) "
                    "SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM events WHERE id = ?1 AND model = ?2 "
                    "ON CONFLICT (incident) DO UPDATE SET rules = excluded.rules, "
                    "n_left_out = excluded.n_left_out, n_missing = excluded.n_missing");
    query_bind_uint(&query, flight->incident);
    query_bind_int(&query, model);
    query_bind_text(&query, flight->features);
    query_bind_text(&query, flight->rules);
    query_bind_uint(&query, flight->n_left_out);
    query_bind_uint(&query, flight->n_missing);
    return query_run(&query);
}

static int put_row(struct database *database, struct sqlite3 *connection,
                   const struct flight_row *row, size_t n_features)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "INSERT INTO flight_rows (incident, number, part, time_us, version, threshold, error, "
        "score, p_value, rules, has_aside, vector) "
        "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM flights "
        "WHERE incident = ?1");
    query_bind_uint(&query, row->incident);
    query_bind_uint(&query, row->number);
    query_bind_int(&query, row->part);
    query_bind_uint(&query, row->time_us);
    query_bind_int(&query, row->version);
    query_bind_double(&query, row->threshold);
    query_bind_double(&query, row->reconstruction_error);
    query_bind_double(&query, row->score);
    query_bind_double(&query, row->p_value);
    query_bind_int(&query, row->rules);
    query_bind_int(&query, row->has_aside);
    query_bind_blob(&query, row->values, n_features * sizeof(float));
    return query_run(&query);
}

static int add_bytes(struct database *database, struct sqlite3 *connection, uint64_t incident,
                     int64_t n_bytes)
{
    CLEANUP(query_end)
    struct query query = query_begin(database, connection,
                                     "UPDATE flights SET bytes = bytes + ?2 WHERE incident = ?1");
    query_bind_uint(&query, incident);
    query_bind_int(&query, n_bytes);
    return query_run(&query);
}

/* Those of one incident mostly stand together. */
static int put_rows(struct database *database, struct sqlite3 *connection,
                    const struct flight_batch *batch)
{
    const int64_t row_bytes = (int64_t)(FLIGHT_LOG_ROW_BYTES + batch->n_features * sizeof(float));
    int64_t n_bytes = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < batch->n_rows; i++) {
        const struct flight_row *row = &batch->rows[i];
        n_bytes += row_bytes;
        r = put_row(database, connection, row, batch->n_features);
        if (r == 0 && (i + 1 == batch->n_rows || row[1].incident != row->incident)) {
            r = add_bytes(database, connection, row->incident, n_bytes);
            n_bytes = 0;
        }
    }
    return r;
}

/* The oldest go until what is left is no more than may be; the newest stays. */
static int drop_oldest(struct database *database, struct sqlite3 *connection, int64_t model)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "DELETE FROM flights WHERE incident IN (SELECT incident FROM (SELECT incident, "
        "sum(bytes) OVER (ORDER BY incident DESC) AS newer, row_number() OVER (ORDER BY incident "
        "DESC) AS nth FROM flights WHERE model = ?1) WHERE newer > ?2 AND nth > 1)");
    query_bind_int(&query, model);
    query_bind_int(&query, FLIGHT_LOG_MOST_BYTES);
    return query_run(&query);
}

/* To add them all up takes a while where there are thousands. */
static bool may_be_too_much(const struct flight_batch *batch)
{
    for (size_t i = 0; i < batch->n_flights; i++)
        if (batch->flights[i].features)
            return true;
    for (size_t i = 0; i < batch->n_rows; i++)
        if (batch->rows[i].number % CHECK_ROWS == 0)
            return true;
    return false;
}

static int put_batch(struct database *database, struct sqlite3 *connection, int64_t model,
                     const struct flight_batch *batch)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < batch->n_flights; i++)
        r = batch->flights[i].features ? add_flight(database, connection, model, &batch->flights[i])
                                       : update_flight(database, connection, &batch->flights[i]);
    if (r == 0)
        r = put_rows(database, connection, batch);
    if (r == 0 && may_be_too_much(batch))
        r = drop_oldest(database, connection, model);
    return r;
}

int flight_log_put(struct database *database, int64_t model, const struct logged_event *events,
                   size_t n_events, const struct flight_batch *batch)
{
    assert(database && batch);
    struct sqlite3 *connection;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    if (n_events > 0)
        r = event_log_put_in(database, connection, model, events, n_events);
    if (r == 0)
        r = put_batch(database, connection, model, batch);
    return database_end(database, r);
}

/* ---- reading ---- */

int flight_log_get(struct database *database, int64_t model, uint64_t incident,
                   struct flight *ret_flight)
{
    assert(database && ret_flight);
    CLEANUP(flight_clear) struct flight flight = {.incident = incident};
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, "SELECT n_left_out, n_missing, features, rules FROM flights "
                                   "WHERE incident = ? AND model = ?");
    query_bind_uint(&query, incident);
    query_bind_int(&query, model);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    flight.n_left_out = query_uint(&query, 0);
    flight.n_missing = query_uint(&query, 1);
    flight.features = query_dup_text(&query, 2);
    flight.rules = query_dup_text(&query, 3);
    if (query.r < 0)
        return query.r;
    *ret_flight = flight;
    flight = (struct flight){0};
    return 0;
}

int flight_log_read(struct database *database, uint64_t incident,
                    int (*take)(void *userdata, const struct flight_row *row, size_t n_features),
                    void *userdata)
{
    assert(database && take);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database, "SELECT number, part, time_us, version, threshold, error, score, p_value, "
                  "rules, has_aside, vector FROM flight_rows WHERE incident = ? ORDER BY number");
    query_bind_uint(&query, incident);
    int r;

    while ((r = query_step(&query)) > 0) {
        size_t size = 0;
        const struct flight_row row = {
            .incident = incident,
            .number = query_uint(&query, 0),
            .part = (enum flight_part)query_int(&query, 1),
            .time_us = query_uint(&query, 2),
            .version = (unsigned)query_int(&query, 3),
            .threshold = query_double(&query, 4),
            .reconstruction_error = query_double(&query, 5),
            .score = query_double(&query, 6),
            .p_value = query_double(&query, 7),
            .rules = (unsigned)query_int(&query, 8),
            .has_aside = query_int(&query, 9) != 0,
            .values = query_blob(&query, 10, &size),
        };
        r = row.values ? take(userdata, &row, size / sizeof(float)) : query.r;
        if (r < 0)
            break;
    }
    return r;
}
