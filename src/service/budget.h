/* budget - false alarms a day as a false-alarm rate: how many rows a day there are, and what
 * follows from it.
 *
 * The meter counts rows and the time in which they came, both fading with BUDGET_MEMORY_S, which is
 * long enough to even out day and night. It begins with the first row. Silence counts when it ends,
 * and a day of it at most: a sender that is gone does not make the next row flagged. Who owns it
 * looks after it, on one thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_DAY_S    86400.0
#define BUDGET_MEMORY_S (4 * BUDGET_DAY_S)

/* So much is seen before anything is said; after a day any number of rows will do. */
#define BUDGET_LEAST_S    600.0
#define BUDGET_LEAST_ROWS 100.0

/* False alarms a day that may be asked for (0.001: one in three years), and rates that follow. */
#define BUDGET_MIN        1e-3
#define BUDGET_MAX        1e6
#define BUDGET_LEAST_RATE 1e-9
#define BUDGET_MOST_RATE  0.5

struct budget_meter {
    double rows, seconds;     /* fading */
    uint64_t n_scored, at_us; /* when a row was last seen; monotonic */
    bool is_counting;
};

/* Goes on with what was counted before a restart; 0, 0: nothing. */
void budget_meter_resume(struct budget_meter *meter, double rows_per_day, double seconds);

/* So many rows have ever been scored, now. */
void budget_meter_count(struct budget_meter *meter, uint64_t n_scored, uint64_t now_us);

/* 0: too little is known. */
double budget_meter_rows_per_day(const struct budget_meter *meter);

/* Whether now is far enough from what is followed for another threshold: by more than a quarter.
 * Below that thresholds would move all day, and incidents with them. */
bool budget_has_moved(double followed_per_day, double rows_per_day);

/* The rate that raises so many false alarms on so many rows, within the bounds above; 0 where
 * rows_per_day is. */
double budget_rate(double alarms_per_day, double rows_per_day);
