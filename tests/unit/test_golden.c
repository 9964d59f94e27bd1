/* Our networks, training and optimizers against what PyTorch computes in double, from
 * tests/golden/torch.txt. make_torch.py beside it says what the file holds. */
#include "base/file.h"
#include "nn/loss.h"
#include "nn/network.h"
#include "nn/training.h"

#include "support/cmocka.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SECTIONS 200
#define MAX_NUMBERS  1200
#define MAX_LAYERS   8
#define MAX_WIDTH    32
#define MAX_SIZE     (1 << 20)

/* Relative to the largest number of an array (one layer's weights, say). The worst seen with
 * OpenBLAS' Haswell and Nehalem kernels, with sanitizers and without, are 3.1e-7, 1.5e-6 and
 * 3.0e-6. */
#define OUTPUT_TOLERANCE   1e-6
#define GRADIENT_TOLERANCE 5e-6
#define MOVED_TOLERANCE    1e-5

enum { /* sections of each kind: none gets lost unseen */
    N_NETWORKS = 41,
    N_TRAININGS = 30,
    N_SCHEDULES = 3,
    N_OPTIMIZER_RUNS = 20
};

static char *sections[MAX_SECTIONS]; /* each "KIND NAME\nkey value value …\n…" */
static size_t n_sections;
static char *text;

static int load(void **state)
{
    (void)state;
    const char *top = getenv("top_srcdir");
    AUTO_FREE char *path = NULL;
    struct error error;
    size_t size;

    assert_true(asprintf(&path, "%s/tests/golden/torch.txt", top ? top : ".") > 0);
    if (file_read(path, MAX_SIZE, &text, &size, &error) < 0)
        fail_msg("%s", error.text);
    for (char *section = text, *end; (end = strstr(section, "\n\n")); section = end + 2) {
        assert_true(n_sections < MAX_SECTIONS);
        end[1] = '\0';
        sections[n_sections++] = section;
    }
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(text);
    return 0;
}

/* The values of a line; NULL: there is none. */
static const char *find(const char *section, const char *key)
{
    const size_t length = strlen(key);

    for (const char *line = strchr(section, '\n') + 1; *line; line = strchr(line, '\n') + 1)
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return line + length + 1;
    return NULL;
}

/* Returns how many; 0 without such a line. */
static size_t read_numbers(const char *section, const char *key, double *ret_values)
{
    const char *at = find(section, key);
    size_t n = 0;

    while (at && *at != '\n') {
        char *end;
        assert_true(n < MAX_NUMBERS);
        ret_values[n++] = strtod(at, &end);
        assert_ptr_not_equal(end, at);
        at = end;
    }
    return n;
}

static double read_number(const char *section, const char *key)
{
    double values[MAX_NUMBERS] = {0.0};

    assert_true(read_numbers(section, key, values) <= 1);
    return values[0];
}

static size_t read_floats(const char *section, const char *key, float *ret_values)
{
    double values[MAX_NUMBERS];
    const size_t n = read_numbers(section, key, values);

    for (size_t i = 0; i < n; i++)
        ret_values[i] = (float)values[i];
    return n;
}

static void read_activations(const char *section, size_t n, enum activation *ret_activations)
{
    const char *at = find(section, "activations");

    assert_non_null(at);
    for (size_t i = 0; i < n; i++) {
        char name[16];
        int length;
        assert_int_equal(sscanf(at, "%15s%n", name, &length), 1);
        assert_int_equal(activation_from_name(name, &ret_activations[i]), 0);
        at += length;
    }
    assert_int_equal(*at, '\n');
}

static void read_optimizer(const char *section, struct optimizer_options *ret_options)
{
    const char *at = find(section, "optimizer");
    char name[16];

    if (at) { /* else plain descent */
        assert_int_equal(sscanf(at, "%15s", name), 1);
        assert_int_equal(optimizer_from_name(name, &ret_options->kind), 0);
    }
    ret_options->weight_decay = read_number(section, "weight_decay");
    ret_options->l1 = read_number(section, "l1");
}

/* What a section of kind network or training gives to both sides. */
struct sample {
    const char *section;
    struct network *network;
    size_t n_rows, n_features;
    float *rows;    /* [n_rows][n_features] */
    float *scratch; /* of network_forward() */
};

static void sample_clear(struct sample *sample)
{
    network_free(sample->network);
    free(sample->rows);
    free(sample->scratch);
}

static struct network *read_network(const char *section)
{
    double values[MAX_NUMBERS];
    size_t widths[MAX_LAYERS + 1];
    enum activation activations[MAX_LAYERS];
    bool bounded[MAX_WIDTH] = {false};
    const size_t n_widths = read_numbers(section, "widths", values);
    struct network_shape shape = {
        .n_layers = n_widths - 1,
        .n_encoder_layers = (size_t)read_number(section, "encoder_layers"),
        .widths = widths,
        .activations = activations,
        .is_tied = read_number(section, "tied") != 0.0,
    };
    struct network *network = NULL;

    assert_in_range(n_widths, 3, MAX_LAYERS + 1);
    for (size_t i = 0; i < n_widths; i++)
        widths[i] = (size_t)values[i];
    read_activations(section, shape.n_layers, activations);
    if (read_numbers(section, "bounded", values)) {
        for (size_t i = 0; i < widths[0]; i++)
            bounded[i] = values[i] != 0.0;
        shape.bounded = bounded;
    }
    assert_int_equal(network_new(&shape, &network), 0);
    assert_int_equal(read_numbers(section, "params", values), network->n_params);
    read_floats(section, "params", network->params);
    return network;
}

static struct sample read_sample(const char *section)
{
    struct sample sample = {.section = section, .network = read_network(section)};

    sample.n_features = network_n_features(sample.network);
    sample.rows = malloc(MAX_NUMBERS * sizeof(float));
    assert_non_null(sample.rows);
    sample.n_rows = read_floats(section, "rows", sample.rows) / sample.n_features;
    assert_true(sample.n_rows > 1);
    sample.scratch = malloc(network_training_floats(sample.network, sample.n_rows) * sizeof(float));
    assert_non_null(sample.scratch);
    network_forward(sample.network, sample.scratch, sample.rows, sample.n_rows);
    return sample;
}

static bool is_of_kind(const char *section, const char *kind)
{
    const size_t length = strlen(kind);

    return strncmp(section, kind, length) == 0 && section[length] == ' ';
}

/* Calls check for each section of a kind, of which there must be n. */
static void for_each(const char *kind, size_t n, void (*check)(const char *section))
{
    for (size_t i = 0; i < n_sections; i++)
        if (is_of_kind(sections[i], kind)) {
            check(sections[i]);
            n--;
        }
    assert_int_equal(n, 0);
}

static void expect(const char *section, const char *what, const double *got, const double *want,
                   size_t n, double tolerance)
{
    double largest = 0.0;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * largest))
            fail_msg("%.*s, %s %zu: %.9g, should be %.9g", (int)strcspn(section, "\n"), section,
                     what, i, got[i], want[i]);
}

static void expect_floats(const char *section, const char *key, const float *got, size_t n)
{
    double want[MAX_NUMBERS], is[MAX_NUMBERS];

    assert_int_equal(read_numbers(section, key, want), n);
    for (size_t i = 0; i < n; i++)
        is[i] = (double)got[i];
    expect(section, key, is, want, n, OUTPUT_TOLERANCE);
}

/* Each layer's weights and biases by their own scale. */
static void expect_params(const struct sample *sample, const char *what, const double *got,
                          const double *want, double tolerance)
{
    for (size_t l = 0; l < sample->network->n_layers; l++) {
        const struct layer *layer = &sample->network->layers[l];

        expect(sample->section, what, got + layer->weight, want + layer->weight,
               layer->n_in * layer->n_out, tolerance);
        expect(sample->section, what, got + layer->bias, want + layer->bias, layer->n_out,
               tolerance);
    }
}

static void check_forward(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    const struct network *network = sample.network;

    expect_floats(section, "codes", network_codes(network, sample.scratch, sample.n_rows),
                  sample.n_rows * network_n_codes(network));
    expect_floats(section, "out", network_output(network, sample.scratch, sample.n_rows),
                  sample.n_rows * sample.n_features);
}

static void codes_and_outputs_of_every_network(void **state)
{
    (void)state;
    for_each("network", N_NETWORKS, check_forward);
}

static void check_inference(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    const size_t n = sample.n_features, stride = network_output_stride(sample.network);
    float tight[MAX_NUMBERS];
    AUTO_FREE float *scratch =
        malloc(network_inference_floats(sample.network, sample.n_rows) * sizeof(*scratch));

    assert_non_null(scratch);
    assert_int_equal(network_pack(sample.network), 0);
    const float *out = network_infer(sample.network, scratch, sample.rows, sample.n_rows);
    for (size_t r = 0; r < sample.n_rows; r++)
        memcpy(tight + r * n, out + r * stride, n * sizeof(*tight));
    expect_floats(section, "out", tight, sample.n_rows * n);
}

static void outputs_of_every_network_packed(void **state)
{
    (void)state;
    for_each("network", N_NETWORKS, check_inference);
}

static struct loss loss_of(const struct network *network)
{
    return (struct loss){
        .n_features = network_n_features(network),
        .activation = network->layers[network->n_layers - 1].activation,
        .bounded = network->bounded,
    };
}

static void check_loss(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    const struct loss loss = loss_of(sample.network);
    const double want = read_number(section, "loss");
    const double got = loss_forward(
        &loss, network_output_sums(sample.network, sample.scratch, sample.n_rows),
        network_output(sample.network, sample.scratch, sample.n_rows), sample.rows, sample.n_rows);

    expect(section, "loss", &got, &want, 1, OUTPUT_TOLERANCE);
}

static void loss_of_every_network(void **state)
{
    (void)state;
    for_each("network", N_NETWORKS, check_loss);
}

static bool has_regularisation(const char *section)
{
    return find(section, "code_l1") || find(section, "sparsity") || find(section, "weight_decay") ||
           find(section, "l1");
}

static void check_backward(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    const struct loss loss = loss_of(sample.network);
    float d_sums[MAX_NUMBERS], d_params[MAX_NUMBERS] = {0.0F};
    double got[MAX_NUMBERS], want[MAX_NUMBERS];

    if (has_regularisation(section))
        return;
    loss_backward(&loss, d_sums, network_output_sums(sample.network, sample.scratch, sample.n_rows),
                  network_output(sample.network, sample.scratch, sample.n_rows), sample.rows,
                  sample.n_rows);
    network_backward(sample.network, sample.scratch, sample.rows, sample.n_rows, d_sums, NULL,
                     d_params);
    for (size_t i = 0; i < sample.network->n_params; i++)
        got[i] = (double)d_params[i];
    assert_int_equal(read_numbers(section, "gradient", want), sample.network->n_params);
    expect_params(&sample, "gradient", got, want, GRADIENT_TOLERANCE);
}

static void gradient_by_every_param_of_every_network(void **state)
{
    (void)state;
    for_each("network", N_NETWORKS, check_backward);
}

static struct training_options read_options(const struct sample *sample)
{
    const char *section = sample->section;
    struct training_options options = {
        .learning_rate = read_number(section, "learning_rate"),
        .warmup_steps = (size_t)read_number(section, "warmup_steps"),
        .cosine = read_number(section, "cosine") != 0.0,
        .n_steps = (size_t)read_number(section, "n_steps"),
        .batch_size = sample->n_rows,
        .code_l1 = read_number(section, "code_l1"),
        .sparsity = read_number(section, "sparsity"),
        .sparsity_target = read_number(section, "sparsity_target"),
        .clip = read_number(section, "clip"),
    };

    read_optimizer(section, &options.optimizer);
    return options;
}

/* One step of plain descent is the gradient; so long a step that what params had before costs no
 * digits, a power of 2 so that it costs none itself. */
static void check_step(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    struct training_options options = read_options(&sample);
    struct training_result result;
    float before[MAX_NUMBERS];
    double got[MAX_NUMBERS], want[MAX_NUMBERS];
    const size_t n = read_floats(section, "params", before);

    options.learning_rate = 1024.0;
    options.n_steps = 1;
    assert_int_equal(training_run(sample.network, sample.rows, sample.n_rows, NULL, 0, &options,
                                  NULL, NULL, &result, NULL),
                     0);
    for (size_t i = 0; i < n; i++)
        got[i] = ((double)before[i] - (double)sample.network->params[i]) / options.learning_rate;
    assert_int_equal(read_numbers(section, "gradient", want), n);
    expect_params(&sample, "gradient", got, want, GRADIENT_TOLERANCE);
    const double loss = read_number(section, "loss");
    expect(section, "loss", &result.loss, &loss, 1, OUTPUT_TOLERANCE);
}

static void a_training_step_follows_gradient_penalties_and_decay(void **state)
{
    (void)state;
    for_each("network", N_NETWORKS, check_step);
}

/* What a training must show after each step. */
struct course {
    const struct sample *sample;
    float before[MAX_NUMBERS];
    double losses[MAX_NUMBERS], norms[MAX_NUMBERS];
    double kept[MAX_NUMBERS];  /* [n_kept] the steps of `moved` */
    double moved[MAX_NUMBERS]; /* [n_kept][n_params] */
    size_t n_kept, next;
};

static bool follow(void *userdata, const struct training_progress *progress)
{
    struct course *course = userdata;
    const struct sample *sample = course->sample;
    const size_t step = progress->epoch, n = sample->network->n_params;
    double got[MAX_NUMBERS];

    expect(sample->section, "loss", &progress->loss, &course->losses[step - 1], 1,
           OUTPUT_TOLERANCE);
    expect(sample->section, "norm", &progress->gradient_norm, &course->norms[step - 1], 1,
           GRADIENT_TOLERANCE);
    if (course->next == course->n_kept || (double)step != course->kept[course->next])
        return true;
    for (size_t i = 0; i < n; i++)
        got[i] = (double)sample->network->params[i] - (double)course->before[i];
    expect_params(sample, "moved", got, course->moved + n * course->next, MOVED_TOLERANCE);
    course->next++;
    return true;
}

static void check_training(const char *section)
{
    CLEANUP(sample_clear) struct sample sample = read_sample(section);
    const struct training_options options = read_options(&sample);
    struct course course = {.sample = &sample};
    struct training_result result;
    const size_t n = read_floats(section, "params", course.before);

    assert_int_equal(read_numbers(section, "losses", course.losses), options.n_steps);
    assert_int_equal(read_numbers(section, "norms", course.norms), options.n_steps);
    course.n_kept = read_numbers(section, "kept", course.kept);
    assert_int_equal(read_numbers(section, "moved", course.moved), n * course.n_kept);
    assert_int_equal(training_run(sample.network, sample.rows, sample.n_rows, NULL, 0, &options,
                                  follow, &course, &result, NULL),
                     0);
    assert_int_equal(course.next, course.n_kept);
    assert_int_equal(result.epochs, options.n_steps);
}

static void ten_steps_of_every_optimizer_on_a_network(void **state)
{
    (void)state;
    for_each("training", N_TRAININGS, check_training);
}

static void twenty_steps_of_warm_up_and_cosine(void **state)
{
    (void)state;
    for_each("schedule", N_SCHEDULES, check_training);
}

static const char *only_section(const char *kind)
{
    for (size_t i = 0; i < n_sections; i++)
        if (is_of_kind(sections[i], kind))
            return sections[i];
    fail_msg("no section of kind %s", kind);
    return NULL;
}

static void check_optimizer(const char *section)
{
    CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
    struct optimizer_options options = {0};
    const char *source = only_section("gradients");
    float before[MAX_NUMBERS], params[MAX_NUMBERS], gradients[MAX_NUMBERS];
    double got[MAX_NUMBERS], want[MAX_NUMBERS];
    const size_t n = read_floats(source, "params", before);
    const size_t n_weights = (size_t)read_number(section, "n_weights");

    read_floats(source, "params", params);
    assert_int_equal(read_floats(source, "gradients", gradients), 10 * n);
    read_optimizer(section, &options);
    assert_int_equal(optimizer_init(&optimizer, &options, n, n_weights), 0);
    for (size_t step = 0; step < 10; step++)
        optimizer_step(&optimizer, params, gradients + step * n,
                       read_number(section, "learning_rate"));
    for (size_t i = 0; i < n; i++)
        got[i] = (double)params[i] - (double)before[i];
    assert_int_equal(read_numbers(section, "moved", want), n);
    expect(section, "moved", got, want, n, MOVED_TOLERANCE);
}

static void ten_steps_of_every_optimizer_on_gradients_of_all_sizes(void **state)
{
    (void)state;
    for_each("optimizer", N_OPTIMIZER_RUNS, check_optimizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_outputs_of_every_network),
        cmocka_unit_test(outputs_of_every_network_packed),
        cmocka_unit_test(loss_of_every_network),
        cmocka_unit_test(gradient_by_every_param_of_every_network),
        cmocka_unit_test(a_training_step_follows_gradient_penalties_and_decay),
        cmocka_unit_test(ten_steps_of_every_optimizer_on_gradients_of_all_sizes),
        cmocka_unit_test(ten_steps_of_every_optimizer_on_a_network),
        cmocka_unit_test(twenty_steps_of_warm_up_and_cosine),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
