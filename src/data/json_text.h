/* json_text - the words of JSON: strings, numbers, literals, and values to step over.
 *
 * A cursor over bytes that somebody else owns. As strict as RFC 8259 and jansson: UTF-8 only (no
 * surrogates, no longer forms than needed), no \u0000, no control characters in strings, no number
 * beyond a double. Nothing is allocated and nothing recurses. Whoever knows the shape of the text
 * (json_rows) asks for one word after the other. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define JSON_TEXT_MAX_DEPTH 128 /* of a value that is stepped over */

/* Start with .begin and .at at the first byte, .end behind the last. */
struct json_text {
    const char *begin, *at, *end;
    const char *error; /* after -EBADMSG: what is wrong at .at; never to be freed */
};

/* A string without its quotes, escapes resolved. The bytes lie in the text or in .room, so it must
 * not be copied or outlive either. Only a string with escapes is cut, and only behind sizeof(room)
 * bytes, at the end of a character. */
struct json_string {
    const char *bytes;
    size_t length;
    bool is_cut;
    char room[256];
};

/* The byte at .at, '\0' at the end of the text; a '\0' in the text is no JSON either. */
static inline char json_text_peek(const struct json_text *text)
{
    if (text->at == text->end)
        return '\0';
    return *text->at;
}

/* The same behind white space, which it steps over. */
static inline char json_text_next(struct json_text *text)
{
    while (text->at < text->end && (unsigned char)*text->at <= ' ' &&
           (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
        text->at++;
    return json_text_peek(text);
}

/* At an opening bracket: steps over it, and over the closer if that follows (true). */
bool json_text_opens_empty(struct json_text *text, char closer);

/* All of these begin at .at (json_text_string: a quote), leave .at behind what they read, and
 * return 0 or -EBADMSG: not JSON, .at is then the first byte that cannot be part of it, or the
 * beginning of the character that is not UTF-8, the \u escape that means none, the number that is
 * too large. */
MUST_CHECK int json_text_string(struct json_text *text, struct json_string *ret_string);
MUST_CHECK int json_text_key(struct json_text *text, struct json_string *ret_key); /* "key": */
MUST_CHECK int json_text_separator(struct json_text *text, char closer,
                                   bool *ret_is_last); /* a comma, or the closer: last */
MUST_CHECK int json_text_literal(struct json_text *text, const char *word);
MUST_CHECK int json_text_skip(struct json_text *text); /* any value */

/* The float nearest to the double nearest to the number. -ERANGE: a double but no float; .at is
 * behind it, *ret_value is untouched. */
MUST_CHECK int json_text_number(struct json_text *text, float *ret_value);
/* The double itself, of a number that a float has room for. */
MUST_CHECK int json_text_double(struct json_text *text, double *ret_value);

/* Up to n numbers with commas between them, as fast as it goes: how many there were, and .at is
 * behind the last. What cannot be read so, right or wrong, is to be read word by word. */
size_t json_text_numbers(struct json_text *text, float *ret_values, size_t n);

/* For the caller's own grammar: remembers that at .at something else had to stand (expected: "a
 * comma is expected here"), or that the text ends too early. -EBADMSG. */
int json_text_unexpected(struct json_text *text, const char *expected);

/* Line and column of .at, from 1; a column is a character, not a byte. */
void json_text_place(const struct json_text *text, size_t *ret_line, size_t *ret_column);
