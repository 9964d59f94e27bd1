/* linger - closes connections so that the last answer arrives.
 *
 * A close() with unread input resets the connection, and the reset may overtake an answer that was
 * sent before the whole request was read (413, 408, …). So: stop writing, read on and throw away
 * for at most a second, then close. One thread per object. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct linger_set;

MUST_CHECK int linger_new(struct linger_set **ret_linger);
void linger_free(struct linger_set *linger); /* closes all at once */
DEFINE_CLEANUP(struct linger_set *, linger_free)

/* Takes the socket over, in any case. With very many at once, or no memory, closes it right away.
 */
void linger_add(struct linger_set *linger, int fd);

/* Call linger_run() when the descriptor is readable, or after the time-out (-1: none). */
int linger_fd(const struct linger_set *linger);
int linger_timeout_ms(const struct linger_set *linger);
void linger_run(struct linger_set *linger);

size_t linger_count(const struct linger_set *linger);
