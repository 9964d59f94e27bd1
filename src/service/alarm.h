/* alarm - when the verdicts of one series are worth waking somebody for.
 *
 * An alarm opens with the anomaly that is the n-th of the newest `of` rows. It closes when
 * clear_rows rows on end had a score below clear_score (hysteresis: a score that hovers about 1
 * would else open one alarm after the other), and it has been open for hold_us. For cool_down_us
 * after that none opens; if it is as bad then, one does.
 *
 * Pure: time is that of the rows, and may jump either way (how far apart two rows are counts). One
 * thread at a time; all zero is the state before the first row. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ALARM_MOST_ROWS  64 /* that a policy may look back on */
#define ALARM_MOST_CLEAR 1000000

struct alarm_policy {
    unsigned n, of; /* 1 <= n <= of <= ALARM_MOST_ROWS; n 0: no alarm opens, an open one closes */
    unsigned clear_rows;            /* 1 to ALARM_MOST_CLEAR */
    double clear_score;             /* above 0, at most 1 */
    uint64_t hold_us, cool_down_us; /* 0: none */
};

struct alarm {
    uint64_t flags;   /* of the newest rows, bit 0 the newest */
    unsigned n_clear; /* newest rows on end below clear_score */
    bool is_open, has_closed;
    uint64_t changed_us; /* when it opened or closed */
};

enum alarm_change {
    ALARM_UNCHANGED,
    ALARM_OPENED,
    ALARM_CLOSED
};

/* The next row of the series. may_open false: it opens none (maintenance); one that is called for
 * when it may opens then. */
enum alarm_change alarm_take(struct alarm *alarm, const struct alarm_policy *policy, bool may_open,
                             bool is_anomaly, double score, uint64_t time_us);
/* None is open, and no row that counts towards one is anomalous. */
bool alarm_is_quiet(const struct alarm *alarm, const struct alarm_policy *policy);
