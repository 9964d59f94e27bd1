/* architecture - what a detector's network looks like, for people who inspect it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct detector;
struct text;

#define ARCHITECTURE_MAX_WIDTH 65536 /* units in a layer */

struct architecture_layer {
    size_t n_in, n_out;
    const char *activation; /* "tanh" */
    bool is_encoder;
};

size_t architecture_n_layers(const struct detector *detector);
size_t architecture_n_parameters(const struct detector *detector);
struct architecture_layer architecture_layer(const struct detector *detector, size_t layer);

/* Appends the widths, "38-24-12-24-38". */
void architecture_print(const struct detector *detector, struct text *text);
