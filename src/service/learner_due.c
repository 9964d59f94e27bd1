/* Which model trains next: when a run is due it is queued, and what was queued first comes first.
 */
#include "base/clock.h"
#include "service/learner_state.h"

#include <stdio.h>
#include <string.h>

void pupil_queue_due(struct pupil *pupil, uint64_t now_us)
{
    if (pupil->queued_run || pupil->current_run || !pupil->learning ||
        atomic_load(&pupil->learn) == CONFIG_LEARN_OFF || learner_is_damaged(pupil->learner))
        return;
    const char *due = learning_is_due(pupil->learning, now_us);
    if (!due)
        return;
    if (model_log_add_run(pupil->learner->database, pupil->log.id, due, clock_realtime_us(),
                          &pupil->queued_run) < 0)
        pupil->queued_run = 0;
    (void)snprintf(pupil->trigger, sizeof(pupil->trigger), "%s", due);
}

/* Under the pupil's lock: when to look at it again unless it changes. */
static uint64_t next_look_us(const struct pupil *pupil, uint64_t now_us)
{
    if (pupil->queued_run || (pupil->learning && learning_is_due(pupil->learning, now_us)))
        return 0; /* the store could not queue it */
    return pupil->learning ? learning_due_us(pupil->learning, now_us) : UINT64_MAX;
}

/* Of thousands that are as they were, only the time is looked at. */
struct pupil *learner_next_run(struct learner *learner, int64_t *ret_run, char trigger[16])
{
    struct pupil *next = NULL, *pupil;

    for (size_t i = 0; (pupil = learner_nth(learner, i)); i++) {
        if (atomic_load(&pupil->look_us) > clock_monotonic_us())
            continue;
        pupil_lock(pupil);
        const uint64_t now_us = clock_monotonic_us();
        pupil_queue_due(pupil, now_us);
        if (pupil->queued_run && (!next || pupil->queued_run < *ret_run)) {
            next = pupil;
            *ret_run = pupil->queued_run;
            memcpy(trigger, pupil->trigger, sizeof(pupil->trigger));
        }
        pupil_unlock_until(pupil, next_look_us(pupil, now_us));
    }
    return next;
}
