/* versions - the model files of the state directory: DIRECTORY/models/NAME/VERSION.safetensors.
 * What is known of each stands in store/model_log. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define VERSIONS_PATH_SIZE 4096

/* -ENAMETOOLONG. */
MUST_CHECK int versions_path(const char *directory, const char *model, unsigned version,
                             char ret_path[VERSIONS_PATH_SIZE]);

/* Makes the model's folder, and in it an empty file for a run's candidate, opened for writing. A
 * candidate that a dead process left is replaced. */
MUST_CHECK int versions_open_candidate(const char *directory, const char *model,
                                       char ret_path[VERSIONS_PATH_SIZE], int *ret_fd,
                                       struct error *reterr);

/* The candidate becomes the file of a version: rename, fsync of the folder. */
MUST_CHECK int versions_keep_candidate(const char *candidate, const char *directory,
                                       const char *model, unsigned version, struct error *reterr);

/* data[size] becomes the file of a version. ret_sha256 is of these bytes. */
MUST_CHECK int versions_write(const char *directory, const char *model, unsigned version,
                              const void *data, size_t size, char ret_sha256[65],
                              struct error *reterr);
/* The same with the bytes of a file. */
MUST_CHECK int versions_import(const char *file, const char *directory, const char *model,
                               unsigned version, char ret_sha256[65], struct error *reterr);

/* versions_write() in two steps, so that many at a time can wait for the disk once: data[size]
 * becomes a candidate, and that the file of a version. With `sync` each is durable; else
 * versions_sync() makes the candidates' bytes so, and then their names. */
MUST_CHECK int versions_stage(const char *directory, const char *model, const void *data,
                              size_t size, bool sync, struct error *reterr);
MUST_CHECK int versions_keep_staged(const char *directory, const char *model, unsigned version,
                                    bool sync, struct error *reterr);
/* All that was written to the file system of directory is on its disk. */
MUST_CHECK int versions_sync(const char *directory, struct error *reterr);

/* Opens the file of a version for reading, from its start. -EUCLEAN: its bytes are not those of
 * sha256. Other negative errno, as when it is gone. It is read once, piece by piece. */
MUST_CHECK int versions_open(const char *directory, const char *model, unsigned version,
                             const char *sha256, int *ret_fd, struct error *reterr);
/* models/NAME/live points to the version that answers: what is left to serve from where the
 * database is lost or cannot be opened. -ENOENT: there is none, or it points elsewhere. */
MUST_CHECK int versions_link_live(const char *directory, const char *model, unsigned version,
                                  struct error *reterr);
void versions_unlink_live(const char *directory, const char *model);
MUST_CHECK int versions_find_live(const char *directory, const char *model,
                                  char ret_path[VERSIONS_PATH_SIZE], unsigned *ret_version);

/* Candidates that a dead process left behind go. */
void versions_remove_candidates(const char *directory, const char *model);
void versions_remove(const char *directory, const char *model, unsigned version);
/* All that is in the model's folder, and the folder. */
void versions_remove_all(const char *directory, const char *model);
