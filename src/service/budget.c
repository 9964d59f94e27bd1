#include "service/budget.h"

#include "base/clock.h"

#include <math.h>

#define LEAST_STEP 1.25

void budget_meter_resume(struct budget_meter *meter, double rows_per_day, double seconds)
{
    *meter =
        (struct budget_meter){.rows = rows_per_day * seconds / BUDGET_DAY_S, .seconds = seconds};
}

void budget_meter_count(struct budget_meter *meter, uint64_t n_scored, uint64_t now_us)
{
    const uint64_t n_new = n_scored - meter->n_scored;
    if (n_new == 0)
        return;

    if (meter->is_counting && now_us > meter->at_us) {
        const double passed_us = (double)(now_us - meter->at_us);
        const double passed = fmin(passed_us / (double)US_PER_S, BUDGET_DAY_S);
        const double kept = exp(-passed / BUDGET_MEMORY_S);
        meter->rows = meter->rows * kept + (double)n_new;
        meter->seconds = meter->seconds * kept + passed;
    }
    meter->is_counting = true;
    meter->n_scored = n_scored;
    meter->at_us = now_us;
}

double budget_meter_rows_per_day(const struct budget_meter *meter)
{
    const bool is_known = meter->seconds >= BUDGET_DAY_S ||
                          (meter->seconds >= BUDGET_LEAST_S && meter->rows >= BUDGET_LEAST_ROWS);

    return is_known ? meter->rows / meter->seconds * BUDGET_DAY_S : 0.0;
}

bool budget_has_moved(double followed_per_day, double rows_per_day)
{
    return rows_per_day > followed_per_day * LEAST_STEP ||
           rows_per_day * LEAST_STEP < followed_per_day;
}

double budget_rate(double alarms_per_day, double rows_per_day)
{
    if (!(rows_per_day > 0.0))
        return 0.0;
    return fmin(fmax(alarms_per_day / rows_per_day, BUDGET_LEAST_RATE), BUDGET_MOST_RATE);
}
