/* reply - what goes back to the client: a status, a body, a few header fields.
 *
 * Errors are RFC 9457 problems (application/problem+json). Their detail says what is wrong and what
 * to do. */
#pragma once

#include "base/error.h"
#include "base/quota.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_ALLOW_SIZE     64
#define REPLY_LOCATION_SIZE  128
#define REPLY_FILE_NAME_SIZE 96

struct later;
struct stream;

/* Start with {0}. */
struct reply {
    struct later *later; /* not NULL: it makes the answer (http/later.h), nothing else counts yet */
    unsigned status;
    const char *content_type; /* a literal */
    struct text body;
    struct share share;           /* of a body that may be long: until it is sent, or another one */
    char allow[REPLY_ALLOW_SIZE]; /* "GET, HEAD"; "": no such field */
    char location[REPLY_LOCATION_SIZE]; /* a path; "": no such field */
    unsigned retry_after_s;             /* 0: no such field */
    bool has_file;                      /* instead of a body, what file_fd has: */
    int file_fd;                        /* a file at its start; who sends it closes it */
    uint64_t file_size;
    struct stream *stream; /* instead of either, what comes from it (http/stream.h); who sends it
                            * frees it */
    char file_name[REPLY_FILE_NAME_SIZE]; /* that it should be saved as: letters, digits, -_. */
};

/* Appends `{"type":…,"title":…,"status":…,"detail":…`; what follows is the caller's: further
 * members, each with a comma before it, and the closing brace. Drops what was there before. */
void reply_begin_problem(struct reply *reply, unsigned status, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* With its share. */
void reply_clear_body(struct reply *reply);

/* The same, complete. */
void reply_problem(struct reply *reply, unsigned status, const char *format, ...) PRINTF_LIKE(3, 4);

/* Memory is short: a 503 that needs none. */
void reply_no_memory(struct reply *reply);

/* True: the body could not be allocated; the answer is then REPLY_NO_MEMORY_BODY. */
#define REPLY_NO_MEMORY_BODY                                                      \
    "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503," \
    "\"detail\":\"The service is out of memory; send less at a time or try again\"}"

/* Writes a whole problem answer with `Connection: close` to a socket that no library serves (yet,
 * or any more), without blocking; to a HEAD request without the body. The caller closes it
 * (http/linger.h). */
void reply_send_raw(int fd, unsigned status, const char *request_id, const char *detail,
                    bool is_head);
