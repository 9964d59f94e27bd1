/* confine - what a process gives up that only computes: priority, memory and time without end, and
 * whatever reaches out of it.
 *
 * Afterwards it is at nice 19, the first that the OOM killer takes, leaves no core file, and dies
 * with its parent. A seccomp filter refuses (EPERM) sockets, programs, forks, opening for writing,
 * every change of names, owners, modes and times, signals to and memory of other processes, ioctl,
 * mounts and the kernel's own services; calls that are newer than this list do not exist (ENOSYS).
 * Descriptors that are open, reading, memory and threads stay. There is no way back. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct confinement {
    int64_t parent;     /* process id of the parent */
    size_t max_memory;  /* bytes of address space; 0: no limit. Nothing in a build with an address
                         * or thread sanitizer, whose shadow takes terabytes */
    uint64_t max_cpu_s; /* seconds of CPU time, then SIGXCPU; 0: no limit */
};

/* Call while there is one thread. -ENOSYS: all is done but the filter, which this kernel or
 * processor lacks; -ESRCH: the parent is gone; other negative errno. reterr says what failed. */
MUST_CHECK int confine_process(const struct confinement *confinement, struct error *reterr);
