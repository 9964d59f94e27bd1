/* state_file - state.db as files: locked against other processes, known again, set aside.
 *
 * For database.c. path is that of state.db; beside it lie its -wal and -shm. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* -EBUSY: another process has it; other negative errno. The lock goes with the descriptor. */
MUST_CHECK int state_file_lock(const char *directory, int *ret_fd, struct error *reterr);

/* Makes the file if it is not there, so that the reason is the system's own where it cannot be. */
MUST_CHECK int state_file_touch(const char *path, struct error *reterr);

/* What was renamed or made in the folder is so after a power cut too. */
MUST_CHECK int state_file_sync(const char *directory);

/* Renames the file, with its -wal and -shm, to state.db.WHAT-TIME, and tells the operator. what is
 * "damaged" or "newer". */
MUST_CHECK int state_file_set_aside(const char *directory, const char *path, const char *what,
                                    struct text *ret_notes, struct error *reterr);

/* Damage that was found while the file was in use: an empty file beside it tells the next start. */
MUST_CHECK int state_file_mark(const char *directory, const char *path);
bool state_file_is_marked(const char *path);

/* Which files are in use: others may be put in their place, and nobody would find again what is
 * written to those that have lost their names. */
struct state_file_identity {
    struct {
        dev_t device;
        ino_t inode; /* 0: it was not there */
    } file, wal;
};
void state_file_identify(const char *path, struct state_file_identity *ret_identity);

/* Bytes of the file and its -wal; 0: they are not those any more. */
uint64_t state_file_size(const char *path, const struct state_file_identity *identity);
