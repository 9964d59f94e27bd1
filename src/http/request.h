/* request - what a handler gets to see of an HTTP request.
 *
 * Plain data, filled by exchange.c (the parameters, last_event_id and fd: by server.c); all
 * pointers are valid until the reply is queued. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct share;

#define REQUEST_MAX_PARAMETERS 8

enum request_body { /* what a route takes, up to max_body */
    BODY_NONE,      /* nothing: it is ignored */
    BODY_JSON,
    BODY_ROWS, /* JSON, NDJSON or .npy */
    BODY_MODEL /* a model file */
};

enum request_rows { /* how rows are written */
    ROWS_JSON,
    ROWS_LINES, /* NDJSON: a row a line */
    ROWS_NPY    /* what numpy.save() writes */
};

struct request_parameter {
    const char *name, *value; /* decoded; value is "" where the query has no "=" */
};

struct request {
    const char *model; /* the part of the path that stands for {m}; NULL: the route has none */
    size_t model_length;
    unsigned version;            /* what stands for {v}, from 1; 0: the route has none */
    int64_t run;                 /* what stands for {id}, from 1; 0: the route has none */
    const char *last_event_id;   /* NULL: there is no such field */
    int fd;                      /* of the connection, for request_who() */
    enum request_rows rows;      /* of a BODY_ROWS */
    bool wants_lines, wants_npy; /* by its Accept */
    const char *body;
    size_t body_size;
    const struct share *body_share; /* what keeping it takes of service_request_memory() */
    struct request_parameter parameters[REQUEST_MAX_PARAMETERS];
    size_t n_parameters; /* may be larger: the further ones are not kept */
};

/* The path of a decoded target without its query: a part of it, or "/". A target may also be a
 * whole address (RFC 9112, 3.2.2: `GET http://host/healthz`). */
const char *request_path(const char *target);

/* NULL: a body of this type is one that the route takes, text is UTF-8, and the encoding is none;
 * else what is wrong and what to send. Either field may be NULL: not given. */
const char *request_check_body_type(enum request_body body, const char *content_type,
                                    const char *content_encoding);

/* Of a body that has passed: JSON unless it says otherwise. */
enum request_rows request_rows_of(const char *content_type);
/* How much (from 0, not at all, to 1) a header field Accept (NULL: not given) wants the type that
 * it names, not only as part of a range: RFC 9110, 12.5.1. */
double request_accepts(const char *accept, const char *type);
/* The same of JSON, of which any client may be thought to know: by a range too, the narrowest. */
double request_accepts_json(const char *accept);

/* How the detail of a 503 begins where service_request_memory() is used up. */
#define REQUEST_NO_ROOM "The requests under way take all of max_request_memory"

#define REQUEST_WHO_SIZE 64

/* Who asks, for the audit: the address of the client, "unix" behind a Unix socket, "http" if it
 * cannot be told. Returns ret_who. */
const char *request_who(const struct request *request, char ret_who[REQUEST_WHO_SIZE]);

/* True: a client's X-Request-Id that is safe to repeat in headers and logs. */
bool request_id_is_sane(const char *id);
