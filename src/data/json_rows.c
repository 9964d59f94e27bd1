/* One pass, no recursion: the shape of a body is fixed, so every level has its own function, and
 * values that belong nowhere are stepped over by json_text_skip(). */
#include "data/json_rows.h"

#include "base/text.h"
#include "data/json_row.h"
#include "data/json_text.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of what is judged where it begins, once all of it is there: two escapes of one character. Longer
 * are only numbers. */
#define LONGEST_TOKEN 12

#define NO_ROWS   "no rows are given: send at least one"
#define SEND_THIS "send [0.1, …], {\"features\": …} or {\"instances\": [[0.1, …], …]}"

static int refuse_key(struct json_reader *reader, const char *at, const struct json_string *name,
                      const char *why)
{
    char shown[TEXT_SHOWN_SIZE];

    return json_row_refuse(reader, at, name, "\"%s\" %s",
                           text_show(shown, name->bytes, name->length), why);
}

static int read_single(struct json_reader *reader, const char *place)
{
    struct json_text ahead = reader->text;

    reader->place = place;
    ahead.at++;
    const char first = json_text_next(&ahead);
    if (first == '[' || first == '{')
        return json_row_refuse(
            reader, ahead.at, NULL,
            "a row holds numbers, not rows: send several rows as {\"instances\": [[0.1, "
            "…], …]}");
    return json_row_read_array(reader);
}

static int read_features(struct json_reader *reader, const struct json_string *name)
{
    switch (json_text_next(&reader->text)) {
    case '[':
        return read_single(reader, "/features");
    case '{':
        reader->place = "/features";
        return json_row_read_object(reader);
    default:
        return refuse_key(reader, reader->text.at, name,
                          "must be an array of numbers or an object of named numbers");
    }
}

static int read_instance(struct json_reader *reader)
{
    switch (json_text_next(&reader->text)) {
    case '[':
        return json_row_read_array(reader);
    case '{':
        return json_row_read_object(reader);
    case '"':
    case 't':
    case 'f':
    case 'n':
    case '-':
    case '0' ... '9':
        return json_row_refuse(
            reader, reader->text.at, NULL,
            "each instance must be a row: send one row as {\"features\": [0.1, …]}");
    default:
        return json_text_unexpected(&reader->text, "a row is expected here");
    }
}

/* One row of several and what follows it. */
static int read_next_instance(struct json_reader *reader)
{
    bool is_last = false;

    int r = read_instance(reader);
    if (r == 0)
        r = json_text_separator(&reader->text, ']', &is_last);
    if (r < 0)
        return r;
    reader->instance++;
    reader->phase = is_last ? JSON_BEHIND : JSON_INSTANCE;
    return 0;
}

static int begin_instances(struct json_reader *reader, const struct json_string *name)
{
    if (json_text_next(&reader->text) != '[')
        return refuse_key(reader, reader->text.at, name, "must be an array of rows");

    const bool is_empty = json_text_opens_empty(&reader->text, ']');
    reader->place = "/instances";
    if (is_empty)
        json_row_problem(reader, NULL, NO_ROWS);
    reader->rows->is_batch = true;
    reader->phase = is_empty ? JSON_BEHIND : JSON_INSTANCE;
    return 0;
}

/* A scalar; what is longer than an option can be is refused. */
static int read_option_value(struct json_reader *reader, const struct json_string *name,
                             struct json_option *option)
{
    struct json_string string;
    const char first = json_text_next(&reader->text);
    const char *begin = reader->text.at;
    int r;

    if (first == '[' || first == '{')
        return refuse_key(reader, begin, name,
                          "is not a known key: rows are sent as \"features\" or \"instances\"");
    if (first == '"') {
        option->kind = JSON_SCALAR_STRING;
        r = json_text_string(&reader->text, &string);
    } else {
        option->kind = first == 'n'                   ? JSON_SCALAR_NULL
                       : first == 't' || first == 'f' ? JSON_SCALAR_BOOL
                                                      : JSON_SCALAR_NUMBER;
        r = json_text_skip(&reader->text);
        string.bytes = begin;
        string.length = (size_t)(reader->text.at - begin);
    }
    if (r < 0)
        return r;
    if (string.length >= sizeof(option->value))
        return refuse_key(reader, begin, name, "has a value that is too long for an option");
    memcpy(option->value, string.bytes, string.length);
    option->value[string.length] = '\0';
    return 0;
}

static int read_option(struct json_reader *reader, const char *at, const struct json_string *name)
{
    struct json_rows *rows = reader->rows;

    if (name->length >= sizeof(rows->options[0].name))
        return refuse_key(reader, at, name, "is not a known key");
    for (size_t i = 0; i < rows->n_options; i++)
        if (strlen(rows->options[i].name) == name->length &&
            memcmp(rows->options[i].name, name->bytes, name->length) == 0)
            return refuse_key(reader, at, name, "is given twice");
    if (rows->n_options == JSON_ROWS_MAX_OPTIONS)
        return refuse_key(reader, at, name,
                          "is one key too many: a row by names is {\"features\": {…}}");

    struct json_option *option = &rows->options[rows->n_options];
    memcpy(option->name, name->bytes, name->length);
    option->name[name->length] = '\0';
    int r = read_option_value(reader, name, option);
    if (r < 0)
        return r;
    rows->n_options++;
    return 0;
}

static bool is_named(const struct json_string *name, const char *wanted)
{
    return name->length == strlen(wanted) && memcmp(name->bytes, wanted, name->length) == 0;
}

static int read_member(struct json_reader *reader)
{
    struct json_string name;

    (void)json_text_next(&reader->text);
    const char *at = reader->text.at;
    int r = json_text_key(&reader->text, &name);
    if (r < 0)
        return r;
    const bool is_features = is_named(&name, "features");
    reader->phase = JSON_BEHIND;
    if (!is_features && !is_named(&name, "instances"))
        return read_option(reader, at, &name);
    if (reader->place)
        return refuse_key(reader, at, &name,
                          is_features == !reader->rows->is_batch
                              ? "is given twice"
                              : "is one too many: send either \"features\" or \"instances\"");
    if (!is_features && reader->is_line)
        return refuse_key(reader, at, &name, "is for bodies of JSON: a line is one row");
    return is_features ? read_features(reader, &name) : begin_instances(reader, &name);
}

/* Behind a member. */
static int read_separator(struct json_reader *reader)
{
    bool is_last;

    int r = json_text_separator(&reader->text, '}', &is_last);
    if (r < 0)
        return r;
    reader->phase = is_last ? JSON_ENDS : JSON_MEMBER;
    if (is_last && !reader->place)
        return json_row_refuse(reader, reader->text.at - 1, NULL, "there are no rows: " SEND_THIS);
    return 0;
}

static int read_beginning(struct json_reader *reader)
{
    struct json_text *text = &reader->text;
    static const char bom[] = "\xEF\xBB\xBF";

    if (text->end - text->at >= 3 && memcmp(text->at, bom, 3) == 0)
        return json_row_refuse(reader, text->at, NULL,
                               "the body begins with a byte order mark: leave it out");
    const char first = json_text_next(text);
    if (first == '[') {
        reader->phase = JSON_ENDS;
        return read_single(reader, "");
    }
    if (first != '{')
        return json_row_refuse(reader, text->at, NULL, "%s: " SEND_THIS,
                               text->at == text->end ? "the body is empty"
                                                     : "the body is not a JSON array or object");
    const bool is_empty = json_text_opens_empty(text, '}');
    reader->phase = JSON_MEMBER;
    return is_empty ? json_row_refuse(reader, text->at - 1, NULL, "there are no rows: " SEND_THIS)
                    : 0;
}

static int read_ending(struct json_reader *reader)
{
    struct json_text *text = &reader->text;

    (void)json_text_next(text);
    return text->at == text->end ? 0 : json_text_unexpected(text, "nothing may follow the body");
}

static int read_step(struct json_reader *reader)
{
    switch (reader->phase) {
    case JSON_BEGINS:
        return read_beginning(reader);
    case JSON_MEMBER:
        return read_member(reader);
    case JSON_INSTANCE:
        return read_next_instance(reader);
    case JSON_BEHIND:
        return read_separator(reader);
    case JSON_ENDS:
        break;
    }
    return read_ending(reader);
}

/* Where a step began. */
struct mark {
    const char *at, *place;
    enum json_phase phase;
    size_t n_rows, n_options, n_problems;
    bool is_batch, has_problems;
};

static struct mark set_mark(const struct json_reader *reader)
{
    const struct json_rows *rows = reader->rows;

    return (struct mark){
        .at = reader->text.at,
        .place = reader->place,
        .phase = reader->phase,
        .n_rows = rows->n_rows,
        .n_options = rows->n_options,
        .n_problems = rows->n_problems,
        .is_batch = rows->is_batch,
        .has_problems = reader->has_problems,
    };
}

static void go_back(struct json_reader *reader, const struct mark *mark)
{
    struct json_rows *rows = reader->rows;

    reader->text.at = mark->at;
    reader->text.error = NULL;
    reader->place = mark->place;
    reader->phase = mark->phase;
    reader->has_problems = mark->has_problems;
    rows->n_rows = mark->n_rows;
    rows->n_options = mark->n_options;
    rows->n_problems = mark->n_problems;
    rows->is_batch = mark->is_batch;
}

/* Whether a step may have gone as it did for want of what follows the text: it has come near the
 * end (of two escapes, the longest that is judged at its beginning), or to a number that may go on.
 */
static bool may_be_cut(const struct json_reader *reader, const struct mark *mark, int r)
{
    const struct json_text *text = &reader->text;

    if (reader->is_whole || (r != 0 && r != -EBADMSG))
        return false;
    if (r == 0) /* steps that do not end with what closes them, or look ahead */
        return text->at == text->end && (mark->phase == JSON_BEGINS || mark->phase == JSON_MEMBER);
    if (text->end - text->at <= LONGEST_TOKEN)
        return true;
    const char *at = text->at;
    while (at < text->end && *at != '\0' && strchr("0123456789+-.eE", *at))
        at++;
    return at == text->end;
}

int json_reader_run(struct json_reader *reader, size_t most, bool *ret_needs_more)
{
    *ret_needs_more = false;
    while (reader->phase != JSON_ENDS || reader->text.at < reader->text.end) {
        const struct mark mark = set_mark(reader);
        if (reader->rows->n_rows >= most)
            return 0;
        const int r = read_step(reader);
        if (may_be_cut(reader, &mark, r)) {
            go_back(reader, &mark);
            if (reader->phase != JSON_BEGINS)        /* where a byte order mark is told from them */
                (void)json_text_next(&reader->text); /* however many blanks there are */
            *ret_needs_more = true;
            return 0;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

void json_reader_tell_place(struct json_reader *reader)
{
    struct json_rows *rows = reader->rows;

    if (reader->text.error) {
        rows->n_problems = 1;
        rows->problems[0].pointer[0] = '\0';
        (void)snprintf(rows->problems[0].detail, sizeof(rows->problems[0].detail),
                       "malformed JSON: %s", reader->text.error);
    }
    rows->offset = (size_t)(reader->text.at - reader->text.begin);
    json_text_place(&reader->text, &rows->line, &rows->column);
}

void json_reader_begin(struct json_reader *reader, struct json_rows *rows,
                       const struct schema *schema, const struct preparation *preparation)
{
    *reader = (struct json_reader){0};
    reader->rows = rows;
    reader->schema = schema;
    reader->preparation = preparation;
    reader->n_features = schema_n_features(schema);
    rows->n_options = rows->n_problems = 0;
    rows->offset = rows->line = rows->column = 0;
    rows->is_batch = false;
}

/* The text is the whole body. */
static int read_whole(struct json_reader *reader, const char *body, size_t size)
{
    const char *begin = size ? body : "";
    bool needs_more;

    reader->text = (struct json_text){.begin = begin, .at = begin, .end = begin + size};
    reader->is_whole = true;
    int r = json_reader_run(reader, SIZE_MAX, &needs_more);
    if (r == -EBADMSG)
        json_reader_tell_place(reader);
    else if (r == 0 && reader->has_problems)
        r = -EINVAL;
    return r;
}

int json_rows_read(struct json_rows *rows, const struct schema *schema,
                   const struct preparation *preparation, const char *body, size_t size)
{
    assert(rows && schema && (body || size == 0));
    struct json_reader reader;

    rows->n_rows = 0;
    json_reader_begin(&reader, rows, schema, preparation);
    return read_whole(&reader, body, size);
}

int json_rows_read_line(struct json_rows *rows, const struct schema *schema,
                        const struct preparation *preparation, const char *line, size_t size)
{
    assert(rows && schema && (line || size == 0));
    struct json_reader reader;
    const size_t n_rows = rows->n_rows;

    json_reader_begin(&reader, rows, schema, preparation);
    reader.is_line = true;
    const int r = read_whole(&reader, line, size);
    if (r < 0)
        rows->n_rows = n_rows;
    return r;
}

int json_rows_refuse_none(struct json_rows *rows)
{
    rows->n_problems = 1;
    rows->problems[0].pointer[0] = '\0';
    (void)snprintf(rows->problems[0].detail, sizeof(rows->problems[0].detail), NO_ROWS);
    return -EINVAL;
}

void json_rows_clear(struct json_rows *rows)
{
    free(rows->rows);
    free(rows->values);
    free(rows->times);
    *rows = (struct json_rows){0};
}

size_t json_rows_size(const struct json_rows *rows)
{
    return rows->capacity * sizeof(*rows->rows) + rows->values_capacity * sizeof(*rows->values) +
           rows->times_capacity * sizeof(*rows->times);
}
