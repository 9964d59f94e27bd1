#include "store/model_log.h"

#include "support/cmocka.h"
#include "support/database_folder.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int64_t make_model(const char *name)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    assert_int_equal(model_log_open(database, name, "[\"a\",\"b\"]", "f1", &model), 0);
    return model.id;
}

static struct logged_model find(const char *name)
{
    struct logged_model model = {0};

    assert_int_equal(model_log_open(database, name, NULL, NULL, &model), 0);
    return model;
}

static int add_version(int64_t model, unsigned version)
{
    const struct logged_version made = {
        .version = version, .sha256 = "abc", .origin = "retrain", .rows = 5000};

    return model_log_add_version(database, model, &made);
}

static unsigned next_version(int64_t model)
{
    unsigned version = 0;

    assert_int_equal(model_log_next_version(database, model, &version), 0);
    return version;
}

static int64_t add_run(int64_t model)
{
    int64_t run = 0;

    assert_int_equal(model_log_add_run(database, model, "rows", 10, &run), 0);
    return run;
}

static void clear_runs(struct logged_run *runs, size_t n_runs)
{
    for (size_t i = 0; i < n_runs; i++)
        logged_run_clear(&runs[i]);
    free(runs);
}

/* ---- models ---- */

static void a_model_is_made_once_and_found_again(void **state)
{
    (void)state;
    CLEANUP(logged_model_clear) struct logged_model made = {0};
    CLEANUP(logged_model_clear) struct logged_model found = {0};

    assert_int_equal(model_log_open(database, "web", "[\"a\"]", "f1", &made), 0);
    assert_true(made.id > 0);
    assert_string_equal(made.name, "web");
    assert_string_equal(made.fingerprint, "f1");
    assert_string_equal(made.features, "[\"a\"]");
    assert_int_equal(made.live_version, 0);
    assert_int_equal(made.former_version, 0);
    assert_int_equal(made.pinned_version, 0);
    assert_int_equal(made.last_version, 0);
    assert_false(made.is_frozen);
    reopen_database();
    assert_int_equal(model_log_open(database, "web", "[\"a\"]", "f1", &found), 0);
    assert_int_equal(found.id, made.id);
    assert_string_equal(found.features, "[\"a\"]");
    assert_int_equal(count("SELECT count(*) FROM models"), 1);
}

static void an_unknown_model_is_only_made_with_features(void **state)
{
    (void)state;
    struct logged_model model = {.id = 42};

    assert_int_equal(model_log_open(database, "web", NULL, NULL, &model), -ENOENT);
    assert_int_equal(model.id, 42);
    assert_int_equal(count("SELECT count(*) FROM models"), 0);
}

static void other_features_are_stale(void **state)
{
    (void)state;
    struct logged_model model = {.id = 42};
    const int64_t id = make_model("web");

    assert_int_equal(model_log_open(database, "web", "[\"a\"]", "f2", &model), -ESTALE);
    assert_int_equal(model.id, 42);
    assert_int_equal(model_log_open(database, "web", NULL, NULL, &model), 0);
    assert_int_equal(model.id, id);
    assert_string_equal(model.features, "[\"a\",\"b\"]"); /* still */
    logged_model_clear(&model);
}

static void any_text_survives(void **state)
{
    (void)state;
    static const char features[] = "[\"it's \\\"cpu\\\"; DROP TABLE models; --\",\"größe\nµ\"]";
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    char fingerprint[MODEL_LOG_FINGERPRINT_SIZE];

    (void)memset(fingerprint, 'f', sizeof(fingerprint) - 1);
    fingerprint[sizeof(fingerprint) - 1] = '\0';
    assert_int_equal(model_log_open(database, "web", features, fingerprint, &model), 0);
    logged_model_clear(&model);
    reopen_database();
    model = find("web");
    assert_string_equal(model.features, features);
    assert_string_equal(model.fingerprint, fingerprint);
}

static void models_are_listed_by_name(void **state)
{
    (void)state;
    struct logged_model *models = NULL;
    size_t n_models = 42;

    assert_int_equal(model_log_list(database, &models, &n_models), 0);
    assert_int_equal(n_models, 0);
    assert_null(models);
    for (int i = 39; i >= 0; i--) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%02d", i);
        (void)make_model(name);
    }
    assert_int_equal(model_log_list(database, &models, &n_models), 0);
    assert_int_equal(n_models, 40);
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%02d", i);
        assert_string_equal(models[i].name, name);
        assert_string_equal(models[i].features, "[\"a\",\"b\"]");
        logged_model_clear(&models[i]);
    }
    free(models);
}

static void new_features_take_the_old_rows_away(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    (void)make_model("mail"); /* the id after it */

    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    execute("INSERT INTO buffers (model, last_number, stored, left_train) SELECT id, 7, 7, 3 FROM "
            "models; INSERT INTO rows (model, role, number, time_us, is_flagged, is_observed, "
            "incident, vector) SELECT id, 0, 7, 1, 0, 0, 0, x'00' FROM models");
    assert_int_equal(model_log_reschema(database, web, "[\"c\"]", "f2"), 0);
    reopen_database();

    CLEANUP(logged_model_clear) struct logged_model model = {0};
    assert_int_equal(model_log_open(database, "web", "[\"c\"]", "f2", &model), 0);
    assert_int_equal(model.id, web);
    assert_string_equal(model.features, "[\"c\"]");
    assert_int_equal(model.live_version, 1); /* versions stay */
    assert_int_equal(count("SELECT count(*) FROM rows"), 1);
    assert_int_equal(count("SELECT count(*) FROM rows JOIN models ON models.id = model "
                           "WHERE name = 'mail'"),
                     1);
    assert_int_equal(count("SELECT sum(last_number) FROM buffers"), 14); /* the numbers go on */
    assert_int_equal(count("SELECT sum(left_train) FROM buffers"), 3);
    assert_int_equal(model_log_reschema(database, web + 100, "[\"c\"]", "f2"), -ENOENT);
}

static void freezing_is_remembered(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    for (int is_frozen = 1; is_frozen >= 0; is_frozen--) {
        assert_int_equal(model_log_set_frozen(database, web, is_frozen), 0);
        reopen_database();
        CLEANUP(logged_model_clear) struct logged_model model = find("web");
        assert_int_equal(model.is_frozen, is_frozen);
    }
    assert_int_equal(model_log_set_frozen(database, web + 1, true), -ENOENT);
}

static void a_rate_that_was_put_is_remembered(void **state)
{
    (void)state;
    static const double rates[] = {0.1, 1e-9, 0.0};
    const int64_t web = make_model("web");

    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        assert_int_equal(model_log_set_rate(database, web, rates[i], 0), 0);
        reopen_database();
        CLEANUP(logged_model_clear) struct logged_model model = find("web");
        assert_true(model.false_alarm_rate == rates[i]);
    }
    assert_int_equal(model_log_set_rate(database, web + 1, 0.1, 0), -ENOENT);
}

static void a_budget_and_the_rows_a_day_are_remembered(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(model_log_set_rate(database, web, 0, 2.5), 0);
    assert_int_equal(model_log_set_observed(database, web, 8640, 600), 0);
    assert_int_equal(model_log_set_observed(database, web + 1, 8640, 600), -ENOENT);
    reopen_database();
    CLEANUP(logged_model_clear) struct logged_model model = find("web");
    assert_true(model.false_alarm_rate == 0 && model.false_alarms_per_day == 2.5);
    assert_true(model.rows_per_day == 8640 && model.observed_s == 600);
}

static void a_pin_that_shall_move_is_remembered(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    CLEANUP(logged_model_clear) struct logged_model made = find("web");
    assert_false(made.repin);
    for (int repin = 1; repin >= 0; repin--) {
        assert_int_equal(model_log_set_repin(database, web, repin), 0);
        reopen_database();
        CLEANUP(logged_model_clear) struct logged_model model = find("web");
        assert_int_equal(model.repin, repin);
        assert_false(model.is_frozen);
    }
    assert_int_equal(model_log_set_repin(database, web + 1, true), -ENOENT);
}

static void a_deleted_model_leaves_nothing_and_its_id_is_not_used_again(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    (void)add_run(web);
    assert_int_equal(add_version(web, 1), 0);
    execute("INSERT INTO events (model, time_us, kind, first_row, last_row) "
            "SELECT id, 1, 'drift', 0, 0 FROM models");
    execute("INSERT INTO rows (model, role, number, time_us, is_flagged, is_observed, incident, "
            "vector) SELECT id, 0, 7, 1, 0, 0, 0, x'00' FROM models");
    assert_int_equal(model_log_delete(database, web), 0);
    assert_int_equal(count("SELECT (SELECT count(*) FROM models) + (SELECT count(*) FROM versions) "
                           "+ (SELECT count(*) FROM runs) + (SELECT count(*) FROM events) "
                           "+ (SELECT count(*) FROM rows)"),
                     0);
    assert_int_equal(model_log_delete(database, web), -ENOENT);
    reopen_database();
    assert_int_equal(make_model("web"), web + 1);
}

static void unknown_models_are_adopted_and_others_stay(void **state)
{
    (void)state;
    const struct logged_version first = {.version = 1, .sha256 = "abc", .origin = "file"};
    const struct logged_adoption adoptions[] = {
        {.name = "new", .features = "[\"a\"]", .fingerprint = "f2", .version = first},
        {.name = "web", .features = "[\"a\"]", .fingerprint = "f2", .version = first},
        {.name = "zoo", .features = "[\"b\"]", .fingerprint = "f3", .version = first}
    };
    struct logged_version found;

    (void)make_model("web");
    assert_int_equal(model_log_adopt(database, adoptions, 3), 0);
    assert_int_equal(model_log_adopt(database, NULL, 0), 0);
    reopen_database();
    CLEANUP(logged_model_clear) struct logged_model web = find("web"), zoo = find("zoo");
    assert_int_equal(web.live_version, 0);
    assert_string_equal(web.fingerprint, "f1");
    assert_int_equal(zoo.live_version, 1);
    assert_int_equal(zoo.pinned_version, 1);
    assert_int_equal(zoo.former_version, 0);
    assert_string_equal(zoo.features, "[\"b\"]");
    assert_int_equal(model_log_version(database, zoo.id, 1, &found), 0);
    assert_string_equal(found.sha256, "abc");
    assert_int_equal(next_version(zoo.id), 2);
    assert_int_equal(count("SELECT count(*) FROM versions"), 2);
}

/* ---- versions ---- */

static void a_version_number_is_never_given_twice(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");

    assert_int_equal(next_version(web), 1);
    assert_int_equal(next_version(web), 2);
    assert_int_equal(next_version(mail), 1);
    reopen_database();
    assert_int_equal(next_version(web), 3);
    assert_int_equal(add_version(web, 3), 0);
    assert_int_equal(model_log_remove_version(database, web, 3), 0);
    assert_int_equal(next_version(web), 4);
    assert_int_equal(add_version(web, 10), 0); /* a file that was there */
    assert_int_equal(next_version(web), 11);
    assert_int_equal(add_version(web, 5), 0);
    assert_int_equal(next_version(web), 12);

    unsigned version = 42;
    assert_int_equal(model_log_next_version(database, web + 100, &version), -ENOENT);
    assert_int_equal(version, 42);
    CLEANUP(logged_model_clear) struct logged_model model = find("web");
    assert_int_equal(model.last_version, 12);
}

static void versions_are_kept_as_they_were_added(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const struct logged_version second = {.version = 2,
                                          .made_us = 1700000000000001,
                                          .run = 17,
                                          .sha256 = "0123456789abcdef0123456789abcdef"
                                                    "0123456789abcdef0123456789abcdef",
                                          .rows = 50000,
                                          .origin = "it's an \"upload\" µ",
                                          .is_refused = true};

    assert_int_equal(model_log_add_version(database, web, &second), 0);
    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(add_version(make_model("mail"), 1), 0);
    reopen_database();

    AUTO_FREE struct logged_version *versions = NULL;
    size_t n_versions = 0;
    assert_int_equal(model_log_versions(database, web, &versions, &n_versions), 0);
    assert_int_equal(n_versions, 2);
    assert_int_equal(versions[0].version, 1);
    assert_false(versions[0].is_refused);
    assert_int_equal(versions[1].version, 2);
    assert_int_equal(versions[1].made_us, 1700000000000001);
    assert_int_equal(versions[1].run, 17);
    assert_string_equal(versions[1].sha256, second.sha256);
    assert_int_equal(versions[1].rows, 50000);
    assert_string_equal(versions[1].origin, second.origin);
    assert_true(versions[1].is_refused);
}

static void a_version_is_added_once_and_to_a_model(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(add_version(web, 1), -EEXIST);
    assert_int_equal(add_version(web + 1, 1), -ENOENT);
    assert_int_equal(count("SELECT count(*) FROM versions"), 1);
}

static void a_version_in_use_is_not_removed(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    for (unsigned version = 1; version <= 4; version++)
        assert_int_equal(add_version(web, version), 0);
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    assert_int_equal(model_log_promote(database, web, 2, false), 0);
    assert_int_equal(model_log_promote(database, web, 3, false), 0);
    assert_int_equal(model_log_remove_version(database, web, 1), -EBUSY); /* pinned */
    assert_int_equal(model_log_remove_version(database, web, 2), -EBUSY); /* former */
    assert_int_equal(model_log_remove_version(database, web, 3), -EBUSY); /* live */
    assert_int_equal(model_log_remove_version(database, web, 4), 0);
    assert_int_equal(model_log_remove_version(database, web, 4), -ENOENT);
    assert_int_equal(count("SELECT count(*) FROM versions"), 3);
}

static void assert_uses(const char *name, unsigned live, unsigned former, unsigned pinned)
{
    CLEANUP(logged_model_clear) struct logged_model model = find(name);

    assert_int_equal(model.live_version, live);
    assert_int_equal(model.former_version, former);
    assert_int_equal(model.pinned_version, pinned);
}

static void promoting_makes_the_live_version_the_former(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    for (unsigned version = 1; version <= 3; version++)
        assert_int_equal(add_version(web, version), 0);
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    assert_uses("web", 1, 0, 1);
    assert_int_equal(model_log_promote(database, web, 2, false), 0);
    assert_uses("web", 2, 1, 1);
    assert_int_equal(model_log_promote(database, web, 3, true), 0);
    reopen_database();
    assert_uses("web", 3, 2, 3);
    assert_int_equal(model_log_promote(database, web, 2, false), 0); /* back */
    assert_uses("web", 2, 3, 3);
}

static void promoting_the_live_version_keeps_the_way_back(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(add_version(web, 2), 0);
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    assert_int_equal(model_log_promote(database, web, 2, false), 0);
    assert_int_equal(model_log_promote(database, web, 2, true), 0);
    assert_uses("web", 2, 1, 2);
}

static void promoting_a_version_that_is_not_there_changes_nothing(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(add_version(make_model("mail"), 2), 0); /* another's */
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    assert_int_equal(model_log_promote(database, web, 2, true), -ENOENT);
    assert_int_equal(model_log_promote(database, web + 100, 1, true), -ENOENT);
    assert_int_equal(model_log_pin(database, web, 2), -ENOENT);
    assert_uses("web", 1, 0, 1);
}

static void a_promoted_candidate_is_refused_no_more(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const struct logged_version refused = {.version = 1, .is_refused = true};

    assert_int_equal(model_log_add_version(database, web, &refused), 0);
    assert_int_equal(model_log_promote(database, web, 1, false), 0);
    assert_int_equal(count("SELECT sum(is_refused) FROM versions"), 0);
}

static void the_pin_moves_alone(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(add_version(web, 1), 0);
    assert_int_equal(add_version(web, 2), 0);
    assert_int_equal(model_log_promote(database, web, 1, true), 0);
    assert_int_equal(model_log_pin(database, web, 2), 0);
    reopen_database();
    assert_uses("web", 1, 0, 2);
}

/* ---- runs ---- */

static void run_states_have_names(void **state)
{
    (void)state;
    assert_string_equal(run_state_name(RUN_QUEUED), "queued");
    assert_string_equal(run_state_name(RUN_RUNNING), "running");
    assert_string_equal(run_state_name(RUN_PROMOTED), "promoted");
    assert_string_equal(run_state_name(RUN_REFUSED), "refused");
    assert_string_equal(run_state_name(RUN_FAILED), "failed");
    assert_string_equal(run_state_name(RUN_CANCELLED), "cancelled");
}

static void a_run_begins_queued(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    CLEANUP(logged_run_clear) struct logged_run run = {0};

    assert_int_equal(model_log_run(database, web, add_run(web), &run), 0);
    assert_int_equal(run.state, RUN_QUEUED);
    assert_string_equal(run.trigger, "rows");
    assert_int_equal(run.queued_us, 10);
    assert_int_equal(run.started_us, 0);
    assert_int_equal(run.ended_us, 0);
    assert_int_equal(run.version, 0);
    assert_null(run.reason);
    assert_null(run.comparison);
}

static void an_updated_run_is_kept_whole(void **state)
{
    (void)state;
    static char reason[] = "it's \"worse\":\n0.91 < 0.93 µ",
                comparison[] = "{\"auc\": [0.91,0.93]}";
    const int64_t web = make_model("web");
    const struct logged_run update = {.id = add_run(web),
                                      .state = RUN_REFUSED,
                                      .trigger = "other",
                                      .queued_us = 11,
                                      .started_us = 12,
                                      .ended_us = 13,
                                      .version = 4,
                                      .reason = reason,
                                      .comparison = comparison};

    assert_int_equal(model_log_update_run(database, web, &update), 0);
    reopen_database();
    CLEANUP(logged_run_clear) struct logged_run run = {0};
    assert_int_equal(model_log_run(database, web, update.id, &run), 0);
    assert_int_equal(run.id, update.id);
    assert_int_equal(run.state, RUN_REFUSED);
    assert_string_equal(run.trigger, "rows"); /* stays */
    assert_int_equal(run.queued_us, 11);
    assert_int_equal(run.started_us, 12);
    assert_int_equal(run.ended_us, 13);
    assert_int_equal(run.version, 4);
    assert_string_equal(run.reason, reason);
    assert_string_equal(run.comparison, comparison);
}

static void a_run_of_another_model_is_not_found(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");
    struct logged_run run = {.id = add_run(web)};

    const struct logged_run other = {.id = run.id};
    assert_int_equal(model_log_run(database, mail, other.id, &run), -ENOENT);
    assert_int_equal(run.id, other.id);
    assert_int_equal(model_log_run(database, web, 999, &run), -ENOENT);
    assert_int_equal(model_log_update_run(database, mail, &other), -ENOENT);
    assert_int_equal(model_log_add_run(database, 999, "rows", 1, &run.id), -ENOENT);
    assert_int_equal(run.id, other.id);
}

static void runs_are_listed_the_newest_first(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");
    const int64_t first = add_run(web);
    (void)add_run(mail);
    const int64_t second = add_run(web);
    const int64_t third = add_run(web);
    struct logged_run *runs = NULL;
    size_t n_runs = 0;

    assert_int_equal(model_log_runs(database, web, 2, &runs, &n_runs), 0);
    assert_int_equal(n_runs, 2);
    assert_int_equal(runs[0].id, third);
    assert_int_equal(runs[1].id, second);
    clear_runs(runs, n_runs);
    assert_int_equal(model_log_runs(database, web, SIZE_MAX, &runs, &n_runs), 0);
    assert_int_equal(n_runs, 3);
    assert_int_equal(runs[2].id, first);
    clear_runs(runs, n_runs);
}

static void runs_of_a_dead_process_are_ended(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct logged_run run = {.id = add_run(web), .state = RUN_PROMOTED, .ended_us = 20};
    assert_int_equal(model_log_update_run(database, web, &run), 0);
    const int64_t promoted = run.id;
    run = (struct logged_run){.id = add_run(web), .state = RUN_RUNNING, .started_us = 30};
    assert_int_equal(model_log_update_run(database, web, &run), 0);
    const int64_t running = run.id, queued = add_run(make_model("mail"));

    reopen_database();
    assert_int_equal(model_log_end_runs(database, 99), 0);
    assert_int_equal(model_log_run(database, web, promoted, &run), 0);
    assert_int_equal(run.state, RUN_PROMOTED);
    assert_int_equal(run.ended_us, 20);
    assert_null(run.reason);
    assert_int_equal(model_log_run(database, web, running, &run), 0);
    assert_int_equal(run.state, RUN_FAILED);
    assert_int_equal(run.started_us, 30);
    assert_int_equal(run.ended_us, 99);
    assert_string_equal(run.reason, "the daemon ended");
    logged_run_clear(&run);
    assert_int_equal(model_log_run(database, make_model("mail"), queued, &run), 0);
    assert_int_equal(run.state, RUN_FAILED);
    logged_run_clear(&run);
    assert_int_equal(model_log_end_runs(database, 100), 0); /* again: nothing to do */
    assert_int_equal(count("SELECT max(ended_us) FROM runs"), 99);
}

static void the_last_run_is_the_last_that_began(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    static char reason[] = "few";
    struct logged_run run = {0};

    assert_int_equal(model_log_last_run(database, web, &run), -ENOENT);
    const int64_t first = add_run(web);
    assert_int_equal(model_log_last_run(database, web, &run), -ENOENT);
    run = (struct logged_run){
        .id = first, .state = RUN_REFUSED, .started_us = 5, .stored = 700, .reason = reason};
    assert_int_equal(model_log_update_run(database, web, &run), 0);
    (void)add_run(web); /* waits */
    run = (struct logged_run){.id = add_run(make_model("mail")), .started_us = 9};
    assert_int_equal(model_log_update_run(database, make_model("mail"), &run), 0);
    reopen_database();
    assert_int_equal(model_log_last_run(database, web, &run), 0);
    assert_int_equal(run.id, first);
    assert_int_equal(run.stored, 700);
    assert_int_equal(run.started_us, 5);
    assert_string_equal(run.reason, "few");
    logged_run_clear(&run);
}

static void one_version_is_found_by_its_number(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const struct logged_version second = {.version = 2, .sha256 = "abc", .is_refused = true};
    struct logged_version found = {.version = 77};

    assert_int_equal(model_log_add_version(database, web, &second), 0);
    assert_int_equal(model_log_version(database, web, 1, &found), -ENOENT);
    assert_int_equal(model_log_version(database, make_model("mail"), 2, &found), -ENOENT);
    assert_int_equal(found.version, 77);
    assert_int_equal(model_log_version(database, web, 2, &found), 0);
    assert_int_equal(found.version, 2);
    assert_string_equal(found.sha256, "abc");
    assert_true(found.is_refused);
}

static void old_runs_go_but_not_what_made_a_version(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t other = add_run(make_model("mail"));
    struct logged_run run = {.state = RUN_REFUSED};

    const int64_t still_queued = add_run(web);
    for (int i = 0; i < MODEL_LOG_MOST_RUNS + 20; i++) {
        run.id = add_run(web);
        assert_int_equal(model_log_update_run(database, web, &run), 0);
        if (i > 0)
            continue;
        const struct logged_version made = {.version = 1, .run = run.id};
        assert_int_equal(model_log_add_version(database, web, &made), 0);
    }
    assert_int_equal(model_log_run(database, web, still_queued, &run), 0);
    assert_int_equal(model_log_run(database, web, still_queued + 1, &run), 0);
    assert_int_equal(model_log_run(database, web, still_queued + 2, &run), -ENOENT);
    assert_int_equal(model_log_run(database, make_model("mail"), other, &run), 0);
    assert_int_equal(count("SELECT count(*) FROM runs"), MODEL_LOG_MOST_RUNS + 3);
}

static void a_state_that_is_none_is_damage(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct logged_run run = {.id = add_run(web)}, *runs = NULL;
    size_t n_runs;

    execute("UPDATE runs SET state = 6");
    assert_int_equal(model_log_run(database, web, run.id, &run), -EUCLEAN);
    assert_int_equal(model_log_runs(database, web, 9, &runs, &n_runs), -EUCLEAN);
    assert_null(runs);
}

static void a_run_id_is_never_given_twice(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t run = add_run(web);

    assert_int_equal(model_log_delete(database, web), 0);
    reopen_database();
    assert_true(add_run(make_model("web")) > run);
}

/* ---- the world ---- */

#define PER_THREAD 100

static void *take_numbers(void *taken)
{
    unsigned *numbers = taken;
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    if (model_log_open(database, "shared", "[]", "f", &model) < 0)
        return NULL;
    for (int i = 0; i < PER_THREAD; i++) {
        struct logged_version version = {0};
        AUTO_FREE struct logged_version *versions = NULL;
        size_t n_versions;
        if (model_log_next_version(database, model.id, &version.version) < 0 ||
            model_log_add_version(database, model.id, &version) < 0 ||
            model_log_promote(database, model.id, version.version, false) < 0 ||
            model_log_versions(database, model.id, &versions, &n_versions) < 0)
            return NULL;
        numbers[i] = version.version;
    }
    return taken;
}

static void two_threads_share_one_log(void **state)
{
    (void)state;
    unsigned numbers[2][PER_THREAD];
    bool is_seen[2 * PER_THREAD + 1] = {false};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_numbers, numbers[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *taken = NULL;
        assert_int_equal(pthread_join(threads[i], &taken), 0);
        assert_non_null(taken);
    }
    for (int i = 0; i < 2 * PER_THREAD; i++) {
        const unsigned number = numbers[i / PER_THREAD][i % PER_THREAD];
        assert_in_range(number, 1, 2 * PER_THREAD);
        assert_false(is_seen[number]);
        is_seen[number] = true;
    }
    CLEANUP(logged_model_clear) struct logged_model model = find("shared");
    assert_int_not_equal(model.live_version, model.former_version);
    assert_int_equal(count("SELECT count(*) FROM versions"), 2 * PER_THREAD);
}

static int64_t last_run; /* older ones go: of a model only so many are kept */

static int change_all(void)
{
    static char text[] = "{}";
    struct logged_run run = {.reason = text, .comparison = text};
    const struct logged_version made = {.version = 2};
    const struct logged_adoption adoption = {
        .name = "zoo", .features = "[]", .fingerprint = "f", .version = {.version = 1}};
    unsigned version;

    int r = model_log_next_version(database, 1, &version);
    if (r == 0)
        r = model_log_add_version(database, 1, &made);
    if (r == 0 || r == -EEXIST)
        r = model_log_promote(database, 1, 1, false);
    if (r == 0)
        r = model_log_remove_version(database, 1, 2);
    if (r == 0)
        r = model_log_add_run(database, 1, "rows", 1, &last_run);
    run.id = last_run;
    if (r == 0)
        r = model_log_update_run(database, 1, &run);
    if (r == 0)
        r = model_log_end_runs(database, 1);
    if (r == 0)
        r = model_log_set_rate(database, 1, 0.1, 0);
    if (r == 0)
        r = model_log_set_observed(database, 1, 1, 1);
    if (r == 0)
        r = model_log_reschema(database, 1, "[\"a\"]", "f");
    if (r == 0)
        r = model_log_adopt(database, &adoption, 1);
    return r;
}

static int read_all(void)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    CLEANUP(logged_run_clear) struct logged_run run = {0};
    AUTO_FREE struct logged_version *versions = NULL;
    struct logged_version version;
    struct logged_model *models;
    struct logged_run *runs;
    size_t n;

    int r = model_log_open(database, "new", "[\"a\"]", "f", &model);
    if (r == 0)
        r = model_log_run(database, 1, last_run, &run);
    if (r == 0)
        r = model_log_version(database, 1, 1, &version);
    if (r == 0)
        r = model_log_versions(database, 1, &versions, &n);
    if (r == 0)
        r = model_log_runs(database, 1, 100, &runs, &n);
    if (r < 0)
        return r;
    clear_runs(runs, n);
    r = model_log_list(database, &models, &n);
    if (r < 0)
        return r;
    assert_non_null(run.reason);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(models[i].features);
        logged_model_clear(&models[i]);
    }
    free(models);
    return 0;
}

static int use_all(void)
{
    const int r = change_all();

    return r < 0 ? r : read_all();
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static char text[] = "{}";
    const int64_t web = make_model("web");

    assert_int_equal(web, 1);
    assert_int_equal(add_version(web, 1), 0);
    for (int i = 0; i < 20; i++) {
        const struct logged_run run = {.id = add_run(web), .reason = text, .comparison = text};
        assert_int_equal(model_log_update_run(database, web, &run), 0);
    }
    fail_each_allocation(use_all);
}

/* All of them stopped half-way: nothing of it is there. */
static void a_transaction_that_fails_leaves_nothing(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const struct logged_adoption adoption = {
        .name = "zoo", .features = "[]", .fingerprint = "f", .version = {.version = 1}};
    int64_t run = 42;

    assert_int_equal(add_version(web, 1), 0);
    execute("CREATE TRIGGER no_insert BEFORE INSERT ON versions BEGIN SELECT raise(ABORT, ''); END;"
            "CREATE TRIGGER no_change BEFORE UPDATE OF live_version ON models "
            "BEGIN SELECT raise(ABORT, ''); END;"
            "CREATE TRIGGER no_forget BEFORE DELETE ON rows BEGIN SELECT raise(ABORT, ''); END;"
            "CREATE TRIGGER no_trim AFTER INSERT ON runs BEGIN SELECT raise(ABORT, ''); END;"
            "INSERT INTO rows (model, role, number, time_us, is_flagged, is_observed, incident, "
            "vector) SELECT id, 0, 7, 1, 0, 0, 0, x'00' FROM models;"
            "UPDATE versions SET is_refused = 1");
    assert_true(add_version(web, 9) < 0);
    assert_true(model_log_adopt(database, &adoption, 1) < 0);
    assert_int_equal(count("SELECT count(*) FROM models"), 1);
    assert_true(model_log_promote(database, web, 1, true) < 0);
    assert_true(model_log_reschema(database, web, "[\"c\"]", "f2") < 0);
    assert_true(model_log_delete(database, web) < 0);
    assert_true(model_log_add_run(database, web, "rows", 1, &run) < 0);
    assert_int_equal(run, 42);

    CLEANUP(logged_model_clear) struct logged_model model = find("web");
    assert_int_equal(model.last_version, 1);
    assert_int_equal(model.live_version, 0);
    assert_string_equal(model.fingerprint, "f1");
    assert_int_equal(count("SELECT sum(is_refused) FROM versions"), 1);
    assert_int_equal(count("SELECT count(*) FROM runs"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(a_model_is_made_once_and_found_again),
        DATABASE_TEST(an_unknown_model_is_only_made_with_features),
        DATABASE_TEST(other_features_are_stale),
        DATABASE_TEST(any_text_survives),
        DATABASE_TEST(models_are_listed_by_name),
        DATABASE_TEST(new_features_take_the_old_rows_away),
        DATABASE_TEST(freezing_is_remembered),
        DATABASE_TEST(a_rate_that_was_put_is_remembered),
        DATABASE_TEST(a_budget_and_the_rows_a_day_are_remembered),
        DATABASE_TEST(a_pin_that_shall_move_is_remembered),
        DATABASE_TEST(a_deleted_model_leaves_nothing_and_its_id_is_not_used_again),
        DATABASE_TEST(unknown_models_are_adopted_and_others_stay),
        DATABASE_TEST(a_version_number_is_never_given_twice),
        DATABASE_TEST(versions_are_kept_as_they_were_added),
        DATABASE_TEST(a_version_is_added_once_and_to_a_model),
        DATABASE_TEST(one_version_is_found_by_its_number),
        DATABASE_TEST(a_version_in_use_is_not_removed),
        DATABASE_TEST(promoting_makes_the_live_version_the_former),
        DATABASE_TEST(promoting_the_live_version_keeps_the_way_back),
        DATABASE_TEST(promoting_a_version_that_is_not_there_changes_nothing),
        DATABASE_TEST(a_promoted_candidate_is_refused_no_more),
        DATABASE_TEST(the_pin_moves_alone),
        DATABASE_TEST(run_states_have_names),
        DATABASE_TEST(a_run_begins_queued),
        DATABASE_TEST(an_updated_run_is_kept_whole),
        DATABASE_TEST(a_run_of_another_model_is_not_found),
        DATABASE_TEST(runs_are_listed_the_newest_first),
        DATABASE_TEST(runs_of_a_dead_process_are_ended),
        DATABASE_TEST(the_last_run_is_the_last_that_began),
        DATABASE_TEST(old_runs_go_but_not_what_made_a_version),
        DATABASE_TEST(a_state_that_is_none_is_damage),
        DATABASE_TEST(a_run_id_is_never_given_twice),
        DATABASE_TEST(two_threads_share_one_log),
        DATABASE_TEST(survives_every_failed_allocation),
        DATABASE_TEST(a_transaction_that_fails_leaves_nothing),
    };

    let_sqlite_allocations_fail();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
