/* What people do to a model may wait for the disk, and for rows that are on their way: a thread of
 * its own does one act after the other, in the order in which they came, so that no worker waits.
 */
#include "base/clock.h"
#include "service/learner_state.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#define MOST_ACTS 64 /* that wait */
#define COUNT_US                                                                     \
    (10 * US_PER_S) /* how often rows a day are counted: a change of threshold waits \
                     * for the disk as acts do */

#define WATCH_US US_PER_S        /* how often series are looked at that may fall silent */
#define SAVE_US  (60 * US_PER_S) /* how often what is remembered of series is kept */

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

/* Until there is an act, or it is time to count. True: the learner is about to end. */
static bool wait_for_act(struct learner *learner, uint64_t until_us)
{
    const struct timespec until = {.tv_sec = (time_t)(until_us / US_PER_S),
                                   .tv_nsec = (long)(until_us % US_PER_S * 1000)};

    (void)pthread_mutex_lock(&learner->lock);
    while (STAILQ_EMPTY(&learner->acts) && !learner->must_stop && clock_monotonic_us() < until_us)
        (void)pthread_cond_clockwait(&learner->has_acts, &learner->lock, CLOCK_MONOTONIC, &until);
    const bool must_stop = learner->must_stop;
    (void)pthread_mutex_unlock(&learner->lock);
    return must_stop;
}

void *learner_acts_main(void *userdata)
{
    struct learner *learner = userdata;
    uint64_t count_us = clock_monotonic_us() + COUNT_US;
    uint64_t watch_us = clock_monotonic_us() + WATCH_US;
    uint64_t save_us = clock_monotonic_us() + SAVE_US;
    bool must_stop = false;

    (void)pthread_setname_np(pthread_self(), "acts");
    do {
        must_stop = wait_for_act(learner, watch_us);
        const uint64_t now_us = clock_monotonic_us();
        const bool counts = now_us >= count_us && !must_stop;
        if (counts) {
            learner_count_rows(learner, now_us);
            count_us = now_us + COUNT_US;
        }
        if (now_us >= watch_us && !must_stop) {
            learner_watch_series(learner, counts);
            watch_us = now_us + WATCH_US;
        }
        if (now_us >= save_us && !must_stop) {
            learner_save_series(learner);
            (void)malloc_trim(0); /* what a burst of rows took goes back to the system */
            save_us = now_us + SAVE_US;
        }
    } while (learner_acts_turn(learner) || !must_stop);
    return NULL;
}
