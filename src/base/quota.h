/* quota - memory that many share: so many bytes in all, and nobody takes what is not there.
 *
 * Whoever needs memory that grows with what a stranger sends has a share, which grows with it and
 * is given back with it. Only whole steps are counted, so that small requests do not meet at one
 * number: each share has up to QUOTA_STEP more than it says.
 *
 * A quota is one atomic number, for any thread; a share is one thread's at a time. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define QUOTA_STEP ((size_t)16 << 10) /* bytes */

/* Start with {0}: without a limit. */
struct quota {
    _Atomic size_t limit, used; /* bytes; limit 0: none */
};

/* Shares above it stay, but do not grow. */
void quota_set_limit(struct quota *quota, size_t limit);
size_t quota_limit(const struct quota *quota);
size_t quota_used(const struct quota *quota);

/* How far a share may fill the quota. What can be done without leaves half of it to what cannot. */
enum quota_part {
    QUOTA_HALF,
    QUOTA_WHOLE
};

/* Start with {.quota = …}; NULL: nothing is counted. */
struct share {
    struct quota *quota;
    size_t bytes;
};

/* The share has room for so many bytes from now on, if it had not. False: they do not fit, and it
 * is as it was. */
bool share_fit(struct share *share, size_t bytes, enum quota_part part);
/* So many are known to be taken: the share becomes more, beyond the limit, too, or less. */
void share_set(struct share *share, size_t bytes);
/* Gives all of it back; it can grow again. */
void share_clear(struct share *share);
