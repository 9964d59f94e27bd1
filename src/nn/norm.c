#include "nn/norm.h"

#include "nn/vector.h"

#include <math.h>

#define LANES 8 /* partial sums that a vector register holds */

VECTOR_CLONES
double norm_squares(const float *x, size_t n)
{
    double sums[LANES] = {0}, sum = 0.0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sums[lane] += (double)x[i + lane] * (double)x[i + lane];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    return sum;
}

VECTOR_CLONES
double norm_scaled_squares(const float *x, const float *scale, size_t n)
{
    double sums[LANES] = {0}, sum = 0.0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) {
            const double scaled = (double)(x[i + lane] * scale[i + lane]);
            sums[lane] += scaled * scaled;
        }
    for (; i < n; i++)
        sum += (double)(x[i] * scale[i]) * (double)(x[i] * scale[i]);
    for (size_t lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    return sum;
}

static inline float smaller(float a, float b)
{
    return a < b ? a : b;
}

VECTOR_CLONES
float norm_smallest(const float *x, size_t n)
{
    float lanes[LANES], smallest = INFINITY;
    size_t i = 0;

    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] = INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] = smaller(lanes[lane], x[i + lane]);
    for (size_t lane = 0; lane < LANES; lane++)
        smallest = smaller(smallest, lanes[lane]);
    for (; i < n; i++)
        smallest = smaller(smallest, x[i]);
    return smallest;
}
