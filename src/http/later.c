#include "http/later.h"

#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

STAILQ_HEAD(later_list, later);

struct later_queue {
    pthread_mutex_t lock; /* held for the moves of a list */
    struct later_list done;
    int event_fd;
};

int later_queue_new(struct later_queue **ret_queue)
{
    CLEANUP(later_queue_freep) struct later_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return -ENOMEM;
    (void)pthread_mutex_init(&queue->lock, NULL); /* cannot fail with default attributes */
    STAILQ_INIT(&queue->done);
    queue->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->event_fd < 0)
        return -errno;
    *ret_queue = TAKE(queue);
    return 0;
}

void later_queue_free(struct later_queue *queue)
{
    struct later *later;

    if (!queue)
        return;
    while ((later = later_take(queue)))
        later_free(later);
    close_fd(&queue->event_fd);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
}

int later_queue_fd(const struct later_queue *queue)
{
    return queue->event_fd;
}

void later_queue_acknowledge(struct later_queue *queue)
{
    eventfd_t n;

    (void)eventfd_read(queue->event_fd, &n);
}

struct later *later_take(struct later_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    struct later *later = STAILQ_FIRST(&queue->done);
    if (later)
        STAILQ_REMOVE_HEAD(&queue->done, link);
    (void)pthread_mutex_unlock(&queue->lock);
    return later;
}

struct later *later_new(struct later_queue *queue,
                        void (*finish)(struct handler *handler, const struct later *later,
                                       struct reply *reply),
                        const char *model)
{
    struct later *later = calloc(1, sizeof(*later));
    if (!later)
        return NULL;

    later->queue = queue;
    later->finish = finish;
    (void)snprintf(later->model, sizeof(later->model), "%s", model);
    return later;
}

void later_free(struct later *later)
{
    if (later && later->work)
        later->free_work(later->work);
    free(later);
}

void later_done(void *userdata, int r, const struct error *error)
{
    struct later *later = userdata;
    struct later_queue *queue = later->queue;

    later->r = r;
    if (r < 0)
        later->error = *error;
    (void)pthread_mutex_lock(&queue->lock);
    STAILQ_INSERT_TAIL(&queue->done, later, link);
    /* Under the lock: once the worker has it, it may be the last, and the queue be freed. */
    (void)eventfd_write(queue->event_fd, 1);
    (void)pthread_mutex_unlock(&queue->lock);
}
