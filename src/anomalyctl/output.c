#include "anomalyctl/output.h"

#include "anomalyctl/commands.h"
#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LONG_OUTPUT ((size_t)64 * 1024)

static void print_message(const char *kind, const char *format, va_list arguments)
{
    char message[1024];

    (void)vsnprintf(message, sizeof(message), format, arguments);
    (void)fprintf(stderr, "anomalyctl: %s%s\n", kind, message);
}

void output_append_timestamp(struct text *text, uint64_t realtime_us)
{
    const time_t seconds = (time_t)(realtime_us / US_PER_S);
    struct tm utc;
    char day[sizeof("YYYY-MM-DDTHH:MM:SS")] = "";

    (void)gmtime_r(&seconds, &utc);
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
    text_printf(text, "%s.%03uZ", day, (unsigned int)(realtime_us % US_PER_S / US_PER_MS));
}

size_t output_count_characters(const char *string)
{
    size_t n = 0;

    for (; *string; string++)
        n += ((unsigned char)*string & 0xC0) != 0x80; /* not the bytes that go on */
    return n;
}

void output_append_padded(struct text *text, const char *string, size_t width)
{
    char shown[TEXT_SHOWN_SIZE];
    const size_t n = output_count_characters(text_show(shown, string, strlen(string)));

    text_printf(text, "%s%*s", shown, n < width ? (int)(width - n) : 0, "");
}

static bool is_same_file(const char *path, const char *other)
{
    struct stat a, b;

    if (stat(path, &a) < 0 || stat(other, &b) < 0)
        return strcmp(path, other) == 0;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int output_check_other(const char *option, const char *path, const char *other_option,
                       const char *other, struct error *reterr)
{
    if (!is_same_file(path, other))
        return 0;
    return error_set(reterr, -EINVAL, "%s %s: is the file of %s too; give another name", option,
                     path, other_option);
}

int report_failure(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_message("", format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

int report_error(const struct error *err)
{
    return report_failure("%s", *err->text ? err->text : "not enough memory");
}

void report_warning(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_message("warning: ", format, arguments);
    va_end(arguments);
}

int output_text(struct text *text)
{
    if (text_failed(text))
        return report_error(&(struct error){0});
    const size_t written = text->data ? fwrite(text->data, 1, text->length, stdout) : 0;
    if (written < text->length || fflush(stdout) != 0) {
        struct error err;
        (void)error_set_errno(&err, -errno, "standard output", "write");
        return report_error(&err);
    }
    if (text->data)
        text->length = 0;
    return EXIT_DONE;
}

int output_text_if_long(struct text *text)
{
    return text->length < LONG_OUTPUT && !text_failed(text) ? EXIT_DONE : output_text(text);
}
