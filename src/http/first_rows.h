/* first_rows - rows for a model that has no version yet, or is not there yet: kept until there are
 * enough of them to train the first one. */
#pragma once

struct handler;
struct live_model;
struct reply;
struct request;

enum first_rows {
    FIRST_ROWS_SCORED,  /* sent to /score */
    FIRST_ROWS_OBSERVED /* sent to /observe */
};

/* The model that rows are for. NULL: the reply says that there is none, or, where the configuration
 * wants that (auto_create), what became of the rows that have made it. Rows that are refused, or
 * not to be learned from, make none. */
struct live_model *first_rows_find_model(struct handler *handler, enum first_rows from,
                                         const struct request *request, struct reply *reply);

/* model is LIVE_LEARNING. Without names for its features the first body gives them: the names of
 * its first row, or f0, f1, …. The reply is a 202 with what is still missing. */
void first_rows_take(struct handler *handler, const struct live_model *model, enum first_rows from,
                     const struct request *request, struct reply *reply);
