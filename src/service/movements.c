#include "service/movements.h"

#include "detector/detector.h"
#include "detector/movement.h"
#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct series_movement {
    char *name;
    struct movement *movement;
    uint64_t used; /* when last, by movements->clock */
};

struct movements {
    pthread_mutex_t lock;
    struct series_movement *items; /* [n_items] sorted by name */
    size_t n_items, capacity;
    uint64_t clock;        /* one more with each call */
    struct scaler *scaler; /* that all are in terms of; NULL before the first row */
    atomic_uint n_users;
};

int movements_new(struct movements **ret_movements)
{
    struct movements *movements = calloc(1, sizeof(*movements));
    if (!movements)
        return -ENOMEM;
    (void)pthread_mutex_init(&movements->lock, NULL); /* cannot fail with default attributes */
    atomic_store(&movements->n_users, 1);
    *ret_movements = movements;
    return 0;
}

struct movements *movements_share(struct movements *movements)
{
    (void)atomic_fetch_add(&movements->n_users, 1);
    return movements;
}

static void item_clear(struct series_movement *item)
{
    free(item->name);
    movement_free(item->movement);
}

void movements_release(struct movements *movements)
{
    if (!movements || atomic_fetch_sub(&movements->n_users, 1) != 1)
        return;
    for (size_t i = 0; i < movements->n_items; i++)
        item_clear(&movements->items[i]);
    free(movements->items);
    scaler_free(movements->scaler);
    (void)pthread_mutex_destroy(&movements->lock);
    free(movements);
}

/* All series at once: at most some 80 ms (MOVEMENTS_MAX_BYTES), when a version takes over and for
 * each turn that requests in flight of the one before take with it. */
static int follow_scaler(struct movements *movements, const struct scaler *scaler)
{
    const size_t n = scaler_n_features(scaler);
    struct scaler *was = movements->scaler, *is = NULL;
    assert(!was || scaler_n_features(was) == n);

    if (was && memcmp(scaler_mean(was), scaler_mean(scaler), n * sizeof(float)) == 0 &&
        memcmp(scaler_std(was), scaler_std(scaler), n * sizeof(float)) == 0)
        return 0;
    int r = scaler_new(scaler_mean(scaler), scaler_std(scaler), scaler_median(scaler), n, &is);
    if (r < 0)
        return r;
    for (size_t i = 0; i < movements->n_items; i++)
        movement_rescale(movements->items[i].movement, was, is);
    movements->scaler = is;
    scaler_free(was);
    return 0;
}

/* Where a series is, or would be. */
static size_t place_of(const struct movements *movements, const char *name)
{
    size_t low = 0, high = movements->n_items;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(movements->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void forget_oldest(struct movements *movements)
{
    size_t oldest = 0;

    for (size_t i = 1; i < movements->n_items; i++)
        if (movements->items[i].used < movements->items[oldest].used)
            oldest = i;
    struct series_movement *item = &movements->items[oldest];
    item_clear(item);
    movements->n_items--;
    memmove(item, item + 1, (movements->n_items - oldest) * sizeof(*item));
}

size_t movements_most_series(size_t n_features)
{
    const size_t n = MOVEMENTS_MAX_BYTES / ((MOVEMENT_WINDOWS + 1) * n_features * sizeof(float));

    return n < MOVEMENTS_MAX_SERIES ? n : MOVEMENTS_MAX_SERIES;
}

static int make_room(struct movements *movements)
{
    if (movements->n_items < movements->capacity)
        return 0;
    const size_t capacity = movements->capacity ? 2 * movements->capacity : 1;
    void *items = reallocarray(movements->items, capacity, sizeof(*movements->items));
    if (!items)
        return -ENOMEM;
    movements->items = items;
    movements->capacity = capacity;
    return 0;
}

static int find_or_begin(struct movements *movements, const char *name, size_t n_features,
                         struct movement **ret_movement)
{
    size_t place = place_of(movements, name);
    struct series_movement item = {.used = ++movements->clock};

    if (place < movements->n_items && strcmp(movements->items[place].name, name) == 0) {
        movements->items[place].used = item.used;
        *ret_movement = movements->items[place].movement;
        return 0;
    }
    item.name = strdup(name);
    int r = item.name ? movement_new(n_features, &item.movement) : -ENOMEM;
    if (r == 0)
        r = make_room(movements);
    if (r < 0) {
        item_clear(&item);
        return r;
    }
    if (movements->n_items == movements_most_series(n_features)) {
        forget_oldest(movements);
        place = place_of(movements, name);
    }
    memmove(movements->items + place + 1, movements->items + place,
            (movements->n_items - place) * sizeof(item));
    movements->items[place] = item;
    movements->n_items++;
    *ret_movement = item.movement;
    return 0;
}

static int follow(struct movements *movements, const struct detector *detector,
                  struct workspace *workspace, const char *series, const float *rows, size_t n_rows,
                  const bool *is_wanted, float *ret_holds)
{
    const size_t n_features = detector_n_features(detector);
    struct movement *movement = NULL;

    int r = follow_scaler(movements, detector_ensemble(detector)->scaler);
    if (r == 0)
        r = find_or_begin(movements, series, n_features, &movement);
    for (size_t i = 0; r == 0 && i < n_rows; i++) {
        r = detector_follow(detector, workspace, rows + i * n_features, movement);
        if (r < 0 || !is_wanted[i])
            continue;
        memcpy(ret_holds, movement->hold, n_features * sizeof(*ret_holds));
        ret_holds += n_features;
    }
    return r;
}

int movements_follow(struct movements *movements, const struct detector *detector,
                     struct workspace *workspace, const char *series, const float *rows,
                     size_t n_rows, const bool *is_wanted, float *ret_holds)
{
    (void)pthread_mutex_lock(&movements->lock);
    int r = follow(movements, detector, workspace, series, rows, n_rows, is_wanted, ret_holds);
    (void)pthread_mutex_unlock(&movements->lock);
    return r;
}
