/* Whether an answer may get longer: by itself, and beside all other requests. */
#include "data/schema.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/scoring.h"

#define LINE_BYTES  512 /* that a line of an answer hardly exceeds, */
#define ENTRY_BYTES 512 /* and an entry of its explanation */

size_t scoring_most_entries(const struct scoring *scoring)
{
    const size_t n_inputs = schema_n_features(scoring->vocabulary.inputs);

    if (scoring->form == ANSWER_NPY || scoring->options.explain == EXPLAIN_NONE)
        return 0;
    return scoring->options.top < n_inputs ? scoring->options.top : n_inputs;
}

unsigned scoring_why_full(const struct scoring *scoring, const struct reply *reply, size_t n_bytes,
                          const char **ret_why)
{
    const size_t limit = quota_limit(scoring->work.quota);
    const size_t own = n_bytes + scoring->body->bytes + scoring->work.bytes +
                       scoring->held.share.bytes + reply->share.bytes;

    if (limit > 0 && own > limit) {
        *ret_why = "The rows and their answer would take more than max_request_memory";
        return 413;
    }
    *ret_why = REQUEST_NO_ROOM;
    return 503;
}

void scoring_refuse_full(const struct scoring *scoring, size_t n_bytes, struct reply *reply)
{
    const char *why;
    const unsigned status = scoring_why_full(scoring, reply, n_bytes, &why);

    reply_problem(reply, status, "%s; send fewer rows at a time, or %s", why,
                  status == 503 ? "try again" : "raise it");
}

unsigned scoring_check_room(const struct scoring *scoring, size_t n_rows, struct reply *reply,
                            const char **ret_why)
{
    const size_t n_bytes =
        reply->body.length + n_rows * (LINE_BYTES + scoring_most_entries(scoring) * ENTRY_BYTES);

    if (reply->body.length > SCORING_MOST_BYTES) {
        *ret_why = "The answer would be larger than " SCORING_MOST;
        return 413;
    }
    return share_fit(&reply->share, n_bytes, QUOTA_WHOLE)
               ? 0
               : scoring_why_full(scoring, reply, n_bytes - reply->share.bytes, ret_why);
}
