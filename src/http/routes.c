#include "http/routes.h"

#include "base/number.h"
#include "http/handler.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Lines of one path stand together: it has one name. */
static const struct route routes[] = {
    {"/v1/models/{m}/score",                "POST",   BODY_ROWS,  handle_score          },
    {"/v1/score",                           "POST",   BODY_ROWS,  handle_score          },
    {"/v1/models/{m}/observe",              "POST",   BODY_ROWS,  handle_observe        },
    {"/v1/models/{m}/retrain",              "POST",   BODY_NONE,  handle_retrain        },
    {"/v1/models/{m}/runs",                 "GET",    BODY_NONE,  handle_runs           },
    {"/v1/models/{m}/runs/{id}",            "GET",    BODY_NONE,  handle_run            },
    {"/v1/models/{m}/runs/{id}",            "DELETE", BODY_NONE,  handle_cancel         },
    {"/v1/models/{m}/versions",             "GET",    BODY_NONE,  handle_versions       },
    {"/v1/models/{m}/versions/{v}/file",    "GET",    BODY_NONE,  handle_file           },
    {"/v1/models/{m}/versions/{v}/promote", "POST",   BODY_NONE,  handle_promote        },
    {"/v1/models/{m}/rollback",             "POST",   BODY_NONE,  handle_rollback       },
    {"/v1/models/{m}/feedback",             "POST",   BODY_JSON,  handle_feedback       },
    {"/v1/models/{m}/freeze",               "POST",   BODY_NONE,  handle_freeze         },
    {"/v1/models/{m}/unfreeze",             "POST",   BODY_NONE,  handle_unfreeze       },
    {"/v1/models/{m}/rebaseline",           "POST",   BODY_NONE,  handle_rebaseline     },
    {"/v1/models/{m}/reset",                "POST",   BODY_NONE,  handle_reset          },
    {"/v1/models/{m}/thresholds",           "GET",    BODY_NONE,  handle_thresholds     },
    {"/v1/models/{m}/thresholds",           "PUT",    BODY_JSON,  handle_set_thresholds },
    {"/v1/models/{m}/maintenance",          "GET",    BODY_NONE,  handle_maintenance    },
    {"/v1/models/{m}/maintenance",          "POST",   BODY_JSON,  handle_add_maintenance},
    {"/v1/models/{m}/maintenance",          "DELETE", BODY_NONE,  handle_end_maintenance},
    {"/v1/models/{m}/maintenance/{id}",     "DELETE", BODY_NONE,  handle_end_maintenance},
    {"/v1/models/{m}/buffer",               "GET",    BODY_NONE,  handle_buffer         },
    {"/v1/models/{m}/events",               "GET",    BODY_NONE,  handle_events         },
    {"/v1/models/{m}/incidents",            "GET",    BODY_NONE,  handle_incidents      },
    {"/v1/models/{m}/incidents/{id}",       "GET",    BODY_NONE,  handle_incident       },
    {"/v1/models/{m}/incidents/{id}/rows",  "GET",    BODY_NONE,  handle_incident_rows  },
    {"/v1/models/{m}/audit",                "GET",    BODY_NONE,  handle_audit          },
    {"/v1/events",                          "GET",    BODY_NONE,  handle_follow         },
    {"/v1/models",                          "GET",    BODY_NONE,  handle_models         },
    {"/v1/models/{m}",                      "GET",    BODY_NONE,  handle_model          },
    {"/v1/models/{m}",                      "PUT",    BODY_MODEL, handle_upload         },
    {"/v1/models/{m}",                      "DELETE", BODY_NONE,  handle_delete         },
    {"/healthz",                            "GET",    BODY_NONE,  handle_healthz        },
    {"/readyz",                             "GET",    BODY_NONE,  handle_readyz         },
    {"/metrics",                            "GET",    BODY_NONE,  handle_metrics        },
};

#define N_ROUTES (sizeof(routes) / sizeof(*routes))

static bool is_new_path(size_t route)
{
    return route == 0 || strcmp(routes[route].path, routes[route - 1].path) != 0;
}

const char *const *routes_names(size_t *ret_n_routes)
{
    static const char *names[N_ROUTES + 1];
    size_t n = 0;

    for (size_t i = 0; i < N_ROUTES; i++)
        if (is_new_path(i))
            names[n++] = routes[i].path;
    names[n++] = "other";
    *ret_n_routes = n;
    return names;
}

/* A number from 1 to max in the one form it has: no sign, no zeros before it. */
static bool parse_number(const char *text, size_t length, uint64_t max, uint64_t *ret_number)
{
    uint64_t number;

    if (*text == '0' || number_parse_u64(text, length, &number) < 0 || number > max)
        return false;
    *ret_number = number;
    return true;
}

/* part[length] stands for the hole, "{m}". */
static bool fill_hole(const char *hole, const char *part, size_t length, struct route_match *match)
{
    uint64_t number;

    switch (hole[1]) {
    case 'v':
        if (!parse_number(part, length, UINT_MAX, &number))
            return false;
        match->version = (unsigned)number;
        return true;
    case 'i':
        if (!parse_number(part, length, INT64_MAX, &number))
            return false;
        match->run = (int64_t)number;
        return true;
    default:
        match->model = part;
        match->model_length = length;
        return length > 0;
    }
}

/* True: path is an instance of pattern; match then holds what stands for its holes. */
static bool path_matches(const char *pattern, const char *path, struct route_match *match)
{
    struct route_match filled = *match;

    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (!fill_hole(pattern, path, length, &filled))
            return false;
        path += length;
        pattern = strchr(pattern, '}') + 1;
    }
    if (*pattern || *path)
        return false;
    *match = filled;
    return true;
}

static bool method_matches(const char *allowed, const char *method)
{
    return strcmp(allowed, method) == 0 ||
           (strcmp(allowed, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

struct route_match routes_find(const char *method, const char *path)
{
    struct route_match match = {0};
    size_t name = 0;

    for (size_t i = 0; i < N_ROUTES; i++) {
        name += i > 0 && is_new_path(i);
        if (!path_matches(routes[i].path, path, &match))
            continue;
        match.is_path = true;
        match.index = name;
        if (method_matches(routes[i].method, method)) {
            match.route = &routes[i];
            return match;
        }
    }
    if (!match.is_path)
        match.index = name + 1;
    return match;
}

const char *routes_methods(const char *path, char ret_methods[ROUTES_METHODS_SIZE])
{
    struct route_match match = {0};
    size_t used = 0;

    ret_methods[0] = '\0';
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!path_matches(routes[i].path, path, &match))
            continue;
        (void)snprintf(ret_methods + used, ROUTES_METHODS_SIZE - used, "%s%s%s",
                       used > 0 ? ", " : "", routes[i].method,
                       strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
        used = strlen(ret_methods);
    }
    return ret_methods;
}
