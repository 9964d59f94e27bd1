#include "http/deadline.h"

void deadline_enter(struct deadline *deadline, enum deadline_phase phase, uint64_t now_us)
{
    *deadline = (struct deadline){.phase = phase, .since_us = now_us};
}

void deadline_receive(struct deadline *deadline, size_t n_bytes, uint64_t now_us)
{
    deadline->received += n_bytes;
    if (deadline->received >= DEADLINE_BODY_BYTES) {
        deadline->received = 0;
        deadline->since_us = now_us;
    }
}

void deadline_postpone(struct deadline *deadline, uint64_t late_us, uint64_t now_us)
{
    uint64_t since_us = deadline->since_us + late_us;
    deadline->since_us = since_us < now_us ? since_us : now_us;
}

enum deadline_verdict deadline_check(const struct deadline *deadline, uint64_t now_us,
                                     uint64_t request_timeout_us, uint64_t drain_us)
{
    uint64_t waited = now_us > deadline->since_us ? now_us - deadline->since_us : 0;

    switch (deadline->phase) {
    case PHASE_IDLE:
        if (drain_us > 0 && now_us >= drain_us + DEADLINE_DRAIN_IDLE_US)
            return DEADLINE_CLOSE;
        return waited >= DEADLINE_IDLE_US ? DEADLINE_CLOSE : DEADLINE_FINE;
    case PHASE_HEAD:
    case PHASE_BODY:
        return waited >= request_timeout_us ? DEADLINE_TIMEOUT : DEADLINE_FINE;
    case PHASE_REFUSED:
        return waited >= DEADLINE_REFUSED_US ? DEADLINE_CLOSE : DEADLINE_FINE;
    case PHASE_ANSWER:
        break;
    }
    return DEADLINE_FINE;
}
