#include "http/handler.h"

#include "detector/detector.h"
#include "http/later.h"

#include <errno.h>
#include <stdlib.h>

#define KEPT_BYTES ((size_t)1 << 20)

int handler_new(struct service *service, unsigned worker, struct handler **ret_handler)
{
    CLEANUP(handler_freep) struct handler *handler = calloc(1, sizeof(*handler));
    if (!handler)
        return -ENOMEM;
    handler->service = service;
    handler->worker = worker;
    handler->streams.event_fd = -1;
    handler->rows = &handler->own_rows;
    int r = detector_workspace_new(&handler->workspace);
    if (r == 0)
        r = later_queue_new(&handler->later);
    if (r == 0)
        r = streams_init(&handler->streams);
    if (r < 0)
        return r;
    *ret_handler = TAKE(handler);
    return 0;
}

void handler_free(struct handler *handler)
{
    if (!handler)
        return;
    if (handler->workspace)
        detector_workspace_free(handler->workspace);
    later_queue_free(handler->later);
    streams_clear(&handler->streams);
    json_rows_clear(&handler->own_rows);
    free(handler->verdicts);
    free(handler->is_late);
    free(handler->is_explained);
    free(handler->holds);
    explained_clear(&handler->explained);
    free(handler);
}

/* *items [*capacity] of item_size holds at least n. */
static int reserve(void **items, size_t *capacity, size_t n, size_t item_size)
{
    if (n <= *capacity)
        return 0;
    void *grown = reallocarray(*items, n, item_size);
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *capacity = n;
    return 0;
}

#define RESERVE(items, capacity, n) reserve((void **)&(items), &(capacity), n, sizeof(*(items)))

int handler_reserve(struct handler *handler, size_t n_rows)
{
    int r = RESERVE(handler->verdicts, handler->verdicts_capacity, n_rows);
    if (r == 0)
        r = RESERVE(handler->is_explained, handler->explained_capacity, n_rows);
    return r;
}

int handler_reserve_late(struct handler *handler, size_t n_rows)
{
    return RESERVE(handler->is_late, handler->late_capacity, n_rows);
}

int handler_reserve_holds(struct handler *handler, size_t n_rows, size_t n_features)
{
    return RESERVE(handler->holds, handler->holds_capacity, n_rows * n_features);
}

/* What is larger than KEPT_BYTES goes. */
static void trim(void **items, size_t *capacity, size_t item_size)
{
    if (*capacity <= KEPT_BYTES / item_size)
        return;
    free(*items);
    *items = NULL;
    *capacity = 0;
}

#define TRIM(items, capacity) trim((void **)&(items), &(capacity), sizeof(*(items)))

void handler_trim(struct handler *handler)
{
    if (handler->own_rows.capacity > KEPT_BYTES / sizeof(*handler->own_rows.rows))
        json_rows_clear(&handler->own_rows);
    TRIM(handler->verdicts, handler->verdicts_capacity);
    TRIM(handler->is_explained, handler->explained_capacity);
    TRIM(handler->holds, handler->holds_capacity);
}
