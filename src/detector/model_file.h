/* model_file - a detector on disk, as one .safetensors file that any ML tool can open.
 *
 * Layout, tensors and keys: docs/model-file.md. Everything is checked before use; a hostile or
 * truncated file gives a clear error. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>

struct detector;

#define MODEL_FILE_VERSION  3 /* from 1 on all are read */
#define MODEL_FILE_PLAIN    2 /* of rows that are judged as they come: older programs read it */
#define MODEL_FILE_MAX_SIZE ((size_t)1 << 30)

/* Replaces path as a whole or not at all (base/file.h). */
MUST_CHECK int model_file_save(const struct detector *detector, const char *path,
                               struct error *reterr);

/* The same bytes to a descriptor, from where it stands, synced. */
MUST_CHECK int model_file_write(const struct detector *detector, int fd, struct error *reterr);

/* -EINVAL with the reason: not a model file, damaged, or of a newer version; -ENOMEM; else as from
 * file_read(). */
MUST_CHECK int model_file_load(const char *path, struct detector **ret_detector,
                               struct error *reterr);

/* The same from memory; name stands in messages. data is only read during the call. */
MUST_CHECK int model_file_parse(const char *name, const char *data, size_t size,
                                struct detector **ret_detector, struct error *reterr);

/* About how many bytes the detector of a file of these bytes takes: its tensors as they stand and
 * as they are packed, and a third of the text that the header writes numbers as. */
size_t model_file_memory(const char *data, size_t size);
