/* first_rows - rows for a model that has no version yet: kept until there are enough of them to
 * train the first one. */
#pragma once

struct handler;
struct live_model;
struct reply;
struct request;

enum first_rows {
    FIRST_ROWS_SCORED,  /* sent to /score */
    FIRST_ROWS_OBSERVED /* sent to /observe */
};

/* model is LIVE_LEARNING. Without names for its features the first body gives them: the names of
 * its first row, or f0, f1, …. The reply is a 202 with what is still missing. */
void first_rows_take(struct handler *handler, const struct live_model *model, enum first_rows from,
                     const struct request *request, struct reply *reply);
