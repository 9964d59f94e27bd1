/* routes - the one table of what the API serves; also the values of the metric label `route`. */
#pragma once

#include "http/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handler;
struct reply;

struct route {
    const char *path;   /* with holes: {m} the name of a model, {v} the number of a version, {id}
                         * that of a run, an incident or a window of maintenance */
    const char *method; /* GET stands for HEAD too */
    enum request_body body;
    void (*handle)(struct handler *handler, const struct request *request, struct reply *reply);
};

/* The paths, [*ret_n_routes], live for ever; the last is for what matches none. Main thread. */
const char *const *routes_names(size_t *ret_n_routes);

struct route_match {
    size_t index;              /* into routes_names(), whatever the outcome */
    const struct route *route; /* NULL: 404, or 405 if there is such a path */
    bool is_path;
    const char *model; /* part of path, not NUL-terminated; NULL: the route has none */
    size_t model_length;
    unsigned version; /* from 1; 0: the route has none */
    int64_t run;      /* from 1; 0: the route has none */
};

/* path is decoded and without its query; no path has the index of the last name. */
struct route_match routes_find(const char *method, const char *path);

#define ROUTES_METHODS_SIZE 64

/* What the path takes, "GET, HEAD"; "": it is none. Returns ret_methods. */
const char *routes_methods(const char *path, char ret_methods[ROUTES_METHODS_SIZE]);
