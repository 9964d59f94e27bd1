/* What is wrong with a row, and where: json_row.h. */
#include "data/json_row.h"

#include "base/text.h"
#include "data/json_rows.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define POINTER_SIZE sizeof(((struct json_problem *)0)->pointer)

/* Appends "/NAME" with the escapes of RFC 6901, as far as it fits. */
static void append_name(char *pointer, const char *name, size_t length)
{
    const size_t last = POINTER_SIZE - 1;
    size_t used = strlen(pointer);

    pointer[used++] = '/';
    for (size_t i = 0; i < length;) {
        const char *escape = name[i] == '~' ? "~0" : name[i] == '/' ? "~1" : NULL;
        const size_t step = text_utf8_length(name + i, length - i);
        const size_t n = escape ? 2 : step;
        if (used + n > last)
            break;
        memcpy(pointer + used, escape ? escape : name + i, n);
        used += n;
        i += step;
    }
    pointer[used] = '\0';
}

static void append_key(char *pointer, const struct json_key *key)
{
    char digits[24];

    if (key->name) {
        append_name(pointer, key->name, key->length);
        return;
    }
    const int n = snprintf(digits, sizeof(digits), "%zu", key->position);
    append_name(pointer, digits, (size_t)n);
}

static void point_at_row(const struct json_reader *reader, char *pointer)
{
    const char *place = reader->place ? reader->place : "";

    memcpy(pointer, place, strlen(place) + 1);
    if (reader->rows->is_batch)
        append_key(pointer, &(struct json_key){.position = reader->instance});
}

void json_row_problem(struct json_reader *reader, const struct json_key *key, const char *format,
                      ...)
{
    struct json_rows *rows = reader->rows;

    reader->has_problems = reader->row_has_problem = true;
    if (rows->n_problems == JSON_ROWS_MAX_PROBLEMS)
        return;
    struct json_problem *problem = &rows->problems[rows->n_problems++];
    point_at_row(reader, problem->pointer);
    if (key)
        append_key(problem->pointer, key);

    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
    va_end(arguments);
}

int json_row_refuse(struct json_reader *reader, const char *at, const struct json_string *name,
                    const char *format, ...)
{
    struct json_problem *problem = &reader->rows->problems[0];

    reader->rows->n_problems = 1;
    reader->text.at = at;
    problem->pointer[0] = '\0';
    if (name)
        append_name(problem->pointer, name->bytes, name->length);
    else
        point_at_row(reader, problem->pointer);

    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
    va_end(arguments);
    return -EBADMSG;
}
