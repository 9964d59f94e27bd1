#include "detector/trainer.h"

#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static float rows[TINY_ROWS * TINY_FEATURES];
static struct trainer_options options;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    detector_init();
    tiny_rows(1, rows, TINY_ROWS);
    trainer_options_init(&options);
    options.epochs = 5;
    memset(&error, 0, sizeof(error));
    return 0;
}

static int train(size_t n_rows, size_t n_features, struct detector **ret_detector)
{
    return detector_train(rows, n_rows, tiny_names, n_features, &options, NULL, NULL, ret_detector,
                          &error);
}

static void expect_refusal(const char *part_of_the_reason)
{
    struct detector *none = NULL;

    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &none), -EINVAL);
    assert_null(none);
    assert_non_null(strstr(error.text, part_of_the_reason));
}

static void same_seed_gives_the_same_weights_and_threshold(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *one = tiny_detector(7);
    CLEANUP(detector_freep) struct detector *two = tiny_detector(7);
    CLEANUP(detector_freep) struct detector *other = tiny_detector(8);
    const struct network *a = detector_network(one), *b = detector_network(two),
                         *c = detector_network(other);

    assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
    assert_true(calibration_threshold(detector_calibration(one), 0.05) ==
                calibration_threshold(detector_calibration(two), 0.05));
    assert_memory_not_equal(a->params, c->params, a->n_params * sizeof(float));
}

static void the_three_parts_are_64_16_and_20_percent(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    const struct training_summary *summary = detector_summary(detector);
    assert_int_equal(summary->n_train, 256);
    assert_int_equal(summary->n_validation, 64);
    assert_int_equal(summary->n_calibration, 80);
    assert_int_equal(summary->n_rows, TINY_ROWS);
    assert_int_equal(calibration_n_rows(detector_calibration(detector)), 80);
}

static void twenty_rows_are_enough_and_nineteen_are_not(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    assert_int_equal(train(19, TINY_FEATURES, &detector), -EINVAL);
    assert_non_null(strstr(error.text, "19 normal rows are too few"));
    assert_int_equal(train(20, TINY_FEATURES, &detector), 0);
}

static void default_architecture_is_undercomplete_and_symmetric(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    const struct network *network = detector_network(detector);
    assert_int_equal(network->n_layers, 4);
    assert_int_equal(network->layers[0].n_out, 4);
    assert_int_equal(network->layers[1].n_out, 2);
    assert_int_equal(network->layers[2].n_out, 4);
    assert_int_equal(network->layers[3].n_out, TINY_FEATURES);
    assert_int_equal(network->layers[3].activation, ACTIVATION_LINEAR);
}

static void one_feature_can_be_learned(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    assert_int_equal(train(TINY_ROWS, 1, &detector), 0);
    assert_int_equal(detector_n_features(detector), 1);
}

static void layers_given_are_mirrored_in_the_decoder(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    const size_t hidden[] = {5, 4};

    options.hidden = hidden;
    options.n_hidden = 2;
    options.latent = 3;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    const struct network *network = detector_network(detector);
    const size_t want[] = {5, 4, 3, 4, 5, TINY_FEATURES};
    assert_int_equal(network->n_layers, 6);
    assert_int_equal(network->n_encoder_layers, 3);
    for (size_t l = 0; l < 6; l++)
        assert_int_equal(network->layers[l].n_out, want[l]);
}

static void a_code_as_wide_as_the_features_is_refused(void **state)
{
    (void)state;
    options.latent = TINY_FEATURES;
    expect_refusal("not narrower than the 6 features");
}

static void the_code_is_never_wider_than_the_layer_before_it(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    const size_t hidden[] = {1};

    options.hidden = hidden;
    options.n_hidden = 1;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    assert_int_equal(detector_network(detector)->layers[1].n_out, 1);
}

static void one_feature_allows_no_wide_code(void **state)
{
    (void)state;
    struct detector *none = NULL;

    options.latent = 2;
    assert_int_equal(train(TINY_ROWS, 1, &none), -EINVAL);
    assert_non_null(strstr(error.text, "use at most 1"));
}

static void wide_defaults_are_capped(void **state)
{
    (void)state;
    enum {
        WIDE = 300
    };
    static float wide[TRAINER_MIN_ROWS * WIDE];
    static char storage[WIDE][8];
    const char *names[WIDE];
    CLEANUP(detector_freep) struct detector *detector = NULL;

    for (size_t i = 0; i < WIDE; i++) {
        (void)snprintf(storage[i], sizeof(storage[i]), "f%zu", i);
        names[i] = storage[i];
    }
    for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++)
        wide[i] = (float)(i % 7);
    options.epochs = 1;
    assert_int_equal(detector_train(wide, TRAINER_MIN_ROWS, names, WIDE, &options, NULL, NULL,
                                    &detector, &error),
                     0);
    assert_int_equal(detector_network(detector)->layers[0].n_out, 64);
    assert_int_equal(detector_network(detector)->layers[1].n_out, 32);
}

static void a_batch_larger_than_the_rows_is_all_of_them(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *one = NULL;
    CLEANUP(detector_freep) struct detector *two = NULL;

    options.batch_size = 256; /* the training rows */
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &one), 0);
    options.batch_size = TRAINER_MAX_COUNT;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &two), 0);
    assert_memory_equal(detector_network(one)->params, detector_network(two)->params,
                        detector_network(one)->n_params * sizeof(float));
}

/* Feature a is the number of the row. If blocks of 8 neighbours are dealt out, the numbers of the
 * 256 training rows add up to 64 times the sum of their blocks' numbers and 32 · (0 + … + 7). */
static void neighbours_stay_in_one_part(void **state)
{
    (void)state;
    for (size_t i = 0; i < TINY_ROWS; i++)
        rows[i * TINY_FEATURES] = (float)i;
    options.epochs = 1;
    for (options.seed = 1; options.seed <= 4; options.seed++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
        const double sum = 256 * (double)scaler_mean(detector_scaler(detector))[0];
        const double blocks = (sum - 32 * 28) / 64;
        assert_true(fabs(blocks - round(blocks)) < 1e-3);
    }
}

/* The weights kept are those of the best epoch, not of the last. */
static void the_best_epoch_is_kept(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *long_run = NULL;
    CLEANUP(detector_freep) struct detector *short_run = NULL;

    options.epochs = 100000;
    options.learning_rate = 0.01;
    assert_int_equal(train(100, TINY_FEATURES, &long_run), 0);
    assert_true(detector_summary(long_run)->best_epoch < detector_summary(long_run)->epochs);
    options.epochs = detector_summary(long_run)->best_epoch;
    assert_int_equal(train(100, TINY_FEATURES, &short_run), 0);
    assert_memory_equal(detector_network(long_run)->params, detector_network(short_run)->params,
                        detector_network(short_run)->n_params * sizeof(float));
}

/* One value that never moved before must not be all that the validation loss sees. */
static void a_lone_outlier_does_not_rule_the_validation_loss(void **state)
{
    (void)state;
    for (size_t seed = 1; seed <= 5; seed++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        tiny_rows(1, rows, TINY_ROWS);
        for (size_t i = 0; i < TINY_ROWS; i++)
            rows[i * TINY_FEATURES + 5] = i == 200 ? 1e6F : 0;
        options.seed = seed;
        assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
        assert_true(detector_summary(detector)->validation_loss < 5);
    }
}

static void options_are_kept_as_they_were_asked_for(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    const size_t hidden[] = {5, 4};

    options.hidden = hidden;
    options.n_hidden = 2;
    options.epochs = 3;
    options.batch_size = 32;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    const struct training_summary *summary = detector_summary(detector);
    assert_int_equal(summary->n_hidden, 2);
    assert_int_equal(summary->hidden[1], 4);
    assert_int_equal(summary->latent, 0);
    assert_int_equal(summary->max_epochs, 3);
    assert_int_equal(summary->batch_size, 32);
    assert_string_equal(summary->kernel, detector_kernel());
}

static void options_out_of_range_are_refused_with_the_reason(void **state)
{
    (void)state;
    const size_t zero[] = {0};

    options.false_alarm_rate = 0;
    expect_refusal("false-alarm rate");
    trainer_options_init(&options);
    options.false_alarm_rate = (double)NAN;
    expect_refusal("false-alarm rate");
    trainer_options_init(&options);
    options.learning_rate = -1;
    expect_refusal("learning rate");
    trainer_options_init(&options);
    options.epochs = 0;
    expect_refusal("epochs");
    trainer_options_init(&options);
    options.hidden = zero;
    options.n_hidden = 1;
    expect_refusal("hidden layer");
    trainer_options_init(&options);
    options.seed = UINT64_MAX;
    expect_refusal("seed");
    trainer_options_init(&options);
    options.batch_size = SIZE_MAX;
    expect_refusal("batch size");
    trainer_options_init(&options);
    const size_t nine[] = {5, 5, 5, 5, 5, 5, 5, 5, 5};
    options.hidden = nine;
    options.n_hidden = 9;
    expect_refusal("at most 8 hidden layers");
}

static void a_column_without_values_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < TINY_ROWS; i++)
        rows[i * TINY_FEATURES + 3] = NAN;
    expect_refusal("column d has no value");
}

static void rows_with_gaps_and_constant_columns_train(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    for (size_t i = 0; i < TINY_ROWS; i++) {
        rows[i * TINY_FEATURES + 2] = 5;
        if (i % 3 == 0)
            rows[i * TINY_FEATURES + 1] = NAN;
    }
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    assert_true(isfinite(detector_summary(detector)->validation_loss));
}

static void divergence_is_noticed_and_explained(void **state)
{
    (void)state;
    const double rates[] = {100, 1e30};

    for (size_t i = 0; i < 2; i++) {
        struct detector *none = NULL;
        options.learning_rate = rates[i];
        assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &none), -EDOM);
        assert_null(none);
        assert_non_null(strstr(error.text, "diverged"));
        assert_non_null(strstr(error.text, "learning rate below"));
    }
}

static void extreme_outliers_do_not_break_the_training(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    for (size_t i = 0; i < (size_t)TINY_ROWS * TINY_FEATURES; i++)
        if (i % 97 == 0)
            rows[i] *= 1e30F;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &detector), 0);
    assert_true(isfinite(detector_summary(detector)->validation_loss));
}

struct epochs {
    size_t seen, cancel_at;
    double first, last;
};

static bool on_epoch(void *userdata, const struct trainer_progress *progress)
{
    struct epochs *epochs = userdata;

    assert_int_equal(progress->epoch, ++epochs->seen);
    if (epochs->seen == 1)
        epochs->first = progress->validation_loss;
    epochs->last = progress->validation_loss;
    return epochs->seen != epochs->cancel_at;
}

static void losses_fall_and_every_epoch_is_reported(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct epochs epochs = {0};

    options.epochs = 30;
    options.learning_rate = 0.01;
    assert_int_equal(detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options, on_epoch,
                                    &epochs, &detector, &error),
                     0);
    assert_int_equal(epochs.seen, detector_summary(detector)->epochs);
    assert_true(detector_summary(detector)->validation_loss < 0.3 * epochs.first);
}

static void training_stops_early_when_nothing_gets_better(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    options.epochs = 100000;
    options.learning_rate = 0.01;
    assert_int_equal(train(100, TINY_FEATURES, &detector), 0);
    assert_true(detector_summary(detector)->epochs < 20000);
    assert_int_equal(detector_summary(detector)->epochs,
                     detector_summary(detector)->best_epoch + 20);
}

static void training_can_be_cancelled(void **state)
{
    (void)state;
    struct detector *none = NULL;
    struct epochs epochs = {.cancel_at = 3};

    assert_int_equal(detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options, on_epoch,
                                    &epochs, &none, &error),
                     -ECANCELED);
    assert_null(none);
    assert_int_equal(epochs.seen, 3);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    options.epochs = 1;
    for (; r == -ENOMEM && nth < 200; nth++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        alloc_fail_in = nth;
        r = train(TINY_ROWS, TINY_FEATURES, &detector);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 15); /* it did fail some */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_seed_gives_the_same_weights_and_threshold, set_up),
        cmocka_unit_test_setup(the_three_parts_are_64_16_and_20_percent, set_up),
        cmocka_unit_test_setup(twenty_rows_are_enough_and_nineteen_are_not, set_up),
        cmocka_unit_test_setup(default_architecture_is_undercomplete_and_symmetric, set_up),
        cmocka_unit_test_setup(one_feature_can_be_learned, set_up),
        cmocka_unit_test_setup(layers_given_are_mirrored_in_the_decoder, set_up),
        cmocka_unit_test_setup(a_code_as_wide_as_the_features_is_refused, set_up),
        cmocka_unit_test_setup(the_code_is_never_wider_than_the_layer_before_it, set_up),
        cmocka_unit_test_setup(one_feature_allows_no_wide_code, set_up),
        cmocka_unit_test_setup(wide_defaults_are_capped, set_up),
        cmocka_unit_test_setup(a_batch_larger_than_the_rows_is_all_of_them, set_up),
        cmocka_unit_test_setup(neighbours_stay_in_one_part, set_up),
        cmocka_unit_test_setup(the_best_epoch_is_kept, set_up),
        cmocka_unit_test_setup(a_lone_outlier_does_not_rule_the_validation_loss, set_up),
        cmocka_unit_test_setup(options_are_kept_as_they_were_asked_for, set_up),
        cmocka_unit_test_setup(options_out_of_range_are_refused_with_the_reason, set_up),
        cmocka_unit_test_setup(a_column_without_values_is_named, set_up),
        cmocka_unit_test_setup(rows_with_gaps_and_constant_columns_train, set_up),
        cmocka_unit_test_setup(divergence_is_noticed_and_explained, set_up),
        cmocka_unit_test_setup(extreme_outliers_do_not_break_the_training, set_up),
        cmocka_unit_test_setup(losses_fall_and_every_epoch_is_reported, set_up),
        cmocka_unit_test_setup(training_stops_early_when_nothing_gets_better, set_up),
        cmocka_unit_test_setup(training_can_be_cancelled, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
