/* Runs: when one is due its rows are drawn, a child process trains, the gate judges, and the
 * candidate serves or is refused. One at a time, over all models. */
#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "service/learner_state.h"
#include "service/trainer_process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_S       1   /* how often what is due by time is looked for */
#define TOLD_IN_VAIN 3   /* runs on end */
#define WAIT_MS      200 /* how long a cancel may go unseen */

void learner_wake_runs(struct learner *learner)
{
    (void)pthread_mutex_lock(&learner->run_lock);
    learner->is_woken = true;
    (void)pthread_cond_signal(&learner->has_work);
    (void)pthread_mutex_unlock(&learner->run_lock);
}

static bool must_stop(struct learner *learner)
{
    (void)pthread_mutex_lock(&learner->lock);
    const bool must = learner->must_stop;
    (void)pthread_mutex_unlock(&learner->lock);
    return must;
}

/* What a run works with. */
struct run {
    struct pupil *pupil;
    unsigned n_schemas; /* of the pupil, when the run began */
    struct logged_run log;
    uint64_t began_us; /* monotonic */
    struct training_set set;
    struct training_job job;
    char start[VERSIONS_PATH_SIZE], candidate[VERSIONS_PATH_SIZE];
    struct detector *detector; /* the candidate */
    struct gate_report report;
    struct error error;
};

static void run_clear(struct run *run)
{
    training_set_clear(&run->set);
    detector_free(run->detector);
    relevance_release(run->job.relevance);
    logged_run_clear(&run->log);
    if (*run->candidate)
        (void)unlink(run->candidate);
}

static void set_reason(struct run *run, enum run_state state, const char *reason)
{
    run->log.state = state;
    free(run->log.reason);
    run->log.reason = reason && *reason ? strdup(reason) : NULL;
}

/* ---- its stages ---- */

/* What the live version was trained with, but for what the configuration says. */
static struct recipe recipe_of(const struct pupil *pupil)
{
    struct recipe recipe;

    recipe_init(&recipe);
    if (pupil->live)
        recipe = detector_summary(pupil->live->detector)->recipe;
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (pupil->settings.has_option[i]) {
            CLEANUP(text_clear) struct text text = {0};
            struct error ignored;
            recipe_print(&pupil->settings.recipe, &recipe_fields[i], &text);
            if (!text_failed(&text) && text.data)
                (void)!recipe_set(&recipe, &recipe_fields[i], text.data, &ignored);
        }
    if (pupil->settings.false_alarm_rate > 0.0)
        recipe.false_alarm_rate = pupil->settings.false_alarm_rate;
    return recipe;
}

/* Under the pupil's lock. */
static int read_rows(struct run *run)
{
    struct pupil *pupil = run->pupil;

    if (!pupil->learning)
        return error_set(&run->error, -ENODATA, "there are no rows to train on yet");
    learning_run_began(pupil->learning, clock_monotonic_us());
    int r = learning_read(pupil->learning, &run->set);
    return r < 0 ? error_set(&run->error, r, "the store: %s", strerrordesc_np(-r)) : 0;
}

/* Rows of other features, or of a model that is gone, are worth nothing. Under the pupil's lock, or
 * its pin_lock. */
static int check_features(struct run *run)
{
    return run->pupil->n_schemas == run->n_schemas
               ? 0
               : error_set(&run->error, -ECANCELED,
                           "cancelled: the model was deleted, or its features replaced");
}

/* The same, and nobody has cancelled it. Under the pupil's lock. */
static int check_wanted(struct run *run)
{
    const char *cancelled = run->pupil->cancelled;

    return cancelled ? error_set(&run->error, -ECANCELED, "%s", cancelled) : check_features(run);
}

/* Scores every row: nobody waits for it meanwhile, but who would move the pin. */
static int guard(struct run *run)
{
    struct pupil *pupil = run->pupil;

    (void)pthread_mutex_lock(&pupil->pin_lock);
    int r = check_features(run);
    if (r == 0)
        r = pupil_guard(pupil, &run->set, &run->error);
    (void)pthread_mutex_unlock(&pupil->pin_lock);
    return r;
}

/* Under the pupil's lock: what the child is told. 0 or -ENOMEM. */
static int describe(struct run *run)
{
    struct pupil *pupil = run->pupil;

    run->job = (struct training_job){
        .recipe = recipe_of(pupil),
        .names = (const char *const *)pupil->features,
        .n_features = pupil->n_features,
        .preparation = pupil->preparation,
        .rows = run->set.rows,
        .n_rows = run->set.n_rows,
        .calibration = run->set.calibration,
        .n_calibration = run->set.n_all_calibration,
        .max_memory = pupil->settings.max_memory,
        .max_cpu_s = pupil->settings.max_run_s,
    };
    if (pupil->live && pupil->path) {
        (void)snprintf(run->start, sizeof(run->start), "%s", pupil->path);
        run->job.start = run->start;
    }
    return pupil_relevance(pupil, &run->job.relevance);
}

/* Under the pupil's lock. */
static void tell_excess(const struct run *run)
{
    char detail[128];

    (void)snprintf(detail, sizeof(detail),
                   "{\"run\":%lld,\"rows\":%zu,\"guarded\":%zu,\"pushed\":%s}",
                   (long long)run->log.id, run->set.n_candidates, run->set.n_guarded,
                   run->set.is_pushed ? "true" : "false");
    pupil_tell(run->pupil, "excess", detail,
               run->set.is_pushed
                   ? "rare rows are added while the others are as ever, and none of them trains: "
                     "see who sends them; rebaseline if they are normal"
                   : "more rows than chance allows are rare to the pinned version: see who sends "
                     "them; strict = yes refuses such batches, rebaseline if it is the new normal");
}

/* Waits for the child; cancelled by hand or by the end of the daemon. One that hangs uses no CPU
 * time, and all models wait for it. */
static int wait_for(struct run *run, struct trainer_process *process)
{
    struct pupil *pupil = run->pupil;
    const uint64_t began_us = clock_monotonic_us(), max_s = run->job.max_cpu_s;

    for (;;) {
        struct pollfd wait = {.fd = trainer_process_fd(process), .events = POLLIN};
        (void)poll(&wait, 1, WAIT_MS);
        const struct trainer_status status = trainer_process_read(process);
        pupil_lock(pupil);
        pupil->done = status.done;
        const int r = check_wanted(run);
        pupil_unlock(pupil);
        if (r < 0)
            return r;
        if (status.outcome == TRAINER_DONE)
            return 0;
        if (status.outcome == TRAINER_FAILED)
            return error_set(&run->error, -EIO, "%s", status.reason);
        if (max_s > 0 && clock_monotonic_us() - began_us > max_s * US_PER_S)
            return error_set(&run->error, -ETIME,
                             "the trainer was not done after %llu s (retrain_max_time)",
                             (unsigned long long)max_s);
        if (must_stop(pupil->learner))
            return error_set(&run->error, -ECANCELED, "the daemon ended");
    }
}

/* Under the pupil's lock. */
static int start(struct run *run, struct trainer_process **ret_process)
{
    struct pupil *pupil = run->pupil;
    CLEANUP(close_fd) int fd = -1;

    int r = versions_open_candidate(pupil->learner->directory, pupil->name, run->candidate, &fd,
                                    &run->error);
    return r < 0 ? r : trainer_process_start(&run->job, fd, NULL, ret_process, &run->error);
}

/* Under the pupil's lock: numbers a version, keeps its file. */
static int keep(struct run *run, bool is_refused, unsigned *ret_version)
{
    struct pupil *pupil = run->pupil;
    struct learner *learner = pupil->learner;
    AUTO_FREE char *data = NULL;
    size_t size = 0;
    struct logged_version version = {
        .made_us = clock_realtime_us(),
        .run = run->log.id,
        .rows = run->set.n_rows,
        .origin = "retrain",
        .is_refused = is_refused,
    };

    int r = pupil_next_version(pupil, &version.version);
    if (r < 0)
        return error_set(&run->error, r, "the store: %s", strerrordesc_np(-r));
    r = file_read(run->candidate, MODEL_FILE_MAX_SIZE, &data, &size, &run->error);
    if (r < 0)
        return r;
    sha256_hex(data, size, version.sha256);
    r = versions_keep_candidate(run->candidate, learner->directory, pupil->name, version.version,
                                &run->error);
    if (r < 0)
        return r;
    *run->candidate = '\0';
    r = model_log_add_version(learner->database, pupil->log.id, &version);
    if (r < 0)
        return error_set(&run->error, r, "the store: %s", strerrordesc_np(-r));
    *ret_version = version.version;
    return 0;
}

/* Against the version that is live now; it is not held up meanwhile. */
static int judge(struct run *run)
{
    struct pupil *pupil = run->pupil;
    struct live *live = pupil->learner->live;
    struct live_model *judged = NULL;
    struct gate_input input;

    pupil_lock(pupil);
    int r = check_wanted(run);
    if (r == 0) {
        input = learning_gate_input(pupil->learning, &run->set, run->detector);
        judged = live_acquire(live, pupil->name, strlen(pupil->name));
    }
    pupil_unlock(pupil);
    if (r < 0)
        return r;
    const bool is_serving = judged && judged->state == LIVE_SERVING;
    if (is_serving)
        r = live_hold(live, judged, &run->error);
    if (r < 0) {
        live_release(live, judged);
        return r;
    }
    input.live = is_serving ? judged->detector : NULL;
    input.live_threshold = is_serving ? judged->threshold : 0.0;
    r = gate_compare(&input, &run->report);
    if (is_serving)
        live_let_go(live, judged);
    live_release(live, judged);
    return r < 0 ? error_set(&run->error, r, "out of memory") : 0;
}

/* Under the pupil's lock. */
static int decide(struct run *run)
{
    struct pupil *pupil = run->pupil;
    struct learner *learner = pupil->learner;
    CLEANUP(text_clear) struct text comparison = {0};
    unsigned version = 0;

    int r = check_wanted(run);
    if (r < 0)
        return r;
    gate_print(&run->report, &comparison);
    run->log.comparison = text_failed(&comparison) ? NULL : strdup(comparison.data);
    r = keep(run, !run->report.is_accepted, &version);
    if (r < 0)
        return r;
    run->log.version = version;
    if (!run->report.is_accepted) {
        set_reason(run, RUN_REFUSED, run->report.reason);
        pupil->figures.n_refused++;
        pupil_tell(pupil, "refused", run->log.comparison,
                   "the candidate is worse than the live version and is kept for inspection");
        pupil_retain(pupil);
        return 0;
    }
    struct live_model *former = live_acquire(learner->live, pupil->name, strlen(pupil->name));
    const bool must_pin = pupil->log.pinned_version == 0 || learning_must_pin(pupil->learning);
    r = pupil_promote(pupil, version, must_pin, &run->error);
    if (r == 0 && must_pin)
        pupil_pinned(pupil);
    if (r == 0 && former && former->state == LIVE_SERVING)
        shadow_begin(pupil, former);
    else
        live_release(learner->live, former);
    if (r < 0)
        return r;
    set_reason(run, RUN_PROMOTED, NULL);
    pupil->figures.n_promoted++;
    pupil_tell(pupil, "promoted", run->log.comparison, NULL);
    pupil_retain(pupil);
    return 0;
}

/* Under the pupil's lock: an event that says why. */
static void tell_reason(const struct run *run, const char *kind, const char *advice)
{
    CLEANUP(text_clear) struct text detail = {0};
    const char *reason = run->log.reason ? run->log.reason : "";

    text_printf(&detail, "{\"run\":%lld,\"reason\":", (long long)run->log.id);
    text_json_string(&detail, reason, strlen(reason));
    text_puts(&detail, "}");
    pupil_tell(run->pupil, kind, text_failed(&detail) ? NULL : detail.data, advice);
}

/* Under the pupil's lock. What fails again and again is told once. */
static void count_in_vain(const struct run *run)
{
    struct pupil *pupil = run->pupil;
    const bool is_in_vain = run->log.state != RUN_PROMOTED &&
                            (run->log.state != RUN_REFUSED || pupil->log.live_version == 0);

    if (pupil->learning && pupil->n_schemas == run->n_schemas &&
        learning_run_ended(pupil->learning, is_in_vain) == TOLD_IN_VAIN &&
        run->log.state != RUN_CANCELLED)
        tell_reason(run, "failing",
                    "three runs on end came to nothing: mend what the reason names, then POST "
                    "…/retrain; by itself the next one waits for new rows, longer each time");
}

static void end_run(struct run *run, int r)
{
    struct pupil *pupil = run->pupil;

    if (r == -ECANCELED) {
        set_reason(run, RUN_CANCELLED, run->error.text);
        pupil->figures.n_cancelled++;
    } else if (r == -ENODATA) {
        set_reason(run, RUN_REFUSED, run->error.text);
        pupil->figures.n_refused++;
        tell_reason(run, "refused",
                    run->set.has_excess && run->set.is_strict
                        ? "see who sends the rows that are rare to the pinned version; rebaseline "
                          "if they are the new normal, strict = no learns from the others"
                        : "send more rows that are normal, then it is tried again");
    } else if (r < 0) {
        set_reason(run, RUN_FAILED, run->error.text);
        pupil->figures.n_failed++;
    }
    count_in_vain(run);
    run->log.ended_us = clock_realtime_us();
    pupil->figures.run_seconds = (double)(clock_monotonic_us() - run->began_us) / (double)US_PER_S;
    r = model_log_update_run(pupil->learner->database, pupil->log.id, &run->log);
    if (r < 0 && r != -ENOENT) /* it went with its model */
        log_warning("model %s: the end of run %lld could not be stored", pupil->name,
                    (long long)run->log.id);
    log_fields(run->log.state == RUN_FAILED ? LOG_WARNING : LOG_NOTICE,
               (const char *const[]){"MODEL", pupil->name, NULL}, "model %s: run %lld %s%s%s",
               pupil->name, (long long)run->log.id, run_state_name(run->log.state),
               run->log.reason ? ": " : "", run->log.reason ? run->log.reason : "");
    pupil->current_run = 0;
    pupil->cancelled = NULL;
}

static void do_run(struct pupil *pupil, int64_t id, const char *trigger)
{
    CLEANUP(run_clear) struct run run = {.pupil = pupil, .began_us = clock_monotonic_us()};
    CLEANUP(trainer_process_freep) struct trainer_process *process = NULL;

    pupil_lock(pupil);
    if (pupil->queued_run != id) { /* cancelled meanwhile */
        pupil_unlock(pupil);
        return;
    }
    run.log =
        (struct logged_run){.id = id, .state = RUN_RUNNING, .started_us = clock_realtime_us()};
    run.log.queued_us = run.log.started_us;
    run.log.stored = pupil->learning ? learning_counts(pupil->learning).stored : 0;
    (void)snprintf(run.log.trigger, sizeof(run.log.trigger), "%s", trigger);
    pupil->current_run = id;
    pupil->queued_run = 0;
    pupil->done = 0.0;
    run.n_schemas = pupil->n_schemas;
    (void)!model_log_update_run(pupil->learner->database, pupil->log.id, &run.log);
    int r = read_rows(&run);
    pupil_unlock(pupil);

    if (r == 0)
        r = guard(&run);
    pupil_lock(pupil);
    const int wanted = check_wanted(&run);
    if (wanted == 0 && (run.set.has_excess || run.set.has_new_excess))
        tell_excess(&run);
    r = wanted < 0 ? wanted : r;
    if (r == 0 && pupil_hold(pupil) < 0)
        r = error_set(&run.error, -EINVAL, "the live version cannot be read any more");
    if (r == 0 && describe(&run) < 0)
        r = error_set(&run.error, -ENOMEM, "out of memory");
    if (r == 0)
        r = start(&run, &process);
    pupil_unlock(pupil);

    if (r == 0)
        r = wait_for(&run, process);
    if (r == 0)
        r = model_file_load(run.candidate, &run.detector, &run.error);
    if (r == 0)
        r = judge(&run);
    pupil_lock(pupil);
    if (r == 0)
        r = decide(&run);
    end_run(&run, r);
    pupil_unlock(pupil);
}

/* ---- one after the other ---- */

static void wait_for_work(struct learner *learner)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_S;
    (void)pthread_mutex_lock(&learner->run_lock);
    if (!learner->is_woken)
        (void)pthread_cond_clockwait(&learner->has_work, &learner->run_lock, CLOCK_MONOTONIC,
                                     &until);
    learner->is_woken = false;
    (void)pthread_mutex_unlock(&learner->run_lock);
}

/* False: none is due. */
bool learner_runs_turn(struct learner *learner)
{
    char trigger[16];
    int64_t run = 0;
    struct pupil *pupil = learner_next_run(learner, &run, trigger);

    if (pupil)
        do_run(pupil, run, trigger);
    return pupil;
}

void *learner_runs_main(void *userdata)
{
    struct learner *learner = userdata;

    (void)pthread_setname_np(pthread_self(), "runs");
    while (!must_stop(learner))
        if (!learner_runs_turn(learner))
            wait_for_work(learner);
    return NULL;
}
