/* config - the configuration files: /etc/anomalyd/anomalyd.conf and conf.d/(*.conf) beside it.
 *
 * One table in config_option.c holds every section and key with its default and help;
 * conf/anomalyd.conf and `anomalyd --help` are checked against it. A config never changes once
 * loaded. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_LISTEN 16 /* addresses, or sockets of socket activation */

struct config_model {
    char *name;
    char *file;              /* absolute, or relative to the folder of the file that names it:
                              * resolved here */
    double false_alarm_rate; /* 0: what the model file was trained for */
    bool reject_missing;     /* missing = reject: any missing value is a 422 */
};

struct config {
    char **listen; /* [n_listen] "127.0.0.1:8817", "[::1]:8817", "unix:/run/anomalyd/http.sock" */
    size_t n_listen;
    unsigned threads; /* HTTP workers; `auto` is resolved to the number of usable cores */
    size_t max_body;  /* bytes */
    unsigned max_connections;
    uint64_t request_timeout_us;
    char *storage_directory;     /* NULL unless given */
    struct config_model *models; /* [n_models] sorted by name */
    size_t n_models;
};

/* Reads path (NULL: SYSCONFDIR "/anomalyd/anomalyd.conf") and the conf.d beside it, in the order
 * of their names; a later file adds to the earlier ones, a key given twice in one section of one
 * file is an error. All errors are collected in ret_errors, one line each, "FILE:LINE: …" with the
 * nearest valid key where one is misspelt. -EINVAL: ret_errors has lines; -ENOMEM. */
MUST_CHECK int config_load(const char *path, struct config **ret_config, struct text *ret_errors);
void config_free(struct config *config);
DEFINE_CLEANUP(struct config *, config_free)

/* The sections and keys with defaults and help, as lines for `anomalyd --help`. */
void config_describe(struct text *text);
