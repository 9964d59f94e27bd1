/* Files whose columns are prepared: data/dataset.h. */
#include "data/dataset.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Messages begin with the file's name; the tests compare what follows it. */
static char path[64];
static struct prepare_spec spec;
static struct dataset dataset;
static struct preparation *preparation;
static struct error error;

static int make_path(void **state)
{
    (void)state;
    (void)strcpy(path, "/tmp/test_dataset_prepare.XXXXXX");
    return close(mkstemp(path));
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static int set_up(void **state)
{
    (void)state;
    prepare_spec_init(&spec);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dataset_clear(&dataset);
    prepare_spec_clear(&spec);
    preparation_free(TAKE(preparation));
    return 0;
}

static void write_file(const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int read_file(void)
{
    const struct dataset_options options = {
        .prepare = &spec, .with_timestamps = true, .with_series = true};

    error = (struct error){0};
    dataset_clear(&dataset);
    return dataset_read(path, &options, &dataset, &error);
}

static int read_values(const char *prepare, const char *text)
{
    assert_int_equal(prepare_spec_parse(&spec, prepare, &error), 0);
    write_file(text, strlen(text));
    return read_file();
}

static int plan(void)
{
    int r = dataset_complete_spec(&dataset, path, &spec, &error);

    preparation_free(TAKE(preparation));
    if (r == 0)
        r = preparation_new(&spec, (const char *const *)dataset.names, dataset.n_values,
                            &preparation, &error);
    return r;
}

/* Reads and prepares. */
static int prepare(const char *how, const char *text, bool is_independent)
{
    int r = read_values(how, text);

    if (r == 0)
        r = plan();
    return r < 0 ? r : dataset_prepare(&dataset, path, preparation, is_independent, &error);
}

static void must(int r)
{
    if (r < 0)
        fail_msg("%s", error.text);
}

static void expect_error(int r, const char *want)
{
    assert_int_equal(r, -EINVAL);
    assert_memory_equal(error.text, path, strlen(path));
    assert_string_equal(error.text + strlen(path), want);
}

static void expect_rows(const float *want, size_t n_rows)
{
    assert_int_equal(dataset.n_rows, n_rows);
    for (size_t k = 0; k < n_rows * dataset.n_features; k++)
        if (isnan(want[k]) ? !isnan(dataset.rows[k]) : dataset.rows[k] != want[k])
            fail_msg("row %zu, feature %zu is %.9g", k / dataset.n_features, k % dataset.n_features,
                     (double)dataset.rows[k]);
}

/* ---- reading ---- */

static void values_are_doubles_and_categories_numbers_of_texts(void **state)
{
    (void)state;
    must(read_values("code=onehot,state=onehot",
                     "code,bytes,state\n200,9007199254740991,up\n200.0,0.1,down\n2e2,,\"up\"\n"
                     ",1,NA\n404,1, up\n"));
    static const double want[][3] = {
        {0,           9007199254740991.0, 0          },
        {0,           0.1,                1          },
        {0,           (double)NAN,        0          },
        {(double)NAN, 1,                  (double)NAN},
        {1,           1,                  0          }
    };
    assert_int_equal(dataset.n_values, 3);
    assert_null(dataset.rows);
    for (size_t k = 0; k < 15; k++) {
        const double have = dataset.values[k], wanted = want[k / 3][k % 3];
        if (isnan(wanted) ? !isnan(have) : have != wanted)
            fail_msg("value %zu is %.17g", k, have);
    }
    assert_int_equal(dataset.texts[0].n, 2);
    assert_string_equal(dataset.texts[0].texts[0], "200");
    assert_string_equal(dataset.texts[2].texts[1], "down");
    assert_int_equal(dataset.texts[1].n, 0);
    assert_int_equal(dataset_count_missing(&dataset, 3), 2);
    assert_true(dataset_is_incomplete(&dataset, 3));
    assert_false(dataset_is_incomplete(&dataset, 2));
}

static void text_elsewhere_is_refused_with_both_ways_out(void **state)
{
    (void)state;
    expect_error(read_values("a=rate", "timestamp,a,state\n1,1,up\n"),
                 ":2: column 3 (state): \"up\" is not a number; leave the column out with "
                 "--exclude state, or train with --prepare state=onehot");
}

static void an_npy_file_holds_categories_as_well(void **state)
{
    (void)state;
    static const char header[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }";
    static const double items[] = {200, 5, 404, 6, (double)NAN, 7};
    char file[128 + sizeof(items)];

    memset(file, ' ', 128);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, header, sizeof(header) - 1);
    file[127] = '\n';
    memcpy(file + 128, items, sizeof(items));
    write_file(file, sizeof(file));
    must(prepare_spec_parse(&spec, "f0=onehot", &error));
    must(read_file());
    must(plan());
    must(dataset_prepare(&dataset, path, preparation, false, &error));
    assert_string_equal(dataset.names[1], "f0=404");
    expect_rows((const float[]){1, 0, 0, 5, 0, 1, 0, 6, NAN, NAN, NAN, 7}, 3);
}

/* ---- what the rows say of a spec ---- */

static void categories_of_the_rows_are_sorted(void **state)
{
    (void)state;
    must(prepare("state=onehot,code=onehot:1", "state,code\nup,1\ndown,2\nup,1.0\nhalf=way,3\n,1\n",
                 false));
    static const char *const want[] = {"state=down",    "state=half=way", "state=up",
                                       "state=(other)", "code=1",         "code=(other)"};
    assert_int_equal(dataset.n_features, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(dataset.names[i], want[i]);
    expect_rows(
        (const float[]){
            0,   0,   1,   0,   1, 0, /* up, 1 */
            1,   0,   0,   0,   0, 1, /* down, any other */
            0,   0,   1,   0,   1, 0, /* */
            0,   1,   0,   0,   0, 1, /* half=way */
            NAN, NAN, NAN, NAN, 1, 0, /* missing */
        },
        5);
    assert_true(dataset.values[0] == 2.0); /* by the preparation's numbers now */
}

static void a_model_has_its_own_categories(void **state)
{
    (void)state;
    CLEANUP(dataset_clear) struct dataset other = {0};
    must(prepare("state=onehot", "state,b\nup,1\ndown,2\n", false));
    const struct dataset_options options = {.schema = preparation->values,
                                            .preparation = preparation};

    static const char text[] = "b,state\n5,new\n6,down\n";

    write_file(text, sizeof(text) - 1);
    must(dataset_read(path, &options, &other, &error));
    must(dataset_prepare(&other, path, preparation, false, &error));
    static const float want[] = {0, 0, 1, 5, 1, 0, 0, 6};
    assert_memory_equal(other.rows, want, sizeof(want));
}

static void a_column_without_a_value_has_no_categories(void **state)
{
    (void)state;
    expect_error(prepare("state=onehot", "a,state\n1,\n2,NA\n", false),
                 ": column state: there is no value at all, so no category; leave the column "
                 "out");
}

static void the_first_category_too_many_is_told_with_its_line(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "id,a\n");
    for (int i = 0; i <= PREPARE_MAX_CATEGORIES; i++)
        text_printf(&text, "x%d,1\n", i);
    expect_error(
        prepare("id=onehot", text.data, false),
        ":102: column id: \"x100\" is one category too many, at most 100 can differ; leave "
        "the column out, it looks like an id, or say which matter: --prepare "
        "id=onehot:A|B");
}

static void categories_that_no_value_is_are_told(void **state)
{
    (void)state;
    expect_error(prepare("state=onehot:1|2", "a,state\n1,up\n2,down\n", false),
                 ": column state: no value is any of the categories that --prepare gives it, the "
                 "first is \"up\"; mend them, or leave them out to take those of the file");
    must(prepare("state=onehot:1|up", "a,state\n1,up\n2,down\n", false));
    must(prepare("state=onehot:2|3", "a,state\n1,2.0\n2,4\n", false));
    must(prepare("state=onehot:1|2", "a,state\n1,\n2,\n", false));
}

static void many_series_are_told_apart(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "series,a\n");
    for (int i = 0; i < 2 * 20000; i++)
        text_printf(&text, "host-%d,%d\n", i % 20000, i);
    must(prepare("a=delta", text.data, false));
    assert_int_equal(dataset.n_series_names, 20000);
    assert_int_equal(dataset.series[20000 + 1234], 1234);
    assert_float_equal(dataset.rows[20000 + 1234], 20000, 0);
}

static void a_value_that_falls_too_often_is_no_counter(void **state)
{
    (void)state;
    expect_error(
        prepare("b=rate", "timestamp,a,b\n1,1,5\n2,1,6\n3,1,4\n4,1,5\n5,1,3\n6,1,2\n", false),
        ":4: column b: the value falls here, and in 3 of 5 steps, so it is no "
        "counter; prepare it as delta or raw instead of rate");
    /* Few falls are resets, and so are more of them in a long file. */
    must(prepare("b=rate", "timestamp,a,b\n1,1,5\n2,1,6\n3,1,4\n4,1,5\n5,1,3\n6,1,3\n", false));
}

static void a_counter_may_be_reset_once_in_ten_steps(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "timestamp,b\n");
    for (int i = 0; i <= 40; i++) /* four falls in 40 steps */
        text_printf(&text, "%d,%d\n", i, i % 10 == 0 ? 0 : i);
    must(prepare("b=rate", text.data, false));
    text_puts(&text, "41,1\n42,0\n"); /* five in 42 */
    assert_int_equal(prepare("b=rate", text.data, false), -EINVAL);
    assert_non_null(strstr(error.text, "and in 5 of 42 steps"));
}

/* The counters of two hosts are not those of one. */
static void counters_are_looked_at_within_their_series(void **state)
{
    (void)state;
    must(prepare("b=rate",
                 "timestamp,series,b\n1,x,1000\n1,y,1\n2,x,1010\n2,y,2\n3,x,1020\n3,y,3\n"
                 "4,x,1030\n4,y,4\n5,x,1040\n5,y,5\n",
                 false));
    expect_rows((const float[]){NAN, NAN, 10, 1, 10, 1, 10, 1, 10, 1}, 10);
}

static void what_names_no_column_is_told(void **state)
{
    (void)state;
    assert_int_equal(prepare("byte=rate", "timestamp,bytes\n1,2\n", false), -EINVAL);
    assert_string_equal(error.text, "there is no feature \"byte\"; is it \"bytes\"?");
}

/* ---- preparing ---- */

static void rows_follow_those_of_their_series(void **state)
{
    (void)state;
    must(read_values("b=delta,t=rate", "timestamp,series,b,t\n10,x,1,100\n10,y,50,7\n20,x,4,200\n"
                                       "30,y,51,27\n15,x,9,900\n30,x,6,300\n"));
    spec.context = 2;
    must(plan());
    must(dataset_prepare(&dataset, path, preparation, false, &error));
    expect_rows(
        (const float[]){
            NAN, NAN, NAN, NAN, /* x begins */
            NAN, NAN, NAN, NAN, /* y begins */
            3,   10,  NAN, NAN, /* */
            1,   1,   NAN, NAN, /* */
            NAN, NAN, 3,   10,  /* late */
            2,   10,  3,   10,  /* as if that had not come */
        },
        6);
    assert_int_equal(dataset.n_late, 1);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(dataset.is_late[i], i == 4);
}

static void independent_rows_know_nothing_of_each_other(void **state)
{
    (void)state;
    must(read_values("b=delta", "timestamp,b,c\n10,1,5\n20,4,6\n15,9,7\n"));
    spec.context = 2;
    must(plan());
    must(dataset_prepare(&dataset, path, preparation, true, &error));
    expect_rows((const float[]){NAN, 5, NAN, 5, NAN, 6, NAN, 6, NAN, 7, NAN, 7}, 3);
    assert_int_equal(dataset.n_late, 0);
}

static void rows_without_times_come_in_their_order(void **state)
{
    (void)state;
    must(prepare("b=delta", "b\n1\n4\n2\n", false));
    expect_rows((const float[]){NAN, 3, -2}, 3);
}

static void what_a_kind_cannot_take_is_told_with_its_place(void **state)
{
    (void)state;
    expect_error(prepare("b=log1p", "a,b\n1,5\n-1,-0.5\n", false),
                 ":3: column b: -0.5 is below 0, which log1p cannot take; prepare this feature as "
                 "raw");
    expect_error(prepare("b=rate", "timestamp,b\n1,-5\n", false),
                 ":2: column b: -5 is below 0, so this is no counter, which only grows; prepare "
                 "this feature as delta or raw");
}

static void without_times_there_are_no_rates_and_no_hours(void **state)
{
    (void)state;
    static const char *const kinds[] = {"b=rate", "timestamp=hour-of-day", "w=day-of-week"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        expect_error(prepare(kinds[i], "a,b\n1,5\n", false),
                     ": there is no column \"timestamp\", which rates and times of day are made "
                     "from; add it, or prepare counters as delta");
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char text[] = "timestamp,series,b,state\n1,x,5,up\n2,y,6,down\n3,x,7,\n";
    int r = -ENOMEM, nth = 0;

    write_file(text, sizeof(text) - 1);
    for (; r == -ENOMEM && nth < 300; nth++) {
        prepare_spec_clear(&spec);
        prepare_spec_init(&spec);
        must(prepare_spec_parse(&spec, "b=rate,state=onehot,w=day-of-week", &error));
        dataset_clear(&dataset);
        alloc_fail_in = nth;
        r = read_file();
        if (r == 0)
            r = plan();
        if (r == 0)
            r = dataset_prepare(&dataset, path, preparation, false, &error);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_are_doubles_and_categories_numbers_of_texts),
        TEST(text_elsewhere_is_refused_with_both_ways_out),
        TEST(an_npy_file_holds_categories_as_well),
        TEST(categories_of_the_rows_are_sorted),
        TEST(a_model_has_its_own_categories),
        TEST(a_column_without_a_value_has_no_categories),
        TEST(the_first_category_too_many_is_told_with_its_line),
        TEST(categories_that_no_value_is_are_told),
        TEST(many_series_are_told_apart),
        TEST(a_value_that_falls_too_often_is_no_counter),
        TEST(a_counter_may_be_reset_once_in_ten_steps),
        TEST(counters_are_looked_at_within_their_series),
        TEST(what_names_no_column_is_told),
        TEST(rows_follow_those_of_their_series),
        TEST(independent_rows_know_nothing_of_each_other),
        TEST(rows_without_times_come_in_their_order),
        TEST(what_a_kind_cannot_take_is_told_with_its_place),
        TEST(without_times_there_are_no_rates_and_no_hours),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
