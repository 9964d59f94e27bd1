/* trainer_report - what a training in a child process says to its parent: one JSON object a line,
 * through a pipe. Lines are shorter than a pipe takes at once, so none comes in halves. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct text;

#define TRAINER_REPORT_SIZE 4096 /* of a line with its newline, at most */

/* The descriptors of the child. */
enum trainer_fd {
    TRAINER_FD_JOB = 3, /* service/training_job.h */
    TRAINER_FD_OUTPUT,  /* the candidate file */
    TRAINER_FD_REPORTS,
    TRAINER_FD_END
};

enum trainer_report_kind {
    TRAINER_REPORT_PROGRESS, /* the numbers */
    TRAINER_REPORT_WARNING,  /* text: for the log; it goes on */
    TRAINER_REPORT_ERROR,    /* text: why there will be no candidate */
    TRAINER_REPORT_DONE      /* the candidate is written and synced */
};

struct trainer_report {
    enum trainer_report_kind kind;
    double done; /* share of the work, 0 to 1 */
    size_t network, n_networks, epoch, epochs;
    double loss, validation_loss; /* NaN: none */
    char text[512];
};

/* Appends the line. */
void trainer_report_print(const struct trainer_report *report, struct text *text);

/* Reads line[length], without its newline. -EINVAL: it is not a report. */
MUST_CHECK int trainer_report_parse(const char *line, size_t length,
                                    struct trainer_report *ret_report);
