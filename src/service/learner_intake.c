/* Rows on their way to the store: a bounded queue that workers only ever append to, and the thread
 * that empties it, one transaction for all that has come meanwhile. */
#include "base/clock.h"
#include "base/log.h"
#include "detector/detector.h"
#include "detector/relevance.h"
#include "service/learner_state.h"
#include "store/event_log.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stop waits for what is queued, people for what one transaction stores. */
#define QUEUE_BYTES   ((size_t)64 << 20)
#define OBSERVE_BYTES (QUEUE_BYTES / 4) /* of one request, which is stored as a whole */
#define TURN_BYTES    (QUEUE_BYTES / 16)
#define ROW_BYTES     ((size_t)512) /* what storing a row costs, however few features it has */
#define MOST_PUPILS   64            /* whose rows share a transaction */

static size_t size_of_rows(size_t n_rows, size_t n_features)
{
    return n_rows * (ROW_BYTES + n_features * sizeof(float));
}

static size_t size_of(const struct intake_item *item)
{
    return sizeof(*item) + size_of_rows(item->n_rows, item->n_features);
}

static void item_free(struct intake_item *item)
{
    if (!item)
        return;
    relevance_release(item->relevance);
    free(item->rows);
    free(item->values);
    free(item->times_us);
    free(item);
}

static uint64_t time_of(const struct row_times *times, size_t row)
{
    return times->own && !isnan(times->own[row]) ? (uint64_t)(times->own[row] * (double)US_PER_S)
                                                 : times->time_us;
}

static int copy_rows(struct intake_item *item, const float *rows)
{
    const size_t n = item->n_rows * item->n_features;

    item->values = malloc(n * sizeof(*item->values) + 1);
    if (!item->values)
        return -ENOMEM;
    memcpy(item->values, rows, n * sizeof(*rows));
    return 0;
}

/* rows NULL: there are none, only verdicts; times NULL: those are without times too. */
static struct intake_item *new_item(struct pupil *pupil, const float *rows, size_t n_rows,
                                    size_t n_features, const struct row_times *times,
                                    const char *series)
{
    struct intake_item *item = calloc(1, sizeof(*item));
    if (!item)
        return NULL;

    item->pupil = pupil;
    item->n_rows = n_rows;
    item->n_features = n_features;
    item->is_independent = !series;
    (void)snprintf(item->series, sizeof(item->series), "%s", series ? series : "");
    item->times_us = calloc(n_rows + 1, sizeof(*item->times_us));
    if (!item->times_us || (rows && copy_rows(item, rows) < 0)) {
        item_free(item);
        return NULL;
    }
    for (size_t i = 0; times && i < n_rows; i++)
        item->times_us[i] = time_of(times, i);
    return item;
}

/* False: there is no room. Under the learner's lock. */
static bool append(struct learner *learner, struct intake_item *item)
{
    if (learner->must_stop || learner->queued_bytes + size_of(item) > QUEUE_BYTES)
        return false;
    learner->queued_bytes += size_of(item);
    *learner->last = item;
    learner->last = &item->next;
    (void)pthread_cond_signal(&learner->has_items);
    return true;
}

void learner_name_verdicts(struct learner *learner, struct verdict *verdicts, size_t n_rows)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++)
        n += verdicts[i].anomaly;
    uint64_t next = n > 0 ? atomic_fetch_add(&learner->next_event, n) + 1 : 0;
    for (size_t i = 0; i < n_rows; i++)
        if (verdicts[i].anomaly)
            verdicts[i].event = next++;
}

static size_t count_named(const struct verdict *verdicts, size_t n_rows)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++)
        n += verdicts[i].event != 0;
    return n;
}

/* Rows of the series that never came here. So that they are bounded, some series share one. */
static atomic_uint_least64_t *unseen_of(struct pupil *pupil, const char *series)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (; *series; series++)
        hash = (hash ^ (unsigned char)*series) * 16777619U;
    return &pupil->n_unseen[hash % N_UNSEEN];
}

/* A scored row for each verdict; of an item without values for those that have a name. */
static int fill_item(struct intake_item *item, const struct live_model *model,
                     const struct row_times *times, const struct verdict *verdicts, size_t n_rows)
{
    size_t n = 0;

    item->version = model->version;
    item->threshold = model->threshold;
    item->relevance = relevance_share(item->values ? model->relevance : NULL);
    const uint64_t n_dropped = atomic_load(unseen_of(item->pupil, item->series));
    item->rows = calloc(item->n_rows, sizeof(*item->rows));
    if (!item->rows)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        if (!item->values && verdicts[i].event == 0)
            continue;
        item->rows[n++] = (struct scored_row){
            .time_us = time_of(times, i),
            .series = item->is_independent ? NULL : item->series,
            .values = item->values ? item->values + i * item->n_features : NULL,
            .error = verdicts[i].reconstruction_error,
            .p_value = verdicts[i].p_value,
            .score = verdicts[i].score,
            .is_flagged = verdicts[i].anomaly,
            .has_aside = verdicts[i].n_set_aside > 0,
            .threshold = model->threshold,
            .relevance = item->relevance,
            .version = model->version,
            .n_dropped = n_dropped,
            .event = verdicts[i].event,
        };
    }
    return 0;
}

void learner_offer(struct learner *learner, const struct live_model *model, const float *rows,
                   bool is_learned, const struct verdict *verdicts, size_t n_rows,
                   size_t n_features, const struct row_times *times, const char *series)
{
    struct pupil *pupil = learner_find(learner, model->name);
    const size_t n_named = count_named(verdicts, n_rows);
    if (!pupil)
        return;
    is_learned = is_learned && atomic_load(&pupil->learn) == CONFIG_LEARN_AUTO;
    const bool is_watched = series && atomic_load(&pupil->has_alarm);
    if (!is_learned && !is_watched && !atomic_load(&pupil->has_shadow))
        rows = NULL;
    const size_t n = rows ? n_rows : n_named;
    if (n == 0)
        return;

    struct intake_item *item = new_item(pupil, rows, n, rows ? n_features : 0, times, series);
    const bool is_made = item && fill_item(item, model, times, verdicts, n_rows) == 0;
    if (is_made)
        item->is_learned = is_learned;
    (void)pthread_mutex_lock(&learner->lock);
    const bool is_in = is_made && append(learner, item);
    (void)pthread_mutex_unlock(&learner->lock);
    if (is_in)
        return;
    (void)atomic_fetch_add(&pupil->n_dropped_by_queue, is_learned ? n_rows : 0);
    if (rows && series)
        (void)atomic_fetch_add(unseen_of(pupil, series), n_rows);
    (void)atomic_fetch_add(&pupil->n_verdicts_dropped, n_named);
    item_free(item);
}

/* Takes the item over. */
static int enqueue(struct learner *learner, struct intake_item *item)
{
    (void)pthread_mutex_lock(&learner->lock);
    const bool is_in = append(learner, item);
    (void)pthread_mutex_unlock(&learner->lock);
    if (is_in)
        return 0;
    item_free(item);
    return -EAGAIN;
}

int learner_check_rows(size_t n_rows, size_t n_features, struct error *reterr)
{
    if (size_of_rows(n_rows, n_features) <= OBSERVE_BYTES)
        return 0;
    return error_set(reterr, LEARNER_TOO_LARGE,
                     "%zu rows are too many to be stored as a whole, the limit is %zu of %zu "
                     "features; send fewer at a time",
                     n_rows, OBSERVE_BYTES / size_of_rows(1, n_features), n_features);
}

int learner_observe(struct learner *learner, const char *model, const float *rows, size_t n_rows,
                    size_t n_features, const struct row_times *times, const char *series,
                    void (*done)(void *userdata, int r, const struct error *error), void *userdata,
                    struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (atomic_load(&pupil->learn) == CONFIG_LEARN_OFF)
        return error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" does not learn (learn = off)",
                         model);
    int r = learner_check_rows(n_rows, n_features, reterr);
    if (r < 0)
        return r;
    struct intake_item *item = new_item(pupil, rows, n_rows, n_features, times, series);
    if (!item)
        return error_set(reterr, LEARNER_UNAVAILABLE, "There is no memory for these rows");
    item->is_observed = true;
    item->done = done;
    item->userdata = userdata;
    return enqueue(learner, item) < 0 ? learner_not_stored(-EAGAIN, reterr) : 0;
}

/* One who waits in learner_wait_for_intake(). */
struct waiter {
    struct learner *learner;
    bool is_done; /* under the learner's lock */
};

static void end_wait(void *userdata, int r, const struct error *error)
{
    (void)r; /* what could not be stored is not found */
    (void)error;
    struct waiter *waiter = userdata;
    struct learner *learner = waiter->learner;

    (void)pthread_mutex_lock(&learner->lock);
    waiter->is_done = true;
    (void)pthread_cond_broadcast(&learner->has_answers);
    (void)pthread_mutex_unlock(&learner->lock);
}

/* Who has got a verdict may name it at once, before it is in the log. */
void learner_wait_for_intake(struct learner *learner, struct pupil *pupil)
{
    struct waiter waiter = {.learner = learner};
    struct intake_item *item = learner->has_intake ? new_item(pupil, NULL, 0, 0, NULL, NULL) : NULL;

    if (!item)
        return;
    item->done = end_wait;
    item->userdata = &waiter;
    if (enqueue(learner, item) < 0)
        return;
    (void)pthread_mutex_lock(&learner->lock);
    while (!waiter.is_done)
        (void)pthread_cond_wait(&learner->has_answers, &learner->lock);
    (void)pthread_mutex_unlock(&learner->lock);
}

/* ---- the thread ---- */

/* What one turn works on. */
struct turn {
    struct pupil *pupils[MOST_PUPILS]; /* locked, in the order of their addresses */
    size_t n_pupils;
    struct intake_item *items;
};

/* The first items, as many as MOST_PUPILS models have and TURN_BYTES hold, but one at least; the
 * others stay. Under the learner's lock. */
static void take_items(struct learner *learner, struct turn *turn)
{
    struct intake_item **next = &learner->first;
    size_t taken = 0;

    for (; *next; next = &(*next)->next) {
        struct pupil *pupil = (*next)->pupil;
        size_t place = 0;
        while (place < turn->n_pupils && turn->pupils[place] < pupil)
            place++;
        const bool is_new = place == turn->n_pupils || turn->pupils[place] != pupil;
        if ((taken > 0 && taken + size_of(*next) > TURN_BYTES) ||
            (is_new && turn->n_pupils == MOST_PUPILS))
            break;
        taken += size_of(*next);
        if (!is_new)
            continue;
        memmove(turn->pupils + place + 1, turn->pupils + place,
                (turn->n_pupils - place) * sizeof(struct pupil *));
        turn->pupils[place] = pupil;
        turn->n_pupils++;
    }
    learner->queued_bytes -= taken;
    turn->items = learner->first;
    learner->first = *next;
    *next = NULL;
    if (!learner->first)
        learner->last = &learner->first;
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

static void end_turn(struct turn *turn, int stored)
{
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
    }
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
        item_free(item);
    }
}

static void take_turn(struct learner *learner, struct turn *turn)
{
    for (size_t i = 0; i < turn->n_pupils; i++)
        pupil_lock(turn->pupils[i]);
    for (struct intake_item *item = turn->items; item; item = item->next)
        item->result = learn_item(item);
    const int stored = store(learner, turn);
    end_turn(turn, stored);
    for (size_t i = turn->n_pupils; i-- > 0;)
        pupil_unlock(turn->pupils[i]);
    answer(turn, stored);
    learner_wake_runs(learner);
}

/* False: nothing waits. */
bool learner_intake_turn(struct learner *learner)
{
    struct turn turn = {0};

    (void)pthread_mutex_lock(&learner->lock);
    take_items(learner, &turn);
    (void)pthread_mutex_unlock(&learner->lock);
    if (!turn.items)
        return false;
    take_turn(learner, &turn);
    return true;
}

void *learner_intake_main(void *userdata)
{
    struct learner *learner = userdata;
    bool must_stop = false;

    (void)pthread_setname_np(pthread_self(), "intake");
    do {
        (void)pthread_mutex_lock(&learner->lock);
        while (!learner->first && !learner->must_stop)
            (void)pthread_cond_wait(&learner->has_items, &learner->lock);
        must_stop = learner->must_stop;
        (void)pthread_mutex_unlock(&learner->lock);
    } while (learner_intake_turn(learner) || !must_stop);
    return NULL;
}
