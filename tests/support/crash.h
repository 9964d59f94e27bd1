/* crash - a child process that dies, as by kill -9, at the nth change it makes to a file: SQLite's
 * writes (half of the last one is done), and what our own code renames and unlinks. */
#pragma once

#include "support/state_folder.h"

#include <sys/syscall.h>

static int crash_in = -1; /* changes still to come; -1: for ever */

static inline bool is_last(void)
{
    if (crash_in > 0)
        crash_in--;
    return crash_in == 0;
}

static inline ssize_t crashing_pwrite(int fd, const void *data, size_t size, off_t at)
{
    const bool dies = is_last();
    const ssize_t n = pwrite(fd, data, dies ? size / 2 : size, at);

    if (dies)
        _exit(CHILD_SKIPPED);
    return n;
}

static inline int crashing_ftruncate(int fd, off_t size)
{
    if (is_last())
        _exit(CHILD_SKIPPED);
    return ftruncate(fd, size);
}

/* These take the place of the C library's in the whole program. */
int rename(const char *from, const char *to)
{
    if (is_last())
        _exit(CHILD_SKIPPED);
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    if (is_last())
        _exit(CHILD_SKIPPED);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static inline int crash_setup(void **state)
{
    static const struct {
        const char *name;
        sqlite3_syscall_ptr call;
    } calls[] = {
        {"pwrite",    (sqlite3_syscall_ptr)crashing_pwrite   },
        {"pwrite64",  (sqlite3_syscall_ptr)crashing_pwrite   },
        {"ftruncate", (sqlite3_syscall_ptr)crashing_ftruncate},
    };
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        if (vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call) != SQLITE_OK)
            return -1;
    (void)state;
    (void)strcpy(folder, "/dev/shm/test_crash.XXXXXX"); /* where a sync costs nothing */
    return mkdtemp(folder) ? 0 : make_folder(state);
}

/* True: body() has died at its nth change; false: it made fewer, and ended well. */
static inline bool dies_at(int nth, int (*body)(void))
{
    crash_in = nth;
    const int status = run_in_child(body);
    crash_in = -1;
    assert_true(status == 0 || status == CHILD_SKIPPED);
    return status == CHILD_SKIPPED;
}
