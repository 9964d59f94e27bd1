/* config_option - the table of all configuration keys: where each stands, how its value is read,
 * its default and its help. A new key is a field of struct config or config_model and one row; the
 * training options are rows by themselves, one for each of recipe_fields. conf/anomalyd.conf and
 * `anomalyd --help` are checked against it. Used by config.c and config_check.c. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_OPTIONS 96

struct recipe_field;

enum config_scope { /* the kind of section, and the struct that the field is in */
    SCOPE_SERVER,   /* struct config */
    SCOPE_STORAGE,  /* struct config */
    SCOPE_MODELS,   /* struct config */
    SCOPE_MODEL,    /* struct config_model */
    N_CONFIG_SCOPES,
};

struct config_value {
    const struct config_option *option;
    const char *text;
    const char *folder; /* of the file that it stands in */
};

struct config_option {
    enum config_scope scope;
    const char *initial; /* the default as a person would write it; NULL: none */
    const char *example; /* shown where there is no default; of a training option its form */
    const char *help;    /* lines separated by \n, as sentences */

    /* Reads the value into the field, which keeps what it had on failure. -EINVAL: reterr goes on
     * from the value: "is …" and what is valid; -ENOMEM. */
    int (*read)(const struct config_value *value, void *field, struct error *reterr);
    size_t offset;     /* of the field in its struct */
    uint64_t min, max; /* for numbers */
    const char *zero;  /* the word for 0 ("never"), which min does not forbid then; NULL: none */
    const struct recipe_field *training; /* NULL: it is no training option */
    char key[24];
};

/* All keys, section by section; their number. */
size_t config_option_list(struct config_option ret_options[CONFIG_MAX_OPTIONS]);

/* "server", "storage", "models", "model" */
const char *config_scope_name(enum config_scope scope);
