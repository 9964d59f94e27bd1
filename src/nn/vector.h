/* vector - one function, three machine codes: for any processor, for those with AVX2 and FMA, and
 * for those with AVX-512; the right one is chosen when the program starts. The last two give the
 * same bits. configure finds out whether the compiler can. */
#pragma once

#include <stddef.h>

#ifdef HAVE_TARGET_CLONES
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

/* Put before a loop of few rounds whose number is known after inlining. */
#ifdef __clang__
#define VECTOR_UNROLL _Pragma("unroll")
#else
#define VECTOR_UNROLL _Pragma("GCC unroll 16")
#endif

/* For an array in a hot loop that is written before it is read: the compiler need not clear it, as
 * the build's hardening asks for otherwise. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define VECTOR_UNINITIALIZED __attribute__((uninitialized))
#else
#define VECTOR_UNINITIALIZED
#endif

const char *vector_kernel(void); /* "fma" or "portable" */

/* y[n] += factor · x[n] */
void vector_add(float *restrict y, float factor, const float *restrict x, size_t n);
