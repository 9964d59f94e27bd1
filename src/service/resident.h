/* resident - which detectors are in memory: loaded by whoever needs one, dropped when they take
 * more than they may, the one first that nobody has needed for longest.
 *
 * All else that is known of a model (struct live_model) stays, so that nobody can tell: what comes
 * back is read from the same file, which its SHA-256 proves. A file is read without the lock, by
 * the first who needs it; whoever needs the same one meanwhile waits for that. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct detector;
struct residents;

/* One of them, in a struct live_model; of resident.c alone. */
struct resident {
    TAILQ_ENTRY(resident) idle; /* its place, while it is loaded and nobody holds it */
    struct detector **detector; /* where its holders find it, borrowed; there NULL: not loaded */
    const char *file, *sha256;  /* borrowed */
    size_t size;                /* bytes that it takes, estimated */
    unsigned n_holders;
    bool is_loading;
    struct error *trouble; /* why it could not be loaded the last time; NULL: it could */
};

MUST_CHECK int residents_new(struct residents **ret_residents);
void residents_free(struct residents *residents);
DEFINE_CLEANUP(struct residents *, residents_free)

/* In bytes; from the beginning there is no limit. Those that are held stay, however many. */
void residents_set_limit(struct residents *residents, size_t limit);

/* All that nobody holds. */
void residents_drop_idle(struct residents *residents);

/* Takes *detector over, which was read from the file with that SHA-256 and takes about so many
 * bytes. Nobody holds it yet, so it may go at once. */
void resident_init(struct residents *residents, struct resident *resident,
                   struct detector **detector, size_t size, const char *file, const char *sha256);
void resident_clear(struct residents *residents, struct resident *resident); /* or all 0 */

/* *detector stays until resident_let_go(). Fails where it was dropped and its file cannot be read
 * any more, or is another: -EINVAL …, -ENOMEM. */
MUST_CHECK int resident_hold(struct residents *residents, struct resident *resident,
                             struct error *reterr);
void resident_let_go(struct residents *residents, struct resident *resident);

/* Whether it could not be loaded when somebody last needed it. ret_why may be NULL. */
bool resident_is_failing(struct residents *residents, const struct resident *resident,
                         struct error *ret_why);

struct residents_counts {
    size_t n_loaded, bytes, limit; /* now; limit 0: none */
    uint64_t n_loads, n_drops;     /* ever; what a start or reload reads is no load */
};
struct residents_counts residents_count(struct residents *residents);
