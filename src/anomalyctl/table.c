#include "anomalyctl/table.h"

#include "anomalyctl/output.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LINE_WIDTH   80
#define GAP          2
#define NOTE_INDENT  4
#define MOST_COLUMNS 8

static const json_t *member_of(const json_t *row, const char *key)
{
    const char *dot = strchr(key, '.');
    char outer[32];

    if (!dot)
        return json_object_get(row, key);
    (void)snprintf(outer, sizeof(outer), "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(row, outer), dot + 1);
}

static void show_cell(const json_t *row, const struct table_column *column,
                      char ret_cell[TEXT_SHOWN_SIZE])
{
    const json_t *value = member_of(row, column->key);

    ret_cell[0] = '\0';
    if (json_is_string(value))
        (void)text_show(ret_cell, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        (void)snprintf(ret_cell, TEXT_SHOWN_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value) && json_real_value(value) > 1)
        (void)snprintf(ret_cell, TEXT_SHOWN_SIZE, "%.4g", json_real_value(value));
    else if (json_is_real(value))
        (void)snprintf(ret_cell, TEXT_SHOWN_SIZE, "%.0f %%", 100 * json_real_value(value));
    else if (json_is_true(value))
        (void)snprintf(ret_cell, TEXT_SHOWN_SIZE, "yes");
}

static size_t width_of(const json_t *rows, const struct table_column *column)
{
    size_t widest = output_count_characters(column->title);

    for (size_t i = 0; i < json_array_size(rows); i++) {
        char cell[TEXT_SHOWN_SIZE];
        show_cell(json_array_get(rows, i), column, cell);
        const size_t width = output_count_characters(cell);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void fit_widths(size_t *widths, size_t n)
{
    size_t total = (n - 1) * GAP, widest = 0;

    for (size_t i = 0; i < n; i++) {
        total += widths[i];
        widest = widths[i] > widths[widest] ? i : widest;
    }
    if (total > LINE_WIDTH && widths[widest] > total - LINE_WIDTH)
        widths[widest] -= total - LINE_WIDTH;
}

/* Bytes of the first n characters of UTF-8. */
static size_t bytes_of(const char *string, size_t n)
{
    const char *at = string;

    for (size_t i = 0; *at; at++)
        if (((unsigned char)*at & 0xC0) != 0x80 && i++ == n)
            break;
    return (size_t)(at - string);
}

static void put_spaces(struct text *text, size_t n)
{
    text_printf(text, "%*s", (int)n, "");
}

static void put_cell(struct text *text, const char *cell, size_t width, bool is_number)
{
    const size_t n = output_count_characters(cell);
    const size_t n_left = n < width ? width - n : 0;

    put_spaces(text, is_number ? n_left : 0);
    if (n > width)
        text_printf(text, "%.*s…", (int)bytes_of(cell, width - 1), cell);
    else
        text_puts(text, cell);
    put_spaces(text, is_number ? 0 : n_left);
}

static void put_line_end(struct text *text)
{
    while (text->length > 0 && text->data[text->length - 1] == ' ')
        text->length--;
    text_puts(text, "\n");
}

static void put_word(struct text *text, const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const char byte = word[i];
        const bool is_control = (unsigned char)byte < 0x20 || byte == 0x7f;
        text_append(text, is_control ? "?" : &byte, 1);
    }
}

static size_t characters_of(const char *bytes, size_t length)
{
    size_t n = 0;

    for (size_t i = 0; i < length; i++)
        n += ((unsigned char)bytes[i] & 0xC0) != 0x80;
    return n;
}

void table_print_note(const char *note, struct text *text)
{
    size_t used = 0; /* of the line; 0: none is begun */

    for (size_t length; *note; note += length + (note[length] == ' ')) {
        length = strcspn(note, " ");
        const size_t width = characters_of(note, length);
        if (used > 0 && used + 1 + width > LINE_WIDTH) {
            text_puts(text, "\n");
            used = 0;
        }
        put_spaces(text, used > 0 ? 1 : NOTE_INDENT);
        put_word(text, note, length);
        used = (used > 0 ? used + 1 : NOTE_INDENT) + width;
    }
    text_puts(text, used > 0 ? "\n" : "");
}

/* row NULL: the titles. */
static void put_row(struct text *text, const json_t *row, const struct table_column *columns,
                    const size_t *widths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char cell[TEXT_SHOWN_SIZE];
        if (row)
            show_cell(row, &columns[i], cell);
        else
            (void)text_show(cell, columns[i].title, strlen(columns[i].title));
        put_spaces(text, i > 0 ? GAP : 0);
        put_cell(text, cell, widths[i], columns[i].is_number);
    }
    put_line_end(text);
}

void table_print(const json_t *rows, const struct table_column *columns, size_t n_columns,
                 const char *note, struct text *text)
{
    size_t widths[MOST_COLUMNS];
    assert(n_columns > 0 && n_columns <= MOST_COLUMNS);

    for (size_t i = 0; i < n_columns; i++)
        widths[i] = width_of(rows, &columns[i]);
    fit_widths(widths, n_columns);
    put_row(text, NULL, columns, widths, n_columns);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *below = note ? json_string_value(json_object_get(row, note)) : NULL;
        put_row(text, row, columns, widths, n_columns);
        if (below)
            table_print_note(below, text);
    }
}
