/* maintenance_log - windows in which a person wants no alarms, or nothing learned. Thread-safe.
 * Each change is one transaction, durable when it returns 0; other negative errno than said here as
 * from database_write(), -ENOMEM. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAINTENANCE_LOG_MOST 100 /* windows of a model */

struct database;

struct maintenance_window {
    int64_t id;                 /* over all models, never given twice */
    uint64_t from_us, until_us; /* since 1970 */
    bool skips_alarms, skips_learning;
    char who[64];
};

/* Windows that were over at now_us go. -E2BIG: there are MAINTENANCE_LOG_MOST. */
MUST_CHECK int maintenance_log_add(struct database *database, int64_t model,
                                   const struct maintenance_window *window, uint64_t now_us,
                                   int64_t *ret_id);
/* id 0: all of them. -ENOENT: there is none. */
MUST_CHECK int maintenance_log_remove(struct database *database, int64_t model, int64_t id);
/* By their beginning. free() them. */
MUST_CHECK int maintenance_log_list(struct database *database, int64_t model,
                                    struct maintenance_window **ret_windows, size_t *ret_n);
