/* model_list - all models that answer, at once, and what people are told of each. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"

#include <stddef.h>

struct live;
struct live_model;

struct model_list {
    struct live *live;
    struct live_model **models; /* [n_models], a reference to each */
    size_t n_models;
};

/* -ENOMEM. */
MUST_CHECK int model_list_get(struct live *live, struct model_list *ret_list);
void model_list_clear(struct model_list *list);

/* A line without its end: version, features, threshold. */
void model_list_describe(const struct live_model *model, struct text *text);
/* The same for a threshold that is not conformal: what is not promised. */
void model_list_describe_doubt(const struct live_model *model, struct text *text);
/* One line of the log for each model. */
void model_list_log(struct live *live);
