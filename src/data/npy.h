/* npy - NumPy's array files (.npy), as far as they hold rows: two dimensions, float32 or float64,
 * C or Fortran order, either byte order, format 1 to 3.
 *
 * Plain data that points into the caller's bytes. Everything is checked when it is opened. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct npy {
    size_t n_rows, n_columns; /* both above 0 */

    /* private */
    const char *items;
    size_t item_size;
    bool is_fortran, is_swapped;
};

/* Whether the bytes begin as a .npy file does. */
bool npy_is(const char *bytes, size_t size);

/* -EINVAL: not a whole .npy file, or not such an array; reterr says what to do. */
MUST_CHECK int npy_open(const char *file, const char *bytes, size_t size, struct npy *ret_npy,
                        struct error *reterr);

double npy_value(const struct npy *npy, size_t row, size_t column);
