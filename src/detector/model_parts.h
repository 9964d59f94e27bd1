/* model_parts - the two halves of detector/model_file.h: a detector as header and tensors, and
 * back. docs/model-file.md says what stands where. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

struct detector;
struct model_errors;
struct network;
struct recipe_field;
struct safetensors;

#define MODEL_NAME_SIZE 64 /* of a tensor's name */

/* PyTorch's names: in an nn.Sequential of Linear and activation in turn, Linear i is number 2 i.
 * what is "weight" or "bias". */
void model_layer_name(char ret_name[MODEL_NAME_SIZE], size_t which, const struct network *network,
                      size_t layer, const char *what);
/* networks.1.residual.mean */
void model_residual_name(char ret_name[MODEL_NAME_SIZE], size_t which, const char *what);

/* A field's key in the detector document: "learning_rate". */
void model_option_key(char ret_key[MODEL_NAME_SIZE], const struct recipe_field *field);

/* The file's two parts; the caller frees both. -ENOMEM. */
MUST_CHECK int model_write(const struct detector *detector, char **ret_header,
                           size_t *ret_header_size, float **ret_tensors, size_t *ret_n_floats);

/* From a checked header, what was cut out of it, and the tensors; name stands in messages. -EINVAL
 * with the reason; -ENOMEM. */
MUST_CHECK int model_read(const char *name, const json_t *header, const struct safetensors *parts,
                          const struct model_errors *errors, struct detector **ret_detector,
                          struct error *reterr);
