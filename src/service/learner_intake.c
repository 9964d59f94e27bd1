/* The thread that empties the queue of rows (learner_queue.c), one transaction for all that has
 * come meanwhile. */
#include "base/clock.h"
#include "base/log.h"
#include "service/learner_state.h"
#include "store/event_log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TURN_BYTES  (LEARNER_QUEUE_BYTES / 16) /* people wait for what one transaction stores */
#define MOST_PUPILS 64                         /* whose rows share a transaction */

/* Scored rows, for which nobody waits, gather for so long: waking the thread for each costs more
 * than all that it does with them. */
#define GATHER_US (20 * US_PER_MS)

#define INTAKE_NICE 5

/* What one turn works on. */
struct turn {
    struct pupil *pupils[MOST_PUPILS]; /* locked, in the order of their addresses */
    size_t n_pupils;
    struct intake_item *items;
};

/* What has come joins what a turn before has left, the thread's own: whoever appends does not wait
 * while it is looked through. */
static void fetch_items(struct learner *learner)
{
    (void)pthread_mutex_lock(&learner->lock);
    if (learner->first) {
        *learner->last_fetched = learner->first;
        learner->last_fetched = learner->last;
        learner->first = NULL;
        learner->last = &learner->first;
        learner->n_awaited = 0;
    }
    (void)pthread_mutex_unlock(&learner->lock);
}

static void give_room_back(struct learner *learner, size_t n_bytes)
{
    (void)pthread_mutex_lock(&learner->lock);
    learner->queued_bytes -= n_bytes;
    (void)pthread_mutex_unlock(&learner->lock);
}

/* The first items, as many as MOST_PUPILS models have and TURN_BYTES hold, but one at least; the
 * others stay. */
static void take_items(struct learner *learner, struct turn *turn)
{
    struct intake_item **next = &learner->fetched;
    size_t taken = 0;

    for (; *next; next = &(*next)->next) {
        struct pupil *pupil = (*next)->pupil;
        size_t place = 0;
        while (place < turn->n_pupils && turn->pupils[place] < pupil)
            place++;
        const bool is_new = place == turn->n_pupils || turn->pupils[place] != pupil;
        if ((taken > 0 && taken + intake_item_size(*next) > TURN_BYTES) ||
            (is_new && turn->n_pupils == MOST_PUPILS))
            break;
        taken += intake_item_size(*next);
        if (!is_new)
            continue;
        memmove(turn->pupils + place + 1, turn->pupils + place,
                (turn->n_pupils - place) * sizeof(struct pupil *));
        turn->pupils[place] = pupil;
        turn->n_pupils++;
    }
    turn->items = learner->fetched;
    learner->fetched = *next;
    *next = NULL;
    if (!learner->fetched)
        learner->last_fetched = &learner->fetched;
    give_room_back(learner, taken);
}

/* Rows that waited while the threshold changed: by the new one, for the sums count flags at its
 * rate. What the client was told stays an event. */
static void rejudge(struct intake_item *item)
{
    const struct live_model *live = item->pupil->live;

    if (!item->values || item->is_observed || !live || item->version != live->version ||
        item->threshold == live->threshold)
        return;
    for (size_t i = 0; i < item->n_rows; i++)
        item->rows[i].is_flagged = item->rows[i].error > live->threshold;
}

/* They are of other features: what is left of the rows is their verdicts. */
static void forget_values(struct intake_item *item)
{
    for (size_t i = 0; i < item->n_rows; i++)
        item->rows[i].values = NULL;
}

static int learn_item(struct intake_item *item)
{
    struct pupil *pupil = item->pupil;

    const bool fits = pupil->learning && pupil->n_features == item->n_features;

    if (item->n_rows > 0)
        (void)pupil_hold(pupil); /* without it rows are noted; /readyz says why */
    rejudge(item);
    if (pupil->learning && !item->is_observed && !item->is_learned) {
        if (fits)
            shadow_judge(pupil, item);
        else
            forget_values(item);
        learning_note(pupil->learning, item->rows, item->n_rows); /* none of one that waits */
        return 0;
    }
    if (!fits)
        return -EINVAL;
    if (item->is_observed)
        return learning_observe(pupil->learning, item->values, item->n_rows, item->times_us,
                                item->is_independent ? NULL : item->series);
    shadow_judge(pupil, item);
    return learning_take(pupil->learning, item->rows, item->n_rows);
}

static int store(struct learner *learner, struct turn *turn)
{
    struct row_batch batches[MOST_PUPILS];
    size_t n = 0;

    for (size_t i = 0; i < turn->n_pupils; i++) {
        struct learning *learning = turn->pupils[i]->learning;
        const struct row_batch batch =
            learning ? learning_pending(learning) : (struct row_batch){0};
        if (batch.n_rows > 0)
            batches[n++] = batch;
    }
    if (n == 0)
        return 0;
    int r = learner_check_room(learner);
    if (r == 0)
        r = row_buffer_store_many(learner->database, batches, n);
    learner_stored(learner, r);
    return r;
}

static void tell_events(struct pupil *pupil)
{
    struct learner *learner = pupil->learner;
    size_t n = 0;

    if (learning_has_news(pupil->learning) && learner_check_room(learner) < 0)
        learning_drop_verdicts(pupil->learning);
    if (learning_has_news(pupil->learning) && learning_put_news(pupil->learning) < 0) {
        (void)learning_events(pupil->learning, &n);
        log_warning("model %s: %zu events could not be stored", pupil->name, n);
        learning_drop_verdicts(pupil->learning); /* counts them */
    }
    const struct logged_event *events = learning_events(pupil->learning, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(events[i].kind, "verdict") != 0 && !events[i].is_update)
            pupil_note_event(pupil, &events[i]);
    learning_told(pupil->learning);
    (void)atomic_fetch_add(&pupil->n_verdicts_dropped, learning_verdicts_lost(pupil->learning));
}

/* True: a run is due. */
static bool end_turn(struct turn *turn, int stored)
{
    bool has_run = false;

    for (size_t i = 0; i < turn->n_pupils; i++) {
        struct pupil *pupil = turn->pupils[i];
        if (!pupil->learning)
            continue;
        if (stored < 0)
            pupil->figures.n_dropped_store += learning_pending(pupil->learning).n_rows;
        learning_stored(pupil->learning);
        if (stored == 0 && learning_follow(pupil->learning) < 0)
            log_warning("model %s: the rows of a followed incident stay in quarantine",
                        pupil->name);
        tell_events(pupil);
        pupil_note_pin(pupil);
        /* Here, so that who has got an answer to its rows finds the run that they led to. */
        pupil_queue_due(pupil, clock_monotonic_us());
        has_run |= pupil->queued_run != 0;
    }
    return has_run;
}

/* Why rows have not been kept. */
static int explain(const struct intake_item *item, int r, struct error *reterr)
{
    if (item->pupil->is_gone)
        return error_set(reterr, LEARNER_NOT_FOUND, "Model \"%s\" was deleted", item->pupil->name);
    return r == -EINVAL ? error_set(reterr, LEARNER_UNFIT,
                                    "Model \"%s\" has other features now; see GET /v1/models/%s",
                                    item->pupil->name, item->pupil->name)
                        : learner_not_stored(r, reterr);
}

static void answer(struct turn *turn, int stored)
{
    for (struct intake_item *item = turn->items, *next; item; item = next) {
        struct error error = {0};
        next = item->next;
        if (item->done) {
            int r = item->result < 0 ? item->result : stored;
            r = r < 0 ? explain(item, r, &error) : 0;
            item->done(item->userdata, r, &error);
        }
        intake_item_free(item);
    }
}

static void take_turn(struct learner *learner, struct turn *turn)
{
    for (size_t i = 0; i < turn->n_pupils; i++)
        pupil_lock(turn->pupils[i]);
    for (struct intake_item *item = turn->items; item; item = item->next)
        item->result = learn_item(item);
    const int stored = store(learner, turn);
    const bool has_run = end_turn(turn, stored);
    for (size_t i = turn->n_pupils; i-- > 0;)
        pupil_unlock(turn->pupils[i]);
    answer(turn, stored);
    if (has_run)
        learner_wake_runs(learner);
}

/* False: nothing waits. */
bool learner_intake_turn(struct learner *learner)
{
    struct turn turn = {0};

    fetch_items(learner);
    if (!learner->fetched)
        return false;
    take_items(learner, &turn);
    take_turn(learner, &turn);
    return true;
}

/* Nothing is left: waits for what comes, and a little more for what comes with it. False: it is
 * time to end. */
static bool wait_for_items(struct learner *learner)
{
    int r = 0;

    (void)pthread_mutex_lock(&learner->lock);
    while (!learner->first && !learner->must_stop) {
        learner->intake = INTAKE_IDLE;
        (void)pthread_cond_wait(&learner->has_items, &learner->lock);
    }
    const uint64_t until_us = clock_monotonic_us() + GATHER_US;
    const struct timespec until = {.tv_sec = (time_t)(until_us / US_PER_S),
                                   .tv_nsec = (long)(until_us % US_PER_S * 1000)};
    while (r == 0 && learner->n_awaited == 0 && learner->queued_bytes < LEARNER_GATHER_BYTES &&
           !learner->must_stop) {
        learner->intake = INTAKE_GATHERS;
        r = pthread_cond_clockwait(&learner->has_items, &learner->lock, CLOCK_MONOTONIC, &until);
    }
    learner->intake = INTAKE_WORKS;
    const bool goes_on = !learner->must_stop;
    (void)pthread_mutex_unlock(&learner->lock);
    return goes_on;
}

void *learner_intake_main(void *userdata)
{
    struct learner *learner = userdata;
    bool goes_on;

    (void)pthread_setname_np(pthread_self(), "intake");
    /* Those who wait for an answer go first. Of this thread alone: Linux counts so. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), INTAKE_NICE);
    do {
        goes_on = wait_for_items(learner);
        while (learner_intake_turn(learner))
            ;
    } while (goes_on);
    return NULL;
}
