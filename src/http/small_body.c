#include "http/small_body.h"

#include "base/text.h"
#include "http/reply.h"
#include "http/request.h"

#include <string.h>

#define BODY_MAX ((size_t)4096)

json_t *small_body_parse(const struct request *request, const char *send_this, struct reply *reply)
{
    json_error_t error;

    if (request->body_size > BODY_MAX) {
        reply_problem(reply, 413, "The body is larger than %zu bytes; %s", BODY_MAX, send_this);
        return NULL;
    }
    json_t *body = json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &error);
    if (!body && json_error_code(&error) == json_error_out_of_memory)
        reply_no_memory(reply);
    else if (!body)
        reply_problem(reply, 400, "Malformed JSON: %s (byte %d, line %d, column %d)", error.text,
                      error.position, error.line, error.column);
    if (!body || json_is_object(body))
        return body;
    reply_problem(reply, 400, "The body is not a JSON object; %s", send_this);
    json_decref(body);
    return NULL;
}

void small_body_refuse(struct reply *reply, unsigned status, const char *key, const char *detail,
                       const char *send_this)
{
    char shown[TEXT_SHOWN_SIZE];

    reply_problem(reply, status, "\"%s\" %s; %s", text_show(shown, key, strlen(key)), detail,
                  send_this);
}
