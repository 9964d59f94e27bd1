#include "detector/model_reader.h"

#include "base/error.h"
#include "detector/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <math.h>

_Static_assert(BYTE_ORDER == LITTLE_ENDIAN, "tensors are used as they stand in the file");

int model_damaged(const struct model_reader *reader, const char *what)
{
    return error_set_at(reader->reterr, -EINVAL, reader->file, 0, "detector document: %s", what);
}

const json_t *model_find(const struct model_reader *reader, const char *section, const char *key)
{
    return json_object_get(json_object_get(reader->document, section), key);
}

json_int_t model_count(const json_t *value, json_int_t least, json_int_t most)
{
    const json_int_t count = json_integer_value(value);

    return json_is_integer(value) && count >= least && count <= most ? count : -1;
}

double model_real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

int model_read_tensor(const struct model_reader *reader, const char *name, size_t n_rows,
                      size_t n_columns, const float **ret_values)
{
    size_t offset = 0;
    int r = safetensors_find(reader->file, reader->header, name, n_rows, n_columns, &offset,
                             reader->reterr);
    if (r < 0)
        return r;
    *ret_values = (const float *)(const void *)(reader->tensors + offset);
    return 0;
}
