#include "http/accept_filter.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "http/linger.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/request_id.h"
#include "http/routes.h"
#include "service/config.h"
#include "service/service.h"
#include "service/stats.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_CALL    64     /* so that a flood of connections cannot starve the signals */
#define NO_DESCRIPTORS_US 100000 /* pause after EMFILE: the listener would stay readable */

struct waiting {
    TAILQ_ENTRY(waiting) link; /* in order of arrival */
    uint64_t since_us;
    int fd;
};

TAILQ_HEAD(waiting_list, waiting);

struct accept_filter {
    struct service *service;
    const atomic_size_t *n_served;
    void (*deliver)(void *userdata, int fd);
    void *userdata;
    unsigned max_connections;
    unsigned counter; /* the main thread's slot in the statistics, behind the workers' */
    int epoll_fd;
    struct linger_set *linger;
    struct request_ids ids;
    int listeners[CONFIG_MAX_LISTEN];
    size_t n_listeners;
    struct waiting_list waiting;
    size_t n_waiting;
    uint64_t drain_deadline_us; /* 0: not draining */
    uint64_t paused_until_us;   /* 0: accepting */
    bool is_short;              /* of descriptors or memory, since the last warning */
};

/* What an event belongs to, where it is not a struct waiting. */
static char a_listener, the_linger;

static int watch(struct accept_filter *filter, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    return epoll_ctl(filter->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int accept_filter_new(struct service *service, const atomic_size_t *n_served,
                      void (*deliver)(void *userdata, int fd), void *userdata,
                      struct accept_filter **ret_filter)
{
    CLEANUP(accept_filter_freep) struct accept_filter *filter = calloc(1, sizeof(*filter));
    if (!filter)
        return -ENOMEM;
    filter->service = service;
    filter->n_served = n_served;
    filter->deliver = deliver;
    filter->userdata = userdata;
    filter->max_connections = service_config(service)->max_connections;
    filter->counter = service_config(service)->threads;
    TAILQ_INIT(&filter->waiting);
    request_ids_init(&filter->ids);
    filter->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (filter->epoll_fd < 0)
        return -errno;
    int r = linger_new(&filter->linger);
    if (r == 0)
        r = watch(filter, linger_fd(filter->linger), EPOLLIN, &the_linger);
    if (r < 0)
        return r;
    *ret_filter = TAKE(filter);
    return 0;
}

/* Forgets a connection; its socket is the caller's then. */
static int release(struct accept_filter *filter, struct waiting *waiting)
{
    int fd = waiting->fd;
    TAILQ_REMOVE(&filter->waiting, waiting, link);
    filter->n_waiting--;
    free(waiting);
    return fd;
}

void accept_filter_free(struct accept_filter *filter)
{
    if (!filter)
        return;
    while (!TAILQ_EMPTY(&filter->waiting))
        (void)close(release(filter, TAILQ_FIRST(&filter->waiting)));
    linger_free(filter->linger);
    close_fd(&filter->epoll_fd);
    free(filter);
}

int accept_filter_listen(struct accept_filter *filter, int listener)
{
    if (filter->n_listeners == CONFIG_MAX_LISTEN)
        return -E2BIG;
    int r = watch(filter, listener, EPOLLIN, &a_listener);
    if (r < 0)
        return r;
    filter->listeners[filter->n_listeners++] = listener;
    return 0;
}

static bool asks_for_head(int fd)
{
    char word[5];

    return recv(fd, word, sizeof(word), MSG_PEEK | MSG_DONTWAIT) == sizeof(word) &&
           memcmp(word, "HEAD ", sizeof(word)) == 0;
}

static void refuse(struct accept_filter *filter, int fd, uint64_t since_us, unsigned status,
                   const char *detail)
{
    char id[REQUEST_ID_SIZE];

    request_ids_next(&filter->ids, id);
    reply_send_raw(fd, status, id, detail, asks_for_head(fd));
    stats_count_request(service_stats(filter->service), filter->counter, routes_find("", "").index,
                        status, clock_monotonic_us() - since_us);
    linger_add(filter->linger, fd);
}

static void unwatch(struct accept_filter *filter, int fd)
{
    (void)epoll_ctl(filter->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Looks at what has come and decides, if it can. */
static void look(struct accept_filter *filter, struct waiting *waiting)
{
    char bytes[REQUEST_HEAD_MAX];
    struct head_refusal refusal;

    ssize_t n = recv(waiting->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int r = n > 0 ? request_head_check(bytes, (size_t)n, &refusal) : -ECONNRESET;
    if (r == 0)
        return;

    unwatch(filter, waiting->fd);
    uint64_t since_us = waiting->since_us;
    int fd = release(filter, waiting);
    if (r > 0)
        filter->deliver(filter->userdata, fd);
    else if (r == -EBADMSG)
        refuse(filter, fd, since_us, refusal.status, refusal.detail);
    else
        (void)close(fd); /* the client has gone without a word */
}

/* The client has closed its side and can complete nothing any more. */
static void end_of_input(struct accept_filter *filter, struct waiting *waiting)
{
    uint64_t since_us = waiting->since_us;

    unwatch(filter, waiting->fd);
    refuse(filter, release(filter, waiting), since_us, 400,
           "The connection ended within the request head; send a complete request");
}

static void take_in(struct accept_filter *filter, int fd)
{
    size_t n_open = filter->n_waiting + atomic_load(filter->n_served);
    uint64_t now = clock_monotonic_us();
    if (n_open >= filter->max_connections) {
        refuse(filter, fd, now, 503, "Too many connections; try again, or raise max_connections");
        return;
    }

    struct waiting *waiting = calloc(1, sizeof(*waiting));
    if (!waiting || watch(filter, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, waiting) < 0) {
        free(waiting);
        refuse(filter, fd, now, 503, "The service is out of memory; try again");
        return;
    }
    waiting->fd = fd;
    waiting->since_us = now;
    TAILQ_INSERT_TAIL(&filter->waiting, waiting, link);
    filter->n_waiting++;
}

/* Stops looking at the listeners for a moment: accept() would fail again and again. */
static void pause_listening(struct accept_filter *filter, int error)
{
    if (!filter->is_short)
        log_warning("cannot accept connections: %s; trying again", strerrordesc_np(error));
    filter->is_short = true;
    for (size_t i = 0; i < filter->n_listeners; i++)
        unwatch(filter, filter->listeners[i]);
    filter->paused_until_us = clock_monotonic_us() + NO_DESCRIPTORS_US;
}

static void resume_listening(struct accept_filter *filter)
{
    filter->paused_until_us = 0;
    for (size_t i = 0; i < filter->n_listeners; i++)
        if (watch(filter, filter->listeners[i], EPOLLIN, &a_listener) < 0)
            filter->paused_until_us = clock_monotonic_us() + NO_DESCRIPTORS_US;
}

/* At most `most` connections of one listener. */
static void accept_from(struct accept_filter *filter, int listener, size_t most)
{
    for (size_t i = 0; i < most; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take_in(filter, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_listening(filter, errno);
            return;
        } else if (errno == EAGAIN) {
            if (filter->is_short)
                log_info("accepts connections again");
            filter->is_short = false;
            return;
        } /* else this one was gone before we came (accept(2)) */
    }
}

void accept_filter_drain(struct accept_filter *filter, uint64_t drain_us)
{
    for (size_t i = 0; i < filter->n_listeners; i++) {
        accept_from(filter, filter->listeners[i], SOMAXCONN);
        unwatch(filter, filter->listeners[i]);
    }
    filter->n_listeners = 0;
    filter->paused_until_us = 0;
    filter->drain_deadline_us = clock_monotonic_us() + drain_us;
}

/* When the first connection has waited long enough. All wait equally long, so the first is next. */
static uint64_t next_deadline(const struct accept_filter *filter)
{
    const struct waiting *first = TAILQ_FIRST(&filter->waiting);
    uint64_t deadline = UINT64_MAX;

    if (first)
        deadline = first->since_us + service_request_timeout_us(filter->service);
    if (first && filter->drain_deadline_us > 0 && filter->drain_deadline_us < deadline)
        deadline = filter->drain_deadline_us;
    if (filter->paused_until_us > 0 && filter->paused_until_us < deadline)
        deadline = filter->paused_until_us;
    return deadline;
}

int accept_filter_timeout_ms(const struct accept_filter *filter)
{
    int linger_ms = linger_timeout_ms(filter->linger);
    uint64_t deadline = next_deadline(filter), now = clock_monotonic_us();
    if (deadline == UINT64_MAX)
        return linger_ms;

    int own_ms = deadline > now ? (int)((deadline - now) / US_PER_MS + 1) : 0;
    return linger_ms >= 0 && linger_ms < own_ms ? linger_ms : own_ms;
}

static bool has_sent_something(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void expire(struct accept_filter *filter)
{
    uint64_t now = clock_monotonic_us();

    if (filter->paused_until_us > 0 && filter->paused_until_us <= now)
        resume_listening(filter);
    while (!TAILQ_EMPTY(&filter->waiting) && next_deadline(filter) <= now) {
        struct waiting *waiting = TAILQ_FIRST(&filter->waiting);
        bool is_silent = filter->drain_deadline_us > 0 && !has_sent_something(waiting->fd);
        unwatch(filter, waiting->fd);
        uint64_t since_us = waiting->since_us;
        int fd = release(filter, waiting);
        if (is_silent)
            (void)close(fd);
        else
            refuse(filter, fd, since_us, 408,
                   "The request head did not arrive in time; send it faster");
    }
}

static void handle_connection(struct accept_filter *filter, struct waiting *waiting,
                              uint32_t events)
{
    size_t n_before = filter->n_waiting;

    look(filter, waiting);
    if (filter->n_waiting == n_before && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        end_of_input(filter, waiting);
}

void accept_filter_run(struct accept_filter *filter)
{
    struct epoll_event events[64];
    bool can_accept = false;

    int n = epoll_wait(filter->epoll_fd, events, 64, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &a_listener)
            can_accept = true;
        else if (events[i].data.ptr != &the_linger)
            handle_connection(filter, events[i].data.ptr, events[i].events);
    }
    for (size_t i = 0; can_accept && i < filter->n_listeners; i++)
        accept_from(filter, filter->listeners[i], ACCEPTS_A_CALL);
    linger_run(filter->linger);
    expire(filter);
}

int accept_filter_fd(const struct accept_filter *filter)
{
    return filter->epoll_fd;
}

size_t accept_filter_count(const struct accept_filter *filter)
{
    return filter->n_waiting + linger_count(filter->linger);
}
