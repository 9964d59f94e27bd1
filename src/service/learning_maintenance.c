/* When alarms are not wanted, or nothing is to be learned. */
#include "service/learning_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int learning_set_maintenance(struct learning *learning, const struct maintenance_window *windows,
                             size_t n)
{
    struct maintenance_window *copies = n > 0 ? calloc(n, sizeof(*copies)) : NULL;

    if (n > 0 && !copies)
        return -ENOMEM;
    if (n > 0)
        memcpy(copies, windows, n * sizeof(*copies));
    free(learning->windows);
    learning->windows = copies;
    learning->n_windows = n;
    learning->skips_us = 0;
    return 0;
}

static struct learning_skips find_skips(const struct learning *learning, uint64_t time_us)
{
    const struct learning_maintenance *maintenance = &learning->options.maintenance;
    const bool is_on = calendar_is_on(&maintenance->calendar, time_us);
    struct learning_skips skips = {
        .alarms = is_on && maintenance->skips_alarms,
        .learning = is_on && maintenance->skips_learning,
    };

    for (size_t i = 0; i < learning->n_windows; i++) {
        const struct maintenance_window *window = &learning->windows[i];
        const bool is_in = time_us >= window->from_us && time_us < window->until_us;
        skips.alarms |= is_in && window->skips_alarms;
        skips.learning |= is_in && window->skips_learning;
    }
    return skips;
}

/* Rows of one request have one time. */
struct learning_skips learning_skips(struct learning *learning, uint64_t time_us)
{
    if (time_us != learning->skips_us)
        learning->skips = find_skips(learning, time_us);
    learning->skips_us = time_us;
    return learning->skips;
}
