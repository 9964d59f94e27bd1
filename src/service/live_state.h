/* live_state - what live*.c have in common. */
#pragma once

#include "service/live.h"

#include <pthread.h>

struct model_table {
    struct live_model **models; /* [n_models] sorted by name, a reference to each */
    size_t n_models, capacity;
};

struct live {
    pthread_mutex_t change; /* who changes the table; taken before lock */
    pthread_mutex_t lock;   /* of table and of every live_model.references */
    struct model_table table;
    struct stats *stats;
    struct residents *residents;
};

/* Whoever holds `change` may look without the lock. */
struct live_model *live_find(const struct model_table *table, const char *name, size_t length);

/* Whether it is what the source, read anew, would make: its file is read for that. Under `change`.
 */
bool live_model_is_same(struct live *live, const struct live_model *model,
                        const struct live_source *source);
/* From the source, with one reference, under `change`. A model that cannot be loaded is
 * LIVE_FAILED: never an error here but for -ENOMEM. */
MUST_CHECK int live_model_new(struct live *live, const struct live_source *source,
                              struct live_model **ret_model);
void live_model_free(struct live *live, struct live_model *model);
