/* Rows on their way to the store: the bounded queue that workers only ever append to.
 * learner_intake.c empties it. */
#include "base/clock.h"
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
#include <time.h>

#define OBSERVE_BYTES (LEARNER_QUEUE_BYTES / 4) /* of one request, which is stored as a whole */
#define ROW_BYTES     ((size_t)512) /* what storing a row costs, however few features it has */

static size_t size_of_rows(size_t n_rows, size_t n_features)
{
    return n_rows * (ROW_BYTES + n_features * sizeof(float));
}

size_t intake_item_size(const struct intake_item *item)
{
    return sizeof(*item) + size_of_rows(item->n_rows, item->n_features);
}

void intake_item_free(struct intake_item *item)
{
    if (!item)
        return;
    relevance_release(item->relevance);
    free(item);
}

static uint64_t time_of(const struct row_times *times, size_t row)
{
    return times->own && !isnan(times->own[row]) ? (uint64_t)(times->own[row] * (double)US_PER_S)
                                                 : times->time_us;
}

/* rows NULL: there are none, only verdicts; times NULL: those are without times too. All of it is
 * one block of memory: .rows (which only scored rows need, and fill_item() fills), the times and
 * the values behind it. */
static struct intake_item *new_item(struct pupil *pupil, const float *rows, size_t n_rows,
                                    size_t n_features, bool is_scored,
                                    const struct row_times *times, const char *series)
{
    const size_t n_values = rows ? n_rows * n_features : 0;
    const size_t n_scored = is_scored ? n_rows : 0;
    struct intake_item *item =
        malloc(sizeof(*item) + n_scored * sizeof(*item->rows) + n_rows * sizeof(*item->times_us) +
               n_values * sizeof(*item->values));
    if (!item)
        return NULL;

    *item = (struct intake_item){
        .pupil = pupil, .n_rows = n_rows, .n_features = n_features, .is_independent = !series};
    if (series)
        memcpy(item->series, series, strnlen(series, ROW_SERIES_MAX));
    item->rows = is_scored ? (struct scored_row *)(void *)(item + 1) : NULL;
    item->times_us = (uint64_t *)(void *)((struct scored_row *)(void *)(item + 1) + n_scored);
    item->values = n_values ? (float *)(void *)(item->times_us + n_rows) : NULL;
    for (size_t i = 0; i < n_rows; i++)
        item->times_us[i] = times ? time_of(times, i) : 0;
    if (n_values)
        memcpy(item->values, rows, n_values * sizeof(*rows));
    return item;
}

/* Whether the thread, as it is, must know of what has just come. Under the learner's lock. */
static bool must_wake(const struct learner *learner)
{
    switch (learner->intake) {
    case INTAKE_IDLE:
        return true;
    case INTAKE_GATHERS:
        return learner->n_awaited > 0 || learner->queued_bytes >= LEARNER_GATHER_BYTES;
    case INTAKE_WORKS: /* it looks for more by itself */
        break;
    }
    return false;
}

/* False: there is no room. Under the learner's lock. */
static bool append(struct learner *learner, struct intake_item *item)
{
    if (learner->must_stop || learner->queued_bytes + intake_item_size(item) > LEARNER_QUEUE_BYTES)
        return false;
    learner->queued_bytes += intake_item_size(item);
    learner->n_awaited += item->done != NULL;
    *learner->last = item;
    learner->last = &item->next;
    return true;
}

/* Takes the item over, if there is room. */
static bool put(struct learner *learner, struct intake_item *item)
{
    (void)pthread_mutex_lock(&learner->lock);
    const bool is_in = append(learner, item);
    const bool wakes = is_in && must_wake(learner);
    if (wakes)
        learner->intake = INTAKE_WORKS; /* or will, and is woken once */
    (void)pthread_mutex_unlock(&learner->lock);
    if (wakes)
        (void)pthread_cond_signal(&learner->has_items);
    return is_in;
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
static void fill_item(struct intake_item *item, const struct live_model *model,
                      const struct row_times *times, const struct verdict *verdicts, size_t n_rows)
{
    size_t n = 0;

    item->version = model->version;
    item->threshold = model->threshold;
    item->relevance = relevance_share(item->values ? model->relevance : NULL);
    const uint64_t n_dropped = atomic_load(unseen_of(item->pupil, item->series));
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
}

/* What is lost when an item does not reach the queue. */
struct loss {
    uint64_t n_rows, n_unseen, n_verdicts;
};

static void count_loss(struct pupil *pupil, const char *series, const struct loss *loss)
{
    (void)atomic_fetch_add(&pupil->n_dropped_by_queue, loss->n_rows);
    if (loss->n_unseen > 0)
        (void)atomic_fetch_add(unseen_of(pupil, series), loss->n_unseen);
    (void)atomic_fetch_add(&pupil->n_verdicts_dropped, loss->n_verdicts);
}

/* NULL: nobody wants to know of these rows (no loss), or there is no memory. */
static struct intake_item *make_item(struct pupil *pupil, const struct live_model *model,
                                     const float *rows, bool is_learned,
                                     const struct verdict *verdicts, size_t n_rows,
                                     size_t n_features, const struct row_times *times,
                                     const char *series, struct loss *ret_loss)
{
    const size_t n_named = count_named(verdicts, n_rows);

    is_learned = is_learned && atomic_load(&pupil->learn) == CONFIG_LEARN_AUTO;
    const bool is_watched = series && atomic_load(&pupil->has_alarm);
    if (!is_learned && !is_watched && !atomic_load(&pupil->has_shadow))
        rows = NULL;
    *ret_loss = (struct loss){.n_rows = is_learned ? n_rows : 0,
                              .n_unseen = rows && series ? n_rows : 0,
                              .n_verdicts = n_named};
    const size_t n = rows ? n_rows : n_named;
    if (n == 0)
        return NULL;

    struct intake_item *item = new_item(pupil, rows, n, rows ? n_features : 0, true, times, series);
    if (item) {
        fill_item(item, model, times, verdicts, n_rows);
        item->is_learned = is_learned;
    }
    return item;
}

/* NULL: nobody. Looked for once: a learner stays, and so does a pupil, whose name uses it again. */
static struct pupil *pupil_of(struct learner *learner, struct live_model *model)
{
    struct pupil *pupil = atomic_load_explicit(&model->pupil, memory_order_acquire);

    if (!pupil) {
        pupil = learner_find(learner, model->name);
        atomic_store_explicit(&model->pupil, pupil, memory_order_release);
    }
    return pupil && !atomic_load(&pupil->is_gone) ? pupil : NULL;
}

void learner_offer(struct learner *learner, struct live_model *model, const float *rows,
                   bool is_learned, const struct verdict *verdicts, size_t n_rows,
                   size_t n_features, const struct row_times *times, const char *series)
{
    struct pupil *pupil = pupil_of(learner, model);
    struct loss loss;

    if (!pupil)
        return;
    struct intake_item *item = make_item(pupil, model, rows, is_learned, verdicts, n_rows,
                                         n_features, times, series, &loss);
    if (item && put(learner, item))
        return;
    count_loss(pupil, series, &loss);
    intake_item_free(item);
}

/* Rows leave room for those who cannot do with less. */
static bool has_room(struct held_rows *held, const struct intake_item *item)
{
    const size_t n_bytes = held->n_bytes + size_of_rows(item->n_rows, item->n_features);

    return item->values
               ? n_bytes <= LEARNER_HELD_BYTES && share_fit(&held->share, n_bytes, QUOTA_HALF)
               : n_bytes <= LEARNER_QUEUE_BYTES && share_fit(&held->share, n_bytes, QUOTA_WHOLE);
}

void learner_hold(struct learner *learner, struct held_rows *held, struct live_model *model,
                  const float *rows, bool is_learned, const struct verdict *verdicts, size_t n_rows,
                  size_t n_features, const struct row_times *times, const char *series)
{
    struct intake_item *item = NULL;
    struct loss loss = {0};

    if (!held->pupil)
        held->pupil = pupil_of(learner, model);
    if (!held->pupil)
        return;
    (void)snprintf(held->series, sizeof(held->series), "%s", series ? series : "");
    item = make_item(held->pupil, model, rows, is_learned, verdicts, n_rows, n_features, times,
                     series, &loss);
    if (item && item->values && !has_room(held, item)) { /* in its place what is small */
        intake_item_free(item);
        held->n_rows_lost += loss.n_rows;
        held->n_unseen_lost += loss.n_unseen;
        item =
            make_item(held->pupil, model, NULL, false, verdicts, n_rows, 0, times, series, &loss);
    }
    if (item && !item->values && !has_room(held, item)) {
        intake_item_free(item);
        item = NULL;
    }
    if (!item) {
        held->n_rows_lost += loss.n_rows;
        held->n_unseen_lost += loss.n_unseen;
        held->n_verdicts_lost += loss.n_verdicts;
        return;
    }
    held->n_bytes += intake_item_size(item);
    if (held->last)
        held->last->next = item;
    else
        held->first = item;
    held->last = item;
}

static void lose_held(struct held_rows *held, const struct intake_item *item)
{
    held->n_rows_lost += item->is_learned ? item->n_rows : 0;
    held->n_unseen_lost += item->values && !item->is_independent ? item->n_rows : 0;
    for (size_t i = 0; i < item->n_rows; i++)
        held->n_verdicts_lost += item->rows[i].event != 0;
}

void learner_offer_held(struct learner *learner, struct held_rows *held)
{
    struct intake_item *next;

    for (struct intake_item *item = held->first; item; item = next) {
        next = item->next;
        item->next = NULL;
        if (put(learner, item))
            continue;
        lose_held(held, item);
        intake_item_free(item);
    }
    if (held->pupil)
        count_loss(held->pupil, held->series,
                   &(struct loss){.n_rows = held->n_rows_lost,
                                  .n_unseen = held->n_unseen_lost,
                                  .n_verdicts = held->n_verdicts_lost});
    share_clear(&held->share);
    *held = (struct held_rows){0};
}

void learner_drop_held(struct held_rows *held)
{
    struct intake_item *next;

    for (struct intake_item *item = held->first; item; item = next) {
        next = item->next;
        intake_item_free(item);
    }
    share_clear(&held->share);
    *held = (struct held_rows){0};
}

/* Takes the item over. */
static int enqueue(struct learner *learner, struct intake_item *item)
{
    if (put(learner, item))
        return 0;
    intake_item_free(item);
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
    struct intake_item *item = new_item(pupil, rows, n_rows, n_features, false, times, series);
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
    struct intake_item *item =
        learner->has_intake ? new_item(pupil, NULL, 0, 0, false, NULL, NULL) : NULL;

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
