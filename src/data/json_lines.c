#include "data/json_lines.h"

#include "data/json_rows.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool json_line_is_empty(const char *line, size_t size)
{
    size_t n = 0;

    while (n < size && (line[n] == ' ' || line[n] == '\t' || line[n] == '\r'))
        n++;
    return n == size;
}

/* "line 3: …", as far as it fits. */
static void tell_line(struct json_rows *rows, size_t line)
{
    for (size_t i = 0; i < rows->n_problems; i++) {
        char *detail = rows->problems[i].detail;
        const size_t size = sizeof(rows->problems[i].detail);
        char begin[32];
        const size_t n_begin = (size_t)snprintf(begin, sizeof(begin), "line %zu: ", line);
        size_t n = strnlen(detail, size - 1 - n_begin);
        while (n > 0 && ((unsigned char)detail[n] & 0xC0) == 0x80)
            n--; /* not in the middle of a character */
        detail[n] = '\0';
        memmove(detail + n_begin, detail, n + 1);
        memcpy(detail, begin, n_begin);
    }
}

static int refuse_options(struct json_rows *rows)
{
    rows->n_problems = 1;
    rows->problems[0].pointer[0] = '\0';
    (void)snprintf(rows->problems[0].detail, sizeof(rows->problems[0].detail),
                   "\"%s\" is for all rows here: give options in the query", rows->options[0].name);
    rows->offset = 0;
    rows->column = 1;
    return -EBADMSG;
}

static int read_line(struct json_rows *rows, const struct schema *schema,
                     const struct preparation *preparation, const char *line, size_t size)
{
    int r = json_rows_read_line(rows, schema, preparation, line, size);

    return r == 0 && rows->n_options > 0 ? refuse_options(rows) : r;
}

int json_lines_read(struct json_rows *rows, const struct schema *schema,
                    const struct preparation *preparation, const char *body, size_t size)
{
    size_t begin = 0;
    int r = 0;

    rows->n_rows = 0;
    for (size_t line = 1; r == 0 && begin < size; line++) {
        const char *newline = memchr(body + begin, '\n', size - begin);
        const size_t n = newline ? (size_t)(newline - body) - begin : size - begin;
        if (!json_line_is_empty(body + begin, n))
            r = read_line(rows, schema, preparation, body + begin, n);
        if (r == -EINVAL || r == -EBADMSG)
            tell_line(rows, line);
        if (r == -EBADMSG) {
            rows->offset += begin;
            rows->line = line;
        }
        begin += n + 1;
    }
    rows->is_batch = true;
    return r == 0 && rows->n_rows == 0 ? json_rows_refuse_none(rows) : r;
}
