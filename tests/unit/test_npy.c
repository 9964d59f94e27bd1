#include "data/npy.h"

#include "support/bytes_input.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER(type, order, shape) \
    "{'descr': '" type "', 'fortran_order': " order ", 'shape': " shape ", }"

struct file {
    char *bytes;
    size_t size;
};

static void free_file(struct file *file)
{
    free(file->bytes);
}

/* The bytes of a file in a block of just that size: ASan sees every overrun. */
static struct file make_file(int version, const char *header, const void *items, size_t n_items)
{
    const size_t length = strlen(header), begin = version == 1 ? 10 : 12;
    struct file file = {malloc(begin + length + n_items), begin + length + n_items};
    const unsigned char prefix[12] = {0x93,
                                      'N',
                                      'U',
                                      'M',
                                      'P',
                                      'Y',
                                      (unsigned char)version,
                                      0,
                                      (unsigned char)length,
                                      (unsigned char)(length >> 8)};

    assert_non_null(file.bytes);
    memcpy(file.bytes, prefix, begin);
    memcpy(file.bytes + begin, header, length);
    if (n_items)
        memcpy(file.bytes + begin + length, items, n_items);
    return file;
}

static int open_chunks(struct input *input, const struct file *file, size_t chunk,
                       struct npy *ret_npy, struct error *err)
{
    open_bytes(input, file->bytes, file->size);
    input->name = "x.npy";
    input->chunk = chunk;
    return npy_open(input, ret_npy, err);
}

static int open_npy(struct input *input, const struct file *file, struct npy *ret_npy,
                    struct error *err)
{
    return open_chunks(input, file, INPUT_CHUNK, ret_npy, err);
}

/* All values by row: [n_rows][n_columns]; each must come once. */
static int read_values(struct npy *npy, double *values, struct error *err)
{
    size_t n = 0;
    struct npy_slice slice;
    int r;

    while ((r = npy_next(npy, &slice, err)) > 0) {
        assert_true(slice.n > 0);
        for (size_t i = 0; i < slice.n; i++, n++) {
            const size_t row = slice.row + (npy->is_fortran ? i : 0);
            const size_t column = slice.column + (npy->is_fortran ? 0 : i);
            assert_true(row < npy->n_rows && column < npy->n_columns);
            values[row * npy->n_columns + column] = slice.values[i];
        }
    }
    assert_true(r < 0 || n == npy->n_rows * npy->n_columns);
    return r;
}

static void both_types_orders_and_byte_orders_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int version;
        char items[49];
        size_t size;
    } cases[] = {
  /* clang-format off */
        {HEADER("<f4", "False", "(3, 2)"), 1,
         "\0\0\x80\x3F\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xA0\x40\0\0\xC0\x40", 24},
        {HEADER(">f4", "False", "(3, 2)"), 2,
         "\x3F\x80\0\0\x40\0\0\0\x40\x40\0\0\x40\x80\0\0\x40\xA0\0\0\x40\xC0\0\0", 24},
        {HEADER("<f8", "False", "(3, 2)"), 3,
         "\0\0\0\0\0\0\xF0\x3F\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\x08\x40"
         "\0\0\0\0\0\0\x10\x40\0\0\0\0\0\0\x14\x40\0\0\0\0\0\0\x18\x40", 48},
        {HEADER(">f8", "False", "(3, 2)"), 1,
         "\x3F\xF0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x40\x08\0\0\0\0\0\0"
         "\x40\x10\0\0\0\0\0\0\x40\x14\0\0\0\0\0\0\x40\x18\0\0\0\0\0\0", 48},
        {HEADER("<f4", "True", "(3, 2)"), 1,
         "\0\0\x80\x3F\0\0\x40\x40\0\0\xA0\x40\0\0\0\x40\0\0\x80\x40\0\0\xC0\x40", 24},
        {"{\"shape\":(3,2,),\"descr\":\"<f4\",\"fortran_order\":False}  \n", 1,
         "\0\0\x80\x3F\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xA0\x40\0\0\xC0\x40", 24},
  /* clang-format on */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (size_t chunk = 1; chunk < 32; chunk++) { /* a border between any two bytes */
            CLEANUP(free_file)
            struct file file =
                make_file(cases[i].version, cases[i].header, cases[i].items, cases[i].size);
            CLEANUP(input_clear) struct input input = {0};
            struct npy npy;
            struct error err = {""};
            double values[6];
            if (open_chunks(&input, &file, chunk, &npy, &err) != 0)
                fail_msg("case %zu: %s", i, err.text);
            assert_int_equal(npy.n_rows, 3);
            assert_int_equal(npy.n_columns, 2);
            assert_int_equal(read_values(&npy, values, &err), 0);
            for (size_t at = 0; at < 6; at++)
                assert_true(values[at] == (double)(at + 1));
        }
}

static void rows_longer_than_a_slice_and_a_chunk_are_read(void **state)
{
    (void)state;
    static float items[3 * 1000];
    static double values[3 * 1000];
    static const char *const headers[] = {HEADER("<f4", "False", "(3, 1000)"),
                                          HEADER("<f4", "True", "(1000, 3)")};

    for (size_t i = 0; i < 3000; i++)
        items[i] = (float)i;
    for (size_t i = 0; i < 2; i++)
        for (size_t chunk = 500; chunk < 1500; chunk += 123) {
            CLEANUP(free_file) struct file file = make_file(1, headers[i], items, sizeof(items));
            CLEANUP(input_clear) struct input input = {0};
            struct npy npy;
            assert_int_equal(open_chunks(&input, &file, chunk, &npy, NULL), 0);
            assert_int_equal(read_values(&npy, values, NULL), 0);
            for (size_t at = 0; at < 3000; at++)
                assert_true(values[at] == (double)(i ? at % 3 * 1000 + at / 3 : at));
            assert_true(input.size < 1500);
        }
}

static void a_pipe_is_read_too(void **state)
{
    (void)state;
    const float items[] = {1, 2, 3, 4};
    CLEANUP(free_file)
    struct file file = make_file(1, HEADER("<f4", "False", "(2, 2)"), items, sizeof(items));
    struct error err = {""};
    struct npy npy;
    double values[4];

    for (size_t cut = 0; cut < 2; cut++) {
        CLEANUP(input_clear) struct input input = {0};
        open_pipe(&input, file.bytes, file.size - cut);
        input.chunk = 8;
        assert_int_equal(npy_open(&input, &npy, &err), cut ? -EINVAL : 0);
        if (!cut)
            assert_int_equal(read_values(&npy, values, &err), 0);
        assert_true(values[0] == 1 && values[3] == 4);
    }
    assert_string_equal(err.text, "x: cut off: the header says 16 bytes of values, there are 15");
}

static void a_file_that_is_cut_short_while_it_is_read_is_refused(void **state)
{
    (void)state;
    const float items[] = {1, 2, 3, 4};
    CLEANUP(free_file)
    struct file file = make_file(1, HEADER("<f4", "False", "(2, 2)"), items, sizeof(items));
    CLEANUP(close_fd) int fd = memfd_create("bytes", MFD_CLOEXEC);
    CLEANUP(input_clear) struct input input = {0};
    struct error err = {""};
    struct npy npy;
    double values[4];

    assert_int_equal(write(fd, file.bytes, file.size), file.size);
    open_descriptor(&input, fd);
    input.chunk = 8;
    assert_int_equal(npy_open(&input, &npy, &err), 0);
    assert_int_equal(ftruncate(fd, (off_t)file.size - 1), 0);
    assert_int_equal(read_values(&npy, values, &err), -EINVAL);
    assert_string_equal(err.text, "x: cut off: the file has become shorter while it was read");
}

static void nan_and_infinity_are_handed_on(void **state)
{
    (void)state;
    const float items[] = {NAN, -INFINITY};
    CLEANUP(free_file)
    struct file file = make_file(1, HEADER("<f4", "False", "(1, 2)"), items, sizeof(items));
    CLEANUP(input_clear) struct input input = {0};
    struct npy npy;
    double values[2];

    assert_int_equal(open_npy(&input, &file, &npy, NULL), 0);
    assert_int_equal(read_values(&npy, values, NULL), 0);
    assert_true(isnan(values[0]) && isinf(values[1]));
}

#define TYPE(shown)                                                  \
    "x.npy: values of type " shown ", not float32 or float64; save " \
    "array.astype(\"float32\")"
#define DIMENSIONS(n)                                                     \
    "x.npy: the array has " n " dimensions, not 2 (rows, features); for " \
    "one feature save array.reshape(-1, 1)"
#define DAMAGED "x.npy: the header of the .npy file is damaged; save it with numpy.save()"

static void other_arrays_and_damage_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *header, *error;
    } cases[] = {
  /* clang-format off */
        {HEADER("<i8", "False", "(1, 1)"), TYPE("\"<i8\"")},
        {HEADER("|O", "False", "(1, 1)"), TYPE("\"|O\"")},
        {HEADER("<f2", "False", "(1, 1)"), TYPE("\"<f2\"")},
        {HEADER("=f4", "False", "(1, 1)"), TYPE("\"=f4\"")},
        {HEADER("<f4\x1B[2J", "False", "(1, 1)"), TYPE("\"<f4?[2J\"")},
        {HEADER("", "False", "(1, 1)"), TYPE("\"\"")},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }",
         "x.npy: the array has named fields; save the numbers alone as float32"},
        {HEADER("<f4", "False", "()"), DIMENSIONS("0")},
        {HEADER("<f4", "False", "(2,)"), DIMENSIONS("1")},
        {HEADER("<f4", "False", "(1, 2, 1)"), DIMENSIONS("3")},
        {HEADER("<f4", "False", "(0, 2)"), "x.npy: no rows"},
        {HEADER("<f4", "False", "(2, 0)"), "x.npy: no columns"},
        {HEADER("<f4", "False", "(2, 2)"),
         "x.npy: cut off: the header says 16 bytes of values, there are 8"},
        {HEADER("<f4", "False", "(1, 1)"),
         "x.npy: 4 bytes too many behind the array; save one array a file"},
        {HEADER("<f4", "False", "(4294967296, 4294967296)"),
         "x.npy: the shape in the header is impossible"},
        {HEADER("<f8", "False", "(4611686018427387904, 2)"),
         "x.npy: the shape in the header is impossible"},
        {HEADER("<f4", "False", "(18446744073709551616, 1)"), DAMAGED},
        {HEADER("<f4", "False", "(-1, 2)"), DAMAGED},
        {HEADER("<f4", "False", "(1 2)"), DAMAGED},
        {HEADER("<f4", "False", "(,)"), DAMAGED},
        {HEADER("<f4", "False", "(1,,2)"), DAMAGED},
        {HEADER("<f4", "False", "(1, 2"), DAMAGED},
        {HEADER("<f4", "False", "[1, 2]"), DAMAGED},
        {HEADER("<f4", "false", "(1, 2)"), DAMAGED},
        {HEADER("<f4", "0", "(1, 2)"), DAMAGED},
        {HEADER("<f4", "False", "(1, 2), 'shape': (1, 2)"), DAMAGED},
        {HEADER("<f4", "False", "(1, 2), 'descr': '<f4'"), DAMAGED},
        {HEADER("<f4", "False", "(1, 2), 'color': 'red'"), DAMAGED},
        {HEADER("<f4", "False",
                "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"),
         DAMAGED},
        {"{'descr': '<f4', 'shape': (1, 2)}", DAMAGED},
        {"{'descr': '<f4', 'fortran_order': False}", DAMAGED},
        {"{'fortran_order': False, 'shape': (1, 2)}", DAMAGED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)} x", DAMAGED},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1, 2)}", DAMAGED},
        {"{'descr': '<f4", DAMAGED},
        {"{'descr", DAMAGED},
        {"{", DAMAGED},
        {"", DAMAGED},
        {"\xFF\xFF\xFF", DAMAGED},
  /* clang-format on */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(free_file) struct file file = make_file(1, cases[i].header, "\0\0\0\0\0\0\0", 8);
        CLEANUP(input_clear) struct input input = {0};
        struct npy npy = {.n_rows = 42};
        struct error err = {""};
        assert_int_equal(open_npy(&input, &file, &npy, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        assert_int_equal(npy.n_rows, 42);
    }
}

static void a_header_longer_than_the_file_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *error;
    } cases[] = {
        {"\x93NUMPY",                     6,  "x.npy: the .npy file is cut off in its header"},
        {"\x93NUMPY\1\0\xFF\xFF{}",       12, "x.npy: the .npy file is cut off in its header"},
        {"\x93NUMPY\2\0\xFF\xFF\xFF\xFF", 12, "x.npy: the .npy file is cut off in its header"},
        {"\x93NUMPY\0\0\0\0\0\0",         12,
         "x.npy: format 0.0 of .npy is unknown; save it with "
         "numpy.save()"                                                                      },
        {"\x93NUMPY\4\1\0\0\0\0",         12,
         "x.npy: format 4.1 of .npy is unknown; save it with "
         "numpy.save()"                                                                      },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(input_clear) struct input input = {0};
        struct npy npy;
        struct error err = {""};
        open_bytes(&input, cases[i].bytes, cases[i].size);
        input.name = "x.npy";
        assert_int_equal(npy_open(&input, &npy, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
    }
}

static void every_cut_off_or_damaged_file_is_survived(void **state)
{
    (void)state;
    CLEANUP(free_file)
    struct file file = make_file(1, HEADER("<f4", "False", "(1, 2)"), "\0\0\0\0\0\0\0", 8);
    struct npy npy;
    double values[2];

    for (size_t size = 6; size < file.size; size++) {
        CLEANUP(input_clear) struct input input = {0};
        assert_int_equal(open_npy(&input, &(struct file){file.bytes, size}, &npy, NULL), -EINVAL);
    }
    for (size_t at = 6; at < file.size; at++)
        for (int flip = 1; flip < 256; flip++) {
            CLEANUP(input_clear) struct input input = {0};
            file.bytes[at] = (char)(file.bytes[at] ^ flip);
            if (open_npy(&input, &file, &npy, NULL) == 0)
                assert_int_equal(read_values(&npy, values, NULL), 0);
            file.bytes[at] = (char)(file.bytes[at] ^ flip);
        }
}

static void a_header_without_measure_is_refused(void **state)
{
    (void)state;
    const size_t length = 2 << 20;
    CLEANUP(free_file) struct file file = {calloc(1, length + 12), length + 12};
    CLEANUP(input_clear) struct input input = {0};
    struct error err = {""};
    struct npy npy;

    memcpy(file.bytes, "\x93NUMPY\2\0\0\0\x20\0", 12);
    assert_int_equal(open_npy(&input, &file, &npy, &err), -EINVAL);
    assert_string_equal(err.text, DAMAGED);
    assert_true(input.size < length);
}

static void only_its_magic_makes_a_file_npy(void **state)
{
    (void)state;
    assert_true(npy_is("\x93NUMPY", 6));
    assert_false(npy_is("\x93NUMP", 5));
    assert_false(npy_is("NUMPY1", 6));
    assert_false(npy_is("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_types_orders_and_byte_orders_are_read),
        cmocka_unit_test(rows_longer_than_a_slice_and_a_chunk_are_read),
        cmocka_unit_test(a_pipe_is_read_too),
        cmocka_unit_test(a_file_that_is_cut_short_while_it_is_read_is_refused),
        cmocka_unit_test(a_header_without_measure_is_refused),
        cmocka_unit_test(nan_and_infinity_are_handed_on),
        cmocka_unit_test(other_arrays_and_damage_are_refused_with_the_reason),
        cmocka_unit_test(a_header_longer_than_the_file_is_refused),
        cmocka_unit_test(every_cut_off_or_damaged_file_is_survived),
        cmocka_unit_test(only_its_magic_makes_a_file_npy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
