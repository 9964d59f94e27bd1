/* train_print - what train tells once the model file is written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;
struct prepare_spec;
struct text;
struct trainer_progress;

/* Borrows all. */
struct trained {
    const struct detector *detector;
    const char *data, *output;             /* names for people: of the rows, of the model file */
    const struct trainer_progress *epochs; /* [n_epochs] in order of network, then epoch */
    size_t n_epochs;
    size_t n_incomplete; /* rows left out because more than half of their features are missing */
    size_t n_rows;       /* that were given to the trainer */
    const bool *trimmed; /* [n_rows] whether it left them out; NULL: none */
    const uint32_t *numbers; /* [n_rows] of each in the file, from 0; or NULL */
    const uint32_t *lines;   /* of all rows of the file, by number */
    double seconds;
};

/* A table, or one JSON document, which has every epoch too. */
void train_print(const struct trained *trained, struct text *text);
void train_print_json(const struct trained *trained, struct text *text);

/* On stderr, if the calibration rows cannot promise the false-alarm rate. */
void train_warn_of_few_rows(const struct trained *trained);

/* On stderr, if a zone or gap was given that nothing of the spec asks for. */
void train_warn_of_idle_settings(const struct prepare_spec *spec);
