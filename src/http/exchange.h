/* exchange - one request on its way in and its answer, whatever library carries them.
 *
 * A connection has one and uses it for each of its requests in turn. One worker thread. */
#pragma once

#include "base/quota.h"
#include "base/text.h"
#include "http/deadline.h"
#include "http/request.h"
#include "http/request_id.h"
#include "http/routes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handler;
struct head_refusal;
struct reply;
struct score_stream;
struct service;

/* What a worker and all its connections have in common. */
struct exchange_context {
    struct service *service;
    struct handler *handler;
    struct request_ids ids;
    unsigned worker; /* its number, for counting */
    /* When the worker woke, or since then made its last answer: then the next request began.
     * Reading the clock for every step of each costs more than it tells. */
    uint64_t now_us;
};

struct exchange {
    struct request request;
    struct route_match match;
    char id[REQUEST_ID_SIZE];
    struct deadline deadline;
    uint64_t started_us;
    bool has_bad_target; /* %00 */
    bool is_head;        /* its answer has no body */
    bool has_head;
    bool keeps_body; /* else it is read and dropped */
    size_t received; /* bytes of the body */
    struct text body;
    struct share share;          /* of it */
    struct score_stream *stream; /* scores the body while it comes; NULL: it is collected */
    bool has_no_stream;          /* it has been tried */
};

/* Header fields; NULL: not given. The strings live until the answer is made. */
struct exchange_head {
    const struct head_refusal *refusal; /* NULL: http/request_head.h had nothing to say */
    const char *path, *method;          /* path is decoded, without the query */
    const char *request_id, *content_type, *content_encoding, *accept;
    uint64_t content_length; /* 0: not given */
    size_t size;             /* of the whole head, in bytes */
};

/* What a request has left, however far it came. */
void exchange_clear(struct exchange *exchange);

/* The connection is open and no request has begun. Also ends a request: releases its body. */
void exchange_idle(struct exchange *exchange, const struct exchange_context *context);

/* The first line is there; target is as the client wrote it. */
void exchange_begin(struct exchange *exchange, const struct exchange_context *context,
                    const char *target);

/* The head is complete (the parameters of `request` are set already). False: what the head alone
 * forbids; reply is the answer and the body need not be read. */
bool exchange_take_head(struct exchange *exchange, struct exchange_context *context,
                        const struct exchange_head *head, struct reply *reply);

/* 0, or a status for exchange_refuse() and why: 413, it is larger than may be; 503, there is no
 * room for it in what all requests may take together. */
unsigned exchange_take_body(struct exchange *exchange, const struct exchange_context *context,
                            const char *bytes, size_t n, const char **ret_why);

/* All is there: calls the handler. Where reply->later is set afterwards, the answer is what that
 * makes. */
void exchange_answer(struct exchange *exchange, const struct exchange_context *context,
                     struct reply *reply);

/* Counts the answer that is about to be sent. */
void exchange_end(struct exchange *exchange, struct exchange_context *context, unsigned status);

/* Answers in the middle of a request, straight to the socket; the connection must end with it. */
void exchange_refuse(struct exchange *exchange, struct exchange_context *context, int fd,
                     unsigned status, const char *detail);
