/* error - what a person has to mend: where it is, what is wrong and what to do.
 *
 * Functions that read what people write (files, options, requests) take a `struct error *reterr`
 * last and fill it when they fail; the return code says the kind, the text says the rest. Never
 * ends with a newline or a full stop. Plain data: copy it, keep it on the stack, no clean-up. */
#pragma once

#include <stddef.h>

#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

struct error {
    char text[512]; /* "normal.csv:17: column 3 (cpu_user): …"; cut, never overrun */
};

/* Both fill err (which may be NULL) and return r, so that a failure is one statement:
 * return error_set_at(reterr, -EINVAL, path, line, "…"). The place is written as people click on
 * it: FILE:LINE: text, or FILE: text where line is 0. r is a negative errno. */
int error_set(struct error *err, int r, const char *format, ...) PRINTF_LIKE(3, 4);
int error_set_at(struct error *err, int r, const char *file, size_t line, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* "FILE: cannot DO: REASON" for a failed system call; r is its negative errno. */
int error_set_errno(struct error *err, int r, const char *file, const char *verb);
