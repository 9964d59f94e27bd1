#include "service/admission.h"

#include "service/hold_queue.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FULL       13.815510557964274 /* h = ln 10⁶ */
#define SOFT_P     0.1
#define DRIFT_RATE 3    /* times the false-alarm rate are usual while normal moves */
#define FAST_RATE  10   /* times the rate mean that it moves too fast to be followed */
#define FLAG_ROWS  250. /* that the share of flags is of, exponentially weighted */
#define UPPER_ROWS 600. /* the same of p > 0.5: 0.36 is four deviations from what 15 % leave */
#define MOVED      0.36 /* share of p > 0.5 below which it is not just some rows that are odd */
#define STALE_STD  0.01F

/* A row by its place among the rows that count, from 1, and by its number. */
struct place {
    uint64_t nth, row;
};

struct sum {
    double value;       /* in [0, FULL] */
    struct place start; /* first row after its last zero */
};

enum answer {
    ANSWER_NONE,
    ANSWER_NORMAL,
    ANSWER_ANOMALY
};

struct incident {
    uint64_t id; /* 0: none is open */
    bool is_hard, is_asked;
    enum answer answer;
    struct place first, hard_first;
    uint64_t open_until; /* nth row before which it does not close */
};

struct admission {
    size_t n_features;
    const float *std; /* [n_features], borrowed */
    size_t follow_after;
    struct admission_sink sink;

    struct place last_place; /* nth: rows that counted so far */
    struct sum hard, soft;
    double flag_share, upper_share; /* of the newest rows: flagged; p > 0.5 */
    bool has_moved;                 /* since drift_first: the usual rows have become rarer */
    bool is_drift_asked;            /* since drift_first */
    struct incident incident;
    struct place drift_first; /* of the soft incidents that follow one another; nth 0: none */
    uint64_t drift_last;      /* nth row with which the last of them closed */
    uint64_t closed_incident; /* whose rows after its end are kept: */
    size_t n_after;           /* so many more */

    struct hold_queue waiting; /* the newest rows that count */

    size_t n_equal; /* rows of the present stretch that counted */
    uint64_t stretch_row;
    bool is_stale;
    float last[]; /* [n_features] the last row that counted */
};

int admission_new(size_t n_features, const float *std, size_t follow_after,
                  const struct admission_sink *sink, struct admission **ret_admission)
{
    assert(n_features > 0 && std && sink && sink->release && sink->notice && ret_admission);

    struct admission *admission = calloc(1, sizeof(*admission) + n_features * sizeof(float));
    if (!admission)
        return -ENOMEM;
    admission->n_features = admission->waiting.n_features = n_features;
    admission->std = std;
    admission->follow_after = follow_after;
    admission->sink = *sink;
    admission->upper_share = 0.5;
    *ret_admission = admission;
    return 0;
}

void admission_free(struct admission *admission)
{
    if (!admission)
        return;
    hold_queue_clear(&admission->waiting);
    free(admission);
}

/* --- rows that wait --- */

static void release_oldest(struct admission *admission, enum admission_fate fate, uint64_t incident)
{
    const float *values;
    const struct waiting_row oldest = hold_queue_pop(&admission->waiting, &values);

    admission->sink.release(admission->sink.userdata, oldest.row, values, oldest.is_flagged, fate,
                            incident);
}

static void release_all(struct admission *admission, enum admission_fate fate, uint64_t incident)
{
    while (admission->waiting.n_rows > 0)
        release_oldest(admission, fate, incident);
}

/* The oldest row led to nothing. */
static void let_go(struct admission *admission)
{
    release_oldest(admission, ADMISSION_LEARN, 0);
}

/* What an incident that began at first would not keep. */
static void let_go_before(struct admission *admission, uint64_t first)
{
    const size_t *n_waiting = &admission->waiting.n_rows;

    while (*n_waiting > 0 && admission->last_place.nth - *n_waiting + 1 + ADMISSION_BEFORE < first)
        let_go(admission);
}

/* --- the stale guard --- */

static bool is_equal(const struct admission *admission, const float *values)
{
    for (size_t i = 0; i < admission->n_features; i++) {
        const float value = values[i], last = admission->last[i];
        const bool is_near = fabsf(value - last) <= STALE_STD * admission->std[i];
        if (!is_near && value != last && !(isnan(value) && isnan(last)))
            return false;
    }
    return admission->n_equal > 0;
}

static void drop(struct admission *admission, uint64_t row, const float *values, bool is_flagged)
{
    const struct admission_sink *sink = &admission->sink;

    if (!admission->is_stale)
        sink->notice(sink->userdata, ADMISSION_STALE_BEGAN, 0, false, admission->stretch_row, row);
    admission->is_stale = true;
    sink->release(sink->userdata, row, values, is_flagged, ADMISSION_STALE_ROW, 0);
}

static void follow_stretch(struct admission *admission, uint64_t row, const float *values,
                           bool repeats)
{
    if (!repeats) {
        admission->n_equal = 0;
        admission->stretch_row = row;
        admission->is_stale = false;
    }
    admission->n_equal++;
    memcpy(admission->last, values, admission->n_features * sizeof(*values));
}

/* --- sums and incidents --- */

static void sum_move(struct sum *sum, double step, struct place place)
{
    if (sum->value == 0)
        sum->start = place;
    sum->value = fmin(fmax(sum->value + step, 0), FULL);
}

/* Soft incidents have gone on for so long that they are taken for drift. */
static bool is_drift(const struct admission *admission)
{
    const uint64_t nth = admission->last_place.nth, first = admission->drift_first.nth;

    return admission->has_moved && nth - first >= ADMISSION_SOFT_EXPIRES &&
           (admission->incident.id != 0 || nth <= admission->drift_last + ADMISSION_DRIFT_GAP);
}

static void move_sums(struct admission *admission, bool is_flagged, double p_value, double rate)
{
    if (is_drift(admission))
        rate = fmin(DRIFT_RATE * rate, (1 + rate) / 2);
    admission->flag_share += ((double)is_flagged - admission->flag_share) / FLAG_ROWS;
    admission->upper_share += ((double)(p_value > 0.5) - admission->upper_share) / UPPER_ROWS;
    admission->has_moved |= admission->drift_first.nth > 0 && admission->upper_share < MOVED;
    const double flags = rate < 0.2 ? 0.3 : (1 + rate) / 2; /* their share in an incident */

    sum_move(&admission->hard, is_flagged ? log(flags / rate) : log((1 - flags) / (1 - rate)),
             admission->last_place);
    sum_move(&admission->soft, p_value < SOFT_P ? log(5) : log(5.0 / 9), admission->last_place);
}

static bool both_are_zero(const struct admission *admission)
{
    return admission->hard.value == 0 && admission->soft.value == 0;
}

/* Where an incident would have begun: with the next row if the sum is zero. */
static uint64_t nth_of_start(const struct admission *admission, const struct sum *sum)
{
    return sum->value > 0 ? sum->start.nth : admission->last_place.nth + 1;
}

static struct place first_of(const struct admission *admission)
{
    const struct sum *hard = &admission->hard, *soft = &admission->soft;

    return nth_of_start(admission, hard) < nth_of_start(admission, soft) ? hard->start
                                                                         : soft->start;
}

static uint64_t rows_since(const struct admission *admission, struct place first)
{
    return admission->last_place.nth - first.nth + 1;
}

static uint64_t notice(const struct admission *admission, enum admission_event event)
{
    const struct incident *incident = &admission->incident;

    return admission->sink.notice(admission->sink.userdata, event, incident->id, incident->is_hard,
                                  incident->first.row, admission->last_place.row);
}

static bool lets_rows_in(const struct admission *admission)
{
    const struct incident *incident = &admission->incident;

    if (incident->answer != ANSWER_NONE)
        return incident->answer == ANSWER_NORMAL;
    return !incident->is_hard && is_drift(admission);
}

/* nth 0: there is none. */
static void begin_drift(struct admission *admission, struct place first)
{
    admission->drift_first = first;
    admission->has_moved = admission->is_drift_asked = false;
}

/* What moves slowly makes one soft incident after the other: together they are one drift. */
static void follow_drift(struct admission *admission)
{
    const struct incident *incident = &admission->incident;
    const bool follows = admission->drift_first.nth > 0 &&
                         incident->first.nth <= admission->drift_last + ADMISSION_DRIFT_GAP;

    if (incident->is_hard)
        begin_drift(admission, (struct place){0});
    else if (!follows)
        begin_drift(admission, incident->first);
}

static void open_incident(struct admission *admission)
{
    const bool is_hard = admission->hard.value == FULL;

    admission->incident = (struct incident){
        .is_hard = is_hard,
        .first = first_of(admission),
        .hard_first = is_hard ? admission->hard.start : (struct place){0},
    };
    follow_drift(admission);
    admission->incident.id = notice(admission, ADMISSION_OPENED);
    assert(admission->incident.id > 0);
    release_all(admission, ADMISSION_QUARANTINE, admission->incident.id);
}

static void harden_incident(struct admission *admission)
{
    struct incident *incident = &admission->incident;

    incident->is_hard = true;
    if (incident->hard_first.nth == 0)
        incident->hard_first = admission->hard.start;
    follow_drift(admission);
    notice(admission, ADMISSION_HARDENED);
}

/* No more flags than usual, though the rows are still odd: what is left is a soft incident that has
 * just begun. Else a few flags in a slow drift would keep all rows for good. */
static void soften_incident(struct admission *admission)
{
    admission->incident.is_hard = false;
    begin_drift(admission, admission->last_place);
}

static void close_incident(struct admission *admission)
{
    notice(admission, ADMISSION_CLOSED);
    admission->closed_incident = admission->incident.id;
    admission->drift_last = admission->last_place.nth;
    if (admission->incident.hard_first.nth > 0 && !lets_rows_in(admission))
        begin_drift(admission, (struct place){0}); /* the end of a hard one is no drift */
    admission->n_after = lets_rows_in(admission) ? 0 : ADMISSION_AFTER;
    admission->incident = (struct incident){0};
}

static void ask(struct admission *admission)
{
    admission->incident.is_asked = admission->is_drift_asked = true;
    notice(admission, ADMISSION_REGIME_CHANGED);
}

/* An incident that keeps its rows and that nobody has answered; first: since when. */
static void ask_or_follow(struct admission *admission, struct place first, bool is_asked)
{
    const uint64_t n_rows = rows_since(admission, first);

    if (admission->follow_after > 0 && n_rows >= admission->follow_after) {
        admission->incident.answer = ANSWER_NORMAL;
        notice(admission, ADMISSION_FOLLOWED);
    } else if (n_rows >= ADMISSION_REGIME_CHANGE && !is_asked) {
        ask(admission);
    }
}

/* A drift that is not kept out, but not learned fast enough either. */
static void ask_about_drift(struct admission *admission, double rate)
{
    if (admission->incident.is_asked ||
        rows_since(admission, admission->drift_first) < ADMISSION_REGIME_CHANGE ||
        admission->flag_share <= fmin(FAST_RATE * rate, (1 + rate) / 2))
        return;
    ask(admission);
}

static void follow_incident(struct admission *admission, double rate)
{
    struct incident *incident = &admission->incident;
    const bool is_hard = admission->hard.value == FULL;

    if (incident->id == 0 && (is_hard || admission->soft.value == FULL))
        open_incident(admission);
    else if (incident->id != 0 && is_hard && !incident->is_hard)
        harden_incident(admission);
    else if (incident->is_hard && incident->answer == ANSWER_NONE && admission->hard.value == 0)
        soften_incident(admission);
    if (incident->id == 0 || incident->answer != ANSWER_NONE)
        return;
    if (incident->is_hard)
        ask_or_follow(admission, incident->hard_first, incident->is_asked);
    else if (is_drift(admission))
        ask_about_drift(admission, rate);
    else /* soft ones that follow one another keep their rows together */
        ask_or_follow(admission, admission->drift_first, admission->is_drift_asked);
}

/* What becomes of the rows that wait, the new one among them. */
static void settle(struct admission *admission)
{
    const struct incident *incident = &admission->incident;
    const uint64_t hard_first = nth_of_start(admission, &admission->hard);
    const uint64_t soft_first = nth_of_start(admission, &admission->soft);

    if (incident->answer == ANSWER_NORMAL) {
        release_all(admission, ADMISSION_LEARN_ALL, incident->id);
    } else if (incident->id != 0 && lets_rows_in(admission)) {
        let_go_before(admission, hard_first); /* the soft sum has had its say */
    } else if (incident->id != 0) {
        release_all(admission, ADMISSION_QUARANTINE, incident->id);
    } else if (admission->n_after > 0) {
        admission->n_after--;
        release_all(admission, ADMISSION_QUARANTINE, admission->closed_incident);
    } else {
        let_go_before(admission, hard_first < soft_first ? hard_first : soft_first);
    }
}

int admission_take(struct admission *admission, uint64_t row, const float *values, bool is_flagged,
                   double p_value, double false_alarm_rate)
{
    assert(values && row >= admission->last_place.row);
    assert(p_value >= 0 && p_value <= 1 && false_alarm_rate > 0 && false_alarm_rate < 1);

    const bool repeats = is_equal(admission, values);
    if (repeats && admission->n_equal == ADMISSION_STALE) {
        drop(admission, row, values, is_flagged);
        return 0;
    }
    if (admission->waiting.n_rows == ADMISSION_HOLD)
        let_go(admission);
    int r = hold_queue_reserve(&admission->waiting);
    if (r < 0)
        return r;

    admission->last_place = (struct place){admission->last_place.nth + 1, row};
    follow_stretch(admission, row, values, repeats);
    hold_queue_push(&admission->waiting, (struct waiting_row){row, is_flagged}, values);
    move_sums(admission, is_flagged, p_value, false_alarm_rate);
    follow_incident(admission, false_alarm_rate);
    settle(admission);
    if (admission->incident.id != 0 && both_are_zero(admission) &&
        admission->last_place.nth >= admission->incident.open_until)
        close_incident(admission);
    hold_queue_shrink(&admission->waiting);
    return 0;
}

bool admission_answer_normal(struct admission *admission, uint64_t incident)
{
    if (incident != 0 && incident == admission->closed_incident)
        admission->n_after = 0;
    if (incident == 0 || incident != admission->incident.id)
        return false;
    admission->incident.answer = ANSWER_NORMAL;
    release_all(admission, ADMISSION_LEARN_ALL, incident);
    return true;
}

bool admission_answer_anomaly(struct admission *admission, uint64_t incident)
{
    if (incident == 0 || incident != admission->incident.id)
        return false;
    admission->incident.answer = ANSWER_ANOMALY;
    begin_drift(admission, (struct place){0});
    release_all(admission, ADMISSION_QUARANTINE, incident);
    return true;
}

void admission_swap(struct admission *admission, const float *std)
{
    const struct incident *incident = &admission->incident;

    assert(std);
    admission->std = std;
    admission->hard.value = admission->soft.value = 0;
    admission->upper_share = 0.5;
    if (incident->is_hard || incident->answer != ANSWER_NONE)
        admission->incident.open_until = admission->last_place.nth + ADMISSION_AFTER;
    else if (incident->id != 0)
        close_incident(admission);
}

void admission_configure(struct admission *admission, const float *std, size_t follow_after)
{
    assert(std);
    admission->std = std;
    admission->follow_after = follow_after;
}

void admission_end(struct admission *admission)
{
    while (admission->waiting.n_rows > 0)
        let_go(admission);
    if (admission->incident.id != 0)
        close_incident(admission);
}

uint64_t admission_incident(const struct admission *admission)
{
    return admission->incident.id;
}

bool admission_is_drifting(const struct admission *admission)
{
    const struct incident *incident = &admission->incident;

    return incident->id != 0 && incident->answer == ANSWER_NONE && lets_rows_in(admission);
}

bool admission_is_answered(const struct admission *admission)
{
    return admission->incident.answer == ANSWER_NORMAL;
}

double admission_hard(const struct admission *admission)
{
    return admission->hard.value;
}

double admission_soft(const struct admission *admission)
{
    return admission->soft.value;
}
