/* architecture - what a detector is made of, for people who inspect it: its networks layer by
 * layer, what a row costs, and what training chose for which reason. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct detector;
struct text;

struct architecture_layer {
    size_t n_in, n_out;
    const char *activation; /* "tanh" */
    bool is_encoder;
};

size_t architecture_n_networks(const struct detector *detector);
size_t architecture_n_layers(const struct detector *detector, size_t network);
struct architecture_layer architecture_layer(const struct detector *detector, size_t network,
                                             size_t layer);
size_t architecture_n_parameters(const struct detector *detector); /* of all networks */
size_t architecture_n_prototypes(const struct detector *detector);
size_t architecture_n_clusters(const struct detector *detector);

/* Appends the widths of all networks, "76-64-32-19-32-64-76 + 76-64-32-31-32-64-76". */
void architecture_print(const struct detector *detector, struct text *text);

/* What judging one row costs: multiply-adds of all parts, and bytes of them that it reads. */
struct architecture_cost {
    size_t multiply_adds, bytes;
};
struct architecture_cost architecture_cost(const struct detector *detector);

/* One thing that training decided. */
struct architecture_choice {
    const char *what; /* "loss" */
    char value[96];   /* "mse" */
    char reason[128]; /* "not all values are 0 or 1" */
};
#define ARCHITECTURE_MAX_CHOICES 12

/* Returns how many there are. */
size_t architecture_choices(const struct detector *detector,
                            struct architecture_choice ret_choices[ARCHITECTURE_MAX_CHOICES]);
