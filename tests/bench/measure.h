/* measure - what the benchmarks in C share: CPU time of this thread, what the core can do, and rows
 * that are made up. */
#pragma once

#include <stddef.h>

double measure_cpu_seconds(void);

/* Multiply-adds that 256 bits wide units do at best, two operations each. */
double measure_peak_gflops(void);

/* rows[n_rows][n_features] that hang on 8 causes; the same ones each time. -ENOMEM. */
int measure_make_rows(float *rows, size_t n_rows, size_t n_features);
