/* online - what the commands that talk to a running anomalyd share. */
#pragma once

#include "anomalyctl/client.h"
#include "anomalyctl/options.h"

#include <stdbool.h>

struct online_options {
    const char *url;
    bool json;
};

#define ONLINE_DEFAULTS           \
    {                             \
        .url = CLIENT_DEFAULT_URL \
    }

/* For a `struct settings` with a member `online`. */
#define ONLINE_ROWS                                          \
    OPTION_ROW("url", "URL", OPTION_TEXT, false, online.url, \
               "address of the daemon, also unix:PATH\n"     \
               "(" CLIENT_DEFAULT_URL ")"),                  \
        OPTION_ROW("json", NULL, OPTION_FLAG, false, online.json, "print JSON")

/* What may stand in a path, so that a name cannot ask for anything else. */
bool online_is_model_name(const char *name);

/* Exit statuses; stderr says what is wrong. The first: EXIT_USAGE unless model is such a name. */
int online_check_model(const char *command, const char *model);
int online_connect(const struct online_options *options, struct client **ret_client);

/* The client's last answer, as it came, on stdout. Returns the exit status. */
int online_print_reply(const struct client *client);
