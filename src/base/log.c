#include "base/log.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* the line in the source helps no operator */
#include <systemd/sd-journal.h>
#include <unistd.h>

#define MAX_FIELDS 16

static const char *program = "anomalyd";
static bool to_journal = false;

/* systemd puts "DEVICE:INODE" of the journal's stream there: is it still our stderr? */
static bool stderr_is(const char *stream)
{
    struct stat status;
    char *end = NULL;

    if (!stream || fstat(STDERR_FILENO, &status) < 0)
        return false;
    const bool same_device = strtoull(stream, &end, 10) == status.st_dev;
    return same_device && *end == ':' && strtoull(end + 1, NULL, 10) == status.st_ino;
}

void log_open(const char *name)
{
    program = name;
    to_journal =
        stderr_is(getenv("JOURNAL_STREAM")); /* NOLINT(concurrency-mt-unsafe): no threads yet */
}

static bool send_to_journal(int level, const char *const *fields, const char *message)
{
    struct text lines[MAX_FIELDS] = {{0}};
    struct iovec parts[MAX_FIELDS];
    int n = 0;

    text_printf(&lines[n++], "MESSAGE=%s", message);
    text_printf(&lines[n++], "PRIORITY=%d", level);
    text_printf(&lines[n++], "SYSLOG_IDENTIFIER=%s", program);
    for (; fields && fields[0] && n < MAX_FIELDS; fields += 2)
        text_printf(&lines[n++], "%s=%s", fields[0], fields[1]);

    bool sent = true;
    for (int i = 0; i < n; i++) {
        parts[i] = (struct iovec){lines[i].data, lines[i].length};
        sent = sent && !text_failed(&lines[i]);
    }
    sent = sent && sd_journal_sendv(parts, n) >= 0;
    for (int i = 0; i < n; i++)
        text_clear(&lines[i]);
    return sent;
}

static void write_message(int level, const char *const *fields, const char *format,
                          va_list arguments)
{
    char message[2048];

    (void)vsnprintf(message, sizeof(message), format, arguments);
    if (to_journal && send_to_journal(level, fields, message))
        return;
    /* One write, so that lines of several threads do not mix. */
    CLEANUP(text_clear) struct text line = {0};
    text_printf(&line, "%s: %s\n", program, message);
    if (!text_failed(&line) && write(STDERR_FILENO, line.data, line.length) < 0)
        return; /* nobody left to tell */
}

void log_message(int level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_message(level, NULL, format, arguments);
    va_end(arguments);
}

void log_fields(int level, const char *const *fields, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_message(level, fields, format, arguments);
    va_end(arguments);
}

void log_error(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_message(LOG_ERR, NULL, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_message(LOG_WARNING, NULL, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_message(LOG_INFO, NULL, format, arguments);
    va_end(arguments);
}
