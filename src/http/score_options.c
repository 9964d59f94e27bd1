#include "http/score_options.h"

#include "base/number.h"
#include "data/json_rows.h"
#include "http/reply.h"
#include "http/request.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where an option stands: errors say `parameter` for the query, `pointer` for the body. */
enum place {
    PLACE_QUERY,
    PLACE_BODY
};

void score_options_init(struct score_options *options)
{
    *options = (struct score_options){.explain = EXPLAIN_ANOMALIES, .top = 5};
}

static int refuse(struct reply *reply, enum place place, const char *name, const char *detail)
{
    char shown[TEXT_SHOWN_SIZE];
    char where[TEXT_SHOWN_SIZE + 1];

    text_show(shown, name, strlen(name));
    (void)snprintf(where, sizeof(where), "%s%s", place == PLACE_BODY ? "/" : "", shown);
    reply_begin_problem(reply, 400, "Option \"%s\" %s", shown, detail);
    text_puts(&reply->body,
              place == PLACE_BODY ? ",\"errors\":[{\"pointer\":" : ",\"errors\":[{\"parameter\":");
    text_json_string(&reply->body, where, strlen(where));
    text_puts(&reply->body, ",\"detail\":");
    text_json_string(&reply->body, detail, strlen(detail));
    text_puts(&reply->body, "}]}");
    return -EINVAL;
}

static bool parse_explain(const char *value, enum explain *ret_explain)
{
    static const char *const names[] = {"none", "anomalies", "all"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(value, names[i]) == 0) {
            *ret_explain = (enum explain)i;
            return true;
        }
    return false;
}

static bool parse_top(const char *value, size_t *ret_top)
{
    uint64_t top;
    if (number_parse_u64(value, strlen(value), &top) < 0 || top == 0)
        return false;
    *ret_top = top < SIZE_MAX ? (size_t)top : SIZE_MAX;
    return true;
}

/* is_string, is_number: the types that the value may stand for; both in a query. */
static int set(struct score_options *options, enum place place, const char *name, const char *value,
               bool is_string, bool is_number, struct reply *reply)
{
    static const char twice[] = "is given twice; give it once, in the query or in the body";

    if (strcmp(name, "explain") == 0) {
        if (options->has_explain)
            return refuse(reply, place, name, twice);
        if (!is_string || !parse_explain(value, &options->explain))
            return refuse(reply, place, name, "must be none, anomalies or all");
        options->has_explain = true;
        return 0;
    }
    if (strcmp(name, "top") == 0) {
        if (options->has_top)
            return refuse(reply, place, name, twice);
        if (!is_number || !parse_top(value, &options->top))
            return refuse(reply, place, name, "must be a whole number from 1");
        options->has_top = true;
        return 0;
    }
    return refuse(reply, place, name, "is unknown; there are explain and top");
}

int score_options_read_query(struct score_options *options, const struct request *request,
                             struct reply *reply)
{
    if (request->n_parameters > REQUEST_MAX_PARAMETERS) {
        reply_problem(reply, 400, "More than %d query parameters; there are explain and top",
                      REQUEST_MAX_PARAMETERS);
        return -EINVAL;
    }
    for (size_t i = 0; i < request->n_parameters; i++) {
        const struct request_parameter *parameter = &request->parameters[i];
        int r = set(options, PLACE_QUERY, parameter->name, parameter->value, true, true, reply);
        if (r < 0)
            return r;
    }
    return 0;
}

int score_options_read_body(struct score_options *options, const struct json_rows *rows,
                            struct reply *reply)
{
    for (size_t i = 0; i < rows->n_options; i++) {
        const struct json_option *option = &rows->options[i];
        int r = set(options, PLACE_BODY, option->name, option->value,
                    option->kind == JSON_SCALAR_STRING, option->kind == JSON_SCALAR_NUMBER, reply);
        if (r < 0)
            return r;
    }
    return 0;
}
