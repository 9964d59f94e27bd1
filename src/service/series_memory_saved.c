/* What is remembered of series, over a restart. */
#include "data/preparation.h"
#include "detector/detector.h"
#include "detector/movement.h"
#include "service/series_memory_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int save_item(const struct series_memory *memory, const struct remembered *item,
                     struct logged_series *saved)
{
    *saved = (struct logged_series){
        .seen_us = item->seen_us, .is_watched = item->is_watched, .is_silent = item->is_silent};
    *stpncpy(saved->series, item->name, SERIES_NAME_MAX) = '\0';
    if (item->state) {
        saved->n_state = preparation_state_size(memory->preparation);
        saved->state = malloc(saved->n_state);
        if (!saved->state)
            return -ENOMEM;
        preparation_state_save(memory->preparation, item->state, saved->state);
    }
    if (item->movement) {
        saved->n_movement = movement_size(item->movement->n_features);
        saved->movement = malloc(saved->n_movement);
        if (!saved->movement)
            return -ENOMEM;
        movement_save(item->movement, memory->scaler, saved->movement);
    }
    return 0;
}

int series_memory_save(struct series_memory *memory, bool all, const char *after, size_t most,
                       struct logged_series **ret_saved, size_t *ret_n)
{
    struct logged_series *saved = calloc(most, sizeof(*saved));
    size_t n = 0;
    int r = 0;
    if (!saved)
        return -ENOMEM;

    (void)pthread_mutex_lock(&memory->lock);
    size_t i = series_memory_place_of(memory, after);
    i += i < memory->n_items && *after && strcmp(memory->items[i]->name, after) == 0;
    for (; r == 0 && i < memory->n_items && n < most; i++) {
        struct remembered *item = memory->items[i];
        if (!all && !item->is_changed)
            continue;
        r = save_item(memory, item, &saved[n++]);
        item->is_changed = r < 0;
    }
    (void)pthread_mutex_unlock(&memory->lock);
    for (size_t k = 0; r < 0 && k < n; k++)
        logged_series_clear(&saved[k]);
    if (r < 0) {
        free(saved);
        return r;
    }
    *ret_saved = saved;
    *ret_n = n;
    return 0;
}

/* What does not fit begins anew. */
static int load_item(struct series_memory *memory, const struct detector *detector,
                     const struct logged_series *saved, struct remembered *item)
{
    int r = 0;

    item->seen_us = saved->seen_us;
    item->is_watched = saved->is_watched;
    item->is_silent = saved->is_silent;
    item->told_us = saved->is_silent ? saved->seen_us : 0;
    if (saved->state && memory->preparation) {
        r = preparation_state_new(memory->preparation, &item->state);
        if (r == 0 && preparation_state_load(memory->preparation, item->state, saved->state,
                                             saved->n_state) < 0)
            preparation_state_free(TAKE(item->state));
    }
    if (r == 0 && saved->movement && detector) {
        r = movement_new(detector_n_features(detector), &item->movement);
        if (r == 0 &&
            movement_load(item->movement, memory->scaler, saved->movement, saved->n_movement) < 0)
            movement_free(TAKE(item->movement));
    }
    return r;
}

int series_memory_load(struct series_memory *memory, struct preparation *preparation,
                       const struct detector *detector, const struct logged_series *saved)
{
    struct remembered *item = NULL;
    int r = 0;

    (void)pthread_mutex_lock(&memory->lock);
    if (preparation)
        series_memory_follow_preparation(memory, preparation);
    if (detector)
        r = series_memory_follow_scaler(memory, detector_ensemble(detector)->scaler);
    if (r == 0 && !series_memory_find(memory, saved->series))
        r = series_memory_use(memory, saved->series, saved->seen_us, &item);
    if (r == 0 && item) {
        item->is_changed = false;
        r = load_item(memory, detector, saved, item);
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return r;
}
