#include "http/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "http/accept_filter.h"
#include "http/deadline.h"
#include "http/listeners.h"
#include "http/server_worker.h"
#include "service/config.h"
#include "service/service.h"
#include "service/systemd.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

struct http_server {
    struct server_state state;
    struct accept_filter *filter;
    struct listeners listeners;
    int epoll_fd;                   /* the filter's and state.wake_fd */
    struct server_worker **workers; /* [n_workers] */
    unsigned n_workers, next_worker;
};

/* Called by the filter: a connection goes to the next worker. */
static void deliver(void *userdata, int fd)
{
    struct http_server *server = userdata;
    struct server_worker *worker = server->workers[server->next_worker];

    server->next_worker = (server->next_worker + 1) % server->n_workers;
    atomic_fetch_add(&server->state.n_served, 1);
    if (server_worker_put(worker, fd) < 0) {
        (void)close(fd);
        atomic_fetch_sub(&server->state.n_served, 1);
    }
}

static int open_listeners(struct http_server *server, struct error *reterr)
{
    const struct config *config = service_config(server->state.service);
    int first_fd;
    size_t n_activated = systemd_listen_fds(&first_fd);
    int r = n_activated > 0
                ? listeners_take(first_fd, n_activated, &server->listeners, reterr)
                : listeners_open(config->listen, config->n_listen, &server->listeners, reterr);

    for (size_t i = 0; r == 0 && i < server->listeners.n; i++) {
        r = accept_filter_listen(server->filter, server->listeners.fds[i]);
        if (r < 0)
            (void)error_set(reterr, r, "cannot listen: %s", strerrordesc_np(-r));
    }
    return r;
}

/* A connection is a descriptor, and one more while it lingers: take what the system allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Signals are for the main thread: the workers inherit a full mask. */
static int start_workers(struct http_server *server)
{
    sigset_t all, before;
    int r = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; r == 0 && i < server->n_workers; i++)
        r = server_worker_new(&server->state, i, &server->workers[i]);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int prepare(struct http_server *server, const struct config *config)
{
    server->workers = calloc(config->threads, sizeof(struct server_worker *));
    if (!server->workers)
        return -ENOMEM;
    server->n_workers = config->threads;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->state.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->state.wake_fd < 0)
        return -errno;
    int r = accept_filter_new(server->state.service, &server->state.n_served, deliver, server,
                              &server->filter);
    if (r == 0)
        r = server_watch(server->epoll_fd, accept_filter_fd(server->filter));
    if (r == 0)
        r = server_watch(server->epoll_fd, server->state.wake_fd);
    return r;
}

int http_server_new(struct service *service, struct http_server **ret_server, struct error *reterr)
{
    CLEANUP(http_server_freep) struct http_server *server = calloc(1, sizeof(*server));
    if (!server)
        return error_set(reterr, -ENOMEM, "cannot start the HTTP server: out of memory");
    server->state.service = service;
    server->epoll_fd = server->state.wake_fd = -1;

    raise_descriptor_limit();
    int r = prepare(server, service_config(service));
    if (r == 0)
        r = start_workers(server);
    if (r < 0)
        return error_set(reterr, r, "cannot start the HTTP server: %s", strerrordesc_np(-r));
    r = open_listeners(server, reterr);
    if (r < 0)
        return r;
    *ret_server = TAKE(server);
    return 0;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    atomic_store(&server->state.must_stop, true);
    for (unsigned i = 0; i < server->n_workers; i++)
        server_worker_free(server->workers[i]);
    free(server->workers);
    accept_filter_free(server->filter);
    listeners_close(&server->listeners);
    close_fd(&server->state.wake_fd);
    close_fd(&server->epoll_fd);
    free(server);
}

void http_server_describe(const struct http_server *server, struct text *text)
{
    listeners_describe(&server->listeners, text);
}

int http_server_fd(const struct http_server *server)
{
    return server->epoll_fd;
}

int http_server_timeout_ms(const struct http_server *server)
{
    return accept_filter_timeout_ms(server->filter);
}

void http_server_accept(struct http_server *server)
{
    eventfd_t n;

    (void)eventfd_read(server->state.wake_fd, &n);
    accept_filter_run(server->filter);
}

void http_server_drain(struct http_server *server)
{
    accept_filter_drain(server->filter, DEADLINE_DRAIN_IDLE_US);
    listeners_close(&server->listeners);
    atomic_store(&server->state.drain_us, clock_monotonic_us());
    for (unsigned i = 0; i < server->n_workers; i++)
        server_worker_wake(server->workers[i]);
}

bool http_server_is_idle(const struct http_server *server)
{
    if (accept_filter_count(server->filter) > 0 || atomic_load(&server->state.n_served) > 0)
        return false;
    for (unsigned i = 0; i < server->n_workers; i++)
        if (server_worker_lingering(server->workers[i]) > 0)
            return false;
    return true;
}
