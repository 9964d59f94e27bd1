/* What people do to a model may wait for the disk, and for rows that are on their way: a thread of
 * its own does one act after the other, in the order in which they came, so that no worker waits.
 */
#include "service/learner_state.h"

#include <errno.h>
#include <stdlib.h>

#define MOST_ACTS 64 /* that wait */

struct act_item {
    STAILQ_ENTRY(act_item) link;
    int (*perform)(struct learner *learner, void *argument, struct error *reterr);
    void *argument;
    void (*done)(void *userdata, int r, const struct error *error);
    void *userdata;
};

int learner_do(struct learner *learner,
               int (*perform)(struct learner *learner, void *argument, struct error *reterr),
               void *argument, void (*done)(void *userdata, int r, const struct error *error),
               void *userdata, struct error *reterr)
{
    struct act_item *item = calloc(1, sizeof(*item));
    if (!item)
        return -ENOMEM;

    *item = (struct act_item){
        .perform = perform, .argument = argument, .done = done, .userdata = userdata};
    (void)pthread_mutex_lock(&learner->lock);
    const bool is_in = !learner->must_stop && learner->n_acts < MOST_ACTS;
    if (is_in) {
        STAILQ_INSERT_TAIL(&learner->acts, item, link);
        learner->n_acts++;
        (void)pthread_cond_signal(&learner->has_acts);
    }
    (void)pthread_mutex_unlock(&learner->lock);
    if (is_in)
        return 0;
    free(item);
    return error_set(reterr, LEARNER_UNAVAILABLE,
                     "%d requests that change a model are waiting already; try again later",
                     MOST_ACTS);
}

bool learner_acts_turn(struct learner *learner)
{
    struct error error = {0};

    (void)pthread_mutex_lock(&learner->lock);
    struct act_item *item = STAILQ_FIRST(&learner->acts);
    if (item) {
        STAILQ_REMOVE_HEAD(&learner->acts, link);
        learner->n_acts--;
    }
    (void)pthread_mutex_unlock(&learner->lock);
    if (!item)
        return false;
    const int r = item->perform(learner, item->argument, &error);
    item->done(item->userdata, r, &error);
    free(item);
    return true;
}

void *learner_acts_main(void *userdata)
{
    struct learner *learner = userdata;
    bool must_stop = false;

    (void)pthread_setname_np(pthread_self(), "acts");
    do {
        (void)pthread_mutex_lock(&learner->lock);
        while (STAILQ_EMPTY(&learner->acts) && !learner->must_stop)
            (void)pthread_cond_wait(&learner->has_acts, &learner->lock);
        must_stop = learner->must_stop;
        (void)pthread_mutex_unlock(&learner->lock);
    } while (learner_acts_turn(learner) || !must_stop);
    return NULL;
}
