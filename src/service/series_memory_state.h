/* series_memory_state - what series_memory.c and series_memory_saved.c have in common: the table of
 * series. All of it is under its lock. */
#pragma once

#include "service/series_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct movement;
struct preparation_state;
struct scaler;

struct remembered {
    TAILQ_ENTRY(remembered) by_use;
    char *name;
    struct preparation_state *state; /* NULL: none of its rows was prepared */
    struct movement *movement;       /* NULL: none was followed */
    uint64_t used;                   /* when last, by memory->clock */
    uint64_t seen_us;                /* the same, since 1970 */
    uint64_t turn;                   /* one more with each call that has brought rows */
    uint64_t n_touched;              /* the same with series_memory_touch() */
    bool is_watched;                 /* it is missed when it falls silent */
    bool is_silent;                  /* as was told, */
    uint64_t told_us;                /* of a silence since then */
    bool is_changed;                 /* since it was saved */
};

TAILQ_HEAD(remembered_list, remembered);

struct series_memory {
    pthread_mutex_t lock;
    struct remembered **items;     /* [n_items] sorted by name */
    struct remembered_list by_use; /* the same; what was not used for longest comes first */
    size_t n_items, capacity, max_series;
    uint64_t clock;                  /* one more with each use */
    struct preparation *preparation; /* that states are of; NULL before the first row */
    struct scaler *scaler;           /* that movements are in terms of; NULL before the first row */
    uint64_t n_scalers;              /* how many there have been */
    atomic_uint n_users;
};

/* Where a series is, or would be. */
size_t series_memory_place_of(const struct series_memory *memory, const char *name);
/* The one that is there. */
void series_memory_forget(struct series_memory *memory, size_t place);
struct remembered *series_memory_find(const struct series_memory *memory, const char *name);
/* For a row that has come at now_us. The item is good until another one begins. 0 or -ENOMEM. */
MUST_CHECK int series_memory_use(struct series_memory *memory, const char *name, uint64_t now_us,
                                 struct remembered **ret_item);
/* Movements are in terms of this scaler from now on, states those of this preparation. */
MUST_CHECK int series_memory_follow_scaler(struct series_memory *memory,
                                           const struct scaler *scaler);
void series_memory_follow_preparation(struct series_memory *memory,
                                      struct preparation *preparation);
