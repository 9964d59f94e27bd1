/* hold_queue - the newest rows of a series, which wait for what becomes of them: values and a flag
 * each, oldest first, in a ring that grows with them. Not thread-safe. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiting_row {
    uint64_t row; /* its number */
    bool is_flagged;
};

/* All 0 but n_features, the width of a row: empty, without memory of its own. */
struct hold_queue {
    size_t n_features, n_rows;
    size_t n_slots, first_slot;
    struct waiting_row *rows; /* [n_slots] */
    float *values;            /* [n_slots][n_features] */
};

void hold_queue_clear(struct hold_queue *queue);

/* Room for one more. -ENOMEM: as before. */
MUST_CHECK int hold_queue_reserve(struct hold_queue *queue);
/* There is room; values[n_features] are copied. */
void hold_queue_push(struct hold_queue *queue, struct waiting_row row, const float *values);

/* There is one; its values are valid until the next push. */
struct waiting_row hold_queue_pop(struct hold_queue *queue, const float **ret_values);

/* Gives memory back of what was once a long queue and is a short one now. */
void hold_queue_shrink(struct hold_queue *queue);
