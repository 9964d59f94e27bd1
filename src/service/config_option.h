/* config_option - the table of all configuration keys: where each stands, how its value is read,
 * its default and its help. A new key is a field of struct config or config_model and one row.
 * conf/anomalyd.conf and `anomalyd --help` are checked against it. Used by config.c. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum config_scope { /* the kind of section, and the struct that the field is in */
    SCOPE_SERVER,   /* struct config */
    SCOPE_STORAGE,  /* struct config */
    SCOPE_MODEL,    /* struct config_model */
    N_CONFIG_SCOPES,
};

struct config_option {
    enum config_scope scope;
    const char *key;
    const char *initial; /* the default as a person would write it; NULL: none */
    const char *example; /* shown where there is no default */
    const char *help;    /* lines separated by \n, as sentences */

    /* Reads value into the field, which keeps what it had on failure. folder is that of the file
     * the value stands in. -EINVAL: reterr says "is …" and what is valid; -ENOMEM. */
    int (*read)(const struct config_option *option, const char *value, const char *folder,
                void *field, struct error *reterr);
    size_t offset;     /* of the field in its struct */
    uint64_t min, max; /* for numbers */
};

#define N_CONFIG_OPTIONS 10

extern const struct config_option config_options[N_CONFIG_OPTIONS];

/* "server", "storage", "model" */
const char *config_scope_name(enum config_scope scope);
