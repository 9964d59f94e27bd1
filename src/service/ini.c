/* One pass over a private copy. Names and values are cut out in place: what is written is never
 * longer than what was read, so a value's lines move together inside the copy. */
#include "service/ini.h"

#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *file;
    size_t line;
    struct text *errors;
    struct ini ini;
    size_t capacity;     /* of ini.entries */
    const char *section; /* NULL: none yet, or its head was wrong */
    bool head_was_wrong; /* then its keys are passed over: one error is enough */
    bool is_open;        /* an indented line may follow … */
    char *value_end;     /* … and its text goes here; NULL: the key was wrong, pass over it */
};

static void complain(struct parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

static void complain(struct parser *parser, const char *format, ...)
{
    struct error error = {0};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, arguments);
    va_end(arguments);
    text_printf(parser->errors, "%s:%zu: %s\n", parser->file, parser->line, error.text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts blanks off both ends of begin … *end and ends it with a NUL; returns the new begin. */
static char *trim(char *begin, char **end)
{
    while (begin < *end && is_blank(*begin))
        begin++;
    while (*end > begin && is_blank((*end)[-1]))
        (*end)--;
    **end = '\0';
    return begin;
}

/* Why a line cannot be read at all; NULL: it can. */
static const char *check_bytes(const char *line, size_t length)
{
    for (size_t i = 0; i < length;) {
        const size_t step = text_utf8_length(line + i, length - i);
        if (step == 0)
            return "is not UTF-8";
        if (line[i] == '\0')
            return "holds a NUL byte";
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7F)
            return "holds a control character";
        i += step;
    }
    return NULL;
}

static int add_entry(struct parser *parser, const char *key, const char *value)
{
    struct ini *ini = &parser->ini;

    if (ini->n_entries == parser->capacity) {
        const size_t capacity = parser->capacity ? 2 * parser->capacity : 32;
        struct ini_entry *entries = realloc(ini->entries, capacity * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        ini->entries = entries;
        parser->capacity = capacity;
    }
    ini->entries[ini->n_entries++] = (struct ini_entry){
        .section = parser->section,
        .key = key,
        .value = value,
        .line = parser->line,
    };
    return 0;
}

/* A head that cannot be read: its keys are not those of the section before. */
static void skip_section(struct parser *parser)
{
    parser->section = NULL;
    parser->head_was_wrong = true;
}

static int read_head(struct parser *parser, char *begin, char *end)
{
    char shown[TEXT_SHOWN_SIZE];

    skip_section(parser);
    begin = trim(begin, &end);
    if (end[-1] != ']') {
        complain(parser, "%s: a section is written [name], with nothing behind it",
                 text_show(shown, begin, (size_t)(end - begin)));
        return 0;
    }
    end--;
    begin = trim(begin + 1, &end);
    if (begin == end) {
        complain(parser, "the section has no name");
        return 0;
    }
    parser->section = begin;
    parser->head_was_wrong = false;
    return add_entry(parser, NULL, NULL);
}

static int read_key(struct parser *parser, char *begin, char *end)
{
    char shown[TEXT_SHOWN_SIZE];
    char *equals = memchr(begin, '=', (size_t)(end - begin));

    parser->is_open = true;
    parser->value_end = NULL;
    if (!equals) {
        begin = trim(begin, &end);
        complain(parser, "%s: expected [section], key = value or # comment",
                 text_show(shown, begin, (size_t)(end - begin)));
        return 0;
    }
    char *key_end = equals;
    char *key = trim(begin, &key_end);
    char *value = trim(equals + 1, &end);
    if (key == key_end) {
        complain(parser, "there is no key before the =");
        return 0;
    }
    if (!parser->section) {
        if (!parser->head_was_wrong)
            complain(parser, "%s stands before the first [section]",
                     text_show(shown, key, (size_t)(key_end - key)));
        return 0;
    }
    parser->value_end = end;
    return add_entry(parser, key, value);
}

static void read_more(struct parser *parser, char *begin, char *end)
{
    if (!parser->is_open) {
        complain(parser, "an indented line goes on with the value above it, and there is none: "
                         "start keys and sections at the beginning of the line");
        return;
    }
    if (!parser->value_end)
        return;
    begin = trim(begin, &end);
    /* The value's end and this line are at least a line end apart: there is room for '\n'. */
    *parser->value_end++ = '\n';
    memmove(parser->value_end, begin, (size_t)(end - begin));
    parser->value_end += end - begin;
    *parser->value_end = '\0';
}

static int read_line(struct parser *parser, char *begin, char *end)
{
    const char *reason = check_bytes(begin, (size_t)(end - begin));
    const char *first = begin;

    while (first < end && is_blank(*first))
        first++;
    if (first < end && *first == '#' && !reason)
        return 0;
    if (reason) {
        complain(parser, "the line %s", reason);
        if (*begin == '[')
            skip_section(parser);
    }
    if (reason || first == end) {
        parser->is_open = false;
        return 0;
    }
    if (first > begin) {
        read_more(parser, begin, end);
        return 0;
    }
    if (*begin != '[')
        return read_key(parser, begin, end);
    parser->is_open = false;
    return read_head(parser, begin, end);
}

static int read_lines(struct parser *parser, char *at, char *end)
{
    if (end - at >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *line_end = newline ? newline : end;
        if (line_end > at && line_end[-1] == '\r')
            line_end--;

        parser->line++;
        int r = read_line(parser, at, line_end);
        if (r < 0)
            return r;
        at = newline ? newline + 1 : end;
    }
    return 0;
}

int ini_parse(const char *file, const char *data, size_t size, struct ini *ret_ini,
              struct text *errors)
{
    assert(file && (data || size == 0) && ret_ini && errors);

    struct parser parser = {.file = file, .errors = errors};
    parser.ini.storage = malloc(size + 1); /* the last line may need a NUL behind it */
    if (!parser.ini.storage)
        return -ENOMEM;
    if (size)
        memcpy(parser.ini.storage, data, size);

    int r = read_lines(&parser, parser.ini.storage, parser.ini.storage + size);
    if (r == 0 && text_failed(errors))
        r = -ENOMEM;
    if (r < 0) {
        ini_clear(&parser.ini);
        return r;
    }
    *ret_ini = parser.ini;
    return 0;
}

void ini_clear(struct ini *ini)
{
    free(ini->entries);
    free(ini->storage);
    *ini = (struct ini){0};
}
