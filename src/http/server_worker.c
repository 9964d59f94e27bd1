#include "http/server_worker.h"

#include "base/clock.h"
#include "base/file.h"
#include "http/connections.h"
#include "http/handler.h"
#include "http/handoff.h"
#include "http/later.h"
#include "http/server_request.h"
#include "http/stream.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CONNECTION_MEMORY ((size_t)16384)
#define N_EVENTS          5
#define YIELD_LONG_US     1000              /* look_again(): others want the processor, */
#define YIELD_PAUSE_US    (100 * US_PER_MS) /* and need not be asked for so long */

struct server_worker {
    struct server_state *server;
    pthread_t thread;
    bool is_running;
    struct MHD_Daemon *daemon;
    struct handoff *handoff;
    struct connections connections;
    struct connection *incoming; /* on its way into the daemon */
    int epoll_fd;                /* the daemon's epoll, the handoff, the answers, the connections */
    uint64_t yields_from_us;     /* look_again() does */
};

/* The main thread counts what is open, and waits for the end of it while draining. */
static void note_closed(struct server_state *server)
{
    atomic_fetch_sub(&server->n_served, 1);
    if (atomic_load(&server->drain_us) > 0)
        (void)eventfd_write(server->wake_fd, 1);
}

static void notice_connection(void *userdata, struct MHD_Connection *mhd, void **socket_context,
                              enum MHD_ConnectionNotificationCode code)
{
    (void)mhd;
    struct server_worker *worker = userdata;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = TAKE(worker->incoming);
    } else {
        connections_end(*socket_context);
        note_closed(worker->server);
    }
}

static void add_connection(struct server_worker *worker, int fd)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC}; /* no rule asks for it */

    worker->incoming = connections_add(&worker->connections, fd);
    if (!worker->incoming) {
        note_closed(worker->server);
        return;
    }
    (void)MHD_add_connection(worker->daemon, fd, &nobody, sizeof(nobody));
    if (worker->incoming) { /* refused without a notice; the socket is closed */
        connections_forget(TAKE(worker->incoming));
        note_closed(worker->server);
    }
}

static void take_connections(struct server_worker *worker)
{
    int fd;

    handoff_acknowledge(worker->handoff);
    while (handoff_take(worker->handoff, &fd))
        add_connection(worker, fd);
}

static void take_answers(struct server_worker *worker)
{
    struct handler *handler = worker->connections.context.handler;
    struct later *later;

    later_queue_acknowledge(handler->later);
    while ((later = later_take(handler->later))) {
        struct connection *connection = later->waiting;
        later->finish(handler, later, &connection->reply);
        later_free(later);
        worker->connections.n_aside--;
        MHD_resume_connection(TAKE(connection->aside));
    }
}

/* Those that have something to say. */
static void resume_streams(struct server_worker *worker, bool is_ending)
{
    struct streams *streams = &worker->connections.context.handler->streams;
    const uint64_t now_us = worker->connections.context.now_us;
    struct stream *stream;

    if (LIST_EMPTY(&streams->list))
        return;
    if (is_ending)
        streams_end(streams);
    LIST_FOREACH(stream, &streams->list, link)
    {
        if (!stream->is_aside || !stream_is_due(stream, now_us))
            continue;
        stream->is_aside = false;
        MHD_resume_connection(stream->connection);
    }
}

static int timeout_ms(const struct server_worker *worker)
{
    MHD_UNSIGNED_LONG_LONG mhd_ms;
    int ms = connections_timeout_ms(&worker->connections);

    if (MHD_get_timeout(worker->daemon, &mhd_ms) == MHD_YES && (ms < 0 || mhd_ms < (unsigned)ms))
        ms = mhd_ms < INT_MAX ? (int)mhd_ms : INT_MAX;
    return ms;
}

/* To sleep and be woken costs as much CPU time as a request. Where requests come fast, who sends
 * them only waits for a processor: let it have this one, and look again. Not where that took long:
 * then others want the processor too, and requests would wait for them. */
static int look_again(struct server_worker *worker, struct epoll_event *events)
{
    const uint64_t began_us = clock_monotonic_us();

    if (began_us < worker->yields_from_us)
        return 0;
    (void)sched_yield();
    if (clock_monotonic_us() - began_us > YIELD_LONG_US)
        worker->yields_from_us = began_us + YIELD_PAUSE_US;
    return epoll_wait(worker->epoll_fd, events, N_EVENTS, 0);
}

static int wait_for_events(struct server_worker *worker, struct epoll_event *events)
{
    const bool was_idle = worker->connections.n_requests == 0;
    int n = 0;

    worker->connections.n_requests = 0;
    if (!was_idle)
        n = look_again(worker, events);
    return n > 0 ? n : epoll_wait(worker->epoll_fd, events, N_EVENTS, timeout_ms(worker));
}

static void *run_worker(void *userdata)
{
    struct server_worker *worker = userdata;
    struct server_state *server = worker->server;
    struct handler *handler = worker->connections.context.handler;
    struct epoll_event events[N_EVENTS];

    (void)pthread_setname_np(pthread_self(), "http");
    while (!atomic_load(&server->must_stop)) {
        const int n = wait_for_events(worker, events);
        worker->connections.context.now_us = clock_monotonic_us();
        for (int i = 0; i < n; i++)
            if (events[i].data.fd == handoff_fd(worker->handoff))
                take_connections(worker);
            else if (events[i].data.fd == later_queue_fd(handler->later))
                take_answers(worker);
            else if (events[i].data.fd == handler->streams.event_fd)
                streams_acknowledge(&handler->streams);
        resume_streams(worker, atomic_load(&server->drain_us) > 0);
        (void)MHD_run(worker->daemon);

        size_t n_before = connections_lingering(&worker->connections);
        connections_run(&worker->connections, atomic_load(&server->drain_us));
        if (connections_lingering(&worker->connections) != n_before &&
            atomic_load(&server->drain_us) > 0)
            (void)eventfd_write(server->wake_fd, 1);
    }
    return NULL;
}

int server_watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int start_daemon(struct server_worker *worker)
{
    /* TURBO: reads a new connection at once, since its head is known to be there. */
    worker->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME, 0,
        NULL, NULL, server_receive, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, UINT_MAX, MHD_OPTION_CONNECTION_TIMEOUT, WRITE_STALL_S,
        MHD_OPTION_NOTIFY_CONNECTION, notice_connection, worker, MHD_OPTION_NOTIFY_COMPLETED,
        server_end_request, NULL, MHD_OPTION_URI_LOG_CALLBACK, server_begin_request, NULL,
        MHD_OPTION_END);
    if (!worker->daemon)
        return -ENOMEM;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(worker->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info ? server_watch(worker->epoll_fd, info->epoll_fd) : -ENOTSUP;
}

/* The thread begins last: all that can fail comes before it. */
static int start(struct server_worker *worker, unsigned number)
{
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0)
        return -errno;

    int r = connections_init(&worker->connections, worker->server->service, number);
    if (r == 0)
        r = server_watch(worker->epoll_fd, connections_fd(&worker->connections));
    if (r == 0)
        r = handoff_new(&worker->handoff);
    if (r == 0)
        r = server_watch(worker->epoll_fd, handoff_fd(worker->handoff));
    if (r == 0)
        r = server_watch(worker->epoll_fd,
                         later_queue_fd(worker->connections.context.handler->later));
    if (r == 0)
        r = server_watch(worker->epoll_fd, worker->connections.context.handler->streams.event_fd);
    if (r == 0)
        r = start_daemon(worker);
    if (r == 0)
        r = -pthread_create(&worker->thread, NULL, run_worker, worker);
    worker->is_running = r == 0;
    return r;
}

static void wait_for_answers(struct server_worker *worker)
{
    struct pollfd fd = {.fd = later_queue_fd(worker->connections.context.handler->later),
                        .events = POLLIN};

    (void)poll(&fd, 1, -1);
    take_answers(worker);
}

int server_worker_new(struct server_state *server, unsigned number,
                      struct server_worker **ret_worker)
{
    CLEANUP(server_worker_freep) struct server_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return -ENOMEM;
    worker->server = server;
    worker->epoll_fd = -1;
    int r = start(worker, number);
    if (r < 0)
        return r;
    *ret_worker = TAKE(worker);
    return 0;
}

void server_worker_free(struct server_worker *worker)
{
    if (!worker)
        return;
    if (worker->is_running) {
        handoff_wake(worker->handoff);
        (void)pthread_join(worker->thread, NULL);
    }
    /* The library does not end with connections that are aside, and others write to them. */
    while (worker->connections.n_aside > 0)
        wait_for_answers(worker);
    if (worker->is_running)
        resume_streams(worker, true); /* nor with these */
    if (worker->daemon)
        MHD_stop_daemon(worker->daemon);
    handoff_free(worker->handoff);
    connections_clear(&worker->connections);
    close_fd(&worker->epoll_fd);
    free(worker);
}

int server_worker_put(struct server_worker *worker, int fd)
{
    return handoff_put(worker->handoff, fd);
}

void server_worker_wake(struct server_worker *worker)
{
    handoff_wake(worker->handoff);
}

size_t server_worker_lingering(const struct server_worker *worker)
{
    return connections_lingering(&worker->connections);
}
