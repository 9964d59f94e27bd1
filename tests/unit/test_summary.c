/* What is wrong with a row, in one line: detector/summary.h. */
#include "detector/summary.h"

#include "base/text.h"
#include "data/schema.h"
#include "detector/detector.h"

#include "support/cmocka.h"

#include <math.h>

static const char *const names[] = {"disk_io", "cpu", "net", "load", "heat"};
static struct schema *schema;

static int set_up(void **state)
{
    (void)state;
    return schema_new(names, 5, &schema, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    schema_free(schema);
    return 0;
}

/* The features in their order, with these shares; n of them. */
static void assert_summary(const double *shares, size_t n, const char *want)
{
    CLEANUP(text_clear) struct text text = {0};
    struct contribution contributions[5];

    for (size_t i = 0; i < n; i++)
        contributions[i] = (struct contribution){.feature = i,
                                                 .value = 91.2F + (float)i,
                                                 .expected = 12.4F,
                                                 .usual_low = 8,
                                                 .usual_high = i ? 100 : 40,
                                                 .share = shares[i]};
    summary_print(&text, schema, contributions, n);
    assert_string_equal(text.data ? text.data : "", want);
}

static void it_says_the_value_what_was_expected_and_what_is_usual(void **state)
{
    (void)state;
    assert_summary((const double[]){0.95, 0.05}, 2,
                   "disk_io 91.2 (expected 12.4, usually 8 to 40)");
}

static void what_is_usual_is_left_out_of_a_value_that_is(void **state)
{
    (void)state;
    assert_summary((const double[]){0.5, 0.5}, 2,
                   "disk_io 91.2 (expected 12.4, usually 8 to 40), cpu 92.2 (expected 12.4)");
}

static void three_features_are_named_and_the_others_counted(void **state)
{
    (void)state;
    assert_summary((const double[]){0.3, 0.3, 0.2, 0.1, 0.1}, 5,
                   "disk_io 91.2 (expected 12.4, usually 8 to 40), cpu 92.2 (expected 12.4), net "
                   "93.2 (expected 12.4) and 2 more");
}

static void blame_that_is_spread_over_many_names_the_first(void **state)
{
    (void)state;
    assert_summary((const double[]){0.09, 0.09}, 2,
                   "many features, first of all disk_io 91.2 (expected 12.4, usually 8 to 40)");
}

static void without_blame_there_is_nothing_to_say(void **state)
{
    (void)state;
    assert_summary(NULL, 0, "");
    assert_summary((const double[]){0, 0}, 2, "");
}

static void what_is_usual_may_not_be_known(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct contribution contribution = {
        .value = 123456, .expected = 0.00001234F, .usual_low = NAN, .usual_high = NAN, .share = 1};

    summary_print(&text, schema, &contribution, 1);
    assert_string_equal(text.data, "disk_io 123456 (expected 1.234e-05)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_the_value_what_was_expected_and_what_is_usual),
        cmocka_unit_test(what_is_usual_is_left_out_of_a_value_that_is),
        cmocka_unit_test(three_features_are_named_and_the_others_counted),
        cmocka_unit_test(blame_that_is_spread_over_many_names_the_first),
        cmocka_unit_test(without_blame_there_is_nothing_to_say),
        cmocka_unit_test(what_is_usual_may_not_be_known),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
