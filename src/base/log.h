/* log - one line for the operator: to the journal with fields when systemd runs us, else to
 * stderr. Who decides, logs, once; base, nn, data, detector and store never do. Thread-safe. */
#pragma once

#include "base/error.h"

#include <syslog.h>

/* Reads $JOURNAL_STREAM once; call it before threads start. name stands before lines on stderr. */
void log_open(const char *name);

/* level: LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG of <syslog.h>. */
void log_message(int level, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same with journal fields; field and value in turn, NULL at the end of fields:
 * log_fields(LOG_INFO, (const char *[]){"MODEL", "web", NULL}, "loaded"). */
void log_fields(int level, const char *const *fields, const char *format, ...) PRINTF_LIKE(3, 4);

/* log_message() at that level. */
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
