/* flight - the flight recorder of a model: what its series looked like around each incident.
 *
 * Each series remembers its newest rows. When an incident opens, they and all that follow become
 * rows for store/flight_log.h, up to some rows after its end, or until the next one opens. Memory
 * is bounded: what finds no room is missing in the record, and counted. Each row says by which
 * rules it was judged (detector/relevance.h), for the configuration may change them meanwhile.
 *
 * One thread at a time; all zero is the state before the first row. */
#pragma once

#include "store/flight_log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct relevance;
struct scored_row;
struct schema;

#define FLIGHT_MOST_BEFORE    64   /* rows before an incident opened */
#define FLIGHT_MOST_IN        2000 /* rows in it */
#define FLIGHT_MOST_AFTER     32   /* rows after its end */
#define FLIGHT_MOST_RULES     16   /* that rows of one incident are judged by */
#define FLIGHT_LOST_COUNTERS  64
#define FLIGHT_SERIES_BYTES   ((size_t)64 << 10) /* remembered of a series, */
#define FLIGHT_MEMORY_BYTES   ((size_t)64 << 20) /* of all series of a model, */
#define FLIGHT_PENDING_BYTES  ((size_t)16 << 20) /* and on the way to the store */
#define FLIGHT_INCIDENT_BYTES ((size_t)8 << 20)  /* values of rows in an incident */

/* Of a model. */
struct flight_recorder {
    size_t n_features;
    size_t n_remembered;                   /* bytes, of all series */
    uint64_t n_losses;                     /* times that rows could not be stored, */
    uint64_t n_lost[FLIGHT_LOST_COUNTERS]; /* and rows, by incident: some share one */
    struct flight *flights;                /* [n_flights] on their way */
    struct flight_row *rows;               /* [n_rows] the same */
    float *values;                         /* [rows_capacity][n_features] */
    size_t n_flights, flights_capacity;
    size_t n_rows, rows_capacity;
};
void flight_recorder_clear(struct flight_recorder *recorder);

/* What is to be stored, valid until it is dropped or the next row. */
struct flight_batch flight_recorder_batch(const struct flight_recorder *recorder);
void flight_recorder_drop(struct flight_recorder *recorder); /* it is stored */
void flight_recorder_lose(struct flight_recorder *recorder); /* it could not be */

/* A row that is remembered. */
struct flight_past {
    struct flight_row row;
    struct relevance *relevance; /* that it was judged by, shared; NULL: every deviation matters */
    uint64_t n_dropped;          /* rows that had not come until then */
};

/* Of a series. */
struct flight_memory {
    struct flight_past *rows; /* [capacity] a ring: next is the oldest once it is full */
    float *values;            /* [capacity][n_features] */
    size_t capacity, n, next;
    /* what is being recorded */
    uint64_t incident; /* 0: nothing */
    uint64_t n_recorded, n_in, n_left_out, n_lost;
    uint64_t first_lost;                        /* of its counter when it began */
    uint64_t first_dropped;                     /* n_dropped of its first row */
    size_t n_after;                             /* rows after its end so far */
    struct relevance *rules[FLIGHT_MOST_RULES]; /* [n_rules] shared */
    size_t n_rules;
    /* what the store has been told */
    size_t told_rules;
    uint64_t told_missing, told_losses;
};
void flight_memory_clear(struct flight_memory *memory, struct flight_recorder *recorder);

/* The next row of the series; incident: the one that is open after it, or 0. schema: the features
 * of its values. */
void flight_take(struct flight_recorder *recorder, struct flight_memory *memory,
                 const struct scored_row *row, uint64_t incident, const struct schema *schema);
