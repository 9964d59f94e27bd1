/* output - results go to stdout, everything else to stderr. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

/* Appends what may stand in a table for people (text_show()), padded to width characters. */
void output_append_padded(struct text *text, const char *string, size_t width);
/* 2024-03-01T12:30:00.250Z; realtime_us: since 1970. */
void output_append_timestamp(struct text *text, uint64_t realtime_us);
size_t output_count_characters(const char *string); /* of UTF-8 */

/* -EINVAL if path, which option says to write, is the file other that other_option names. */
int output_check_other(const char *option, const char *path, const char *other_option,
                       const char *other, struct error *reterr);

/* "anomalyctl: …" on stderr; returns the exit status for "the work failed". */
int report_failure(const char *format, ...) PRINTF_LIKE(1, 2);

/* The same for a failed call; an error without text is a failed allocation. */
int report_error(const struct error *err);

/* "anomalyctl: warning: …" on stderr. */
void report_warning(const char *format, ...) PRINTF_LIKE(1, 2);

/* Writes text to stdout and empties it. Returns the exit status: a full disk is a failure, which is
 * reported. */
int output_text(struct text *text);

/* The same once text has grown long; 0 also when it did nothing. For output as long as the input.
 */
int output_text_if_long(struct text *text);
