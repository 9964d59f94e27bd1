/* training_job - what a training in a child process is given.
 *
 * Travels in a memfd that is sealed, so that it can neither change nor shrink under its reader: 8
 * bytes with the length of a JSON header, the header (features, counts, recipe, limits), the floats
 * of the rows, those of the calibration rows. Only between processes of one machine. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "detector/recipe.h"

#include <stddef.h>
#include <stdint.h>

struct preparation;
struct relevance;

struct training_job {
    struct recipe recipe;
    struct relevance *relevance; /* borrowed; NULL: every deviation matters */
    const char *const *names;    /* [n_features], UTF-8 */
    size_t n_features;
    struct preparation *preparation; /* of the features, borrowed; NULL: none */
    const float *rows;               /* [n_rows][n_features] to train on */
    size_t n_rows;
    const float *calibration; /* [n_calibration][n_features]; NULL: the folds calibrate */
    size_t n_calibration;
    const char *start;  /* path of a model file whose weights are tried too, UTF-8; NULL: none */
    size_t max_memory;  /* bytes of address space; 0: no limit */
    uint64_t max_cpu_s; /* seconds of CPU time; 0: no limit */
};

/* Copies the job into a sealed memfd, close-on-exec. Negative errno. */
MUST_CHECK int training_job_pack(const struct training_job *job, int *ret_fd, struct error *reterr);

/* A job as its reader has it. */
struct mapped_job {
    struct training_job job; /* points into what follows */
    int64_t parent;          /* process id of who packed it */
    struct json_t *header;
    const char **names;
    struct preparation *preparation;
    void *memory; /* [size] */
    size_t size;
};

/* -EINVAL: fd is not a job, with the reason; other negative errno. */
MUST_CHECK int training_job_map(int fd, struct mapped_job *ret_mapped, struct error *reterr);
void training_job_unmap(struct mapped_job *mapped);
