#include "base/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define MAX_THREADS 64

struct work {
    size_t n_jobs;
    int (*job)(void *userdata, size_t i);
    void *userdata;
    atomic_size_t next;
    pthread_mutex_t lock; /* guards what follows */
    size_t failed;        /* lowest job that failed */
    int error;            /* of that job; 0: none */
};

static void *run(void *userdata)
{
    struct work *work = userdata;

    for (size_t i = atomic_fetch_add(&work->next, 1); i < work->n_jobs;
         i = atomic_fetch_add(&work->next, 1)) {
        const int r = work->job(work->userdata, i);
        if (r >= 0)
            continue;
        pthread_mutex_lock(&work->lock);
        if (i < work->failed) {
            work->failed = i;
            work->error = r;
        }
        pthread_mutex_unlock(&work->lock);
    }
    return NULL;
}

int parallel_run(size_t n_jobs, size_t n_threads, int (*job)(void *userdata, size_t i),
                 void *userdata)
{
    struct work work = {
        .n_jobs = n_jobs,
        .job = job,
        .userdata = userdata,
        .failed = SIZE_MAX,
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    pthread_t threads[MAX_THREADS];
    size_t n_started = 0;

    while (n_started + 1 < n_threads && n_started + 1 < n_jobs && n_started < MAX_THREADS &&
           pthread_create(&threads[n_started], NULL, run, &work) == 0)
        n_started++;
    (void)run(&work);
    for (size_t i = 0; i < n_started; i++)
        (void)pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&work.lock);
    return work.error;
}
