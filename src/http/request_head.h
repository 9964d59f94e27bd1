/* request_head - is this a request head that libmicrohttpd will take?
 *
 * The library answers what it refuses with an HTML page of its own. Whatever can be known from the
 * head is checked here first, so that those answers are problem+json too. That goes for the first
 * head of a connection. Of the further ones the fields are checked when the library has taken them
 * apart, above all that there is one way to tell where the body ends (RFC 9112, 6.3): else the rest
 * of a body could pass for a request. What the library itself refuses there, and a malformed chunk
 * in any request, gets its HTML page, and the connection ends. Pure functions, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_HEAD_MAX 8192 /* bytes, with the blank line */

/* Header fields, query parameters and cookies together: each takes 64 bytes of a connection's
 * 16 KiB. */
#define REQUEST_HEAD_MAX_FIELDS 64

struct head_refusal {
    unsigned status;    /* 400, 413 or 431 */
    const char *detail; /* for the client; a literal */
};

/* bytes[size] is what has come so far. 1: the head is complete and fine. 0: more must come.
 * -EBADMSG: ret_refusal says what to answer. */
int request_head_check(const char *bytes, size_t size, struct head_refusal *ret_refusal);

/* What a head says about its body and its sender, as far as it has been read. Start with the
 * version and the number of query parameters. */
struct request_head {
    size_t n_fields;
    uint64_t content_length;
    bool is_http_1_1, has_host, has_length, has_transfer_encoding;
};

/* For a head that is taken apart already: the fields one by one, the value without white space
 * around it, then the end. 0, or -EBADMSG as above. */
int request_head_check_field(struct request_head *head, const char *name, size_t name_length,
                             const char *value, size_t value_length,
                             struct head_refusal *ret_refusal);
int request_head_check_end(const struct request_head *head, struct head_refusal *ret_refusal);
