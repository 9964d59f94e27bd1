#include "service/trainer_process.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/trainer.h"
#include "service/confine.h"
#include "service/trainer_report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRESS_US (100 * US_PER_MS) /* between two reports of progress */

struct child {
    struct mapped_job mapped;
    struct text line; /* has room from the beginning, for there may be none at the end */
    uint64_t next_progress_us;
};

/* ---- reports ---- */

/* Progress that does not fit the pipe is left out; what matters waits until it does. */
static void set_patience(bool waits)
{
    const int flags = fcntl(TRAINER_FD_REPORTS, F_GETFL);

    (void)fcntl(TRAINER_FD_REPORTS, F_SETFL, waits ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static void say(struct child *child, const struct trainer_report *report)
{
    child->line.length = 0;
    trainer_report_print(report, &child->line);
    if (text_failed(&child->line))
        return;
    set_patience(report->kind != TRAINER_REPORT_PROGRESS);
    /* If nobody listens any more, SIGPIPE ends this process. */
    if (write(TRAINER_FD_REPORTS, child->line.data, child->line.length) < 0)
        return;
}

static void say_text(struct child *child, enum trainer_report_kind kind, const char *text)
{
    struct trainer_report report = {.kind = kind};

    (void)snprintf(report.text, sizeof(report.text), "%s", text);
    say(child, &report);
}

static bool say_progress(void *userdata, const struct trainer_progress *progress)
{
    struct child *child = userdata;
    const uint64_t now = clock_monotonic_us();

    if (now < child->next_progress_us)
        return true;
    child->next_progress_us = now + PROGRESS_US;
    say(child, &(struct trainer_report){
                   .kind = TRAINER_REPORT_PROGRESS,
                   .done = progress->done,
                   .network = progress->network,
                   .n_networks = progress->n_networks,
                   .epoch = progress->epoch,
                   .epochs = progress->epochs,
                   .loss = progress->loss,
                   .validation_loss = progress->validation_loss,
               });
    return true;
}

/* ---- the work ---- */

static int give_up_rights(struct child *child, struct error *reterr)
{
    const struct confinement confinement = {
        .parent = child->mapped.parent,
        .max_memory = child->mapped.job.max_memory,
        .max_cpu_s = child->mapped.job.max_cpu_s,
    };
    int r = confine_process(&confinement, reterr);

    if (r != -ENOSYS)
        return r;
    say_text(child, TRAINER_REPORT_WARNING, reterr->text);
    return 0;
}

/* Its weights are worth a try, no more: without them the training begins afresh. */
static struct detector *load_start(struct child *child)
{
    const char *path = child->mapped.job.start;
    struct detector *start = NULL;
    struct error error = {0};

    if (path && model_file_load(path, &start, &error) < 0)
        say_text(child, TRAINER_REPORT_WARNING, error.text);
    return start;
}

static int train(struct child *child, struct error *reterr)
{
    const struct training_job *job = &child->mapped.job;
    CLEANUP(detector_freep) struct detector *start = load_start(child), *candidate = NULL;
    const struct trainer_options options = {
        .recipe = job->recipe,
        .relevance = job->relevance,
        .n_threads = 1,
        .preparation = job->preparation,
        .calibration = job->calibration,
        .n_calibration = job->n_calibration,
        .start = start,
    };

    int r = detector_train(job->rows, job->n_rows, job->names, job->n_features, &options,
                           say_progress, child, &candidate, reterr);
    return r < 0 ? r : model_file_write(candidate, TRAINER_FD_OUTPUT, reterr);
}

static int run(struct child *child)
{
    struct error error = {0};

    text_reserve(&child->line, TRAINER_REPORT_SIZE);
    int r = give_up_rights(child, &error);
    if (r == 0)
        r = train(child, &error);
    if (r < 0)
        say_text(child, TRAINER_REPORT_ERROR, error.text);
    else
        say(child, &(struct trainer_report){.kind = TRAINER_REPORT_DONE});
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

void trainer_process_child(void)
{
    struct child child = {0};
    struct error error = {0};

    detector_init();
    if (training_job_map(TRAINER_FD_JOB, &child.mapped, &error) < 0) {
        (void)fprintf(stderr, "anomalyd: %s; --train-candidate is for anomalyd itself\n",
                      error.text);
        _exit(EXIT_FAILURE);
    }
    closefrom(TRAINER_FD_END);
    /* Nothing is left to flush, and what a sanitizer does at exit() is refused by now. */
    _exit(run(&child));
}
