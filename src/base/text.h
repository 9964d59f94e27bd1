/* text - a growing string: replies, metrics, reports.
 *
 * Append without checking; a failed allocation is remembered, later appends do nothing, and
 * text_failed() says so once at the end. Always NUL-terminated once something was appended.
 *     CLEANUP(text_clear) struct text text = {0};
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *data; /* NULL until the first append */
    size_t length, capacity;
    bool failed;
};

void text_clear(struct text *text);
bool text_failed(const struct text *text);

/* Makes room for n more bytes, so that what follows does not allocate. */
void text_reserve(struct text *text, size_t n);
void text_append(struct text *text, const char *bytes, size_t n);
static inline void text_puts(struct text *text, const char *string)
{
    text_append(text, string, strlen(string)); /* known where it is a literal */
}
/* For what is written most often: room for n bytes at the end, or NULL; then how many were. */
char *text_begin(struct text *text, size_t n);
void text_end(struct text *text, size_t n);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);

/* As text_printf() writes it, many times faster. */
void text_u64(struct text *text, uint64_t number);

/* A number in the shortest form that reads back as the same value; JSON has no NaN and no
 * infinity, so those become null. */
void text_float(struct text *text, float value);
void text_double(struct text *text, double value);

/* A moment since 1970 in RFC 3339, "2024-03-01T12:30:00Z". */
void text_time(struct text *text, uint64_t realtime_us);

/* bytes[n] as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void text_json_string(struct text *text, const char *bytes, size_t n);

/* Length of the UTF-8 sequence that text[n] (n > 0) begins with, 1 to 4; 0: it is none. RFC 3629:
 * no surrogates, nothing above U+10FFFF, no longer form than needed. */
size_t text_utf8_length(const char *text, size_t n);

#define TEXT_SHOWN_SIZE 64

/* bytes[n] fit for a message: cut to TEXT_SHOWN_SIZE with "…" at the end, control characters and
 * what is not UTF-8 as "?". Returns ret_shown. */
const char *text_show(char ret_shown[TEXT_SHOWN_SIZE], const char *bytes, size_t n);
