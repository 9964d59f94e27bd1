/* later - answers that cannot be made at once, and their way back to the worker.
 *
 * A handler must not keep its worker waiting for another thread. It gives that thread a `struct
 * later` and leaves it in its reply; the worker puts the connection aside. later_done(), from any
 * thread, wakes the worker, which lets finish() make the answer. What was lent to the handler (its
 * rows, the request, the model) is gone by then: a later holds what finish() needs. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "service/live.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct handler;
struct later_queue;
struct reply;

struct later {
    STAILQ_ENTRY(later) link;
    struct later_queue *queue;
    /* Fills the reply; on the worker's thread. */
    void (*finish)(struct handler *handler, const struct later *later, struct reply *reply);
    char model[LIVE_NAME_MAX + 1];
    size_t n_rows, n_late;
    int r;              /* what later_done() was told */
    struct error error; /* and why, if r is below 0 */
    void *waiting;      /* the worker's: who gets the answer */
    void *work;         /* what finish() needs beyond that; NULL: nothing */
    void (*free_work)(void *work);
};

/* Those of one worker. When it is freed none may be under way. */
MUST_CHECK int later_queue_new(struct later_queue **ret_queue);
void later_queue_free(struct later_queue *queue);
DEFINE_CLEANUP(struct later_queue *, later_queue_free)

/* The worker: call later_take() until it gives NULL when the descriptor is readable. */
int later_queue_fd(const struct later_queue *queue);
void later_queue_acknowledge(struct later_queue *queue); /* before the first take */
struct later *later_take(struct later_queue *queue);

/* NULL: no memory. */
struct later *later_new(struct later_queue *queue,
                        void (*finish)(struct handler *handler, const struct later *later,
                                       struct reply *reply),
                        const char *model);
void later_free(struct later *later);
DEFINE_CLEANUP(struct later *, later_free)

/* Once for each that is given away. userdata is the later, which belongs to the worker from here
 * on. Any thread; never waits. Has the form that learner_observe() wants. */
void later_done(void *userdata, int r, const struct error *error);
