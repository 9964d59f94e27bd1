/* preparation_json - how the inputs of a model are prepared, as its model file keeps it and a
 * training is told it (docs/model-file.md). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <jansson.h>

struct preparation;

/* NULL: no memory. */
json_t *preparation_to_json(const struct preparation *preparation);

/* -EINVAL: reterr says what is wrong with "preparation"; -ENOMEM. */
MUST_CHECK int preparation_from_json(const json_t *document, struct preparation **ret_preparation,
                                     struct error *reterr);
