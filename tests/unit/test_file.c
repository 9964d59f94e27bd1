#include "base/file.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Every test works in a folder of its own, which is the current one. */
static char folder[64];

static int write_text(const char *path, const char *text, struct error *err)
{
    const struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    return file_write(path, &part, 1, err);
}

static void assert_holds(const char *path, const char *expected)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    assert_int_equal(file_read(path, 1 << 20, &data, &size, NULL), 0);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(data, expected); /* the NUL behind it included */
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *dir = opendir(".");

    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    char one[] = "one ", two[] = "two";
    const struct iovec parts[] = {
        {one,  4},
        {NULL, 0},
        {two,  3},
    };

    assert_int_equal(file_write("x", parts, 3, NULL), 0);
    assert_holds("x", "one two");
    assert_int_equal(file_write("x", NULL, 0, NULL), 0);
    assert_holds("x", "");
    assert_int_equal(count_files(), 1);
}

static void a_full_path_and_a_folder_work(void **state)
{
    (void)state;
    char path[128];

    assert_int_equal(mkdir("sub", 0755), 0);
    assert_int_equal(write_text("sub/x", "1", NULL), 0);
    assert_holds("sub/x", "1");
    (void)snprintf(path, sizeof(path), "%s/y", folder);
    assert_int_equal(write_text(path, "2", NULL), 0);
    assert_holds("y", "2");
}

static void a_file_keeps_its_mode_and_a_new_one_obeys_the_umask(void **state)
{
    (void)state;
    const mode_t old = umask(027);

    assert_int_equal(write_text("x", "1", NULL), 0);
    assert_int_equal(mode_of("x"), 0640);
    assert_int_equal(chmod("x", 0600), 0);
    assert_int_equal(write_text("x", "2", NULL), 0);
    assert_int_equal(mode_of("x"), 0600);
    assert_int_equal(umask(old), 027); /* untouched */
}

static void a_reader_sees_the_old_or_the_new_file(void **state)
{
    (void)state;
    char text[8] = "";

    assert_int_equal(write_text("x", "old", NULL), 0);
    CLEANUP(close_fd) int fd = open("x", O_RDONLY | O_CLOEXEC);
    assert_int_equal(write_text("x", "new!", NULL), 0);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    assert_string_equal(text, "old");
    assert_holds("x", "new!");
}

static void a_failed_write_leaves_no_trace(void **state)
{
    (void)state;
    struct error err = {""};
    struct rlimit old;
    static char big[8192];
    const struct iovec part = {big, sizeof(big)};

    assert_int_equal(write_text("x", "old", NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, old.rlim_max}), 0);
    const int r = file_write("x", &part, 1, &err); /* as on a full disk, half-way */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, -EFBIG);
    assert_string_equal(err.text, "x: cannot write: File too large");
    assert_holds("x", "old");
    assert_int_equal(count_files(), 1);
}

static void a_file_that_cannot_be_replaced_leaves_no_trace(void **state)
{
    (void)state;
    struct error err = {""};

    assert_int_equal(mkdir("sub", 0755), 0);
    assert_int_equal(write_text("sub", "1", &err), -EISDIR);
    assert_string_equal(err.text, "sub: is not a regular file; it is left as it is");
    assert_int_equal(write_text("nowhere/x", "1", &err), -ENOENT);
    assert_string_equal(err.text, "nowhere/x: cannot write: No such file or directory");
    assert_int_equal(count_files(), 1);
}

static void only_regular_files_are_replaced(void **state)
{
    (void)state;
    struct error err = {""};
    struct stat status;

    assert_int_equal(mkfifo("x", 0600), 0);
    assert_int_equal(write_text("x", "1", &err), -EINVAL);
    assert_string_equal(err.text, "x: is not a regular file; it is left as it is");
    assert_int_equal(stat("x", &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_int_equal(write_text("/dev/null", "1", &err), -EINVAL);
    assert_int_equal(count_files(), 1);
}

static void a_symbolic_link_stays_and_its_target_is_replaced(void **state)
{
    (void)state;
    struct stat status;

    assert_int_equal(mkdir("sub", 0755), 0);
    assert_int_equal(write_text("sub/x", "old", NULL), 0);
    assert_int_equal(symlink("sub/x", "y"), 0);
    assert_int_equal(write_text("y", "new", NULL), 0);
    assert_holds("sub/x", "new");
    assert_int_equal(lstat("y", &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(count_files(), 2);

    assert_int_equal(unlink("sub/x"), 0);
    assert_int_equal(write_text("y", "1", NULL), -ENOENT); /* points to nothing */
    assert_int_equal(lstat("y", &status), 0);
}

static void asking_whether_a_file_can_be_written_leaves_no_trace(void **state)
{
    (void)state;
    struct error err = {""};

    assert_int_equal(file_check_writable("x", &err), 0);
    assert_int_equal(count_files(), 0);
    assert_int_equal(write_text("x", "old", NULL), 0);
    assert_int_equal(chmod("x", 0400), 0); /* it would be replaced, not written to */
    assert_int_equal(file_check_writable("x", &err), 0);
    assert_int_equal(mode_of("x"), 0400);
    assert_holds("x", "old");
    assert_int_equal(symlink("x", "y"), 0);
    assert_int_equal(file_check_writable("y", &err), 0);
    assert_int_equal(count_files(), 2);
    assert_string_equal(err.text, "");
}

static void what_could_not_be_written_is_told_before(void **state)
{
    (void)state;
    struct error err = {""};

    assert_int_equal(mkdir("sub", 0755), 0);
    assert_int_equal(file_check_writable("sub", &err), -EISDIR);
    assert_string_equal(err.text, "sub: is not a regular file; it is left as it is");
    assert_int_equal(file_check_writable("nowhere/x", &err), -ENOENT);
    assert_string_equal(err.text, "nowhere/x: cannot write: No such file or directory");
    assert_int_equal(file_check_writable("/dev/null", &err), -EINVAL);
    assert_int_equal(file_check_writable("/proc/x", &err), -ENOENT); /* no file can be made there */
    assert_int_equal(file_check_writable("", &err), -ENOENT);
    assert_int_equal(symlink("nowhere", "y"), 0);
    assert_int_equal(file_check_writable("y", &err), -ENOENT);
    assert_int_equal(unlink("y"), 0);
    assert_int_equal(count_files(), 1);

    if (geteuid() == 0)
        return; /* root may write anywhere */
    assert_int_equal(chmod("sub", 0500), 0);
    assert_int_equal(file_check_writable("sub/x", &err), -EACCES);
    assert_string_equal(err.text, "sub/x: cannot write: Permission denied");
}

static void what_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct error err = {""};
    char *data = NULL;
    size_t size = 42;

    assert_int_equal(file_read("x", 10, &data, &size, &err), -ENOENT);
    assert_string_equal(err.text, "x: cannot open: No such file or directory");
    assert_int_equal(file_read(".", 10, &data, &size, &err), -EISDIR);
    assert_string_equal(err.text, ".: is a folder, not a file");
    assert_null(data);
    assert_int_equal(size, 42);
}

static void a_file_may_be_as_large_as_the_limit(void **state)
{
    (void)state;
    struct error err = {""};
    AUTO_FREE char *data = NULL;
    size_t size = 42;

    assert_int_equal(write_text("x", "12345", NULL), 0);
    assert_int_equal(file_read("x", 4, &data, &size, &err), -EFBIG);
    assert_string_equal(err.text, "x: is larger than 4 bytes");
    assert_null(data);
    assert_int_equal(file_read("x", 5, &data, &size, &err), 0);
    assert_int_equal(size, 5);
}

/* A pipe does not know its size: the block must grow, and the limit still holds. */
static int read_pipe(size_t n, size_t max_size, char **ret_data, size_t *ret_size,
                     struct error *err)
{
    static char bytes[60000]; /* fits the pipe's buffer */
    int ends[2];
    const int saved = dup(STDIN_FILENO);

    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, n), n);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    const int r = file_read("-", max_size, ret_data, ret_size, err);
    dup2(saved, STDIN_FILENO);
    close(saved);
    return r;
}

static void opening_gives_a_descriptor_of_its_own(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = -1;

    assert_int_equal(file_open("-", &fd, NULL), 0);
    assert_true(fd > STDERR_FILENO);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close_fd(&fd);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    assert_int_equal(file_open(".", &fd, NULL), -EISDIR);
    assert_int_equal(fd, -1);
    assert_string_equal(file_name("-"), "standard input");
    assert_string_equal(file_name("./-"), "./-");
}

static void standard_input_may_be_a_pipe(void **state)
{
    (void)state;
    struct error err = {""};
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    assert_int_equal(read_pipe(60000, 60000, &data, &size, &err), 0);
    assert_int_equal(size, 60000);
    assert_int_equal(strlen(data), 60000);
    assert_int_equal(read_pipe(60000, 59999, &data, &size, &err), -EFBIG);
    assert_string_equal(err.text, "standard input: is larger than 59999 bytes");
}

static void a_descriptor_is_written_from_where_it_stands(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = open("x", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const struct iovec parts[] = {
        {(char[]){"bc"}, 2},
        {NULL,           0},
        {(char[]){"d"},  1}
    };

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a", 1), 1);
    assert_int_equal(file_write_fd(fd, "x", parts, 3, NULL), 0);
    assert_holds("x", "abcd");
}

static void a_descriptor_that_takes_nothing_is_named(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    const struct iovec part = {(char[]){"b"}, 1};
    struct error error;

    assert_int_equal(file_write_fd(fd, "the x", &part, 1, &error), -ENOSPC);
    assert_string_equal(error.text, "the x: cannot write: No space left on device");
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        AUTO_FREE char *data = NULL;
        size_t size = 0;
        alloc_fail_in = nth;
        r = read_pipe(60000, 60000, &data, &size, NULL);
        alloc_fail_in = -1;
        assert_int_equal(r == 0, data != NULL);
    }
    assert_int_equal(r, 0);
}

static void asking_survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -1;

    for (int nth = 0; r < 0 && nth < 100; nth++) {
        struct error err = {""};
        alloc_fail_in = nth;
        r = file_check_writable("x", &err);
        alloc_fail_in = -1;
        assert_int_equal(r == 0, err.text[0] == '\0');
        assert_int_equal(count_files(), 0);
    }
    assert_int_equal(r, 0);
}

static void closing_nothing_is_harmless(void **state)
{
    (void)state;
    int fd = -1;

    errno = EDOM;
    close_fd(&fd);
    assert_int_equal(errno, EDOM);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int number = fd;
    close_fd(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
}

static int enter_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_file.XXXXXX");
    return mkdtemp(folder) ? chdir(folder) : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    static const char *const left[] = {"x", "y", "sub/x"};

    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++)
        (void)unlink(left[i]);
    (void)rmdir("sub");
    return chdir("/") == 0 ? rmdir(folder) : -1; /* fails when a test leaves something behind */
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_read_back),
        IN_FOLDER(a_full_path_and_a_folder_work),
        IN_FOLDER(a_file_keeps_its_mode_and_a_new_one_obeys_the_umask),
        IN_FOLDER(a_reader_sees_the_old_or_the_new_file),
        IN_FOLDER(a_failed_write_leaves_no_trace),
        IN_FOLDER(a_file_that_cannot_be_replaced_leaves_no_trace),
        IN_FOLDER(only_regular_files_are_replaced),
        IN_FOLDER(a_symbolic_link_stays_and_its_target_is_replaced),
        IN_FOLDER(asking_whether_a_file_can_be_written_leaves_no_trace),
        IN_FOLDER(what_could_not_be_written_is_told_before),
        IN_FOLDER(what_cannot_be_read_is_named),
        IN_FOLDER(a_file_may_be_as_large_as_the_limit),
        IN_FOLDER(opening_gives_a_descriptor_of_its_own),
        IN_FOLDER(standard_input_may_be_a_pipe),
        IN_FOLDER(a_descriptor_is_written_from_where_it_stands),
        IN_FOLDER(a_descriptor_that_takes_nothing_is_named),
        IN_FOLDER(survives_every_failed_allocation),
        IN_FOLDER(asking_survives_every_failed_allocation),
        cmocka_unit_test(closing_nothing_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
