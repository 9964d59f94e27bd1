/* sent_rows - rows of a file as the daemon wants them: what its model is sent, and how a row is
 * written in a request. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct dataset;
struct preparation;
struct schema;
struct text;

/* What a model is sent. Zeroed: nobody knows. Release with sent_inputs_clear(). */
struct sent_inputs {
    struct schema *values;           /* NULL: it has no version yet */
    struct preparation *preparation; /* NULL: rows are judged as they come */
};
void sent_inputs_clear(struct sent_inputs *inputs);

/* From the answer to GET /v1/models/NAME; 0 with nothing in it where that tells no features.
 * -EPROTO: it tells them in a way that cannot be; -ENOMEM. */
MUST_CHECK int sent_inputs_read(const json_t *model, const char *name,
                                struct sent_inputs *ret_inputs, struct error *reterr);

/* Appends a row of a dataset that was read with the inputs' preparation and has not been prepared:
 * [0.1, …]; {"cpu":0.1, …} if is_named, or where values are prepared, with "timestamp" if the file
 * has one. */
void sent_row_append(const struct dataset *dataset, size_t row,
                     const struct preparation *preparation, bool is_named, struct text *body);
