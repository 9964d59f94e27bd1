#include "detector/verdict_json.h"

#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"cpu", "di\"sk", "net"};
static struct schema *schema;

static int set_up(void **state)
{
    (void)state;
    return schema_new(names, 3, &schema, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    schema_free(schema);
    return 0;
}

static void a_plain_verdict_has_five_members(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {
        .reconstruction_error = 0.5, .score = 2, .p_value = 0.25, .anomaly = true};
    const float row[] = {1, 2, 3};
    const double threshold = 0.25;

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, &threshold, row, NULL,
                        0);
    assert_string_equal(text.data, "\"reconstruction_error\":0.5,\"threshold\":0.25,\"score\":2,"
                                   "\"p_value\":0.25,\"anomaly\":true");
}

static void a_batch_leaves_the_threshold_out(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {.reconstruction_error = 0.5, .score = 0.5, .p_value = 1};
    const float row[] = {1, 2, 3};

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, NULL, 0);
    assert_string_equal(text.data, "\"reconstruction_error\":0.5,\"score\":0.5,\"p_value\":1,"
                                   "\"anomaly\":false");
}

static void an_event_stands_behind_the_anomaly(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {
        .score = 2, .p_value = 0.25, .anomaly = true, .n_imputed = 1, .event = 8121};
    const float row[] = {1, NAN, 3};

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, NULL, 0);
    assert_string_equal(text.data, "\"reconstruction_error\":0,\"score\":2,\"p_value\":0.25,"
                                   "\"anomaly\":true,\"event\":8121,\"imputed\":[\"di\\\"sk\"]");
}

static void missing_features_are_listed_and_their_value_is_null(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {.score = 1, .p_value = 1, .n_imputed = 2};
    const float row[] = {NAN, NAN, 3};
    struct contribution parts[] = {
        {.feature = 2,
         .value = 3,
         .expected = 1.5F,
         .usual_low = NAN,
         .usual_high = NAN,
         .share = 1},
        {.feature = 1,
         .value = NAN,
         .expected = 4,
         .usual_low = NAN,
         .usual_high = NAN,
         .share = 0},
    };

    const struct explained explained = {.contributions = parts};

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, &explained,
                        2);
    assert_string_equal(text.data,
                        "\"reconstruction_error\":0,\"score\":1,\"p_value\":1,\"anomaly\":false,"
                        "\"imputed\":[\"cpu\",\"di\\\"sk\"],\"contributions\":["
                        "{\"feature\":\"net\",\"value\":3,\"expected\":1.5,\"share\":1,"
                        "\"direction\":\"above\"},"
                        "{\"feature\":\"di\\\"sk\",\"value\":null,\"expected\":4,\"share\":0}]");
}

static void contributions_tell_what_is_usual_and_on_which_side_the_value_is(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {.score = 1, .p_value = 1};
    const float row[] = {1, 2, 3};
    struct contribution parts[] = {
        {.feature = 0, .value = 1, .expected = 2, .usual_low = 0.5F, .usual_high = 4, .share = 1},
        {.feature = 1, .value = 2, .expected = 2, .usual_low = 2,    .usual_high = 2, .share = 0},
    };

    const struct explained explained = {.contributions = parts};

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, &explained,
                        2);
    assert_non_null(strstr(text.data, "{\"feature\":\"cpu\",\"value\":1,\"expected\":2,"
                                      "\"share\":1,\"usual\":[0.5,4],\"direction\":\"below\"},"));
    assert_non_null(strstr(text.data, "\"share\":0,\"usual\":[2,2]}]")); /* as expected */
}

static void an_anomaly_is_summed_up_and_its_broken_relations_are_named(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {.score = 2, .p_value = 0.25, .anomaly = true};
    const float row[] = {90, 2, 3};
    struct contribution parts[] = {
        {.feature = 0, .value = 90, .expected = 2, .usual_low = 1, .usual_high = 4, .share = 0.9},
        {.feature = 1, .value = 2,  .expected = 2, .usual_low = 1, .usual_high = 4, .share = 0.1},
        {.feature = 2, .value = 3,  .expected = 3, .usual_low = 1, .usual_high = 4, .share = 0  },
    };
    const struct explained explained = {
        .contributions = parts,
        .relations = {{.inputs = {0, 1}, .correlation = -0.8754, .distance = 12.34}},
        .n_relations = 1};

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, &explained,
                        1);
    assert_non_null(strstr(
        text.data, ",\"direction\":\"above\"}],\"summary\":\"cpu 90 (expected 2, usually 1 to "
                   "4), di\\\"sk 2 (expected 2)\",\"broken_relations\":[{\"features\":"
                   "[\"cpu\",\"di\\\"sk\"],\"correlation\":-0.875,\"distance\":12.3}]"));
    assert_null(strstr(text.data, "error_share"));
    assert_null(strstr(text.data, "counterfactual"));
}

static void detail_has_shares_of_the_error_and_what_would_have_to_change(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};
    const struct verdict verdict = {.score = 1, .p_value = 1};
    const float row[] = {90, 2, 3};
    double error_shares[] = {0.25, 0.75, 0};
    struct contribution parts[] = {
        {.feature = 1,   .value = 2, .expected = 2, .share = 1},
        {0},
        {0             }
    };
    struct explained explained = {
        .contributions = parts,
        .has_detail = true,
        .error_shares = error_shares,
        .counterfactual = {
                           .is_found = true, .n = 2, .inputs = {2, 1}, .values = {4.5F, 6}, .score = 0.5}
    };

    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, &explained,
                        1);
    assert_non_null(strstr(text.data, "\"error_share\":0.75}],\"counterfactual\":{\"features\":{"
                                      "\"net\":4.5,\"di\\\"sk\":6},\"score\":0.5}"));
    assert_null(strstr(text.data, "summary")); /* of a normal row */
    explained.counterfactual.is_found = false;
    text.length = 0;
    verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row, &explained,
                        1);
    assert_non_null(strstr(text.data, ",\"counterfactual\":null"));
}

/* A summary that is cut short must not pass for a whole one. */
static void a_failed_allocation_is_told(void **state)
{
    (void)state;
    const struct verdict verdict = {.score = 2, .p_value = 0.25, .anomaly = true};
    const float row[] = {90, 2, 3};
    struct contribution parts[] = {
        {.feature = 0,   .value = 90, .expected = 2, .share = 1},
        {.feature = 1},
        {.feature = 2             }
    };
    const struct explained explained = {.contributions = parts};
    bool has_failed = true;

    for (int nth = 0; has_failed && nth < 20; nth++) {
        CLEANUP(text_clear) struct text text = {0};
        alloc_fail_in = nth;
        verdict_json_append(&text, &(struct vocabulary){schema, NULL}, &verdict, NULL, row,
                            &explained, 1);
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        assert_int_equal(text_failed(&text), has_failed);
    }
    assert_false(has_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_verdict_has_five_members),
        cmocka_unit_test(a_batch_leaves_the_threshold_out),
        cmocka_unit_test(an_event_stands_behind_the_anomaly),
        cmocka_unit_test(missing_features_are_listed_and_their_value_is_null),
        cmocka_unit_test(contributions_tell_what_is_usual_and_on_which_side_the_value_is),
        cmocka_unit_test(an_anomaly_is_summed_up_and_its_broken_relations_are_named),
        cmocka_unit_test(detail_has_shares_of_the_error_and_what_would_have_to_change),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
