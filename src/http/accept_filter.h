/* accept_filter - takes connections in and holds them until their first request head is there.
 *
 * Like FreeBSD's accf_http(9). A waiting connection costs 64 bytes and no worker, so a thousand
 * clients that send nothing, or a byte a second, hold up nobody; and what is no HTTP, too large or
 * too slow gets its problem+json here (400, 408, 413, 431), before libmicrohttpd, whose own errors
 * are HTML pages, sees it. 503 when there are too many connections. The head stays in the socket:
 * it is only looked at (MSG_PEEK). All functions: main thread. */
#pragma once

#include "base/cleanup.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct accept_filter;

struct service;

/* Connections that deliver() has taken and that are still open are counted in *n_served, together
 * with those that wait up to max_connections. */
MUST_CHECK int accept_filter_new(struct service *service, const atomic_size_t *n_served,
                                 void (*deliver)(void *userdata, int fd), void *userdata,
                                 struct accept_filter **ret_filter);
void accept_filter_free(struct accept_filter *filter);
DEFINE_CLEANUP(struct accept_filter *, accept_filter_free)

/* The listener stays the caller's. */
MUST_CHECK int accept_filter_listen(struct accept_filter *filter, int listener);

/* Takes what the kernel has accepted so far, then never looks at a listener again. Connections
 * without a complete head have drain_us from now, at most. */
void accept_filter_drain(struct accept_filter *filter, uint64_t drain_us);

/* Call accept_filter_run() when the descriptor is readable, or after the time-out (-1: none). */
int accept_filter_fd(const struct accept_filter *filter);
int accept_filter_timeout_ms(const struct accept_filter *filter);
void accept_filter_run(struct accept_filter *filter);

/* Connections that wait here, and those that are being closed. */
size_t accept_filter_count(const struct accept_filter *filter);
