#include "data/json_text.h"

#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static int fail_at(struct json_text *text, const char *at, const char *error)
{
    text->at = at;
    text->error = error;
    return -EBADMSG;
}

int json_text_unexpected(struct json_text *text, const char *expected)
{
    return fail_at(text, text->at, text->at == text->end ? "the text ends too early" : expected);
}

void json_text_place(const struct json_text *text, size_t *ret_line, size_t *ret_column)
{
    size_t line = 1, column = 1;

    for (const char *at = text->begin; at < text->at; at++) {
        if (*at == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*at & 0xC0) != 0x80) {
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

/* ---- strings ---- */

/* Up to the next quote or backslash. */
static int skip_plain(struct json_text *text)
{
    while (text->at < text->end && *text->at != '"' && *text->at != '\\') {
        const unsigned char byte = (unsigned char)*text->at;
        if (byte < 0x20)
            return fail_at(text, text->at, "a control character in a string must be escaped");
        if (byte < 0x80) {
            text->at++;
            continue;
        }
        const size_t step = text_utf8_length(text->at, (size_t)(text->end - text->at));
        if (step == 0)
            return fail_at(text, text->at, "this is not UTF-8");
        text->at += step;
    }
    return text->at < text->end ? 0 : json_text_unexpected(text, "");
}

static void append(struct json_string *string, const char *bytes, size_t n)
{
    if (string->is_cut)
        return;
    size_t fits = n;
    if (n > sizeof(string->room) - string->length) {
        fits = sizeof(string->room) - string->length;
        while (fits > 0 && ((unsigned char)bytes[fits] & 0xC0) == 0x80)
            fits--; /* not in the middle of a character */
    }
    memcpy(string->room + string->length, bytes, fits);
    string->length += fits;
    string->is_cut = fits < n;
}

static void append_code_point(struct json_string *string, uint32_t code)
{
    char bytes[4];
    size_t n = 0;

    if (code < 0x80) {
        bytes[n++] = (char)code;
    } else if (code < 0x800) {
        bytes[n++] = (char)(0xC0 | code >> 6);
        bytes[n++] = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        bytes[n++] = (char)(0xE0 | code >> 12);
        bytes[n++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[n++] = (char)(0x80 | (code & 0x3F));
    } else {
        bytes[n++] = (char)(0xF0 | code >> 18);
        bytes[n++] = (char)(0x80 | (code >> 12 & 0x3F));
        bytes[n++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[n++] = (char)(0x80 | (code & 0x3F));
    }
    append(string, bytes, n);
}

static int read_hex4(struct json_text *text, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++, text->at++) {
        const char digit = json_text_peek(text);
        if (digit >= '0' && digit <= '9')
            value = value << 4 | (uint32_t)(digit - '0');
        else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            value = value << 4 | (uint32_t)((digit | 0x20) - 'a' + 10);
        else
            return json_text_unexpected(text, "four hexadecimal digits must follow \\u");
    }
    *ret_value = value;
    return 0;
}

/* Behind "\u"; begin is the backslash. */
static int read_unicode_escape(struct json_text *text, const char *begin,
                               struct json_string *string)
{
    static const char lone[] = "a \\u surrogate stands without its other half";
    uint32_t code, low;

    int r = read_hex4(text, &code);
    if (r < 0)
        return r;
    if (code == 0)
        return fail_at(text, begin, "\\u0000 is not accepted");
    if (code >= 0xDC00 && code <= 0xDFFF)
        return fail_at(text, begin, lone);
    if (code >= 0xD800 && code <= 0xDBFF) {
        for (const char *want = "\\u"; *want; want++, text->at++) {
            if (text->at == text->end)
                return json_text_unexpected(text, "");
            if (*text->at != *want)
                return fail_at(text, begin, lone);
        }
        r = read_hex4(text, &low);
        if (r < 0)
            return r;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail_at(text, begin, lone);
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_code_point(string, code);
    return 0;
}

static int read_escape(struct json_text *text, struct json_string *string)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *begin = text->at++;
    const char letter = json_text_peek(text);

    if (letter == 'u') {
        text->at++;
        return read_unicode_escape(text, begin, string);
    }
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (!known)
        return json_text_unexpected(text, "no such escape: one of \" \\ / b f n r t u must follow");
    append(string, &meanings[known - letters], 1);
    text->at++;
    return 0;
}

int json_text_string(struct json_text *text, struct json_string *ret_string)
{
    assert(text->at < text->end && *text->at == '"');
    const char *run = ++text->at;

    int r = skip_plain(text);
    if (r < 0)
        return r;
    ret_string->is_cut = false;
    if (*text->at == '"') { /* nearly always: no escapes, so no copy */
        ret_string->bytes = run;
        ret_string->length = (size_t)(text->at++ - run);
        return 0;
    }

    ret_string->bytes = ret_string->room;
    ret_string->length = 0;
    for (;;) {
        append(ret_string, run, (size_t)(text->at - run));
        if (*text->at == '"')
            break;
        r = read_escape(text, ret_string);
        if (r < 0)
            return r;
        run = text->at;
        r = skip_plain(text);
        if (r < 0)
            return r;
    }
    text->at++;
    return 0;
}

/* ---- everything else ---- */

int json_text_literal(struct json_text *text, const char *word)
{
    for (; *word; word++, text->at++)
        if (text->at == text->end || *text->at != *word)
            return json_text_unexpected(text, "no such word: true, false and null are known");
    return 0;
}

int json_text_key(struct json_text *text, struct json_string *ret_key)
{
    if (json_text_next(text) != '"')
        return json_text_unexpected(text, "a name in quotes is expected here");
    int r = json_text_string(text, ret_key);
    if (r < 0)
        return r;
    if (json_text_next(text) != ':')
        return json_text_unexpected(text, "a colon is expected here");
    text->at++;
    return 0;
}

static int skip_scalar(struct json_text *text)
{
    struct json_string string;
    float number;
    int r;

    switch (json_text_next(text)) {
    case '"':
        return json_text_string(text, &string);
    case 't':
        return json_text_literal(text, "true");
    case 'f':
        return json_text_literal(text, "false");
    case 'n':
        return json_text_literal(text, "null");
    case '-':
    case '0' ... '9':
        r = json_text_number(text, &number);
        return r == -ERANGE ? 0 : r;
    default:
        return json_text_unexpected(text, "a value is expected here");
    }
}

bool json_text_opens_empty(struct json_text *text, char closer)
{
    text->at++;
    if (json_text_next(text) != closer)
        return false;
    text->at++;
    return true;
}

int json_text_separator(struct json_text *text, char closer, bool *ret_is_last)
{
    const char found = json_text_next(text);

    if (found != ',' && found != closer)
        return json_text_unexpected(text, closer == ']' ? "a comma or ] is expected here"
                                                        : "a comma or } is expected here");
    text->at++;
    *ret_is_last = found == closer;
    return 0;
}

/* The name of a member, if it is one. */
static int skip_key(struct json_text *text, char closer)
{
    struct json_string key;

    return closer == '}' ? json_text_key(text, &key) : 0;
}

/* Behind a value: closes what ends here, up to the next value or depth 0. */
static int skip_ends(struct json_text *text, const char *closers, size_t *depth)
{
    while (*depth > 0) {
        bool is_last;
        int r = json_text_separator(text, closers[*depth - 1], &is_last);
        if (r < 0)
            return r;
        if (!is_last)
            return skip_key(text, closers[*depth - 1]);
        (*depth)--;
    }
    return 0;
}

/* A scalar, or the opening of an array or object; *ret_is_open: the next value lies in it. */
static int skip_beginning(struct json_text *text, char *closers, size_t *depth, bool *ret_is_open)
{
    const char first = json_text_next(text);
    const char closer = first == '[' ? ']' : '}';

    *ret_is_open = false;
    if (first != '[' && first != '{')
        return skip_scalar(text);
    if (*depth == JSON_TEXT_MAX_DEPTH)
        return fail_at(text, text->at, "arrays and objects are nested too deep");
    if (json_text_opens_empty(text, closer))
        return 0;
    closers[(*depth)++] = closer;
    *ret_is_open = true;
    return skip_key(text, closer);
}

int json_text_skip(struct json_text *text)
{
    char closers[JSON_TEXT_MAX_DEPTH];
    size_t depth = 0;

    do {
        bool is_open;
        int r = skip_beginning(text, closers, &depth, &is_open);
        if (r == 0 && !is_open)
            r = skip_ends(text, closers, &depth);
        if (r < 0)
            return r;
    } while (depth > 0);
    return 0;
}
