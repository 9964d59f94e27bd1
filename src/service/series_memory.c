#include "service/series_memory_state.h"

#include "base/clock.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/movement.h"
#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int series_memory_new(struct series_memory **ret_memory)
{
    struct series_memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return -ENOMEM;
    (void)pthread_mutex_init(&memory->lock, NULL); /* cannot fail with default attributes */
    atomic_store(&memory->n_users, 1);
    TAILQ_INIT(&memory->by_use);
    memory->max_series = SERIES_MEMORY_MAX_SERIES;
    *ret_memory = memory;
    return 0;
}

struct series_memory *series_memory_share(struct series_memory *memory)
{
    (void)atomic_fetch_add(&memory->n_users, 1);
    return memory;
}

static void item_free(struct remembered *item)
{
    if (!item)
        return;
    free(item->name);
    preparation_state_free(item->state);
    movement_free(item->movement);
    free(item);
}
DEFINE_CLEANUP(struct remembered *, item_free)

void series_memory_release(struct series_memory *memory)
{
    if (!memory || atomic_fetch_sub(&memory->n_users, 1) != 1)
        return;
    for (size_t i = 0; i < memory->n_items; i++)
        item_free(memory->items[i]);
    free(memory->items);
    preparation_free(memory->preparation);
    scaler_free(memory->scaler);
    (void)pthread_mutex_destroy(&memory->lock);
    free(memory);
}

/* ---- what versions change ---- */

static void forget_movements(struct series_memory *memory)
{
    for (size_t i = 0; i < memory->n_items; i++)
        movement_free(TAKE(memory->items[i]->movement));
}

/* All series at once: at most some 80 ms (SERIES_MEMORY_MAX_BYTES), when a version takes over and
 * for each turn that requests in flight of the one before take with it. */
int series_memory_follow_scaler(struct series_memory *memory, const struct scaler *scaler)
{
    const size_t n = scaler_n_features(scaler);
    struct scaler *was = memory->scaler, *is = NULL;
    const bool fits = was && scaler_n_features(was) == n;

    if (fits && memcmp(scaler_mean(was), scaler_mean(scaler), n * sizeof(float)) == 0 &&
        memcmp(scaler_std(was), scaler_std(scaler), n * sizeof(float)) == 0)
        return 0;
    int r = scaler_new(scaler_mean(scaler), scaler_std(scaler), scaler_median(scaler), n, &is);
    if (r < 0)
        return r;
    if (!fits)
        forget_movements(memory);
    for (size_t i = 0; i < memory->n_items; i++)
        if (memory->items[i]->movement)
            movement_rescale(memory->items[i]->movement, was, is);
    memory->scaler = is;
    memory->n_scalers++;
    scaler_free(was);
    return 0;
}

void series_memory_follow_preparation(struct series_memory *memory, struct preparation *preparation)
{
    struct preparation *was = memory->preparation;

    if (was == preparation)
        return;
    for (size_t i = 0; i < memory->n_items && !preparation_equals(was, preparation); i++)
        preparation_state_free(TAKE(memory->items[i]->state));
    memory->preparation = preparation_share(preparation);
    preparation_free(was);
}

/* ---- the table ---- */

/* Where a series is, or would be. */
size_t series_memory_place_of(const struct series_memory *memory, const char *name)
{
    size_t low = 0, high = memory->n_items;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(memory->items[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void series_memory_forget(struct series_memory *memory, size_t place)
{
    struct remembered **at = &memory->items[place];

    TAILQ_REMOVE(&memory->by_use, *at, by_use);
    item_free(*at);
    memory->n_items--;
    memmove(at, at + 1, (memory->n_items - place) * sizeof(struct remembered *));
}

static void forget_oldest(struct series_memory *memory)
{
    series_memory_forget(memory,
                         series_memory_place_of(memory, TAILQ_FIRST(&memory->by_use)->name));
}

/* Now, or when it had been used before. */
static void set_used(struct series_memory *memory, struct remembered *item, uint64_t used)
{
    struct remembered *before;

    item->used = used;
    TAILQ_REMOVE(&memory->by_use, item, by_use);
    before = TAILQ_LAST(&memory->by_use, remembered_list);
    while (before && before->used > used)
        before = TAILQ_PREV(before, remembered_list, by_use);
    if (before)
        TAILQ_INSERT_AFTER(&memory->by_use, before, item, by_use);
    else
        TAILQ_INSERT_HEAD(&memory->by_use, item, by_use);
}

/* Under the lock. */
static size_t most_series(const struct series_memory *memory)
{
    const size_t bytes = (memory->scaler ? movement_size(scaler_n_features(memory->scaler)) : 0) +
                         (memory->preparation ? preparation_state_size(memory->preparation) : 0) +
                         sizeof(struct remembered) + sizeof(struct remembered *);
    const size_t n = SERIES_MEMORY_MAX_BYTES / bytes;

    return n < memory->max_series ? n : memory->max_series;
}

size_t series_memory_most(struct series_memory *memory)
{
    (void)pthread_mutex_lock(&memory->lock);
    const size_t n = most_series(memory);
    (void)pthread_mutex_unlock(&memory->lock);
    return n;
}

void series_memory_bound(struct series_memory *memory, size_t max_series)
{
    assert(max_series > 0);
    (void)pthread_mutex_lock(&memory->lock);
    memory->max_series = max_series;
    (void)pthread_mutex_unlock(&memory->lock);
}

static int make_room(struct series_memory *memory)
{
    if (memory->n_items < memory->capacity)
        return 0;
    const size_t capacity = memory->capacity ? 2 * memory->capacity : 1;
    void *items = reallocarray(memory->items, capacity, sizeof(struct remembered *));
    if (!items)
        return -ENOMEM;
    memory->items = items;
    memory->capacity = capacity;
    return 0;
}

static int begin(struct series_memory *memory, const char *name, struct remembered **ret_item)
{
    CLEANUP(item_freep) struct remembered *item = calloc(1, sizeof(*item));
    if (!item || !(item->name = strdup(name)))
        return -ENOMEM;

    int r = make_room(memory);
    if (r < 0)
        return r;
    while (memory->n_items > 0 && memory->n_items >= most_series(memory))
        forget_oldest(memory);
    const size_t place = series_memory_place_of(memory, name);
    struct remembered **at = &memory->items[place];
    memmove(at + 1, at, (memory->n_items - place) * sizeof(struct remembered *));
    TAILQ_INSERT_TAIL(&memory->by_use, item, by_use);
    memory->n_items++;
    *ret_item = *at = TAKE(item);
    return 0;
}

struct remembered *series_memory_find(const struct series_memory *memory, const char *name)
{
    const size_t place = series_memory_place_of(memory, name);

    return place < memory->n_items && strcmp(memory->items[place]->name, name) == 0
               ? memory->items[place]
               : NULL;
}

/* For a row that has come now. The item is good until another one begins. */
int series_memory_use(struct series_memory *memory, const char *name, uint64_t now_us,
                      struct remembered **ret_item)
{
    struct remembered *item = series_memory_find(memory, name);
    int r = item ? 0 : begin(memory, name, &item);

    if (r < 0)
        return r;
    set_used(memory, item, ++memory->clock);
    item->seen_us = now_us;
    item->is_changed = true;
    *ret_item = item;
    return 0;
}

int series_memory_touch(struct series_memory *memory, const char *series, uint64_t now_us)
{
    struct remembered *item;

    (void)pthread_mutex_lock(&memory->lock);
    const int r = series_memory_use(memory, series, now_us, &item);
    if (r == 0) {
        item->is_watched = true;
        item->n_touched++;
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return r;
}

/* ---- rows ---- */

/* The clock may have been set back, and rows of one request come at once: one that does not say its
 * time is never late. */
static double now_for(const struct preparation_state *state)
{
    const double now = (double)clock_realtime_us() / 1e6, newest = preparation_state_time(state);

    return now > newest || isnan(newest) ? now : newest + 1e-6;
}

struct series_undo {
    struct series_memory *memory; /* shared, as is: */
    struct preparation *preparation;
    char *series;
    bool is_void;     /* others have brought rows, too */
    bool is_new;      /* there was no such series */
    bool was_watched; /* the same of the series, as its rows were */
    uint64_t was_used, was_seen_us, n_touched;
    uint64_t turn;                   /* of the series, after the rows that are to be undone */
    uint64_t n_scalers;              /* that movement is in terms of */
    struct preparation_state *state; /* before them; NULL: there was none */
    struct movement *movement;       /* the same */
};

void series_undo_free(struct series_undo *undo)
{
    if (!undo)
        return;
    series_memory_release(undo->memory);
    preparation_free(undo->preparation);
    preparation_state_free(undo->state);
    movement_free(undo->movement);
    free(undo->series);
    free(undo);
}

size_t series_undo_size(const struct series_undo *undo)
{
    if (!undo)
        return 0;
    return sizeof(*undo) + (undo->state ? preparation_state_size(undo->preparation) : 0) +
           (undo->movement ? movement_size(undo->movement->n_features) : 0);
}

static int copy_state(const struct preparation *preparation, const struct preparation_state *state,
                      struct preparation_state **ret_copy)
{
    AUTO_FREE char *bytes = malloc(preparation_state_size(preparation));
    if (!bytes)
        return -ENOMEM;
    int r = preparation_state_new(preparation, ret_copy);
    if (r < 0)
        return r;
    preparation_state_save(preparation, state, bytes);
    return preparation_state_load(preparation, *ret_copy, bytes,
                                  preparation_state_size(preparation));
}

static int begin_undo(struct series_memory *memory, const struct remembered *item,
                      struct series_undo **ret_undo)
{
    CLEANUP(series_undo_freep) struct series_undo *undo = calloc(1, sizeof(*undo));
    if (!undo)
        return -ENOMEM;

    undo->memory = series_memory_share(memory);
    undo->preparation = preparation_share(memory->preparation);
    undo->turn = item->turn - 1; /* this one is the first */
    undo->n_scalers = memory->n_scalers;
    undo->series = strdup(item->name);
    int r = undo->series ? 0 : -ENOMEM;
    if (r == 0 && item->state)
        r = copy_state(undo->preparation, item->state, &undo->state);
    if (r == 0 && item->movement)
        r = movement_copy(item->movement, &undo->movement);
    if (r == 0)
        *ret_undo = TAKE(undo);
    return r;
}

/* Under the lock, before rows: one turn of the series. undo NULL: nobody takes them back; *undo
 * NULL: they are its first. */
static int begin_turn(struct series_memory *memory, const char *series, uint64_t now_us,
                      struct series_undo **undo, struct remembered **ret_item)
{
    const struct remembered *known = series_memory_find(memory, series);
    const struct remembered before = known ? *known : (struct remembered){0};

    int r = series_memory_use(memory, series, now_us, ret_item);
    if (r < 0)
        return r;
    const uint64_t turn = (*ret_item)->turn++;
    if (!undo)
        return 0;
    if (!*undo) {
        r = begin_undo(memory, *ret_item, undo);
        if (r < 0)
            return r;
        assert(*undo);
        (*undo)->is_new = !known;
        (*undo)->was_watched = before.is_watched;
        (*undo)->was_used = before.used;
        (*undo)->was_seen_us = before.seen_us;
        (*undo)->n_touched = before.n_touched;
    }
    (*undo)->is_void |= (*undo)->turn != turn;
    (*undo)->turn = (*ret_item)->turn;
    return 0;
}

static void restore(struct series_memory *memory, struct remembered *item, struct series_undo *undo)
{
    const bool is_touched = item->n_touched != undo->n_touched;

    if (undo->is_new && !is_touched) {
        series_memory_forget(memory, series_memory_place_of(memory, item->name));
        return;
    }
    if (!is_touched) {
        item->is_watched = undo->was_watched;
        set_used(memory, item, undo->was_used);
        item->seen_us = undo->was_seen_us;
    }
    if (memory->preparation == undo->preparation) {
        preparation_state_free(item->state);
        item->state = TAKE(undo->state);
    }
    if (memory->n_scalers == undo->n_scalers || !undo->movement) {
        movement_free(item->movement);
        item->movement = TAKE(undo->movement);
    }
}

void series_undo_apply(struct series_undo *undo)
{
    struct series_memory *memory = undo->memory;

    (void)pthread_mutex_lock(&memory->lock);
    struct remembered *item = series_memory_find(memory, undo->series);
    if (item && !undo->is_void && item->turn == undo->turn)
        restore(memory, item, undo);
    (void)pthread_mutex_unlock(&memory->lock);
}

static int prepare(struct series_memory *memory, struct preparation *preparation,
                   const char *series, const double *times, const double *values, size_t n_rows,
                   float *ret_rows, bool *ret_late, struct series_undo **undo)
{
    const size_t n_values = schema_n_features(preparation->values);
    const size_t n_features = schema_n_features(preparation->features);
    struct remembered *item;

    series_memory_follow_preparation(memory, preparation);
    int r = begin_turn(memory, series, clock_realtime_us(), undo, &item);
    if (r == 0 && !item->state)
        r = preparation_state_new(preparation, &item->state);
    for (size_t i = 0; r == 0 && i < n_rows; i++)
        ret_late[i] = preparation_follow(preparation, item->state,
                                         isnan(times[i]) ? now_for(item->state) : times[i],
                                         values + i * n_values, ret_rows + i * n_features);
    return r;
}

int series_memory_prepare(struct series_memory *memory, struct preparation *preparation,
                          const char *series, const double *times, const double *values,
                          size_t n_rows, float *ret_rows, bool *ret_late, struct series_undo **undo)
{
    (void)pthread_mutex_lock(&memory->lock);
    int r = prepare(memory, preparation, series, times, values, n_rows, ret_rows, ret_late, undo);
    (void)pthread_mutex_unlock(&memory->lock);
    return r;
}

static int follow(struct series_memory *memory, const struct detector *detector,
                  struct workspace *workspace, const char *series, uint64_t now_us, bool is_missed,
                  const float *rows, size_t n_rows, const bool *is_late, const bool *is_wanted,
                  float *ret_holds, struct series_undo **undo)
{
    const size_t n_features = detector_n_features(detector);
    struct remembered *item;

    int r = series_memory_follow_scaler(memory, detector_ensemble(detector)->scaler);
    if (r == 0)
        r = begin_turn(memory, series, now_us, undo, &item);
    if (r == 0)
        item->is_watched |= is_missed;
    if (r == 0 && !item->movement)
        r = movement_new(n_features, &item->movement);
    for (size_t i = 0; r == 0 && i < n_rows; i++) {
        if (!is_late || !is_late[i])
            r = detector_follow(detector, workspace, rows + i * n_features, item->movement);
        if (r < 0 || !is_wanted[i])
            continue;
        memcpy(ret_holds, item->movement->hold, n_features * sizeof(*ret_holds));
        ret_holds += n_features;
    }
    return r;
}

int series_memory_follow(struct series_memory *memory, const struct detector *detector,
                         struct workspace *workspace, const char *series, uint64_t now_us,
                         bool is_missed, const float *rows, size_t n_rows, const bool *is_late,
                         const bool *is_wanted, float *ret_holds, struct series_undo **undo)
{
    (void)pthread_mutex_lock(&memory->lock);
    int r = follow(memory, detector, workspace, series, now_us, is_missed, rows, n_rows, is_late,
                   is_wanted, ret_holds, undo);
    (void)pthread_mutex_unlock(&memory->lock);
    return r;
}
