/* npy - NumPy's array files (.npy), as far as they hold rows: two dimensions, float32 or float64,
 * C or Fortran order, either byte order, format 1 to 3.
 *
 * Values come in the order of the file, through the input's window: memory does not grow with the
 * array. Only from a pipe, whose length is not known, is it read as a whole first. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input;

struct npy {
    size_t n_rows, n_columns; /* both above 0 */
    bool is_fortran;          /* stored column by column */

    /* private */
    struct input *input;
    size_t at;                   /* in its window */
    size_t next_line, next_item; /* a line: a row, or in Fortran order a column */
    size_t item_size;
    bool is_swapped;
};

#define NPY_MAX_SLICE 256

/* Values that follow one another in the file, from (row, column): along one row, in Fortran order
 * along one column. */
struct npy_slice {
    size_t row, column, n;
    double values[NPY_MAX_SLICE];
};

/* Whether the bytes begin as a .npy file does. */
bool npy_is(const char *bytes, size_t size);

/* Begins to read input, which must outlive the array and whose window begins with what npy_is().
 * The header and the length are checked. -EINVAL: not a whole .npy file, or not such an array;
 * reterr says what to do. Else as from input_read(). */
MUST_CHECK int npy_open(struct input *input, struct npy *ret_npy, struct error *reterr);

/* 1: the next slice; 0: there are no more. -EINVAL: the file has become shorter. Else as from
 * input_read(). */
MUST_CHECK int npy_next(struct npy *npy, struct npy_slice *ret_slice, struct error *reterr);

/* ---- for who has the bytes himself (data/npy_feed) ---- */

/* Reads the header of bytes[size], the beginning of a .npy file; name stands in errors. 0: it has
 * *ret_header bytes, and *ret_n_bytes of values follow. -EAGAIN: it is longer than that. -ENODATA:
 * an array of no rows. -EINVAL: else as npy_open(). */
MUST_CHECK int npy_begin(const char *name, const char *bytes, size_t size, struct npy *ret_npy,
                         size_t *ret_header, uint64_t *ret_n_bytes, struct error *reterr);
/* Whether there are as many as the header wants. -EINVAL. */
MUST_CHECK int npy_check_length(const char *name, uint64_t n_wanted, uint64_t n_bytes,
                                struct error *reterr);
/* n items as the file has them, which need not be aligned. */
void npy_read_items(const struct npy *npy, const char *items, size_t n, double *values);
