#include "http/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/number.h"
#include "http/accept_filter.h"
#include "http/connections.h"
#include "http/deadline.h"
#include "http/exchange.h"
#include "http/handler.h"
#include "http/handoff.h"
#include "http/later.h"
#include "http/listeners.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/stream.h"
#include "service/config.h"
#include "service/service.h"
#include "service/systemd.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTION_MEMORY ((size_t)16384)
#define WRITE_STALL_S     60u /* a client that takes nothing of its answer for so long is closed */
#define STREAM_BLOCK      ((size_t)4096) /* bytes of a stream at a time */
#define READ_MARGIN_S     5u             /* the library's time-out is to come after ours */

struct worker {
    struct http_server *server;
    pthread_t thread;
    bool is_running;
    struct MHD_Daemon *daemon;
    struct handoff *handoff;
    struct connections connections;
    struct connection *incoming; /* on its way into the daemon */
    size_t n_aside;              /* connections whose answer comes later */
    int epoll_fd;                /* the daemon's epoll, the handoff, the answers, the connections */
};

struct http_server {
    struct service *service;
    struct accept_filter *filter;
    struct listeners listeners;
    int epoll_fd;           /* the filter's and wake_fd */
    int wake_fd;            /* a worker has closed a connection while draining */
    struct worker *workers; /* [n_workers] */
    unsigned n_workers, next_worker;
    atomic_size_t n_served;    /* connections handed to workers and still open */
    _Atomic uint64_t drain_us; /* when draining began; 0: not yet */
    atomic_bool must_stop;
};

/* ---- one request ---- */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

static const char *header(struct MHD_Connection *mhd, const char *name)
{
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

/* The library has one time-out for reading and writing; with ours (http/deadline.h) it may only end
 * what hangs while writing. WRITE_STALL_S is what a connection starts with, and nearly always right
 * for both: others go to a list that the library walks in each round. */
static void give_time_to_read(struct connection *connection, struct MHD_Connection *mhd)
{
    uint64_t timeout_us = service_request_timeout_us(connection->owner->context.service);
    unsigned timeout_s = (unsigned)(timeout_us / US_PER_S) + READ_MARGIN_S;

    connection->has_long_timeout = timeout_s > WRITE_STALL_S;
    if (connection->has_long_timeout)
        (void)MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, timeout_s);
}

static void give_time_to_write(struct connection *connection, struct MHD_Connection *mhd)
{
    if (connection->has_long_timeout)
        (void)MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, WRITE_STALL_S);
    connection->has_long_timeout = false;
}

/* libmicrohttpd calls it with the first line, before anything else of a request. */
static void *begin_request(void *userdata, const char *uri, struct MHD_Connection *mhd)
{
    (void)userdata;
    struct connection *connection = connection_of(mhd);

    exchange_begin(&connection->exchange, uri);
    give_time_to_read(connection, mhd);
    return connection;
}

static void end_request(void *userdata, struct MHD_Connection *mhd, void **request_context,
                        enum MHD_RequestTerminationCode code)
{
    (void)userdata;
    (void)mhd;
    (void)code;
    struct connection *connection = *request_context;

    text_clear(&connection->early.body);
    stream_free(connection->early.stream);
    connection->early = (struct reply){0};
    exchange_idle(&connection->exchange);
}

static enum MHD_Result keep_parameter(void *userdata, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    (void)kind;
    struct request *request = userdata;

    if (*name == '\0' && !value)
        return MHD_YES; /* nothing between two & */
    if (request->n_parameters < REQUEST_MAX_PARAMETERS)
        request->parameters[request->n_parameters] =
            (struct request_parameter){.name = name, .value = value ? value : ""};
    request->n_parameters++;
    return MHD_YES;
}

/* libmicrohttpd wants bytes of a stream. */
static ssize_t read_stream(void *userdata, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    struct stream *stream = userdata;
    const ssize_t n = stream_read(stream, buffer, size, clock_monotonic_us());

    if (n < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    stream->is_aside = n == 0;
    if (n == 0)
        MHD_suspend_connection(stream->connection);
    return n;
}

static void free_stream(void *userdata)
{
    stream_free(userdata);
}

static struct MHD_Response *make_stream(struct stream *stream)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, stream, free_stream);

    if (!response)
        stream_free(stream);
    return response;
}

/* NULL: no memory. The reply's body is the response's then. */
static struct MHD_Response *make_response(struct reply *reply)
{
    static char no_memory[] = REPLY_NO_MEMORY_BODY;

    if (reply->stream)
        return make_stream(TAKE(reply->stream));
    if (reply->has_file) { /* goes from the disk to the socket, piece by piece */
        struct MHD_Response *file = MHD_create_response_from_fd64(reply->file_size, reply->file_fd);
        if (!file)
            close_fd(&reply->file_fd);
        return file;
    }
    if (text_failed(&reply->body))
        return MHD_create_response_from_buffer(sizeof(no_memory) - 1, no_memory,
                                               MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->body.length, reply->body.data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        text_clear(&reply->body);
    reply->body = (struct text){0};
    return response;
}

/* Hands the reply to libmicrohttpd. MHD_NO closes the connection: there is no memory for an
 * answer. */
static enum MHD_Result send_reply(struct connection *connection, struct MHD_Connection *mhd,
                                  struct reply *reply)
{
    const struct exchange_context *context = &connection->owner->context;
    if (text_failed(&reply->body))
        reply_no_memory(reply);
    const bool is_stream = reply->stream;
    if (is_stream)
        reply->stream->connection = mhd;
    struct MHD_Response *response = make_response(reply);
    if (!response)
        return MHD_NO;

    bool ok = MHD_add_response_header(response, "Content-Type", reply->content_type) &&
              MHD_add_response_header(response, "X-Request-Id", connection->exchange.id);
    if (reply->allow[0] != '\0')
        ok = ok && MHD_add_response_header(response, "Allow", reply->allow);
    if (reply->location[0] != '\0')
        ok = ok && MHD_add_response_header(response, "Location", reply->location);
    if (reply->has_file) {
        char disposition[REPLY_FILE_NAME_SIZE + 32];
        (void)snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"",
                       reply->file_name);
        ok = ok && MHD_add_response_header(response, "Content-Disposition", disposition);
    }
    if (reply->retry_after_s > 0) {
        char retry_after[NUMBER_MAX];
        (void)snprintf(retry_after, sizeof(retry_after), "%u", reply->retry_after_s);
        ok = ok && MHD_add_response_header(response, "Retry-After", retry_after);
    }
    if (is_stream)
        ok = ok && MHD_add_response_header(response, "Cache-Control", "no-store");
    if (connection->must_linger || is_stream || service_is_draining(context->service))
        ok = ok && MHD_add_response_header(response, "Connection", "close");

    give_time_to_write(connection, mhd);
    exchange_end(&connection->exchange, context, reply->status);
    enum MHD_Result result = ok ? MHD_queue_response(mhd, reply->status, response) : MHD_NO;
    MHD_destroy_response(response);
    return result;
}

/* A head on its way through the fields that libmicrohttpd has read. */
struct head_check {
    struct request_head head;
    struct head_refusal refusal;
    int result; /* 0, or -EBADMSG: there is a refusal */
};

static enum MHD_Result check_field(void *userdata, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct head_check *check = userdata;

    if (!value)
        value = "";
    check->result = request_head_check_field(&check->head, name, strlen(name), value, strlen(value),
                                             &check->refusal);
    return check->result < 0 ? MHD_NO : MHD_YES;
}

/* The library takes more than we do: it serves what follows a body of unclear length. Every head
 * of a connection goes through here; the first one has been checked already. */
static const struct head_refusal *check_head(struct MHD_Connection *mhd, const char *version,
                                             size_t n_parameters, struct head_check *check)
{
    *check = (struct head_check){
        .head = {.n_fields = n_parameters, .is_http_1_1 = strcmp(version, "HTTP/1.1") == 0}
    };

    (void)MHD_get_connection_values(mhd, MHD_HEADER_KIND, check_field, check);
    if (check->result == 0)
        check->result = request_head_check_end(&check->head, &check->refusal);
    return check->result < 0 ? &check->refusal : NULL;
}

static enum MHD_Result receive_head(struct connection *connection, struct MHD_Connection *mhd,
                                    const char *path, const char *method, const char *version)
{
    struct request *request = &connection->exchange.request;
    struct head_check check;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *length = header(mhd, "Content-Length");
    struct exchange_head head = {
        .path = path,
        .method = method,
        .request_id = header(mhd, "X-Request-Id"),
        .content_type = header(mhd, "Content-Type"),
        .content_encoding = header(mhd, "Content-Encoding"),
        .size = info ? info->header_size : 0,
    };
    struct reply reply = {0};

    if (length && number_parse_u64(length, strlen(length), &head.content_length) < 0)
        head.content_length = UINT64_MAX;
    request->fd = connection->fd;
    request->last_event_id = header(mhd, "Last-Event-ID");
    (void)MHD_get_connection_values(mhd, MHD_GET_ARGUMENT_KIND, keep_parameter, request);
    head.refusal = check_head(mhd, version, request->n_parameters, &check);
    if (exchange_take_head(&connection->exchange, &connection->owner->context, &head, &reply))
        return MHD_YES;

    /* An answer before the end of the request closes the connection, so without a body it waits
     * for the end, which is the next call. */
    connection->must_linger =
        head.refusal || head.content_length > 0 || header(mhd, "Transfer-Encoding");
    if (connection->must_linger)
        return send_reply(connection, mhd, &reply);
    connection->early = reply;
    return MHD_YES;
}

/* The library looks at the connection no more, until take_answers(). */
static void put_aside(struct worker *worker, struct connection *connection,
                      struct MHD_Connection *mhd, struct later *later)
{
    later->waiting = connection;
    connection->aside = mhd;
    worker->n_aside++;
    MHD_suspend_connection(mhd);
}

/* libmicrohttpd calls it with the head, with each piece of the body, at the end, and once more when
 * an answer that came later is there. */
static enum MHD_Result receive(void *userdata, struct MHD_Connection *mhd, const char *path,
                               const char *method, const char *version, const char *bytes,
                               size_t *n_bytes, void **request_context)
{
    struct worker *worker = userdata;
    struct connection *connection = *request_context;
    struct exchange *exchange = &connection->exchange;

    if (exchange->deadline.phase == PHASE_REFUSED) {
        bool is_body = exchange->has_head && *n_bytes > 0;
        *n_bytes = 0;
        return is_body ? MHD_YES : MHD_NO;
    }
    if (!exchange->has_head)
        return receive_head(connection, mhd, path, method, version);
    if (*n_bytes > 0) {
        if (!exchange_take_body(exchange, &worker->connections.context, bytes, *n_bytes)) {
            connections_refuse(
                connection, 413,
                "The body is larger than max_body; send fewer rows at a time, or raise it");
            return MHD_NO;
        }
        *n_bytes = 0;
        return MHD_YES;
    }
    struct reply reply = connection->early;
    connection->early = (struct reply){0};
    if (reply.status == 0)
        exchange_answer(exchange, &worker->connections.context, &reply);
    if (reply.later) {
        put_aside(worker, connection, mhd, reply.later);
        return MHD_YES;
    }
    return send_reply(connection, mhd, &reply);
}

/* ---- one worker ---- */

/* The main thread counts what is open, and waits for the end of it while draining. */
static void note_closed(struct http_server *server)
{
    atomic_fetch_sub(&server->n_served, 1);
    if (atomic_load(&server->drain_us) > 0)
        (void)eventfd_write(server->wake_fd, 1);
}

static void notice_connection(void *userdata, struct MHD_Connection *mhd, void **socket_context,
                              enum MHD_ConnectionNotificationCode code)
{
    (void)mhd;
    struct worker *worker = userdata;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = TAKE(worker->incoming);
    } else {
        connections_end(*socket_context);
        note_closed(worker->server);
    }
}

static void add_connection(struct worker *worker, int fd)
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

static void take_connections(struct worker *worker)
{
    int fd;

    handoff_acknowledge(worker->handoff);
    while (handoff_take(worker->handoff, &fd))
        add_connection(worker, fd);
}

static void take_answers(struct worker *worker)
{
    struct handler *handler = worker->connections.context.handler;
    struct later *later;

    later_queue_acknowledge(handler->later);
    while ((later = later_take(handler->later))) {
        struct connection *connection = later->waiting;
        later->finish(handler, later, &connection->early);
        later_free(later);
        worker->n_aside--;
        MHD_resume_connection(TAKE(connection->aside));
    }
}

/* Those that have something to say. */
static void resume_streams(struct worker *worker, bool is_ending)
{
    struct streams *streams = &worker->connections.context.handler->streams;
    const uint64_t now_us = clock_monotonic_us();
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

static int timeout_ms(const struct worker *worker)
{
    MHD_UNSIGNED_LONG_LONG mhd_ms;
    int ms = connections_timeout_ms(&worker->connections);

    if (MHD_get_timeout(worker->daemon, &mhd_ms) == MHD_YES && (ms < 0 || mhd_ms < (unsigned)ms))
        ms = mhd_ms < INT_MAX ? (int)mhd_ms : INT_MAX;
    return ms;
}

static void *run_worker(void *userdata)
{
    struct worker *worker = userdata;
    struct http_server *server = worker->server;
    struct handler *handler = worker->connections.context.handler;
    struct epoll_event events[5];

    (void)pthread_setname_np(pthread_self(), "http");
    while (!atomic_load(&server->must_stop)) {
        int n = epoll_wait(worker->epoll_fd, events, 5, timeout_ms(worker));
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

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int start_daemon(struct worker *worker)
{
    /* TURBO: reads a new connection at once, since its head is known to be there. */
    worker->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME, 0,
        NULL, NULL, receive, worker, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, UINT_MAX, MHD_OPTION_CONNECTION_TIMEOUT, WRITE_STALL_S,
        MHD_OPTION_NOTIFY_CONNECTION, notice_connection, worker, MHD_OPTION_NOTIFY_COMPLETED,
        end_request, worker, MHD_OPTION_URI_LOG_CALLBACK, begin_request, worker, MHD_OPTION_END);
    if (!worker->daemon)
        return -ENOMEM;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(worker->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info ? watch(worker->epoll_fd, info->epoll_fd) : -ENOTSUP;
}

/* What fails half-way is released by free_worker(). */
static int start_worker(struct worker *worker, unsigned number)
{
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0)
        return -errno;

    int r = connections_init(&worker->connections, worker->server->service, number);
    if (r == 0)
        r = watch(worker->epoll_fd, connections_fd(&worker->connections));
    if (r == 0)
        r = handoff_new(&worker->handoff);
    if (r == 0)
        r = watch(worker->epoll_fd, handoff_fd(worker->handoff));
    if (r == 0)
        r = watch(worker->epoll_fd, later_queue_fd(worker->connections.context.handler->later));
    if (r == 0)
        r = watch(worker->epoll_fd, worker->connections.context.handler->streams.event_fd);
    if (r == 0)
        r = start_daemon(worker);
    if (r == 0)
        r = -pthread_create(&worker->thread, NULL, run_worker, worker);
    worker->is_running = r == 0;
    return r;
}

static void wait_for_answers(struct worker *worker)
{
    struct pollfd fd = {.fd = later_queue_fd(worker->connections.context.handler->later),
                        .events = POLLIN};

    (void)poll(&fd, 1, -1);
    take_answers(worker);
}

static void free_worker(struct worker *worker)
{
    if (worker->is_running) {
        handoff_wake(worker->handoff);
        (void)pthread_join(worker->thread, NULL);
    }
    while (worker->n_aside > 0) /* the library does not end with them, and others write to them */
        wait_for_answers(worker);
    if (worker->is_running)
        resume_streams(worker, true); /* nor with these */
    if (worker->daemon)
        MHD_stop_daemon(worker->daemon);
    handoff_free(worker->handoff);
    connections_clear(&worker->connections);
    close_fd(&worker->epoll_fd);
}

/* ---- the whole ---- */

/* Called by the filter: a connection goes to the next worker. */
static void deliver(void *userdata, int fd)
{
    struct http_server *server = userdata;
    struct worker *worker = &server->workers[server->next_worker];

    server->next_worker = (server->next_worker + 1) % server->n_workers;
    atomic_fetch_add(&server->n_served, 1);
    if (handoff_put(worker->handoff, fd) < 0) {
        (void)close(fd);
        atomic_fetch_sub(&server->n_served, 1);
    }
}

static int open_listeners(struct http_server *server, struct error *reterr)
{
    const struct config *config = service_config(server->service);
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
        r = start_worker(&server->workers[i], i);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int prepare(struct http_server *server, const struct config *config)
{
    server->workers = calloc(config->threads, sizeof(*server->workers));
    if (!server->workers)
        return -ENOMEM;
    server->n_workers = config->threads;
    for (unsigned i = 0; i < server->n_workers; i++) {
        server->workers[i].server = server;
        server->workers[i].epoll_fd = -1;
    }
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0)
        return -errno;
    int r = accept_filter_new(server->service, &server->n_served, deliver, server, &server->filter);
    if (r == 0)
        r = watch(server->epoll_fd, accept_filter_fd(server->filter));
    if (r == 0)
        r = watch(server->epoll_fd, server->wake_fd);
    return r;
}

int http_server_new(struct service *service, struct http_server **ret_server, struct error *reterr)
{
    CLEANUP(http_server_freep) struct http_server *server = calloc(1, sizeof(*server));
    if (!server)
        return error_set(reterr, -ENOMEM, "cannot start the HTTP server: out of memory");
    server->service = service;
    server->epoll_fd = server->wake_fd = -1;

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
    atomic_store(&server->must_stop, true);
    for (unsigned i = 0; i < server->n_workers; i++)
        free_worker(&server->workers[i]);
    free(server->workers);
    accept_filter_free(server->filter);
    listeners_close(&server->listeners);
    close_fd(&server->wake_fd);
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

    (void)eventfd_read(server->wake_fd, &n);
    accept_filter_run(server->filter);
}

void http_server_drain(struct http_server *server)
{
    accept_filter_drain(server->filter, DEADLINE_DRAIN_IDLE_US);
    listeners_close(&server->listeners);
    atomic_store(&server->drain_us, clock_monotonic_us());
    for (unsigned i = 0; i < server->n_workers; i++)
        handoff_wake(server->workers[i].handoff);
}

bool http_server_is_idle(const struct http_server *server)
{
    if (accept_filter_count(server->filter) > 0 || atomic_load(&server->n_served) > 0)
        return false;
    for (unsigned i = 0; i < server->n_workers; i++)
        if (connections_lingering(&server->workers[i].connections) > 0)
            return false;
    return true;
}
