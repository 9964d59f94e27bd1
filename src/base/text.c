#include "base/text.h"

#include "base/clock.h"
#include "base/number.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void text_clear(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

bool text_failed(const struct text *text)
{
    return text->failed;
}

void text_reserve(struct text *text, size_t n)
{
    if (text->failed || (text->data && n < text->capacity - text->length))
        return;
    if (n > SIZE_MAX / 4 || text->length > SIZE_MAX / 4) {
        text->failed = true;
        return;
    }

    size_t wanted = text->length + n + 1;
    size_t capacity = wanted > 2 * text->capacity ? wanted : 2 * text->capacity;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return;
    }
    text->data = data;
    text->capacity = capacity;
}

void text_append(struct text *text, const char *bytes, size_t n)
{
    text_reserve(text, n);
    if (text->failed)
        return;
    memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
}

char *text_begin(struct text *text, size_t n)
{
    text_reserve(text, n);
    return text->failed ? NULL : text->data + text->length;
}

void text_end(struct text *text, size_t n)
{
    assert(n < text->capacity - text->length);
    text->length += n;
    text->data[text->length] = '\0';
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(n >= 0); /* only a broken format makes it fail */

    text_reserve(text, (size_t)n);
    if (text->failed)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text->data + text->length, (size_t)n + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)n;
}

void text_u64(struct text *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    text_append(text, digits + at, sizeof(digits) - at);
}

void text_float(struct text *text, float value)
{
    char *room = isfinite(value) ? text_begin(text, NUMBER_MAX) : NULL;

    if (room)
        text_end(text, number_write_float(room, value));
    else
        text_append(text, "null", 4);
}

void text_double(struct text *text, double value)
{
    char *room = isfinite(value) ? text_begin(text, NUMBER_MAX) : NULL;

    if (room)
        text_end(text, number_write_double(room, value));
    else
        text_append(text, "null", 4);
}

size_t text_utf8_length(const char *text, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const unsigned char first = bytes[0];
    const size_t length = first < 0x80   ? 1
                          : first < 0xC2 ? 0
                          : first < 0xE0 ? 2
                          : first < 0xF0 ? 3
                          : first < 0xF5 ? 4
                                         : 0;

    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    if ((first == 0xE0 && bytes[1] < 0xA0) || (first == 0xED && bytes[1] > 0x9F) ||
        (first == 0xF0 && bytes[1] < 0x90) || (first == 0xF4 && bytes[1] > 0x8F))
        return 0;
    return length;
}

void text_time(struct text *text, uint64_t realtime_us)
{
    char written[32];
    struct tm utc;
    const time_t seconds = (time_t)(realtime_us / US_PER_S);

    (void)gmtime_r(&seconds, &utc);
    text_append(text, written, strftime(written, sizeof(written), "%Y-%m-%dT%H:%M:%SZ", &utc));
}

void text_json_string(struct text *text, const char *bytes, size_t n)
{
    text_reserve(text, n + 2);
    text_append(text, "\"", 1);
    for (size_t i = 0; i < n;) {
        const size_t length = text_utf8_length(bytes + i, n - i);
        const unsigned char first = (unsigned char)bytes[i];

        if (length == 0)
            text_append(text, "\xEF\xBF\xBD", 3);
        else if (first == '"' || first == '\\')
            text_append(text, (const char[]){'\\', (char)first}, 2);
        else if (first < 0x20)
            text_printf(text, "\\u%04x", first);
        else
            text_append(text, bytes + i, length);
        i += length ? length : 1;
    }
    text_append(text, "\"", 1);
}

const char *text_show(char ret_shown[TEXT_SHOWN_SIZE], const char *bytes, size_t n)
{
    static const char ellipsis[] = "…";
    const size_t room = TEXT_SHOWN_SIZE - sizeof(ellipsis);
    size_t at = 0;

    for (size_t i = 0; i < n;) {
        const size_t length = text_utf8_length(bytes + i, n - i);
        const size_t step = length ? length : 1;

        if (at + step > room) {
            memcpy(ret_shown + at, ellipsis, sizeof(ellipsis));
            return ret_shown;
        }
        memcpy(ret_shown + at, bytes + i, step);
        if (length == 0 || (unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7F)
            ret_shown[at] = '?';
        at += step;
        i += step;
    }
    ret_shown[at] = '\0';
    return ret_shown;
}
