/* fuzz_request - what a client sends around and in place of rows. The first byte says what the rest
 * is: a head, a query, a body with options, the small body of an act, first rows with their names,
 * the fields that name a body's type. */
#include "base/text.h"
#include "data/json_rows.h"
#include "data/schema.h"
#include "fuzz/fuzz.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_head.h"
#include "http/row_names.h"
#include "http/score_options.h"
#include "http/small_body.h"

#include <errno.h>

static void clear_reply(struct reply *reply)
{
    text_clear(&reply->body);
}

/* However it comes in pieces, it ends the same way at the same byte; more never changes a no. */
static void check_head(const char *bytes, size_t size)
{
    struct head_refusal refusal = {0};
    int r = 0;

    for (size_t n = 0; n <= size && r == 0; n++)
        r = request_head_check(bytes, n, &refusal);
    const int whole = request_head_check(bytes, size, &refusal);
    must(r == whole);
    must(r == 0 || r == 1 || r == -EBADMSG);
    if (r < 0)
        must(refusal.detail &&
             (refusal.status == 400 || refusal.status == 413 || refusal.status == 431 ||
              refusal.status == 414 || refusal.status == 505 || refusal.status == 501));
    must(r != 0 || size <= REQUEST_HEAD_MAX);
}

/* A refusal is an answer: JSON, with its status. */
static void check_problem(const struct reply *reply, int r)
{
    if (r == 0)
        return;
    json_auto_t *body = json_loadb(reply->body.data, reply->body.length, 0, NULL);
    must(r == -EINVAL && reply->status >= 400 && body && json_object_get(body, "detail"));
}

/* NAME=VALUE&NAME=VALUE, decoded. */
static void check_query(char *text)
{
    CLEANUP(clear_reply) struct reply reply = {0};
    struct request request = {0};
    struct score_options options;
    char *rest = text;

    while (rest && request.n_parameters < REQUEST_MAX_PARAMETERS) {
        struct request_parameter *parameter = &request.parameters[request.n_parameters++];
        parameter->name = strsep(&rest, "&");
        char *value = strchr(parameter->name, '=');
        if (value)
            *value++ = '\0';
        parameter->value = value ? value : "";
    }
    score_options_init(&options);
    check_problem(&reply, score_options_read_query(&options, &request, &reply));
}

static void check_options(const char *body, size_t size)
{
    static const char *const names[] = {"cpu", "mem"};
    static struct schema *schema;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    CLEANUP(clear_reply) struct reply reply = {0};
    struct score_options options;

    if (!schema)
        must(schema_new(names, 2, &schema, NULL) == 0);
    if (json_rows_read(&rows, schema, NULL, body, size) < 0)
        return;
    score_options_init(&options);
    check_problem(&reply, score_options_read_body(&options, &rows, &reply));
}

static void check_act(const char *body, size_t size)
{
    CLEANUP(clear_reply) struct reply reply = {0};
    const struct request request = {.body = body, .body_size = size};
    json_auto_t *parsed = small_body_parse(&request, "send {}", &reply);

    must(parsed ? json_is_object(parsed) : reply.status == 400 || reply.status == 413);
    check_problem(&reply, parsed ? 0 : -EINVAL);
}

static void check_names(const char *body, size_t size)
{
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    struct error error = {0};

    const int r = row_names_read(body, size, &schema, &error);
    must(r == 0 || r == -ENODATA || (r == -EINVAL && error.text[0]));
    if (r == 0)
        must(json_rows_read(&rows, schema, NULL, body, size) != -ENOMEM);
}

static void check_fields(const char *text)
{
    for (enum request_body body = BODY_NONE; body <= BODY_MODEL; body++) {
        (void)request_check_body_type(body, text, NULL);
        (void)request_check_body_type(body, NULL, text);
    }
    (void)request_rows_of(text);
    must(request_accepts(text, "application/x-npy") >= 0.0);
    must(request_accepts_json(text) >= 0.0);
    (void)request_id_is_sane(text);
    const char *path = request_path(text);
    must(strcmp(path, "/") == 0 || (path >= text && path <= text + strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_FREE char *text = fuzz_text(bytes + 1, size - 1);
    AUTO_FREE char *block = fuzz_block(bytes + 1, size - 1);

    switch (bytes[0]) {
    case 'h':
        check_head(block, size - 1);
        break;
    case 'q':
        check_query(text);
        break;
    case 'o':
        check_options(block, size - 1);
        break;
    case 'a':
        check_act(block, size - 1);
        break;
    case 'n':
        check_names(block, size - 1);
        break;
    case 'f':
        check_fields(text);
        break;
    default:
        break;
    }
    return 0;
}
