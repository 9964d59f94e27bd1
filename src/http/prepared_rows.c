#include "http/prepared_rows.h"

#include "base/clock.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/score_options.h"
#include "service/series_memory.h"
#include "service/service.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define ROWS_MAX ((size_t)256 << 20) /* bytes: context makes rows many times longer */

/* Rows of one request that have no times of their own follow each other in their order. */
#define STEP 1e-6 /* seconds */

static bool is_given(const struct score_options *options)
{
    return options->is_given[OPTION_TIMESTAMP];
}

int prepared_rows_refuse_untimed(size_t row, struct reply *reply)
{
    reply_problem(reply, 422,
                  "Row %zu has no time, and this model takes rates: give each row of a "
                  "batch its own, {\"timestamp\": 1709292600, …}, or send one at a time",
                  row);
    return -EINVAL;
}

/* A rate needs to know how much time passed between two rows. */
static int check_times(const struct json_rows *rows, const struct preparation *preparation,
                       const struct score_options *options, size_t first_row, struct reply *reply)
{
    if (first_row + rows->n_rows < 2 || options->is_independent ||
        !preparation_has_rates(preparation))
        return 0;
    for (size_t i = 0; i < rows->n_rows; i++)
        if (isnan(rows->times[i]))
            return prepared_rows_refuse_untimed(first_row + i, reply);
    return 0;
}

static void settle_times(struct json_rows *rows, const struct score_options *options,
                         size_t first_row)
{
    const double base = (double)options->time_us / 1e6;

    for (size_t i = 0; is_given(options) && i < rows->n_rows; i++)
        if (isnan(rows->times[i]))
            rows->times[i] = base + (double)(first_row + i) * STEP;
}

/* Each row by itself. */
static void prepare_alone(struct handler *handler, const struct preparation *preparation)
{
    struct json_rows *rows = handler->rows;
    const size_t n_values = schema_n_features(preparation->values);
    const size_t n_features = schema_n_features(preparation->features);
    const double now = (double)clock_realtime_us() / 1e6;

    for (size_t i = 0; i < rows->n_rows; i++)
        handler->is_late[i] =
            preparation_follow(preparation, NULL, isnan(rows->times[i]) ? now : rows->times[i],
                               rows->values + i * n_values, rows->rows + i * n_features);
}

static int check_size(size_t n_rows, const struct preparation *preparation, struct reply *reply)
{
    const size_t n_features = schema_n_features(preparation->features);

    if (n_rows <= ROWS_MAX / (n_features * sizeof(float)))
        return 0;
    reply_problem(reply, 413,
                  "%zu rows are too many at a time: with %zu features each, made by prepare "
                  "and context, they would take more than %zu MiB; send fewer",
                  n_rows, n_features, ROWS_MAX >> 20);
    return -EINVAL;
}

int prepared_rows_check(const struct handler *handler, const struct preparation *preparation,
                        const struct score_options *options, size_t first_row, struct reply *reply)
{
    int r = 0;

    if (preparation)
        r = check_times(handler->rows, preparation, options, first_row, reply);
    if (r == 0 && preparation)
        r = check_size(handler->rows->n_rows, preparation, reply);
    return r;
}

static int reserve(struct handler *handler, const struct preparation *preparation,
                   struct reply *reply)
{
    struct json_rows *rows = handler->rows;
    const size_t n_features = schema_n_features(preparation->features);

    if (json_rows_reserve(rows, rows->n_rows * n_features) == 0 &&
        handler_reserve_late(handler, rows->n_rows) == 0)
        return 0;
    reply_no_memory(reply);
    return -EINVAL;
}

int prepared_rows_make(struct handler *handler, struct preparation *preparation,
                       struct series_memory *memory, const struct score_options *options,
                       size_t first_row, struct series_undo **undo, struct reply *reply)
{
    struct json_rows *rows = handler->rows;
    const char *series = score_options_series(options);
    int r = 0;

    if (!preparation)
        return 0;
    r = prepared_rows_check(handler, preparation, options, first_row, reply);
    if (r == 0)
        r = reserve(handler, preparation, reply);
    if (r < 0)
        return r;
    settle_times(rows, options, first_row);
    if (!series) {
        prepare_alone(handler, preparation);
        return 0;
    }
    r = series_memory_prepare(memory, preparation, series, rows->times, rows->values, rows->n_rows,
                              rows->rows, handler->is_late, undo);
    if (r < 0) {
        reply_no_memory(reply);
        return -EINVAL;
    }
    return 0;
}

size_t prepared_rows_count_late(const struct handler *handler,
                                const struct preparation *preparation)
{
    size_t n = 0;

    for (size_t i = 0; preparation && i < handler->rows->n_rows; i++)
        n += handler->is_late[i];
    return n;
}

void prepared_rows_drop_late(struct handler *handler, const struct preparation *preparation,
                             bool has_verdicts)
{
    struct json_rows *rows = handler->rows;
    size_t n_features, n = 0;
    if (!preparation)
        return;

    n_features = schema_n_features(preparation->features);
    for (size_t i = 0; i < rows->n_rows; i++) {
        if (handler->is_late[i])
            continue;
        memmove(rows->rows + n * n_features, rows->rows + i * n_features,
                n_features * sizeof(*rows->rows));
        rows->times[n] = rows->times[i];
        if (has_verdicts)
            handler->verdicts[n] = handler->verdicts[i];
        n++;
    }
    rows->n_rows = n;
}

/* ---- keeping ---- */

static void free_undo(void *undo)
{
    series_undo_free(undo);
}

void prepared_rows_keep(struct handler *handler, const char *model, size_t n_features,
                        const struct score_options *options, const struct row_times *times,
                        size_t n_late, struct series_undo **undo,
                        void (*finish)(struct handler *handler, const struct later *later,
                                       struct reply *reply),
                        struct reply *reply)
{
    const struct json_rows *rows = handler->rows;
    struct error error = {0};
    CLEANUP(later_freep) struct later *later = later_new(handler->later, finish, model);
    if (!later) {
        reply_no_memory(reply);
        return;
    }
    later->n_rows = rows->n_rows;
    later->n_late = n_late;
    later->work = TAKE(*undo);
    later->free_work = free_undo;
    int r = learner_observe(service_learner(handler->service), model, rows->rows, rows->n_rows,
                            n_features, times, score_options_series(options), later_done, later,
                            &error);
    if (r == 0) {
        reply->later = TAKE(later);
        return;
    }
    later->r = r;
    later->error = error;
    (void)prepared_rows_kept(later, reply);
}

bool prepared_rows_kept(const struct later *later, struct reply *reply)
{
    if (later->r == 0)
        return true;
    if (later->work)
        series_undo_apply(later->work);
    lookup_learner_problem(later->r, &later->error, reply);
    return false;
}

struct row_times prepared_rows_times(const struct handler *handler,
                                     const struct preparation *preparation,
                                     const struct score_options *options)
{
    return (struct row_times){.time_us = score_options_time_us(options),
                              .own = preparation ? handler->rows->times : NULL};
}
