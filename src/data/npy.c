/* The header is a Python literal, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, read
 * here as a small grammar of its own: no escapes, no nesting. */
#include "data/npy.h"

#include "base/input.h"
#include "base/number.h"
#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MAGIC          "\x93NUMPY"
#define MAGIC_LENGTH   6
#define NPY_PREFIX     12                /* bytes that say how long the header is */
#define MAX_HEADER     ((size_t)1 << 20) /* NumPy itself stops at 10,000 bytes */
#define MAX_DIMENSIONS 32

struct word {
    const char *text;
    size_t length;
};

struct header {
    struct word type;   /* "<f4"; no text: not given, or a list of fields */
    bool is_structured; /* the type is a list of fields */
    bool is_fortran;
    bool has_order, has_shape;
    size_t n_dimensions;
    uint64_t shape[MAX_DIMENSIONS];
};

bool npy_is(const char *bytes, size_t size)
{
    return size >= MAGIC_LENGTH && memcmp(bytes, MAGIC, MAGIC_LENGTH) == 0;
}

static void skip_blanks(struct word *rest)
{
    while (rest->length && isspace((unsigned char)*rest->text)) {
        rest->text++;
        rest->length--;
    }
}

static void skip(struct word *rest, size_t n)
{
    rest->text += n;
    rest->length -= n;
}

static bool take(struct word *rest, const char *token)
{
    const size_t length = strlen(token);

    skip_blanks(rest);
    if (rest->length < length || memcmp(rest->text, token, length) != 0)
        return false;
    skip(rest, length);
    return true;
}

static bool take_string(struct word *rest, struct word *ret_string)
{
    skip_blanks(rest);
    if (!rest->length || (*rest->text != '\'' && *rest->text != '"'))
        return false;
    const char *end = memchr(rest->text + 1, *rest->text, rest->length - 1);
    if (!end)
        return false;
    *ret_string = (struct word){rest->text + 1, (size_t)(end - rest->text) - 1};
    skip(rest, ret_string->length + 2);
    return true;
}

static bool take_shape(struct word *rest, struct header *header)
{
    if (header->has_shape || !take(rest, "("))
        return false;
    header->has_shape = true;
    while (!take(rest, ")")) {
        size_t digits = 0;
        skip_blanks(rest);
        while (digits < rest->length && isdigit((unsigned char)rest->text[digits]))
            digits++;
        if (header->n_dimensions == MAX_DIMENSIONS ||
            number_parse_u64(rest->text, digits, &header->shape[header->n_dimensions]) < 0)
            return false;
        header->n_dimensions++;
        skip(rest, digits);
        if (!take(rest, ",") && !(rest->length && *rest->text == ')'))
            return false;
    }
    return true;
}

/* A structured type is not read to its end: it is refused anyway. */
static bool take_value(struct word *rest, struct word key, struct header *header)
{
    if (key.length == 5 && memcmp(key.text, "descr", 5) == 0) {
        header->is_structured = take(rest, "[");
        return header->is_structured || (!header->type.text && take_string(rest, &header->type));
    }
    if (key.length == 13 && memcmp(key.text, "fortran_order", 13) == 0) {
        if (header->has_order)
            return false;
        header->has_order = true;
        header->is_fortran = take(rest, "True");
        return header->is_fortran || take(rest, "False");
    }
    return key.length == 5 && memcmp(key.text, "shape", 5) == 0 && take_shape(rest, header);
}

static bool read_header(struct word rest, struct header *header)
{
    struct word key;

    if (!take(&rest, "{"))
        return false;
    while (!take(&rest, "}")) {
        if (!take_string(&rest, &key) || !take(&rest, ":") || !take_value(&rest, key, header))
            return false;
        if (header->is_structured)
            return true;
        skip_blanks(&rest);
        if (!take(&rest, ",") && !(rest.length && *rest.text == '}'))
            return false;
    }
    skip_blanks(&rest);
    return rest.length == 0 && header->type.text && header->has_order && header->has_shape;
}

static int refuse_cut_header(const char *name, struct error *reterr)
{
    return error_set_at(reterr, -EINVAL, name, 0, "the .npy file is cut off in its header");
}

static int refuse_damaged_header(const char *name, struct error *reterr)
{
    return error_set_at(reterr, -EINVAL, name, 0,
                        "the header of the .npy file is damaged; save it with numpy.save()");
}

/* A pipe is read to its end: only then it is known how much there is. */
static int find_total(struct input *input, size_t *ret_total, struct error *reterr)
{
    int r = input_read(input, 0, input->chunk, reterr);

    while (r == 0 && !input->expected && !input->at_end)
        r = input_read(input, 0, 2 * input->size, reterr);
    *ret_total = input->expected ? input->expected : input->size;
    return r;
}

/* Where the header is, by the first NPY_PREFIX bytes. */
static int locate_header(const char *name, const char *bytes, size_t *ret_begin, size_t *ret_length,
                         struct error *reterr)
{
    const unsigned char *u = (const unsigned char *)bytes;

    if (u[6] < 1 || u[6] > 3)
        return error_set_at(reterr, -EINVAL, name, 0,
                            "format %u.%u of .npy is unknown; save it with numpy.save()", u[6],
                            u[7]);
    *ret_begin = u[6] == 1 ? 10 : 12;
    *ret_length = u[8] | (size_t)u[9] << 8;
    if (u[6] > 1)
        *ret_length |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
    return 0;
}

/* Finds the header in an input of total bytes; items begin behind it. */
static int find_header(struct input *input, size_t total, struct word *ret_header,
                       struct error *reterr)
{
    size_t begin = 0, length = 0;

    int r = input_read(input, 0, NPY_PREFIX, reterr);
    if (r < 0)
        return r;
    assert(npy_is(input->bytes, input->size));
    if (input->size < NPY_PREFIX)
        return refuse_cut_header(input->name, reterr);
    r = locate_header(input->name, input->bytes, &begin, &length, reterr);
    if (r < 0)
        return r;
    if (length > total - begin)
        return refuse_cut_header(input->name, reterr);
    if (length > MAX_HEADER)
        return refuse_damaged_header(input->name, reterr);
    r = input_read(input, 0, begin + length, reterr);
    if (r == 0 && input->size < begin + length)
        r = refuse_cut_header(input->name, reterr);
    *ret_header = (struct word){input->bytes + begin, length};
    return r;
}

static int check_type(const char *file, const struct header *header, struct npy *npy,
                      struct error *reterr)
{
    const struct word type = header->type;
    char shown[TEXT_SHOWN_SIZE];

    if (header->is_structured)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "the array has named fields; save the numbers alone as float32");
    const bool is_float = type.length == 3 && (type.text[0] == '<' || type.text[0] == '>') &&
                          type.text[1] == 'f' && (type.text[2] == '4' || type.text[2] == '8');
    if (!is_float)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "values of type \"%s\", not float32 or float64; save "
                            "array.astype(\"float32\")",
                            text_show(shown, type.text, type.length));
    npy->item_size = (size_t)(type.text[2] - '0');
    npy->is_swapped = (type.text[0] == '<') != (BYTE_ORDER == LITTLE_ENDIAN);
    return 0;
}

static int check_shape(const char *file, const struct header *header, struct npy *npy,
                       uint64_t *ret_n_bytes, struct error *reterr)
{
    uint64_t n_items;

    if (header->n_dimensions != 2)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "the array has %zu dimensions, not 2 (rows, features); for one feature "
                            "save array.reshape(-1, 1)",
                            header->n_dimensions);
    if (header->shape[0] == 0)
        return error_set_at(reterr, -ENODATA, file, 0, "no rows");
    if (header->shape[1] == 0)
        return error_set_at(reterr, -EINVAL, file, 0, "no columns");
    if (__builtin_mul_overflow(header->shape[0], header->shape[1], &n_items) ||
        __builtin_mul_overflow(n_items, npy->item_size, ret_n_bytes))
        return error_set_at(reterr, -EINVAL, file, 0, "the shape in the header is impossible");
    npy->n_rows = (size_t)header->shape[0];
    npy->n_columns = (size_t)header->shape[1];
    return 0;
}

/* All that the header says. */
static int take_header(const char *name, struct word text, struct npy *npy, uint64_t *ret_n_bytes,
                       struct error *reterr)
{
    struct header header = {0};

    if (!read_header(text, &header))
        return refuse_damaged_header(name, reterr);
    npy->is_fortran = header.is_fortran;
    int r = check_type(name, &header, npy, reterr);
    return r < 0 ? r : check_shape(name, &header, npy, ret_n_bytes, reterr);
}

int npy_check_length(const char *name, uint64_t n_wanted, uint64_t n_bytes, struct error *reterr)
{
    if (n_wanted > n_bytes)
        return error_set_at(reterr, -EINVAL, name, 0,
                            "cut off: the header says %" PRIu64
                            " bytes of values, there are %" PRIu64,
                            n_wanted, n_bytes);
    if (n_wanted < n_bytes)
        return error_set_at(reterr, -EINVAL, name, 0,
                            "%" PRIu64 " bytes too many behind the array; save one array a file",
                            n_bytes - n_wanted);
    return 0;
}

int npy_begin(const char *name, const char *bytes, size_t size, struct npy *ret_npy,
              size_t *ret_header, uint64_t *ret_n_bytes, struct error *reterr)
{
    size_t begin = 0, length = 0;

    if (size < NPY_PREFIX)
        return -EAGAIN;
    if (!npy_is(bytes, size))
        return error_set_at(reterr, -EINVAL, name, 0,
                            "this is no .npy file; save it with numpy.save()");
    int r = locate_header(name, bytes, &begin, &length, reterr);
    if (r < 0)
        return r;
    if (length > MAX_HEADER)
        return refuse_damaged_header(name, reterr);
    if (size < begin + length)
        return -EAGAIN;
    *ret_npy = (struct npy){0};
    *ret_header = begin + length;
    return take_header(name, (struct word){bytes + begin, length}, ret_npy, ret_n_bytes, reterr);
}

int npy_open(struct input *input, struct npy *ret_npy, struct error *reterr)
{
    struct word text = {0};
    struct npy npy = {.input = input};
    size_t total = 0;
    uint64_t n_bytes = 0;

    int r = find_total(input, &total, reterr);
    if (r == 0)
        r = find_header(input, total, &text, reterr);
    if (r == 0)
        r = take_header(input->name, text, &npy, &n_bytes, reterr);
    if (r < 0)
        return r == -ENODATA ? -EINVAL : r;
    npy.at = (size_t)(text.text + text.length - input->bytes);
    r = npy_check_length(input->name, n_bytes, total - npy.at, reterr);
    if (r == 0)
        *ret_npy = npy;
    return r;
}

void npy_read_items(const struct npy *npy, const char *items, size_t n, double *values)
{
    for (size_t i = 0; i < n && npy->item_size == sizeof(float); i++) {
        uint32_t bits;
        float value;
        memcpy(&bits, items + i * sizeof(bits), sizeof(bits));
        bits = npy->is_swapped ? __builtin_bswap32(bits) : bits;
        memcpy(&value, &bits, sizeof(value));
        values[i] = (double)value;
    }
    for (size_t i = 0; i < n && npy->item_size == sizeof(double); i++) {
        uint64_t bits;
        memcpy(&bits, items + i * sizeof(bits), sizeof(bits));
        bits = npy->is_swapped ? __builtin_bswap64(bits) : bits;
        memcpy(&values[i], &bits, sizeof(bits));
    }
}

/* Items of the window that are whole; when there are none, reads on. */
static int fill(struct npy *npy, size_t *ret_n, struct error *reterr)
{
    struct input *input = npy->input;

    if (input->size - npy->at < npy->item_size) {
        const size_t n_wanted = input->chunk > npy->item_size ? input->chunk : npy->item_size;
        int r = input_read(input, npy->at, n_wanted, reterr);
        if (r < 0)
            return r;
        npy->at = 0;
        if (input->size < npy->item_size)
            return error_set_at(reterr, -EINVAL, input->name, 0,
                                "cut off: the file has become shorter while it was read");
    }
    *ret_n = (input->size - npy->at) / npy->item_size;
    return 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

int npy_next(struct npy *npy, struct npy_slice *ret_slice, struct error *reterr)
{
    const bool by_column = npy->is_fortran;
    const size_t line_length = by_column ? npy->n_rows : npy->n_columns;
    const size_t n_lines = by_column ? npy->n_columns : npy->n_rows;
    size_t n = 0;

    if (npy->next_line == n_lines)
        return 0;
    int r = fill(npy, &n, reterr);
    if (r < 0)
        return r;
    n = least(least(n, NPY_MAX_SLICE), line_length - npy->next_item);
    ret_slice->row = by_column ? npy->next_item : npy->next_line;
    ret_slice->column = by_column ? npy->next_line : npy->next_item;
    ret_slice->n = n;
    npy_read_items(npy, npy->input->bytes + npy->at, n, ret_slice->values);

    npy->at += n * npy->item_size;
    npy->next_item += n;
    if (npy->next_item == line_length) {
        npy->next_item = 0;
        npy->next_line++;
    }
    return 1;
}
