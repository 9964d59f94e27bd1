/* routes - the one table of what the API serves; also the values of the metric label `route`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct handler;
struct reply;
struct request;

struct route {
    const char *path;   /* "{m}" stands for the name of a model */
    const char *method; /* GET stands for HEAD too */
    bool takes_rows;    /* the body is JSON, up to max_body; elsewhere it is ignored */
    void (*handle)(struct handler *handler, const struct request *request, struct reply *reply);
};

/* [*ret_n_routes], live for ever. The last one is for what matches no route. Main thread. */
const char *const *routes_names(size_t *ret_n_routes);

#define ROUTES_ALLOW_SIZE 64

struct route_match {
    size_t index;              /* into routes_names(), whatever the outcome */
    const struct route *route; /* NULL: 404, or 405 if allow has something */
    const char *model;         /* part of path, not NUL-terminated; NULL: the route has none */
    size_t model_length;
    char allow[ROUTES_ALLOW_SIZE]; /* the methods of the path: "GET, HEAD" */
};

/* path is decoded and without its query; no path has the index of the last name. */
struct route_match routes_find(const char *method, const char *path);
