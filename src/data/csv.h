/* csv - takes comma-separated text apart, line by line.
 *
 * RFC 4180: cells in double quotes may hold commas, line ends and, doubled, quotes. Lines end with
 * LF or CRLF. A UTF-8 byte order mark and lines at the end that are empty or blank are skipped,
 * blanks around a cell that is not quoted are dropped. What the cells mean is the caller's
 * business. CLEANUP(csv_clear) struct csv csv = {0}; */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CSV_MAX_COLUMNS 65536

struct csv_cell {
    const char *text; /* in the caller's text; no NUL behind it */
    size_t length;
};

struct csv {
    struct csv_cell *cells; /* [n_cells] of the line read last; valid until the next csv_next() */
    size_t n_cells;
    size_t line;   /* where it begins, from 1 */
    bool is_empty; /* nothing (or blanks) stood on it; it then has one empty cell */

    /* private */
    const char *file;
    char *at, *end;
    size_t next_line, capacity;
};

/* Begins to read text[size], behind which a NUL must stand (file_read() puts it there); it is
 * changed while reading and must outlive csv. file is for messages. -EINVAL: holds NUL bytes. */
MUST_CHECK int csv_open(struct csv *csv, const char *file, char *text, size_t size,
                        struct error *reterr);
void csv_clear(struct csv *csv);

/* 1: a line was read; 0: there are no more. -EINVAL: broken quotes, a carriage return inside a
 * line, or more than CSV_MAX_COLUMNS cells. -ENOMEM. */
MUST_CHECK int csv_next(struct csv *csv, struct error *reterr);
