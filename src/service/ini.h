/* ini - configuration text taken apart into sections, keys and values, each with its line.
 *
 *     # a comment has a line of its own
 *     [model web]
 *     file = web.safetensors
 *     list = one,
 *         two
 *
 * An indented line goes on with the value above it; a blank line ends it. UTF-8, with or without a
 * byte order mark; lines end with LF or CRLF and may be of any length. What the sections and keys
 * mean is the business of the caller. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct text;

struct ini_entry {
    const char *section; /* what stands in the brackets */
    const char *key;     /* NULL: the entry is the head of the section */
    const char *value;   /* blanks around it cut; lines joined by '\n' */
    size_t line;         /* from 1 */
};

struct ini {
    struct ini_entry *entries; /* [n_entries] in the order of the file, strings into storage */
    size_t n_entries;
    char *storage;
};

/* Takes data[size] apart; file stands in messages. Every line that is wrong adds one line
 * "FILE:LINE: …" to errors, and the entries of all others are still there, so that the caller can
 * go on to find more. 0, or -ENOMEM. */
MUST_CHECK int ini_parse(const char *file, const char *data, size_t size, struct ini *ret_ini,
                         struct text *errors);
void ini_clear(struct ini *ini);
