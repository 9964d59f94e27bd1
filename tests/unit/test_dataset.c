#include "data/dataset.h"

#include "base/input.h"
#include "base/text.h"
#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Messages begin with the file's name; the tests compare what follows it. */
static char path[64];

static void write_file(const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int read_text(const char *text, const struct dataset_options *options,
                     struct dataset *ret_dataset, struct error *err)
{
    write_file(text, strlen(text));
    return dataset_read(path, options, ret_dataset, err);
}

static const char *behind_path(const struct error *err)
{
    const size_t length = strlen(path);

    assert_memory_equal(err->text, path, length);
    return err->text + length;
}

static const struct dataset_options plain = {0};

static void a_header_names_the_features(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("cpu,\"mem, free\"\r\n1,2.5\r\n-3e-2,4\r\n", &plain, &dataset, NULL),
                     0);
    assert_int_equal(dataset.n_rows, 2);
    assert_int_equal(dataset.n_features, 2);
    assert_string_equal(dataset.names[0], "cpu");
    assert_string_equal(dataset.names[1], "mem, free");
    assert_memory_equal(dataset.rows, ((float[]){1, 2.5F, -3e-2F, 4}), 4 * sizeof(float));
    assert_null(dataset.labels);
    assert_null(dataset.timestamps);
}

static void a_first_line_of_numbers_is_a_row(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n_rows;
    } cases[] = {
        {"1,2\n3,4\n",      2},
        {"1,\n3,4\n",       2}, /* a missing value is no name */
        {"nan,2\n3,4\n",    2},
        {"x,2\n3,4\n",      1},
        {"a,b\n3,4\n",      1},
        {"nan,null\n3,4\n", 1}, /* no number at all */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(dataset_clear) struct dataset dataset = {0};
        assert_int_equal(read_text(cases[i].text, &plain, &dataset, NULL), 0);
        assert_int_equal(dataset.n_rows, cases[i].n_rows);
        if (cases[i].n_rows == 2) {
            assert_string_equal(dataset.names[0], "f0");
            assert_string_equal(dataset.names[1], "f1");
        }
    }
}

static void missing_values_become_nan(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(
        read_text("a,b\n,1\nnan,1\nNaN,1\nnull,1\nNULL,1\nNA,1\n\"\",1\n  ,1\n-nan,1\n", &plain,
                  &dataset, NULL),
        0);
    assert_int_equal(dataset.n_rows, 9);
    for (size_t row = 0; row < 9; row++) {
        assert_true(isnan(dataset.rows[2 * row]));
        assert_true(dataset.rows[2 * row + 1] == 1);
    }
}

static void an_empty_line_of_a_single_column_is_a_missing_value(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("a\n1\n\n3\n\n\n", &plain, &dataset, NULL), 0);
    assert_int_equal(dataset.n_rows, 3);
    assert_true(isnan(dataset.rows[1]));
    assert_true(dataset.rows[2] == 3);
}

static void lines_are_counted_through_quoted_line_ends(void **state)
{
    (void)state;
    const struct dataset_options options = {.exclude = (const char *[]){"note"}, .n_exclude = 1};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};

    assert_int_equal(read_text("a,note\n1,\"x\ny\"\n2,z\n", &options, &dataset, NULL), 0);
    assert_int_equal(dataset.lines[0], 2);
    assert_int_equal(dataset.lines[1], 4);
    dataset_clear(&dataset);
    assert_int_equal(read_text("a,note\n1,\"x\ny\"\nb,z\n", &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":4: column 1 (a): \"b\" is not a number; leave the "
                                           "column out with --exclude a, or train with "
                                           "--prepare a=onehot");
}

static void numbers_are_bit_equal_to_strtod(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(text_clear) struct text numbers = {0};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    uint64_t bits = 7;

    text_puts(&text, "a\n");
    for (int i = 0; i < 20000; i++) {
        char number[64];
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        const double value = ldexp((double)(int64_t)bits, -(int)((bits >> 32) % 212));
        (void)snprintf(number, sizeof(number), i % 3 ? "%.*g" : "%.*f", i % 20, value);
        text_printf(&text, "%s\n", number);
        const float expected = (float)strtod(number, NULL);
        text_append(&numbers, (const char *)&expected, sizeof(expected));
    }
    assert_int_equal(read_text(text.data, &plain, &dataset, NULL), 0);
    assert_int_equal(dataset.n_rows, 20000);
    assert_memory_equal(dataset.rows, numbers.data, numbers.length);
}

static void labels_are_counted_in_the_order_they_appear(void **state)
{
    (void)state;
    const struct dataset_options options = {.label_column = "label"};
    static const char *const names[] = {"0", "leak", "1", "hog"};
    static const uint32_t labels[] = {0, 1, 0, 2, 0, 1, 3, 0};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(
        read_text("a,label,b\n1,0,2\n1,leak,2\n1,,2\n1,1,2\n1,0.0,2\n1,leak,2\n1,hog,2\n1,NA,2\n",
                  &options, &dataset, NULL),
        0);
    assert_int_equal(dataset.n_features, 2);
    assert_string_equal(dataset.names[1], "b");
    assert_memory_equal(dataset.labels, labels, sizeof(labels));
    assert_int_equal(dataset.n_label_names, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(dataset.label_names[i], names[i]);
}

static void labels_that_begin_alike_are_told_apart(void **state)
{
    (void)state;
    const struct dataset_options options = {.label_column = "label"};
    static const uint32_t labels[] = {1, 2, 1};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("a,label\n1,disk\n1,dis\n1,disk\n", &options, &dataset, NULL), 0);
    assert_memory_equal(dataset.labels, labels, sizeof(labels));
}

static void a_column_of_measurements_is_no_label(void **state)
{
    (void)state;
    const struct dataset_options options = {.label_column = "label"};
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};

    text_puts(&text, "a,label\n");
    for (int i = 0; i < 1001; i++)
        text_printf(&text, "1,%d\n", i);
    assert_int_equal(read_text(text.data, &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ":1002: column 2 (label): \"1000\" is one label too many, at most 1,000 "
                        "can differ; is this the label column?");
}

static void timestamp_and_series_are_no_features(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(
        read_text("timestamp,a,series\nyesterday,1,web\n,2,db\n", &plain, &dataset, NULL), 0);
    assert_int_equal(dataset.n_features, 1);
    assert_string_equal(dataset.names[0], "a");
    assert_true(dataset.rows[1] == 2);
    assert_null(dataset.timestamps);
}

static void timestamps_are_read_when_asked_for(void **state)
{
    (void)state;
    const struct dataset_options options = {.with_timestamps = true};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};

    assert_int_equal(
        read_text("a,timestamp\n1,1970-01-01T00:00:01.5Z\n2,17\n", &options, &dataset, NULL), 0);
    assert_true(dataset.timestamps[0] == 1.5);
    assert_true(dataset.timestamps[1] == 17);
    dataset_clear(&dataset);
    assert_int_equal(read_text("a\n1\n", &options, &dataset, NULL), 0);
    assert_null(dataset.timestamps);
    dataset_clear(&dataset);
    assert_int_equal(read_text("a,timestamp\n1,\n", &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ":2: column 2 (timestamp): \"\" is no moment; write 2024-03-01T12:30:00Z "
                        "or seconds (not milliseconds) since 1970");
}

static void series_are_read_when_asked_for(void **state)
{
    (void)state;
    const struct dataset_options options = {.with_series = true};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(
        read_text("series,a\nweb,1\nweb,2\n,3\ndb,4\nweb,5\n", &options, &dataset, NULL), 0);
    assert_int_equal(dataset.n_series_names, 3);
    assert_string_equal(dataset.series_names[0], "web");
    assert_string_equal(dataset.series_names[1], "");
    assert_string_equal(dataset.series_names[2], "db");
    assert_memory_equal(dataset.series, ((uint32_t[]){0, 0, 1, 2, 0}), 5 * sizeof(uint32_t));
    dataset_clear(&dataset);
    assert_int_equal(read_text("series,a\nweb,1\n", &plain, &dataset, NULL), 0);
    assert_null(dataset.series);
}

static struct schema *cpu_and_mem(void)
{
    static const char *const names[] = {"cpu", "mem"};
    struct schema *schema = NULL;

    assert_int_equal(schema_new(names, 2, &schema, NULL), 0);
    return schema;
}

static void columns_match_the_schema_by_name_in_any_order(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *schema = cpu_and_mem();
    const struct dataset_options options = {.schema = schema};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("mem,timestamp,cpu\n2,x,1\n4,x,3\n", &options, &dataset, NULL), 0);
    assert_string_equal(dataset.names[0], "cpu");
    assert_memory_equal(dataset.rows, ((float[]){1, 2, 3, 4}), 4 * sizeof(float));
}

static void a_feature_without_column_is_missing_in_every_row(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *schema = cpu_and_mem();
    const struct dataset_options options = {.schema = schema};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("mem\n2\n4\n", &options, &dataset, NULL), 0);
    assert_int_equal(dataset.n_features, 2);
    assert_true(isnan(dataset.rows[0]) && isnan(dataset.rows[2]));
    assert_true(dataset.rows[1] == 2 && dataset.rows[3] == 4);
}

static void columns_without_names_match_the_schema_by_position(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *schema = cpu_and_mem();
    const struct dataset_options options = {.schema = schema, .label_column = "f1"};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};

    assert_int_equal(read_text("1,0,2\n3,1,4\n", &options, &dataset, NULL), 0);
    assert_string_equal(dataset.names[1], "mem");
    assert_memory_equal(dataset.rows, ((float[]){1, 2, 3, 4}), 4 * sizeof(float));
    assert_int_equal(dataset.labels[1], 1);
    dataset_clear(&dataset);
    assert_int_equal(read_text("1,0,2,5\n", &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ":1: 3 columns of features without names, the model has 2 features");
}

static void unknown_columns_are_refused(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *schema = cpu_and_mem();
    const struct dataset_options options = {.schema = schema};
    struct dataset dataset = {0};
    struct error err = {""};

    assert_int_equal(read_text("cpu,men\n1,2\n", &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ":1: column 2 (men): the model has no such feature; is it \"mem\"?");
    assert_int_equal(read_text("cpu,mem,disk\n1,2,3\n", &options, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":1: column 3 (disk): the model has no such feature; "
                                           "leave the column out with --exclude disk");
}

#define NO_NUMBER(name)                                                                            \
    "is not a number; leave the column out with --exclude " name ", or train with --prepare " name \
    "=onehot"

static void bad_files_are_refused_with_place_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"",                                                                          ": the file is empty"                                        },
        {"\n\r\n",                                                                    ": the file is empty"                                        },
        {"\n1,2\n",                                                                   ":1: an empty line where the header or the first row belongs"},
        {"a,b\n",                                                                     ": there is only a header, no rows"                          },
        {"a,b\n1,2\nx,4\n",                                                           ":3: column 1 (a): \"x\" " NO_NUMBER("a")                    },
        {"a,b\n1,0x10\n",                                                             ":2: column 2 (b): \"0x10\" " NO_NUMBER("b")                 },
        {"a,b\n1,1.2.3\n",                                                            ":2: column 2 (b): \"1.2.3\" " NO_NUMBER("b")                },
        {"1,2\n3,x\n",                                                                ":2: column 2 (f1): \"x\" " NO_NUMBER("f1")                  },
        {"a\n\"1\n2\"\n",                                                             ":2: column 1 (a): \"1?2\" " NO_NUMBER("a")                  },
        {"a\n\x1B[2J\xFF\n",                                                          ":2: column 1 (a): \"?[2J?\" " NO_NUMBER("a")                },
        {"a\nThis is a long text that nobody wants to see as a whole in a message\n",
         ":2: column 1 (a): \"This is a long text that nobody wants to see as a whole in "
         "a…\" " NO_NUMBER("a")                                                                                                                  },
        {"a;b\n1;2\n",
         ":2: column 1 (a;b): \"1;2\" is not a number; cells must be separated by commas"                                                          },
        {"a\tb\n1\t2\n",                                                              ":1: column 1: the name holds a control character; every "
                         "column needs a name in the header"                                                               },
        {"a,b\n1,inf\n",                                                              ":2: column 2 (b): \"inf\" is infinite; if the value is "
                         "missing, leave the cell empty"                                                                   },
        {"a,b\n1,-Infinity\n",                                                        ":2: column 2 (b): \"-Infinity\" is infinite; if the "
                               "value is missing, leave the cell empty"                                              },
        {"inf,1\n",                                                                   ":1: column 1 (f0): \"inf\" is infinite; if the value is "
                    "missing, leave the cell empty"                                                                             },
        {"a\n3.5e38\n",                                                               ":2: column 1 (a): \"3.5e38\" is beyond the range of a "
                        "32-bit float (3.4e38); use a larger unit"                                                          },
        {"a\n-1e999\n",                                                               ":2: column 1 (a): \"-1e999\" is beyond the range of a "
                        "32-bit float (3.4e38); use a larger unit"                                                          },
        {"a,b\n1\n",                                                                  ":2: 1 cells, but the first line has 2; a cell that holds "
                     "a comma must be in quotes"                                                                               },
        {"a,b\n1,2\n1,2,3\n",                                                         ":3: 3 cells, but the first line has 2; a cell that holds "
                              "a comma must be in quotes"                                                             },
        {"a,b\n1,2\n\n3,4\n",                                                         ":3: an empty line between rows; take it out"                },
        {"a,b,c,b\n1,2,3,4\n",                                                        ":1: column 4 (b): column 2 has the same name; rename one"   },
        {"a,,c\n1,2,3\n",                                                             ":1: column 2: the name is empty; every column needs a "
                          "name in the header"                                                                            },
        {",\n1,2\n",                                                                  ":1: column 1: the name is empty; every column needs a "
                     "name in the header"                                                                                      },
        {"a,\xFF\n1,2\n",                                                             ":1: column 2: the name is not UTF-8; every column needs "
                          "a name in the header"                                                                          },
        {"timestamp,series\n1,2\n",                                                   ":1: no column is left that could be a feature"              },
        {"a,b\n1,\"2\n3,4\n",                                                         ":2: column 2: the quote that begins here is never closed"   },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct dataset dataset = {.n_rows = 42};
        struct error err = {""};
        assert_int_equal(read_text(cases[i].text, &plain, &dataset, &err), -EINVAL);
        assert_string_equal(behind_path(&err), cases[i].error);
        assert_int_equal(dataset.n_rows, 42);
    }
}

static void options_that_name_no_column_are_refused(void **state)
{
    (void)state;
    const char *const exclude[] = {"b", "x"};
    const struct {
        const char *text;
        struct dataset_options options;
        const char *error;
    } cases[] = {
        {"a,b\n1,2\n",
         {.label_column = "incident"},
         ":1: no column is named \"incident\" (--label-column); there are: a, b"   },
        {"1,2\n",
         {.label_column = "incident"},
         ":1: no column is named \"incident\" (--label-column); there are: f0, f1" },
        {"a,b\n1,2\n",
         {.exclude = exclude, .n_exclude = 2},
         ":1: no column is named \"x\" (--exclude); there are: a, b"               },
        {"a,b\n1,2\n",
         {.exclude = exclude, .n_exclude = 1, .label_column = "b"},
         ":1: the label column \"b\" is excluded as well; take it out of --exclude"},
        {"b\n1\n",
         {.exclude = exclude, .n_exclude = 1},
         ":1: no column is left that could be a feature"                           },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct dataset dataset = {0};
        struct error err = {""};
        assert_int_equal(read_text(cases[i].text, &cases[i].options, &dataset, &err), -EINVAL);
        assert_string_equal(behind_path(&err), cases[i].error);
    }
}

static void a_long_list_of_columns_is_cut(void **state)
{
    (void)state;
    const struct dataset_options options = {.label_column = "incident"};
    CLEANUP(text_clear) struct text text = {0};
    struct dataset dataset = {0};
    struct error err = {""};

    for (int i = 0; i < 300; i++)
        text_printf(&text, "%scolumn_%d", i ? "," : "", i);
    assert_int_equal(read_text(text.data, &options, &dataset, &err), -EINVAL);
    assert_string_equal(err.text + strlen(err.text) - 5, ", …");
    assert_true(strlen(err.text) < sizeof(err.text) - 1);
}

static void excluded_columns_may_hold_anything(void **state)
{
    (void)state;
    const char *const exclude[] = {"host", "timestamp"};
    const struct dataset_options options = {
        .exclude = exclude, .n_exclude = 2, .with_timestamps = true};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("host,a,timestamp\nweb1,1,then\ninf,2,\n", &options, &dataset, NULL),
                     0);
    assert_int_equal(dataset.n_features, 1);
    assert_memory_equal(dataset.rows, ((float[]){1, 2}), 2 * sizeof(float));
    assert_null(dataset.timestamps);
}

static void too_many_features_are_refused(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    struct dataset dataset = {0};
    struct error err = {""};

    for (int i = 0; i <= SCHEMA_MAX_FEATURES; i++)
        text_printf(&text, "%s%d", i ? "," : "", i);
    assert_int_equal(read_text(text.data, &plain, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":1: 4097 features are too many, at most 4096 are "
                                           "possible; leave some out with --exclude");
    const struct dataset_options options = {.exclude = (const char *[]){"f7"}, .n_exclude = 1};
    assert_int_equal(dataset_read(path, &options, &dataset, NULL), 0);
    assert_int_equal(dataset.n_features, SCHEMA_MAX_FEATURES);
    assert_true(dataset.rows[7] == 8);
    dataset_clear(&dataset);
}

static void nul_bytes_are_refused(void **state)
{
    (void)state;
    struct dataset dataset = {0};
    struct error err = {""};

    write_file("a\n1\0\n", 5);
    assert_int_equal(dataset_read(path, &plain, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ":2: a NUL byte: this is no CSV in UTF-8; if it is UTF-16, convert it");
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    struct dataset dataset = {0};
    struct error err = {""};

    assert_int_equal(dataset_read("/nowhere/x.csv", &plain, &dataset, &err), -ENOENT);
    assert_string_equal(err.text, "/nowhere/x.csv: cannot open: No such file or directory");
    assert_int_equal(dataset_read("/", &plain, &dataset, &err), -EISDIR);
}

static void a_row_with_more_than_half_missing_is_incomplete(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    assert_int_equal(read_text("a,b,c,d\n1,2,3,4\n1,,nan,4\n,NA,3,\n,,,\n", &plain, &dataset, NULL),
                     0);
    assert_int_equal(dataset.n_rows, 4);
    for (size_t i = 0; i < 4; i++) {
        static const size_t n_missing[] = {0, 2, 3, 4};
        assert_int_equal(dataset_count_missing(&dataset, i), n_missing[i]);
        assert_int_equal(dataset_is_incomplete(&dataset, i), n_missing[i] > 2);
    }
}

static void standard_input_is_read(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};
    int ends[2];
    const int saved = dup(STDIN_FILENO);

    for (int i = 0; i < 2; i++) {
        const char *text = i ? "a\nx\n" : "a\n1\n";
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], text, 4), 4);
        close(ends[1]);
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        assert_int_equal(dataset_read("-", &plain, i ? &(struct dataset){0} : &dataset, &err),
                         i ? -EINVAL : 0);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
    assert_int_equal(dataset.n_rows, 1);
    assert_string_equal(err.text, "standard input:2: column 1 (a): \"x\" " NO_NUMBER("a"));
}

#define NPY_F8 "\x93NUMPY\1\0\x3D\0{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }  "

static void write_npy(const double items[4])
{
    char bytes[71 + 32];

    assert_int_equal(sizeof(NPY_F8) - 1, 71);
    memcpy(bytes, NPY_F8, 71);
    memcpy(bytes + 71, items, 32);
    write_file(bytes, sizeof(bytes));
}

static void npy_files_are_read(void **state)
{
    (void)state;
    const struct dataset_options options = {.label_column = "f1"};
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    write_npy((double[]){1.5, 0, (double)NAN, 3});
    assert_int_equal(dataset_read(path, &plain, &dataset, NULL), 0);
    assert_int_equal(dataset.n_rows, 2);
    assert_string_equal(dataset.names[1], "f1");
    assert_true(dataset.rows[0] == 1.5F && isnan(dataset.rows[2]) && dataset.rows[3] == 3);
    assert_int_equal(dataset.lines[1], 2);
    dataset_clear(&dataset);

    assert_int_equal(dataset_read(path, &options, &dataset, NULL), 0);
    assert_int_equal(dataset.n_features, 1);
    assert_int_equal(dataset.labels[0], 0);
    assert_int_equal(dataset.labels[1], 1);
    assert_string_equal(dataset.label_names[1], "3");
}

static void npy_values_that_are_no_float_are_refused(void **state)
{
    (void)state;
    struct dataset dataset = {0};
    struct error err = {""};

    write_npy((double[]){1, 2, 3, (double)INFINITY});
    assert_int_equal(dataset_read(path, &plain, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":2: column 2 (f1): \"inf\" is infinite; if the value "
                                           "is missing, leave the cell empty");
    write_npy((double[]){1e300, 2, 3, 4});
    assert_int_equal(dataset_read(path, &plain, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":1: column 1 (f0): \"1e+300\" is beyond the range of a "
                                           "32-bit float (3.4e38); use a larger unit");
}

static void npy_in_fortran_order_is_read(void **state)
{
    (void)state;
    static const char header[] =
        "\x93NUMPY\1\0\x3C\0{'descr': '<f8', 'fortran_order': True, 'shape': "
        "(2, 2), }  ";
    const struct dataset_options options = {.label_column = "f0"};
    const double items[] = {0, 7, 1.5, (double)NAN}; /* column by column */
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    char bytes[70 + 32];

    assert_int_equal(sizeof(header) - 1, 70);
    memcpy(bytes, header, 70);
    memcpy(bytes + 70, items, 32);
    write_file(bytes, sizeof(bytes));
    assert_int_equal(dataset_read(path, &options, &dataset, NULL), 0);
    assert_int_equal(dataset.n_rows, 2);
    assert_true(dataset.rows[0] == 1.5F && isnan(dataset.rows[1]));
    assert_int_equal(dataset.labels[0], 0);
    assert_int_equal(dataset.labels[1], 1);
    assert_string_equal(dataset.label_names[1], "7");
    assert_int_equal(dataset.lines[0], 1);
    assert_int_equal(dataset.lines[1], 2);
}

static void a_cut_off_npy_file_is_refused(void **state)
{
    (void)state;
    struct dataset dataset = {0};
    struct error err = {""};

    write_npy((double[]){1, 2, 3, 4});
    assert_int_equal(truncate(path, 71 + 31), 0);
    assert_int_equal(dataset_read(path, &plain, &dataset, &err), -EINVAL);
    assert_string_equal(behind_path(&err),
                        ": cut off: the header says 32 bytes of values, there are 31");
}

/* Rows behind the first chunk, and where a mistake among them is. */
static void a_file_longer_than_a_chunk_is_read(void **state)
{
    (void)state;
    const size_t n_rows = INPUT_CHUNK / 4;
    const struct dataset_options options = {.exclude = (const char *[]){"note"}, .n_exclude = 1};
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct error err = {""};

    text_puts(&text, "\xEF\xBB\xBFnumber,note\r\n");
    for (size_t i = 0; i < n_rows; i++)
        text_printf(&text, i % 2 ? "%zu,x\r\n" : "%zu,\"\"\"a\n,\"\r\n", i);
    assert_true(text.length > 2 * INPUT_CHUNK);
    assert_int_equal(read_text(text.data, &options, &dataset, &err), 0);
    assert_int_equal(dataset.n_rows, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        assert_true(dataset.rows[i] == (float)i);
        assert_int_equal(dataset.lines[i], 2 + i + (i + 1) / 2);
    }
    text_puts(&text, "x,y");
    assert_int_equal(read_text(text.data, &options, &(struct dataset){0}, &err), -EINVAL);
    assert_string_equal(behind_path(&err), ":98306: column 1 (number): \"x\" " NO_NUMBER("number"));
}

/* Twenty million bytes of text, less than a million of values. */
static void memory_is_that_of_the_rows_not_of_the_text(void **state)
{
    (void)state;
    const int n_rows = 100000;
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    struct rusage before, after;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (int i = 0; i < n_rows; i++)
        assert_true(fprintf(file, "%100d,%100d\n", i, -i) > 200);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    assert_int_equal(dataset_read(path, &plain, &dataset, NULL), 0);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_int_equal(dataset.n_rows, n_rows);
    assert_true(after.ru_maxrss - before.ru_maxrss < 8 * 1024); /* KiB */
}

/* Any file must end in rows or in a message; a cheap stand-in for the fuzzer. */
static void damaged_files_are_survived(void **state)
{
    (void)state;
    static const char text[] = "timestamp,a,\"b\"\"\",label\n1,1.5,,x\r\n\"2\",nan,\"3\",0\n";
    const struct dataset_options options = {.label_column = "label", .with_timestamps = true};
    static const char strange[] = "\0,\"\n\r-.e9\xFF; x";

    for (size_t at = 0; at < sizeof(text) - 1; at++)
        for (size_t i = 0; i < sizeof(strange) - 1; i++) {
            char copy[sizeof(text)];
            CLEANUP(dataset_clear) struct dataset dataset = {0};
            struct error err = {""};
            memcpy(copy, text, sizeof(copy));
            copy[at] = strange[i];
            write_file(copy, sizeof(copy) - 1);
            const int r = dataset_read(path, &options, &dataset, &err);
            assert_true(r == 0 || r == -EINVAL);
            assert_int_equal(r == 0, err.text[0] == '\0');
        }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *schema = cpu_and_mem();
    CLEANUP(text_clear) struct text text = {0};
    const struct dataset_options options[] = {
        {.label_column = "label", .with_timestamps = true},
        {.label_column = "label", .schema = schema       },
    };

    text_puts(&text, "timestamp,cpu,mem,label\n");
    for (int i = 0; i < 100; i++) /* so many that the rows must grow */
        text_printf(&text, "1,2,3,%d\n", i % 3);
    write_file(text.data, text.length);
    for (size_t i = 0; i < 2; i++) {
        int r = -ENOMEM;
        for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
            CLEANUP(dataset_clear) struct dataset dataset = {0};
            struct error err = {""};
            alloc_fail_in = nth;
            r = dataset_read(path, &options[i], &dataset, &err);
            alloc_fail_in = -1;
            assert_int_equal(r == 0, dataset.n_rows == 100);
            assert_int_equal(r == 0, err.text[0] == '\0');
        }
        assert_int_equal(r, 0);
    }
}

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/test_dataset.XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_that_of_the_rows_not_of_the_text), /* before others need more */
        cmocka_unit_test(a_header_names_the_features),
        cmocka_unit_test(a_first_line_of_numbers_is_a_row),
        cmocka_unit_test(missing_values_become_nan),
        cmocka_unit_test(an_empty_line_of_a_single_column_is_a_missing_value),
        cmocka_unit_test(lines_are_counted_through_quoted_line_ends),
        cmocka_unit_test(numbers_are_bit_equal_to_strtod),
        cmocka_unit_test(labels_are_counted_in_the_order_they_appear),
        cmocka_unit_test(labels_that_begin_alike_are_told_apart),
        cmocka_unit_test(a_column_of_measurements_is_no_label),
        cmocka_unit_test(timestamp_and_series_are_no_features),
        cmocka_unit_test(timestamps_are_read_when_asked_for),
        cmocka_unit_test(series_are_read_when_asked_for),
        cmocka_unit_test(columns_match_the_schema_by_name_in_any_order),
        cmocka_unit_test(a_feature_without_column_is_missing_in_every_row),
        cmocka_unit_test(columns_without_names_match_the_schema_by_position),
        cmocka_unit_test(unknown_columns_are_refused),
        cmocka_unit_test(bad_files_are_refused_with_place_and_remedy),
        cmocka_unit_test(options_that_name_no_column_are_refused),
        cmocka_unit_test(a_long_list_of_columns_is_cut),
        cmocka_unit_test(excluded_columns_may_hold_anything),
        cmocka_unit_test(too_many_features_are_refused),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(a_row_with_more_than_half_missing_is_incomplete),
        cmocka_unit_test(standard_input_is_read),
        cmocka_unit_test(npy_files_are_read),
        cmocka_unit_test(npy_values_that_are_no_float_are_refused),
        cmocka_unit_test(npy_in_fortran_order_is_read),
        cmocka_unit_test(a_cut_off_npy_file_is_refused),
        cmocka_unit_test(a_file_longer_than_a_chunk_is_read),
        cmocka_unit_test(damaged_files_are_survived),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
