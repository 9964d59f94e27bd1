/* dataset - a file of rows in memory, whatever its format.
 *
 * CSV (".csv", "-" and anything else) or NumPy's .npy (a file that begins with its magic bytes).
 * With a header line the columns are named by it; without one (a first line of only numbers), and
 * in .npy, they are f0, f1, …. Columns named `timestamp` and `series` are never features, nor are
 * the label column and the excluded ones. A cell that is empty or says nan, null or NA (in any
 * case) is a missing value.
 *
 * The file is read through a window: the memory it takes is that of the rows. A .npy file from a
 * pipe is the exception (npy.h). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prepare_spec;
struct preparation;
struct schema;

struct dataset_options {
    const char *label_column;   /* NULL: no labels */
    const char *const *exclude; /* [n_exclude] columns to leave out; each must exist */
    size_t n_exclude;
    const struct schema *schema;        /* NULL: take all columns as they come. Else the columns are
                                         * matched by name in any order (without a header and in .npy: by
                                         * position, the number must fit); an unknown one is an error, an
                                         * absent feature is missing (NaN) in every row */
    const struct prepare_spec *prepare; /* NULL: values are floats as they stand. Else they are read
                                         * into .values, which dataset_prepare() makes rows of;
                                         * columns that are to be onehot may hold text */
    const struct preparation *preparation; /* the same for rows of a model: schema is then that of
                                            * its values */
    bool with_timestamps;                  /* read the column `timestamp` into .timestamps */
    bool with_series;                      /* and `series` into .series */
};

/* Distinct texts of one column, in the order in which they came. */
struct dataset_texts {
    char **texts; /* [n] */
    size_t n;
};

struct dataset {
    size_t n_rows, n_features;
    char **names;   /* [n_features] */
    float *rows;    /* [n_rows][n_features], NaN where a value is missing; never infinite */
    double *values; /* [n_rows][n_values] what the rows were prepared from; NULL: they were not.
                     * A category is its number */
    size_t n_values;
    struct dataset_texts *texts; /* [n_values] of columns that hold categories */
    bool *is_late; /* [n_rows] not newer than a row before of its series; NULL: none is */
    size_t n_late;
    uint32_t *lines;    /* [n_rows] line in the file, for messages; in .npy the row's number + 1 */
    uint32_t *labels;   /* [n_rows] index into label_names; NULL without a label column */
    char **label_names; /* [n_label_names]; [0] is "0", normal: cells that are missing or zero */
    size_t n_label_names;
    uint32_t
        *series; /* [n_rows] index into series_names; NULL if not asked for or no such column */
    char **series_names; /* [n_series_names]; "" stands for a cell that is empty */
    size_t n_series_names;
    double *timestamps; /* [n_rows] seconds since 1970; NULL if not asked for or no such column */
};

/* Reads path ("-": standard input). Errors say FILE:LINE: column N (NAME): what is wrong and what
 * to do. -EINVAL: the content; -ENOMEM; else as from input_read(). *ret_dataset is untouched then;
 * pass it to dataset_clear() afterwards. */
MUST_CHECK int dataset_read(const char *path, const struct dataset_options *options,
                            struct dataset *ret_dataset, struct error *reterr);
void dataset_clear(struct dataset *dataset);

/* Holds a spec against the .values that were read with it: a onehot without categories gets those
 * of the rows, sorted; -EINVAL where a rate's values are no counter, there are too many categories,
 * or none of those that are said occurs. path for messages; -ENOMEM. */
MUST_CHECK int dataset_complete_spec(const struct dataset *dataset, const char *path,
                                     struct prepare_spec *spec, struct error *reterr);

/* 1: a counter that is to be a rate is so large that its steps are lost in the rounding of a 64-bit
 * float, with its name; 0: none is. -ENOMEM. */
MUST_CHECK int dataset_find_coarse_counter(const struct dataset *dataset,
                                           const struct prepare_spec *spec, const char **ret_name);

/* Makes .rows of the .values that were read with `prepare`, in the order of the file within each
 * series (without series all are one; is_independent: each row stands alone). .names and
 * .n_features are those of the preparation then, .values have its categories. -EINVAL: a value
 * that cannot be prepared so, or no column `timestamp` where one is needed; FILE:LINE with what to
 * do. Values that are missing are to be checked before: afterwards first rows have none for their
 * rates. */
MUST_CHECK int dataset_prepare(struct dataset *dataset, const char *path,
                               const struct preparation *preparation, bool is_independent,
                               struct error *reterr);

/* Values of a row that are missing; more than half are too many to judge it. */
size_t dataset_count_missing(const struct dataset *dataset, size_t row);
bool dataset_is_incomplete(const struct dataset *dataset, size_t row);
