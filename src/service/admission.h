/* admission - which rows of one series may be learned from: two CUSUMs find incidents, a hold queue
 * makes it possible to take back the rows that led into one, quarantine keeps them, the stale guard
 * drops what only repeats.
 *
 * Of each row counts whether it is flagged (error above the threshold) and its p-value under the
 * live version. With α the false-alarm rate in force and h = ln 10⁶ both sums are held in [0, h]:
 *     hard += flagged ? ln(0.3/α) : ln(0.7/(1-α))        soft += p < 0.1 ? ln 5 : ln(5/9)
 * (from α = 0.2 on (1 + α)/2 stands for 0.3: else flags would count for nothing, or against it).
 *
 * An incident opens when either reaches h, began at the first row after that sum's last zero (after
 * the earlier one's, if the other is not zero either), and closes when both are zero. Rows from 16
 * before its beginning to 64 after its end are quarantined.
 *
 * A soft incident older than 300 rows is drift if the usual rows have become rarer too (of the
 * newest 600 a share below 0.36 has p > 0.5; chance gives 0.5, and who adds 15 % of odd rows leaves
 * 0.42): it lets rows in again, once they no longer lead into a hard one. Flagged ones too (which
 * do not train, as ever): a calibration that misses just them flags more rows after each training.
 * Soft incidents that begin within 1,000 rows of the last one's end are one drift, and their age
 * counts from the first: what moves slowly opens and closes one after the other, and each would
 * keep its rows. In a drift flags count as if 3 α were asked for.
 *
 * What is no drift is a push: it keeps its rows as a hard one does, counted from the first soft
 * incident of those that follow one another.
 *
 * A hard incident keeps all until it is answered or, with follow_after, that many rows have come.
 * What an answer "normal" lets in includes flagged rows, until the incident closes. Once the hard
 * sum is zero it is a soft one that begins there: a few flags in a drift would else keep all rows
 * for good. If it hardens again, its rows count from the first time.
 *
 * An incident that let rows in when it closed keeps none after its end. Rows that lead to nothing
 * within ADMISSION_HOLD rows are let go.
 *
 * Of a stretch of rows that equal the one before within 0.01 standard deviations in every feature
 * (missing equals missing) the first 16 count, the others are dropped and touch nothing else; the
 * stretch ends with a row that differs from the last that counted. "Rows" above are those that
 * count.
 *
 * Pure: no clock, no disk; deterministic; one thread at a time. Source: Page, "Continuous
 * inspection schemes" (1954). */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADMISSION_HOLD          256
#define ADMISSION_BEFORE        16
#define ADMISSION_AFTER         64
#define ADMISSION_SOFT_EXPIRES  300
#define ADMISSION_DRIFT_GAP     1000 /* rows: soft incidents this near are one drift */
#define ADMISSION_STALE         16
#define ADMISSION_REGIME_CHANGE 500 /* rows of an incident that keeps them, without an answer */

enum admission_fate {
    ADMISSION_LEARN,      /* may train if not flagged, may calibrate either way */
    ADMISSION_LEARN_ALL,  /* answered "normal": may train although flagged */
    ADMISSION_QUARANTINE, /* of the incident */
    ADMISSION_STALE_ROW   /* not stored at all */
};

enum admission_event {
    ADMISSION_OPENED,   /* incident is new; is_hard says which sum */
    ADMISSION_HARDENED, /* a soft incident whose hard sum reached h too */
    ADMISSION_CLOSED,
    ADMISSION_REGIME_CHANGED, /* ADMISSION_REGIME_CHANGE rows that are kept, no answer; or of a
                                 drift in which more than ten times α are flagged */
    ADMISSION_FOLLOWED,       /* follow_after rows: taken for "normal" */
    ADMISSION_STALE_BEGAN
};

/* What comes out. row is what admission_take() was given, by number; every row comes out exactly
 * once, in order, but for those that still wait and for stale rows, which come out at once. Neither
 * function may call this admission. */
struct admission_sink {
    void *userdata;
    /* values are valid during the call; incident 0 with ADMISSION_LEARN and ADMISSION_STALE_ROW. */
    void (*release)(void *userdata, uint64_t row, const float *values, bool is_flagged,
                    enum admission_fate fate, uint64_t incident);
    /* Comes before the rows that it decides about. first_row: where the incident began, or the
     * stretch of equal rows. incident is 0 with ADMISSION_OPENED, which returns its id, above 0,
     * and with ADMISSION_STALE_BEGAN; else it is the id, and what is returned does not count. */
    uint64_t (*notice)(void *userdata, enum admission_event event, uint64_t incident, bool is_hard,
                       uint64_t first_row, uint64_t row);
};

struct admission;

/* n_features of the rows; std[n_features] (borrowed until the next admission_swap()) is what "0.01
 * standard deviations" means. follow_after 0: never. */
MUST_CHECK int admission_new(size_t n_features, const float *std, size_t follow_after,
                             const struct admission_sink *sink, struct admission **ret_admission);
void admission_free(struct admission *admission);
DEFINE_CLEANUP(struct admission *, admission_free)

/* One row in the order of the series, numbered upwards (gaps are fine): values[n_features] are
 * copied as long as the row waits. 0 or -ENOMEM (the row is lost then, the state unharmed). */
MUST_CHECK int admission_take(struct admission *admission, uint64_t row, const float *values,
                              bool is_flagged, double p_value, double false_alarm_rate);

/* "normal" for the open incident: its waiting rows and all further ones are let in until it closes.
 * False: there is no open incident of that id; if it is the last one that closed, no more rows
 * after its end are kept. The rows in quarantine are the caller's business. */
bool admission_answer_normal(struct admission *admission, uint64_t incident);
/* The incident is an anomaly, known: it keeps all rows until it closes, however soft or old, is not
 * followed, and its regime_change is not asked. The last answer counts. */
bool admission_answer_anomaly(struct admission *admission, uint64_t incident);

/* Another version is live: sums go to zero, an open soft incident closes; waiting rows stay. A hard
 * one, or one that was answered, goes on for ADMISSION_AFTER rows at least and then until both sums
 * are zero: rows of other series may have made the version, and it may not know yet all that was
 * approved. */
void admission_swap(struct admission *admission, const float *std);

/* The same version is live, from another place; follow_after may have changed. */
void admission_configure(struct admission *admission, const float *std, size_t follow_after);

/* Nothing more comes: lets go of all that waits, and closes the incident that is open. */
void admission_end(struct admission *admission);

uint64_t admission_incident(const struct admission *admission); /* open; 0: none */
/* A soft incident is open that has grown so old that it lets rows in: normal is moving. */
bool admission_is_drifting(const struct admission *admission);
bool admission_is_answered(const struct admission *admission); /* it was "normal" */
double admission_hard(const struct admission *admission);
double admission_soft(const struct admission *admission);
