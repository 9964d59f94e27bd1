#include "service/trainer_process.h"

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "service/trainer_report.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_READS 16 /* in one trainer_process_read(), however much the child says */

struct trainer_process {
    pid_t pid; /* 0: it has ended and been waited for */
    int reports_fd;
    uint64_t max_cpu_s;
    struct trainer_status status;
    bool said_done, said_error;
    size_t n_held; /* of a line whose end is still to come */
    char held[TRAINER_REPORT_SIZE];
};

/* ---- the start ---- */

/* What the child gets as its descriptors 3 to 5, and what stays here. */
struct ends {
    int job, output, reports, reports_in;
};

static void ends_close(struct ends *ends)
{
    close_fd(&ends->job);
    close_fd(&ends->output);
    close_fd(&ends->reports);
    close_fd(&ends->reports_in);
}

/* Away from the numbers of the child, where putting one in its place would close another. */
static int copy_high(int fd, int *ret_copy)
{
    *ret_copy = fcntl(fd, F_DUPFD_CLOEXEC, TRAINER_FD_END);
    return *ret_copy < 0 ? -errno : 0;
}

static int open_ends(const struct training_job *job, int output_fd, struct ends *ends,
                     struct error *reterr)
{
    CLEANUP(close_fd) int packed = -1, reports = -1;
    int pipe_ends[2];

    int r = training_job_pack(job, &packed, reterr);
    if (r < 0)
        return r;
    if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(reterr, -errno, "the trainer", "make a pipe for");
    ends->reports_in = pipe_ends[0];
    reports = pipe_ends[1];
    r = copy_high(packed, &ends->job);
    if (r == 0)
        r = copy_high(output_fd, &ends->output);
    if (r == 0)
        r = copy_high(reports, &ends->reports);
    return r < 0 ? error_set_errno(reterr, r, "the trainer", "pass a descriptor to") : 0;
}

/* posix_spawn's functions return errno. */
static int place_descriptors(posix_spawn_file_actions_t *actions, const struct ends *ends)
{
    int error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, ends->job, TRAINER_FD_JOB);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, ends->output, TRAINER_FD_OUTPUT);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, ends->reports, TRAINER_FD_REPORTS);
    return -error;
}

/* The daemon ignores SIGPIPE, and a new program would go on ignoring what was ignored. */
static int reset_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, usual;

    (void)sigemptyset(&none);
    (void)sigemptyset(&usual);
    (void)sigaddset(&usual, SIGPIPE);
    (void)sigaddset(&usual, SIGXCPU);
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &usual);
    if (!error)
        error =
            posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return -error;
}

static int spawn(const char *program, const struct ends *ends, pid_t *ret_pid)
{
    static char name[] = "anomalyd", option[] = "--train-candidate";
    char *const arguments[] = {name, option, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    int r = -posix_spawn_file_actions_init(&actions);
    if (r < 0)
        return r;
    r = -posix_spawnattr_init(&attributes);
    if (r == 0) {
        r = place_descriptors(&actions, ends);
        if (r == 0)
            r = reset_signals(&attributes);
        if (r == 0)
            r = -posix_spawn(ret_pid, program, &actions, &attributes, arguments, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return r;
}

int trainer_process_start(const struct training_job *job, int output_fd, const char *program,
                          struct trainer_process **ret_process, struct error *reterr)
{
    assert(job && output_fd >= 0 && ret_process);

    CLEANUP(ends_close)
    struct ends ends = {.job = -1, .output = -1, .reports = -1, .reports_in = -1};
    CLEANUP(trainer_process_freep)
    struct trainer_process *process = calloc(1, sizeof(*process));
    if (!process)
        return error_set_errno(reterr, -ENOMEM, "the trainer", "start");
    process->reports_fd = -1;
    process->max_cpu_s = job->max_cpu_s;
    process->status.loss = process->status.validation_loss = (double)NAN;

    int r = open_ends(job, output_fd, &ends, reterr);
    if (r < 0)
        return r;
    program = program ? program : "/proc/self/exe";
    r = spawn(program, &ends, &process->pid);
    if (r < 0)
        return error_set_errno(reterr, r, program, "start");
    process->reports_fd = ends.reports_in;
    ends.reports_in = -1;
    *ret_process = TAKE(process);
    return 0;
}

int trainer_process_fd(const struct trainer_process *process)
{
    return process->reports_fd;
}

int64_t trainer_process_pid(const struct trainer_process *process)
{
    return process->pid;
}

/* ---- the end ---- */

/* Returns what waitpid() says of the child; 0 if another has waited for it. A child that has closed
 * its reports and not yet ended does so now; one that is ending already is not disturbed. */
static int end_child(struct trainer_process *process)
{
    const pid_t pid = process->pid;
    int status = 0, r;

    process->pid = 0;
    (void)kill(pid, SIGKILL);
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    return r < 0 ? 0 : status;
}

static void PRINTF_LIKE(2, 3) fail(struct trainer_process *process, const char *format, ...)
{
    va_list arguments;

    process->status.outcome = TRAINER_FAILED;
    va_start(arguments, format);
    (void)vsnprintf(process->status.reason, sizeof(process->status.reason), format, arguments);
    va_end(arguments);
}

static void explain_signal(struct trainer_process *process, int number)
{
    const char *name = sigdescr_np(number);

    if (number == SIGXCPU)
        fail(process, "the trainer used more than %llu s of CPU time",
             (unsigned long long)process->max_cpu_s);
    else if (number == SIGKILL)
        fail(process, "the trainer was killed by signal %d (out of memory?)", number);
    else
        fail(process, "the trainer was killed by signal %d (%s)", number, name ? name : "unknown");
}

static void finish(struct trainer_process *process)
{
    const int status = end_child(process);

    if (process->said_error)
        process->status.outcome = TRAINER_FAILED;
    else if (WIFSIGNALED(status))
        explain_signal(process, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fail(process, "the trainer ended with exit status %d and gave no reason",
             WEXITSTATUS(status));
    else if (!process->said_done)
        fail(process, "the trainer ended without a candidate");
    else {
        process->status.outcome = TRAINER_DONE;
        process->status.done = 1;
    }
}

/* What it makes cannot be trusted any more. */
static void give_up(struct trainer_process *process, const char *line, size_t length)
{
    char shown[TEXT_SHOWN_SIZE];

    (void)end_child(process);
    fail(process, "the trainer said what is not a report: \"%s\"", text_show(shown, line, length));
}

/* ---- reports ---- */

static void note_progress(struct trainer_status *status, const struct trainer_report *report)
{
    /* A network that is trained a second time, from other weights, counts from 0 again. */
    status->done = fmax(status->done, fmin(report->done, 1));
    status->network = report->network;
    status->n_networks = report->n_networks;
    status->epoch = report->epoch;
    status->epochs = report->epochs;
    status->loss = report->loss;
    status->validation_loss = report->validation_loss;
}

static int take_line(struct trainer_process *process, const char *line, size_t length)
{
    struct trainer_report report;
    int r = trainer_report_parse(line, length, &report);

    if (r < 0)
        return r;
    switch (report.kind) {
    case TRAINER_REPORT_PROGRESS:
        note_progress(&process->status, &report);
        break;
    case TRAINER_REPORT_WARNING:
        log_warning("training: %s", report.text);
        break;
    case TRAINER_REPORT_ERROR:
        process->said_error = true;
        (void)snprintf(process->status.reason, sizeof(process->status.reason), "%s", report.text);
        break;
    case TRAINER_REPORT_DONE:
        process->said_done = true;
        break;
    }
    return 0;
}

/* All whole lines of what is held. */
static void take_lines(struct trainer_process *process)
{
    const char *at = process->held, *end;
    size_t left = process->n_held;

    while ((end = memchr(at, '\n', left))) {
        const size_t length = (size_t)(end - at);
        if (take_line(process, at, length) < 0) {
            give_up(process, at, length);
            return;
        }
        at = end + 1;
        left -= length + 1;
    }
    if (left == sizeof(process->held)) {
        give_up(process, at, left);
        return;
    }
    memmove(process->held, at, left);
    process->n_held = left;
}

struct trainer_status trainer_process_read(struct trainer_process *process)
{
    for (int i = 0; i < MAX_READS && process->status.outcome == TRAINER_RUNNING; i++) {
        const ssize_t n = read(process->reports_fd, process->held + process->n_held,
                               sizeof(process->held) - process->n_held);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) /* EAGAIN */
            break;
        if (n == 0) {
            finish(process);
            break;
        }
        process->n_held += (size_t)n;
        take_lines(process);
    }
    return process->status;
}

void trainer_process_free(struct trainer_process *process)
{
    if (!process)
        return;
    if (process->pid > 0)
        (void)end_child(process);
    close_fd(&process->reports_fd);
    free(process);
}
