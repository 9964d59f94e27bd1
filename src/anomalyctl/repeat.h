/* repeat - the rows around an incident judged again, and whether each says the same bit for bit.
 *
 * They are judged here, by the model files of the versions that judged them: the daemon of a file
 * or a file of one's own. So nothing is learned from them, counted or told, and it does not matter
 * which version answers now. */
#pragma once

#include <stdbool.h>

struct repeat_options {
    const char *incident; /* an export, - for standard input */
    const char *model;    /* a model of the daemon, or a file; NULL: the export names the model */
    const char *url;
    bool json;
};

/* Returns the exit status: EXIT_FAILED too where a row says something else. */
int repeat_incident(const struct repeat_options *options);
