/* diff - two versions of a model, as `anomalyctl diff` has got them from the daemon. */
#pragma once

#include "anomalyctl/difference.h"

#include <stddef.h>

#include <jansson.h>

struct detector;
struct text;

struct diff_side {
    unsigned version;
    json_t *listed; /* its line of …/versions, of the diff's */
    json_t *run;    /* that made it; NULL: it was not trained here */
    struct detector *detector;
    double threshold; /* at the diff's false-alarm rate */
    const char *threshold_basis;
};

struct diff {
    const char *model;
    double false_alarm_rate; /* in force now */
    json_t *versions;        /* what …/versions said */
    struct diff_side a, b;
    struct difference difference;
};

/* For people, and for programs (NULL: no memory). */
void diff_print(const struct diff *diff, struct text *text);
json_t *diff_json(const struct diff *diff);
