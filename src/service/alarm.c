#include "service/alarm.h"

#include <assert.h>

static uint64_t newest_flags(const struct alarm *alarm, const struct alarm_policy *policy)
{
    assert(policy->of <= ALARM_MOST_ROWS);
    return policy->of == 0 ? 0 : alarm->flags & (UINT64_MAX >> (ALARM_MOST_ROWS - policy->of));
}

static bool has_passed(const struct alarm *alarm, uint64_t span_us, uint64_t now_us)
{
    const uint64_t since_us = alarm->changed_us;

    return (now_us > since_us ? now_us - since_us : since_us - now_us) >= span_us;
}

static bool must_open(const struct alarm *alarm, const struct alarm_policy *policy, bool is_anomaly,
                      uint64_t time_us)
{
    if (!is_anomaly || policy->n == 0 ||
        (unsigned)__builtin_popcountll(newest_flags(alarm, policy)) < policy->n)
        return false;
    return !alarm->has_closed || has_passed(alarm, policy->cool_down_us, time_us);
}

static bool must_close(const struct alarm *alarm, const struct alarm_policy *policy,
                       uint64_t time_us)
{
    return policy->n == 0 ||
           (alarm->n_clear >= policy->clear_rows && has_passed(alarm, policy->hold_us, time_us));
}

enum alarm_change alarm_take(struct alarm *alarm, const struct alarm_policy *policy, bool may_open,
                             bool is_anomaly, double score, uint64_t time_us)
{
    alarm->flags = alarm->flags << 1 | is_anomaly;
    alarm->n_clear = is_anomaly || score >= policy->clear_score ? 0 : alarm->n_clear + 1;
    if (may_open && !alarm->is_open && must_open(alarm, policy, is_anomaly, time_us)) {
        alarm->is_open = true;
        alarm->changed_us = time_us;
        return ALARM_OPENED;
    }
    if (alarm->is_open && must_close(alarm, policy, time_us)) {
        *alarm = (struct alarm){.has_closed = true, .changed_us = time_us};
        return ALARM_CLOSED;
    }
    return ALARM_UNCHANGED;
}

bool alarm_is_quiet(const struct alarm *alarm, const struct alarm_policy *policy)
{
    return !alarm->is_open && newest_flags(alarm, policy) == 0;
}
