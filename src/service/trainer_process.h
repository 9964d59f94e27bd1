/* trainer_process - a training in a child process of the same program: a crash, an OOM or a hang of
 * it costs one run and nothing else.
 *
 * The child gets its rows through a memfd and writes the candidate to a file that the parent has
 * opened; it runs at nice 19, is the first that the OOM killer takes, dies with its parent, and may
 * open nothing for writing, make no socket and start no program (seccomp). It is started as
 * `anomalyd --train-candidate`, which no person does, and trains with the code of `anomalyctl
 * train`. Any thread, one at a time for each process; SIGCHLD must not be ignored. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "service/training_job.h"

#include <stddef.h>
#include <stdint.h>

struct trainer_process;

enum trainer_outcome {
    TRAINER_RUNNING,
    TRAINER_DONE,   /* the child says that the candidate is complete and synced: load it, to know */
    TRAINER_FAILED, /* reason: said by the child, or how it ended ("was killed by signal 9 …") */
};

struct trainer_status {
    enum trainer_outcome outcome;
    double done; /* share of the work, 0 to 1; never less than before */
    size_t network, n_networks, epoch, epochs;
    double loss, validation_loss; /* NaN: none */
    char reason[512];
};

/* Copies the job and starts the child, which writes output_fd (a file opened for writing,
 * borrowed). program NULL: this one (/proc/self/exe). Negative errno. The child dies with the
 * calling thread. */
MUST_CHECK int trainer_process_start(const struct training_job *job, int output_fd,
                                     const char *program, struct trainer_process **ret_process,
                                     struct error *reterr);

/* For poll(): readable when trainer_process_read() has something new. */
int trainer_process_fd(const struct trainer_process *process);
/* 0 once it has ended. */
int64_t trainer_process_pid(const struct trainer_process *process);

/* Never blocks. */
struct trainer_status trainer_process_read(struct trainer_process *process);

/* Kills a child that still runs, and waits for it (at most moments: SIGKILL). */
void trainer_process_free(struct trainer_process *process);
DEFINE_CLEANUP(struct trainer_process *, trainer_process_free)

/* The child's main(), before any thread: does what its descriptors say (service/trainer_report.h)
 * and ends the process. */
_Noreturn void trainer_process_child(void);
