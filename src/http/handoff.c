#include "http/handoff.h"

#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct handed {
    STAILQ_ENTRY(handed) link;
    int fd;
};

STAILQ_HEAD(handed_list, handed);

struct handoff {
    pthread_mutex_t lock; /* held for the moves of a list */
    struct handed_list list;
    int event_fd;
};

int handoff_new(struct handoff **ret_handoff)
{
    CLEANUP(handoff_freep) struct handoff *handoff = calloc(1, sizeof(*handoff));
    if (!handoff)
        return -ENOMEM;
    (void)pthread_mutex_init(&handoff->lock, NULL); /* cannot fail with default attributes */
    STAILQ_INIT(&handoff->list);
    handoff->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (handoff->event_fd < 0)
        return -errno;
    *ret_handoff = TAKE(handoff);
    return 0;
}

void handoff_free(struct handoff *handoff)
{
    if (!handoff)
        return;
    int fd;
    while (handoff_take(handoff, &fd))
        (void)close(fd);
    close_fd(&handoff->event_fd);
    (void)pthread_mutex_destroy(&handoff->lock);
    free(handoff);
}

void handoff_wake(struct handoff *handoff)
{
    (void)eventfd_write(handoff->event_fd, 1);
}

int handoff_put(struct handoff *handoff, int fd)
{
    struct handed *handed = calloc(1, sizeof(*handed));
    if (!handed)
        return -ENOMEM;
    handed->fd = fd;
    pthread_mutex_lock(&handoff->lock);
    STAILQ_INSERT_TAIL(&handoff->list, handed, link);
    pthread_mutex_unlock(&handoff->lock);
    handoff_wake(handoff);
    return 0;
}

int handoff_fd(const struct handoff *handoff)
{
    return handoff->event_fd;
}

void handoff_acknowledge(struct handoff *handoff)
{
    eventfd_t n;
    (void)eventfd_read(handoff->event_fd, &n);
}

bool handoff_take(struct handoff *handoff, int *ret_fd)
{
    pthread_mutex_lock(&handoff->lock);
    AUTO_FREE struct handed *handed = STAILQ_FIRST(&handoff->list);
    if (handed)
        STAILQ_REMOVE_HEAD(&handoff->list, link);
    pthread_mutex_unlock(&handoff->lock);
    if (!handed)
        return false;
    *ret_fd = handed->fd;
    return true;
}
