/* small_body - the body of a request that changes a model: a JSON object of a few members. */
#pragma once

#include <jansson.h>

struct reply;
struct request;

/* NULL: reply says why, and ends with send_this: what to send. json_decref() it. */
json_t *small_body_parse(const struct request *request, const char *send_this, struct reply *reply);

/* A problem with a member: what is wrong (detail), then what to send. */
void small_body_refuse(struct reply *reply, unsigned status, const char *key, const char *detail,
                       const char *send_this);
