#include "detector/trainer.h"

#include "base/random.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/loss.h"
#include "nn/network.h"
#include "nn/optimizer.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_BLOCKS       50
#define FIT_LIMIT      30.0F /* deviations that the loss sees of a value */
#define PATIENCE       20    /* epochs without a better validation loss before training ends */
#define DEFAULT_HIDDEN 64    /* widest layers that are chosen by default; the code at most half */

enum part {
    PART_TRAIN,
    PART_VALIDATION,
    PART_CALIBRATION,
    N_PARTS
};

/* The rows of one part, copied together. */
struct rows {
    size_t n;
    float *values; /* [n][n_features] */
};

static int no_memory(int r, struct error *reterr)
{
    return error_set(reterr, r, "not enough memory to train");
}

void trainer_options_init(struct trainer_options *options)
{
    *options = (struct trainer_options){
        .false_alarm_rate = 0.001,
        .learning_rate = 0.002,
        .epochs = 400,
        .batch_size = 64,
        .seed = 1,
    };
}

static int check_options(const struct trainer_options *options, size_t n_rows, size_t n_features,
                         struct error *reterr)
{
    if (n_rows < TRAINER_MIN_ROWS)
        return error_set(reterr, -EINVAL,
                         "%zu normal rows are too few to train on; give at least %d", n_rows,
                         TRAINER_MIN_ROWS);
    if (!(options->false_alarm_rate > 0.0 && options->false_alarm_rate < 1.0))
        return error_set(reterr, -EINVAL, "the false-alarm rate must be above 0 and below 1");
    if (!(options->learning_rate > 0.0 && isfinite(options->learning_rate)))
        return error_set(reterr, -EINVAL, "the learning rate must be a number above 0");
    if (options->seed > INT64_MAX)
        return error_set(reterr, -EINVAL, "the seed must be below 2^63");
    if (options->epochs == 0 || options->epochs > TRAINER_MAX_COUNT || options->batch_size == 0 ||
        options->batch_size > TRAINER_MAX_COUNT)
        return error_set(reterr, -EINVAL, "epochs and batch size must be 1 to %d",
                         TRAINER_MAX_COUNT);
    if (options->n_hidden > TRAINING_MAX_HIDDEN)
        return error_set(reterr, -EINVAL, "at most %d hidden layers are possible",
                         TRAINING_MAX_HIDDEN);
    for (size_t i = 0; i < options->n_hidden; i++)
        if (options->hidden[i] == 0 || options->hidden[i] > NETWORK_MAX_WIDTH)
            return error_set(reterr, -EINVAL, "a hidden layer must have 1 to %d units",
                             NETWORK_MAX_WIDTH);
    const size_t widest = n_features > 1 ? n_features - 1 : 1;
    if (options->latent > widest)
        return error_set(reterr, -EINVAL,
                         "a code of %zu units is not narrower than the %zu features: the network "
                         "could copy its input; use at most %zu",
                         options->latent, n_features, widest);
    return 0;
}

/* Deals blocks of neighbouring rows to the three parts at random: rows that follow each other in
 * time are alike, and single ones held out would look easier than the future is. */
static int split(const float *rows, size_t n_rows, size_t n_features, struct random *random,
                 struct rows ret_parts[N_PARTS])
{
    const size_t n_blocks = n_rows < N_BLOCKS ? n_rows : N_BLOCKS;
    const size_t n_calibration = (n_blocks + 2) / 5, n_validation = (4 * n_blocks + 12) / 25;
    enum part part_of[N_BLOCKS];
    size_t order[N_BLOCKS];

    for (size_t b = 0; b < n_blocks; b++)
        order[b] = b;
    random_shuffle(random, order, n_blocks);
    for (size_t b = 0; b < n_blocks; b++)
        part_of[order[b]] = b < n_calibration                  ? PART_CALIBRATION
                            : b < n_calibration + n_validation ? PART_VALIDATION
                                                               : PART_TRAIN;

    for (size_t part = 0; part < N_PARTS; part++)
        ret_parts[part].n = 0;
    for (size_t i = 0; i < n_rows; i++)
        ret_parts[part_of[i * n_blocks / n_rows]].n++;
    for (size_t part = 0; part < N_PARTS; part++) {
        assert(ret_parts[part].n > 0); /* there are at least TRAINER_MIN_ROWS blocks */
        ret_parts[part].values = malloc(ret_parts[part].n * n_features * sizeof(float));
        if (!ret_parts[part].values)
            return -ENOMEM;
        ret_parts[part].n = 0;
    }
    for (size_t i = 0; i < n_rows; i++) {
        struct rows *part = &ret_parts[part_of[i * n_blocks / n_rows]];
        memcpy(part->values + part->n++ * n_features, rows + i * n_features,
               n_features * sizeof(float));
    }
    return 0;
}

static size_t at_least_one(size_t n)
{
    return n ? n : 1;
}

/* Input, hidden layers, code, hidden layers back, output. By default 5/8 of the features and then
 * 3/10: 38-24-12-24-38. With one feature there is no narrower code; 1-1-1-1-1 still bends values
 * far from the normal ones out of shape. */
static int build_network(const struct trainer_options *options, size_t n_features,
                         struct network **ret_network)
{
    size_t chosen = (5 * n_features + 7) / 8, latent = (3 * n_features + 9) / 10;
    if (chosen > DEFAULT_HIDDEN)
        chosen = DEFAULT_HIDDEN;
    if (latent > DEFAULT_HIDDEN / 2)
        latent = DEFAULT_HIDDEN / 2;
    const size_t *hidden = options->n_hidden ? options->hidden : &chosen;
    const size_t n_hidden = options->n_hidden ? options->n_hidden : 1;
    if (latent > hidden[n_hidden - 1])
        latent = hidden[n_hidden - 1];
    if (options->latent)
        latent = options->latent;

    const size_t n_layers = 2 * n_hidden + 2;
    size_t widths[2 * TRAINING_MAX_HIDDEN + 3];
    enum activation activations[2 * TRAINING_MAX_HIDDEN + 2];

    widths[0] = widths[n_layers] = n_features;
    widths[n_hidden + 1] = at_least_one(latent);
    for (size_t i = 0; i < n_hidden; i++)
        widths[i + 1] = widths[n_layers - 1 - i] = at_least_one(hidden[i]);
    for (size_t l = 0; l < n_layers; l++)
        activations[l] = l + 1 == n_layers ? ACTIVATION_LINEAR : ACTIVATION_TANH;
    return network_new(widths, activations, n_layers, n_hidden + 1, ret_network);
}

/* Far outliers, and features that never moved among the training rows but do among the validation
 * rows, would otherwise be all that the loss sees. */
static void scale_all(const struct scaler *scaler, struct rows *rows, size_t n_features)
{
    for (size_t i = 0; i < rows->n; i++) {
        float *row = rows->values + i * n_features;
        (void)scaler_apply(scaler, row, row);
        for (size_t j = 0; j < n_features; j++)
            row[j] = fminf(fmaxf(row[j], -FIT_LIMIT), FIT_LIMIT);
    }
}

/* What the epochs share. */
struct training {
    struct network *network;
    struct optimizer optimizer;
    size_t n_features, batch_size;
    size_t *order;          /* [n train] */
    float *scratch;         /* of network_forward() */
    float *batch, *d_out;   /* [batch_size][n_features] */
    float *d_params, *best; /* [n_params] */
};

static void training_clear(struct training *training)
{
    optimizer_clear(&training->optimizer);
    free(training->order);
    free(training->scratch);
    free(training->batch);
    free(training->d_out);
    free(training->d_params);
    free(training->best);
}

static int training_init(struct training *training, struct network *network, size_t n_rows,
                         size_t n_features, size_t batch_size)
{
    training->network = network;
    training->n_features = n_features;
    training->batch_size = batch_size;
    training->order = malloc(n_rows * sizeof(size_t));
    training->scratch = malloc(network_training_floats(network, batch_size) * sizeof(float));
    training->batch = malloc(batch_size * n_features * sizeof(float));
    training->d_out = malloc(batch_size * n_features * sizeof(float));
    training->d_params = malloc(network->n_params * sizeof(float));
    training->best = malloc(network->n_params * sizeof(float));
    if (!training->order || !training->scratch || !training->batch || !training->d_out ||
        !training->d_params || !training->best)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++)
        training->order[i] = i;
    return optimizer_init(&training->optimizer, network->n_params);
}

/* One pass over the training rows; returns the mean loss on the way. */
static double run_epoch(struct training *training, const struct rows *rows, struct random *random,
                        double learning_rate)
{
    const size_t d = training->n_features;
    double sum = 0.0;

    random_shuffle(random, training->order, rows->n);
    for (size_t begin = 0; begin < rows->n; begin += training->batch_size) {
        const size_t left = rows->n - begin;
        const size_t n = left < training->batch_size ? left : training->batch_size;

        for (size_t i = 0; i < n; i++)
            memcpy(training->batch + i * d, rows->values + training->order[begin + i] * d,
                   d * sizeof(float));
        network_forward(training->network, training->scratch, training->batch, n);
        const float *out = network_output(training->network, training->scratch, n);
        sum += loss_mse_forward(out, training->batch, n * d) * (double)n;
        loss_mse_backward(training->d_out, out, training->batch, n * d);
        memset(training->d_params, 0, training->network->n_params * sizeof(float));
        network_backward(training->network, training->scratch, training->batch, n, training->d_out,
                         training->d_params);
        optimizer_step(&training->optimizer, training->network->params, training->d_params,
                       learning_rate);
    }
    return sum / (double)rows->n;
}

static double mean_loss(struct training *training, const struct rows *rows)
{
    const size_t d = training->n_features;
    double sum = 0.0;

    for (size_t begin = 0; begin < rows->n; begin += training->batch_size) {
        const size_t left = rows->n - begin;
        const size_t n = left < training->batch_size ? left : training->batch_size;
        const float *values = rows->values + begin * d;

        network_forward(training->network, training->scratch, values, n);
        sum += loss_mse_forward(network_output(training->network, training->scratch, n), values,
                                n * d) *
               (double)n;
    }
    return sum / (double)rows->n;
}

/* The loss of a network that always answers 0, the mean: what any training starts near. */
static double idle_loss(const struct rows *rows, size_t n_features)
{
    double sum = 0.0;

    for (size_t i = 0; i < rows->n * n_features; i++)
        sum += (double)rows->values[i] * (double)rows->values[i];
    return sum / (double)(rows->n * n_features);
}

/* Trains until the validation loss stops falling; the weights of the best epoch are kept. */
static int fit(struct network *network, const struct rows parts[N_PARTS], size_t n_features,
               const struct trainer_options *options, struct random *random,
               bool (*on_epoch)(void *userdata, const struct trainer_progress *), void *userdata,
               struct training_summary *summary, struct error *reterr)
{
    CLEANUP(training_clear) struct training training = {0};
    const size_t n_rows = parts[PART_TRAIN].n;
    int r = training_init(&training, network, n_rows, n_features,
                          options->batch_size < n_rows ? options->batch_size : n_rows);
    if (r < 0)
        return r;

    const double exploded = 100.0 * (1.0 + idle_loss(&parts[PART_TRAIN], n_features));
    network_init(network, random);
    summary->validation_loss = HUGE_VAL;
    for (size_t epoch = 1; epoch <= options->epochs; epoch++) {
        const struct trainer_progress progress = {
            .epoch = epoch,
            .epochs = options->epochs,
            .train_loss = run_epoch(&training, &parts[PART_TRAIN], random, options->learning_rate),
            .validation_loss = mean_loss(&training, &parts[PART_VALIDATION]),
        };
        if (!(progress.train_loss < exploded) || !isfinite(progress.validation_loss))
            return error_set(reterr, -EDOM,
                             "the training diverged in epoch %zu (loss %g); use a learning rate "
                             "below %g",
                             epoch, progress.train_loss, options->learning_rate);
        summary->epochs = epoch;
        if (progress.validation_loss < summary->validation_loss) {
            summary->best_epoch = epoch;
            summary->train_loss = progress.train_loss;
            summary->validation_loss = progress.validation_loss;
            memcpy(training.best, network->params, network->n_params * sizeof(float));
        }
        if (on_epoch && !on_epoch(userdata, &progress))
            return error_set(reterr, -ECANCELED, "the training was cancelled");
        if (epoch >= summary->best_epoch + PATIENCE)
            break;
    }
    memcpy(network->params, training.best, network->n_params * sizeof(float));
    network_pack(network);
    return 0;
}

/* The errors of rows that the network has not seen, computed as scoring computes them. */
static int calibrate(const struct scaler *scaler, const struct network *network,
                     const struct rows *rows, size_t n_features,
                     struct calibration **ret_calibration)
{
    AUTO_FREE double *errors = calloc(rows->n, sizeof(*errors));
    AUTO_FREE float *residuals =
        malloc((n_features + residual_scratch_floats(network)) * sizeof(float));
    if (!errors || !residuals)
        return -ENOMEM;

    for (size_t i = 0; i < rows->n; i++) {
        size_t n_missing;
        errors[i] = residual_compute(scaler, network, residuals + n_features,
                                     rows->values + i * n_features, residuals, &n_missing);
    }
    return calibration_fit(errors, rows->n, ret_calibration);
}

static void clear_parts(struct rows (*parts)[N_PARTS])
{
    for (size_t part = 0; part < N_PARTS; part++)
        free((*parts)[part].values);
}

/* What is known before the training. */
static void begin_summary(struct training_summary *summary, const struct trainer_options *options,
                          size_t n_rows, const struct rows parts[N_PARTS])
{
    *summary = (struct training_summary){
        .seed = options->seed,
        .false_alarm_rate = options->false_alarm_rate,
        .n_rows = n_rows,
        .n_train = parts[PART_TRAIN].n,
        .n_validation = parts[PART_VALIDATION].n,
        .n_calibration = parts[PART_CALIBRATION].n,
        .n_left_out = options->n_left_out,
        .batch_size = options->batch_size,
        .max_epochs = options->epochs,
        .learning_rate = options->learning_rate,
        .latent = options->latent,
        .n_hidden = options->n_hidden,
    };
    if (options->n_hidden)
        memcpy(summary->hidden, options->hidden, options->n_hidden * sizeof(*options->hidden));
    (void)snprintf(summary->kernel, sizeof(summary->kernel), "%s", detector_kernel());
}

int detector_train(const float *rows, size_t n_rows, const char *const *names, size_t n_features,
                   const struct trainer_options *options,
                   bool (*on_epoch)(void *userdata, const struct trainer_progress *),
                   void *userdata, struct detector **ret_detector, struct error *reterr)
{
    assert((rows || n_rows == 0) && names && options && ret_detector);
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    CLEANUP(network_freep) struct network *network = NULL;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    CLEANUP(clear_parts) struct rows parts[N_PARTS] = {{0}};
    struct random random;

    int r = schema_new(names, n_features, &schema, reterr);
    if (r == 0)
        r = check_options(options, n_rows, n_features, reterr);
    if (r < 0)
        return r;

    random_seed(&random, options->seed);
    r = split(rows, n_rows, n_features, &random, parts);
    if (r < 0)
        return no_memory(r, reterr);

    size_t column = 0;
    r = scaler_fit(parts[PART_TRAIN].values, parts[PART_TRAIN].n, n_features, &scaler, &column);
    if (r == -EINVAL)
        return error_set(reterr, r,
                         "column %s has no value in the rows to train on; use --exclude %s",
                         names[column], names[column]);
    if (r < 0)
        return no_memory(r, reterr);
    scale_all(scaler, &parts[PART_TRAIN], n_features);
    scale_all(scaler, &parts[PART_VALIDATION], n_features);

    struct training_summary summary;
    begin_summary(&summary, options, n_rows, parts);
    r = build_network(options, n_features, &network);
    if (r == 0)
        r = fit(network, parts, n_features, options, &random, on_epoch, userdata, &summary, reterr);
    if (r == 0)
        r = calibrate(scaler, network, &parts[PART_CALIBRATION], n_features, &calibration);
    if (r == 0)
        r = detector_new(TAKE(schema), TAKE(scaler), TAKE(network), TAKE(calibration), &summary,
                         ret_detector);
    return r == -ENOMEM ? no_memory(r, reterr) : r;
}
