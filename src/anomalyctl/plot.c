#include "anomalyctl/plot.h"

#include "anomalyctl/svg.h"
#include "base/file.h"
#include "base/text.h"
#include "detector/evaluation.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_WIDTH  960.0
#define PAGE_LEFT   76.0 /* where text and plotting areas begin; tick labels stand left of it */
#define PAGE_INNER  (PAGE_WIDTH - PAGE_LEFT - 50)
#define PAGE_GUTTER 74.0

#define NORMAL  "s0"
#define ANOMALY "s1"

int plot_check(const char *path, struct error *reterr)
{
    struct stat status;
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

    if (!folder)
        return -ENOMEM;
    if (!*path || strcmp(path, "-") == 0)
        return error_set(reterr, -EINVAL, "--plot needs the name of a file");
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set_at(reterr, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL, path, 0,
                            "is not a regular file; give another name to --plot");
    if (access(folder, W_OK | X_OK) < 0)
        return error_set_errno(reterr, -errno, path, "write");
    return 0;
}

static int write_page(const char *path, struct text *text, struct error *reterr)
{
    svg_end(text);
    if (text_failed(text))
        return -ENOMEM;
    return file_write(path, &(struct iovec){text->data, text->length}, 1, reterr);
}

/* Curves */

static void append_roc(struct text *text, struct svg_panel panel,
                       const struct evaluation_point *found, size_t n_found,
                       struct svg_point *points, const struct evaluation *evaluation)
{
    const double positives = (double)evaluation->n_anomalies;
    const double negatives = (double)evaluation->n_rows - positives;
    const struct svg_point chance[] = {
        {0, 0},
        {1, 1}
    };
    char title[64];

    panel.x = (struct axis){"false-positive rate", false, 0, 1};
    panel.y = (struct axis){"recall (dashed: chance)", false, 0, 1};
    (void)snprintf(title, sizeof(title), "ROC curve, AUC %.4g", evaluation->roc_auc);
    svg_text(text, "title", panel.left, panel.top - 38,
             isnan(evaluation->roc_auc) ? "ROC curve: needs both kinds" : title);
    svg_frame(text, &panel);
    svg_line(text, &panel, "reference", chance, 2);
    if (isnan(evaluation->roc_auc))
        return;

    points[0] = (struct svg_point){0, 0};
    for (size_t i = 0; i < n_found; i++)
        points[i + 1] = (struct svg_point){(double)found[i].n_false_alarms / negatives,
                                           (double)found[i].n_hits / positives};
    svg_line(text, &panel, NORMAL, points, n_found + 1);
    svg_dot(text, &panel, "mark",
            (struct svg_point){evaluation->false_positive_rate, evaluation->recall},
            "at the threshold", false);
}

/* Steps as high as the precision at their right end: their area is the average precision. */
static size_t find_precision_steps(const struct evaluation_point *found, size_t n_found,
                                   double positives, struct svg_point *ret_points)
{
    size_t n_points = 0, n_hits = 0;

    for (size_t i = 0; i < n_found; i++) {
        if (found[i].n_hits == n_hits)
            continue;
        const double precision =
            (double)found[i].n_hits / (double)(found[i].n_hits + found[i].n_false_alarms);
        ret_points[n_points++] = (struct svg_point){(double)n_hits / positives, precision};
        n_hits = found[i].n_hits;
        ret_points[n_points++] = (struct svg_point){(double)n_hits / positives, precision};
    }
    return n_points;
}

static void append_precision_recall(struct text *text, struct svg_panel panel,
                                    const struct evaluation_point *found, size_t n_found,
                                    struct svg_point *points, const struct evaluation *evaluation)
{
    const double positives = (double)evaluation->n_anomalies;
    const double base_rate = positives / (double)evaluation->n_rows;
    const struct svg_point chance[] = {
        {0, base_rate},
        {1, base_rate}
    };
    char title[64], label[64], number[AXIS_NUMBER_MAX];

    (void)snprintf(label, sizeof(label), "precision (dashed: share of anomalies, %s)",
                   axis_number(number, base_rate, 3));
    panel.x = (struct axis){"recall", false, 0, 1};
    panel.y = (struct axis){evaluation->n_anomalies ? label : "precision", false, 0, 1};
    (void)snprintf(title, sizeof(title), "Precision and recall, AP %.4g",
                   evaluation->average_precision);
    svg_text(text, "title", panel.left, panel.top - 38,
             evaluation->n_anomalies ? title : "Precision and recall: needs anomalies");
    svg_frame(text, &panel);
    if (evaluation->n_anomalies == 0)
        return;
    svg_line(text, &panel, "reference", chance, 2);
    svg_line(text, &panel, NORMAL, points, find_precision_steps(found, n_found, positives, points));
    svg_dot(text, &panel, "mark", (struct svg_point){evaluation->recall, evaluation->precision},
            "at the threshold", evaluation->recall < 0.4 && evaluation->precision < 0.9);
}

/* Errors */

#define LEAST_BARS   20
#define MOST_BARS    60
#define LEAST_FACTOR 3.2 /* the axis reaches this far around the threshold, */
#define MOST_FACTOR  1e6 /* and no further than this: the last bars count what is beyond */

#define LEAST_THRESHOLD 1e-290 /* for the axis: a factor more stays a number */
#define MOST_THRESHOLD  1e290

/* The threshold lies between two bars, so that every bar is flagged or not. */
static void fit_errors(const struct plot_rows *rows, size_t n_bars, struct axis *axis)
{
    const double threshold = fmin(fmax(rows->threshold, LEAST_THRESHOLD), MOST_THRESHOLD);
    double low = threshold / LEAST_FACTOR, high = threshold * LEAST_FACTOR;

    for (size_t i = 0; i < rows->n_rows; i++) {
        if (rows->errors[i] > 0)
            low = fmin(low, rows->errors[i]);
        high = fmax(high, rows->errors[i]);
    }
    low = fmax(low, threshold / MOST_FACTOR);
    high = fmin(high, threshold * MOST_FACTOR);

    const double bar = (log(high) - log(low)) / (double)(n_bars - 1);
    const double n_below = ceil((log(threshold) - log(low)) / bar);
    axis->low = threshold * exp(-bar * n_below);
    axis->high = threshold * exp(bar * ((double)n_bars - n_below));
}

/* Few rows make few bars, or they would look like noise. */
static size_t choose_bars(size_t n_normal, size_t n_anomalies)
{
    const size_t fewer =
        n_normal && (n_normal < n_anomalies || !n_anomalies) ? n_normal : n_anomalies;
    return (size_t)fmin(fmax(4 * sqrt((double)fewer), LEAST_BARS), MOST_BARS);
}

/* In percent of the rows of this kind. */
static void count_errors(const struct plot_rows *rows, const struct axis *axis, bool is_anomaly,
                         double *ret_bars, size_t n_bars)
{
    double n_rows = 0;

    memset(ret_bars, 0, n_bars * sizeof(*ret_bars));
    for (size_t i = 0; i < rows->n_rows; i++) {
        if (rows->is_anomaly[i] != is_anomaly || isnan(rows->errors[i]))
            continue;
        const double place = rows->errors[i] > 0 ? axis_place(axis, rows->errors[i]) : 0;
        const size_t bar = (size_t)(place * (double)n_bars);
        ret_bars[bar < n_bars ? bar : n_bars - 1]++;
        n_rows++;
    }
    for (size_t i = 0; i < n_bars && n_rows > 0; i++)
        ret_bars[i] *= 100 / n_rows;
}

static void append_kind(struct text *text, const char *style, double x, double y, const char *name,
                        size_t n_rows, double flagged)
{
    char label[128], percent[AXIS_NUMBER_MAX];

    if (n_rows)
        (void)snprintf(label, sizeof(label), "%zu %s, %s %% flagged", n_rows, name,
                       axis_number(percent, 100 * flagged, 3));
    else
        (void)snprintf(label, sizeof(label), "no %s", name);
    svg_key_area(text, style, x, y, label);
}

static void append_errors(struct text *text, struct svg_panel panel, const struct plot_rows *rows,
                          const struct evaluation *evaluation)
{
    double highest = 0, normal[MOST_BARS], anomalies[MOST_BARS];
    char label[96], number[AXIS_NUMBER_MAX];
    const size_t n_normal = evaluation->n_rows - evaluation->n_anomalies;
    const size_t n_bars = choose_bars(n_normal, evaluation->n_anomalies);

    panel.x = (struct axis){.label = "reconstruction error", .is_log = true};
    panel.y = (struct axis){.label = "% of each kind's rows"};
    fit_errors(rows, n_bars, &panel.x);
    count_errors(rows, &panel.x, false, normal, n_bars);
    count_errors(rows, &panel.x, true, anomalies, n_bars);
    for (size_t i = 0; i < n_bars; i++)
        highest = fmax(highest, fmax(normal[i], anomalies[i]));
    axis_fit(&panel.y, 0, highest > 0 ? 1.1 * highest : 100); /* room for the label */

    svg_text(text, "title", panel.left, panel.top - 68, "Reconstruction errors");
    append_kind(text, NORMAL, panel.left, panel.top - 40, "normal rows", n_normal,
                evaluation->false_positive_rate);
    append_kind(text, ANOMALY " hatched", panel.left + PAGE_INNER / 2, panel.top - 40, "anomalies",
                evaluation->n_anomalies, evaluation->recall);
    svg_frame(text, &panel);
    if (n_normal)
        svg_bars(text, &panel, NORMAL, normal, n_bars);
    if (evaluation->n_anomalies)
        svg_bars(text, &panel, ANOMALY " hatched", anomalies, n_bars);
    (void)snprintf(label, sizeof(label), "threshold %s", axis_number(number, rows->threshold, 3));
    svg_vertical(text, &panel, "mark", rows->threshold, label);
}

/* The page */

static const char *show_name(char ret_shown[TEXT_SHOWN_SIZE], const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;

    return text_show(ret_shown, name, strlen(name));
}

static void append_head(struct text *text, const struct plot_rows *rows,
                        const struct evaluation *found)
{
    char data[TEXT_SHOWN_SIZE], model[TEXT_SHOWN_SIZE], line[256];
    char recall[AXIS_NUMBER_MAX], precision[AXIS_NUMBER_MAX], f1[AXIS_NUMBER_MAX];

    (void)snprintf(line, sizeof(line), "Evaluation of %s", show_name(data, rows->data));
    svg_text(text, "headline", PAGE_LEFT, 56, line);
    (void)snprintf(line, sizeof(line), "Model %s. At its threshold: recall %s, precision %s, F1 %s",
                   show_name(model, rows->model), axis_number(recall, found->recall, 3),
                   axis_number(precision, found->precision, 3), axis_number(f1, found->f1, 3));
    svg_text(text, "label", PAGE_LEFT, 82, line);
}

int plot_evaluation(const char *path, const struct plot_rows *rows, const struct evaluation *found,
                    struct error *reterr)
{
    assert(rows->n_rows == found->n_rows && rows->threshold > 0);

    AUTO_FREE struct evaluation_point *curve = NULL;
    size_t n_curve = 0;
    int r = evaluation_curve(rows->scores, rows->is_anomaly, rows->n_rows, &curve, &n_curve);
    if (r < 0)
        return r;
    AUTO_FREE struct svg_point *points = calloc(2 * n_curve + 1, sizeof(*points));
    if (!points)
        return -ENOMEM;

    CLEANUP(text_clear) struct text text = {0};
    const double half = (PAGE_INNER - PAGE_GUTTER) / 2;
    char description[512], auc[AXIS_NUMBER_MAX], precision[AXIS_NUMBER_MAX];
    (void)snprintf(description, sizeof(description),
                   "%zu rows, %zu of them anomalies: area under the ROC curve %s, average "
                   "precision %s, and a histogram of the reconstruction errors of both kinds",
                   found->n_rows, found->n_anomalies, axis_number(auc, found->roc_auc, 4),
                   axis_number(precision, found->average_precision, 4));
    svg_begin(&text, PAGE_WIDTH, 946, "Evaluation of an anomaly detector", description);
    append_head(&text, rows, found);
    append_roc(&text,
               (struct svg_panel){.left = PAGE_LEFT, .top = 172, .width = half, .height = 310},
               curve, n_curve, points, found);
    append_precision_recall(
        &text,
        (struct svg_panel){
            .left = PAGE_LEFT + half + PAGE_GUTTER, .top = 172, .width = half, .height = 310},
        curve, n_curve, points, found);
    append_errors(
        &text,
        (struct svg_panel){.left = PAGE_LEFT, .top = 642, .width = PAGE_INNER, .height = 220}, rows,
        found);
    return write_page(path, &text, reterr);
}

/* Losses */

#define KEY_HEIGHT   24.0 /* of a legend's row */
#define LEAST_EPOCHS 5    /* on the axis: fewer would have ticks between epochs */

static const char *const series[SVG_N_SERIES] = {"s0", "s1", "s2", "s3", "s4", "s5"};

struct range {
    double low, high; /* NaN: nothing yet */
};

static void range_add(struct range *range, double value)
{
    if (!isfinite(value))
        return;
    range->low = fmin(range->low, value); /* which ignore NaN */
    range->high = fmax(range->high, value);
}

static void fit_axes(struct svg_panel *panel, const struct plot_loss *losses, size_t n_losses)
{
    struct range loss = {(double)NAN, (double)NAN}, epoch = loss;

    for (size_t i = 0; i < n_losses; i++) {
        range_add(&epoch, (double)losses[i].epoch);
        range_add(&loss, losses[i].loss);
        range_add(&loss, losses[i].validation_loss);
    }
    const bool is_log = loss.low > 0 && loss.high > 20 * loss.low;
    panel->x = (struct axis){.label = "epoch"};
    panel->y = (struct axis){.label = is_log ? "loss (logarithmic)" : "loss", .is_log = is_log};
    axis_fit(&panel->x, 0, fmax(epoch.high, LEAST_EPOCHS));
    axis_fit(&panel->y, is_log ? loss.low : fmin(loss.low, 0), loss.high);
    if (epoch.high > LEAST_EPOCHS)
        panel->x.high = epoch.high; /* no empty part behind the last epoch */
}

static size_t collect(const struct plot_loss *losses, size_t n_losses, size_t network,
                      bool of_validation, struct svg_point *ret_points)
{
    size_t n = 0;

    for (size_t i = 0; i < n_losses; i++)
        if (losses[i].network == network)
            ret_points[n++] = (struct svg_point){
                (double)losses[i].epoch,
                of_validation ? losses[i].validation_loss : losses[i].loss,
            };
    return n;
}

static const struct plot_loss *find_epoch(const struct plot_loss *losses, size_t n_losses,
                                          size_t network, size_t epoch)
{
    for (size_t i = 0; i < n_losses; i++)
        if (losses[i].network == network && losses[i].epoch == epoch)
            return &losses[i];
    return NULL;
}

static bool has_validation(const struct plot_loss *losses, size_t n_losses)
{
    for (size_t i = 0; i < n_losses; i++)
        if (isfinite(losses[i].validation_loss))
            return true;
    return false;
}

/* The legend's rows of one network, its lines and its best epoch. */
static void append_network(struct text *text, const struct svg_panel *panel, double key_y,
                           const struct plot_loss *losses, size_t n_losses, size_t network,
                           const char *name, size_t best_epoch, struct svg_point *points)
{
    const char *colour = series[network % SVG_N_SERIES];
    const bool validated = has_validation(losses, n_losses);
    const struct plot_loss *best =
        best_epoch ? find_epoch(losses, n_losses, network, best_epoch) : NULL;
    const size_t n = collect(losses, n_losses, network, false, points);
    char style[32], label[128], kept[64] = "";

    if (best)
        (void)snprintf(kept, sizeof(kept), "; epoch %zu kept", best_epoch);
    (void)snprintf(style, sizeof(style), "%s%s", colour, validated ? " thin dashed" : "");
    (void)snprintf(label, sizeof(label), "%straining%s", name, validated ? "" : kept);
    svg_key_line(text, style, PAGE_LEFT, key_y, label);
    svg_line(text, panel, style, points, n);

    if (validated) {
        (void)snprintf(label, sizeof(label), "%svalidation%s", name, kept);
        svg_key_line(text, colour, PAGE_LEFT + PAGE_INNER / 2, key_y, label);
        svg_line(text, panel, colour, points, collect(losses, n_losses, network, true, points));
    }
    if (best)
        svg_dot(text, panel, colour,
                (struct svg_point){(double)best_epoch, isfinite(best->validation_loss)
                                                           ? best->validation_loss
                                                           : best->loss},
                "", false);
}

int plot_losses(const char *path, const struct plot_loss *losses, size_t n_losses,
                const size_t *best_epochs, size_t n_networks, struct error *reterr)
{
    CLEANUP(text_clear) struct text text = {0};
    AUTO_FREE struct svg_point *points = calloc(n_losses + 1, sizeof(*points));
    if (!points)
        return -ENOMEM;

    const double keys = KEY_HEIGHT * (double)n_networks;
    struct svg_panel panel = {
        .left = PAGE_LEFT, .top = 142 + keys, .width = PAGE_INNER, .height = 320};
    char name[32] = "";
    svg_begin(&text, PAGE_WIDTH, panel.top + panel.height + 84, "Training of an anomaly detector",
              "Loss of every network after each epoch, on training and on validation rows");
    svg_text(&text, "headline", PAGE_LEFT, 56, "Training");
    svg_text(&text, "label", PAGE_LEFT, 82,
             "Loss after each epoch; a ring marks the epoch whose weights were kept");
    fit_axes(&panel, losses, n_losses);
    svg_frame(&text, &panel);
    for (size_t i = 0; i < n_networks; i++) {
        if (n_networks > 1)
            (void)snprintf(name, sizeof(name), "network %zu, ", i + 1);
        append_network(&text, &panel, 114 + KEY_HEIGHT * (double)i, losses, n_losses, i, name,
                       best_epochs[i], points);
    }
    return write_page(path, &text, reterr);
}
