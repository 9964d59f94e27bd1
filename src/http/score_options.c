#include "http/score_options.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/timestamp.h"
#include "http/reply.h"
#include "http/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Where an option stands: errors say `parameter` for the query, `pointer` for the body. */
enum place {
    PLACE_QUERY,
    PLACE_BODY
};

#define IS_STRING (1u << JSON_SCALAR_STRING)
#define IS_NUMBER (1u << JSON_SCALAR_NUMBER)
#define IS_BOOL   (1u << JSON_SCALAR_BOOL)
#define IS_NULL   (1u << JSON_SCALAR_NULL)

/* What a value in a query may stand for: it has no type. */
#define IN_QUERY (IS_STRING | IS_NUMBER | IS_BOOL)

void score_options_init(struct score_options *options)
{
    *options = (struct score_options){.explain = EXPLAIN_ANOMALIES, .top = 5, .learn = true};
}

const char *score_options_series(const struct score_options *options)
{
    return options->is_independent ? NULL : options->series;
}

uint64_t score_options_time_us(const struct score_options *options)
{
    return options->is_given[OPTION_TIMESTAMP] ? options->time_us : clock_realtime_us();
}

/* ---- values; false: not such a one ---- */

static bool read_explain(struct score_options *options, const char *value, bool is_null)
{
    (void)is_null;
    static const char *const names[] = {"none", "anomalies", "all"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(value, names[i]) == 0) {
            options->explain = (enum explain)i;
            return true;
        }
    return false;
}

static bool read_top(struct score_options *options, const char *value, bool is_null)
{
    (void)is_null;
    uint64_t top;

    if (number_parse_u64(value, strlen(value), &top) < 0 || top == 0)
        return false;
    options->top = top < SIZE_MAX ? (size_t)top : SIZE_MAX;
    return true;
}

static bool read_bool(const char *value, bool *ret_is_true)
{
    *ret_is_true = strcmp(value, "true") == 0;
    return *ret_is_true || strcmp(value, "false") == 0;
}

static bool read_detail(struct score_options *options, const char *value, bool is_null)
{
    (void)is_null;
    return read_bool(value, &options->detail);
}

static bool read_learn(struct score_options *options, const char *value, bool is_null)
{
    (void)is_null;
    return read_bool(value, &options->learn);
}

static bool is_readable(const char *text, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        n = text_utf8_length(text + at, length - at);
        if (n == 0 || (unsigned char)text[at] < 0x20 || text[at] == 0x7f)
            return false;
    }
    return true;
}

static bool read_series(struct score_options *options, const char *value, bool is_null)
{
    const size_t length = strlen(value);

    options->is_independent = is_null;
    if (is_null)
        return true;
    if (length == 0 || length > ROW_SERIES_MAX || !is_readable(value, length))
        return false;
    memcpy(options->series, value, length + 1);
    return true;
}

static bool read_timestamp(struct score_options *options, const char *value, bool is_null)
{
    (void)is_null;
    double seconds;

    if (timestamp_parse(value, strlen(value), &seconds) < 0 || seconds < 0 ||
        timestamp_is_far_ahead(seconds))
        return false;
    options->time_us = (uint64_t)(seconds * (double)US_PER_S);
    return true;
}

/* ---- options ---- */

static const struct {
    const char *name;
    unsigned kinds; /* that the value may have */
    bool is_for_observe;
    bool (*read)(struct score_options *options, const char *value, bool is_null);
    const char *must;
} known[N_SCORE_OPTIONS] = {
    [OPTION_EXPLAIN] = {"explain",   IS_STRING,             false, read_explain,
                        "must be none, anomalies or all"                                                          },
    [OPTION_TOP] = {"top",       IS_NUMBER,             false, read_top,       "must be a whole number from 1"},
    [OPTION_DETAIL] = {"detail",    IS_BOOL,               false, read_detail,    "must be true or false"        },
    [OPTION_LEARN] = {"learn",     IS_BOOL,               false, read_learn,     "must be true or false"        },
    [OPTION_SERIES] = {"series",    IS_STRING | IS_NULL,   true,  read_series,
                        "must be a name of 1 to 128 bytes, or null in the body"                                   },
    [OPTION_TIMESTAMP] = {"timestamp", IS_STRING | IS_NUMBER, true,  read_timestamp,
                        "must be RFC 3339 (2024-03-01T12:30:00Z; in a query + is %2B) or Unix "
                          "seconds (not milliseconds), from 1970 to a day from now"                               },
};

static const char *names_of(const struct score_options *options)
{
    return options->is_for_observe ? "series and timestamp"
                                   : "explain, top, detail, learn, series and timestamp";
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

static int refuse_unknown(const struct score_options *options, struct reply *reply,
                          enum place place, const char *name)
{
    char detail[96];

    (void)snprintf(detail, sizeof(detail), "is unknown; there are %s", names_of(options));
    return refuse(reply, place, name, detail);
}

/* kinds: what the value may stand for. */
static int set(struct score_options *options, enum place place, const char *name, const char *value,
               unsigned kinds, struct reply *reply)
{
    size_t i = 0;

    while (i < N_SCORE_OPTIONS && strcmp(known[i].name, name) != 0)
        i++;
    if (i == N_SCORE_OPTIONS || (options->is_for_observe && !known[i].is_for_observe))
        return refuse_unknown(options, reply, place, name);
    if (options->is_given[i])
        return refuse(reply, place, name,
                      "is given twice; give it once, in the query or in the body");
    if (!(kinds & known[i].kinds) || !known[i].read(options, value, kinds == IS_NULL))
        return refuse(reply, place, name, known[i].must);
    options->is_given[i] = true;
    return 0;
}

int score_options_read_query(struct score_options *options, const struct request *request,
                             struct reply *reply)
{
    if (request->n_parameters > REQUEST_MAX_PARAMETERS) {
        reply_problem(reply, 400, "More than %d query parameters; there are %s",
                      REQUEST_MAX_PARAMETERS, names_of(options));
        return -EINVAL;
    }
    for (size_t i = 0; i < request->n_parameters; i++) {
        const struct request_parameter *parameter = &request->parameters[i];
        int r = set(options, PLACE_QUERY, parameter->name, parameter->value, IN_QUERY, reply);
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
        int r = set(options, PLACE_BODY, option->name, option->value, 1u << option->kind, reply);
        if (r < 0)
            return r;
    }
    return 0;
}
