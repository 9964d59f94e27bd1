/* prepared_rows - the rows of a request as its model sees them (data/preparation.h).
 *
 * The last step before they are used: a request that is refused leaves no trace in its series. */
#pragma once

#include "base/cleanup.h"
#include "service/learner.h"

#include <stdbool.h>
#include <stddef.h>

struct handler;
struct later;
struct preparation;
struct reply;
struct schema;
struct score_options;
struct series_memory;
struct series_undo;

/* Makes handler->rows.rows, rows of preparation's features, of what row_body_read() has read, and
 * says in handler->is_late which are late. A row's time is its own, that of the request, or now.
 * preparation NULL: the rows are there already. first_row: how many rows of the request came before
 * them. undo: how to take them back (service/series_memory.h). -EINVAL: reply says why they cannot
 * be prepared. */
MUST_CHECK int prepared_rows_make(struct handler *handler, struct preparation *preparation,
                                  struct series_memory *memory, const struct score_options *options,
                                  size_t first_row, struct series_undo **undo, struct reply *reply);

/* Whether prepared_rows_make() will find them fit: -EINVAL, and reply says why not. */
MUST_CHECK int prepared_rows_check(const struct handler *handler,
                                   const struct preparation *preparation,
                                   const struct score_options *options, size_t first_row,
                                   struct reply *reply);

/* One row needs no time to make rates of, but several do: -EINVAL, and reply says that this one has
 * none. prepared_rows_make() says so where it sees two. */
int prepared_rows_refuse_untimed(size_t row, struct reply *reply);

/* That are late. */
size_t prepared_rows_count_late(const struct handler *handler,
                                const struct preparation *preparation);
/* Leaves the late ones out, of rows and times, and of handler->verdicts if they have been judged.
 */
void prepared_rows_drop_late(struct handler *handler, const struct preparation *preparation,
                             bool has_verdicts);

/* Sends the rows to learner_observe(); undo is taken over and *undo NULL then. finish makes the
 * answer, and begins with prepared_rows_kept(). */
void prepared_rows_keep(struct handler *handler, const char *model, size_t n_features,
                        const struct score_options *options, const struct row_times *times,
                        size_t n_late, struct series_undo **undo,
                        void (*finish)(struct handler *handler, const struct later *later,
                                       struct reply *reply),
                        struct reply *reply);
/* False: they could not be kept; their series is as it was before them, and reply says why. */
bool prepared_rows_kept(const struct later *later, struct reply *reply);

/* When they were, by the request and by themselves. Points into handler. */
struct row_times prepared_rows_times(const struct handler *handler,
                                     const struct preparation *preparation,
                                     const struct score_options *options);
