/* Series that fall silent, and those that are silent for so long that they are forgotten. */
#include "service/series_memory_state.h"

#include <string.h>

static bool is_past(uint64_t now_us, uint64_t then_us, uint64_t most_us)
{
    return now_us > then_us && now_us - then_us > most_us;
}

static void forget_silent(struct series_memory *memory, uint64_t now_us)
{
    for (size_t i = memory->n_items; i-- > 0;)
        if (is_past(now_us, memory->items[i]->seen_us, SERIES_FORGOTTEN_US))
            series_memory_forget(memory, i);
}

size_t series_memory_watch(struct series_memory *memory, uint64_t now_us, uint64_t stale_after_us,
                           struct series_change *ret_changes, size_t most,
                           struct series_counts *ret_counts)
{
    size_t n = 0;

    *ret_counts = (struct series_counts){0};
    (void)pthread_mutex_lock(&memory->lock);
    forget_silent(memory, now_us);
    for (size_t i = 0; i < memory->n_items; i++) {
        struct remembered *item = memory->items[i];
        const bool is_silent = item->is_watched && stale_after_us > 0 &&
                               is_past(now_us, item->seen_us, stale_after_us);
        ret_counts->n_silent += is_silent;
        if (!is_silent && item->is_silent && item->seen_us == item->told_us) {
            item->is_silent = false; /* nobody asks any more: it has not come back */
            item->is_changed = true;
        }
        if (is_silent == item->is_silent || n == most)
            continue;
        item->is_silent = is_silent;
        item->told_us = item->seen_us;
        item->is_changed = true;
        ret_changes[n] = (struct series_change){.is_silent = is_silent, .seen_us = item->seen_us};
        *stpncpy(ret_changes[n++].series, item->name, SERIES_NAME_MAX) = '\0';
    }
    ret_counts->n_series = memory->n_items;
    (void)pthread_mutex_unlock(&memory->lock);
    return n;
}
