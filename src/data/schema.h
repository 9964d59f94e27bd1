/* schema - the ordered names of a row's features.
 *
 * Never changes after schema_new(); safe to share between threads. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define SCHEMA_MAX_FEATURES    4096
#define SCHEMA_MAX_NAME_LENGTH 255

struct schema;

/* Why name[length] cannot name a feature ("the name is empty"); NULL: it can. */
const char *schema_check_name(const char *name, size_t length);

/* Copies names[n_features]. -EINVAL with the reason: none or more than SCHEMA_MAX_FEATURES, a name
 * that is empty, too long, not UTF-8, holds a control character, or stands there twice. -ENOMEM. */
MUST_CHECK int schema_new(const char *const *names, size_t n_features, struct schema **ret_schema,
                          struct error *reterr);
void schema_free(struct schema *schema);
DEFINE_CLEANUP(struct schema *, schema_free)

size_t schema_n_features(const struct schema *schema);
const char *schema_name(const struct schema *schema, size_t feature);
const char *const *schema_names(const struct schema *schema); /* [n_features] */

/* False: no feature has this name. name[length] needs no NUL. Constant time (hash table). */
bool schema_find(const struct schema *schema, const char *name, size_t length, size_t *ret_feature);

/* Whether text[size] begins with the name of the feature in quotation marks, as JSON writes it
 * without escapes: its length with the marks, or 0. Cheaper than to look it up. */
size_t schema_begins_with(const struct schema *schema, size_t feature, const char *text,
                          size_t size);

/* Whether both have the same names in the same order. */
bool schema_equals(const struct schema *a, const struct schema *b);

/* The feature whose name looks most like name, for "did you mean"; NULL if none is near. */
const char *schema_nearest(const struct schema *schema, const char *name, size_t length);
