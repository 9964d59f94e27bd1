#include "store/state_file.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAL  "-wal"
#define SHM  "-shm"
#define MARK "-damaged"

/* NULL: no memory. */
static char *beside(const char *path, const char *suffix)
{
    char *whole = NULL;

    return asprintf(&whole, "%s%s", path, suffix) < 0 ? NULL : whole;
}

/* ---- lock and file ---- */

int state_file_lock(const char *directory, int *ret_fd, struct error *reterr)
{
    AUTO_FREE char *path = beside(directory, "/lock");
    if (!path)
        return error_set_errno(reterr, -ENOMEM, directory, "open");

    CLEANUP(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0 && errno == ENOENT)
        return error_set_at(reterr, -ENOENT, directory, 0,
                            "there is no such folder; make it, writable by the user of the daemon");
    if (fd < 0)
        return error_set_errno(reterr, -errno, path, "write");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? error_set_at(reterr, -EBUSY, directory, 0,
                                  "another anomalyd uses this folder; stop it or give each its own")
                   : error_set_errno(reterr, -errno, path, "lock");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int make_file(const char *path)
{
    CLEANUP(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

    return fd < 0 ? -errno : 0;
}

int state_file_touch(const char *path, struct error *reterr)
{
    const int r = make_file(path);

    return r < 0 ? error_set_errno(reterr, r, path, "write") : 0;
}

int state_file_sync(const char *directory)
{
    CLEANUP(close_fd) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* ---- set aside ---- */

static int rename_with(const char *path, const char *aside, const char *suffix)
{
    AUTO_FREE char *from = beside(path, suffix);
    AUTO_FREE char *to = beside(aside, suffix);

    if (!from || !to)
        return -ENOMEM;
    return rename(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_mark(const char *path)
{
    AUTO_FREE char *mark = beside(path, MARK);

    if (!mark)
        return -ENOMEM;
    return unlink(mark) < 0 && errno != ENOENT ? -errno : 0;
}

/* The -wal keeps a name that SQLite finds beside the file, so that both can be repaired. It goes
 * first: it must not meet a new file; the mark goes last: it must not leave the old one. */
static int rename_all(const char *directory, const char *path, const char *aside)
{
    int r = rename_with(path, aside, WAL);
    if (r == 0)
        r = rename_with(path, aside, SHM);
    if (r == 0)
        r = rename_with(path, aside, "");
    if (r == 0)
        r = remove_mark(path);
    return r < 0 ? r : state_file_sync(directory);
}

int state_file_set_aside(const char *directory, const char *path, const char *what,
                         struct text *ret_notes, struct error *reterr)
{
    const uint64_t now_us = clock_realtime_us();
    const time_t now = (time_t)(now_us / US_PER_S);
    const bool is_newer = strcmp(what, "newer") == 0;
    struct tm parts;
    char when[32] = "";
    AUTO_FREE char *aside = NULL;

    (void)strftime(when, sizeof(when), "%Y%m%dT%H%M%S", gmtime_r(&now, &parts));
    if (asprintf(&aside, "%s.%s-%s.%06uZ", path, what, when, (unsigned)(now_us % US_PER_S)) < 0) {
        aside = NULL;
        return error_set_errno(reterr, -ENOMEM, path, "set aside");
    }
    const int r = rename_all(directory, path, aside);
    if (r < 0)
        return error_set_errno(reterr, r, path, "set aside");
    text_printf(ret_notes, "%s is %s and was set aside as %s; ", path,
                is_newer ? "of a newer version of anomalyd" : "damaged", aside);
    text_puts(ret_notes,
              is_newer ? "to use it again, stop the daemon and install that version, or go on with "
                         "the new, empty one\n"
                       : "learning starts again with a new, empty one, the model files stay; "
                         "restore a backup, or try sqlite3's .recover on it\n");
    return 0;
}

int state_file_mark(const char *directory, const char *path)
{
    AUTO_FREE char *mark = beside(path, MARK);
    if (!mark)
        return -ENOMEM;

    const int r = make_file(mark);
    return r < 0 ? r : state_file_sync(directory);
}

/* A mark without a file: a start died when that had been set aside. */
bool state_file_is_marked(const char *path)
{
    AUTO_FREE char *mark = beside(path, MARK);

    if (!mark || access(mark, F_OK) < 0)
        return false;
    if (access(path, F_OK) == 0)
        return true;
    (void)unlink(mark);
    return false;
}

/* ---- known again ---- */

static ino_t look(const char *path, const char *suffix, dev_t *ret_device, uint64_t *ret_size)
{
    AUTO_FREE char *whole = beside(path, suffix);
    struct stat status;

    if (!whole || stat(whole, &status) < 0)
        return 0;
    *ret_device = status.st_dev;
    *ret_size = (uint64_t)status.st_size;
    return status.st_ino;
}

void state_file_identify(const char *path, struct state_file_identity *ret_identity)
{
    uint64_t ignored;

    ret_identity->file.inode = look(path, "", &ret_identity->file.device, &ignored);
    ret_identity->wal.inode = look(path, WAL, &ret_identity->wal.device, &ignored);
}

uint64_t state_file_size(const char *path, const struct state_file_identity *identity)
{
    struct state_file_identity now = {0};
    uint64_t size = 0, wal_size = 0;

    now.file.inode = look(path, "", &now.file.device, &size);
    now.wal.inode = look(path, WAL, &now.wal.device, &wal_size);
    const bool is_same =
        now.file.inode == identity->file.inode && now.file.device == identity->file.device &&
        now.wal.inode == identity->wal.inode && now.wal.device == identity->wal.device;
    return is_same ? size + wal_size : 0;
}
