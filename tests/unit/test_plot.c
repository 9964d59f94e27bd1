#include "anomalyctl/plot.h"

#include "base/file.h"
#include "detector/evaluation.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/xml.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_ROWS 200

static char folder[] = "/tmp/test_plot.XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/plot.svg", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* fails if anything was left behind */
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *listed = opendir(folder);

    assert_non_null(listed);
    while (readdir(listed))
        n++;
    (void)closedir(listed);
    return n - 2; /* . and .. */
}

static size_t count(const char *text, const char *wanted)
{
    size_t n = 0;

    for (; (text = strstr(text, wanted)); text++)
        n++;
    return n;
}

static void assert_contains(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("no %s in\n%s", wanted, text);
}

/* The file, which is removed; well-formed and without anything that is not a number. */
static char *take_plot(void)
{
    char *text = NULL;
    size_t size;

    assert_int_equal(file_read(path, (size_t)1 << 20, &text, &size, NULL), 0);
    assert_int_equal(strlen(text), size);
    assert_true(xml_is_well_formed(text));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_null(strstr(text, "null"));
    assert_int_equal(unlink(path), 0);
    return text;
}

struct sample {
    double scores[N_ROWS], errors[N_ROWS];
    bool is_anomaly[N_ROWS], flagged[N_ROWS];
    struct plot_rows rows;
    struct evaluation found;
};

/* Every nth row is an anomaly, 0: none. Errors from 0.01 to 2 and those of anomalies 0.7 more. */
static void make_sample(size_t n_rows, size_t nth, struct sample *ret_sample)
{
    struct sample *sample = ret_sample;

    *sample = (struct sample){0};
    for (size_t i = 0; i < n_rows; i++) {
        sample->is_anomaly[i] = nth && i % nth == 0;
        sample->errors[i] = 0.01 * (double)(1 + i * 7 % N_ROWS) + 0.7 * sample->is_anomaly[i];
        sample->scores[i] = sample->errors[i] / 1.5;
        sample->flagged[i] = sample->scores[i] > 1;
    }
    sample->rows = (struct plot_rows){
        .data = "/srv/data/a<b>.csv",
        .model = "web.safetensors",
        .scores = sample->scores,
        .errors = sample->errors,
        .is_anomaly = sample->is_anomaly,
        .n_rows = n_rows,
        .threshold = 1.5,
    };
    assert_int_equal(evaluation_compute(sample->scores, sample->is_anomaly, sample->flagged, n_rows,
                                        &sample->found),
                     0);
}

static void evaluation_shows_its_figures(void **state)
{
    (void)state;
    struct sample sample;
    char title[64];

    make_sample(N_ROWS, 10, &sample);
    assert_int_equal(plot_evaluation(path, &sample.rows, &sample.found, NULL), 0);
    AUTO_FREE char *text = take_plot();
    (void)snprintf(title, sizeof(title), ">ROC curve, AUC %.4g<", sample.found.roc_auc);
    assert_contains(text, title);
    (void)snprintf(title, sizeof(title), ", AP %.4g<", sample.found.average_precision);
    assert_contains(text, title);
    assert_contains(text, "share of anomalies, 0.1)");
    assert_contains(text, ">Evaluation of a&#60;b&#62;.csv<");
    assert_contains(text, ">threshold 1.5<");
    assert_contains(text, ">180 normal rows, 25 % flagged<");
    assert_contains(text, ">20 anomalies, ");
    assert_int_equal(count(text, "class=\"line reference\""), 2);
    assert_int_equal(count(text, "class=\"line s0\""), 2);
    assert_int_equal(count(text, "class=\"area s1 hatched\""), 2); /* and its key */
}

/* 3+ | 2+ 2- | 1-: up, then one diagonal, then right. */
static void tied_scores_are_one_diagonal(void **state)
{
    (void)state;
    const double scores[] = {3, 2, 2, 1};
    const bool is_anomaly[] = {true, true, false, false};
    const struct plot_rows rows = {"data", "model", scores, scores, is_anomaly, 4, 2.5};
    struct evaluation found;

    assert_int_equal(evaluation_compute(scores, is_anomaly, is_anomaly, 4, &found), 0);
    assert_int_equal(plot_evaluation(path, &rows, &found, NULL), 0);
    AUTO_FREE char *text = take_plot();
    assert_contains(text, "class=\"line s0\" d=\"M76 482h0L76 327L266 172L456 172\"");
    assert_contains(text, ", AP 0.8333<"); /* steps of 1 and 2/3 */
    assert_contains(text, "d=\"M530 172h0L720 172L720 275.3L910 275.3\"");
}

static void one_kind_alone_or_no_rows_are_drawn(void **state)
{
    (void)state;
    const struct {
        size_t n_rows, nth;
        const char *wanted;
    } cases[] = {
        {N_ROWS, 0, ">no anomalies<"            },
        {N_ROWS, 1, ">no normal rows<"          },
        {1,      1, ">1 anomalies, 0 % flagged<"},
        {0,      0, ">no normal rows<"          },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sample sample;
        make_sample(cases[i].n_rows, cases[i].nth, &sample);
        assert_int_equal(plot_evaluation(path, &sample.rows, &sample.found, NULL), 0);
        AUTO_FREE char *text = take_plot();
        assert_contains(text, cases[i].wanted);
        assert_contains(text, "ROC curve: needs both kinds");
    }
}

static void any_errors_and_thresholds_are_drawn(void **state)
{
    (void)state;
    const double thresholds[] = {1.5, 5e-324, 1e308};
    struct sample sample;

    make_sample(N_ROWS, 10, &sample);
    const double odd[] = {0, 1e-320, 1e308, (double)INFINITY, (double)NAN, -1};
    memcpy(sample.errors, odd, sizeof(odd));
    for (size_t i = 0; i < sizeof(thresholds) / sizeof(*thresholds); i++) {
        sample.rows.threshold = thresholds[i];
        assert_int_equal(plot_evaluation(path, &sample.rows, &sample.found, NULL), 0);
        AUTO_FREE char *text = take_plot();
        assert_contains(text, "class=\"area s0\"");
    }
}

#define N_EPOCHS 40

/* Two networks, the second without validation if asked. */
static void make_losses(struct plot_loss losses[2 * N_EPOCHS], bool validated)
{
    for (size_t i = 0; i < (size_t)2 * N_EPOCHS; i++) {
        const double loss = exp(-(double)(i / 2) / 10);
        losses[i] =
            (struct plot_loss){i % 2, i / 2 + 1, loss, validated ? 1.2 * loss : (double)NAN};
    }
}

static void losses_have_a_pair_of_lines_for_each_network(void **state)
{
    (void)state;
    struct plot_loss losses[2 * N_EPOCHS];

    make_losses(losses, true);
    assert_int_equal(plot_losses(path, losses, 2 * N_EPOCHS, (size_t[]){7, 0}, 2, NULL), 0);
    AUTO_FREE char *text = take_plot();
    for (size_t i = 0; i < 2; i++) { /* each with its key */
        const char *dashed[] = {"\"line s0 thin dashed\"", "\"line s1 thin dashed\""};
        const char *solid[] = {"\"line s0\"", "\"line s1\""};
        assert_int_equal(count(text, dashed[i]), 2);
        assert_int_equal(count(text, solid[i]), 2);
    }
    assert_contains(text, ">network 1, validation; epoch 7 kept<");
    assert_contains(text, ">network 2, validation<");
    assert_int_equal(count(text, "<circle"), 1);
    assert_contains(text, ">loss (logarithmic)<");
}

static void one_network_without_validation_is_one_line(void **state)
{
    (void)state;
    struct plot_loss losses[2 * N_EPOCHS];

    make_losses(losses, false);
    for (size_t i = 0; i < 5; i++)
        losses[i].network = 0;
    assert_int_equal(plot_losses(path, losses, 5, (size_t[]){2}, 1, NULL), 0);
    AUTO_FREE char *text = take_plot();
    assert_contains(text, ">training; epoch 2 kept<");
    assert_null(strstr(text, ">validation"));
    assert_null(strstr(text, "dashed\""));
    assert_contains(text, ">loss<");
}

static void losses_that_diverged_or_are_missing_are_left_out(void **state)
{
    (void)state;
    const struct plot_loss losses[] = {
        {0, 1, 0.5,              (double)NAN},
        {0, 2, (double)INFINITY, 1e300      },
        {0, 3, (double)NAN,      (double)NAN}
    };

    for (size_t n = 0; n <= 3; n++) {
        assert_int_equal(plot_losses(path, losses, n, (size_t[]){3}, 1, NULL), 0);
        AUTO_FREE char *text = take_plot();
        assert_contains(text, "class=\"line s0");
    }
}

static void more_networks_than_colours_are_drawn(void **state)
{
    (void)state;
    struct plot_loss losses[20];
    const size_t none[20] = {0};

    for (size_t i = 0; i < 20; i++)
        losses[i] = (struct plot_loss){i, 1, 1, 2};
    assert_int_equal(plot_losses(path, losses, 20, none, 20, NULL), 0);
    AUTO_FREE char *text = take_plot();
    assert_contains(text, ">network 20, validation<");
}

static void check_refuses_what_cannot_be_written(void **state)
{
    (void)state;
    char missing[128];
    struct error err = {0};

    (void)snprintf(missing, sizeof(missing), "%s/no/plot.svg", folder);
    assert_int_equal(plot_check(missing, &err), -ENOENT);
    assert_contains(err.text, missing);
    assert_int_equal(plot_check(folder, &err), -EISDIR);
    assert_int_equal(plot_check("-", &err), -EINVAL);
    assert_contains(err.text, "--plot");
    assert_int_equal(plot_check("", &err), -EINVAL);
    assert_int_equal(plot_check("/dev/null", &err), -EINVAL);
    assert_int_equal(plot_check(path, NULL), 0);
    assert_int_equal(plot_check("plot.svg", NULL), 0);
    assert_int_equal(plot_check("/plot.svg", NULL), access("/", W_OK) < 0 ? -errno : 0);
    assert_int_equal(count_files(), 0);
}

static void failed_write_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    char missing[128];
    struct sample sample;
    struct error err = {0};

    make_sample(N_ROWS, 10, &sample);
    (void)snprintf(missing, sizeof(missing), "%s/no/plot.svg", folder);
    assert_int_equal(plot_evaluation(missing, &sample.rows, &sample.found, &err), -ENOENT);
    assert_contains(err.text, missing);
    assert_int_equal(count_files(), 0);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct plot_loss losses[2 * N_EPOCHS];
    struct sample sample;

    make_losses(losses, true);
    make_sample(N_ROWS, 10, &sample);
    for (size_t which = 0; which < 2; which++) {
        int r = -ENOMEM, nth;
        assert_int_equal(plot_losses(path, NULL, 0, NULL, 0, NULL), 0); /* one to replace */
        for (nth = 0; r == -ENOMEM && nth < 100; nth++) {
            alloc_fail_in = nth;
            r = which ? plot_losses(path, losses, 2 * N_EPOCHS, (size_t[]){7, 9}, 2, NULL)
                      : plot_evaluation(path, &sample.rows, &sample.found, NULL);
            alloc_fail_in = -1;
        }
        assert_int_equal(r, 0);
        assert_true(nth > 3);
        assert_int_equal(count_files(), 1);
        free(take_plot());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_shows_its_figures),
        cmocka_unit_test(tied_scores_are_one_diagonal),
        cmocka_unit_test(one_kind_alone_or_no_rows_are_drawn),
        cmocka_unit_test(any_errors_and_thresholds_are_drawn),
        cmocka_unit_test(losses_have_a_pair_of_lines_for_each_network),
        cmocka_unit_test(one_network_without_validation_is_one_line),
        cmocka_unit_test(losses_that_diverged_or_are_missing_are_left_out),
        cmocka_unit_test(more_networks_than_colours_are_drawn),
        cmocka_unit_test(check_refuses_what_cannot_be_written),
        cmocka_unit_test(failed_write_is_told_and_leaves_nothing),
        cmocka_unit_test(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests_name("plot", tests, make_folder, remove_folder);
}
