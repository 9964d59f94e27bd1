/* model_errors - the calibration errors of a model file, read past its JSON.
 *
 * They are nine tenths of the header, as a list in a document in a string: jansson reads each byte
 * of them twice, which takes longer than all else that loading does. So they are cut out of the
 * text first. What looks in any way other than model_write() leaves it stays for jansson. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct model_errors {
    char *header; /* [length] the text with an empty list in its place; NULL: nothing was cut */
    size_t length;
    double *errors; /* [n_errors] */
    size_t n_errors;
};

/* -ENOMEM. */
MUST_CHECK int model_errors_cut(const char *header, size_t length, struct model_errors *ret_errors);
void model_errors_clear(struct model_errors *errors);
