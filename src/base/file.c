#include "base/file.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void close_fd(int *fd)
{
    if (*fd < 0)
        return;
    const int saved = errno;
    (void)close(*fd);
    *fd = -1;
    errno = saved;
}

/* Grows as it reads: pipes and /proc do not know their size. */
static int read_all(int fd, size_t expected, size_t max_size, char **ret_data, size_t *ret_size)
{
    size_t capacity = expected + 1, size = 0;
    AUTO_FREE char *data = malloc(capacity + 1);

    for (;;) {
        if (!data)
            return -ENOMEM;
        const ssize_t n = read(fd, data + size, capacity - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max_size)
            return -EFBIG;
        if (size < capacity)
            continue;
        capacity *= 2;
        char *larger = realloc(data, capacity + 1);
        if (!larger)
            return -ENOMEM;
        data = larger;
    }
    data[size] = '\0';
    *ret_data = TAKE(data);
    *ret_size = size;
    return 0;
}

const char *file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

int file_open(const char *path, int *ret_fd, struct error *reterr)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    struct stat status;

    CLEANUP(close_fd)
    int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(reterr, -errno, file_name(path), "open");
    if (fstat(fd, &status) < 0)
        return error_set_errno(reterr, -errno, file_name(path), "read");
    if (S_ISDIR(status.st_mode))
        return error_set_at(reterr, -EISDIR, file_name(path), 0, "is a folder, not a file");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int file_read(const char *path, size_t max_size, char **ret_data, size_t *ret_size,
              struct error *reterr)
{
    const char *name = file_name(path);
    size_t expected = 4096;
    struct stat status;

    CLEANUP(close_fd) int fd = -1;
    int r = file_open(path, &fd, reterr);
    if (r < 0)
        return r;
    if (fstat(fd, &status) < 0)
        return error_set_errno(reterr, -errno, name, "read");
    if (S_ISREG(status.st_mode) && (uintmax_t)status.st_size > (uintmax_t)max_size)
        return error_set_at(reterr, -EFBIG, name, 0, "is larger than %zu bytes", max_size);
    if (S_ISREG(status.st_mode) && status.st_size > 0) /* files of /proc say 0 */
        expected = (size_t)status.st_size;
    r = read_all(fd, expected, max_size, ret_data, ret_size);
    if (r == -EFBIG)
        return error_set_at(reterr, r, name, 0, "is larger than %zu bytes", max_size);
    if (r < 0)
        return error_set_errno(reterr, r, name, "read");
    return 0;
}

static int write_all(int fd, const struct iovec *parts, size_t n_parts)
{
    for (size_t i = 0; i < n_parts; i++) {
        const char *at = parts[i].iov_base;
        size_t left = parts[i].iov_len;
        while (left) {
            const ssize_t n = write(fd, at, left);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return -errno;
            at += n;
            left -= (size_t)n;
        }
    }
    return 0;
}

static int write_and_sync(int fd, const struct iovec *parts, size_t n_parts)
{
    const int r = write_all(fd, parts, n_parts);

    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

static int sync_folder_of(const char *path)
{
    AUTO_FREE char *folder = strdup(path);
    if (!folder)
        return -ENOMEM;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';

    CLEANUP(close_fd)
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

int file_write_fd(int fd, const char *name, const struct iovec *parts, size_t n_parts,
                  struct error *reterr)
{
    assert(fd >= 0 && name && (parts || n_parts == 0));
    int r = write_and_sync(fd, parts, n_parts);

    return r < 0 ? error_set_errno(reterr, r, name, "write") : 0;
}

int file_fill_fd(int fd, const char *name, const struct iovec *parts, size_t n_parts,
                 struct error *reterr)
{
    assert(fd >= 0 && name && (parts || n_parts == 0));
    int r = write_all(fd, parts, n_parts);

    return r < 0 ? error_set_errno(reterr, r, name, "write") : 0;
}

/* mkstemp() makes 0600; a file that others read should stay so. */
static int give_mode(int fd, const char *path)
{
    struct stat old;
    if (stat(path, &old) == 0)
        return fchmod(fd, old.st_mode & 0777) < 0 ? -errno : 0;

    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the mask is only read by setting */
    (void)pthread_mutex_lock(&lock);
    const mode_t mask = umask(077);
    (void)umask(mask);
    (void)pthread_mutex_unlock(&lock);
    return fchmod(fd, 0644 & ~mask) < 0 ? -errno : 0;
}

/* What to replace: not a symbolic link, but what it points to. */
static int find_target(const char *path, char **ret_target, struct error *reterr)
{
    struct stat status;
    if (*path == '\0') /* a file could be made next to it, but not named like it */
        return error_set_errno(reterr, -ENOENT, "\"\"", "write");
    AUTO_FREE char *target = lstat(path, &status) == 0 ? realpath(path, NULL) : strdup(path);

    if (!target)
        return error_set_errno(reterr, -errno, path, "write");
    if (stat(target, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set_at(reterr, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL, path, 0,
                            "is not a regular file; it is left as it is");
    *ret_target = TAKE(target);
    return 0;
}

/* An empty file next to target, to be renamed to it. path is for messages. */
static int make_temporary(const char *path, const char *target, char **ret_temporary, int *ret_fd,
                          struct error *reterr)
{
    char *name;

    if (asprintf(&name, "%s.XXXXXX", target) < 0)
        return error_set_errno(reterr, -ENOMEM, path, "write");
    AUTO_FREE char *temporary = name;
    const int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(reterr, -errno, path, "write");
    *ret_temporary = TAKE(temporary);
    *ret_fd = fd;
    return 0;
}

int file_write(const char *path, const struct iovec *parts, size_t n_parts, struct error *reterr)
{
    assert(path && (parts || n_parts == 0));

    AUTO_FREE char *target = NULL, *temporary = NULL;
    CLEANUP(close_fd) int fd = -1;
    int r = find_target(path, &target, reterr);
    if (r == 0)
        r = make_temporary(path, target, &temporary, &fd, reterr);
    if (r < 0)
        return r;
    assert(target && temporary);

    r = write_and_sync(fd, parts, n_parts);
    if (r == 0)
        r = give_mode(fd, target);
    if (r == 0 && rename(temporary, target) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(temporary);
        return error_set_errno(reterr, r, path, "write");
    }
    r = sync_folder_of(target);
    return r < 0 ? error_set_errno(reterr, r, path, "sync the folder of") : 0;
}

int file_check_writable(const char *path, struct error *reterr)
{
    assert(path);

    AUTO_FREE char *target = NULL, *temporary = NULL;
    CLEANUP(close_fd) int fd = -1;
    int r = find_target(path, &target, reterr);
    if (r == 0)
        r = make_temporary(path, target, &temporary, &fd, reterr);
    if (r < 0)
        return r;
    assert(target && temporary);
    return unlink(temporary) < 0 ? error_set_errno(reterr, -errno, path, "write") : 0;
}
