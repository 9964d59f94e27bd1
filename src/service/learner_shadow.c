/* For a while after a run has promoted a version the former one judges the same rows: if the new
 * one flags rows that the former finds normal, far more often than the other way round, the former
 * serves again. */
#include "base/log.h"
#include "detector/detector.h"
#include "service/learner_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHADOW_ROWS 2000 /* after which the new version is trusted */
#define LEAST_EXCESS \
    10 /* rows that only the new version flags, beyond those only the former does */
#define LEAST_P      1e-6 /* of the sign test: it is asked after each batch */
#define LEAST_FACTOR 3.0  /* times the false-alarm rate that the new version flags */

void shadow_begin(struct pupil *pupil, struct live_model *former)
{
    shadow_end(pupil);
    pupil->shadow = (struct shadow){.former = former};
}

void shadow_end(struct pupil *pupil)
{
    live_release(pupil->learner->live, pupil->shadow.former);
    pupil->shadow = (struct shadow){0};
}

static double log_factorial(size_t n)
{
    int sign; /* always 1; lgamma() would write it to a global */

    return lgamma_r((double)n + 1.0, &sign);
}

/* P(at least k of n tosses of a fair coin): log-sum over the tail. */
static double sign_test(size_t k, size_t n)
{
    double sum = 0.0;

    for (size_t i = k; i <= n; i++)
        sum += exp(log_factorial(n) - log_factorial(i) - log_factorial(n - i) - (double)n * M_LN2);
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

void shadow_judge(struct pupil *pupil, const struct intake_item *item)
{
    struct shadow *shadow = &pupil->shadow;
    if (!shadow->former || !item->rows || item->version != pupil->live->version)
        return;
    AUTO_FREE struct verdict *verdicts = calloc(item->n_rows, sizeof(*verdicts));
    if (!verdicts ||
        detector_score(shadow->former->detector, pupil->learner->workspace, item->values,
                       item->n_rows, shadow->former->threshold, verdicts) < 0)
        return;

    for (size_t i = 0; i < item->n_rows; i++) {
        shadow->n_new += item->rows[i].is_flagged;
        shadow->n_only_new += item->rows[i].is_flagged && !verdicts[i].anomaly;
        shadow->n_only_former += !item->rows[i].is_flagged && verdicts[i].anomaly;
    }
    shadow->n_rows += item->n_rows;
    if (is_worse(pupil))
        roll_back(pupil);
    else if (shadow->n_rows >= SHADOW_ROWS)
        shadow_end(pupil);
}
