#include "service/admission.h"

#include "base/random.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FULL     13.815510557964274
#define RATE     0.01
#define N_ROWS   100000
#define N_EVENTS 2000
#define WAITS    (-1)

static const float STD[2] = {1, 1};

struct happening {
    enum admission_event event;
    uint64_t incident, first_row, row;
    bool is_hard;
};

/* What came out, by row number, and the admission under test. */
static struct {
    int fate[N_ROWS + 1]; /* WAITS: not yet */
    uint64_t incident[N_ROWS + 1];
    bool is_flagged[N_ROWS + 1]; /* as it went in */
    uint64_t last_row;           /* that came out, stale ones aside */
    struct happening happenings[N_EVENTS];
    size_t n_happenings;
    uint64_t n_incidents;
    struct admission *admission;
    uint64_t n_taken;
    float level;
} seen;

static float value_of(uint64_t row)
{
    return seen.level + (float)(row % 1000);
}

static void on_release(void *userdata, uint64_t row, const float *values, bool is_flagged,
                       enum admission_fate fate, uint64_t incident)
{
    assert_ptr_equal(userdata, &seen);
    assert_in_range(row, 1, N_ROWS);
    assert_int_equal(seen.fate[row], WAITS);
    assert_int_equal(is_flagged, seen.is_flagged[row]);
    if (fate != ADMISSION_STALE_ROW) {
        assert_true(row > seen.last_row);
        seen.last_row = row;
    }
    assert_true((incident != 0) == (fate == ADMISSION_QUARANTINE || fate == ADMISSION_LEARN_ALL));
    assert_true(values[1] == 0 || isnan(values[1]) || values[1] == -(float)(row % 1000));
    seen.fate[row] = (int)fate;
    seen.incident[row] = incident;
}

static uint64_t on_notice(void *userdata, enum admission_event event, uint64_t incident,
                          bool is_hard, uint64_t first_row, uint64_t row)
{
    assert_ptr_equal(userdata, &seen);
    assert_true(seen.n_happenings < N_EVENTS);
    assert_true((incident == 0) == (event == ADMISSION_OPENED || event == ADMISSION_STALE_BEGAN));
    if (event == ADMISSION_OPENED)
        incident = ++seen.n_incidents;
    seen.happenings[seen.n_happenings++] =
        (struct happening){event, incident, first_row, row, is_hard};
    return incident;
}

static const struct admission_sink SINK = {&seen, on_release, on_notice};

static void start_with(size_t follow_after)
{
    memset(&seen, 0, sizeof(seen));
    for (size_t row = 0; row <= N_ROWS; row++)
        seen.fate[row] = WAITS;
    assert_int_equal(admission_new(2, STD, follow_after, &SINK, &seen.admission), 0);
}

static int start(void **state)
{
    (void)state;
    start_with(0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admission_free(seen.admission);
    return 0;
}

/* One row; a second feature of minus the first checks that rows keep their values. */
static int take_at(double rate, bool is_flagged, double p_value)
{
    const uint64_t row = seen.n_taken + 1;
    const float values[2] = {value_of(row), -(float)(row % 1000)};

    assert_in_range(row, 1, N_ROWS);
    seen.is_flagged[row] = is_flagged;
    int r = admission_take(seen.admission, row, values, is_flagged, p_value, rate);
    seen.n_taken++;
    return r;
}

static void quiet(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, false, 0.6), 0);
}

static void flagged(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, true, 0.001), 0);
}

/* Not rare, but not as usual either. */
static void moved(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, false, 0.3), 0);
}

/* Just under the threshold. */
static void soft(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, false, 0.05), 0);
}

/* Un-flagged rows that neither move the soft sum far nor let it come to zero. */
static void wavering(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, false, admission_soft(seen.admission) < 3 ? 0.05 : 0.5), 0);
}

static void assert_fates(uint64_t first, uint64_t last, int fate)
{
    for (uint64_t row = first; row <= last; row++)
        if (seen.fate[row] != fate)
            fail_msg("row %zu has fate %d, not %d", (size_t)row, seen.fate[row], fate);
}

static size_t n_of(enum admission_event event)
{
    size_t n = 0;

    for (size_t i = 0; i < seen.n_happenings; i++)
        n += seen.happenings[i].event == event;
    return n;
}

static struct happening last_of(enum admission_event event)
{
    size_t i = seen.n_happenings;

    while (i > 0 && seen.happenings[i - 1].event != event)
        i--;
    assert_true(i > 0);
    return seen.happenings[i - 1];
}

static void assert_near(double value, double expected)
{
    assert_true(fabs(value - expected) < 1e-12);
}

/* --- sums --- */

static void the_hard_sum_counts_flags(void **state)
{
    (void)state;
    flagged(2);
    assert_near(admission_hard(seen.admission), 2 * log(0.3 / RATE));
    quiet(3);
    assert_near(admission_hard(seen.admission), 2 * log(30) + 3 * log(0.7 / 0.99));
    assert_int_equal(take_at(0.05, true, 0.01), 0); /* the rate in force may change */
    assert_near(admission_hard(seen.admission), 2 * log(30) + 3 * log(0.7 / 0.99) + log(6));
}

static void the_soft_sum_counts_p_values_below_a_tenth(void **state)
{
    (void)state;
    assert_int_equal(take_at(RATE, false, 0.0999), 0);
    assert_near(admission_soft(seen.admission), log(5));
    assert_int_equal(take_at(RATE, false, 0.1), 0);
    assert_near(admission_soft(seen.admission), log(5) + log(5.0 / 9));
    assert_near(admission_hard(seen.admission), 0);
}

static void both_sums_stay_between_0_and_h(void **state)
{
    (void)state;
    quiet(20);
    assert_true(admission_hard(seen.admission) == 0 && admission_soft(seen.admission) == 0);
    flagged(50);
    assert_true(admission_hard(seen.admission) == FULL && admission_soft(seen.admission) == FULL);
}

static void at_a_high_false_alarm_rate_flags_still_count(void **state)
{
    (void)state;
    static const double rates[] = {0.1, 0.2, 0.3, 0.5, 0.9};

    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        admission_swap(seen.admission, STD);
        assert_int_equal(take_at(rates[i], true, 0.5), 0);
        const double risen = admission_hard(seen.admission);
        assert_true(risen > 0);
        assert_int_equal(take_at(rates[i], false, 0.95), 0);
        assert_true(admission_hard(seen.admission) < risen);
    }
}

/* --- incidents --- */

static void an_incident_opens_when_the_hard_sum_reaches_h(void **state)
{
    (void)state;
    quiet(100);
    flagged(4);
    assert_int_equal(admission_incident(seen.admission), 0);
    flagged(1); /* 5 ln 30 = 17 */
    assert_int_equal(admission_incident(seen.admission), 1);
    const struct happening opened = last_of(ADMISSION_OPENED);
    assert_true(opened.is_hard);
    assert_int_equal(opened.first_row, 101);
    assert_int_equal(opened.row, 105);
}

static void an_incident_opens_when_the_soft_sum_reaches_h(void **state)
{
    (void)state;
    quiet(100);
    soft(8);
    assert_int_equal(admission_incident(seen.admission), 0);
    soft(1); /* 9 ln 5 = 14.5 */
    assert_int_equal(admission_incident(seen.admission), 1);
    const struct happening opened = last_of(ADMISSION_OPENED);
    assert_false(opened.is_hard);
    assert_int_equal(opened.first_row, 101);
    assert_int_equal(opened.row, 109);
}

static void it_began_at_the_first_row_after_the_last_zero(void **state)
{
    (void)state;
    quiet(50);
    flagged(1); /* back at zero before row 100 */
    quiet(49);
    flagged(1); /* row 101: not back at zero */
    quiet(2);
    flagged(5);
    assert_int_equal(last_of(ADMISSION_OPENED).first_row, 101);
}

/* The soft sum opens; the hard one rose before and has not come back either. */
static void it_began_with_the_earlier_of_two_sums(void **state)
{
    (void)state;
    quiet(100);
    flagged(2); /* soft is at zero again after 6 rows, hard after 20 */
    quiet(6);
    soft(9);
    const struct happening opened = last_of(ADMISSION_OPENED);
    assert_false(opened.is_hard);
    assert_int_equal(opened.first_row, 101);
    assert_fates(1, 84, ADMISSION_LEARN);
    assert_fates(85, 117, ADMISSION_QUARANTINE);
}

static void it_closes_when_both_sums_are_zero(void **state)
{
    (void)state;
    flagged(30);
    while (admission_hard(seen.admission) > 0 || admission_soft(seen.admission) > 0) {
        assert_int_equal(admission_incident(seen.admission), 1);
        quiet(1);
    }
    assert_int_equal(admission_incident(seen.admission), 0);
    assert_int_equal(last_of(ADMISSION_CLOSED).row, seen.n_taken);
    assert_int_equal(last_of(ADMISSION_CLOSED).incident, 1);
    assert_int_equal(last_of(ADMISSION_CLOSED).first_row, 1);
}

static void rows_from_16_before_to_64_after_are_quarantined(void **state)
{
    (void)state;
    quiet(100);
    flagged(20);
    quiet(300);
    admission_end(seen.admission);
    const uint64_t closed = last_of(ADMISSION_CLOSED).row;
    assert_fates(1, 84, ADMISSION_LEARN);
    assert_fates(85, closed + 64, ADMISSION_QUARANTINE);
    assert_fates(closed + 65, 420, ADMISSION_LEARN);
    for (uint64_t row = 85; row <= closed + 64; row++)
        assert_int_equal(seen.incident[row], 1);
}

static void an_incident_within_64_rows_of_another_leaves_no_gap(void **state)
{
    (void)state;
    quiet(100);
    flagged(5);
    quiet(50);
    assert_int_equal(admission_incident(seen.admission), 0);
    quiet(30);
    flagged(5);
    assert_int_equal(admission_incident(seen.admission), 2);
    quiet(300);
    assert_fates(85, last_of(ADMISSION_CLOSED).row + 64, ADMISSION_QUARANTINE);
}

static void a_quiet_series_holds_16_rows(void **state)
{
    (void)state;
    quiet(1000);
    assert_fates(1, 984, ADMISSION_LEARN);
    assert_fates(985, 1000, WAITS);
}

static void a_lone_flagged_row_is_let_go(void **state)
{
    (void)state;
    quiet(100);
    flagged(1);
    quiet(100);
    assert_fates(1, 180, ADMISSION_LEARN);
    assert_int_equal(seen.n_happenings, 0);
}

static void rows_that_lead_to_nothing_within_256_rows_are_let_go(void **state)
{
    (void)state;
    quiet(100);
    wavering(240);
    assert_fates(85, 340, WAITS); /* 256 of them */
    wavering(60);
    assert_fates(1, 144, ADMISSION_LEARN);
    assert_fates(145, 400, WAITS);
    flagged(5);
    assert_int_equal(last_of(ADMISSION_OPENED).first_row, 101);
    assert_fates(1, 149, ADMISSION_LEARN);
    assert_fates(150, 405, ADMISSION_QUARANTINE);
}

/* --- soft ones expire --- */

static void a_soft_incident_older_than_300_rows_lets_rows_in(void **state)
{
    (void)state;
    quiet(100);
    soft(400);
    quiet(50);
    admission_end(seen.admission);
    assert_false(last_of(ADMISSION_OPENED).is_hard);
    assert_fates(85, 400, ADMISSION_QUARANTINE);
    assert_fates(401, 550, ADMISSION_LEARN); /* none is kept after its end */
}

/* Else the calibration would miss just them, and with each training more rows would be flagged. */
static void and_its_flagged_rows_too(void **state)
{
    (void)state;
    soft(400);
    flagged(1);
    soft(100);
    assert_fates(400, 450, ADMISSION_LEARN);
    assert_int_equal(seen.incident[401], 0);
}

static void soft_incidents_that_follow_one_another_are_one_drift(void **state)
{
    (void)state;
    quiet(100);
    soft(200);
    moved(500);
    soft(200); /* 301 rows since the first of them */
    quiet(300);
    admission_end(seen.admission);
    assert_int_equal(seen.n_incidents, 2);
    assert_fates(85, 300, ADMISSION_QUARANTINE);
    const uint64_t opened = last_of(ADMISSION_OPENED).row;
    assert_in_range(opened, 801, 815);
    assert_fates(785, opened, ADMISSION_QUARANTINE); /* what led into it */
    assert_fates(opened + 1, 1300, ADMISSION_LEARN);
}

/* Of each ten rows four are odd, the others are as ever. */
static void pushed(size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take_at(RATE, false, i % 10 < 4 ? 0.02 : i % 2 ? 0.7 : 0.8), 0);
}

static void a_soft_incident_among_usual_rows_is_no_drift(void **state)
{
    (void)state;
    quiet(100);
    pushed(1000);
    assert_int_equal(seen.n_incidents, 1);
    assert_fates(101, 1100, ADMISSION_QUARANTINE);
    assert_false(admission_is_drifting(seen.admission));
}

static void and_it_is_asked_about_after_500_rows(void **state)
{
    (void)state;
    pushed(499);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    pushed(600);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
}

/* Each of them is too short to be asked about. */
/* 42 % of the rows have p > 0.5: as many as are left by who adds 15 %. */
static void fewer_usual_rows_than_chance_gives_are_no_drift_yet(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        const double p_value = i % 50 < 20 ? 0.02 : i % 50 < 41 ? 0.7 : 0.3;
        assert_int_equal(take_at(RATE, false, p_value), 0);
    }
    assert_fates(1, 2000, ADMISSION_QUARANTINE);
}

/* To another version they are as usual as ever. */
static void a_swap_forgets_how_rare_usual_rows_were(void **state)
{
    (void)state;
    moved(3000);
    admission_swap(seen.admission, STD);
    pushed(1000);
    assert_int_equal(seen.n_incidents, 1);
    assert_fates(3101, 4000, ADMISSION_QUARANTINE);
}

static void soft_incidents_that_follow_one_another_are_asked_about_together(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        pushed(200);
        quiet(100);
    }
    assert_in_range(seen.n_incidents, 2, 4);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
}

static void follow_after_counts_for_a_soft_incident_that_keeps_its_rows(void **state)
{
    (void)state;
    admission_free(seen.admission);
    start_with(700);
    pushed(1000);
    assert_int_equal(n_of(ADMISSION_FOLLOWED), 1);
    const uint64_t followed = last_of(ADMISSION_FOLLOWED).row;
    assert_in_range(followed, 690, 720);
    assert_fates(followed, 1000, ADMISSION_LEARN_ALL);
}

static void soft_incidents_far_apart_are_not(void **state)
{
    (void)state;
    soft(200);
    quiet(100 + ADMISSION_DRIFT_GAP);
    soft(200);
    assert_int_equal(seen.n_incidents, 2);
    assert_fates(seen.n_taken - 199, seen.n_taken, ADMISSION_QUARANTINE);
}

static void what_somebody_called_an_anomaly_is_no_drift(void **state)
{
    (void)state;
    soft(200);
    assert_true(admission_answer_anomaly(seen.admission, 1));
    quiet(500);
    soft(200);
    assert_int_equal(seen.n_incidents, 2);
    assert_fates(seen.n_taken - 199, seen.n_taken, ADMISSION_QUARANTINE);
}

static void it_hardens_when_the_hard_sum_reaches_h_too(void **state)
{
    (void)state;
    quiet(100);
    soft(400);
    flagged(6);
    const struct happening hardened = last_of(ADMISSION_HARDENED);
    assert_int_equal(hardened.incident, 1);
    assert_true(hardened.is_hard);
    assert_int_equal(hardened.first_row, 101);
    assert_int_equal(hardened.row, 506);
    assert_int_equal(seen.n_incidents, 1);
    assert_fates(401, 484, ADMISSION_LEARN);
    assert_fates(485, 506, ADMISSION_QUARANTINE);
}

static void once_its_flags_are_over_a_hard_incident_is_a_soft_one_that_begins_there(void **state)
{
    (void)state;
    flagged(10);
    while (admission_hard(seen.admission) > 0)
        soft(1);
    const size_t softened = seen.n_taken;
    soft(500);
    assert_int_equal(seen.n_incidents, 1);
    assert_int_equal(admission_incident(seen.admission), 1);
    assert_fates(1, softened + 299, ADMISSION_QUARANTINE);
    assert_fates(softened + 300, softened + 480, ADMISSION_LEARN);
}

static void rows_of_an_incident_that_hardens_again_count_from_the_first_time(void **state)
{
    (void)state;
    flagged(10);
    while (seen.n_taken < 450)
        soft(1); /* flags are over, odd rows are not */
    flagged(49);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    flagged(1);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
    assert_int_equal(seen.n_incidents, 1);
}

/* Of so many rows in a drift one is flagged: too few flags to harden it. */
static void drift_with_one_flag_in(size_t n)
{
    soft(400);
    while (seen.n_taken < 1600) {
        soft(n - 1);
        flagged(1);
    }
    assert_int_equal(n_of(ADMISSION_HARDENED), 0);
}

static void a_drift_too_fast_to_be_followed_is_asked_about(void **state)
{
    (void)state;
    drift_with_one_flag_in(8); /* more than ten times RATE */
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
    assert_false(last_of(ADMISSION_OPENED).is_hard);
}

static void a_drift_that_is_followed_is_not_asked_about(void **state)
{
    (void)state;
    drift_with_one_flag_in(15);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
}

static void in_a_drift_flags_count_as_if_three_times_the_rate_were_asked_for(void **state)
{
    (void)state;
    soft(400);
    flagged(1);
    assert_float_equal(admission_hard(seen.admission), log(0.3 / (3 * RATE)), 1e-9);
}

/* --- hard ones are asked about --- */

static void a_hard_incident_keeps_all_rows(void **state)
{
    (void)state;
    quiet(16);
    for (size_t i = 0; i < 1000; i++) {
        flagged(1);
        soft(3);
    }
    assert_fates(1, 4016, ADMISSION_QUARANTINE);
    assert_int_equal(seen.n_incidents, 1);
}

static void regime_change_is_asked_once_at_500_rows(void **state)
{
    (void)state;
    quiet(100);
    flagged(499);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    flagged(1000);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
    assert_int_equal(last_of(ADMISSION_REGIME_CHANGED).row, 600);
    assert_int_equal(last_of(ADMISSION_REGIME_CHANGED).incident, 1);
}

static void rows_of_a_hardened_incident_count_from_its_first_flags(void **state)
{
    (void)state;
    soft(1000);
    flagged(499);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    flagged(1);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
}

static void a_drift_is_not_asked_about(void **state)
{
    (void)state;
    soft(2000);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
}

static void follow_after_takes_it_for_normal(void **state)
{
    (void)state;
    admission_free(seen.admission);
    start_with(700);
    quiet(100);
    flagged(699);
    assert_false(admission_is_answered(seen.admission));
    flagged(301);
    assert_true(admission_is_answered(seen.admission));
    assert_int_equal(n_of(ADMISSION_FOLLOWED), 1);
    assert_int_equal(last_of(ADMISSION_FOLLOWED).row, 800);
    assert_fates(85, 799, ADMISSION_QUARANTINE);
    assert_fates(800, 1100, ADMISSION_LEARN_ALL);
}

static void without_follow_after_nothing_is_followed(void **state)
{
    (void)state;
    flagged(10000);
    assert_int_equal(n_of(ADMISSION_FOLLOWED), 0);
    assert_fates(1, 10000, ADMISSION_QUARANTINE);
}

/* --- answers --- */

static void normal_lets_all_rows_in_until_the_incident_closes(void **state)
{
    (void)state;
    quiet(100);
    flagged(100);
    assert_true(admission_answer_normal(seen.admission, 1));
    assert_true(admission_is_answered(seen.admission));
    flagged(600);
    quiet(200);
    const uint64_t closed = last_of(ADMISSION_CLOSED).row;
    assert_fates(85, 200, ADMISSION_QUARANTINE);
    assert_fates(201, closed, ADMISSION_LEARN_ALL);
    assert_fates(closed + 1, 984, ADMISSION_LEARN);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    assert_false(admission_is_answered(seen.admission));
    flagged(5); /* another incident is another question */
    assert_int_equal(admission_incident(seen.admission), 2);
    assert_fates(985, 1005, ADMISSION_QUARANTINE);
}

static void normal_lets_waiting_rows_in(void **state)
{
    (void)state;
    soft(400);
    flagged(1);
    assert_fates(400, 401, WAITS);
    assert_true(admission_answer_normal(seen.admission, 1));
    assert_fates(300, 300, ADMISSION_QUARANTINE);
    assert_fates(385, 401, ADMISSION_LEARN_ALL);
}

static void anomaly_keeps_all_rows_and_is_not_asked_about(void **state)
{
    (void)state;
    admission_free(seen.admission);
    start_with(700);
    flagged(100);
    assert_true(admission_answer_anomaly(seen.admission, 1));
    assert_false(admission_is_answered(seen.admission));
    flagged(2000);
    assert_fates(1, 2100, ADMISSION_QUARANTINE);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 0);
    assert_int_equal(n_of(ADMISSION_FOLLOWED), 0);
}

static void a_soft_anomaly_does_not_expire(void **state)
{
    (void)state;
    soft(400);
    assert_true(admission_answer_anomaly(seen.admission, 1));
    assert_fates(385, 400, ADMISSION_QUARANTINE);
    soft(1000);
    quiet(200);
    const uint64_t closed = last_of(ADMISSION_CLOSED).row;
    assert_fates(301, 384, ADMISSION_LEARN); /* before the answer */
    assert_fates(385, closed + 64, ADMISSION_QUARANTINE);
    assert_fates(closed + 65, 1584, ADMISSION_LEARN);
}

static void the_last_answer_counts(void **state)
{
    (void)state;
    flagged(100);
    assert_true(admission_answer_anomaly(seen.admission, 1));
    flagged(100);
    assert_true(admission_answer_normal(seen.admission, 1));
    flagged(100);
    assert_true(admission_answer_anomaly(seen.admission, 1));
    flagged(100);
    assert_fates(1, 200, ADMISSION_QUARANTINE);
    assert_fates(201, 300, ADMISSION_LEARN_ALL);
    assert_fates(301, 400, ADMISSION_QUARANTINE);
}

static void an_answer_to_no_open_incident_is_false(void **state)
{
    (void)state;
    assert_false(admission_answer_normal(seen.admission, 0));
    assert_false(admission_answer_anomaly(seen.admission, 0));
    flagged(10);
    assert_false(admission_answer_normal(seen.admission, 2));
    assert_false(admission_answer_anomaly(seen.admission, 2));
    assert_false(admission_is_answered(seen.admission));
    quiet(200);
    assert_false(admission_answer_anomaly(seen.admission, 1));
    assert_false(admission_answer_normal(seen.admission, 1));
}

static void normal_ends_the_rows_kept_after_a_closed_incident(void **state)
{
    (void)state;
    flagged(10);
    while (admission_incident(seen.admission) != 0)
        quiet(1);
    const uint64_t closed = seen.n_taken;
    quiet(10);
    assert_false(admission_answer_normal(seen.admission, 1));
    quiet(100);
    assert_fates(1, closed + 10, ADMISSION_QUARANTINE);
    assert_fates(closed + 11, closed + 94, ADMISSION_LEARN);
}

/* --- another version --- */

static void a_swap_sets_the_sums_to_zero_and_closes_a_soft_incident(void **state)
{
    (void)state;
    soft(100);
    admission_swap(seen.admission, STD);
    assert_true(admission_hard(seen.admission) == 0 && admission_soft(seen.admission) == 0);
    assert_int_equal(admission_incident(seen.admission), 0);
    assert_int_equal(last_of(ADMISSION_CLOSED).row, 100);
    quiet(200);
    assert_fates(1, 164, ADMISSION_QUARANTINE);
    assert_fates(165, 284, ADMISSION_LEARN);
}

/* Another series of the model may have led to the version. */
static void a_hard_incident_outlives_swaps_and_is_asked_about(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        flagged(100);
        admission_swap(seen.admission, STD);
    }
    flagged(100);
    assert_int_equal(seen.n_incidents, 1);
    assert_int_equal(n_of(ADMISSION_REGIME_CHANGED), 1);
    assert_fates(1, 600, ADMISSION_QUARANTINE);
    admission_swap(seen.admission, STD);
    quiet(ADMISSION_AFTER - 1); /* the new version knows them: it is over soon */
    assert_int_equal(admission_incident(seen.admission), 1);
    quiet(1);
    assert_int_equal(admission_incident(seen.admission), 0);
}

static void rows_that_wait_at_a_swap_stay(void **state)
{
    (void)state;
    quiet(100);
    soft(8);
    admission_swap(seen.admission, STD);
    assert_fates(85, 108, WAITS);
    soft(8); /* begins anew */
    assert_int_equal(seen.n_happenings, 0);
    soft(1);
    assert_int_equal(last_of(ADMISSION_OPENED).first_row, 109);
    assert_fates(85, 92, ADMISSION_LEARN);
    assert_fates(93, 117, ADMISSION_QUARANTINE);
}

static void a_swap_leaves_an_approved_incident_open_while_flags_go_on(void **state)
{
    (void)state;
    flagged(100);
    assert_true(admission_answer_normal(seen.admission, 1));
    flagged(500);
    admission_swap(seen.admission, STD);
    assert_true(admission_is_answered(seen.admission));
    flagged(500);
    admission_swap(seen.admission, STD);
    quiet(64); /* now it is learnt */
    assert_int_equal(last_of(ADMISSION_CLOSED).row, 1164);
    assert_int_equal(n_of(ADMISSION_CLOSED), 1);
    assert_int_equal(seen.n_incidents, 1);
    quiet(100);
    assert_fates(101, 1164, ADMISSION_LEARN_ALL);
    assert_fates(1165, 1248, ADMISSION_LEARN);
}

static void a_flush_lets_go_of_all_that_waits(void **state)
{
    (void)state;
    admission_end(seen.admission);
    soft(8);
    admission_end(seen.admission);
    assert_fates(1, 8, ADMISSION_LEARN);
    soft(400);
    flagged(1);
    admission_end(seen.admission);
    assert_fates(9, 300, ADMISSION_QUARANTINE);
    assert_fates(301, 409, ADMISSION_LEARN);
}

/* --- the stale guard --- */

static void same(size_t n, float first, float second)
{
    for (size_t i = 0; i < n; i++) {
        const float values[] = {first, second};
        assert_int_equal(admission_take(seen.admission, ++seen.n_taken, values, false, 0.5, RATE),
                         0);
    }
}

static void of_equal_rows_the_first_16_count(void **state)
{
    (void)state;
    quiet(100);
    same(1000, 5000, 0);
    quiet(100);
    assert_fates(1, 116, ADMISSION_LEARN);
    assert_fates(117, 1100, ADMISSION_STALE_ROW);
    assert_fates(1101, 1184, ADMISSION_LEARN);
    assert_int_equal(seen.n_happenings, 1);
    assert_int_equal(seen.happenings[0].event, ADMISSION_STALE_BEGAN);
    assert_int_equal(seen.happenings[0].first_row, 101);
    assert_int_equal(seen.happenings[0].row, 117);
}

static void each_stretch_of_equal_rows_is_told(void **state)
{
    (void)state;
    same(20, 1, 0);
    same(16, 2, 0);
    same(17, 1, 0);
    assert_int_equal(n_of(ADMISSION_STALE_BEGAN), 2);
    assert_fates(17, 20, ADMISSION_STALE_ROW);
    assert_fates(53, 53, ADMISSION_STALE_ROW);
}

static void stale_rows_touch_nothing_else(void **state)
{
    (void)state;
    quiet(100);
    soft(4);
    same(16, 5000, 0);
    const double before = admission_soft(seen.admission);
    for (size_t i = 0; i < 1000; i++) {
        const float values[] = {5000, 0};
        seen.is_flagged[++seen.n_taken] = true;
        assert_int_equal(admission_take(seen.admission, seen.n_taken, values, true, 0.001, RATE),
                         0);
    }
    assert_true(admission_soft(seen.admission) == before && admission_hard(seen.admission) == 0);
    assert_fates(105, 120, WAITS);
    assert_fates(121, 1120, ADMISSION_STALE_ROW);
}

static void equal_is_within_a_hundredth_of_a_deviation_in_every_feature(void **state)
{
    (void)state;
    static const float stds[2] = {100, 0};

    admission_swap(seen.admission, stds);
    for (size_t i = 0; i < 100; i++)
        same(1, i % 2 ? 10 : 10.9F, 0);
    assert_int_equal(n_of(ADMISSION_STALE_BEGAN), 1);
    for (size_t i = 0; i < 100; i++)
        same(1, i % 2 ? 10 : 11.1F, 0);
    assert_int_equal(n_of(ADMISSION_STALE_BEGAN), 1);
    for (size_t i = 0; i < 100; i++)
        same(1, 10, i % 2 ? NAN : 0); /* present or missing is a difference */
    assert_int_equal(n_of(ADMISSION_STALE_BEGAN), 1);
    same(100, 10, NAN);
    assert_int_equal(n_of(ADMISSION_STALE_BEGAN), 2);
}

static void equal_is_to_the_last_row_that_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++)
        same(1, (float)i * 0.004F, 0);
    assert_fates(17, 18, ADMISSION_STALE_ROW); /* 0.004 and 0.008 from row 16 */
    assert_int_equal(seen.fate[19], WAITS);
    assert_int_equal(seen.fate[20], WAITS);
}

/* Each equals the one before, but it goes somewhere. */
static void a_slow_creep_is_thinned_not_stopped(void **state)
{
    (void)state;
    size_t n_stale = 0;

    for (size_t i = 0; i < 10000; i++)
        same(1, (float)i * 0.0005F, 0); /* 20 rows to go 0.01 */
    admission_end(seen.admission);
    for (uint64_t row = 1; row <= 10000; row++)
        n_stale += seen.fate[row] == ADMISSION_STALE_ROW;
    assert_in_range(n_stale, 1, 6000);
}

/* --- as a whole --- */

struct random_row {
    bool is_flagged;
    double p_value;
};

/* Phases of normal rows, of incidents, of rows just under the threshold, and of all in between. */
static struct random_row draw_row(struct random *random, double *strength)
{
    if (random_below(random, 150) == 0)
        *strength = random_below(random, 2) ? 1 : pow(10, -3 * random_uniform(random));

    const double p = random_uniform(random) * *strength;
    const bool is_just_under = *strength < 0.1 && *strength > 0.03;
    return (struct random_row){p <= RATE && !is_just_under, p};
}

static void every_row_comes_out_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct random random;
        double strength = 1;

        admission_free(seen.admission);
        start_with(seed % 2 ? 700 : 0);
        random_seed(&random, seed);
        for (size_t i = 0; i < 20000; i++) {
            const uint64_t incident = admission_incident(seen.admission);
            const struct random_row row = draw_row(&random, &strength);
            assert_int_equal(take_at(RATE, row.is_flagged, row.p_value), 0);
            if (random_below(&random, 300) == 0)
                admission_answer_normal(seen.admission, incident);
            if (random_below(&random, 300) == 0)
                admission_answer_anomaly(seen.admission, incident);
            if (random_below(&random, 1000) == 0)
                admission_swap(seen.admission, STD);
            if (random_below(&random, 1000) == 0)
                admission_end(seen.admission);
            seen.n_happenings = 0;
        }
        admission_end(seen.admission);
        assert_true(seen.n_incidents > 20);
        for (uint64_t row = 1; row <= seen.n_taken; row++)
            assert_int_not_equal(seen.fate[row], WAITS);
    }
}

/* The same rules with hindsight: all rows in arrays, incidents first, then what they keep. */
static double hard_sum[N_ROWS + 1], soft_sum[N_ROWS + 1];
static int expected[N_ROWS + 1];

static void sum_up(struct random_row row, size_t i, double rate)
{
    const double hard = row.is_flagged ? log(0.3 / rate) : log(0.7 / (1 - rate));
    const double low = row.p_value < 0.1 ? log(5) : log(5.0 / 9);

    hard_sum[i] = fmin(FULL, fmax(0, hard_sum[i - 1] + hard));
    soft_sum[i] = fmin(FULL, fmax(0, soft_sum[i - 1] + low));
}

static size_t start_of(const double *sum, size_t row)
{
    while (sum[row] > 0)
        row--;
    return row + 1;
}

/* From 16 rows before first, if they were not let go by the row that decides it. */
static void keep(size_t first, size_t decided, size_t last)
{
    size_t from = first > ADMISSION_BEFORE ? first - ADMISSION_BEFORE : 1;

    if (decided - from >= ADMISSION_HOLD)
        from = decided - ADMISSION_HOLD + 1;
    for (size_t row = from; row <= last; row++)
        expected[row] = ADMISSION_QUARANTINE;
}

static void expect_with_hindsight(const struct random_row *rows, size_t n)
{
    size_t drift = 0, closed = 0; /* where a drift began, where its last incident ended */
    size_t opened = 0;
    bool is_open = false, is_hard = false, was_hard = false;

    for (size_t row = 1; row <= n; row++) {
        const bool is_near = is_open || row <= closed + ADMISSION_DRIFT_GAP;
        bool is_drift = drift > 0 && row - drift >= ADMISSION_SOFT_EXPIRES && is_near;
        sum_up(rows[row], row, is_drift ? 3 * RATE : RATE);
        const bool fills = hard_sum[row] == FULL;
        if (!is_open && (fills || soft_sum[row] == FULL)) {
            const size_t hard = start_of(hard_sum, row), low = start_of(soft_sum, row);
            const size_t first = hard < low ? hard : low;
            is_open = true;
            is_hard = was_hard = fills;
            drift = fills ? 0 : drift == 0 || first > closed + ADMISSION_DRIFT_GAP ? first : drift;
            opened = row;
            keep(first, row, row);
        } else if (is_open && fills && !is_hard) {
            is_hard = was_hard = true;
            drift = 0;
            keep(start_of(hard_sum, row), row, row);
        } else if (is_open && is_hard && hard_sum[row] == 0) {
            is_hard = false;
            drift = row;
        }
        is_drift = is_open && drift > 0 && row - drift >= ADMISSION_SOFT_EXPIRES;
        if (is_open && opened != row)
            expected[row] = is_drift ? ADMISSION_LEARN : ADMISSION_QUARANTINE;
        if (!is_open || hard_sum[row] > 0 || soft_sum[row] > 0)
            continue;
        is_open = false;
        closed = row;
        drift = was_hard && !is_drift ? 0 : drift;
        for (size_t i = row + 1; i <= row + ADMISSION_AFTER && i <= n && !is_drift; i++)
            expected[i] = ADMISSION_QUARANTINE;
    }
}

static void fates_are_those_of_hindsight(void **state)
{
    (void)state;
    static struct random_row rows[20001];
    size_t n_quarantined = 0;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct random random;
        double strength = 1;

        admission_free(seen.admission);
        start_with(0);
        random_seed(&random, seed);
        memset(expected, 0, sizeof(expected)); /* ADMISSION_LEARN */
        for (size_t i = 1; i <= 20000; i++) {
            rows[i] = draw_row(&random, &strength);
            assert_int_equal(take_at(RATE, rows[i].is_flagged, rows[i].p_value), 0);
        }
        admission_end(seen.admission);
        expect_with_hindsight(rows, 20000);
        for (uint64_t row = 1; row <= 20000; row++) {
            assert_fates(row, row, expected[row]);
            n_quarantined += seen.fate[row] == ADMISSION_QUARANTINE;
        }
    }
    assert_in_range(n_quarantined, 10000, 90000);
}

/* Share of N_ROWS exchangeable rows that are quarantined. */
static double quarantined_share(double rate, uint64_t seed)
{
    struct random random;
    size_t n = 0;

    admission_free(seen.admission);
    start_with(0);
    random_seed(&random, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        const double p = random_uniform(&random);
        assert_int_equal(take_at(rate, p <= rate, p), 0);
    }
    for (size_t row = 1; row <= N_ROWS; row++)
        n += seen.fate[row] == ADMISSION_QUARANTINE;
    return (double)n / N_ROWS;
}

static void of_exchangeable_rows_few_are_quarantined(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        assert_true(quarantined_share(0.01, seed) <= 0.01);
        assert_true(quarantined_share(0.001, seed) <= 0.01);
    }
}

/* --- memory --- */

static void a_quiet_series_needs_room_for_few_rows(void **state)
{
    (void)state;
    alloc_fail_in = 1000;
    quiet(1000);
    assert_int_equal(alloc_fail_in, 1000 - 2); /* slots and their values, once */
    wavering(300);
    assert_int_equal(alloc_fail_in, 1000 - 8); /* 64, 128, 256 slots */
    quiet(300);
    assert_int_equal(alloc_fail_in, 1000 - 10); /* and back to few */
    alloc_fail_in = -1;
}

static void a_row_without_memory_is_lost_and_nothing_else(void **state)
{
    (void)state;
    size_t n_lost = 0;

    for (int nth = 0; nth < 2; nth++) {
        alloc_fail_in = nth;
        assert_int_equal(take_at(RATE, true, 0.001), -ENOMEM);
        alloc_fail_in = -1;
        assert_true(admission_hard(seen.admission) == 0);
    }
    soft(1);
    for (size_t i = 0; i < 1000; i++) {
        const double before = admission_soft(seen.admission);
        alloc_fail_in = (int)(i % 2);
        int r = take_at(RATE, false, before < 3 ? 0.05 : 0.5);
        alloc_fail_in = -1;
        assert_true(r == 0 || (r == -ENOMEM && admission_soft(seen.admission) == before));
        n_lost += r < 0;
        if (r < 0)
            wavering(1); /* there is memory again */
    }
    assert_in_range(n_lost, 1, 3);
    alloc_fail_in = 0;
    quiet(300); /* to hold fewer rows in less room may fail too */
    alloc_fail_in = -1;
    admission_end(seen.admission);
    size_t n_waiting = 0;
    for (uint64_t row = 1; row <= seen.n_taken; row++)
        n_waiting += seen.fate[row] == WAITS;
    assert_int_equal(n_waiting, 2 + n_lost);
}

static void a_failed_allocation_makes_no_admission(void **state)
{
    (void)state;
    struct admission *admission = NULL;

    alloc_fail_in = 0;
    assert_int_equal(admission_new(2, STD, 0, &SINK, &admission), -ENOMEM);
    alloc_fail_in = -1;
    assert_null(admission);
    admission_free(admission);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_hard_sum_counts_flags),
        TEST(the_soft_sum_counts_p_values_below_a_tenth),
        TEST(both_sums_stay_between_0_and_h),
        TEST(at_a_high_false_alarm_rate_flags_still_count),
        TEST(an_incident_opens_when_the_hard_sum_reaches_h),
        TEST(an_incident_opens_when_the_soft_sum_reaches_h),
        TEST(it_began_at_the_first_row_after_the_last_zero),
        TEST(it_began_with_the_earlier_of_two_sums),
        TEST(it_closes_when_both_sums_are_zero),
        TEST(rows_from_16_before_to_64_after_are_quarantined),
        TEST(an_incident_within_64_rows_of_another_leaves_no_gap),
        TEST(a_quiet_series_holds_16_rows),
        TEST(a_lone_flagged_row_is_let_go),
        TEST(rows_that_lead_to_nothing_within_256_rows_are_let_go),
        TEST(a_soft_incident_older_than_300_rows_lets_rows_in),
        TEST(and_its_flagged_rows_too),
        TEST(soft_incidents_that_follow_one_another_are_one_drift),
        TEST(a_soft_incident_among_usual_rows_is_no_drift),
        TEST(and_it_is_asked_about_after_500_rows),
        TEST(fewer_usual_rows_than_chance_gives_are_no_drift_yet),
        TEST(a_swap_forgets_how_rare_usual_rows_were),
        TEST(soft_incidents_that_follow_one_another_are_asked_about_together),
        TEST(follow_after_counts_for_a_soft_incident_that_keeps_its_rows),
        TEST(soft_incidents_far_apart_are_not),
        TEST(what_somebody_called_an_anomaly_is_no_drift),
        TEST(it_hardens_when_the_hard_sum_reaches_h_too),
        TEST(once_its_flags_are_over_a_hard_incident_is_a_soft_one_that_begins_there),
        TEST(rows_of_an_incident_that_hardens_again_count_from_the_first_time),
        TEST(a_drift_too_fast_to_be_followed_is_asked_about),
        TEST(a_drift_that_is_followed_is_not_asked_about),
        TEST(in_a_drift_flags_count_as_if_three_times_the_rate_were_asked_for),
        TEST(a_hard_incident_keeps_all_rows),
        TEST(regime_change_is_asked_once_at_500_rows),
        TEST(rows_of_a_hardened_incident_count_from_its_first_flags),
        TEST(a_drift_is_not_asked_about),
        TEST(follow_after_takes_it_for_normal),
        TEST(without_follow_after_nothing_is_followed),
        TEST(normal_lets_all_rows_in_until_the_incident_closes),
        TEST(normal_lets_waiting_rows_in),
        TEST(anomaly_keeps_all_rows_and_is_not_asked_about),
        TEST(a_soft_anomaly_does_not_expire),
        TEST(the_last_answer_counts),
        TEST(an_answer_to_no_open_incident_is_false),
        TEST(normal_ends_the_rows_kept_after_a_closed_incident),
        TEST(a_swap_sets_the_sums_to_zero_and_closes_a_soft_incident),
        TEST(a_hard_incident_outlives_swaps_and_is_asked_about),
        TEST(rows_that_wait_at_a_swap_stay),
        TEST(a_swap_leaves_an_approved_incident_open_while_flags_go_on),
        TEST(a_flush_lets_go_of_all_that_waits),
        TEST(of_equal_rows_the_first_16_count),
        TEST(each_stretch_of_equal_rows_is_told),
        TEST(stale_rows_touch_nothing_else),
        TEST(equal_is_within_a_hundredth_of_a_deviation_in_every_feature),
        TEST(equal_is_to_the_last_row_that_counted),
        TEST(a_slow_creep_is_thinned_not_stopped),
        TEST(every_row_comes_out_once_and_in_order),
        TEST(fates_are_those_of_hindsight),
        TEST(of_exchangeable_rows_few_are_quarantined),
        TEST(a_quiet_series_needs_room_for_few_rows),
        TEST(a_row_without_memory_is_lost_and_nothing_else),
        TEST(a_failed_allocation_makes_no_admission),
    };

    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
