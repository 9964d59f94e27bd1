/* model_reader - what the parts of model_read() (detector/model_parts.h) share: the file being
 * read, and how to take values out of it.
 *
 * Each part checks itself against what came before. Format 1 knew one classic network: what it
 * lacks is left at its default. Functions that read give 0; -EINVAL with the reason in reterr,
 * which is not NULL; -ENOMEM. */
#pragma once

#include "base/cleanup.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct ensemble;
struct error;
struct model_errors;
struct training_summary;

struct model_reader {
    const char *file;
    const json_t *header, *document;   /* of the file; the detector document in it */
    const struct model_errors *errors; /* that were cut out of it */
    const char *tensors;
    size_t tensors_size, n_features;
    uint64_t version;
    struct error *reterr;
};

/* Returns -EINVAL: "FILE: detector document: what". */
int model_damaged(const struct model_reader *reader, const char *what);

/* A key of a section of the document, or NULL. */
const json_t *model_find(const struct model_reader *reader, const char *section, const char *key);

/* A whole number from least to most, or -1. */
json_int_t model_count(const json_t *value, json_int_t least, json_int_t most);

/* NaN: it is no number. */
double model_real(const json_t *object, const char *key);

/* n_columns 0: a vector. ret_values points into the file's block, which is aligned to floats
 * (detector/model_file.c); the numbers are not checked. */
MUST_CHECK int model_read_tensor(const struct model_reader *reader, const char *name, size_t n_rows,
                                 size_t n_columns, const float **ret_values);

/* The networks and their residuals; the ensemble has its encoding. */
MUST_CHECK int model_read_networks(const struct model_reader *reader, struct ensemble *ensemble);

/* The recipe, and what came of it. */
MUST_CHECK int model_read_training(const struct model_reader *reader, size_t n_networks,
                                   struct training_summary *ret_summary);
