/* A rate that is made of false alarms a day, in a learner without its threads and in a time of our
 * own. */
#include "detector/detector.h"
#include "service/learner_state.h"
#include "service/learning_state.h"
#include "service/stats.h"

#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S         ((uint64_t)1000000)
#define HOUR      (3600 * S)
#define FILE_RATE 0.05 /* that the tiny model is trained for */

static char folder[32], path[64];
static char web[] = "web";
static struct stats *stats;
static struct live *live;
static struct learner *learner;
static struct pupil *pupil;
static struct config_model model;
static struct config config;
static uint64_t now_us;

static int remove_entry(const char *name, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(name);
}

/* As the service does at its start and at a reload. */
static int load(void)
{
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(1, sizeof(*sources));
    size_t n_sources = 1;
    struct error error;
    if (!sources)
        return -1;

    *sources = (struct live_source){.name = web, .file = path};
    if (learner_prepare(learner, &config, &sources, &n_sources, &notes) < 0 ||
        live_load(live, sources, n_sources, true, &error) < 0 ||
        learner_commit(learner, &config) < 0)
        return -1;
    pupil = learner_find(learner, web);
    return notes.length != 0 || !pupil;
}

static int start(void)
{
    CLEANUP(text_clear) struct text notes = {0};
    struct error error;

    return stats_new(1, NULL, 0, &stats) < 0 || live_new(stats, &live) < 0 ||
           learner_new(&config, live, stats, &learner, &notes, &error) < 0 || load() != 0;
}

static void stop(void)
{
    learner_free(learner);
    live_free(live);
    stats_free(stats);
}

static int set_up(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_budget.XXXXXX");
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
    now_us = 1000 * S;
    return start();
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* n rows are scored every ten seconds, for so long. */
static void score(size_t n, uint64_t for_us)
{
    static const struct verdict verdicts[1000];

    assert_true(n <= 1000);
    for (const uint64_t end_us = now_us + for_us; now_us < end_us; now_us += 10 * S) {
        stats_count_verdicts(pupil->live->stats, 0, verdicts, n);
        learner_count_rows(learner, now_us);
    }
}

static void put_budget(double alarms_per_day)
{
    struct error error;

    assert_int_equal(learner_set_budget(learner, web, alarms_per_day, "test", &error), 0);
}

static void assert_rate(double want, enum live_rate_source source)
{
    const struct live_model *serves = pupil->live;

    if (!(fabs(serves->false_alarm_rate / want - 1) < 0.01))
        fail_msg("rate %g, not %g", serves->false_alarm_rate, want);
    assert_int_equal(serves->rate_source, source);
    assert_true(serves->threshold == calibration_threshold(detector_calibration(serves->detector),
                                                           serves->false_alarm_rate));
    assert_true(pupil->learning->threshold == serves->threshold);
    assert_true(pupil->learning->false_alarm_rate == serves->false_alarm_rate);
}

static void a_budget_of_the_configuration_follows_the_rows_a_day(void **state)
{
    (void)state;
    model.false_alarms_per_day = 864;
    assert_int_equal(load(), 0);
    assert_rate(FILE_RATE, LIVE_RATE_OF_CONFIGURATION);
    assert_true(pupil->live->false_alarms_per_day == 864);
    assert_true(learner_rows_per_day(learner, web) == 0);
    score(10, 595 * S);
    assert_rate(FILE_RATE, LIVE_RATE_OF_CONFIGURATION);
    score(10, 60 * S);
    assert_rate(0.01, LIVE_RATE_OF_CONFIGURATION);
    assert_float_equal(learner_rows_per_day(learner, web), 86400, 100);
    score(30, 200 * HOUR);
    assert_true(pupil->live->false_alarm_rate < 0.0045);
}

static void a_budget_that_is_put_holds_at_once_by_rows_seen_before(void **state)
{
    (void)state;
    score(10, HOUR);
    assert_rate(FILE_RATE, LIVE_RATE_OF_FILE);
    put_budget(864);
    assert_rate(0.01, LIVE_RATE_PUT);
    put_budget(1728);
    assert_rate(0.02, LIVE_RATE_PUT);
}

static void a_little_more_or_less_moves_no_threshold(void **state)
{
    (void)state;
    put_budget(864);
    score(10, 100 * HOUR);
    const struct live_model *before = pupil->live;
    score(11, 50 * HOUR);
    score(9, 50 * HOUR);
    assert_ptr_equal(pupil->live, before);
}

static void what_is_followed_stays_over_a_restart_and_weighs_as_much(void **state)
{
    (void)state;
    put_budget(864);
    score(10, 100 * HOUR);
    const double rate = pupil->live->false_alarm_rate;
    stop();
    now_us = 50 * S;
    assert_int_equal(start(), 0);
    assert_true(pupil->live->false_alarm_rate == rate);
    score(1, HOUR); /* an hour of little does not outweigh four days */
    assert_true(pupil->live->false_alarm_rate == rate);
    assert_rate(0.01, LIVE_RATE_PUT);
}

static void the_last_word_counts(void **state)
{
    (void)state;
    struct error error;

    model.false_alarm_rate = 0.2;
    assert_int_equal(load(), 0);
    score(10, HOUR);
    put_budget(864);
    assert_rate(0.01, LIVE_RATE_PUT);
    assert_int_equal(learner_set_rate(learner, web, 0.1, "test", &error), 0);
    assert_rate(0.1, LIVE_RATE_PUT);
    assert_true(pupil->live->false_alarms_per_day == 0);
    score(100, 48 * HOUR); /* a rate does not follow */
    assert_rate(0.1, LIVE_RATE_PUT);
    put_budget(864);
    assert_true(pupil->live->false_alarms_per_day == 864);
    assert_int_equal(learner_set_rate(learner, web, 0, "test", &error), 0);
    assert_rate(0.2, LIVE_RATE_OF_CONFIGURATION);
}

static void a_reload_changes_the_budget_at_once(void **state)
{
    (void)state;
    model.false_alarms_per_day = 864;
    assert_int_equal(load(), 0);
    score(10, HOUR);
    model.false_alarms_per_day = 2 * 864;
    assert_int_equal(load(), 0);
    assert_rate(0.02, LIVE_RATE_OF_CONFIGURATION);
    model.false_alarms_per_day = 0;
    assert_int_equal(load(), 0);
    assert_rate(FILE_RATE, LIVE_RATE_OF_FILE);
}

static void more_than_half_of_the_rows_is_refused_or_held_at_half(void **state)
{
    (void)state;
    struct error error;

    put_budget(50000); /* of who knows how many */
    score(10, HOUR);
    assert_rate(0.5, LIVE_RATE_PUT);
    assert_int_equal(learner_set_budget(learner, web, 43300, "test", &error), LEARNER_UNFIT);
    assert_non_null(strstr(error.text, "more than half of the 8.64e+04 rows a day"));
    assert_true(pupil->live->false_alarms_per_day == 50000);
    put_budget(43100);
}

static void a_file_that_cannot_be_read_keeps_the_threshold_until_it_can(void **state)
{
    (void)state;
    char away[sizeof(pupil->path) + 8];

    put_budget(864);
    (void)snprintf(away, sizeof(away), "%s.away", pupil->path);
    assert_int_equal(rename(pupil->path, away), 0);
    score(10, HOUR);
    assert_rate(FILE_RATE, LIVE_RATE_PUT);
    assert_int_equal(rename(away, pupil->path), 0);
    score(10, 10 * S);
    assert_rate(0.01, LIVE_RATE_PUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_budget_of_the_configuration_follows_the_rows_a_day,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_budget_that_is_put_holds_at_once_by_rows_seen_before,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_little_more_or_less_moves_no_threshold, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_followed_stays_over_a_restart_and_weighs_as_much,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_word_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reload_changes_the_budget_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_half_of_the_rows_is_refused_or_held_at_half,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_keeps_the_threshold_until_it_can,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
