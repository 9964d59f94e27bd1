/* server_worker - a thread that drives its own libmicrohttpd daemon, with all that wakes it: new
 * connections, answers that came later, streams, time limits.
 *
 * With external epoll (MHD_run): the library's internal epoll stalls when exactly k·128 sockets are
 * ready, and its pool leaves nearly all connections on one thread. */
#pragma once

#include "base/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_worker;
struct service;

/* What the main thread and all workers have in common. */
struct server_state {
    struct service *service;
    int wake_fd;               /* a worker has closed a connection while draining */
    atomic_size_t n_served;    /* connections handed to workers and still open */
    _Atomic uint64_t drain_us; /* when draining began; 0: not yet */
    atomic_bool must_stop;     /* workers end after the answer they are at */
};

/* Starts it; it borrows the state. -ENOMEM, -EMFILE … */
MUST_CHECK int server_worker_new(struct server_state *server, unsigned number,
                                 struct server_worker **ret_worker);
/* Waits for its end, once must_stop is set, and cuts its connections. */
void server_worker_free(struct server_worker *worker);
DEFINE_CLEANUP(struct server_worker *, server_worker_free)

/* Hands it a connection, which the caller has counted in n_served. As handoff_put(). */
MUST_CHECK int server_worker_put(struct server_worker *worker, int fd);
/* Makes it look at the state. */
void server_worker_wake(struct server_worker *worker);
/* Sockets that it is closing. */
size_t server_worker_lingering(const struct server_worker *worker);

/* Adds a descriptor to an epoll: readable is what counts. 0 or -errno. */
MUST_CHECK int server_watch(int epoll_fd, int fd);
