#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void write_text(struct error *err, size_t at, const char *format, va_list arguments)
{
    if (at < sizeof(err->text))
        (void)vsnprintf(err->text + at, sizeof(err->text) - at, format, arguments);
}

int error_set(struct error *err, int r, const char *format, ...)
{
    assert(r < 0 && format);
    if (!err)
        return r;

    va_list arguments;
    va_start(arguments, format);
    write_text(err, 0, format, arguments);
    va_end(arguments);
    return r;
}

int error_set_at(struct error *err, int r, const char *file, size_t line, const char *format, ...)
{
    assert(r < 0 && file && format);
    if (!err)
        return r;

    int at = line ? snprintf(err->text, sizeof(err->text), "%s:%zu: ", file, line)
                  : snprintf(err->text, sizeof(err->text), "%s: ", file);
    va_list arguments;
    va_start(arguments, format);
    write_text(err, at < 0 ? 0 : (size_t)at, format, arguments);
    va_end(arguments);
    return r;
}

int error_set_errno(struct error *err, int r, const char *file, const char *verb)
{
    char reason[128] = "";

    assert(r < 0 && file && verb);
    /* GNU strerror_r: thread-safe, and the text need not be in the buffer. */
    return error_set_at(err, r, file, 0, "cannot %s: %s", verb,
                        strerror_r(-r, reason, sizeof(reason)));
}
