/* fuzz - what the fuzzers share. Each is one file with a LLVMFuzzerTestOneInput(): libFuzzer drives
 * it in `make fuzz`, driver.c in `make check`. Both begin with the files of corpus/NAME. */
#pragma once

#include "base/cleanup.h"
#include "base/input.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What has to hold whatever the bytes are. Not assert(): it says so in every build. */
#define must(condition)                                                                   \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* The bytes with a NUL behind them, in a block of just that size, so that the sanitizer sees a byte
 * read too many. */
static inline char *fuzz_text(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);

    must(text != NULL);
    if (size > 0)
        memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

/* The same without the NUL: for what takes a length. */
static inline char *fuzz_block(const uint8_t *bytes, size_t size)
{
    char *block = calloc(size > 0 ? size : 1, 1);

    must(block != NULL);
    if (size > 0)
        memcpy(block, bytes, size);
    return block;
}

/* A file without a name that holds the bytes, and the path to open it by. */
static inline int fuzz_file(const void *bytes, size_t size, char ret_path[64])
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);

    must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    (void)snprintf(ret_path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static inline void fuzz_open_input(struct input *input, const void *bytes, size_t size)
{
    char path[64];
    const int fd = fuzz_file(bytes, size, path);

    must(input_open(input, path, (size_t)1 << 30, NULL) == 0);
    input->name = "x";
    (void)close(fd);
}
