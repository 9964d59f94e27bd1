/* server - the listeners and the workers.
 *
 * The main thread accepts; a new connection waits with it until its first request head is complete
 * (http/accept_filter.h), then goes to a worker, round robin. Each worker is a thread that drives
 * its own libmicrohttpd daemon (http/server_worker.h), whose requests come in through
 * http/server_request.h; the library is at home in these two. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>

struct config;
struct http_server;
struct service;
struct text;

/* Listens (on sockets of socket activation if there are any, else on config's addresses) and
 * starts the workers, which answer at once. -EADDRINUSE … with the address in reterr. */
MUST_CHECK int http_server_new(struct service *service, struct http_server **ret_server,
                               struct error *reterr);

/* Waits until each worker has made the answer it is at, then cuts the connections and frees all. */
void http_server_free(struct http_server *server);
DEFINE_CLEANUP(struct http_server *, http_server_free)

/* Appends the addresses that are listened on, as in the configuration: "127.0.0.1:8817, unix:…". */
void http_server_describe(const struct http_server *server, struct text *text);

/* For the loop of the main thread: wait until the descriptor is readable, or for the time-out
 * (-1: none), then call http_server_accept(). */
int http_server_fd(const struct http_server *server);
int http_server_timeout_ms(const struct http_server *server);
void http_server_accept(struct http_server *server);

/* Stop: listens no more, finishes requests in flight, answers the next request of an open
 * connection with `Connection: close`, closes idle ones after 5 s. Returns at once. */
void http_server_drain(struct http_server *server);

/* No connection is left. While draining, *_fd becomes readable when that may have changed. */
bool http_server_is_idle(const struct http_server *server);
