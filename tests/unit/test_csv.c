#include "data/csv.h"

#include "base/text.h"

#include "support/alloc_fail.h"
#include "support/bytes_input.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads all, chunk bytes at a time; one line of result for each line read: "LINE:[cell][cell]". */
static int read_chunks(const char *text, size_t size, size_t chunk, struct text *ret_cells,
                       struct error *err)
{
    CLEANUP(input_clear) struct input input = {0};
    CLEANUP(csv_clear) struct csv csv = {0};

    open_bytes(&input, text, size);
    input.name = "x.csv";
    input.chunk = chunk;
    int r = csv_open(&csv, &input, err);
    while (r == 0 && (r = csv_next(&csv, err)) > 0) {
        text_printf(ret_cells, "%zu:", csv.line);
        for (size_t i = 0; i < csv.n_cells; i++) {
            text_puts(ret_cells, "[");
            text_append(ret_cells, csv.cells[i].text, csv.cells[i].length);
            text_puts(ret_cells, "]");
        }
        text_puts(ret_cells, csv.is_empty ? "empty\n" : "\n");
        r = 0;
    }
    return r;
}

static int read_all(const char *text, size_t size, struct text *ret_cells, struct error *err)
{
    return read_chunks(text, size, INPUT_CHUNK, ret_cells, err);
}

static void cells_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *cells;
    } cases[] = {
        {"",                                                   ""                                               },
        {"\n\r\n\n",                                           ""                                               },
        {" \t\n  ",                                            ""                                               },
        {"a,b\n1,2\n   \n\t \r\n",                             "1:[a][b]\n2:[1][2]\n"                           },
        {"a\n \nb\n ",                                         "1:[a]\n2:[]empty\n3:[b]\n"                      },
        {"1,\" \"  \n",                                        "1:[1][ ]\n"                                     },
        {"\xEF\xBB\xBF",                                       ""                                               },
        {"a\r \t",                                             "1:[a]\n"                                        },
        {"a",                                                  "1:[a]\n"                                        },
        {"a,b\n1,2\n",                                         "1:[a][b]\n2:[1][2]\n"                           },
        {"a,b\r\n1,2\r\n",                                     "1:[a][b]\n2:[1][2]\n"                           },
        {"a,b\n1,2",                                           "1:[a][b]\n2:[1][2]\n"                           },
        {"1,",                                                 "1:[1][]\n"                                      },
        {"1,\n",                                               "1:[1][]\n"                                      },
        {",,",                                                 "1:[][][]\n"                                     },
        {"\xEF\xBB\xBF"
         "a,b",                                       "1:[a][b]\n"                                     },
        {"\"a,b\",c",                                          "1:[a,b][c]\n"                                   },
        {"\"say \"\"hi\"\"\",c",                               "1:[say \"hi\"][c]\n"                            },
        {"\"\"\"\"",                                           "1:[\"]\n"                                       },
        {"\"\",\"\"",                                          "1:[][]\n"                                       },
        {"\"a\nb\",c\nd,e",                                    "1:[a\nb][c]\n3:[d][e]\n"                        },
        {"\"a\r\nb\"\r\nc",                                    "1:[a\r\nb]\n3:[c]\n"                            },
        {" a\t, b c ,\t\n",                                    "1:[a][b c][]\n"                                 },
        {" \" a \" ,b",                                        "1:[ a ][b]\n"                                   },
        {"a\n\nb",                                             "1:[a]\n2:[]empty\n3:[b]\n"                      },
        {"a\n \nb",                                            "1:[a]\n2:[]empty\n3:[b]\n"                      },
        {"a\r\n\r\nb",                                         "1:[a]\n2:[]empty\n3:[b]\n"                      },
        {"a\n\"\"\nb",                                         "1:[a]\n2:[]\n3:[b]\n"                           },
        {"a\n\n\n\n",                                          "1:[a]\n"                                        },
        {"a\n\"\"\n\n",                                        "1:[a]\n2:[]\n"                                  },
        {"a\n\n \r\n\t\nb\n",                                  "1:[a]\n2:[]empty\n3:[]empty\n4:[]empty\n5:[b]\n"},
        {"\"a\n\n\"\n\n\nb",                                   "1:[a\n\n]\n4:[]empty\n5:[]empty\n6:[b]\n"       },
        {"a,\"b,\n\"\"c\" \r\n\"\"\"\n\"\"\",1\r\n2,\"\"\r\n",
         "1:[a][b,\n\"c]\n3:[\"\n\"][1]\n5:[2][]\n"                                                             },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (size_t chunk = 1; chunk < 32; chunk++) { /* a border between any two bytes */
            CLEANUP(text_clear) struct text cells = {0};
            struct error err = {""};
            text_puts(&cells, "");
            if (read_chunks(cases[i].text, strlen(cases[i].text), chunk, &cells, &err) != 0)
                fail_msg("case %zu, chunk %zu: %s", i, chunk, err.text);
            assert_string_equal(cells.data, cases[i].cells);
        }
}

static void broken_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *error;
    } cases[] = {
#define CASE(text, error) {text, sizeof(text) - 1, error}
        CASE("a,b\n1,\"2\n3,4\n", "x.csv:2: column 2: the quote that begins here is never closed"),
        CASE("\"", "x.csv:1: column 1: the quote that begins here is never closed"),
        CASE("\"\"\"", "x.csv:1: column 1: the quote that begins here is never closed"),
        CASE("a\n\"1\n2\"x\n", "x.csv:3: column 1: text behind the closing quote; a quote inside "
                               "quotes is written twice"),
        CASE("a,5\" disk\n", "x.csv:1: column 2: a quote inside the cell; put the whole cell in "
                             "quotes and write the inner ones twice"),
        CASE("a\rb\rc\n", "x.csv:1: column 1: a carriage return without line feed; end lines with "
                          "LF or CRLF"),
        CASE("a\n\"1\n\n2\",\rb\n", "x.csv:4: column 2: a carriage return without line feed; end "
                                    "lines with LF or CRLF"),
        CASE("a,\"b\" \"c\n1,2\n",
             "x.csv:1: column 2: text behind the closing quote; a quote inside "
             "quotes is written twice"),
        CASE("a\n1\r \n", "x.csv:2: column 1: a carriage return without line feed; end lines with "
                          "LF or CRLF"),
        CASE("a\n1\n\0\n", "x.csv:3: a NUL byte: this is no CSV in UTF-8; if it is UTF-16, convert "
                           "it"),
        CASE("\xFF\xFE"
             "a\0,\0",
             "x.csv:1: a NUL byte: this is no CSV in UTF-8; if it is UTF-16, "
             "convert it"),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (size_t chunk = 1; chunk < 32; chunk++) {
            CLEANUP(text_clear) struct text cells = {0};
            struct error err = {""};
            assert_int_equal(read_chunks(cases[i].text, cases[i].size, chunk, &cells, &err),
                             -EINVAL);
            assert_string_equal(err.text, cases[i].error);
        }
}

/* 20,000 rows in the default chunk and odd ones, with every kind of cell on every border. */
static void rows_are_the_same_whatever_the_chunk(void **state)
{
    (void)state;
    static const size_t chunks[] = {997, 65536, 1 << 20};
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(text_clear) struct text expected = {0};
    struct error err = {""};

    for (int i = 0; i < 20000; i++)
        text_printf(&text, i % 3 ? "%d,plain,-1.5e3\r\n" : "%d,\"a \"\"b\"\"\r\n,c\",\n", i);
    assert_int_equal(read_all(text.data, text.length, &expected, &err), 0);
    assert_non_null(strstr(expected.data, "\n26667:[19999][plain][-1.5e3]\n"));
    for (size_t i = 0; i < sizeof(chunks) / sizeof(*chunks); i++) {
        CLEANUP(text_clear) struct text cells = {0};
        assert_int_equal(read_chunks(text.data, text.length, chunks[i], &cells, &err), 0);
        assert_int_equal(cells.length, expected.length);
        assert_memory_equal(cells.data, expected.data, cells.length);
    }
}

static void the_last_chunk_may_be_exactly_full(void **state)
{
    (void)state;
    static const char *const ends[] = {"a,b\n1,2\n", "a,b\n1,2", "a,b\n\"1\",2"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        CLEANUP(text_clear) struct text cells = {0};
        const size_t size = strlen(ends[i]);
        assert_int_equal(read_chunks(ends[i], size, size, &cells, NULL), 0);
        assert_string_equal(cells.data, "1:[a][b]\n2:[1][2]\n");
    }
}

static void a_row_may_be_longer_than_a_chunk(void **state)
{
    (void)state;
    const size_t length = 3 * INPUT_CHUNK;
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(text_clear) struct text cells = {0};

    text_puts(&text, "a\n\"");
    for (size_t i = 0; i < length; i++)
        text_puts(&text, i % 1000 ? "x" : "\n");
    text_puts(&text, "\"\nb\n");
    assert_int_equal(read_all(text.data, text.length, &cells, NULL), 0);
    assert_int_equal(cells.length, strlen("1:[a]\n2:[]\n790:[b]\n") + length);
    assert_non_null(strstr(cells.data, "]\n790:[b]\n"));
}

/* A quote that is never closed does not bring a file of any size into memory. */
static void a_row_without_end_is_refused(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    CLEANUP(csv_clear) struct csv csv = {0};
    CLEANUP(close_fd) int fd = memfd_create("bytes", MFD_CLOEXEC);
    struct error err = {""};
    static char line[1 << 16];

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(write(fd, "a\n1\n\"", 5), 5);
    for (size_t written = 0; written < 2 * CSV_MAX_ROW; written += sizeof(line))
        assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
    open_descriptor(&input, fd);
    assert_int_equal(csv_open(&csv, &input, &err), 0);
    assert_int_equal(csv_next(&csv, &err), 1);
    assert_int_equal(csv_next(&csv, &err), 1);
    assert_int_equal(csv_next(&csv, &err), -EINVAL);
    assert_string_equal(err.text,
                        "x:3: more than 64 MiB without the end of a row; is a quote never closed?");
    assert_true(input.size < 3 * CSV_MAX_ROW);
}

/* Broken quotes are refused where they stand, not after all the text behind them. */
static void a_quote_inside_a_cell_is_found_at_once(void **state)
{
    (void)state;
    CLEANUP(input_clear) struct input input = {0};
    CLEANUP(csv_clear) struct csv csv = {0};
    CLEANUP(text_clear) struct text text = {0};
    struct error err = {""};

    text_puts(&text, "a,b\n5\" disk,1\n");
    for (int i = 0; i < 1000; i++)
        text_puts(&text, "1,2\n");
    open_bytes(&input, text.data, text.length);
    input.chunk = 20;
    assert_int_equal(csv_open(&csv, &input, &err), 0);
    assert_int_equal(csv_next(&csv, &err), 1);
    assert_int_equal(csv_next(&csv, &err), -EINVAL);
    assert_non_null(strstr(err.text, "x:2: column 1: a quote inside the cell"));
    assert_true(input.size <= 20);
}

static void too_many_columns_are_refused(void **state)
{
    (void)state;
    static char commas[CSV_MAX_COLUMNS + 1];
    struct error err = {""};
    CLEANUP(text_clear) struct text cells = {0};

    memset(commas, ',', sizeof(commas));
    assert_int_equal(read_all(commas, CSV_MAX_COLUMNS - 1, &cells, &err), 0);
    assert_int_equal(read_all(commas, CSV_MAX_COLUMNS, &cells, &err), -EINVAL);
    assert_string_equal(err.text, "x.csv:1: more than 65536 columns");
}

/* Every prefix of a text full of corners ends in lines or an error, never beyond its bytes. */
static void every_cut_off_text_is_survived(void **state)
{
    (void)state;
    static const char whole[] = "\xEF\xBB\xBF"
                                "a,\"b\"\"c\" ,d\r\n\r\n\"1\n2\",,\"\"\r\n5,6\n\n";

    for (size_t size = 0; size < sizeof(whole); size++) {
        CLEANUP(text_clear) struct text cells = {0};
        struct error err = {""};
        const int r = read_all(whole, size, &cells, &err);
        assert_true(r == 0 || r == -EINVAL);
        assert_int_equal(r == 0, err.text[0] == '\0');
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        char text[201];
        CLEANUP(input_clear) struct input input = {0};
        CLEANUP(csv_clear) struct csv csv = {0};
        struct error err = {""};
        memset(text, ',', sizeof(text)); /* the cells must grow twice, the window four times */
        open_bytes(&input, text, sizeof(text));
        input.chunk = 20;
        alloc_fail_in = nth;
        r = csv_open(&csv, &input, &err);
        if (r == 0)
            r = csv_next(&csv, &err);
        alloc_fail_in = -1;
        assert_true(nth > 5 || r == -ENOMEM);
        assert_int_equal(r == -ENOMEM, err.text[0] != '\0');
    }
    assert_int_equal(r, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_taken_apart),
        cmocka_unit_test(broken_text_is_refused_with_its_place),
        cmocka_unit_test(rows_are_the_same_whatever_the_chunk),
        cmocka_unit_test(the_last_chunk_may_be_exactly_full),
        cmocka_unit_test(a_row_may_be_longer_than_a_chunk),
        cmocka_unit_test(a_row_without_end_is_refused),
        cmocka_unit_test(a_quote_inside_a_cell_is_found_at_once),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(every_cut_off_text_is_survived),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
