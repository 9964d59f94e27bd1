/* judge - the verdict of a row, with what a person says does not matter set aside.
 *
 * Only rows that would be flagged are looked at twice, so that all others cost nothing more.
 * Inputs (detector/vocabulary.h) that deviate from what was expected in a way that does not matter
 * (detector/relevance.h) are put back to that and the row is scored again; it keeps the lower of
 * the two scores, and score > 1 stays the only rule. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct detector;
struct relevance_rule;
struct verdict;
struct workspace;

/* As detector_score(). rules[of inputs], NULL: every deviation matters. A verdict with inputs
 * set aside counts them in n_set_aside. */
MUST_CHECK int judge_rows(const struct detector *detector, const struct relevance_rule *rules,
                          struct workspace *workspace, const float *rows, size_t n_rows,
                          double threshold, struct verdict *ret_verdicts);

/* Which columns of row[n_features] are set aside, all of an input or none, and the row with these
 * put back; *ret_n: how many inputs. 0 or -ENOMEM.
 *
 * What deviates by at most two conditional deviations does not deviate. What is expected in place
 * of those that are set aside comes from the others alone: two that fall together, and of which
 * only the rise matters, would else vouch for each other. So does one that is set aside have to
 * stay so by what the others let expect: two that rise together beyond their tolerances come back.
 */
MUST_CHECK int judge_set_aside(const struct detector *detector, const struct relevance_rule *rules,
                               struct workspace *workspace, const float *row, bool *ret_is_aside,
                               float *ret_row, size_t *ret_n);
