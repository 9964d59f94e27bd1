/* relevance - which deviations matter to a person, feature by feature: only those above or below
 * what was expected, and only from some size on.
 *
 * Kept by name: the order of features may change from version to version. Names, values and sizes
 * are those of inputs, as people send and read them (detector/vocabulary.h). Two parts, directions
 * and tolerances, that override each other on their own. Rows are judged by the rules of
 * relevance_bind() (detector/judge.h). Does not change once it is shared; any thread may share and
 * release it. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct json_t;
struct text;
struct vocabulary;

enum relevance_direction {
    RELEVANCE_BOTH,
    RELEVANCE_ABOVE,
    RELEVANCE_BELOW
};

/* Of one input. All zero: every deviation matters. */
struct relevance_rule {
    enum relevance_direction direction;
    double tolerance; /* the smallest deviation that matters, 0 or above */
    bool is_relative; /* it is a share of the size of what was expected */
};

/* Whether the value deviates from what was expected in a way that matters; both in the units of the
 * rule. Nothing is known of a missing one (NaN): it does. */
bool relevance_matters(const struct relevance_rule *rule, double value, double expected);

enum relevance_part {
    RELEVANCE_DIRECTIONS,
    RELEVANCE_TOLERANCES,
    N_RELEVANCE_PARTS
};

/* One table for the command line and the configuration. */
struct relevance_option {
    const char *name;     /* "direction", "tolerance" */
    const char *argument; /* for --help */
    const char *help;
};
extern const struct relevance_option relevance_options[N_RELEVANCE_PARTS];

struct relevance;

struct relevance *relevance_share(struct relevance *relevance); /* NULL: NULL */
void relevance_release(struct relevance *relevance);            /* the last one frees it */
DEFINE_CLEANUP(struct relevance *, relevance_release)

/* Replaces a part of one that is not shared yet, or begins one (NULL): "cpu=above,memory=below",
 * "cpu=5,memory=10%" (data/feature_list.h), or "none"; blanks and line ends do no harm. -EINVAL:
 * reterr says what it must be; -ENOMEM. */
MUST_CHECK int relevance_read(struct relevance **relevance, enum relevance_part part,
                              const char *text, struct error *reterr);

/* The parts that over gives, the others of base; either may be NULL. *ret_relevance NULL: neither
 * says anything. 0 or -ENOMEM. */
MUST_CHECK int relevance_override(struct relevance *base, struct relevance *over,
                                  struct relevance **ret_relevance);

/* Whether they say the same, in the same order; either may be NULL. */
bool relevance_is_same(const struct relevance *a, const struct relevance *b);

/* Whether a part was given, be it as "none". */
bool relevance_has(const struct relevance *relevance, enum relevance_part part);
/* Appends a part that was given, as relevance_read() takes it. */
void relevance_print(const struct relevance *relevance, enum relevance_part part,
                     struct text *text);

/* In model files: {"direction": {"cpu": "above"}, "tolerance": {"memory": "10%"}}. NULL: no memory.
 * -EINVAL: that is not one. */
struct json_t *relevance_to_json(const struct relevance *relevance);
MUST_CHECK int relevance_from_json(const struct json_t *document, struct relevance **ret_relevance);

/* -EINVAL: it names an input that is not there, or that has no more and less (a category, a time of
 * day), in *ret_part (NULL: nobody asks). relevance may be NULL. */
MUST_CHECK int relevance_check(const struct relevance *relevance,
                               const struct vocabulary *vocabulary, enum relevance_part *ret_part,
                               struct error *reterr);

/* ret_rules[of inputs], for free(); NULL: every deviation of every input matters. -EINVAL as
 * relevance_check(); -ENOMEM. */
MUST_CHECK int relevance_bind(const struct relevance *relevance,
                              const struct vocabulary *vocabulary,
                              struct relevance_rule **ret_rules, struct error *reterr);
