/* score_stream - POST …/score of a body that is scored while it comes: in memory for a piece of it
 * and for the answer, and so that a worker's other connections get their turn between the pieces.
 *
 * JSON and .npy are refused or answered as a whole: what rows leave behind (learning, counters,
 * series) waits for the end. In NDJSON each line stands alone. One worker thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct handler;
struct reply;
struct request;
struct score_stream;

/* NULL: the whole body is for handle_score(), which will answer, or say what is wrong. request must
 * live until the end. */
struct score_stream *score_stream_begin(struct handler *handler, const struct request *request);
/* Not ended: nothing has happened. */
void score_stream_free(struct score_stream *stream);

void score_stream_put(struct score_stream *stream, const char *bytes, size_t n);
/* The body is not kept beside the stream any more: options behind rows come too late from now on.
 */
void score_stream_stand_alone(struct score_stream *stream);
/* The body is complete. False: an option stands behind rows, and the body that was kept is for
 * handle_score(). */
bool score_stream_end(struct score_stream *stream, struct reply *reply);
/* How many rows have left a trace already, whatever becomes of the body: lines stand alone. */
size_t score_stream_n_kept(const struct score_stream *stream);
