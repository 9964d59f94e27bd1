/* bytes_input - an input that reads bytes of the test's own, from a file that has no name or from a
 * pipe. */
#pragma once

#include "base/file.h"
#include "base/input.h"
#include "support/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void open_descriptor(struct input *input, int fd)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(input_open(input, path, 1 << 30, NULL), 0);
    input->name = "x";
}

/* Messages call it x. */
static inline void open_bytes(struct input *input, const void *bytes, size_t size)
{
    CLEANUP(close_fd) int fd = memfd_create("bytes", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    open_descriptor(input, fd);
}

/* At most 60,000 bytes, so that they fit the pipe's buffer. */
static inline void open_pipe(struct input *input, const void *bytes, size_t size)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], bytes, size), size);
    open_descriptor(input, ends[0]);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
}
