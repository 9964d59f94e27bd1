/* clock - time as microseconds. */
#pragma once

#include <stdint.h>

#define US_PER_MS 1000ULL
#define US_PER_S  1000000ULL

uint64_t clock_monotonic_us(void); /* since boot; for durations and deadlines */
uint64_t clock_realtime_us(void);  /* since 1970 */
