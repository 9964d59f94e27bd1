/* learning_driver - the learning service in one process and one thread, without HTTP: for
 * tests/bench/learning.py, which sends it long streams of rows.
 *
 *     learning_driver CONFIG
 *
 * Serves the models of CONFIG (anomalyd.conf) out of its storage directory with the daemon's own
 * code. Each command is a line on stdin, and has been carried out, trainings included, when its
 * answer is on stdout: a line that begins with "ok", or "error" and why.
 *
 *     score MODEL N D LEARN SERIES   N x D floats follow the line; LEARN is 0 or 1
 *         ok VERSION THRESHOLD       N x 3 doubles follow: error, p-value, 1 if flagged
 *     observe MODEL N D SERIES       N x D floats follow
 *     get MODEL buffer|runs|versions|events
 *         ok LENGTH                  as much JSON follows
 *     retrain|freeze|unfreeze|rebaseline|rollback|reset MODEL
 *     promote MODEL VERSION
 *     feedback MODEL ID normal|anomaly
 *     now SECONDS                    what the rows after it are stamped with */
#include "base/text.h"
#include "detector/detector.h"
#include "service/config.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/stats.h"
#include "service/trainer_process.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 128
#define WHO       "driver"

struct driver {
    struct config *config;
    struct stats *stats;
    struct live *live;
    struct learner *learner;
    struct workspace *workspace;
    uint64_t time_us;
    bool is_broken; /* stdin or stdout */
};

/* Rows that came with a command. */
struct rows {
    float *values;
    size_t n_rows, n_features;
};

static void refuse(const char *why)
{
    (void)printf("error %s\n", why);
}

static int load(struct driver *driver, const char *path, struct error *reterr)
{
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = NULL;

    int r = config_load(path, &driver->config, &notes);
    if (r < 0)
        return error_set(reterr, r, "%s", notes.data ? notes.data : strerrordesc_np(-r));
    const struct config *config = driver->config;
    size_t n = config->n_models;
    sources = calloc(n + 1, sizeof(*sources));
    if (!sources)
        return error_set(reterr, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        sources[i] = (struct live_source){.name = config->models[i].name,
                                          .file = config->models[i].file,
                                          .false_alarm_rate = config->models[i].false_alarm_rate};
    r = stats_new(1, NULL, 0, &driver->stats);
    if (r == 0)
        r = live_new(driver->stats, &driver->live);
    if (r == 0)
        r = detector_workspace_new(&driver->workspace);
    if (r == 0)
        r = learner_new(config, driver->live, driver->stats, &driver->learner, &notes, reterr);
    if (r == 0)
        r = learner_prepare(driver->learner, config, &sources, &n, &notes);
    if (r == 0)
        r = live_load(driver->live, sources, n, true, reterr);
    if (r == 0)
        r = learner_commit(driver->learner, config);
    (void)fputs(notes.data ? notes.data : "", stderr);
    return r;
}

static int read_rows(struct driver *driver, struct rows *rows)
{
    const size_t n = rows->n_rows * rows->n_features;

    rows->values = n > 0 ? malloc(n * sizeof(*rows->values)) : NULL;
    if (!rows->values || fread(rows->values, sizeof(*rows->values), n, stdin) != n) {
        driver->is_broken = true;
        return -EIO;
    }
    return 0;
}

/* ---- rows ---- */

static void reply_verdicts(const struct live_model *model, const struct verdict *verdicts, size_t n)
{
    (void)printf("ok %u %.17g\n", model->version, model->threshold);
    for (size_t i = 0; i < n; i++) {
        const double told[] = {verdicts[i].reconstruction_error, verdicts[i].p_value,
                               verdicts[i].anomaly};
        (void)fwrite(told, sizeof(told), 1, stdout);
    }
}

static void score_with(struct driver *driver, struct live_model *model, const struct rows *rows,
                       bool learn, const char *series)
{
    AUTO_FREE struct verdict *verdicts = calloc(rows->n_rows, sizeof(*verdicts));

    if (model->state != LIVE_SERVING)
        refuse(live_state_name(model->state));
    else if (detector_n_features(model->detector) != rows->n_features)
        refuse("wrong number of features");
    else if (!verdicts || detector_score(model->detector, driver->workspace, rows->values,
                                         rows->n_rows, model->threshold, verdicts) < 0)
        refuse("out of memory");
    else {
        if (learn)
            learner_offer(driver->learner, model, rows->values, true, verdicts, rows->n_rows,
                          rows->n_features, &(struct row_times){.time_us = driver->time_us},
                          series);
        reply_verdicts(model, verdicts, rows->n_rows);
    }
}

static void do_score(struct driver *driver, const char *arguments)
{
    char name[NAME_SIZE], series[NAME_SIZE];
    AUTO_FREE float *values = NULL;
    struct rows rows;
    int learn;

    if (sscanf(arguments, "%127s %zu %zu %d %127s", name, &rows.n_rows, &rows.n_features, &learn,
               series) != 5 ||
        read_rows(driver, &rows) < 0)
        return refuse("score MODEL N D LEARN SERIES, then rows");
    values = rows.values;
    struct live_model *model = live_acquire(driver->live, name, strlen(name));
    if (!model)
        return refuse("no such model");
    const bool is_held = model->state == LIVE_SERVING && live_hold(driver->live, model, NULL) == 0;
    if (model->state == LIVE_SERVING && !is_held)
        refuse("its file cannot be read");
    else
        score_with(driver, model, &rows, learn, series);
    if (is_held)
        live_let_go(driver->live, model);
    live_release(driver->live, model);
    learner_settle(driver->learner);
}

/* What became of observed rows. */
struct observed {
    int r;
    struct error error;
};

static void note_observed(void *userdata, int r, const struct error *error)
{
    struct observed *observed = userdata;

    observed->r = r;
    observed->error = *error;
}

static void do_observe(struct driver *driver, const char *arguments)
{
    char name[NAME_SIZE], series[NAME_SIZE];
    AUTO_FREE float *values = NULL;
    struct rows rows;
    struct error error;

    if (sscanf(arguments, "%127s %zu %zu %127s", name, &rows.n_rows, &rows.n_features, series) !=
            4 ||
        read_rows(driver, &rows) < 0)
        return refuse("observe MODEL N D SERIES, then rows");
    values = rows.values;
    struct observed observed = {0};
    if (learner_observe(driver->learner, name, rows.values, rows.n_rows, rows.n_features,
                        &(struct row_times){.time_us = driver->time_us}, series, note_observed,
                        &observed, &error) < 0)
        return refuse(error.text);
    learner_settle(driver->learner);
    if (observed.r < 0)
        return refuse(observed.error.text);
    (void)puts("ok");
}

/* ---- the rest ---- */

static void do_get(struct driver *driver, const char *arguments)
{
    static const struct {
        const char *name;
        int (*print)(struct learner *learner, const char *model, struct text *text,
                     struct error *reterr);
    } parts[] = {
        {"buffer",   learner_print_buffer  },
        {"runs",     learner_print_runs    },
        {"versions", learner_print_versions},
        {"events",   learner_print_events  }
    };
    CLEANUP(text_clear) struct text text = {0};
    char name[NAME_SIZE], part[NAME_SIZE];
    struct error error;

    if (sscanf(arguments, "%127s %127s", name, part) != 2)
        return refuse("get MODEL PART");
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (strcmp(parts[i].name, part) != 0)
            continue;
        if (parts[i].print(driver->learner, name, &text, &error) < 0)
            return refuse(error.text);
        (void)printf("ok %zu\n%s", text.length, text.data);
        return;
    }
    refuse("no such part");
}

static int administer(struct learner *learner, const char *verb, const char *name, uint64_t number,
                      const char *label, struct error *reterr)
{
    int64_t run;

    if (strcmp(verb, "retrain") == 0)
        return learner_retrain(learner, name, WHO, &run, reterr);
    if (strcmp(verb, "freeze") == 0 || strcmp(verb, "unfreeze") == 0)
        return learner_freeze(learner, name, *verb == 'f', WHO, reterr);
    if (strcmp(verb, "rebaseline") == 0)
        return learner_rebaseline(learner, name, WHO, reterr);
    if (strcmp(verb, "rollback") == 0)
        return learner_rollback(learner, name, WHO, &(struct learner_switch){0}, reterr);
    if (strcmp(verb, "reset") == 0)
        return learner_reset(learner, name, WHO, reterr);
    if (strcmp(verb, "promote") == 0)
        return learner_promote(learner, name, WHO,
                               &(struct learner_switch){.version = (unsigned)number}, reterr);
    if (strcmp(verb, "feedback") == 0)
        return learner_feedback(learner, name, number, strcmp(label, "normal") == 0, WHO, NULL,
                                reterr);
    return error_set(reterr, -EINVAL, "no such command");
}

static void do_administer(struct driver *driver, const char *verb, const char *arguments)
{
    char name[NAME_SIZE] = "", label[NAME_SIZE] = "";
    uint64_t number = 0;
    struct error error;

    (void)sscanf(arguments, "%127s %" SCNu64 " %127s", name, &number, label);
    if (administer(driver->learner, verb, name, number, label, &error) < 0)
        return refuse(error.text);
    learner_settle(driver->learner);
    (void)puts("ok");
}

static void do_line(struct driver *driver, const char *line)
{
    char verb[NAME_SIZE];
    int n = 0;

    if (sscanf(line, "%127s%n", verb, &n) != 1)
        return;
    if (strcmp(verb, "score") == 0)
        do_score(driver, line + n);
    else if (strcmp(verb, "observe") == 0)
        do_observe(driver, line + n);
    else if (strcmp(verb, "get") == 0)
        do_get(driver, line + n);
    else if (strcmp(verb, "now") == 0) {
        driver->time_us = (uint64_t)(strtod(line + n, NULL) * 1e6);
        (void)puts("ok");
    } else
        do_administer(driver, verb, line + n);
}

int main(int argc, char **argv)
{
    struct driver driver = {.time_us = 1000000};
    struct error error;
    char line[1024];

    detector_init();
    if (argc == 2 && strcmp(argv[1], "--train-candidate") == 0)
        trainer_process_child();
    if (argc != 2) {
        (void)fprintf(stderr, "usage: learning_driver CONFIG\n");
        return 2;
    }
    if (load(&driver, argv[1], &error) < 0) {
        (void)fprintf(stderr, "learning_driver: %s\n", error.text);
        return 1;
    }
    while (!driver.is_broken && fgets(line, sizeof(line), stdin)) {
        do_line(&driver, line);
        driver.is_broken |= fflush(stdout) != 0;
    }
    learner_free(driver.learner);
    live_free(driver.live);
    stats_free(driver.stats);
    detector_workspace_free(driver.workspace);
    config_free(driver.config);
    return 0;
}
