#include "base/input.h"

#include "support/alloc_fail.h"
#include "support/bytes_input.h"
#include "support/cmocka.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void assert_window(const struct input *input, const char *expected)
{
    assert_int_equal(input->size, strlen(expected));
    assert_string_equal(input->bytes, expected); /* the NUL behind it included */
}

static void the_window_moves_on_to_the_end(void **state)
{
    (void)state;
    for (int from_pipe = 0; from_pipe < 2; from_pipe++) {
        CLEANUP(input_clear) struct input input = {0};
        (from_pipe ? open_pipe : open_bytes)(&input, "abcdefgh", 8);
        assert_int_equal(input_read(&input, 0, 4, NULL), 0);
        assert_window(&input, "abcd");
        assert_int_equal(input_read(&input, 3, 4, NULL), 0);
        assert_window(&input, "defg");
        assert_int_equal(input_read(&input, 0, 2, NULL), 0); /* already there */
        assert_window(&input, "defg");
        assert_false(input.at_end);
        assert_int_equal(input_read(&input, 4, 1, NULL), 0);
        assert_window(&input, "h");
        assert_false(input.at_end); /* full: it cannot know */
        assert_int_equal(input_read(&input, 0, 100, NULL), 0);
        assert_window(&input, "h");
        assert_true(input.at_end);
        assert_int_equal(input_read(&input, 1, 100, NULL), 0);
        assert_window(&input, "");
    }
}

static void only_the_length_of_a_regular_file_is_known(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input file = {0};
    CLEANUP(input_clear) struct input empty = {0};
    CLEANUP(input_clear) struct input pipe = {0};
    CLEANUP(input_clear) struct input proc = {0};

    open_bytes(&file, "abc", 3);
    assert_int_equal(file.expected, 3);
    open_bytes(&empty, "", 0);
    assert_int_equal(empty.expected, 0);
    open_pipe(&pipe, "abc", 3);
    assert_int_equal(pipe.expected, 0);
    assert_int_equal(input_open(&proc, "/proc/self/status", 100000, NULL), 0);
    assert_int_equal(proc.expected, 0);
    assert_int_equal(input_read(&proc, 0, 5, NULL), 0);
    assert_window(&proc, "Name:");
}

static void standard_input_is_read_from_where_it_stands(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    const int saved = dup(STDIN_FILENO), fd = memfd_create("bytes", MFD_CLOEXEC);

    assert_int_equal(write(fd, "abcdef", 6), 6);
    assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
    dup2(fd, STDIN_FILENO);
    close(fd);
    const int r = input_open(&input, "-", 100, NULL);
    dup2(saved, STDIN_FILENO);
    close(saved);
    assert_int_equal(r, 0);
    assert_string_equal(input.name, "standard input");
    assert_int_equal(input.expected, 4);
    assert_int_equal(input_read(&input, 0, 100, NULL), 0);
    assert_window(&input, "cdef");
}

/* What mapping the file would pay for with a SIGBUS. */
static void a_file_that_is_cut_short_ends_early(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    CLEANUP(close_fd) int fd = memfd_create("bytes", MFD_CLOEXEC);

    assert_int_equal(write(fd, "abcdefgh", 8), 8);
    open_descriptor(&input, fd);
    assert_int_equal(input_read(&input, 0, 2, NULL), 0);
    assert_int_equal(ftruncate(fd, 3), 0);
    assert_int_equal(input_read(&input, 0, 8, NULL), 0);
    assert_window(&input, "abc");
    assert_true(input.at_end);
}

static void more_than_the_limit_is_refused(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input file = {0};
    CLEANUP(input_clear) struct input pipe = {0};
    struct error err = {""};
    char path[] = "/tmp/test_input.XXXXXX";
    CLEANUP(close_fd) int fd = mkstemp(path);

    assert_int_equal(write(fd, "12345", 5), 5);
    assert_int_equal(input_open(&file, path, 4, &err), -EFBIG);
    assert_non_null(strstr(err.text, ": is larger than 4 bytes"));
    input_clear(&file);
    assert_int_equal(input_open(&file, path, 5, &err), 0);
    assert_int_equal(unlink(path), 0);

    open_pipe(&pipe, "12345", 5);
    pipe.max_size = 4;
    assert_int_equal(input_read(&pipe, 0, 3, &err), 0);
    assert_int_equal(input_read(&pipe, 3, 3, &err), -EFBIG);
    assert_string_equal(err.text, "x: is larger than 4 bytes");
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    struct error err = {""};

    assert_int_equal(input_open(&input, "/nowhere/x", 10, &err), -ENOENT);
    assert_string_equal(err.text, "/nowhere/x: cannot open: No such file or directory");
    assert_int_equal(input_open(&input, "/", 10, &err), -EISDIR);
    assert_string_equal(err.text, "/: is a folder, not a file");
}

static void a_failed_read_is_named(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    struct error err = {""};

    assert_int_equal(input_open(&input, "/proc/self/mem", 10, NULL), 0); /* nothing lies at 0 */
    assert_int_equal(input_read(&input, 0, 10, &err), -EIO);
    assert_string_equal(err.text, "/proc/self/mem: cannot read: Input/output error");
}

static void a_failed_allocation_leaves_the_window(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    struct error err = {""};

    open_bytes(&input, "abcdefgh", 8);
    assert_int_equal(input_read(&input, 0, 2, NULL), 0);
    alloc_fail_in = 0;
    assert_int_equal(input_read(&input, 1, 8, &err), -ENOMEM);
    alloc_fail_in = -1;
    assert_string_equal(err.text, "x: cannot read: Cannot allocate memory");
    assert_window(&input, "ab");
    assert_int_equal(input_read(&input, 1, 8, NULL), 0);
    assert_window(&input, "bcdefgh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_window_moves_on_to_the_end),
        cmocka_unit_test(only_the_length_of_a_regular_file_is_known),
        cmocka_unit_test(standard_input_is_read_from_where_it_stands),
        cmocka_unit_test(a_file_that_is_cut_short_ends_early),
        cmocka_unit_test(more_than_the_limit_is_refused),
        cmocka_unit_test(what_cannot_be_opened_is_named),
        cmocka_unit_test(a_failed_read_is_named),
        cmocka_unit_test(a_failed_allocation_leaves_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
