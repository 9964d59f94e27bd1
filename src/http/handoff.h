/* handoff - a queue of sockets from the main thread to one worker. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>

struct handoff;

MUST_CHECK int handoff_new(struct handoff **ret_handoff);
void handoff_free(struct handoff *handoff); /* closes what nobody took */
DEFINE_CLEANUP(struct handoff *, handoff_free)

/* Any thread. -ENOMEM: the socket is still the caller's. */
MUST_CHECK int handoff_put(struct handoff *handoff, int fd);

/* Makes the descriptor readable without a socket. Any thread. */
void handoff_wake(struct handoff *handoff);

/* The worker: readable when there is something. False: nothing is left. */
int handoff_fd(const struct handoff *handoff);
void handoff_acknowledge(struct handoff *handoff); /* before the first take */
bool handoff_take(struct handoff *handoff, int *ret_fd);
