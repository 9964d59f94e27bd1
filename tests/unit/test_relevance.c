#include "detector/relevance.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/vocabulary.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

static const char *const names[] = {"cpu", "memory", "net=in"};
static struct schema *schema;
static struct vocabulary vocabulary;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    memset(&error, 0, sizeof(error));
    int r = schema_new(names, 3, &schema, NULL);

    vocabulary = vocabulary_of(NULL, schema);
    return r;
}

static int tear_down(void **state)
{
    (void)state;
    schema_free(schema);
    return 0;
}

static struct relevance *read_both(const char *directions, const char *tolerances)
{
    struct relevance *relevance = NULL;

    if (directions && relevance_read(&relevance, RELEVANCE_DIRECTIONS, directions, &error) < 0)
        fail_msg("%s: %s", directions, error.text);
    if (tolerances && relevance_read(&relevance, RELEVANCE_TOLERANCES, tolerances, &error) < 0)
        fail_msg("%s: %s", tolerances, error.text);
    return relevance;
}

static void assert_prints(const struct relevance *relevance, enum relevance_part part,
                          const char *wanted)
{
    CLEANUP(text_clear) struct text text = {0};

    relevance_print(relevance, part, &text);
    assert_string_equal(text.data, wanted);
}

static void a_deviation_matters_by_its_direction_and_its_size(void **state)
{
    (void)state;
    const struct relevance_rule all = {0};
    const struct relevance_rule above = {.direction = RELEVANCE_ABOVE};
    const struct relevance_rule below = {.direction = RELEVANCE_BELOW, .tolerance = 5};
    const struct relevance_rule tenth = {.tolerance = 0.1, .is_relative = true};

    assert_true(relevance_matters(&all, 1, 1) && relevance_matters(&all, 2, 1));
    assert_true(relevance_matters(&above, 2, 1));
    assert_false(relevance_matters(&above, 0, 1) || relevance_matters(&above, 1, 1));
    assert_true(relevance_matters(&below, 1, 6)); /* the smallest that matters */
    assert_false(relevance_matters(&below, 1.5, 6) || relevance_matters(&below, 60, 6));
    assert_true(relevance_matters(&tenth, -112, -100) && relevance_matters(&tenth, -88, -100));
    assert_false(relevance_matters(&tenth, -109, -100) || relevance_matters(&tenth, -91, -100));
}

static void of_a_missing_value_nothing_is_known(void **state)
{
    (void)state;
    const struct relevance_rule above = {.direction = RELEVANCE_ABOVE, .tolerance = 5};

    assert_true(relevance_matters(&above, (double)NAN, 1));
}

static void what_is_read_is_printed(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep)
    struct relevance *relevance =
        read_both(" cpu = above,\n memory=below ,net=in=both,", "memory=10%, cpu=0.5");

    assert_prints(relevance, RELEVANCE_DIRECTIONS, "cpu=above,memory=below,net=in=both");
    assert_prints(relevance, RELEVANCE_TOLERANCES, "memory=10%,cpu=0.5");
    assert_int_equal(relevance_read(&relevance, RELEVANCE_DIRECTIONS, "none", &error), 0);
    assert_prints(relevance, RELEVANCE_DIRECTIONS, "none");
    assert_prints(relevance, RELEVANCE_TOLERANCES, "memory=10%,cpu=0.5");
}

static void a_quoted_name_may_hold_commas_and_is_printed_so(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep)
    struct relevance *relevance =
        read_both("\"cpu{m=\"\"i\"\",h=1}\"=above,b=below", "\"cpu{m=\"\"i\"\",h=1}\"=5%");

    assert_prints(relevance, RELEVANCE_DIRECTIONS, "\"cpu{m=\"\"i\"\",h=1}\"=above,b=below");
    assert_prints(relevance, RELEVANCE_TOLERANCES, "\"cpu{m=\"\"i\"\",h=1}\"=5%");
    assert_int_equal(relevance_read(&relevance, RELEVANCE_DIRECTIONS, "\"a=above", &error),
                     -EINVAL);
    assert_non_null(strstr(error.text, "not closed"));
}

static void a_wrong_word_is_refused_with_its_feature(void **state)
{
    (void)state;
    static const struct {
        enum relevance_part part;
        const char *text, *said;
    } wrong[] = {
        {RELEVANCE_DIRECTIONS, "cpu=above,memory=up",  "; memory=up does not"                 },
        {RELEVANCE_DIRECTIONS, "cpu",                  "; cpu does not"                       },
        {RELEVANCE_DIRECTIONS, "=above",               "; =above does not"                    },
        {RELEVANCE_DIRECTIONS, "cpu=",                 "; cpu= does not"                      },
        {RELEVANCE_DIRECTIONS, "cpu=above, cpu=below", "; cpu=below is the second word on its"},
        {RELEVANCE_DIRECTIONS, ",",                    "as in cpu=above,memory=below"         },
        {RELEVANCE_TOLERANCES, "cpu=-1",               "; cpu=-1 does not"                    },
        {RELEVANCE_TOLERANCES, "cpu=%",                "; cpu=% does not"                     },
        {RELEVANCE_TOLERANCES, "cpu=inf",              "; cpu=inf does not"                   },
        {RELEVANCE_TOLERANCES, "cpu=5 %%",             "; cpu=5 %% does not"                  },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CLEANUP(relevance_releasep) struct relevance *relevance = read_both("cpu=above", "cpu=1");
        assert_int_equal(relevance_read(&relevance, wrong[i].part, wrong[i].text, &error), -EINVAL);
        if (!strstr(error.text, wrong[i].said))
            fail_msg("%s: %s", wrong[i].text, error.text);
        assert_prints(relevance, RELEVANCE_DIRECTIONS, "cpu=above"); /* as it was */
        assert_prints(relevance, RELEVANCE_TOLERANCES, "cpu=1");
    }
}

static void rules_are_found_by_name(void **state)
{
    (void)state;
    AUTO_FREE struct relevance_rule *rules = NULL;
    CLEANUP(relevance_releasep)
    struct relevance *relevance = read_both("net=in=below,cpu=above", "cpu=10%");

    assert_int_equal(relevance_bind(relevance, &vocabulary, &rules, &error), 0);
    assert_int_equal(rules[0].direction, RELEVANCE_ABOVE);
    assert_true(rules[0].is_relative && fabs(rules[0].tolerance - 0.1) < 1e-15);
    assert_int_equal(rules[1].direction, RELEVANCE_BOTH);
    assert_true(rules[1].tolerance == 0.0);
    assert_int_equal(rules[2].direction, RELEVANCE_BELOW);
}

static void a_feature_that_is_not_there_is_told_with_the_nearest(void **state)
{
    (void)state;
    AUTO_FREE struct relevance_rule *rules = NULL;
    CLEANUP(relevance_releasep) struct relevance *one = read_both(NULL, "memry=5");
    CLEANUP(relevance_releasep) struct relevance *other = read_both("queue_length=above", NULL);

    assert_int_equal(relevance_bind(one, &vocabulary, &rules, &error), -EINVAL);
    assert_string_equal(error.text, "tolerance: there is no feature memry; did you mean memory?");
    assert_int_equal(relevance_bind(other, &vocabulary, &rules, &error), -EINVAL);
    assert_string_equal(error.text, "direction: there is no feature queue_length; leave it out");
    assert_null(rules);
}

static void what_has_no_more_and_less_is_refused(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep) struct relevance *level = read_both(NULL, "cpu=5");
    CLEANUP(relevance_releasep) struct relevance *category = read_both("memory=above", NULL);
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;
    CLEANUP(prepare_spec_clear) struct prepare_spec spec;
    AUTO_FREE struct relevance_rule *rules = NULL;

    prepare_spec_init(&spec);
    assert_int_equal(prepare_spec_parse(&spec, "cpu=log1p,memory=onehot:a|b", &error), 0);
    assert_int_equal(preparation_new(&spec, names, 3, &preparation, &error), 0);
    const struct vocabulary prepared = vocabulary_of(preparation, NULL);
    assert_int_equal(relevance_bind(category, &prepared, &rules, &error), -EINVAL);
    assert_string_equal(error.text, "direction: memory is prepared as onehot, of which nothing is "
                                    "above or below; leave it out");
    assert_int_equal(relevance_bind(level, &prepared, &rules, &error), 0);
    assert_true(rules[0].tolerance == 5.0);
}

static void where_nothing_is_said_there_are_no_rules(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep) struct relevance *none = read_both("none", "none");
    AUTO_FREE struct relevance_rule *rules = NULL;

    assert_int_equal(relevance_bind(NULL, &vocabulary, &rules, &error), 0);
    assert_null(rules);
    assert_int_equal(relevance_bind(none, &vocabulary, &rules, &error), 0);
    assert_null(rules);
}

static void each_part_overrides_on_its_own(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep) struct relevance *base = read_both("cpu=above", "memory=5");
    CLEANUP(relevance_releasep) struct relevance *over = read_both("memory=below", NULL);
    CLEANUP(relevance_releasep) struct relevance *both = NULL, *same = NULL, *nothing = NULL;

    assert_int_equal(relevance_override(base, over, &both), 0);
    assert_prints(both, RELEVANCE_DIRECTIONS, "memory=below");
    assert_prints(both, RELEVANCE_TOLERANCES, "memory=5");
    assert_int_equal(relevance_override(base, NULL, &same), 0);
    assert_ptr_equal(same, base);
    assert_int_equal(relevance_override(NULL, NULL, &nothing), 0);
    assert_null(nothing);
}

static void what_says_the_same_is_the_same(void **state)
{
    (void)state;
    static const char *const said[][2] = {
        {"cpu=above",              NULL                   },
        {"cpu=below",              NULL                   },
        {"memory=above",           NULL                   },
        {"cpu=above,memory=above", NULL                   },
        {"none",                   NULL                   },
        {NULL,                     "cpu=5"                },
        {NULL,                     "cpu=500%"             },
        {NULL,                     "cpu=5.000000000000001"},
        {"cpu=above",              "cpu=5"                }
    };
    const size_t n = sizeof(said) / sizeof(*said);

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            CLEANUP(relevance_releasep) struct relevance *a = read_both(said[i][0], said[i][1]);
            CLEANUP(relevance_releasep) struct relevance *b = read_both(said[j][0], said[j][1]);
            assert_int_equal(relevance_is_same(a, b), i == j);
            assert_true(relevance_is_same(a, a));
            assert_false(relevance_is_same(a, NULL) || relevance_is_same(NULL, a));
        }
    assert_true(relevance_is_same(NULL, NULL));
}

static void a_model_file_has_the_same_word(void **state)
{
    (void)state;
    CLEANUP(relevance_releasep) struct relevance *said = read_both("cpu=above", "net=in=12.5%");
    CLEANUP(relevance_releasep) struct relevance *read = NULL;
    json_auto_t *document = relevance_to_json(said);
    AUTO_FREE char *text = json_dumps(document, JSON_COMPACT);

    assert_string_equal(text, "{\"direction\":{\"cpu\":\"above\"},"
                              "\"tolerance\":{\"net=in\":\"12.5%\"}}");
    assert_int_equal(relevance_from_json(document, &read), 0);
    assert_prints(read, RELEVANCE_DIRECTIONS, "cpu=above");
    assert_prints(read, RELEVANCE_TOLERANCES, "net=in=12.5%");
}

static void a_hostile_document_is_refused(void **state)
{
    (void)state;
    static const char *const hostile[] = {"[]", "{\"direction\":1}", "{\"direction\":{\"cpu\":1}}",
                                          "{\"direction\":{\"cpu\":\"up\"}}",
                                          "{\"tolerance\":{\"cpu\":\"-1\"}}"};

    for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
        json_auto_t *document = json_loads(hostile[i], 0, NULL);
        CLEANUP(relevance_releasep) struct relevance *read = NULL;
        assert_int_equal(relevance_from_json(document, &read), -EINVAL);
    }
}

static int do_all(void)
{
    CLEANUP(relevance_releasep) struct relevance *base = NULL, *over = NULL, *both = NULL;
    AUTO_FREE struct relevance_rule *rules = NULL;

    int r = relevance_read(&base, RELEVANCE_DIRECTIONS, "cpu=above,memory=below", &error);
    if (r == 0)
        r = relevance_read(&over, RELEVANCE_TOLERANCES, "cpu=5", &error);
    if (r == 0)
        r = relevance_override(base, over, &both);
    if (r == 0)
        r = relevance_bind(both, &vocabulary, &rules, &error);
    return r;
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        alloc_fail_in = nth;
        r = do_all();
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deviation_matters_by_its_direction_and_its_size),
        cmocka_unit_test(of_a_missing_value_nothing_is_known),
        cmocka_unit_test(what_is_read_is_printed),
        cmocka_unit_test(a_quoted_name_may_hold_commas_and_is_printed_so),
        cmocka_unit_test(a_wrong_word_is_refused_with_its_feature),
        cmocka_unit_test(rules_are_found_by_name),
        cmocka_unit_test(a_feature_that_is_not_there_is_told_with_the_nearest),
        cmocka_unit_test(what_has_no_more_and_less_is_refused),
        cmocka_unit_test(where_nothing_is_said_there_are_no_rules),
        cmocka_unit_test(each_part_overrides_on_its_own),
        cmocka_unit_test(what_says_the_same_is_the_same),
        cmocka_unit_test(a_model_file_has_the_same_word),
        cmocka_unit_test(a_hostile_document_is_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
