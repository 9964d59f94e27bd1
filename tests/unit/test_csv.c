#include "data/csv.h"

#include "base/text.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads all; one line of result for each line read: "LINE:[cell][cell]". */
static int read_all(const char *text, size_t size, struct text *ret_cells, struct error *err)
{
    AUTO_FREE char *copy = calloc(1, size + 1); /* exactly as large: ASan sees every overrun */
    CLEANUP(csv_clear) struct csv csv = {0};

    assert_non_null(copy);
    memcpy(copy, text, size);
    int r = csv_open(&csv, "x.csv", copy, size, err);
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

static void cells_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *cells;
    } cases[] = {
        {"",                       ""                         },
        {"\n\r\n\n",               ""                         },
        {" \t\n  ",                ""                         },
        {"a,b\n1,2\n   \n\t \r\n", "1:[a][b]\n2:[1][2]\n"     },
        {"a\n \nb\n ",             "1:[a]\n2:[]empty\n3:[b]\n"},
        {"1,\" \"  \n",            "1:[1][ ]\n"               },
        {"\xEF\xBB\xBF",           ""                         },
        {"a",                      "1:[a]\n"                  },
        {"a,b\n1,2\n",             "1:[a][b]\n2:[1][2]\n"     },
        {"a,b\r\n1,2\r\n",         "1:[a][b]\n2:[1][2]\n"     },
        {"a,b\n1,2",               "1:[a][b]\n2:[1][2]\n"     },
        {"1,",                     "1:[1][]\n"                },
        {"1,\n",                   "1:[1][]\n"                },
        {",,",                     "1:[][][]\n"               },
        {"\xEF\xBB\xBF"
         "a,b",           "1:[a][b]\n"               },
        {"\"a,b\",c",              "1:[a,b][c]\n"             },
        {"\"say \"\"hi\"\"\",c",   "1:[say \"hi\"][c]\n"      },
        {"\"\"\"\"",               "1:[\"]\n"                 },
        {"\"\",\"\"",              "1:[][]\n"                 },
        {"\"a\nb\",c\nd,e",        "1:[a\nb][c]\n3:[d][e]\n"  },
        {"\"a\r\nb\"\r\nc",        "1:[a\r\nb]\n3:[c]\n"      },
        {" a\t, b c ,\t\n",        "1:[a][b c][]\n"           },
        {" \" a \" ,b",            "1:[ a ][b]\n"             },
        {"a\n\nb",                 "1:[a]\n2:[]empty\n3:[b]\n"},
        {"a\n \nb",                "1:[a]\n2:[]empty\n3:[b]\n"},
        {"a\r\n\r\nb",             "1:[a]\n2:[]empty\n3:[b]\n"},
        {"a\n\"\"\nb",             "1:[a]\n2:[]\n3:[b]\n"     },
        {"a\n\n\n\n",              "1:[a]\n"                  },
        {"a\n\"\"\n\n",            "1:[a]\n2:[]\n"            },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(text_clear) struct text cells = {0};
        struct error err = {""};
        text_puts(&cells, "");
        if (read_all(cases[i].text, strlen(cases[i].text), &cells, &err) != 0)
            fail_msg("case %zu: %s", i, err.text);
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
        CASE("a\n1\n\0\n", "x.csv:3: a NUL byte: this is no CSV in UTF-8; if it is UTF-16, convert "
                           "it"),
        CASE("\xFF\xFE"
             "a\0,\0",
             "x.csv:1: a NUL byte: this is no CSV in UTF-8; if it is UTF-16, "
             "convert it"),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(text_clear) struct text cells = {0};
        struct error err = {""};
        assert_int_equal(read_all(cases[i].text, cases[i].size, &cells, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
    }
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
        CLEANUP(csv_clear) struct csv csv = {0};
        memset(text, ',', sizeof(text)); /* the cells must grow twice */
        text[200] = '\0';
        assert_int_equal(csv_open(&csv, "x.csv", text, 200, NULL), 0);
        alloc_fail_in = nth;
        r = csv_next(&csv, NULL);
        alloc_fail_in = -1;
        assert_true(nth > 2 || r == -ENOMEM);
    }
    assert_int_equal(r, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_taken_apart),
        cmocka_unit_test(broken_text_is_refused_with_its_place),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(every_cut_off_text_is_survived),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
