/* prepare_spec - how the features of a model were asked to be prepared, by name: what people write
 * as `bytes=rate,latency=log1p,state=onehot`.
 *
 * Plain data. Bound to the features there are by preparation_new() (data/preparation.h). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define PREPARE_MAX_CONTEXT    64
#define PREPARE_MAX_CATEGORIES 100    /* of one feature: more are no states but an id */
#define PREPARE_MAX_GAP        3600.0 /* seconds, unless said */

enum preparing {
    PREPARE_RAW,
    PREPARE_LOG1P, /* log(1 + value), for what is never below 0 and spans orders of magnitude */
    PREPARE_RATE,  /* a counter's increase per second; resets and wraps are seen through */
    PREPARE_DELTA, /* the difference to the row before */
    PREPARE_ONEHOT,
    PREPARE_HOUR,   /* "hour-of-day": sine and cosine of the row's time on the wall */
    PREPARE_WEEKDAY /* "day-of-week": of the day, Monday 0 */
};
#define N_PREPARING (PREPARE_WEEKDAY + 1)

const char *preparing_name(enum preparing how); /* "hour-of-day" */

/* Whether it is made from the row's time and not from a value. */
bool preparing_is_of_time(enum preparing how);

struct prepare_item {
    char *name;
    enum preparing how;
    char **categories; /* [n_categories] of a PREPARE_ONEHOT; none: those of the training rows */
    size_t n_categories;
};

/* Start with prepare_spec_init(). */
struct prepare_spec {
    struct prepare_item *items; /* [n_items], names distinct; what is not named is raw */
    size_t n_items;
    size_t context; /* rows of a series that the model sees at once, the newest included; 1 */
    double max_gap; /* seconds without a row after which a series begins afresh; 0: never */
    char *zone;     /* for times of day; NULL: UTC */
    unsigned references;
};

void prepare_spec_init(struct prepare_spec *spec);
void prepare_spec_clear(struct prepare_spec *spec);

/* Sets the items to what text says: F=KIND or F=onehot:A|B, separated by commas or line ends. A
 * kind made from the time has a name of its own, or `timestamp`: then it is called as the kind.
 * -EINVAL: reterr goes on from the text, "names \"x\" twice"; -ENOMEM. */
MUST_CHECK int prepare_spec_parse(struct prepare_spec *spec, const char *text,
                                  struct error *reterr);
MUST_CHECK int prepare_spec_add(struct prepare_spec *spec, const char *name, size_t length,
                                enum preparing how, struct error *reterr);
/* text as of prepare_category_text(), or not yet. */
MUST_CHECK int prepare_spec_add_category(struct prepare_item *item, const char *text, size_t length,
                                         struct error *reterr);

/* A category as it is compared: 200, 200.0 and 2e2 are one, written as the first. Returns text, or
 * ret_room if text is a number that is written in another way; *length is adapted. */
#define PREPARE_NUMBER_SIZE 40
const char *prepare_category_text(char ret_room[PREPARE_NUMBER_SIZE], const char *text,
                                  size_t *length);
size_t prepare_number_text(char ret_text[PREPARE_NUMBER_SIZE], double number); /* its length */

/* Whether text stands for a value that is missing, in cells and where a category is expected: "",
 * nan, null or NA, in any case. */
bool prepare_is_missing(const char *text, size_t length);

/* What is said of it on a command line and in the configuration. */
struct prepare_setting {
    const char *name; /* "max-gap"; with _ for - it is the key of a model */
    const char *argument, *help;
    int (*set)(struct prepare_spec *spec, const char *text, struct error *reterr);
};
#define N_PREPARE_SETTINGS 4
extern const struct prepare_setting prepare_settings[N_PREPARE_SETTINGS];

/* False: no such name among the kinds. */
bool preparing_find(const char *name, size_t length, enum preparing *ret_how);

/* NULL: there is none of this name. */
struct prepare_item *prepare_spec_find(const struct prepare_spec *spec, const char *name);

/* One that is shared by counting references, once it does not change any more; NULL stays NULL. */
MUST_CHECK int prepare_spec_new(struct prepare_spec **ret_spec);
struct prepare_spec *prepare_spec_share(struct prepare_spec *spec);
void prepare_spec_free(struct prepare_spec *spec);

/* Whether it leaves all as it is. */
bool prepare_spec_is_plain(const struct prepare_spec *spec);

/* Whether what it makes of a row depends on the rows before, so that max_gap counts, and on the
 * time of day, so that the zone does. */
bool prepare_spec_looks_back(const struct prepare_spec *spec);
bool prepare_spec_has_clock(const struct prepare_spec *spec);
