#include "http/routes.h"

#include "support/cmocka.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *name_of(struct route_match match)
{
    size_t n_routes;
    const char *const *names = routes_names(&n_routes);

    assert_true(match.index < n_routes);
    return names[match.index];
}

static void every_path_has_one_name(void **state)
{
    (void)state;
    size_t n_routes;
    const char *const *names = routes_names(&n_routes);

    for (size_t i = 0; i < n_routes; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    assert_string_equal(names[n_routes - 1], "other");
}

static void a_path_is_found_by_its_method(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *name;
    } good[] = {
        {"POST",   "/v1/models/web/score",              "/v1/models/{m}/score"               },
        {"POST",   "/v1/score",                         "/v1/score"                          },
        {"POST",   "/v1/models/web/observe",            "/v1/models/{m}/observe"             },
        {"POST",   "/v1/models/web/retrain",            "/v1/models/{m}/retrain"             },
        {"GET",    "/v1/models/web/runs",               "/v1/models/{m}/runs"                },
        {"GET",    "/v1/models/web/runs/7",             "/v1/models/{m}/runs/{id}"           },
        {"DELETE", "/v1/models/web/runs/7",             "/v1/models/{m}/runs/{id}"           },
        {"GET",    "/v1/models/web/versions",           "/v1/models/{m}/versions"            },
        {"GET",    "/v1/models/web/versions/2/file",    "/v1/models/{m}/versions/{v}/file"   },
        {"POST",   "/v1/models/web/versions/2/promote", "/v1/models/{m}/versions/{v}/promote"},
        {"POST",   "/v1/models/web/rollback",           "/v1/models/{m}/rollback"            },
        {"POST",   "/v1/models/web/feedback",           "/v1/models/{m}/feedback"            },
        {"POST",   "/v1/models/web/freeze",             "/v1/models/{m}/freeze"              },
        {"POST",   "/v1/models/web/unfreeze",           "/v1/models/{m}/unfreeze"            },
        {"POST",   "/v1/models/web/rebaseline",         "/v1/models/{m}/rebaseline"          },
        {"POST",   "/v1/models/web/reset",              "/v1/models/{m}/reset"               },
        {"GET",    "/v1/models/web/buffer",             "/v1/models/{m}/buffer"              },
        {"GET",    "/v1/models/web/events",             "/v1/models/{m}/events"              },
        {"GET",    "/v1/models/web/audit",              "/v1/models/{m}/audit"               },
        {"GET",    "/v1/models",                        "/v1/models"                         },
        {"HEAD",   "/v1/models/web",                    "/v1/models/{m}"                     },
        {"PUT",    "/v1/models/web",                    "/v1/models/{m}"                     },
        {"DELETE", "/v1/models/web",                    "/v1/models/{m}"                     },
        {"GET",    "/metrics",                          "/metrics"                           },
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        const struct route_match match = routes_find(good[i].method, good[i].path);
        assert_non_null(match.route);
        assert_string_equal(match.route->path, good[i].name);
        assert_string_equal(name_of(match), good[i].name);
        if (!strstr(good[i].name, "{m}"))
            continue;
        assert_int_equal(match.model_length, 3);
        assert_memory_equal(match.model, "web", 3);
    }
}

static void the_holes_of_a_path_hold_numbers(void **state)
{
    (void)state;
    struct route_match match = routes_find("POST", "/v1/models/a/versions/4294967295/promote");

    assert_int_equal(match.version, UINT_MAX);
    assert_int_equal(match.run, 0);
    match = routes_find("DELETE", "/v1/models/a/runs/9223372036854775807");
    assert_true(match.run == INT64_MAX);
    assert_int_equal(match.version, 0);
    assert_memory_equal(match.model, "a", 1);
}

static void a_malformed_number_is_no_path(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "",
        "0",
        "01",
        "-1",
        "+1",
        "1.0",
        "x",
        "1e3",
        " 1",
        "0x10",
        "9223372036854775808",
        "99999999999999999999999",
    };
    char path[128];

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        (void)snprintf(path, sizeof(path), "/v1/models/web/runs/%s", numbers[i]);
        assert_string_equal(name_of(routes_find("GET", path)), "other");
        (void)snprintf(path, sizeof(path), "/v1/models/web/versions/%s/promote", numbers[i]);
        assert_string_equal(name_of(routes_find("POST", path)), "other");
    }
    const struct route_match match =
        routes_find("POST", "/v1/models/web/versions/4294967296/promote");
    assert_null(match.route);
    assert_false(match.is_path);
}

static void other_paths_are_not_found(void **state)
{
    (void)state;
    char methods[ROUTES_METHODS_SIZE];
    static const char *const paths[] = {
        "",
        "/",
        "*",
        "/v1/model",
        "/v1/models/",
        "/v1/models/web/",
        "/v1/models//score",
        "/v1/models/web/score/",
        "/v1/models/a/b/score",
        "/v1/models/web/versions/2",
        "/v1/models/web/versions//promote",
        "/v1/models/web/versions/2/promote/",
        "/v1/models/web/runs/",
        "/v1/models/web/runs/1/2",
        "/v1/models/{m}/",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        const struct route_match match = routes_find("POST", paths[i]);
        assert_null(match.route);
        assert_null(match.model);
        assert_false(match.is_path);
        assert_string_equal(routes_methods(paths[i], methods), "");
        assert_string_equal(name_of(match), "other");
    }
}

static void a_wrong_method_tells_the_right_ones(void **state)
{
    (void)state;
    char methods[ROUTES_METHODS_SIZE];
    static const struct {
        const char *path, *allow;
    } wrong[] = {
        {"/v1/models/web/runs/7",             "GET, HEAD, DELETE"},
        {"/v1/models/web/runs",               "GET, HEAD"        },
        {"/v1/models/web/retrain",            "POST"             },
        {"/v1/models/web/versions/3/promote", "POST"             },
        {"/v1/models/web/versions/3/file",    "GET, HEAD"        },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const struct route_match match = routes_find("PUT", wrong[i].path);
        assert_null(match.route);
        assert_true(match.is_path);
        assert_string_equal(routes_methods(wrong[i].path, methods), wrong[i].allow);
        assert_string_not_equal(name_of(match), "other");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_has_one_name),
        cmocka_unit_test(a_path_is_found_by_its_method),
        cmocka_unit_test(the_holes_of_a_path_hold_numbers),
        cmocka_unit_test(a_malformed_number_is_no_path),
        cmocka_unit_test(other_paths_are_not_found),
        cmocka_unit_test(a_wrong_method_tells_the_right_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
