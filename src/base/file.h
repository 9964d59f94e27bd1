/* file - whole files in, whole files out. base/input.h reads piece by piece. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <sys/uio.h>

/* Opens path to be read; "-" is standard input, of which it gives a descriptor of its own. A folder
 * is -EISDIR. Other negative errno as from open(); reterr names the file. */
MUST_CHECK int file_open(const char *path, int *ret_fd, struct error *reterr);

/* How messages call path: "-" is "standard input". */
const char *file_name(const char *path);

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

/* Writes to a descriptor, from where it stands, and syncs it. name is for messages. Negative errno;
 * reterr says which. */
MUST_CHECK int file_write_fd(int fd, const char *name, const struct iovec *parts, size_t n_parts,
                             struct error *reterr);
/* The same without the fsync, which is the caller's. */
MUST_CHECK int file_fill_fd(int fd, const char *name, const struct iovec *parts, size_t n_parts,
                            struct error *reterr);

/* Whether file_write() could replace path now: for long work to ask before it begins. Tries it with
 * an empty file in the same folder, which it takes away again; path is not touched. */
MUST_CHECK int file_check_writable(const char *path, struct error *reterr);

/* For CLEANUP(close_fd); does nothing below 0 and keeps errno. */
void close_fd(int *fd);
