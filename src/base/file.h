/* file - whole files in, whole files out. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <sys/uio.h>

/* Reads all of path ("-" is standard input) into memory from malloc(), with a NUL behind it that
 * does not count. -EFBIG: more than max_size bytes. Other negative errno as from open() and
 * read(); reterr names the file. */
MUST_CHECK int file_read(const char *path, size_t max_size, char **ret_data, size_t *ret_size,
                         struct error *reterr);

/* Replaces path as a whole or not at all, also when the machine stops half-way: temporary file in
 * the same folder, fsync, rename, fsync of the folder. Mode 0644 less the umask; an existing file
 * keeps its mode. A symbolic link stays, what it points to is replaced. -EISDIR, -EINVAL: path is
 * there and not a regular file. Other negative errno; reterr names the file. */
MUST_CHECK int file_write(const char *path, const struct iovec *parts, size_t n_parts,
                          struct error *reterr);

/* For CLEANUP(close_fd); does nothing below 0 and keeps errno. */
void close_fd(int *fd);
