#include "base/clock.h"
#include "detector/detector.h"
#include "service/learner_state.h"
#include "service/learning_state.h"
#include "service/stats.h"
#include "store/event_log.h"

#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_ROWS 500

static char folder[32], path[64];
static char web[] = "web";
static struct stats *stats;
static struct live *live;
static struct learner *learner;
static struct pupil *pupil;
static struct config_model model;
static struct config config;
static float values[N_ROWS * TINY_FEATURES];

static int remove_entry(const char *name, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(name);
}

/* A service's learner without its threads, serving version 1. */
static int set_up(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(1, sizeof(*sources));
    size_t n_sources = 1;
    struct error error;

    (void)strcpy(folder, "/tmp/test_shadow.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/model", folder);
    save_tiny_model(path, 1);
    model = (struct config_model){.name = web,
                                  .file = path,
                                  .learn = CONFIG_LEARN_AUTO,
                                  .buffer_rows = 1000,
                                  .keep_versions = 10};
    recipe_init(&model.recipe);
    config = (struct config){
        .storage_directory = folder, .storage_max_size = 1 << 30, .models = &model, .n_models = 1};
    if (!sources)
        return -1;
    *sources = (struct live_source){.name = web, .file = path};
    if (stats_new(1, NULL, 0, &stats) < 0 || live_new(stats, &live) < 0 ||
        learner_new(&config, live, stats, &learner, &notes, &error) < 0 ||
        learner_prepare(learner, &config, &sources, &n_sources, &notes) < 0 ||
        live_load(live, sources, n_sources, true, &error) < 0 ||
        learner_commit(learner, &config) < 0)
        return -1;
    pupil = learner_find(learner, web);
    tiny_rows(7, values, N_ROWS);
    return notes.length != 0 || !pupil || pupil->live->version != 1;
}

static int tear_down(void **state)
{
    (void)state;
    learner_free(learner);
    live_free(live);
    stats_free(stats);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Version 2, promoted as a run would: trained on rows that stand `step` away from the usual ones.
 */
static void promote_second(double step)
{
    static float rows[TINY_ROWS * TINY_FEATURES];
    const struct recipe recipe = tiny_recipe(2);
    const struct trainer_options options = {.recipe = recipe, .n_threads = 1};
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct logged_version version = {.origin = "retrain"};
    struct error error;

    tiny_rows(1, rows, TINY_ROWS);
    for (size_t i = 0; i < TINY_ROWS * TINY_FEATURES; i++)
        rows[i] += (float)step;
    assert_int_equal(detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options, NULL,
                                    NULL, &detector, &error),
                     0);
    assert_int_equal(model_file_save(detector, path, &error), 0);
    assert_int_equal(model_log_next_version(learner->database, pupil->log.id, &version.version), 0);
    assert_int_equal(versions_import(path, folder, web, version.version, version.sha256, &error),
                     0);
    assert_int_equal(model_log_add_version(learner->database, pupil->log.id, &version), 0);
    struct live_model *former = live_acquire(live, web, strlen(web));
    assert_int_equal(pupil_promote(pupil, version.version, false, &error), 0);
    shadow_begin(pupil, former);
    assert_int_equal(pupil->live->version, 2);
}

/* A batch of normal rows that `version` has scored. */
static void judge(unsigned version)
{
    static struct verdict verdicts[N_ROWS];
    static struct scored_row rows[N_ROWS];
    struct intake_item item = {.pupil = pupil,
                               .n_rows = N_ROWS,
                               .n_features = TINY_FEATURES,
                               .version = version,
                               .values = values,
                               .rows = rows};

    assert_int_equal(detector_score(pupil->live->detector, learner->workspace, values, N_ROWS,
                                    pupil->live->threshold, verdicts),
                     0);
    for (size_t i = 0; i < N_ROWS; i++)
        rows[i] = (struct scored_row){.values = values + i * TINY_FEATURES,
                                      .is_flagged = verdicts[i].anomaly};
    shadow_judge(pupil, &item);
}

static void a_version_that_flags_normal_rows_is_rolled_back_and_told(void **state)
{
    (void)state;
    struct logged_event *events = NULL;
    size_t n = 0;

    promote_second(200);
    judge(2);
    assert_int_equal(pupil->live->version, 1);
    assert_int_equal(pupil->log.live_version, 1);
    assert_int_equal(pupil->figures.n_rolled_back, 1);
    assert_null(pupil->shadow.former);
    assert_int_equal(event_log_list(learner->database, pupil->log.id, NULL, 0, 10, &events, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(events[0].kind, "rolled_back");
    assert_non_null(strstr(events[0].detail, "\"version\":2,\"former\":1,\"rows\":500"));
    assert_non_null(events[0].advice);
    logged_event_clear(&events[0]);
    free(events);
}

/* As if the next second had come. */
static void judge_later(unsigned version)
{
    pupil->shadow.second_us -= US_PER_S;
    judge(version);
}

static void a_version_that_judges_alike_stays_and_the_former_is_let_go(void **state)
{
    (void)state;
    promote_second(0);
    pupil->shadow.began_us -= 600 * US_PER_S;
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(pupil->shadow.former);
        assert_true(atomic_load(&pupil->has_shadow));
        judge_later(2);
    }
    assert_null(pupil->shadow.former);
    assert_false(atomic_load(&pupil->has_shadow));
    assert_int_equal(pupil->live->version, 2);
    assert_int_equal(pupil->figures.n_rolled_back, 0);
}

static void many_rows_at_once_do_not_end_the_comparison(void **state)
{
    (void)state;
    promote_second(0);
    for (size_t i = 0; i < 6; i++)
        judge_later(2);
    assert_int_equal(pupil->shadow.n_rows, 6 * N_ROWS);
    assert_non_null(pupil->shadow.former); /* ten minutes have not passed */
}

static void of_a_second_a_thousand_rows_are_compared(void **state)
{
    (void)state;
    promote_second(0);
    for (size_t i = 0; i < 6; i++)
        judge(2);
    assert_int_equal(pupil->shadow.n_rows, 2 * N_ROWS);
    judge_later(2);
    assert_int_equal(pupil->shadow.n_rows, 3 * N_ROWS);
}

/* Rows of /score, as a worker offers them. */
static void offer(bool is_learned)
{
    static struct verdict verdicts[N_ROWS];

    assert_int_equal(detector_score(pupil->live->detector, learner->workspace, values, N_ROWS,
                                    pupil->live->threshold, verdicts),
                     0);
    learner_name_verdicts(learner, verdicts, N_ROWS);
    learner_offer(learner, pupil->live, values, is_learned, verdicts, N_ROWS, TINY_FEATURES,
                  &(struct row_times){.time_us = 1}, "");
    (void)learner_intake_turn(learner);
}

static void assert_rolled_back_without_learning(int learn, bool is_learned)
{
    struct logged_event *events = NULL;
    size_t n = 0;

    atomic_store(&pupil->learn, learn);
    promote_second(200);
    offer(is_learned);
    assert_int_equal(pupil->live->version, 1);
    assert_int_equal(learning_counts(pupil->learning).rows, 0);
    assert_int_equal(
        event_log_list(learner->database, pupil->log.id, "verdict", 0, N_ROWS, &events, &n), 0);
    assert_true(n > N_ROWS / 2); /* feedback can name them all the same */
    while (n-- > 0)
        logged_event_clear(&events[n]);
    free(events);
}

static void it_is_rolled_back_with_learn_observe_too(void **state)
{
    (void)state;
    assert_rolled_back_without_learning(CONFIG_LEARN_OBSERVE, true);
}

static void it_is_rolled_back_with_learn_off_too(void **state)
{
    (void)state;
    assert_rolled_back_without_learning(CONFIG_LEARN_OFF, true);
}

static void it_is_rolled_back_by_rows_that_are_not_to_be_learned_too(void **state)
{
    (void)state;
    assert_rolled_back_without_learning(CONFIG_LEARN_AUTO, false);
}

static void rows_that_another_version_scored_do_not_count(void **state)
{
    (void)state;
    promote_second(200);
    judge(1);
    assert_int_equal(pupil->shadow.n_rows, 0);
    assert_int_equal(pupil->live->version, 2);
}

/* At 0.99 the former flags all but a few, too: nothing could be held against the new one. */
static void the_former_version_judges_at_the_rate_in_force(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(learner_set_rate(learner, web, 0.99, "test", &error), 0);
    promote_second(200);
    assert_int_equal(learner_set_rate(learner, web, 0.001, "test", &error), 0);
    judge(2);
    assert_int_equal(pupil->live->version, 1);
    assert_int_equal(pupil->figures.n_rolled_back, 1);
}

static void what_is_learned_follows_the_rate_in_force(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(learner_set_rate(learner, web, 0.2, "test", &error), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(pupil->live->false_alarm_rate == 0.2);
        assert_true(pupil->learning->false_alarm_rate == 0.2);
        assert_true(pupil->learning->threshold == pupil->live->threshold);
        if (i == 0)
            promote_second(0);
    }
    assert_int_equal(learner_set_rate(learner, web, 0.0, "test", &error), 0);
    assert_int_equal(pupil->live->rate_source, LIVE_RATE_OF_FILE);
    assert_true(pupil->learning->false_alarm_rate == pupil->live->false_alarm_rate);
}

/* A reload in the midst of which something happens. */
static struct live_model *reload(void (*meanwhile)(void))
{
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(1, sizeof(*sources));
    size_t n_sources = 1;
    struct error error;

    assert_non_null(sources);
    *sources = (struct live_source){.name = web, .file = path};
    assert_int_equal(learner_prepare(learner, &config, &sources, &n_sources, &notes), 0);
    meanwhile();
    assert_int_equal(live_load(live, sources, n_sources, true, &error), 0);
    assert_int_equal(learner_commit(learner, &config), 0);
    struct live_model *answers = live_acquire(live, web, strlen(web));
    assert_ptr_equal(answers, pupil->live);
    return answers;
}

static void put_rate(void)
{
    struct error error;

    assert_int_equal(learner_set_rate(learner, web, 0.2, "test", &error), 0);
}

static void a_rate_that_comes_during_a_reload_is_in_force_after_it(void **state)
{
    (void)state;
    struct live_model *answers = reload(put_rate);

    assert_true(answers->false_alarm_rate == 0.2);
    assert_int_equal(answers->rate_source, LIVE_RATE_PUT);
    assert_true(pupil->learning->false_alarm_rate == 0.2);
    live_release(live, answers);
}

static void promote_alike(void)
{
    promote_second(0);
}

static void a_version_that_is_promoted_during_a_reload_serves_after_it(void **state)
{
    (void)state;
    struct live_model *answers = reload(promote_alike);

    assert_int_equal(answers->version, 2);
    assert_int_equal(pupil->log.live_version, 2);
    assert_string_equal(answers->checksum, pupil->sha256);
    live_release(live, answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_version_that_flags_normal_rows_is_rolled_back_and_told,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_version_that_judges_alike_stays_and_the_former_is_let_go,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_rows_at_once_do_not_end_the_comparison, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(of_a_second_a_thousand_rows_are_compared, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_is_rolled_back_with_learn_observe_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_is_rolled_back_with_learn_off_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_rolled_back_by_rows_that_are_not_to_be_learned_too,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_former_version_judges_at_the_rate_in_force, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_version_that_is_promoted_during_a_reload_serves_after_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rate_that_comes_during_a_reload_is_in_force_after_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_learned_follows_the_rate_in_force, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(rows_that_another_version_scored_do_not_count, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
