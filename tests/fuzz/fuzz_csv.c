/* fuzz_csv - tables of text: whatever the window that they are read through, they hold the same.
 * Only what is refused may be noticed a window earlier. */
#include "base/text.h"
#include "data/csv.h"
#include "fuzz/fuzz.h"

#include <errno.h>

/* All that can be seen of it, one line after the other. */
static int print_all(const uint8_t *bytes, size_t size, size_t chunk, struct text *ret_text,
                     struct error *ret_error)
{
    CLEANUP(input_clear) struct input input = {0};
    CLEANUP(csv_clear) struct csv csv = {0};

    fuzz_open_input(&input, bytes, size);
    input.chunk = chunk;
    int r = csv_open(&csv, &input, ret_error);
    must(r == 0);
    while ((r = csv_next(&csv, ret_error)) > 0) {
        must(csv.n_cells > 0 && csv.n_cells <= CSV_MAX_COLUMNS);
        text_printf(ret_text, "%zu %d:", csv.line, csv.is_empty);
        for (size_t i = 0; i < csv.n_cells; i++) {
            text_append(ret_text, csv.cells[i].text, csv.cells[i].length);
            text_puts(ret_text, "\x1F");
        }
    }
    must(r == 0 || (r == -EINVAL && ret_error->text[0]));
    must(!text_failed(ret_text));
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    CLEANUP(text_clear) struct text whole = {0};
    CLEANUP(text_clear) struct text in_pieces = {0};
    struct error error = {0}, other_error = {0};

    const int r = print_all(bytes, size, INPUT_CHUNK, &whole, &error);
    must(print_all(bytes, size, 1 + size / 7, &in_pieces, &other_error) == r);
    must(r < 0 ? whole.length <= in_pieces.length : whole.length == in_pieces.length);
    must(whole.length == 0 || memcmp(whole.data, in_pieces.data, whole.length) == 0);
    return 0;
}
