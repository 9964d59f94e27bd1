#include "anomalyctl/online.h"

#include "anomalyctl/commands.h"
#include "anomalyctl/output.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define MAX_MODEL_NAME 64

bool online_is_model_name(const char *name)
{
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && (at == name || !strchr("_-", *at)))
            return false;
    return *name && strlen(name) <= MAX_MODEL_NAME;
}

int online_check_model(const char *command, const char *model)
{
    if (online_is_model_name(model))
        return EXIT_DONE;
    (void)report_failure("%s: %s: is no name of a model; see anomalyctl models", command,
                         *model ? model : "\"\"");
    return EXIT_USAGE;
}

int online_connect(const struct online_options *options, struct client **ret_client)
{
    struct error err = {0};

    int r = client_new(options->url, ret_client, &err);
    if (r == 0)
        return EXIT_DONE;
    (void)report_error(&err);
    return r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int online_print_reply(const struct client *client)
{
    CLEANUP(text_clear) struct text text = {0};

    text_printf(&text, "%s\n", client_reply(client));
    return output_text(&text);
}
