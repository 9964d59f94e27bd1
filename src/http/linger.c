#include "http/linger.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_US  US_PER_S
#define LINGER_MAX 1024 /* descriptors */

/* In order of arrival, which is the order of their deadlines. */
struct lingering {
    TAILQ_ENTRY(lingering) link;
    int fd;
    uint64_t deadline_us;
};

TAILQ_HEAD(lingering_list, lingering);

struct linger_set {
    int epoll_fd;
    struct lingering_list all;
    size_t count;
};

int linger_new(struct linger_set **ret_linger)
{
    CLEANUP(linger_freep) struct linger_set *linger = calloc(1, sizeof(*linger));
    if (!linger)
        return -ENOMEM;
    TAILQ_INIT(&linger->all);
    linger->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (linger->epoll_fd < 0)
        return -errno;
    *ret_linger = TAKE(linger);
    return 0;
}

static void finish(struct linger_set *linger, struct lingering *lingering)
{
    TAILQ_REMOVE(&linger->all, lingering, link);
    linger->count--;
    close_fd(&lingering->fd);
    free(lingering);
}

void linger_free(struct linger_set *linger)
{
    if (!linger)
        return;
    while (!TAILQ_EMPTY(&linger->all))
        finish(linger, TAILQ_FIRST(&linger->all));
    close_fd(&linger->epoll_fd);
    free(linger);
}

void linger_add(struct linger_set *linger, int fd)
{
    struct lingering *lingering = linger->count < LINGER_MAX ? calloc(1, sizeof(*lingering)) : NULL;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = lingering};
    if (!lingering || epoll_ctl(linger->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        (void)close(fd);
        free(lingering);
        return;
    }
    (void)shutdown(fd, SHUT_WR);
    lingering->fd = fd;
    lingering->deadline_us = clock_monotonic_us() + LINGER_US;
    TAILQ_INSERT_TAIL(&linger->all, lingering, link);
    linger->count++;
}

int linger_fd(const struct linger_set *linger)
{
    return linger->epoll_fd;
}

size_t linger_count(const struct linger_set *linger)
{
    return linger->count;
}

int linger_timeout_ms(const struct linger_set *linger)
{
    const struct lingering *first = TAILQ_FIRST(&linger->all);
    if (!first)
        return -1;
    uint64_t now = clock_monotonic_us();
    return first->deadline_us <= now ? 0 : (int)((first->deadline_us - now) / US_PER_MS + 1);
}

/* False: the client has closed its side, or the connection is broken. At most 1 MiB a call, so
 * that one fast sender does not hold up the thread. */
static bool discard_input(int fd)
{
    char nowhere[16384];

    for (int round = 0; round < 64; round++) {
        ssize_t n = recv(fd, nowhere, sizeof(nowhere), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
    }
    return true;
}

void linger_run(struct linger_set *linger)
{
    struct epoll_event events[32];

    int n = epoll_wait(linger->epoll_fd, events, 32, 0);
    for (int i = 0; i < n; i++) {
        struct lingering *lingering = events[i].data.ptr;
        if (!discard_input(lingering->fd))
            finish(linger, lingering);
    }

    uint64_t now = clock_monotonic_us();
    while (!TAILQ_EMPTY(&linger->all) && TAILQ_FIRST(&linger->all)->deadline_us <= now)
        finish(linger, TAILQ_FIRST(&linger->all));
}
