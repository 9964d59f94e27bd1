#include "detector/summary.h"

#include "base/text.h"
#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"

#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <math.h>

#define N 5

static const char *const names[N] = {"disk_io", "net_rx", "cpu", "mem", "load"};
static struct schema *schema;

static int set_up(void **state)
{
    (void)state;
    return schema_new(names, N, &schema, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    schema_free(schema);
    return 0;
}

/* Usually 8 to 40. */
static struct contribution part(size_t feature, float value, double share)
{
    return (struct contribution){.feature = feature,
                                 .value = value,
                                 .expected = 12.4F,
                                 .usual_low = 8,
                                 .usual_high = 40,
                                 .share = share};
}

static void check(const struct explained *explained, const char *line)
{
    CLEANUP(text_clear) struct text text = {0};

    summary_print(&text, &(struct vocabulary){schema, NULL}, explained);
    assert_string_equal(text.data ? text.data : "", line);
}

static void the_blamed_are_named_and_what_is_usual_of_values_outside(void **state)
{
    (void)state;
    struct contribution parts[] = {part(0, 91.2F, 0.8), part(2, 20, 0.15), part(1, 12, 0.05),
                                   part(3, 12, 0), part(4, 12, 0)};
    const struct explained explained = {.contributions = parts};

    check(&explained, "disk_io 91.2 (expected 12.4, usually 8 to 40), cpu 20 (expected 12.4)");
}

static void what_normally_moves_along_and_did_not_is_as_usual(void **state)
{
    (void)state;
    struct contribution parts[] = {part(0, 91.2F, 0.9), part(1, 12, 0.06), part(2, 20, 0.04),
                                   part(3, 12, 0), part(4, 12, 0)};
    struct explained explained = {
        .contributions = parts, .relations = {{.inputs = {0, 1}}}, .n_relations = 1};

    check(&explained, "disk_io 91.2 (expected 12.4, usually 8 to 40); net_rx as usual");
    parts[1].value = 41; /* no, it is not */
    check(&explained, "disk_io 91.2 (expected 12.4, usually 8 to 40)");
    parts[1].value = 12;
    explained.relations[1] = (struct broken_relation){
        .inputs = {0, 2}
    };
    explained.n_relations = 2;
    check(&explained, "disk_io 91.2 (expected 12.4, usually 8 to 40); net_rx, cpu as usual");
    parts[1].share = 0.1; /* it is blamed itself */
    check(&explained, "disk_io 91.2 (expected 12.4, usually 8 to 40), net_rx 12 (expected 12.4); "
                      "cpu as usual");
}

static void of_what_never_moved_one_value_is_usual(void **state)
{
    (void)state;
    struct contribution parts[] = {part(0, 5, 1), part(1, 12, 0), part(2, 12, 0), part(3, 12, 0),
                                   part(4, 12, 0)};
    const struct explained explained = {.contributions = parts};

    parts[0].usual_low = parts[0].usual_high = parts[0].expected = 4;
    check(&explained, "disk_io 5 (expected 4, usually 4)");
}

static void what_is_usual_may_not_be_known(void **state)
{
    (void)state;
    struct contribution parts[] = {part(0, 11829.75F, 1), part(1, 12, 0), part(2, 12, 0),
                                   part(3, 12, 0), part(4, 12, 0)};
    const struct explained explained = {.contributions = parts};

    parts[0].usual_low = parts[0].usual_high = NAN;
    check(&explained, "disk_io 11830 (expected 12.4)");
    parts[0].value = -22172343296.0F;
    parts[0].expected = 1048576;
    check(&explained, "disk_io -22.17G (expected 1.049M)");
    parts[0].value = 1e30F;
    parts[0].expected = 0.00001234F;
    check(&explained, "disk_io 1e+30 (expected 1.234e-05)");
}

static void of_many_that_are_blamed_three_are_named(void **state)
{
    (void)state;
    struct contribution parts[] = {part(4, 9, 0.3), part(3, 9, 0.2), part(2, 9, 0.2),
                                   part(1, 9, 0.2), part(0, 9, 0.1)};
    const struct explained explained = {.contributions = parts};

    check(&explained,
          "load 9 (expected 12.4), mem 9 (expected 12.4), cpu 9 (expected 12.4) and 2 more");
}

static void where_none_has_a_tenth_the_first_is_named(void **state)
{
    (void)state;
    struct contribution parts[] = {part(0, 91.2F, 0.09), part(1, 9, 0.09), part(2, 9, 0.09),
                                   part(3, 9, 0.09), part(4, 9, 0.09)};
    const struct explained explained = {.contributions = parts};

    check(&explained, "many features, first of all disk_io 91.2 (expected 12.4, usually 8 to 40)");
    for (size_t i = 0; i < N; i++)
        parts[i].share = 0;
    check(&explained, "");
}

static void a_word_that_was_expected_is_told_to_be(void **state)
{
    (void)state;
    CLEANUP(preparation_freep) struct preparation *preparation = prepared_preparation();
    CLEANUP(text_clear) struct text text = {0};
    struct contribution parts[PREPARED_INPUTS] = {{0}};
    const struct explained explained = {.contributions = parts};

    parts[0] = (struct contribution){
        .feature = IN_STATE, .value = 1, .expected = 1, .usual_low = NAN, .usual_high = NAN};
    parts[1] = parts[0];
    parts[0].share = 0.6;
    parts[1].share = 0.4;
    parts[1].rows_back = 1;
    parts[1].back.value = 0;
    parts[1].back.expected = 1;
    summary_print(&text, &(struct vocabulary){preparation->inputs, preparation}, &explained);
    assert_string_equal(text.data, "state up (as expected), state down 1 row before (expected up)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_blamed_are_named_and_what_is_usual_of_values_outside),
        cmocka_unit_test(what_normally_moves_along_and_did_not_is_as_usual),
        cmocka_unit_test(of_what_never_moved_one_value_is_usual),
        cmocka_unit_test(what_is_usual_may_not_be_known),
        cmocka_unit_test(of_many_that_are_blamed_three_are_named),
        cmocka_unit_test(where_none_has_a_tenth_the_first_is_named),
        cmocka_unit_test(a_word_that_was_expected_is_told_to_be),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
