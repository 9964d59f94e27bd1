/* connections - what one worker has open: time limits, and ends that let the last answer arrive.
 *
 * Knows sockets and exchanges, not the library that reads and writes them. One thread, but for
 * connections_lingering(). */
#pragma once

#include "base/cleanup.h"
#include "http/exchange.h"
#include "http/reply.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct linger_set;

struct connection {
    LIST_ENTRY(connection) link;
    struct connections *owner;
    int fd;                /* closed by the library */
    bool must_linger;      /* an answer was given before all input was read */
    bool has_long_timeout; /* server_request.c: the library's is longer than for writing */
    void *aside; /* server_request.c: the library's connection while the answer is not there */
    struct exchange exchange;
    struct reply reply; /* may be there before the request is complete; status 0: not yet */
};

LIST_HEAD(connection_list, connection);

struct connections {
    struct exchange_context context;
    struct connection_list list;
    struct linger_set *linger;
    uint64_t next_sweep_us;
    size_t n_aside;    /* whose answer comes later */
    size_t n_requests; /* that began in this turn of the worker's loop */
    atomic_size_t n_lingering;
};

/* From {0}; also after a failure connections_clear() must be called. -ENOMEM, -EMFILE. */
MUST_CHECK int connections_init(struct connections *connections, struct service *service,
                                unsigned worker);
void connections_clear(struct connections *connections);

/* NULL: no memory; the socket has got a 503 and is being closed. */
struct connection *connections_add(struct connections *connections, int fd);

/* Call it right before the library closes the socket: a copy of the descriptor keeps the
 * connection up until the last answer has been read. */
void connections_end(struct connection *connection);

/* The library has already closed the socket. */
void connections_forget(struct connection *connection);

/* Answers in the middle of a request, when the library takes no answer but has not written one
 * either. The connection must end with it. */
void connections_refuse(struct connection *connection, unsigned status, const char *detail);

/* Call connections_run() when the descriptor is readable, or after the time-out (-1: none). It ends
 * what takes too long: a request gets a 408 and enters PHASE_REFUSED; idle connections and, in the
 * end, refused ones are shut down, and the library sees an end of input. drain_us: when draining
 * began, or 0. */
int connections_fd(const struct connections *connections);
int connections_timeout_ms(const struct connections *connections);
void connections_run(struct connections *connections, uint64_t drain_us);

/* Sockets that are being closed. Any thread. */
size_t connections_lingering(const struct connections *connections);
