/* The header is a Python literal, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, read
 * here as a small grammar of its own: no escapes, no nesting. */
#include "data/npy.h"

#include "base/number.h"
#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAGIC          "\x93NUMPY"
#define MAGIC_LENGTH   6
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

/* Finds the header; items begin behind it. */
static int find_header(const char *file, const char *bytes, size_t size, struct word *ret_header,
                       struct error *reterr)
{
    const unsigned char *u = (const unsigned char *)bytes;
    assert(npy_is(bytes, size));

    if (size < 12)
        return error_set_at(reterr, -EINVAL, file, 0, "the .npy file is cut off in its header");
    if (u[6] < 1 || u[6] > 3)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "format %u.%u of .npy is unknown; save it with numpy.save()", u[6],
                            u[7]);
    const size_t begin = u[6] == 1 ? 10 : 12;
    size_t length = u[8] | (size_t)u[9] << 8;
    if (u[6] > 1)
        length |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
    if (length > size - begin)
        return error_set_at(reterr, -EINVAL, file, 0, "the .npy file is cut off in its header");
    *ret_header = (struct word){bytes + begin, length};
    return 0;
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

static int check_shape(const char *file, const struct header *header, size_t n_bytes,
                       struct npy *npy, struct error *reterr)
{
    uint64_t n_items, n_wanted;

    if (header->n_dimensions != 2)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "the array has %zu dimensions, not 2 (rows, features); for one feature "
                            "save array.reshape(-1, 1)",
                            header->n_dimensions);
    if (header->shape[0] == 0)
        return error_set_at(reterr, -EINVAL, file, 0, "no rows");
    if (header->shape[1] == 0)
        return error_set_at(reterr, -EINVAL, file, 0, "no columns");
    if (__builtin_mul_overflow(header->shape[0], header->shape[1], &n_items) ||
        __builtin_mul_overflow(n_items, npy->item_size, &n_wanted))
        return error_set_at(reterr, -EINVAL, file, 0, "the shape in the header is impossible");
    if (n_wanted > n_bytes)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "cut off: the header says %llu bytes of values, there are %zu",
                            (unsigned long long)n_wanted, n_bytes);
    if (n_wanted < n_bytes)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "%llu bytes too many behind the array; save one array a file",
                            (unsigned long long)(n_bytes - n_wanted));
    npy->n_rows = (size_t)header->shape[0];
    npy->n_columns = (size_t)header->shape[1];
    return 0;
}

int npy_open(const char *file, const char *bytes, size_t size, struct npy *ret_npy,
             struct error *reterr)
{
    struct header header = {0};
    struct word text = {0};
    struct npy npy = {0};

    int r = find_header(file, bytes, size, &text, reterr);
    if (r < 0)
        return r;
    if (!read_header(text, &header))
        return error_set_at(reterr, -EINVAL, file, 0,
                            "the header of the .npy file is damaged; save it with numpy.save()");
    npy.items = text.text + text.length;
    npy.is_fortran = header.is_fortran;
    r = check_type(file, &header, &npy, reterr);
    if (r == 0)
        r = check_shape(file, &header, size - (size_t)(npy.items - bytes), &npy, reterr);
    if (r == 0)
        *ret_npy = npy;
    return r;
}

double npy_value(const struct npy *npy, size_t row, size_t column)
{
    assert(row < npy->n_rows && column < npy->n_columns);
    const size_t at = npy->is_fortran ? column * npy->n_rows + row : row * npy->n_columns + column;
    uint32_t bits32;
    uint64_t bits64;
    float single;
    double value;

    if (npy->item_size == sizeof(single)) { /* items need not be aligned */
        memcpy(&bits32, npy->items + at * sizeof(bits32), sizeof(bits32));
        bits32 = npy->is_swapped ? __builtin_bswap32(bits32) : bits32;
        memcpy(&single, &bits32, sizeof(single));
        return (double)single;
    }
    memcpy(&bits64, npy->items + at * sizeof(bits64), sizeof(bits64));
    bits64 = npy->is_swapped ? __builtin_bswap64(bits64) : bits64;
    memcpy(&value, &bits64, sizeof(value));
    return value;
}
