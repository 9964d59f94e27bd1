/* Works in place: a cell points into the input's window, and only doubled quotes move bytes. The
 * window is cut behind its last whole row, so that no cell runs over its end; a NUL put there ends
 * every scan, and the inner loop has one test a byte. */
#include "data/csv.h"

#include "base/input.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- the window ---- */

/* Whether the quote is the first of its cell. */
static bool begins_cell(const char *begin, const char *quote)
{
    while (quote > begin && is_blank(quote[-1]))
        quote--;
    return quote == begin || quote[-1] == ',' || quote[-1] == '\n';
}

/* From behind an opening quote to behind the closing one; NULL: it is not there. */
static char *skip_quoted(char *at, const char *end)
{
    char *quote;

    while ((quote = memchr(at, '"', (size_t)(end - at))) && quote + 1 < end && quote[1] == '"')
        at = quote + 2;
    return quote ? quote + 1 : NULL;
}

/* Behind the last row that lies in [begin, end) as a whole; begin: there is none. */
static char *find_whole_rows(char *begin, char *end)
{
    char *at = begin, *whole = begin;

    while (at) {
        if (end - at > 1 && at[0] == ',' && at[1] == '"') { /* the most common by far, so fast */
            at = skip_quoted(at + 2, end);
            continue;
        }
        char *quote = memchr(at, '"', (size_t)(end - at));
        char *line_end = memrchr(at, '\n', (size_t)((quote ? quote : end) - at));
        if (line_end)
            whole = line_end + 1;
        if (!quote)
            return whole;
        if (!begins_cell(begin, quote))
            return end; /* csv_next() refuses it when it gets there */
        at = skip_quoted(quote + 1, end);
    }
    return whole;
}

/* Blank lines at the end of the rows count only if another row follows: they wait for it. */
static char *leave_blank_lines(char *begin, char *end)
{
    char *last = end;

    while (last > begin && (is_blank(last[-1]) || last[-1] == '\n' || last[-1] == '\r'))
        last--;
    char *line_end = last == begin ? NULL : memchr(last, '\n', (size_t)(end - last));
    return line_end ? line_end + 1 : last;
}

static int refuse_nul(const struct csv *csv, const char *end, struct error *reterr)
{
    const char *nul = memchr(csv->at, '\0', (size_t)(end - csv->at));
    size_t line = csv->next_line;

    if (!nul)
        return 0;
    for (const char *at = csv->at; at < nul; at++)
        line += *at == '\n';
    return error_set_at(reterr, -EINVAL, csv->input->name, line,
                        "a NUL byte: this is no CSV in UTF-8; if it is UTF-16, convert it");
}

/* Brings the next rows into [at, end). 1: there are some; 0: the input has ended. */
static int load(struct csv *csv, struct error *reterr)
{
    struct input *input = csv->input;
    size_t n_used = (size_t)(csv->at - input->bytes), n_wanted = input->chunk;

    *csv->end = csv->behind;
    do {
        int r = input_read(input, n_used, n_wanted, reterr);
        if (r < 0)
            return r;
        char *end = input->bytes + input->size;
        csv->at = input->bytes;
        r = refuse_nul(csv, end, reterr);
        if (r < 0)
            return r;
        csv->end = leave_blank_lines(csv->at, input->at_end ? end : find_whole_rows(csv->at, end));
        if (csv->end == csv->at && input->size > CSV_MAX_ROW)
            return error_set_at(reterr, -EINVAL, input->name, csv->next_line,
                                "more than %zu MiB without the end of a row; is a quote never "
                                "closed?",
                                CSV_MAX_ROW >> 20);
        n_used = 0;
        n_wanted = 2 * input->size;
    } while (csv->end == csv->at && !input->at_end);
    csv->behind = *csv->end;
    *csv->end = '\0';
    return csv->end > csv->at;
}

int csv_open(struct csv *csv, struct input *input, struct error *reterr)
{
    assert(!csv->input);
    int r = input_read(input, 0, 3, reterr);
    if (r < 0)
        return r;
    const size_t mark = input->size >= 3 && memcmp(input->bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    csv->input = input;
    csv->next_line = 1;
    csv->at = csv->end = input->bytes + mark; /* empty: csv_next() loads */
    csv->behind = *csv->end;
    return 0;
}

/* ---- lines and cells ---- */

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
            return error_set_at(reterr, -EINVAL, csv->input->name, first_line,
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
        return error_set_at(reterr, -EINVAL, csv->input->name, csv->next_line,
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
        return error_set_at(reterr, -EINVAL, csv->input->name, csv->next_line,
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
        return error_set_at(reterr, -EINVAL, csv->input->name, csv->next_line,
                            "column %zu: a carriage return without line feed; end lines with LF or "
                            "CRLF",
                            csv->n_cells);
    csv->next_line += *csv->at == '\n';
    csv->at++;
    return 0;
}

int csv_next(struct csv *csv, struct error *reterr)
{
    if (csv->at == csv->end) {
        int r = load(csv, reterr);
        if (r <= 0)
            return r;
    }
    csv->n_cells = 0;
    csv->line = csv->next_line;
    csv->is_empty = false;
    for (bool is_last = false; !is_last;) {
        if (csv->n_cells == CSV_MAX_COLUMNS)
            return error_set_at(reterr, -EINVAL, csv->input->name, csv->line,
                                "more than %d columns", CSV_MAX_COLUMNS);
        struct csv_cell *cell = add_cell(csv);
        if (!cell)
            return error_set_at(reterr, -ENOMEM, csv->input->name, csv->line, "out of memory");
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
