/* dataset_reader - a file on its way into a dataset: what the readers of its formats share.
 *
 * Cells become values here, whatever the format. Functions that read give 0 or a negative errno
 * with the reason in reterr. */
#pragma once

#include "data/columns.h"
#include "data/dataset.h"
#include "data/name_index.h"

struct input;

struct dataset_reader {
    const char *file; /* for messages */
    const struct dataset_options *options;
    struct columns columns;
    struct dataset dataset;
    size_t capacity;          /* rows that fit */
    size_t row, line;         /* being read */
    bool *is_text;            /* [n_features] whose cells are categories; NULL: none */
    struct name_index *texts; /* [n_features] of the dataset's texts; NULL: none are categories */
    struct name_index series; /* of the dataset's series_names */
    struct error *reterr;
};

int dataset_out_of_memory(const struct dataset_reader *reader); /* -ENOMEM */

/* The columns are planned: makes what does not depend on the number of rows. */
MUST_CHECK int dataset_begin_rows(struct dataset_reader *reader);
/* Room for that many. */
bool dataset_set_capacity(struct dataset_reader *reader, size_t n_rows);
/* Room for .row, all values missing. */
MUST_CHECK int dataset_begin_row(struct dataset_reader *reader);

/* A value of .row; text is what it was read from. */
MUST_CHECK int dataset_set_feature(struct dataset_reader *reader, size_t column, double value,
                                   const char *text, size_t length);
/* A category: its number among the texts of the column. */
MUST_CHECK int dataset_read_category(struct dataset_reader *reader, size_t column, const char *text,
                                     size_t length);
MUST_CHECK int dataset_read_label(struct dataset_reader *reader, size_t column, const char *text,
                                  size_t length);

/* All of a .npy file. */
MUST_CHECK int dataset_read_npy(struct dataset_reader *reader, struct input *input);
