#include "http/routes.h"

#include "http/handler.h"

#include <stdio.h>
#include <string.h>

static const struct route routes[] = {
    {"/v1/models/{m}/score", "POST", true,  handle_score  },
    {"/v1/score",            "POST", true,  handle_score  },
    {"/v1/models",           "GET",  false, handle_models },
    {"/v1/models/{m}",       "GET",  false, handle_model  },
    {"/healthz",             "GET",  false, handle_healthz},
    {"/readyz",              "GET",  false, handle_readyz },
    {"/metrics",             "GET",  false, handle_metrics},
};

#define N_ROUTES (sizeof(routes) / sizeof(*routes))

const char *const *routes_names(size_t *ret_n_routes)
{
    static const char *names[N_ROUTES + 1];

    for (size_t i = 0; i < N_ROUTES; i++)
        names[i] = routes[i].path;
    names[N_ROUTES] = "other";
    *ret_n_routes = N_ROUTES + 1;
    return names;
}

/* True: path is an instance of pattern; *ret_model is what stands for its {m}. */
static bool path_matches(const char *pattern, const char *path, const char **ret_model,
                         size_t *ret_length)
{
    const char *hole = strstr(pattern, "{m}");
    if (!hole)
        return strcmp(pattern, path) == 0;

    size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    size_t length = strcspn(path + before, "/");
    if (length == 0 || strcmp(hole + 3, path + before + length) != 0)
        return false;
    *ret_model = path + before;
    *ret_length = length;
    return true;
}

static bool method_matches(const char *allowed, const char *method)
{
    return strcmp(allowed, method) == 0 ||
           (strcmp(allowed, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

struct route_match routes_find(const char *method, const char *path)
{
    struct route_match match = {.index = N_ROUTES};

    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!path_matches(routes[i].path, path, &match.model, &match.model_length))
            continue;
        match.index = i;
        if (method_matches(routes[i].method, method)) {
            match.route = &routes[i];
            return match;
        }
        size_t used = strlen(match.allow);
        (void)snprintf(match.allow + used, sizeof(match.allow) - used, "%s%s%s",
                       used > 0 ? ", " : "", routes[i].method,
                       strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    return match;
}
