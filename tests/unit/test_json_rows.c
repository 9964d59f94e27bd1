#include "base/number.h"
#include "base/random.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {"cpu", "mem", "a/b~c", "température"};
#define N_NAMES (sizeof(names) / sizeof(*names))

static struct schema *schema;
static struct json_rows rows;

static int set_up(void **state)
{
    (void)state;
    return schema_new(names, N_NAMES, &schema, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    json_rows_clear(&rows);
    schema_free(schema);
    return 0;
}

/* From a copy that ends where the body ends, so that the sanitizer sees a byte read too many. */
static int read_bytes(const struct schema *by, const char *body, size_t size)
{
    AUTO_FREE char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, body, size);
    return json_rows_read(&rows, by, NULL, copy, size);
}

static int read_text(const char *body)
{
    return read_bytes(schema, body, strlen(body));
}

static struct schema *numbered_schema(size_t n)
{
    static char texts[SCHEMA_MAX_FEATURES][24];
    static const char *pointers[SCHEMA_MAX_FEATURES];
    struct schema *made = NULL;

    for (size_t i = 0; i < n; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "f%zu", i);
        pointers[i] = texts[i];
    }
    assert_int_equal(schema_new(pointers, n, &made, NULL), 0);
    return made;
}

static void assert_row(size_t row, const float want[N_NAMES])
{
    assert_true(row < rows.n_rows);
    for (size_t i = 0; i < N_NAMES; i++) {
        const float got = rows.rows[row * N_NAMES + i];
        assert_true(isnan(want[i]) ? isnan(got) : got == want[i]);
    }
}

static void every_body_gives_its_rows(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t n_rows;
        bool is_batch;
        float first[N_NAMES];
    } good[] = {
        {"[1,2,3,4]",                                                1, false, {1, 2, 3, 4}                 },
        {" \r\n\t[ 1 , -2.5e0 ,0, 4E+2 ] \n",                        1, false, {1, -2.5F, 0, 400}           },
        {"[1,null,null,4]",                                          1, false, {1, NAN, NAN, 4}             },
        {"{\"features\":[1,2,3,4]}",                                 1, false, {1, 2, 3, 4}                 },
        {"{\"features\":{\"mem\":2,\"cpu\":1}}",                     1, false, {1, 2, NAN, NAN}             },
        {"{\"features\":{\"a/b~c\":3,\"mem\":null,\"cpu\":1}}",      1, false, {1, NAN, 3, NAN}             },
        {"{\"features\":{\"\\u0063pu\":1,\"temp\\u00e9rature\":4}}", 1, false, {1, NAN, NAN, 4}             },
        {"{\"features\":{\"a\\/b~c\":1,\"température\":4}}",        1, false, {NAN, NAN, 1, 4}             },
        {"{\"instances\":[[1,2,3,4]]}",                              1, true,  {1, 2, 3, 4}                 },
        {"{\"instances\":[{\"cpu\":1,\"mem\":2},[5,6,7,8]]}",        2, true,  {1, 2, NAN, NAN}             },
        {"{\"explain\":\"all\",\"features\":[1,2,3,4]}",             1, false, {1, 2, 3, 4}                 },
        {"{\"fe\\u0061tures\":[1,2,3,4],\"top\":3}",                 1, false, {1, 2, 3, 4}                 },
        {"[-0,1e-400,3.4028235e38,-3.4028235e+38]",                  1, false, {-0.0F, 0, FLT_MAX, -FLT_MAX}},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(read_text(good[i].body), 0);
        assert_int_equal(rows.n_rows, good[i].n_rows);
        assert_int_equal(rows.is_batch, good[i].is_batch);
        assert_int_equal(rows.n_problems, 0);
        assert_row(0, good[i].first);
    }
}

static void every_row_of_a_batch_has_its_own_names(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"instances\":[{\"mem\":2,\"cpu\":1},{\"cpu\":5,\"a/b~c\":6}]}"),
                     0);
    assert_int_equal(rows.n_rows, 2);
    assert_row(0, (const float[]){1, 2, NAN, NAN});
    assert_row(1, (const float[]){5, NAN, 6, NAN});
}

/* In their order they are foreseen, else looked up. */
static void names_are_found_in_any_order(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"instances\": [{\"cpu\": 1, \"mem\": 2, \"a/b~c\": 3, \"température\": 4}, %s]}",
        "{\"instances\": [{\"température\":4,\"a/b~c\":3,\"mem\":2,\"cpu\":1}, %s]}",
        "{\"instances\": [{\"cpu\" :1 ,\"a/b~c\": 3.0,\"température\":4e0, \"mem\":2}, %s]}",
        "{\"instances\": [{\n \"cpu\"\n: 1,\n \"mem\" : 2,\n \"a\\/b~c\": 3, \"température\": "
        "4},%s]}",
    };

    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        CLEANUP(text_clear) struct text body = {0};
        const char *hole = strstr(bodies[i], "%s");
        text_append(&body, bodies[i], (size_t)(hole - bodies[i]));
        text_puts(&body, "{\"cpu\": 5, \"mem\": 6}, {\"mem\": 8, \"cpu\": 7}");
        text_puts(&body, hole + 2);
        assert_false(text_failed(&body));
        assert_int_equal(read_bytes(schema, body.data, body.length), 0);
        assert_int_equal(rows.n_rows, 3);
        assert_row(0, (const float[]){1, 2, 3, 4});
        assert_row(1, (const float[]){5, 6, NAN, NAN});
        assert_row(2, (const float[]){7, 8, NAN, NAN});
    }
    assert_int_equal(
        read_text("{\"instances\": [{\"cpu\": 1, \"mem\": 2, \"cpu\": 3}, {}, {}, {}]}"), -EINVAL);
    assert_string_equal(rows.problems[0].pointer, "/instances/0/cpu");
}

static void options_are_handed_over_as_they_stand(void **state)
{
    (void)state;
    static const struct json_option want[] = {
        {JSON_SCALAR_STRING, "explain", "a\n\xC3\xA9\xF0\x9F\x98\x80"},
        {JSON_SCALAR_NUMBER, "top",     "-1.50e2"                    },
        {JSON_SCALAR_BOOL,   "learn",   "false"                      },
        {JSON_SCALAR_NULL,   "series",  "null"                       },
        {JSON_SCALAR_NUMBER, "huge",    "1e300"                      },
    };

    assert_int_equal(read_text("{\"explain\":\"a\\n\\u00e9\\ud83d\\ude00\",\"top\": -1.50e2 ,"
                               "\"features\":[1,2,3,4],\"learn\":false,\"series\":null,"
                               "\"huge\":1e300}"),
                     0);
    assert_int_equal(rows.n_options, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(rows.options[i].kind, want[i].kind);
        assert_string_equal(rows.options[i].name, want[i].name);
        assert_string_equal(rows.options[i].value, want[i].value);
    }
}

static void malformed_bodies_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t offset, line, column;
        const char *detail;
    } bad[] = {
        {"",                              0,  1, 1,  "the body is empty: send"         },
        {" \n ",                          3,  2, 2,  "the body is empty"               },
        {"\xEF\xBB\xBF[1,2,3,4]",         0,  1, 1,  "byte order mark"                 },
        {"5",                             0,  1, 1,  "not a JSON array or object: send"},
        {"NaN",                           0,  1, 1,  "not a JSON array or object"      },
        {"[1,2,3,4",                      8,  1, 9,  "ends too early"                  },
        {"[1,2,3,4] x",                   10, 1, 11, "nothing may follow"              },
        {"[1,2,3,4]\n\n]",                11, 3, 1,  "nothing may follow"              },
        {"[1,2,,4]",                      5,  1, 6,  "a number or null is expected"    },
        {"[1,2,3,]",                      7,  1, 8,  "a number or null is expected"    },
        {"[,1]",                          1,  1, 2,  "a number or null is expected"    },
        {"[1 2]",                         3,  1, 4,  "a comma or ] is expected"        },
        {"[1}",                           2,  1, 3,  "a comma or ] is expected"        },
        {"[01]",                          2,  1, 3,  "must not begin with 0"           },
        {"[-01]",                         3,  1, 4,  "must not begin with 0"           },
        {"[+1]",                          1,  1, 2,  "a number or null is expected"    },
        {"[.5]",                          1,  1, 2,  "a number or null is expected"    },
        {"[1.]",                          3,  1, 4,  "a digit is expected"             },
        {"[-]",                           2,  1, 3,  "a digit is expected"             },
        {"[-a]",                          2,  1, 3,  "a digit is expected"             },
        {"[1e]",                          3,  1, 4,  "a digit of the exponent"         },
        {"[1e+]",                         4,  1, 5,  "a digit of the exponent"         },
        {"[1e1.5]",                       4,  1, 5,  "a comma or ] is expected"        },
        {"[0x10]",                        2,  1, 3,  "a comma or ] is expected"        },
        {"[1f]",                          2,  1, 3,  "a comma or ] is expected"        },
        {"[1e400]",                       1,  1, 2,  "this number is too large"        },
        {"[1,\n -1e309]",                 5,  2, 2,  "this number is too large"        },
        {"[NaN]",                         1,  1, 2,  "a number or null is expected"    },
        {"[Infinity]",                    1,  1, 2,  "a number or null is expected"    },
        {"[-Infinity]",                   2,  1, 3,  "a digit is expected"             },
        {"[nul]",                         4,  1, 5,  "no such word"                    },
        {"[nulll]",                       5,  1, 6,  "a comma or ] is expected"        },
        {"[1,trux]",                      6,  1, 7,  "no such word"                    },
        {"[1] //",                        4,  1, 5,  "nothing may follow"              },
        {"['a']",                         1,  1, 2,  "a number or null is expected"    },
        {"{",                             1,  1, 2,  "ends too early"                  },
        {"{}",                            1,  1, 2,  "there are no rows: send"         },
        {"{\"top\":5}",                   8,  1, 9,  "there are no rows: send"         },
        {"{,}",                           1,  1, 2,  "a name in quotes"                },
        {"{a:1}",                         1,  1, 2,  "a name in quotes"                },
        {"{\"a\" 1}",                     5,  1, 6,  "a colon is expected"             },
        {"{\"a\":}",                      5,  1, 6,  "a value is expected"             },
        {"{\"a\":1,}",                    7,  1, 8,  "a name in quotes"                },
        {"{\"a\":1;}",                    6,  1, 7,  "a comma or } is expected"        },
        {"{\"é\":\"é\",\n\"ö\":\x01}", 17, 2, 5,  "a value is expected"             },
        {"[\"a\x01\"]",                   3,  1, 4,  "control character"               },
        {"[\"\n\"]",                      2,  1, 3,  "control character"               },
        {"[\"\\x\"]",                     3,  1, 4,  "no such escape"                  },
        {"[\"\\u12G4\"]",                 6,  1, 7,  "four hexadecimal digits"         },
        {"[\"\\u0000\"]",                 2,  1, 3,  "\\u0000"                         },
        {"{\"a\\u0000\":1}",              3,  1, 4,  "\\u0000"                         },
        {"[\"x\\ud800\"]",                3,  1, 4,  "surrogate"                       },
        {"[\"\\udc00\"]",                 2,  1, 3,  "surrogate"                       },
        {"[\"\\ud800\\u0041\"]",          2,  1, 3,  "surrogate"                       },
        {"[\"\\ud800",                    8,  1, 9,  "ends too early"                  },
        {"[\"a\xC0\xAF\"]",               3,  1, 4,  "not UTF-8"                       },
        {"[\"é\xED\xA0\x80\"]",          4,  1, 4,  "not UTF-8"                       },
        {"[\"\xF4\x90\x80\x80\"]",        2,  1, 3,  "not UTF-8"                       },
        {"[\"\xE2\x82\"]",                2,  1, 3,  "not UTF-8"                       },
        {"[\"\xFF\"]",                    2,  1, 3,  "not UTF-8"                       },
        {"[\"abc",                        5,  1, 6,  "ends too early"                  },
        {"[\"abc\\",                      6,  1, 7,  "ends too early"                  },
        {"[1,[2,{\"a\":[}]]]",            12, 1, 13, "a value is expected"             },
        {"[1,{\"a\":1]",                  9,  1, 10, "a comma or } is expected"        },
        {"[1,[1",                         5,  1, 6,  "ends too early"                  },
        {"{\"features\":[1,2,3,4]",       21, 1, 22, "ends too early"                  },
        {"{\"instances\":[[1,2,3,4]}",    23, 1, 24, "a comma or ] is expected"        },
        {"{\"instances\":[,]}",           14, 1, 15, "a row is expected"               },
        {"{\"instances\":[[1,2,3,4],]}",  24, 1, 25, "a row is expected"               },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(read_text(bad[i].body), -EBADMSG);
        if (rows.offset != bad[i].offset || rows.column != bad[i].column ||
            !strstr(rows.problems[0].detail, bad[i].detail))
            print_error("%s: %zu:%zu %s\n", bad[i].body, rows.offset, rows.column,
                        rows.problems[0].detail);
        assert_int_equal(rows.n_problems, 1);
        assert_int_equal(rows.offset, bad[i].offset);
        assert_int_equal(rows.line, bad[i].line);
        assert_int_equal(rows.column, bad[i].column);
        assert_string_equal(rows.problems[0].pointer, "");
        assert_non_null(strstr(rows.problems[0].detail, bad[i].detail));
    }
}

static void a_nul_byte_is_no_json(void **state)
{
    (void)state;
    assert_int_equal(read_bytes(schema, "[1,2,3,4]\0", 10), -EBADMSG);
    assert_int_equal(rows.offset, 9);
    assert_int_equal(read_bytes(schema, "[1,2\0,3,4]", 10), -EBADMSG);
    assert_int_equal(rows.offset, 4);
    assert_int_equal(json_rows_read(&rows, schema, NULL, NULL, 0), -EBADMSG);
}

static void other_shapes_are_refused_with_what_to_send(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t offset;
        const char *pointer, *detail;
    } bad[] = {
        {"[[1,2,3,4],[5,6,7,8]]",                                                      1,  "",                                  "{\"instances\": "        },
        {"[{\"cpu\":1}]",                                                              1,  "",                                  "{\"instances\": "        },
        {"{\"features\":[[1,2,3,4]]}",                                                 13, "/features",                         "{\"instances\": "        },
        {"{\"features\":5}",                                                           12, "/features",                         "must be an array"        },
        {"{\"features\":null}",                                                        12, "/features",                         "must be an array"        },
        {"{\"instances\":{\"cpu\":1}}",                                                13, "/instances",                        "must be an array of rows"},
        {"{\"instances\":[[1,2,3,4],5]}",                                              24, "/instances/1",                      "must be a row"           },
        {"{\"instances\":[\"a\"]}",                                                    14, "/instances/0",                      "must be a row"           },
        {"{\"features\":[1,2,3,4],\"features\":[1]}",                                  22, "/features",                         "is given twice"          },
        {"{\"instances\":[[1,2,3,4]],\"instances\":[]}",                               25, "/instances",                        "is given twice"          },
        {"{\"features\":[1,2,3,4],\"instances\":[]}",                                  22, "/instances",                        "is one too many"         },
        {"{\"instances\":[[1,2,3,4]],\"features\":[]}",                                25, "/features",                         "is one too many"         },
        {"{\"top\":1,\"top\":1,\"features\":[1,2,3,4]}",                               9,  "/top",                              "\"top\" is given twice"  },
        {"{\"top\":1,\"t\\u006fp\":2}",                                                9,  "/top",                              "\"top\" is given twice"  },
        {"{\"r/o~w\":[1]}",                                                            9,  "/r~1o~0w",                          "\"r/o~w\" is not a known"},
        {"{\"rows\":{}}",                                                              8,  "/rows",                             "\"rows\" is not a known" },
        {"{\"an_option_with_a_name_of_32_byte\":1}",                                   1,  "/an_option_with_a_name_of_32_byte",
         "is not a known key"                                                                                                                             },
        {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}",  49, "/i",
         "is one key too many"                                                                                                                            },
        {"{\"a\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
         "01234567890123456789012345678901234567890123456789012345678901\"}", 5,  "/a",                                "too long"                },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(read_text(bad[i].body), -EBADMSG);
        assert_int_equal(rows.n_problems, 1);
        if (rows.offset != bad[i].offset || !strstr(rows.problems[0].detail, bad[i].detail))
            print_error("%s: %zu %s\n", bad[i].body, rows.offset, rows.problems[0].detail);
        assert_int_equal(rows.offset, bad[i].offset);
        assert_string_equal(rows.problems[0].pointer, bad[i].pointer);
        assert_non_null(strstr(rows.problems[0].detail, bad[i].detail));
    }
}

static void wrong_features_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer, *detail;
    } bad[] = {
        {"[]",                                                         "",                       "0 values given, but the model wants 4"   },
        {"[1]",                                                        "",                       "1 value given, but the model wants 4"    },
        {"[1,2,3,4,5]",                                                "",                       "5 values given, but the model wants 4"   },
        {"{\"features\":[1,2,3]}",                                     "/features",              "3 values given, but the model wants 4"   },
        {"{\"instances\":[[1,2,3,4],[1]]}",                            "/instances/1",           "1 value given"                           },
        {"{\"instances\":[]}",                                         "/instances",             "no rows are given"                       },
        {"[1,\"2\",3,4]",                                              "/1",                     "a string where a number"                 },
        {"[1,2,true,4]",                                               "/2",                     "a boolean where"                         },
        {"[1,2,3,[[],{},{\"a\":[1,\"b\",null]}]]",                     "/3",                     "an array where"                          },
        {"{\"features\":{\"cpu\":1,\"mem\":{\"a\":1,\"b\":{}}}}",      "/features/mem",
         "an object where"                                                                                                                 },
        {"{\"features\":[1,2,1e39,4]}",                                "/features/2",            "this number is too large"                },
        {"{\"instances\":[{\"cpu\":-1e300,\"mem\":1}]}",               "/instances/0/cpu",
         "this number is too large"                                                                                                        },
        {"{\"features\":{\"cpu\":1,\"mem\":2,\"memm\":3}}",            "/features/memm",
         "unknown feature \"memm\"; did you mean \"mem\"?"                                                                                 },
        {"{\"features\":{\"cpu\":1,\"mem\":2,\"zzzzzzzzzzzz\":3}}",    "/features/zzzzzzzzzzzz",
         "unknown feature \"zzzzzzzzzzzz\""                                                                                                },
        {"{\"features\":{\"cpu\":1,\"mem\":2,\"cpu\":3}}",             "/features/cpu",
         "the feature \"cpu\" is given twice"                                                                                              },
        {"{\"features\":{\"cpu\":null,\"mem\":2,\"cp\\u0075\":null}}", "/features/cpu",
         "is given twice"                                                                                                                  },
        {"{\"features\":{\"a/b~c\":\"\",\"mem\":2}}",                  "/features/a~1b~0c",      "a string"                                },
        {"{\"features\":{}}",                                          "/features",              "half of the features are missing: 4 of 4"},
        {"{\"features\":{\"cpu\":1,\"mem\":null}}",                    "/features",              "are missing: 3 of 4"                     },
        {"{\"instances\":[[1,2,3,4],[1,null,null,null]]}",             "/instances/1",           "are missing: 3 of 4"                     },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(read_text(bad[i].body), -EINVAL);
        assert_int_equal(rows.n_problems, 1);
        assert_string_equal(rows.problems[0].pointer, bad[i].pointer);
        assert_non_null(strstr(rows.problems[0].detail, bad[i].detail));
    }
}

static void several_problems_are_told_at_once_but_not_all(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"instances\":[[1],{\"cpuu\":1,\"mem\":\"x\"},[1,2,3,4]]}"),
                     -EINVAL);
    assert_int_equal(rows.n_problems, 3);
    assert_string_equal(rows.problems[0].pointer, "/instances/0");
    assert_string_equal(rows.problems[1].pointer, "/instances/1/cpuu");
    assert_string_equal(rows.problems[2].pointer, "/instances/1/mem");

    assert_int_equal(read_text("[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]"), -EINVAL);
    assert_int_equal(rows.n_problems, JSON_ROWS_MAX_PROBLEMS);
}

static void malformed_json_behind_a_problem_wins(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"instances\":[[1],[\"x\",2]]"), -EBADMSG);
    assert_int_equal(rows.n_problems, 1);
    assert_non_null(strstr(rows.problems[0].detail, "malformed JSON: "));
}

static bool is_utf8(const char *text)
{
    for (const size_t length = strlen(text); *text && length;) {
        const size_t step = text_utf8_length(text, strlen(text));
        if (step == 0)
            return false;
        text += step;
    }
    return true;
}

/* Names of every length around the limits, of 1 to 4 bytes a character, plain and escaped. */
static void long_names_are_cut_between_characters(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "é", "€", "\xF0\x9F\x98\x80", "\\u20ac", "~", "/"};

    for (size_t p = 0; p < sizeof(pieces) / sizeof(*pieces); p++)
        for (size_t n = 1; n < 320; n++) {
            CLEANUP(text_clear) struct text body = {0};
            text_puts(&body, "{\"features\":{\"x");
            for (size_t i = 0; i < n; i++)
                text_puts(&body, pieces[p]);
            text_puts(&body, "\":1,\"cpu\":1,\"mem\":1}}");
            assert_false(text_failed(&body));
            assert_int_equal(read_bytes(schema, body.data, body.length), -EINVAL);
            assert_int_equal(rows.n_problems, 1);
            assert_true(is_utf8(rows.problems[0].pointer));
            assert_true(is_utf8(rows.problems[0].detail));
            assert_non_null(strstr(rows.problems[0].detail, "unknown feature \"x"));
        }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    for (int is_object = 0; is_object < 2; is_object++) {
        CLEANUP(text_clear) struct text body = {0};
        text_puts(&body, "[1,");
        for (size_t i = 0; i < 200000; i++)
            text_puts(&body, is_object ? "{\"a\":" : "[");
        assert_false(text_failed(&body));
        assert_int_equal(read_bytes(schema, body.data, body.length), -EBADMSG);
        assert_non_null(strstr(rows.problems[0].detail, "nested too deep"));
    }
}

static void a_body_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    static const char body[] =
        "{\"explain\":\"\\u20ac\xE2\x82\xAC\",\"instances\":[[1,-2.5e-3,null,"
        "4],{\"cpu\":1,\"a\\/b~c\":0.5}],\"top\":3,\"learn\":false}";

    assert_int_equal(read_text(body), 0);
    for (size_t size = 0; size < sizeof(body) - 1; size++) {
        assert_int_equal(read_bytes(schema, body, size), -EBADMSG);
        assert_true(rows.offset <= size);
    }
}

static float only_number(const char *number)
{
    CLEANUP(text_clear) struct text body = {0};
    CLEANUP(schema_freep) struct schema *one = numbered_schema(1);

    text_printf(&body, "[%s]", number);
    assert_false(text_failed(&body));
    assert_int_equal(read_bytes(one, body.data, body.length), 0);
    return rows.rows[0];
}

static void numbers_are_read_exactly(void **state)
{
    (void)state;
    struct random random;
    char text[512];

    random_seed(&random, 1);
    for (int i = 0; i < 20000; i++) {
        const double value =
            (random_uniform(&random) - 0.5) * pow(10, (double)random_below(&random, 78) - 40);
        const int precision = (int)random_below(&random, 40);
        if (i % 2)
            (void)snprintf(text, sizeof(text), "%.*g", precision, value);
        else
            (void)snprintf(text, sizeof(text), "%.*e", precision, value);
        assert_true(only_number(text) == (float)strtod(text, NULL));
    }
}

/* Decimals in the middle of two floats, and as little beside it as can be written. */
static void numbers_between_two_floats_are_rounded_rightly(void **state)
{
    (void)state;
    struct random random;
    char text[1400];

    random_seed(&random, 2);
    for (int i = 0; i < 2000; i++) {
        const float low =
            (float)ldexp(random_uniform(&random) + 0.5, (int)random_below(&random, 250) - 140);
        const double middle = ((double)low + (double)nextafterf(low, INFINITY)) / 2;
        const int n = snprintf(text, sizeof(text), "%.*f", (int)random_below(&random, 300), middle);
        assert_true(only_number(text) == (float)strtod(text, NULL));
        text[n - 1] = (char)('0' + random_below(&random, 10));
        assert_true(only_number(text) == (float)strtod(text, NULL));
    }
}

static void numbers_of_any_length_are_read_exactly(void **state)
{
    (void)state;
    char text[5000];

    /* 2^24 + 1 is the middle of two floats: a 1 far behind decides */
    (void)snprintf(text, sizeof(text), "16777217.%04000d", 0);
    assert_true(only_number(text) == 16777216.0F);
    /* … but not where the double has no room for it */
    (void)snprintf(text, sizeof(text), "16777217.%04000d", 1);
    assert_true(only_number(text) == 16777216.0F);
    (void)snprintf(text, sizeof(text), "0.%04000de4000", 5);
    assert_true(only_number(text) == 5.0F);
    (void)snprintf(text, sizeof(text), "1%04000de-4000", 0);
    assert_true(only_number(text) == 1.0F);
    (void)snprintf(text, sizeof(text), "0e99999999999999999999999999999");
    assert_true(only_number(text) == 0.0F);
    (void)snprintf(text, sizeof(text), "-1e-99999999999999999999999999999");
    assert_true(only_number(text) == 0.0F && signbit(rows.rows[0]));
    assert_int_equal(read_text("[1e99999999999999999999999999999]"), -EBADMSG);
}

/* ---- against jansson ---- */

static void assert_value(const json_t *value, float got)
{
    if (!value || json_is_null(value))
        assert_true(isnan(got));
    else
        assert_true(json_is_real(value) && (float)json_real_value(value) == got);
}

static void assert_row_as_jansson(const json_t *row, const float *got)
{
    for (size_t i = 0; i < N_NAMES; i++)
        assert_value(json_is_array(row) ? json_array_get(row, i) : json_object_get(row, names[i]),
                     got[i]);
}

static void assert_as_jansson(const char *body, size_t size)
{
    json_error_t error;
    json_auto_t *root =
        json_loadb(body, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    const int r = read_bytes(schema, body, size);

    if (r == -EBADMSG && strstr(rows.problems[0].detail, "malformed JSON: "))
        assert_null(root);
    if (r == -EINVAL) /* only a duplicated feature is refused by both in their own ways */
        assert_true(root || json_error_code(&error) == json_error_duplicate_key);
    if (r != 0)
        return;
    assert_non_null(root);
    const json_t *instances = json_object_get(root, "instances");
    const json_t *features = json_object_get(root, "features");
    assert_int_equal(rows.n_rows, instances ? json_array_size(instances) : 1);
    for (size_t i = 0; i < rows.n_rows; i++)
        assert_row_as_jansson(instances  ? json_array_get(instances, i)
                              : features ? features
                                         : root,
                              rows.rows + i * N_NAMES);
}

/* Changes a few bytes of body; returns the new size. */
static size_t mutate(struct random *random, char *body, size_t size, size_t room)
{
    static const char bytes[] =
        "[]{},:\"\\ \n0123456789-+.eEnulltruefasd/~\xC3\xA9\xED\xA0\xF0\x01";
    static const char *const words[] = {"null", "1e39",     "1e309",      "\"cpu\":", "\\u0041",
                                        "[]",   "\\ud83d",  "\\ude00",    "{}",       "-0",
                                        "1.5",  "\"a\":1,", "\"mem\":2,", "true",     "\"é\""};

    for (size_t n = 1 + random_below(random, 3); n > 0; n--) {
        const size_t at = random_below(random, size + 1);
        const char *word = words[random_below(random, sizeof(words) / sizeof(*words))];
        const size_t length = strlen(word);

        switch (random_below(random, 4)) {
        case 0: /* another byte */
            if (at < size)
                body[at] = bytes[random_below(random, sizeof(bytes) - 1)];
            break;
        case 1: /* a byte less */
            if (at < size)
                memmove(body + at, body + at + 1, --size - at);
            break;
        case 2: /* a word more */
            if (size + length <= room) {
                memmove(body + at + length, body + at, size - at);
                memcpy(body + at, word, length);
                size += length;
            }
            break;
        default: /* a byte twice */
            if (at < size && size < room) {
                memmove(body + at + 1, body + at, size - at);
                size++;
            }
        }
    }
    return size;
}

static void agrees_with_jansson_on_mutated_bodies(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "[1,2.5,-3e2,null]",
        "{\"features\":[0.1,2,3,4e-7],\"explain\":\"all\"}",
        "{\"top\":3,\"features\":{\"cpu\":1,\"mem\":2.25,\"a/b~c\":null,\"temp\\u00e9rature\":-4}}",
        "{\"instances\":[[1,2,3,4],{\"cpu\":0.30000000000000004,\"mem\":16777217}]}",
        "{\"instances\":[[1,2,3,[4,{\"a\":\"b\"}]]],\"learn\":false}",
        "{\"instances\": [[0.8414709848078965, -0.25, 17, 1.5e-07], [1, 2, 0.5, -0.0], "
        "{\"cpu\": 0.30000000000000004, \"mem\": 12.5, \"a/b~c\": 1, \"température\": -4}]}",
    };
    struct random random;
    size_t n_accepted = 0;

    random_seed(&random, 3);
    for (int i = 0; i < 30000; i++) {
        char body[256];
        const char *seed = seeds[random_below(&random, sizeof(seeds) / sizeof(*seeds))];
        size_t size = strlen(seed);
        memcpy(body, seed, size);
        size = mutate(&random, body, size, sizeof(body));
        assert_as_jansson(body, size);
        n_accepted += rows.n_problems == 0;
    }
    assert_true(n_accepted > 1000); /* else the test would say little */
}

/* ---- memory ---- */

static void memory_stays_within_eight_times_the_body(void **state)
{
    (void)state;
    static const struct {
        size_t n_features;
        const char *row;
    } cases[] = {
        {4096, "{}"        },
        {4096, "[]"        },
        {4096, "[1]"       },
        {4096, "{\"f1\":1}"},
        {1,    "[1]"       },
        {1,    "{\"f0\":1}"},
        {1,    "[null]"    },
        {2,    "[1,null]"  },
        {2,    "{\"f1\":1}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(schema_freep) struct schema *wide = numbered_schema(cases[i].n_features);
        CLEANUP(text_clear) struct text body = {0};
        text_puts(&body, "{\"instances\":[");
        for (size_t n = 0; n < 100000; n++)
            text_printf(&body, "%s%s", n ? "," : "", cases[i].row);
        text_puts(&body, "]}");
        assert_false(text_failed(&body));

        json_rows_clear(&rows);
        (void)read_bytes(wide, body.data, body.length);
        assert_true(rows.capacity * sizeof(float) <= 8 * body.length + 2 * 4096 * sizeof(float));
    }
}

static void one_object_serves_many_requests(void **state)
{
    (void)state;
    CLEANUP(schema_freep) struct schema *narrow = numbered_schema(2);

    for (int i = 0; i < 100; i++) {
        assert_int_equal(read_text("{\"instances\":[[1,2,3,4],[5,6,7,8]],\"top\":1}"), 0);
        assert_int_equal(rows.n_rows, 2);
        assert_true(rows.is_batch);
        assert_int_equal(read_text("[1"), -EBADMSG);
        assert_int_equal(read_text("[1]"), -EINVAL);
        assert_int_equal(read_bytes(narrow, "[7,8]", 5), 0);
        assert_int_equal(rows.n_rows, 1);
        assert_int_equal(rows.n_options, 0);
        assert_int_equal(rows.n_problems, 0);
        assert_false(rows.is_batch);
        assert_true(rows.rows[0] == 7 && rows.rows[1] == 8);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char body[] = "{\"instances\":[[1,2,3,4],[5,6,7,8],[1,2,3,4],[5,6,7,8]]}";
    int r = -ENOMEM;

    json_rows_clear(&rows);
    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        alloc_fail_in = nth;
        r = json_rows_read(&rows, schema, NULL, body, sizeof(body) - 1);
        alloc_fail_in = -1;
        assert_true(nth > 0 || r == -ENOMEM);
    }
    assert_int_equal(r, 0);
    assert_int_equal(rows.n_rows, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_gives_its_rows),
        cmocka_unit_test(every_row_of_a_batch_has_its_own_names),
        cmocka_unit_test(names_are_found_in_any_order),
        cmocka_unit_test(options_are_handed_over_as_they_stand),
        cmocka_unit_test(malformed_bodies_are_refused_with_their_place),
        cmocka_unit_test(a_nul_byte_is_no_json),
        cmocka_unit_test(other_shapes_are_refused_with_what_to_send),
        cmocka_unit_test(wrong_features_are_named),
        cmocka_unit_test(several_problems_are_told_at_once_but_not_all),
        cmocka_unit_test(malformed_json_behind_a_problem_wins),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_body_cut_anywhere_is_malformed),
        cmocka_unit_test(numbers_are_read_exactly),
        cmocka_unit_test(numbers_between_two_floats_are_rounded_rightly),
        cmocka_unit_test(numbers_of_any_length_are_read_exactly),
        cmocka_unit_test(agrees_with_jansson_on_mutated_bodies),
        cmocka_unit_test(memory_stays_within_eight_times_the_body),
        cmocka_unit_test(one_object_serves_many_requests),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
