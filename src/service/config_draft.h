/* config_draft - a configuration while its files are read: what stands where. Shared by config.c,
 * which reads, and config_check.c, which looks at the whole. */
#pragma once

#include "data/name_index.h"
#include "service/config.h"
#include "service/config_option.h"

struct place {
    const char *file; /* NULL: nowhere */
    size_t line;
};

struct draft_model {
    struct config_model model;
    struct place head;
    struct place seen[CONFIG_MAX_OPTIONS];
};

struct draft {
    struct config *config;
    struct config_option options[CONFIG_MAX_OPTIONS];
    size_t n_options;
    struct place seen[CONFIG_MAX_OPTIONS];
    struct draft_model *models; /* [n_models] in the order of the files, but [model *] first */
    size_t n_models;
    char **names; /* [n_models] theirs, for: */
    struct name_index index;
    struct text *errors;

    /* Where we are reading. */
    const char *file;
    const char *folder;
    bool in_section; /* false: an unknown one, its keys are passed over */
    enum config_scope scope;
    size_t model; /* the index, in SCOPE_MODEL */
};

/* Adds "FILE:LINE: …" to the errors. */
void config_complain(struct draft *draft, struct place place, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Finds what no single line shows, and gives the values that depend on others. 0 or -ENOMEM. */
MUST_CHECK int config_check(struct draft *draft);
