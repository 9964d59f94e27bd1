/* For a while after a run has promoted a version the former one judges the same rows: if the new
 * one flags rows that the former finds normal, far more often than the other way round, the former
 * serves again. */
#include "base/clock.h"
#include "base/log.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/judge.h"
#include "service/learner_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After which the new version is trusted; both, or one good batch would do. */
#define SHADOW_ROWS 2000
#define SHADOW_US   (600 * US_PER_S)

#define MOST_A_SECOND 1000 /* rows that count: they cost as much as those that are answered */
#define LEAST_EXCESS \
    10 /* rows that only the new version flags, beyond those only the former does */
#define LEAST_P      1e-6 /* of the sign test: it is asked after each batch */
#define LEAST_FACTOR 3.0  /* times the false-alarm rate that the new version flags */

void shadow_begin(struct pupil *pupil, struct live_model *former)
{
    shadow_end(pupil);
    if (live_hold(pupil->learner->live, former, NULL) < 0) {
        live_release(pupil->learner->live, former);
        return;
    }
    pupil->shadow = (struct shadow){.former = former, .began_us = clock_monotonic_us()};
    atomic_store(&pupil->has_shadow, true);
}

void shadow_end(struct pupil *pupil)
{
    atomic_store(&pupil->has_shadow, false);
    if (pupil->shadow.former)
        live_let_go(pupil->learner->live, pupil->shadow.former);
    live_release(pupil->learner->live, pupil->shadow.former);
    pupil->shadow = (struct shadow){0};
}

static double log_factorial(size_t n)
{
    int sign; /* always 1; lgamma() would write it to a global */

    return lgamma_r((double)n + 1.0, &sign);
}

/* P(at least k of n tosses of a fair coin), k more than half: log-sum over the tail, whose terms
 * only fall. */
static double sign_test(size_t k, size_t n)
{
    const double all = log_factorial(n) - (double)n * M_LN2;
    double sum = 0.0, term = 1.0;

    for (size_t i = k; i <= n && term > 1e-6 * LEAST_P; i++) {
        term = exp(all - log_factorial(i) - log_factorial(n - i));
        sum += term;
    }
    return sum;
}

static bool is_worse(const struct pupil *pupil)
{
    const struct shadow *shadow = &pupil->shadow;
    const double most = LEAST_FACTOR * pupil->live->false_alarm_rate * (double)shadow->n_rows;

    return shadow->n_only_new >= shadow->n_only_former + LEAST_EXCESS &&
           (double)shadow->n_new > most &&
           sign_test(shadow->n_only_new, shadow->n_only_new + shadow->n_only_former) < LEAST_P;
}

static void roll_back(struct pupil *pupil)
{
    const struct shadow shadow = pupil->shadow;
    const unsigned version = pupil->live->version, former = shadow.former->version;
    struct error error;
    char detail[256];

    (void)snprintf(detail, sizeof(detail),
                   "{\"version\":%u,\"former\":%u,\"rows\":%zu,\"flagged\":%zu,"
                   "\"flagged_only_by_new\":%zu,\"flagged_only_by_former\":%zu}",
                   version, former, shadow.n_rows, shadow.n_new, shadow.n_only_new,
                   shadow.n_only_former);
    if (pupil_promote(pupil, former, false, &error) < 0) {
        log_warning("model %s: version %u flags far more than version %u, which cannot serve: %s",
                    pupil->name, version, former, error.text);
    } else {
        pupil->figures.n_rolled_back++;
        log_fields(
            LOG_WARNING, (const char *const[]){"MODEL", pupil->name, NULL},
            "model %s: rolled back from version %u to %u: it flagged %zu of %zu rows, %zu of "
            "them normal to the former",
            pupil->name, version, former, shadow.n_new, shadow.n_rows, shadow.n_only_new);
        pupil_tell(pupil, "rolled_back", detail,
                   "the new version flagged far more than the former: see whether normal has "
                   "changed; freeze learning until that is clear");
    }
    shadow_end(pupil);
}

/* How many of so many rows count now. */
static size_t count_rows(struct shadow *shadow, size_t n_rows, uint64_t now_us)
{
    if (now_us - shadow->second_us >= US_PER_S) {
        shadow->second_us = now_us;
        shadow->n_left = MOST_A_SECOND;
    }
    const size_t n = n_rows < shadow->n_left ? n_rows : shadow->n_left;
    shadow->n_left -= n;
    return n;
}

void shadow_judge(struct pupil *pupil, const struct intake_item *item)
{
    struct shadow *shadow = &pupil->shadow;
    if (!shadow->former || !item->values || item->version != pupil->live->version)
        return;
    const uint64_t now_us = clock_monotonic_us();
    const size_t n_rows = count_rows(shadow, item->n_rows, now_us);
    AUTO_FREE struct verdict *verdicts = calloc(n_rows + 1, sizeof(*verdicts));
    /* Both at the rate in force: it may have changed since the former answered. */
    const double threshold = calibration_threshold(detector_calibration(shadow->former->detector),
                                                   pupil->live->false_alarm_rate);
    if (n_rows == 0 || !verdicts ||
        judge_rows(shadow->former->detector, shadow->former->rules, pupil->learner->workspace,
                   item->values, n_rows, threshold, verdicts) < 0)
        return;

    for (size_t i = 0; i < n_rows; i++) {
        shadow->n_new += item->rows[i].is_flagged;
        shadow->n_only_new += item->rows[i].is_flagged && !verdicts[i].anomaly;
        shadow->n_only_former += !item->rows[i].is_flagged && verdicts[i].anomaly;
    }
    shadow->n_rows += n_rows;
    if (is_worse(pupil))
        roll_back(pupil);
    else if (shadow->n_rows >= SHADOW_ROWS && now_us - shadow->began_us >= SHADOW_US)
        shadow_end(pupil);
}
