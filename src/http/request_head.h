/* request_head - is this a request head that libmicrohttpd will take?
 *
 * The library answers what it refuses with an HTML page of its own. Whatever can be known from the
 * head is checked here first, so that those answers are problem+json too. That goes for the first
 * head of a connection: what the library refuses later (a malformed further head, a malformed
 * chunk) still gets its plain page, and the connection ends. Pure functions, any thread. */
#pragma once

#include <stddef.h>

#define REQUEST_HEAD_MAX 8192 /* bytes, with the blank line */

/* Header fields and query parameters together: each takes 64 bytes of a connection's 16 KiB. */
#define REQUEST_HEAD_MAX_FIELDS 64

struct head_refusal {
    unsigned status;    /* 400, 413 or 431 */
    const char *detail; /* for the client; a literal */
};

/* bytes[size] is what has come so far. 1: the head is complete and fine. 0: more must come.
 * -EBADMSG: ret_refusal says what to answer. */
int request_head_check(const char *bytes, size_t size, struct head_refusal *ret_refusal);
