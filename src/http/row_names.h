/* row_names - what the first rows for a model that learns from nothing call their features.
 *
 * Only the first row is read, by the cursor of data/json_text.h: a tree of the whole body would
 * take many times its size. Whoever uses the names reads the body again, with them as the schema,
 * and finds there what is wrong with it. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct schema;
struct error;

/* The names of the first row in body[size] (any form that data/json_rows.h takes) in their order,
 * but for its "timestamp"; f0, f1, … for a row without names. -ENODATA: there is no row with a
 * value, or no JSON. -EINVAL: reterr says why they are no names of features. -ENOMEM. */
MUST_CHECK int row_names_read(const char *body, size_t size, struct schema **ret_schema,
                              struct error *reterr);
