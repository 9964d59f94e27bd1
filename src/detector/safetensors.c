#include "detector/safetensors.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS 4096

static size_t tensor_size(const struct tensor *tensor)
{
    return tensor->n_rows * (tensor->n_columns ? tensor->n_columns : 1) * sizeof(float);
}

char *safetensors_print_json(const json_t *json)
{
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(17);
    const size_t size = json_dumpb(json, NULL, 0, flags);
    AUTO_FREE char *text = size ? malloc(size + 1) : NULL;

    if (!text || json_dumpb(json, text, size, flags) != size)
        return NULL;
    text[size] = '\0';
    return TAKE(text);
}

int safetensors_write_header(json_t *metadata, const struct tensor *tensors, size_t n_tensors,
                             char **ret_header, size_t *ret_size)
{
    json_auto_t *header = json_pack("{s:O}", "__metadata__", metadata);
    size_t offset = 0;

    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *tensor = &tensors[i];
        const size_t end = offset + tensor_size(tensor);
        json_t *shape = tensor->n_columns ? json_pack("[I, I]", (json_int_t)tensor->n_rows,
                                                      (json_int_t)tensor->n_columns)
                                          : json_pack("[I]", (json_int_t)tensor->n_rows);

        if (json_object_set_new(header, tensor->name,
                                json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape,
                                          "data_offsets", (json_int_t)offset, (json_int_t)end)) < 0)
            return -ENOMEM;
        offset = end;
    }

    AUTO_FREE char *text = safetensors_print_json(header);
    if (!text)
        return -ENOMEM;
    const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    char *out = malloc(8 + padded);
    if (!out)
        return -ENOMEM;
    const uint64_t little = htole64(padded);
    memcpy(out, &little, 8);
    memcpy(out + 8, text, length); /* NOLINT(bugprone-not-null-terminated-result): blanks follow */
    memset(out + 8 + length, ' ', padded - length);
    *ret_header = out;
    *ret_size = 8 + padded;
    return 0;
}

static bool get_size(const json_t *array, size_t index, size_t *ret_value)
{
    const json_t *value = json_array_get(array, index);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_value = (size_t)json_integer_value(value);
    return true;
}

struct extent {
    const char *name;
    size_t begin, end;
};

static int read_extent(const char *file, const char *name, const json_t *entry, size_t tensors_size,
                       struct extent *ret_extent, struct error *reterr)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    size_t begin, end, bytes = sizeof(float), dimension;

    if (!dtype || strcmp(dtype, "F32") != 0)
        return error_set_at(reterr, -EINVAL, file, 0, "tensor %.64s is not of type F32", name);
    if (!json_is_array(shape) || json_array_size(offsets) != 2 || !get_size(offsets, 0, &begin) ||
        !get_size(offsets, 1, &end))
        return error_set_at(reterr, -EINVAL, file, 0, "tensor %.64s has no shape or no offsets",
                            name);
    for (size_t i = 0; i < json_array_size(shape); i++)
        if (!get_size(shape, i, &dimension) || __builtin_mul_overflow(bytes, dimension, &bytes))
            return error_set_at(reterr, -EINVAL, file, 0, "tensor %.64s has an impossible shape",
                                name);
    if (begin > end || end > tensors_size || end - begin != bytes)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "tensor %.64s has offsets %zu to %zu, which do not fit its shape or "
                            "the file (%zu bytes of tensors); the file is damaged or cut",
                            name, begin, end, tensors_size);
    *ret_extent = (struct extent){name, begin, end};
    return 0;
}

static int by_begin(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin)
                                : (x->end > y->end) - (x->end < y->end);
}

static int check_tensors(const char *file, json_t *header, size_t tensors_size,
                         struct error *reterr)
{
    const size_t n_entries = json_object_size(header);
    if (n_entries > MAX_TENSORS)
        return error_set_at(reterr, -EINVAL, file, 0, "has more than %d tensors", MAX_TENSORS);
    AUTO_FREE struct extent *extents = calloc(n_entries, sizeof(*extents));
    if (!extents)
        return error_set_errno(reterr, -ENOMEM, file, "read");

    const char *name;
    json_t *entry;
    size_t n = 0;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        int r = read_extent(file, name, entry, tensors_size, &extents[n++], reterr);
        if (r < 0)
            return r;
    }

    qsort(extents, n, sizeof(*extents), by_begin);
    size_t end = 0;
    for (size_t i = 0; i < n; i++) {
        if (extents[i].begin != end)
            return error_set_at(reterr, -EINVAL, file, 0,
                                "tensor %.64s overlaps another one or leaves a gap",
                                extents[i].name);
        end = extents[i].end;
    }
    if (end != tensors_size)
        return error_set_at(reterr, -EINVAL, file, 0, "%zu bytes behind the last tensor",
                            tensors_size - end);
    return 0;
}

static int check_metadata(const char *file, const json_t *header, struct error *reterr)
{
    json_t *metadata = json_object_get(header, "__metadata__");
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return error_set_at(reterr, -EINVAL, file, 0,
                            "has no __metadata__; is it a model file of anomalyctl train?");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return error_set_at(reterr, -EINVAL, file, 0, "__metadata__ %.64s is not a string",
                                key);
    }
    return 0;
}

int safetensors_split(const char *name, const char *data, size_t size,
                      struct safetensors *ret_parts, struct error *reterr)
{
    uint64_t length = 0;

    if (size < sizeof(length))
        return error_set_at(reterr, -EINVAL, name, 0, "is too short for a model file (%zu bytes)",
                            size);
    memcpy(&length, data, sizeof(length));
    length = le64toh(length);
    if (length > size - sizeof(length) || length > SAFETENSORS_MAX_HEADER)
        return error_set_at(reterr, -EINVAL, name, 0,
                            "is not a safetensors file, or is cut: its header would have %" PRIu64
                            " bytes, the file has %zu",
                            length, size);
    *ret_parts = (struct safetensors){
        .header = data + sizeof(length),
        .header_size = (size_t)length,
        .tensors = data + sizeof(length) + length,
        .tensors_size = size - sizeof(length) - (size_t)length,
    };
    return 0;
}

int safetensors_parse(const char *name, const struct safetensors *parts, json_t **ret_header,
                      struct error *reterr)
{
    json_error_t problem;
    json_auto_t *header =
        json_loadb(parts->header, parts->header_size, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(header))
        return error_set_at(reterr, -EINVAL, name, 0, "has a broken header: %s",
                            header ? "not an object" : problem.text);

    int r = check_metadata(name, header, reterr);
    if (r == 0)
        r = check_tensors(name, header, parts->tensors_size, reterr);
    if (r == 0)
        *ret_header = TAKE(header);
    return r;
}

int safetensors_find(const char *file, const json_t *header, const char *name, size_t n_rows,
                     size_t n_columns, size_t *ret_offset, struct error *reterr)
{
    const json_t *entry = json_object_get(header, name);
    const json_t *shape = json_object_get(entry, "shape");
    size_t rows = 0, columns = 0;

    if (!entry)
        return error_set_at(reterr, -EINVAL, file, 0, "has no tensor %s", name);
    const bool fits = json_array_size(shape) == (n_columns ? 2 : 1) && get_size(shape, 0, &rows) &&
                      (n_columns == 0 || get_size(shape, 1, &columns)) && rows == n_rows &&
                      columns == n_columns;
    if (!fits)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "tensor %s does not have the shape that the architecture wants", name);
    const bool found = get_size(json_object_get(entry, "data_offsets"), 0, ret_offset);
    assert(found); /* safetensors_parse() saw to it */
    (void)found;
    return 0;
}
