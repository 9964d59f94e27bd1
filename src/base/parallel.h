/* parallel - independent jobs on several threads. */
#pragma once

#include <stddef.h>

/* Calls job(userdata, i) for each i below n_jobs, on up to n_threads threads, the caller's among
 * them; returns when all are done: 0, or the error of the lowest job that failed (the others run
 * nevertheless). Jobs must not depend on each other nor on who runs them. If a thread cannot be
 * made, fewer work. */
int parallel_run(size_t n_jobs, size_t n_threads, int (*job)(void *userdata, size_t i),
                 void *userdata);
