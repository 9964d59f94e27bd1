/* tiny_model_file - a tiny_detector() on disk, for tests of what loads it. */
#pragma once

#include "detector/model_file.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

/* Another seed gives another file; all are trained for a false-alarm rate of 0.05. */
static inline void save_tiny_model(const char *path, uint64_t seed)
{
    CLEANUP(detector_freep) struct detector *detector = tiny_detector(seed);
    struct error error;

    assert_non_null(detector);
    assert_int_equal(model_file_save(detector, path, &error), 0);
}
