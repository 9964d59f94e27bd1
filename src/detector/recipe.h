/* recipe - what a training was asked for: a preset, and the options that override it.
 *
 * One table, recipe_fields, is the truth for the command line, for the model file and for the
 * configuration. A recipe holds no pointers, so it can be copied. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

#define RECIPE_MAX_HIDDEN      8 /* hidden layers of the encoder */
#define RECIPE_MAX_ACTIVATIONS (2 * RECIPE_MAX_HIDDEN + 2)
#define RECIPE_MAX_WIDTH       65536
#define RECIPE_MAX_COUNT       1000000000
#define RECIPE_AUTO \
    SIZE_MAX /* a count that the preset chooses; for an amount NaN, for a choice -1 */
#define RECIPE_TRIM_AUTO (-1.0) /* as many as do not belong (detector/trim.h) */

enum preset {
    PRESET_BEST,
    PRESET_BALANCED,
    PRESET_FAST
};

enum algorithm {
    ALGORITHM_AUTOENCODER,
    ALGORITHM_PCA
};

enum recipe_loss {
    RECIPE_LOSS_AUTO,
    RECIPE_LOSS_MSE,
    RECIPE_LOSS_CROSS_ENTROPY,
    RECIPE_LOSS_MIXED
};

enum recipe_noise {
    RECIPE_NOISE_GAUSSIAN,
    RECIPE_NOISE_MASKING
};

struct recipe {
    double false_alarm_rate;          /* in (0, 1) */
    uint64_t seed;                    /* below 2^63 */
    int preset, algorithm;            /* the enums above */
    int loss;                         /* enum recipe_loss, never -1 */
    int optimizer;                    /* enum optimizer_kind (nn/optimizer.h) */
    int noise_kind;                   /* enum recipe_noise */
    int schedule;                     /* 0 constant, 1 cosine */
    size_t n_hidden;                  /* RECIPE_AUTO: chosen; 0: no hidden layers */
    size_t hidden[RECIPE_MAX_HIDDEN]; /* widths of the encoder's, mirrored in the decoder */
    size_t n_activations;             /* RECIPE_AUTO: chosen; 1: of the hidden layers; else one a
                                       * layer, the output's last */
    int activations[RECIPE_MAX_ACTIVATIONS]; /* enum activation */
    size_t latent;                           /* width of the code */
    size_t epochs;                           /* at most */
    size_t batch_size, warmup;               /* rows; steps */
    size_t patience; /* epochs without a better validation loss before training ends; 0: never */
    size_t prototypes, clusters;
    double learning_rate, weight_decay, l1, sparsity, noise, clip;
    double trim;  /* share of the rows to leave out, below 0.5; RECIPE_TRIM_AUTO */
    bool is_tied; /* decoder weights are the encoder's, transposed */
};

enum recipe_kind {
    RECIPE_CHOICE,      /* int, index into choices */
    RECIPE_COUNT,       /* size_t, 1 to RECIPE_MAX_COUNT */
    RECIPE_COUNT_OR_0,  /* size_t, 0 to RECIPE_MAX_COUNT */
    RECIPE_POSITIVE,    /* double above 0 */
    RECIPE_AMOUNT,      /* double, 0 or above */
    RECIPE_RATE,        /* double from 1e-9 to below 1 */
    RECIPE_TRIM,        /* double, 0 to below 0.5, or RECIPE_TRIM_AUTO */
    RECIPE_SEED,        /* uint64_t below 2^63 */
    RECIPE_WIDTHS,      /* n_hidden and hidden */
    RECIPE_ACTIVATIONS, /* n_activations and activations */
    RECIPE_FLAG         /* bool */
};

struct recipe_field {
    const char *name; /* "learning-rate"; with _ for - it is the key in files */
    enum recipe_kind kind;
    size_t offset;               /* in struct recipe */
    const char *const *choices;  /* NULL-terminated names of a RECIPE_CHOICE */
    const char *argument, *help; /* for --help */
};

extern const struct recipe_field recipe_fields[];
extern const size_t recipe_n_fields;

/* Everything chosen by preset best: rate 0.001, seed 1. */
void recipe_init(struct recipe *recipe);

/* Sets a field from text. -EINVAL: reterr says what it must be, without naming the field. */
MUST_CHECK int recipe_set(struct recipe *recipe, const struct recipe_field *field, const char *text,
                          struct error *reterr);

/* True if the field is not left to the preset. */
bool recipe_is_set(const struct recipe *recipe, const struct recipe_field *field);

/* Appends the value of a field that is set, as recipe_set() reads it: "24,12", "cosine", "yes". */
void recipe_print(const struct recipe *recipe, const struct recipe_field *field, struct text *text);

/* Contradictions between options, and with the number of features; names the options.
 * -EINVAL with what to use. */
MUST_CHECK int recipe_check(const struct recipe *recipe, size_t n_features, struct error *reterr);

const char *preset_name(int preset); /* "best" */
