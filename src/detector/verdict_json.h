/* verdict_json - a verdict in words, as the API and `anomalyctl score` give it: one writer, so that
 * both say the same. */
#pragma once

#include "base/text.h"

#include <stddef.h>

struct contribution;
struct explained;
struct verdict;
struct vocabulary;

/* The members "reconstruction_error" to "contributions" and what belongs to these, without braces.
 * threshold NULL: it is left out (a batch says it once). "event" appears if it has one, "imputed"
 * if something was missing; explained NULL: nothing is explained, else n_shown contributions are
 * there, "summary" (detector/summary.h) of an anomaly, and what else was found. */
void verdict_json_append(struct text *text, const struct vocabulary *vocabulary,
                         const struct verdict *verdict, const double *threshold, const float *row,
                         const struct explained *explained, size_t n_shown);

/* The member "set_aside" behind these, for a verdict with features set aside that has been
 * explained (by the rules), whether or not that is shown. */
void verdict_json_set_aside(struct text *text, const struct vocabulary *vocabulary,
                            const struct explained *explained);

/* [{"feature":…},…] of contributions[n]. */
void verdict_json_contributions(struct text *text, const struct vocabulary *vocabulary,
                                const struct contribution *contributions, size_t n);
