/* input - a file or pipe read from front to back through a window, so that memory does not grow
 * with the file.
 *
 * Read with read(2), not mapped: a file that is cut short while it is read then ends early, where
 * touching the mapping would be a SIGBUS; pipes need no second way; and copying a window that stays
 * in the cache costs less than a page fault for every page of the file.
 *     CLEANUP(input_clear) struct input input = {0}; */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define INPUT_CHUNK ((size_t)256 * 1024)

struct input {
    const char *name; /* for messages; points to the path it was opened with */
    char *bytes;      /* [size] the window, the caller may change it; a NUL stands behind it */
    size_t size;      /* 0, without bytes, until the first input_read() */
    bool at_end;      /* nothing follows the window */
    size_t chunk;     /* what to read at a time: INPUT_CHUNK; tests set less */
    size_t expected;  /* bytes of the whole input; 0: not known, as for a pipe */

    /* private */
    bool is_open;
    int fd;
    size_t capacity, n_read, max_size;
};

/* Opens path ("-": standard input). -EFBIG: a file of more than max_size bytes; else as from
 * file_open(). */
MUST_CHECK int input_open(struct input *input, const char *path, size_t max_size,
                          struct error *reterr);
void input_clear(struct input *input);

/* Drops the first n_used bytes of the window, then reads until it holds n_wanted bytes or the input
 * ends; the window moves. -EFBIG: more than max_size bytes in all; -ENOMEM; else as from read(). */
MUST_CHECK int input_read(struct input *input, size_t n_used, size_t n_wanted,
                          struct error *reterr);
