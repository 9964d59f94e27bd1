/* deadline - how long a connection may take for its next step. Plain data, no clock of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_IDLE_US       60000000ULL /* an open connection without a request */
#define DEADLINE_DRAIN_IDLE_US 5000000ULL  /* the same after SIGTERM */
#define DEADLINE_REFUSED_US    1000000ULL  /* for the client to see its 408 before we hang up */
#define DEADLINE_BODY_BYTES    65536       /* of a body must come in each request_timeout */

enum deadline_phase {
    PHASE_IDLE,   /* no request has begun; half a first line does not count */
    PHASE_HEAD,   /* its first line is there */
    PHASE_BODY,   /* its head is there */
    PHASE_ANSWER, /* it is complete; the rest is up to us (and to libmicrohttpd's own time-out) */
    PHASE_REFUSED /* it has got its 408; what still comes is thrown away */
};

struct deadline {
    enum deadline_phase phase;
    uint64_t since_us; /* start of the phase, or of the present 64 KiB */
    size_t received;   /* bytes of the body since then */
};

enum deadline_verdict {
    DEADLINE_FINE,
    DEADLINE_CLOSE,  /* idle or refused for long enough */
    DEADLINE_TIMEOUT /* a request that does not arrive: 408 */
};

void deadline_enter(struct deadline *deadline, enum deadline_phase phase, uint64_t now_us);
void deadline_receive(struct deadline *deadline, size_t n_bytes, uint64_t now_us);

/* Nobody looked for late_us: what may have come in that time is not the client's fault. */
void deadline_postpone(struct deadline *deadline, uint64_t late_us, uint64_t now_us);

/* drain_us: when draining began; 0: not yet. */
enum deadline_verdict deadline_check(const struct deadline *deadline, uint64_t now_us,
                                     uint64_t request_timeout_us, uint64_t drain_us);
