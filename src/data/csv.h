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
#define CSV_MAX_ROW     ((size_t)64 << 20) /* bytes; a quote that is never closed ends here */

struct input;

struct csv_cell {
    const char *text; /* in the window of the input; no NUL behind it */
    size_t length;
};

struct csv {
    struct csv_cell *cells; /* [n_cells] of the line read last; valid until the next csv_next() */
    size_t n_cells;
    size_t line;   /* where it begins, from 1 */
    bool is_empty; /* nothing (or blanks) stood on it; it then has one empty cell */

    /* private */
    struct input *input;
    char *at, *end; /* of the rows that the window holds as a whole */
    char behind;    /* what stood at *end */
    size_t next_line, capacity;
};

/* Begins to read what is left of input, whose window it moves and changes; it must outlive csv.
 * Negative errno as from input_read(). */
MUST_CHECK int csv_open(struct csv *csv, struct input *input, struct error *reterr);
void csv_clear(struct csv *csv);

/* 1: a line was read; 0: there are no more. -EINVAL: NUL bytes, broken quotes, a carriage return
 * inside a line, more than CSV_MAX_COLUMNS cells or CSV_MAX_ROW bytes. Else as from input_read().
 */
MUST_CHECK int csv_next(struct csv *csv, struct error *reterr);
