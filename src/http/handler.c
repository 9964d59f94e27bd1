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
    int r = detector_workspace_new(&handler->workspace);
    if (r == 0)
        r = later_queue_new(&handler->later);
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
    json_rows_clear(&handler->rows);
    free(handler->verdicts);
    free(handler->contributions);
    free(handler);
}

int handler_reserve(struct handler *handler, size_t n_rows, size_t n_features)
{
    if (n_rows > handler->verdicts_capacity) {
        void *verdicts = reallocarray(handler->verdicts, n_rows, sizeof(*handler->verdicts));
        if (!verdicts)
            return -ENOMEM;
        handler->verdicts = verdicts;
        handler->verdicts_capacity = n_rows;
    }
    if (n_features > handler->contributions_capacity) {
        void *contributions =
            reallocarray(handler->contributions, n_features, sizeof(*handler->contributions));
        if (!contributions)
            return -ENOMEM;
        handler->contributions = contributions;
        handler->contributions_capacity = n_features;
    }
    return 0;
}

void handler_trim(struct handler *handler)
{
    if (handler->rows.capacity > KEPT_BYTES / sizeof(*handler->rows.rows))
        json_rows_clear(&handler->rows);
    if (handler->verdicts_capacity > KEPT_BYTES / sizeof(*handler->verdicts)) {
        free(handler->verdicts);
        handler->verdicts = NULL;
        handler->verdicts_capacity = 0;
    }
}
