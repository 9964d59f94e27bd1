/* whole - what the other inputs let expect of one that several columns stand for: a category or a
 * time.
 *
 * No column of it can be told alone: its siblings, in the rows behind too, say what it is. So all
 * of them are taken away at once. With M these columns, P and the rest as in detector/explanation.h
 * their mean given all other values is, exactly,
 *     y_M - inverse(P_MM) (P y)_M
 * and what is expected is the nearest value that there is. inverse(P_MM), which costs most, is made
 * once, and P y is there from finding the faults of the row. Immutable; safe to share between
 * threads. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct explanation;
struct preparation;
struct scaler;
struct wholes;

/* All such inputs of a model. The explanation has a P; it and the preparation outlive the wholes.
 * 0 or -ENOMEM. */
MUST_CHECK int wholes_new(const struct preparation *preparation,
                          const struct explanation *explanation, struct wholes **ret_wholes);
void wholes_free(struct wholes *wholes);
DEFINE_CLEANUP(struct wholes *, wholes_free)

/* ret_expected[n_features] at the columns of these inputs, in the units of a row, of
 * z[n_features] with freed[2][n_features] from explanation_freed(). room[2][n_features]. */
void wholes_expect(const struct wholes *wholes, const struct scaler *scaler, const float *z,
                   const float *freed, float *room, float *ret_expected);
