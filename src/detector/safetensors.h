/* safetensors - the container of a model file: a JSON header and a block of tensors.
 *
 *     u64      length of the header, little-endian
 *     header   {"__metadata__": {string: string},
 *               NAME: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
 *     tensors  floats, little-endian, without gaps, in the order of their offsets
 *
 * Format: github.com/huggingface/safetensors. Only F32 is written and read. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

#define SAFETENSORS_MAX_HEADER ((size_t)100 << 20) /* as the reference implementation */

/* One tensor of one or two dimensions; n_columns 0: one. */
struct tensor {
    char name[64];
    size_t n_rows, n_columns;
    const float *values; /* [n_rows][n_columns] or [n_rows] */
};

/* An object or array as text, to be freed; NULL: no memory. Not json_dumps(): of jansson 2.14 it
 * leaves keys out when it cannot get memory while it writes. */
char *safetensors_print_json(const json_t *json);

/* Header and tensors[n_tensors] as they stand in the file; metadata maps strings to strings. The
 * header is padded so that the tensors are aligned to 8 bytes. */
MUST_CHECK int safetensors_write_header(json_t *metadata, const struct tensor *tensors,
                                        size_t n_tensors, char **ret_header, size_t *ret_size);

/* The two parts of a file, which point into its data. */
struct safetensors {
    const char *header; /* JSON */
    size_t header_size;
    const char *tensors;
    size_t tensors_size;
};

/* Finds the parts of data[size]. name stands in messages. -EINVAL with the reason. */
MUST_CHECK int safetensors_split(const char *name, const char *data, size_t size,
                                 struct safetensors *ret_parts, struct error *reterr);

/* Reads the header and checks it as a whole: dtypes, shapes, offsets that neither overlap nor leave
 * gaps. On success the caller owns *ret_header. -EINVAL with the reason; -ENOMEM. */
MUST_CHECK int safetensors_parse(const char *name, const struct safetensors *parts,
                                 json_t **ret_header, struct error *reterr);

/* The bytes of the tensor called name, which must have that shape (n_columns 0: one dimension):
 * offset into the tensor block, in bytes. -EINVAL with the reason. header was checked before. */
MUST_CHECK int safetensors_find(const char *file, const json_t *header, const char *name,
                                size_t n_rows, size_t n_columns, size_t *ret_offset,
                                struct error *reterr);
