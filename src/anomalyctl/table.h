/* table - the daemon's lists for people: JSON objects as lines of at most 80 columns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct text;

struct table_column {
    const char *title, *key; /* key: of the member that it shows, "a.b": b in the object a; absent
                              * and false show nothing */
    bool is_number;          /* stands at the right */
};

/* rows: an array of objects; a fraction, at most 1, shows as percent. Columns are as wide as they
 * need to be; where that is too much, the widest is cut. note (or NULL) is the key of a longer
 * text, which stands below its row, wrapped. Appends to text. */
void table_print(const json_t *rows, const struct table_column *columns, size_t n_columns,
                 const char *note, struct text *text);

/* A longer text alone, indented and wrapped. */
void table_print_note(const char *note, struct text *text);
