/* Works in place: a cell points into the text, and only doubled quotes move bytes. The NUL behind
 * the text ends every scan, so that the inner loop has one test a byte. */
#include "data/csv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int csv_open(struct csv *csv, const char *file, char *text, size_t size, struct error *reterr)
{
    assert(text[size] == '\0');
    const char *nul = memchr(text, '\0', size);
    if (nul) {
        size_t line = 1;
        for (const char *at = text; at < nul; at++)
            line += *at == '\n';
        return error_set_at(reterr, -EINVAL, file, line,
                            "a NUL byte: this is no CSV in UTF-8; if it is UTF-16, convert it");
    }

    const size_t mark = size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    csv->file = file;
    csv->next_line = 1;
    csv->at = text + mark;
    csv->end = text + size;
    while (csv->end > csv->at && strchr("\n\r \t", csv->end[-1]))
        csv->end--;
    *csv->end = '\0';
    return 0;
}

void csv_clear(struct csv *csv)
{
    free(csv->cells);
    *csv = (struct csv){0};
}

static struct csv_cell *add_cell(struct csv *csv)
{
    if (csv->n_cells == csv->capacity) {
        const size_t capacity = csv->capacity ? 2 * csv->capacity : 64;
        struct csv_cell *cells = realloc(csv->cells, capacity * sizeof(*cells));
        if (!cells)
            return NULL;
        csv->cells = cells;
        csv->capacity = capacity;
    }
    return &csv->cells[csv->n_cells++];
}

/* From behind the opening quote to behind the closing one, and the blanks after that. */
static int read_quoted(struct csv *csv, struct csv_cell *cell, struct error *reterr)
{
    const size_t first_line = csv->next_line;
    char *to = csv->at;

    cell->text = to;
    for (char *from = csv->at;; from++) {
        if (*from == '\0')
            return error_set_at(reterr, -EINVAL, csv->file, first_line,
                                "column %zu: the quote that begins here is never closed",
                                csv->n_cells);
        if (*from == '"' && *++from != '"') {
            csv->at = from;
            break;
        }
        csv->next_line += *from == '\n';
        *to++ = *from;
    }
    cell->length = (size_t)(to - cell->text);
    while (is_blank(*csv->at))
        csv->at++;
    if (*csv->at && !strchr(",\r\n", *csv->at))
        return error_set_at(reterr, -EINVAL, csv->file, csv->next_line,
                            "column %zu: text behind the closing quote; a quote inside quotes is "
                            "written twice",
                            csv->n_cells);
    return 0;
}

static int read_plain(struct csv *csv, struct csv_cell *cell, struct error *reterr)
{
    static const bool stops[256] = {
        ['\0'] = true, [','] = true, ['\n'] = true, ['\r'] = true, ['"'] = true};
    char *at = csv->at;

    while (!stops[(unsigned char)*at])
        at++;
    if (*at == '"')
        return error_set_at(reterr, -EINVAL, csv->file, csv->next_line,
                            "column %zu: a quote inside the cell; put the whole cell in quotes and "
                            "write the inner ones twice",
                            csv->n_cells);
    cell->text = csv->at;
    cell->length = (size_t)(at - csv->at);
    while (cell->length && is_blank(cell->text[cell->length - 1]))
        cell->length--;
    csv->at = at;
    return 0;
}

/* Past the comma or the line's end behind a cell. */
static int end_cell(struct csv *csv, bool *ret_is_last, struct error *reterr)
{
    *ret_is_last = *csv->at != ',';
    if (*csv->at == '\0')
        return 0;
    if (*csv->at == '\r' && *++csv->at != '\n')
        return error_set_at(reterr, -EINVAL, csv->file, csv->next_line,
                            "column %zu: a carriage return without line feed; end lines with LF or "
                            "CRLF",
                            csv->n_cells);
    csv->next_line += *csv->at == '\n';
    csv->at++;
    return 0;
}

int csv_next(struct csv *csv, struct error *reterr)
{
    if (csv->at == csv->end)
        return 0;

    csv->n_cells = 0;
    csv->line = csv->next_line;
    csv->is_empty = false;
    for (bool is_last = false; !is_last;) {
        if (csv->n_cells == CSV_MAX_COLUMNS)
            return error_set_at(reterr, -EINVAL, csv->file, csv->line, "more than %d columns",
                                CSV_MAX_COLUMNS);
        struct csv_cell *cell = add_cell(csv);
        if (!cell)
            return error_set_at(reterr, -ENOMEM, csv->file, csv->line, "out of memory");
        while (is_blank(*csv->at))
            csv->at++;
        const bool is_quoted = *csv->at == '"';
        csv->at += is_quoted;
        int r = is_quoted ? read_quoted(csv, cell, reterr) : read_plain(csv, cell, reterr);
        if (r == 0)
            r = end_cell(csv, &is_last, reterr);
        if (r < 0)
            return r;
        csv->is_empty = csv->n_cells == 1 && is_last && !is_quoted && cell->length == 0;
    }
    return 1;
}
