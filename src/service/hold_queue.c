#include "service/hold_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FEW_SLOTS  32 /* a quiet series has half as many rows waiting */
#define MANY_SLOTS 128

void hold_queue_clear(struct hold_queue *queue)
{
    free(queue->rows);
    free(queue->values);
    *queue = (struct hold_queue){.n_features = queue->n_features};
}

static size_t slot_of(const struct hold_queue *queue, size_t nth)
{
    const size_t slot = queue->first_slot + nth;

    return slot < queue->n_slots ? slot : slot - queue->n_slots;
}

static int resize(struct hold_queue *queue, size_t n_slots)
{
    const size_t n_features = queue->n_features;
    AUTO_FREE struct waiting_row *rows = calloc(n_slots, sizeof(*rows));
    AUTO_FREE float *values = calloc(n_slots * n_features, sizeof(*values));
    if (!rows || !values)
        return -ENOMEM;

    for (size_t i = 0; i < queue->n_rows; i++) {
        const size_t slot = slot_of(queue, i);
        rows[i] = queue->rows[slot];
        memcpy(values + i * n_features, queue->values + slot * n_features,
               n_features * sizeof(*values));
    }
    free(queue->rows);
    free(queue->values);
    queue->rows = TAKE(rows);
    queue->values = TAKE(values);
    queue->n_slots = n_slots;
    queue->first_slot = 0;
    return 0;
}

int hold_queue_reserve(struct hold_queue *queue)
{
    if (queue->n_rows < queue->n_slots)
        return 0;
    return resize(queue, queue->n_slots == 0 ? FEW_SLOTS : 2 * queue->n_slots);
}

void hold_queue_push(struct hold_queue *queue, struct waiting_row row, const float *values)
{
    assert(queue->n_rows < queue->n_slots);
    const size_t slot = slot_of(queue, queue->n_rows++);

    queue->rows[slot] = row;
    memcpy(queue->values + slot * queue->n_features, values, queue->n_features * sizeof(*values));
}

struct waiting_row hold_queue_pop(struct hold_queue *queue, const float **ret_values)
{
    assert(queue->n_rows > 0);
    const size_t slot = queue->first_slot;

    *ret_values = queue->values + slot * queue->n_features;
    queue->first_slot = slot_of(queue, 1);
    queue->n_rows--;
    return queue->rows[slot];
}

void hold_queue_shrink(struct hold_queue *queue)
{
    if (queue->n_slots >= MANY_SLOTS && queue->n_rows <= FEW_SLOTS / 2)
        (void)resize(queue, FEW_SLOTS); /* else it stays large */
}
