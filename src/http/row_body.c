#include "http/row_body.h"

#include "base/text.h"
#include "data/json_lines.h"
#include "data/json_rows.h"
#include "data/npy_feed.h"
#include "data/schema.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/score_options.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void put_string(struct text *text, const char *string)
{
    text_json_string(text, string, strlen(string));
}

static void put_errors(struct text *text, const struct json_problem *problems, size_t n_problems)
{
    text_puts(text, ",\"errors\":[");
    for (size_t i = 0; i < n_problems; i++) {
        text_puts(text, i > 0 ? ",{\"pointer\":" : "{\"pointer\":");
        put_string(text, problems[i].pointer);
        text_puts(text, ",\"detail\":");
        put_string(text, problems[i].detail);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

/* The body is not JSON, or not a body of rows. What is no text has no lines. */
static void reply_malformed(const struct json_rows *rows, struct reply *reply)
{
    if (rows->line == 0) {
        reply_begin_problem(reply, 400, "%s (byte %zu)", rows->problems[0].detail, rows->offset);
        text_printf(&reply->body, ",\"offset\":%zu", rows->offset);
    } else {
        reply_begin_problem(reply, 400, "%s (byte %zu, line %zu, column %zu)",
                            rows->problems[0].detail, rows->offset, rows->line, rows->column);
        text_printf(&reply->body, ",\"offset\":%zu,\"line\":%zu,\"column\":%zu", rows->offset,
                    rows->line, rows->column);
    }
    if (rows->problems[0].pointer[0] != '\0')
        put_errors(&reply->body, rows->problems, 1);
    text_puts(&reply->body, "}");
}

/* JSON, but the features are wrong. */
static void reply_unfit(const struct json_rows *rows, struct reply *reply)
{
    reply_begin_problem(reply, 422, "%s", rows->problems[0].detail);
    put_errors(&reply->body, rows->problems, rows->n_problems);
    text_puts(&reply->body, "}");
}

static bool is_missing(const struct json_rows *rows, const struct preparation *preparation,
                       size_t i)
{
    return preparation ? isnan(rows->values[i]) != 0 : isnan(rows->rows[i]) != 0;
}

/* ["a","b"]: the values that a row does not have. */
static void put_missing(struct text *text, const struct schema *schema,
                        const struct json_rows *rows, const struct preparation *preparation,
                        size_t row)
{
    const size_t n = schema_n_features(schema);
    const char *separator = "[";

    for (size_t j = 0; j < n; j++) {
        if (!is_missing(rows, preparation, row * n + j))
            continue;
        text_puts(text, separator);
        put_string(text, schema_name(schema, j));
        separator = ",";
    }
    text_puts(text, "]");
}

int row_body_check_missing(const struct json_rows *rows, size_t from, size_t first_row,
                           const struct schema *schema, const struct preparation *preparation,
                           struct reply *reply)
{
    size_t n_features = schema_n_features(schema);

    for (size_t i = from * n_features; i < rows->n_rows * n_features; i++) {
        if (!is_missing(rows, preparation, i))
            continue;
        size_t row = i / n_features;
        char shown[TEXT_SHOWN_SIZE];
        const char *name = schema_name(schema, i % n_features);
        reply_begin_problem(reply, 422,
                            "Row %zu has no value for \"%s\", and this model refuses missing "
                            "values (missing = reject); send all features",
                            first_row + row, text_show(shown, name, strlen(name)));
        text_puts(&reply->body, ",\"missing\":");
        put_missing(&reply->body, schema, rows, preparation, row);
        text_puts(&reply->body, "}");
        return -EINVAL;
    }
    return 0;
}

void row_body_refuse(const struct json_rows *rows, int r, struct reply *reply)
{
    if (r == -EBADMSG)
        reply_malformed(rows, reply);
    else if (r == -EINVAL)
        reply_unfit(rows, reply);
    else
        reply_no_memory(reply);
}

static int read_rows(struct json_rows *rows, const struct schema *schema,
                     const struct preparation *preparation, const struct request *request,
                     struct reply *reply)
{
    const char *body = request->body;
    const size_t size = request->body_size;

    int r = request->rows == ROWS_LINES ? json_lines_read(rows, schema, preparation, body, size)
            : request->rows == ROWS_NPY ? npy_rows_read(rows, schema, preparation, body, size)
                                        : json_rows_read(rows, schema, preparation, body, size);
    if (r < 0)
        row_body_refuse(rows, r, reply);
    return r < 0 ? -EINVAL : 0;
}

int row_body_read(struct json_rows *rows, struct score_options *options,
                  const struct schema *schema, const struct preparation *preparation,
                  bool reject_missing, const struct request *request, struct reply *reply)
{
    int r = score_options_read_query(options, request, reply);
    if (r == 0)
        r = read_rows(rows, schema, preparation, request, reply);
    if (r == 0)
        r = score_options_read_body(options, rows, reply);
    if (r == 0 && reject_missing)
        r = row_body_check_missing(rows, 0, 0, schema, preparation, reply);
    return r;
}
