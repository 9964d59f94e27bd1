#include "service/versions.h"

#include "base/checksum.h"
#include "base/file.h"
#include "detector/model_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CANDIDATE "candidate.tmp"
#define LIVE      "live"
#define SUFFIX    ".safetensors"

static int print_path(char path[VERSIONS_PATH_SIZE], const char *directory, const char *model,
                      const char *name)
{
    const int n = snprintf(path, VERSIONS_PATH_SIZE, "%s/models/%s%s%s", directory, model,
                           *name ? "/" : "", name);
    return n < 0 || n >= VERSIONS_PATH_SIZE ? -ENAMETOOLONG : 0;
}

int versions_path(const char *directory, const char *model, unsigned version,
                  char ret_path[VERSIONS_PATH_SIZE])
{
    char name[32];

    (void)snprintf(name, sizeof(name), "%u" SUFFIX, version);
    return print_path(ret_path, directory, model, name);
}

static int make_folder(const char *path, struct error *reterr)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_set_errno(reterr, -errno, path, "make");
    return 0;
}

static int make_folders(const char *directory, const char *model, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];

    int r = print_path(path, directory, "", "");
    if (r == 0)
        r = make_folder(path, reterr);
    if (r == 0)
        r = print_path(path, directory, model, "");
    return r < 0 ? r : make_folder(path, reterr);
}

int versions_open_candidate(const char *directory, const char *model,
                            char ret_path[VERSIONS_PATH_SIZE], int *ret_fd, struct error *reterr)
{
    int r = make_folders(directory, model, reterr);
    if (r == 0)
        r = print_path(ret_path, directory, model, CANDIDATE);
    if (r < 0)
        return r;
    (void)unlink(ret_path);
    const int fd = open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set_errno(reterr, -errno, ret_path, "make");
    *ret_fd = fd;
    return 0;
}

/* The name is there after a power cut too. */
static int sync_folder(const char *directory, const char *model, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];
    CLEANUP(close_fd) int fd = -1;

    int r = print_path(path, directory, model, "");
    if (r < 0)
        return r;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? error_set_errno(reterr, -errno, path, "sync") : 0;
}

static int rename_candidate(const char *candidate, const char *directory, const char *model,
                            unsigned version, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];

    const int r = versions_path(directory, model, version, path);
    if (r < 0)
        return r;
    return rename(candidate, path) < 0 ? error_set_errno(reterr, -errno, path, "rename") : 0;
}

int versions_keep_candidate(const char *candidate, const char *directory, const char *model,
                            unsigned version, struct error *reterr)
{
    const int r = rename_candidate(candidate, directory, model, version, reterr);

    return r < 0 ? r : sync_folder(directory, model, reterr);
}

int versions_stage(const char *directory, const char *model, const void *data, size_t size,
                   bool sync, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];
    struct iovec part = {.iov_len = size};
    CLEANUP(close_fd) int fd = -1;

    memcpy(&part.iov_base, &data, sizeof(data)); /* only read, as in versions_write() */
    int r = versions_open_candidate(directory, model, path, &fd, reterr);
    if (r < 0)
        return r;
    return sync ? file_write_fd(fd, path, &part, 1, reterr)
                : file_fill_fd(fd, path, &part, 1, reterr);
}

int versions_keep_staged(const char *directory, const char *model, unsigned version, bool sync,
                         struct error *reterr)
{
    char candidate[VERSIONS_PATH_SIZE];

    int r = print_path(candidate, directory, model, CANDIDATE);
    if (r == 0)
        r = rename_candidate(candidate, directory, model, version, reterr);
    return r == 0 && sync ? sync_folder(directory, model, reterr) : r;
}

int versions_sync(const char *directory, struct error *reterr)
{
    CLEANUP(close_fd) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || syncfs(fd) < 0 ? error_set_errno(reterr, -errno, directory, "sync") : 0;
}

int versions_write(const char *directory, const char *model, unsigned version, const void *data,
                   size_t size, char ret_sha256[65], struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];
    struct iovec part = {.iov_len = size};

    memcpy(&part.iov_base, &data, sizeof(data)); /* only read, but iovec serves readers too */

    int r = make_folders(directory, model, reterr);
    if (r == 0)
        r = versions_path(directory, model, version, path);
    if (r < 0)
        return r;
    sha256_hex(data, size, ret_sha256);
    return file_write(path, &part, 1, reterr);
}

int versions_import(const char *file, const char *directory, const char *model, unsigned version,
                    char ret_sha256[65], struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(file, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    return r < 0 ? r : versions_write(directory, model, version, data, size, ret_sha256, reterr);
}

int versions_open(const char *directory, const char *model, unsigned version, const char *sha256,
                  int *ret_fd, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE], found[SHA256_HEX_SIZE];
    CLEANUP(close_fd) int fd = -1;

    int r = versions_path(directory, model, version, path);
    if (r == 0)
        r = file_open(path, &fd, reterr);
    if (r < 0)
        return r;
    r = sha256_fd_hex(fd, found);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_set_errno(reterr, r, path, "read");
    if (strcmp(found, sha256) != 0)
        return error_set_at(reterr, -EUCLEAN, path, 0,
                            "is damaged: its SHA-256 is not what it was");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int versions_link_live(const char *directory, const char *model, unsigned version,
                       struct error *reterr)
{
    char target[32], path[VERSIONS_PATH_SIZE], temporary[VERSIONS_PATH_SIZE];

    (void)snprintf(target, sizeof(target), "%u" SUFFIX, version);
    int r = print_path(path, directory, model, LIVE);
    if (r == 0)
        r = print_path(temporary, directory, model, LIVE ".tmp");
    if (r < 0)
        return error_set_errno(reterr, r, directory, "link");
    if (symlink(target, path) == 0) /* there was none */
        return 0;
    (void)unlink(temporary);
    return symlink(target, temporary) < 0 || rename(temporary, path) < 0
               ? error_set_errno(reterr, -errno, path, "link")
               : 0;
}

void versions_unlink_live(const char *directory, const char *model)
{
    char path[VERSIONS_PATH_SIZE];

    if (print_path(path, directory, model, LIVE) == 0)
        (void)unlink(path);
}

int versions_find_live(const char *directory, const char *model, char ret_path[VERSIONS_PATH_SIZE],
                       unsigned *ret_version)
{
    char path[VERSIONS_PATH_SIZE], target[64] = "", again[64];
    unsigned version = 0;

    int r = print_path(path, directory, model, LIVE);
    if (r < 0)
        return r;
    if (readlink(path, target, sizeof(target) - 1) < 0)
        return -ENOENT;
    if (sscanf(target, "%9u", &version) != 1) /* NOLINT(cert-err34-c): bounded, and compared */
        return -ENOENT;
    (void)snprintf(again, sizeof(again), "%u" SUFFIX, version);
    if (version == 0 || strcmp(again, target) != 0)
        return -ENOENT;
    r = versions_path(directory, model, version, path);
    if (r == 0 && access(path, R_OK) < 0)
        r = -ENOENT;
    if (r < 0)
        return r;
    memcpy(ret_path, path, sizeof(path));
    *ret_version = version;
    return 0;
}

void versions_remove_candidates(const char *directory, const char *model)
{
    char path[VERSIONS_PATH_SIZE];

    if (print_path(path, directory, model, CANDIDATE) == 0)
        (void)unlink(path);
}

void versions_remove(const char *directory, const char *model, unsigned version)
{
    char path[VERSIONS_PATH_SIZE];

    if (versions_path(directory, model, version, path) == 0)
        (void)unlink(path);
}

void versions_remove_all(const char *directory, const char *model)
{
    char path[VERSIONS_PATH_SIZE];
    const struct dirent *entry;

    if (print_path(path, directory, model, "") < 0)
        return;
    DIR *folder = opendir(path);
    if (!folder)
        return;
    while (
        (entry = readdir(folder))) /* NOLINT(concurrency-mt-unsafe): nobody else has this folder */
        (void)unlinkat(dirfd(folder), entry->d_name, 0); /* fails for . and .. */
    (void)closedir(folder);
    (void)rmdir(path);
}
