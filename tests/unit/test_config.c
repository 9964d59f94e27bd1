#include "service/config.h"

#include "base/file.h"
#include "service/config_option.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[32];
static struct text errors;
static struct config *config;
static struct config_option options[CONFIG_MAX_OPTIONS];
static size_t n_options;

/* ---- a folder of files for each test ---- */

static int setup(void **state)
{
    (void)state;
    errors = (struct text){0};
    config = NULL;
    n_options = config_option_list(options);
    (void)strcpy(folder, "/tmp/test_config.XXXXXX");
    (void)unsetenv("STATE_DIRECTORY");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[64];

    (void)state;
    config_free(config);
    text_clear(&errors);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int load(void)
{
    return config_load(path_of("anomalyd.conf"), &config, &errors);
}

/* The file's text is fine. */
static void load_text(const char *text)
{
    write_file("anomalyd.conf", text);
    const int r = load();
    if (errors.length)
        print_message("%s", errors.data);
    assert_int_equal(r, 0);
}

/* With a store in the folder, and text behind it. */
static void load_text_with_store(const char *text)
{
    CLEANUP(text_clear) struct text whole = {0};

    text_printf(&whole, "[storage]\ndirectory = %s\n%s", folder, text);
    load_text(whole.data);
}

/* The file's text gives exactly these errors, in which PATH/ stands for the folder. */
static void assert_errors(const char *text, const char *want)
{
    CLEANUP(text_clear) struct text shown = {0};

    write_file("anomalyd.conf", text);
    assert_int_equal(load(), -EINVAL);
    assert_null(config); /* a failed call leaves ret_ untouched */
    for (const char *line = errors.data; *line; line = strchr(line, '\n') + 1) {
        const size_t skip = strncmp(line, folder, strlen(folder)) == 0 ? strlen(folder) + 1 : 0;
        text_append(&shown, line + skip, (size_t)(strchr(line, '\n') + 1 - line) - skip);
    }
    assert_string_equal(shown.data, want);
    text_clear(&errors);
}

/* ---- what is good ---- */

static void an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    load_text("");
    assert_int_equal(config->n_listen, 1);
    assert_string_equal(config->listen[0], "127.0.0.1:8817");
    assert_true(config->threads >= 1);
    assert_int_equal(config->max_body, 64 << 20);
    assert_int_equal(config->max_connections, 1024);
    assert_int_equal(config->request_timeout_us, 10000000);
    assert_int_equal(config->max_request_memory, 256 << 20);
    assert_null(config->storage_directory);
    assert_true(config->survives_power_loss);
    assert_int_equal(config->storage_max_size, 1 << 30);
    assert_int_equal(config->storage_min_free, 256 << 20);
    assert_false(config->auto_create);
    assert_int_equal(config->max_models, 100);
    assert_int_equal(config->n_models, 0);
}

static void every_key_is_read(void **state)
{
    (void)state;
    char text[512];

    (void)snprintf(text, sizeof(text),
                   "[server]\nlisten = 0.0.0.0:1,\n  [::1]:65535,\n  unix:/run/a.sock\n"
                   "threads = 3\nmax_body = 2K\nmax_connections = 7\nrequest_timeout = 250ms\n"
                   "max_request_memory = 1G\n"
                   "[storage]\ndirectory = %s\n"
                   "[model web]\nfile = /m/web.safetensors\nfalse_alarm_rate = 0.02\n"
                   "missing = reject\nlearn = off\n",
                   folder);
    load_text(text);
    assert_int_equal(config->n_listen, 3);
    assert_string_equal(config->listen[0], "0.0.0.0:1");
    assert_string_equal(config->listen[1], "[::1]:65535");
    assert_string_equal(config->listen[2], "unix:/run/a.sock");
    assert_int_equal(config->threads, 3);
    assert_int_equal(config->max_body, 2048);
    assert_int_equal(config->max_connections, 7);
    assert_int_equal(config->request_timeout_us, 250000);
    assert_int_equal(config->max_request_memory, 1 << 30);
    assert_string_equal(config->storage_directory, folder);
    assert_int_equal(config->n_models, 1);
    assert_string_equal(config->models[0].name, "web");
    assert_string_equal(config->models[0].file, "/m/web.safetensors");
    assert_true(config->models[0].false_alarm_rate == 0.02);
    assert_true(config->models[0].reject_missing);
}

static void models_are_sorted_and_files_relative_to_their_folder(void **state)
{
    (void)state;
    load_text("[model web]\nfile = w\n[model db-1]\nfile = sub/d\n[model Z_]\nfile = /z\n");
    assert_int_equal(config->n_models, 3);
    assert_string_equal(config->models[0].name, "Z_");
    assert_string_equal(config->models[0].file, "/z");
    assert_string_equal(config->models[1].name, "db-1");
    assert_string_equal(config->models[1].file, path_of("sub/d"));
    assert_string_equal(config->models[2].file, path_of("w"));
    assert_true(config->models[2].false_alarm_rate == 0);
    assert_false(config->models[2].reject_missing);
}

static void conf_d_adds_in_the_order_of_names(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
    write_file("conf.d/20-b.conf", "[server]\nthreads = 5\n[model web]\nmissing = reject\n");
    write_file("conf.d/10-a.conf", "[server]\nthreads = 4\nmax_body = 1M\n");
    write_file("conf.d/30-c.conf.off", "this is not read");
    write_file("conf.d/.hidden.conf", "nor is this");
    write_file("conf.d/30-d.conf", "[model db]\nfile = db\n");
    load_text("[server]\nthreads = 3\n[model web]\nfile = w\n");
    assert_int_equal(config->threads, 5);
    assert_int_equal(config->max_body, 1 << 20);
    assert_int_equal(config->n_models, 2);
    assert_string_equal(config->models[0].file, path_of("conf.d/db"));
    assert_string_equal(config->models[1].file, path_of("w"));
    assert_true(config->models[1].reject_missing);
}

/* ---- learning ---- */

static void a_model_has_these_defaults(void **state)
{
    (void)state;
    load_text("[model web]\nfile = w\n");
    for (int i = 0; i < 2; i++) {
        const struct config_model *model = i ? &config->models[0] : &config->model_template;
        assert_string_equal(model->name, i ? "web" : "*");
        assert_int_equal(model->learn, CONFIG_LEARN_OFF); /* there is no store */
        assert_null(model->features);
        assert_int_equal(model->n_features, 0);
        assert_int_equal(model->min_rows, 0);
        assert_int_equal(model->buffer_rows, 50000);
        assert_true(model->sample_rate == 1);
        assert_int_equal(model->follow_after, 0);
        assert_false(model->is_strict);
        assert_int_equal(model->alarm.n, 3);
        assert_int_equal(model->alarm.of, 5);
        assert_int_equal(model->alarm.clear_rows, 5);
        assert_true(model->alarm.clear_score == 0.8);
        assert_int_equal(model->alarm.hold_us, 0);
        assert_int_equal(model->alarm.cool_down_us, 0);
        assert_int_equal(model->maintenance.n_windows, 0);
        assert_int_equal(model->maintenance_skips, MAINTENANCE_ALARMS | MAINTENANCE_LEARNING);
        assert_int_equal(model->retrain_rows, 5000);
        assert_int_equal(model->retrain_every_us, 0);
        assert_int_equal(model->retrain_min_interval_us, 600000000);
        assert_false(model->retrain_on_drift);
        assert_int_equal(model->retrain_max_memory, (uint64_t)4 << 30);
        assert_int_equal(model->retrain_max_time_us, 3600000000);
        assert_int_equal(model->keep_versions, 10);
        for (size_t j = 0; j < CONFIG_MAX_TRAINING; j++)
            assert_false(model->has_option[j]);
    }
}

static void every_learning_key_is_read(void **state)
{
    (void)state;
    load_text_with_store("durability = process\nmax_size = 2M\nmin_free = 3K\n"
                         "[models]\nauto_create = yes\nmax_models = 7\n"
                         "[model web]\nlearn = observe\nmin_rows = 50\nbuffer_rows = 60\n"
                         "sample_rate = 0.5/s\nfollow_after = 2000\nstrict = yes\n"
                         "retrain_rows = 70\nretrain_every = 1d\nretrain_min_interval = 5ms\n"
                         "retrain_on_drift = yes\nretrain_max_memory = 1G\n"
                         "retrain_max_time = 2m\nkeep_versions = 3\n");
    assert_false(config->survives_power_loss);
    assert_int_equal(config->storage_max_size, 2 << 20);
    assert_int_equal(config->storage_min_free, 3 << 10);
    assert_true(config->auto_create);
    assert_int_equal(config->max_models, 7);

    const struct config_model *model = &config->models[0];
    assert_null(model->file);
    assert_int_equal(model->learn, CONFIG_LEARN_OBSERVE);
    assert_int_equal(model->min_rows, 50);
    assert_int_equal(model->buffer_rows, 60);
    assert_true(model->sample_rate == 0.5);
    assert_int_equal(model->follow_after, 2000);
    assert_true(model->is_strict);
    assert_int_equal(model->retrain_rows, 70);
    assert_int_equal(model->retrain_every_us, 86400000000);
    assert_int_equal(model->retrain_min_interval_us, 5000);
    assert_true(model->retrain_on_drift);
    assert_int_equal(model->retrain_max_memory, 1 << 30);
    assert_int_equal(model->retrain_max_time_us, 120000000);
    assert_int_equal(model->keep_versions, 3);
}

static void every_alarm_key_is_read(void **state)
{
    (void)state;
    load_text("[model a]\nfile = a\nalarm = 1 of 64\nalarm_clear = 10\tbelow  1\n"
              "alarm_hold = 2m\nalarm_cool_down = 1h\nmaintenance = Sun 02:00-04:00,\n  daily "
              "05:00-05:10\n"
              "maintenance_skips = alarms\n[model b]\nfile = b\nalarm = never\n");
    const struct alarm_policy *alarm = &config->models[0].alarm;

    assert_int_equal(alarm->n, 1);
    assert_int_equal(alarm->of, 64);
    assert_int_equal(alarm->clear_rows, 10);
    assert_true(alarm->clear_score == 1);
    assert_int_equal(alarm->hold_us, 120000000);
    assert_int_equal(alarm->cool_down_us, 3600000000);
    assert_int_equal(config->models[1].alarm.n, 0);
    assert_int_equal(config->models[0].maintenance.n_windows, 2);
    assert_int_equal(config->models[0].maintenance_skips, MAINTENANCE_ALARMS);
}

static void assert_all_are_0(const struct config_model *model)
{
    assert_int_equal(model->min_rows, 0);
    assert_true(model->sample_rate == 0);
    assert_int_equal(model->follow_after, 0);
    assert_int_equal(model->retrain_rows, 0);
    assert_int_equal(model->retrain_every_us, 0);
    assert_int_equal(model->retrain_min_interval_us, 0);
    assert_int_equal(model->retrain_max_memory, 0);
    assert_int_equal(model->retrain_max_time_us, 0);
}

static void where_0_is_allowed_it_has_a_word(void **state)
{
    (void)state;
    load_text_with_store("min_free = none\n[model a]\nmin_rows = auto\nsample_rate = all\n"
                         "follow_after = never\nretrain_rows = never\nretrain_every = never\n"
                         "retrain_min_interval = none\nretrain_max_memory = none\n"
                         "retrain_max_time = none\n"
                         "[model b]\nmin_rows = 0\nsample_rate = all\nfollow_after = 0\n"
                         "retrain_rows = 0\nretrain_every = 0s\nretrain_min_interval = 0s\n"
                         "retrain_max_memory = 0\nretrain_max_time = 0s\n");
    assert_int_equal(config->storage_min_free, 0);
    assert_all_are_0(&config->models[0]);
    assert_all_are_0(&config->models[1]);
}

static void models_learn_where_there_is_a_store(void **state)
{
    (void)state;
    load_text_with_store("[model a]\n[model b]\nlearn = off\n[model c]\nfile = c\n");
    assert_int_equal(config->n_models, 3);
    assert_null(config->models[0].file);
    assert_int_equal(config->models[0].learn, CONFIG_LEARN_AUTO);
    assert_int_equal(config->models[1].learn, CONFIG_LEARN_OFF);
    assert_int_equal(config->models[2].learn, CONFIG_LEARN_AUTO);
    assert_int_equal(config->model_template.learn, CONFIG_LEARN_AUTO);
}

static void learning_needs_a_store(void **state)
{
    (void)state;
    assert_errors("[models]\nauto_create = yes\n[model *]\nlearn = auto\n"
                  "[model web]\nfile = w\nlearn = observe\n[model db]\nlearn = off\n",
                  "anomalyd.conf:2: auto_create: a model without a file learns from nothing: add "
                  "directory = PATH to section [storage]\n"
                  "anomalyd.conf:4: learn: there is no folder to keep what is learned: add "
                  "directory = PATH to section [storage], or write learn = off\n"
                  "anomalyd.conf:7: learn: there is no folder to keep what is learned: add "
                  "directory = PATH to section [storage], or write learn = off\n"
                  "anomalyd.conf:8: the model db has no file: add file = PATH, or directory = PATH "
                  "to section [storage] so that it can learn from nothing\n");
}

static void a_store_that_was_refused_is_one_error(void **state)
{
    (void)state;
    assert_errors("[storage]\ndirectory = var\n[models]\nauto_create = yes\n[model m]\n",
                  "anomalyd.conf:2: directory: var is not an absolute path: write one that begins "
                  "with /\n");
    assert_int_equal(setenv("STATE_DIRECTORY", "nowhere/at/all", 1), 0);
    assert_errors("[models]\nauto_create = yes\n[model m]\nlearn = auto\n",
                  "$STATE_DIRECTORY: nowhere/at/all is not an absolute path: write one that begins "
                  "with /\n");
}

/* It may be made, or mended: the daemon starts and scores. */
static void a_store_that_cannot_be_used_is_no_error(void **state)
{
    (void)state;
    load_text("[storage]\ndirectory = /nowhere/at/all\n[model m]\n");
    assert_string_equal(config->storage_directory, "/nowhere/at/all");
    assert_int_equal(config->models[0].learn, CONFIG_LEARN_AUTO);
}

static void systemd_names_the_store(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text list = {0};

    text_printf(&list, "%s:/nowhere", folder);
    assert_int_equal(setenv("STATE_DIRECTORY", list.data, 1), 0);
    load_text("[model m]\n");
    assert_string_equal(config->storage_directory, folder);
    assert_int_equal(config->models[0].learn, CONFIG_LEARN_AUTO);
}

static void a_directory_that_is_given_goes_before_that_of_systemd(void **state)
{
    (void)state;
    assert_int_equal(setenv("STATE_DIRECTORY", "/nowhere", 1), 0);
    load_text_with_store("");
    assert_string_equal(config->storage_directory, folder);
}

static void systemd_may_name_nothing(void **state)
{
    (void)state;
    assert_int_equal(setenv("STATE_DIRECTORY", "", 1), 0);
    load_text("");
    assert_null(config->storage_directory);
}

static void a_template_is_no_model(void **state)
{
    (void)state;
    load_text_with_store(
        "[models]\nauto_create = yes\n[model *]\nlearn = observe\nmissing = reject\n"
        "features = a, b\nepochs = 9\n[model web]\nfile = w\n");
    assert_int_equal(config->n_models, 1);
    assert_string_equal(config->models[0].name, "web");
    assert_int_equal(config->models[0].learn, CONFIG_LEARN_AUTO); /* takes nothing from it */
    assert_false(config->models[0].reject_missing);
    assert_null(config->models[0].features);
    assert_string_equal(config->model_template.name, "*");
    assert_null(config->model_template.file);
    assert_int_equal(config->model_template.learn, CONFIG_LEARN_OBSERVE);
    assert_true(config->model_template.reject_missing);
    assert_int_equal(config->model_template.n_features, 2);
    assert_int_equal(config->model_template.recipe.epochs, 9);
}

static void features_may_hold_blanks_and_go_on_in_other_lines(void **state)
{
    (void)state;
    load_text("[model m]\nfile = m\nfeatures = cpu user,\tdisk[/dev/sda1],\n  größe\n  d = e ,\n");
    static const char *const want[] = {"cpu user", "disk[/dev/sda1]", "größe", "d = e"};

    assert_int_equal(config->models[0].n_features, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(config->models[0].features[i], want[i]);
}

static void a_feature_that_holds_a_comma_stands_in_quotation_marks(void **state)
{
    (void)state;
    load_text_with_store("[model m]\nfeatures = \"cpu{m=\"\"i\"\",h=1}\", b\n"
                         "prepare = \"cpu{m=\"\"i\"\",h=1}\"=rate\n"
                         "direction = \"cpu{m=\"\"i\"\",h=1}\"=above\n");
    assert_int_equal(config->models[0].n_features, 2);
    assert_string_equal(config->models[0].features[0], "cpu{m=\"i\",h=1}");
    assert_int_equal(config->models[0].prepare->items[0].how, PREPARE_RATE);
}

static void a_later_file_replaces_lists(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
    write_file("conf.d/a.conf", "[model m]\nfeatures = c\nhidden = 5\n");
    load_text("[model m]\nfile = m\nfeatures = a, b\nhidden = 24, 12\n");
    assert_int_equal(config->models[0].n_features, 1);
    assert_string_equal(config->models[0].features[0], "c");
    assert_int_equal(config->models[0].recipe.n_hidden, 1);
}

/* ---- how inputs are prepared ---- */

static void every_key_of_inputs_is_read(void **state)
{
    (void)state;
    load_text_with_store("[model m]\nfeatures = disk read, state, latency\n"
                         "prepare = disk read = rate, state=onehot:up|down,\n"
                         "  timestamp=hour-of-day\n"
                         "context = 3\nmax_gap = 10m\ntimezone = Europe/Berlin\n"
                         "max_series = 50\nstale_after = 5m\n[model n]\n");
    const struct prepare_spec *spec = config->models[0].prepare;
    assert_non_null(spec);
    assert_int_equal(spec->n_items, 3);
    assert_string_equal(spec->items[0].name, "disk read");
    assert_int_equal(spec->items[0].how, PREPARE_RATE);
    assert_string_equal(spec->items[1].categories[1], "down");
    assert_int_equal(spec->items[2].how, PREPARE_HOUR);
    assert_int_equal(spec->context, 3);
    assert_true(spec->max_gap == 600.0);
    assert_string_equal(spec->zone, "Europe/Berlin");
    assert_int_equal(config->models[0].max_series, 50);
    assert_int_equal(config->models[0].stale_after_us, 300 * 1000000);
    assert_true(prepare_spec_is_plain(config->models[1].prepare));
    assert_int_equal(config->models[1].max_series, 10000);
    assert_int_equal(config->models[1].stale_after_us, 0);
}

static void models_do_not_share_how_their_inputs_are_prepared(void **state)
{
    (void)state;
    load_text_with_store(
        "[models]\nauto_create = yes\n[model *]\ncontext = 2\n[model a]\nprepare = x=log1p\n"
        "[model b]\ncontext = 4\n");
    assert_int_equal(config->models[0].prepare->context, 1);
    assert_int_equal(config->models[1].prepare->context, 4);
    assert_int_equal(config->models[1].prepare->n_items, 0);
    assert_int_equal(config->model_template.prepare->context, 2);
}

/* The text begins in line 4. */
static void assert_model_errors(const char *text, const char *want)
{
    CLEANUP(text_clear) struct text whole = {0};

    text_printf(&whole, "[storage]\ndirectory = %s\n[model m]\n%s", folder, text);
    assert_errors(whole.data, want);
}

static void bad_inputs_are_told_with_their_line(void **state)
{
    (void)state;
    assert_model_errors("prepare = a=rat\n",
                        "anomalyd.conf:4: prepare: a=rat prepares \"a\" by \"rat\", which is "
                        "unknown; there are raw, log1p, rate, delta, onehot, hour-of-day and "
                        "day-of-week\n");
    assert_model_errors("prepare = a=rate, a=raw\n",
                        "anomalyd.conf:4: prepare: a=rate, a=raw names \"a\" twice; prepare it in "
                        "one way\n");
    assert_model_errors("prepare = timestamp=rate\n",
                        "anomalyd.conf:4: prepare: timestamp=rate prepares the timestamp by rate; "
                        "it can be hour-of-day or day-of-week\n");
    assert_model_errors("context = 65\n",
                        "anomalyd.conf:4: context: 65 must be a number of rows from 1 to 64\n");
    assert_model_errors("context = 0\n",
                        "anomalyd.conf:4: context: 0 must be a number of rows from 1 to 64\n");
    assert_model_errors("max_gap = -1\n",
                        "anomalyd.conf:4: max_gap: -1 must be a number and a unit, as in 90s or "
                        "1h, or none\n");
    assert_model_errors("timezone = Mars/X\n",
                        "anomalyd.conf:4: timezone: Mars/X must be a time zone: \"Mars/X\" is no "
                        "time zone that this machine knows; write one such as Europe/Berlin or UTC "
                        "(timedatectl list-timezones)\n");
}

static void inputs_are_held_against_the_features(void **state)
{
    (void)state;
    assert_model_errors("context = 2\nprepare = a=onehot\n",
                        "anomalyd.conf:5: prepare: the categories of \"a\" are not known before it "
                        "has learned: give them, a=onehot:A|B\n");
    assert_model_errors("features = a, b\nprepare = a=onehot\n", /* once */
                        "anomalyd.conf:5: prepare: the categories of \"a\" are not known before it "
                        "has learned: give them, a=onehot:A|B\n");
    assert_model_errors("features = bytes, b\nprepare = byte=rate\n",
                        "anomalyd.conf:5: prepare: there is no feature \"byte\"; is it "
                        "\"bytes\"?\n");
    assert_model_errors("features = bytes, b\nprepare = b=hour-of-day\n",
                        "anomalyd.conf:5: prepare: \"b\" is a feature, but hour-of-day is made "
                        "from the timestamp; give it a name of its own, or write "
                        "timestamp=hour-of-day\n");
}

/* A model file says itself how its inputs are prepared. */
static void with_a_model_file_features_are_not_looked_at(void **state)
{
    (void)state;
    load_text_with_store("[model m]\nfile = m\nprepare = a=onehot\n");
}

static void more_rows_than_the_buffer_holds_are_refused(void **state)
{
    (void)state;
    assert_errors("[model m]\nfile = m\nmin_rows = 101\nbuffer_rows = 100\n",
                  "anomalyd.conf:3: min_rows: the buffer never holds 101 rows: write 100 "
                  "(buffer_rows) or less\n");
    load_text("[model m]\nfile = m\nmin_rows = 100\nbuffer_rows = 100\n");
}

static void training_options_override_what_the_model_file_says(void **state)
{
    (void)state;
    struct recipe recipe;

    load_text("[model m]\nfile = m\npreset = fast\nhidden = 24,\n  12\nlatent = auto\n"
              "activation = relu , linear,relu,linear\nlearning_rate = 0.5\nschedule = cosine\n"
              "tied = no\nseed = 9\npatience = 0\nfalse_alarm_rate = 0.02\n");
    recipe_init(&recipe);
    recipe.latent = 3;
    recipe.is_tied = true;
    recipe.n_hidden = 1;
    recipe.clusters = 2;
    recipe.noise = 0.25;
    config_model_train(&config->models[0], &recipe);
    assert_int_equal(recipe.preset, PRESET_FAST);
    assert_int_equal(recipe.n_hidden, 2);
    assert_int_equal(recipe.hidden[0], 24);
    assert_int_equal(recipe.hidden[1], 12);
    assert_true(recipe.latent == RECIPE_AUTO);
    assert_int_equal(recipe.n_activations, 4);
    assert_int_equal(recipe.activations[3], config->models[0].recipe.activations[1]);
    assert_int_not_equal(recipe.activations[0], recipe.activations[1]);
    assert_true(recipe.learning_rate == 0.5);
    assert_int_equal(recipe.schedule, 1);
    assert_false(recipe.is_tied);
    assert_int_equal(recipe.seed, 9);
    assert_int_equal(recipe.patience, 0);
    assert_true(recipe.false_alarm_rate == 0.02);
    assert_int_equal(recipe.clusters, 2); /* not given: as it was */
    assert_true(recipe.noise == 0.25);
}

static void without_training_options_the_model_file_is_right(void **state)
{
    (void)state;
    struct recipe recipe, before;

    load_text("[model m]\nfile = m\n");
    memset(&recipe, 0x55, sizeof(recipe));
    before = recipe;
    config_model_train(&config->models[0], &recipe);
    assert_memory_equal(&recipe, &before, sizeof(recipe));
}

/* ---- what is wrong ---- */

static void all_errors_are_told_at_once(void **state)
{
    (void)state;
    assert_errors("[server]\nthread = 2\nmax_body = big\n[sever]\nlisten = x\n[model a]\n"
                  "learn = no\n[model b]\nfile = b\nmax_body = 1M\nwrong\n",
                  "anomalyd.conf:11: wrong: expected [section], key = value or # comment\n"
                  "anomalyd.conf:2: thread is no key of section [server], did you mean threads?\n"
                  "anomalyd.conf:3: max_body: big is not a size from 1K to 4G: write 65536, 64K "
                  "or 64M\n"
                  "anomalyd.conf:4: [sever] is no section, did you mean server?\n"
                  "anomalyd.conf:7: learn: no is none of off, observe and auto\n"
                  "anomalyd.conf:10: the key max_body belongs into section [server], not [model]\n"
                  "anomalyd.conf:6: the model a has no file: add file = PATH, or directory "
                  "= PATH to section [storage] so that it can learn from nothing\n");
}

static void unknown_names_show_the_valid_ones(void **state)
{
    (void)state;
    assert_errors("[qqq]\n", "anomalyd.conf:1: [qqq] is no section: there are [server], [storage], "
                             "[models] and [model NAME]\n");
    assert_errors("[storage]\nzzzzzz = 1\n",
                  "anomalyd.conf:2: zzzzzz is no key of section [storage]: there are directory, "
                  "durability, max_size, min_free\n");
    assert_errors("[server web]\n", "anomalyd.conf:1: the section [server] takes no name\n");
    assert_errors("[models web]\n", "anomalyd.conf:1: the section [models] takes no name\n");
    assert_errors("[model m]\nfile = a\nlearning-rate = 1\nretrain_row = 1\n",
                  "anomalyd.conf:3: learning-rate is no key of section [model], did you mean "
                  "learning_rate?\n"
                  "anomalyd.conf:4: retrain_row is no key of section [model], did you mean "
                  "retrain_rows?\n");
}

static void bad_values_are_told_with_what_is_valid(void **state)
{
    (void)state;
    static const struct {
        const char *line, *want; /* a part of the error */
    } cases[] = {
        {"threads = 0",                                   "threads: 0 is neither auto nor a whole number from 1 to 256"  },
        {"threads = 257",                                 "threads: 257 is neither"                                      },
        {"threads = -1",                                  "threads: -1 is neither"                                       },
        {"threads =",                                     "threads has no value: write one, or leave the line out"       },
        {"threads = 2 # two",                             "256 (a comment needs a line of its own)"                      },
        {"threads = 2\n  3",                              "threads: 2?3 is neither"                                      },
        {"max_body = 1023",                               "is not a size from 1K to 4G"                                  },
        {"max_body = 5G",                                 "is not a size"                                                },
        {"max_body = 99999999999999999999G",              "is not a size"                                                },
        {"max_connections = 0",                           "is not a whole number from 1 to 1000000"                      },
        {"request_timeout = 10",                          "is not a duration from 10ms to 1h: write 10s, 2m or 1h"       },
        {"request_timeout = 2h",                          "is not a duration"                                            },
        {"listen = ,",                                    "holds no address: write 127.0.0.1:8817"                       },
        {"listen = localhost:80",                         "holds the address localhost:80: write 127.0.0.1:8817, [::1]:" },
        {"listen = 127.0.0.1",                            "write 127.0.0.1:8817"                                         },
        {"listen = :8817",                                "write 127.0.0.1:8817"                                         },
        {"listen = ::1:8817",                             "write 127.0.0.1:8817"                                         },
        {"listen = [::1:8817",                            "write 127.0.0.1:8817"                                         },
        {"listen = [:8817",                               "write 127.0.0.1:8817"                                         },
        {"listen = []:8817",                              "write 127.0.0.1:8817"                                         },
        {"listen = 127.0.0.1:0",                          "a port from 1 to 65535 stands behind the last colon"          },
        {"listen = 127.0.0.1:65536",                      "a port from 1 to 65535"                                       },
        {"listen = 127.0.0.1:",                           "a port from 1 to 65535"                                       },
        {"listen = 1.2.3.4:5, 1.2.3.4:5",                 "holds 1.2.3.4:5 twice"                                        },
        {"listen = unix:a.sock",                          "the path of a socket begins with /"                           },
        {"listen = unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "at most 107 bytes"                                            },
        {"[storage]\ndirectory = var",                    "directory: var is not an absolute path"                       },
        {"[model m]\nfile = a\n b",                       "file: a?b goes on in an indented line, but it is one file"    },
        {"[model m]\nfalse_alarm_rate = 0",               "0 is not a rate from 1e-9 to below 1"                         },
        {"[model m]\nfalse_alarm_rate = 1",               "is not a rate from 1e-9 to below 1"                           },
        {"[model m]\nfalse_alarm_rate = nan",             "is not a rate from 1e-9 to below 1"                           },
        {"[model m]\nfalse_alarm_rate = 1%",              "is not a rate from 1e-9 to below 1"                           },
        {"[model m]\nfalse_alarms_per_day = 0",
         "0 is not a number of false alarms a day from 0.001 to 1000000"                                                 },
        {"[model m]\nfalse_alarms_per_day = -2",          "-2 is not a number of false alarms a day"                     },
        {"[model m]\nfalse_alarms_per_day = 2/d",         "2/d is not a number of false alarms a day"                    },
        {"[model m]\nfalse_alarms_per_day = 1e7",         "1e7 is not a number of false alarms a day"                    },
        {"[model m]\nmissing = ignore",                   "missing: ignore is neither impute nor reject"                 },
        {"[model m]\nfalse_alarm_rate = 1e-10",           "is not a rate from 1e-9 to below 1"                           },
        {"[model m]\nalarm = 3",
         "is neither never nor rows of rows: write 3 of 5, at most 64 of 64"                                             },
        {"[model m]\nalarm = 0 of 5",                     "0 of 5 is neither never nor rows of rows"                     },
        {"[model m]\nalarm = 6 of 5",                     "6 of 5 is neither never nor rows of rows"                     },
        {"[model m]\nalarm = 3 of 65",                    "3 of 65 is neither never nor rows of rows"                    },
        {"[model m]\nalarm = 3 off 5",                    "3 off 5 is neither never nor rows of rows"                    },
        {"[model m]\nalarm = 3 of",                       "3 of is neither never nor rows of rows"                       },
        {"[model m]\nalarm_clear = 5",                    "5 is not rows below a score: write 5 below 0.8"               },
        {"[model m]\nalarm_clear = 0 below 0.8",          "0 below 0.8 is not rows below a score"                        },
        {"[model m]\nalarm_clear = 5 below 0",            "5 below 0 is not rows below a score"                          },
        {"[model m]\nalarm_clear = 5 below 1.1",          "5 below 1.1 is not rows below a score"                        },
        {"[model m]\nalarm_clear = 5 below nan",          "5 below nan is not rows below a score"                        },
        {"[model m]\nalarm_cool_down = never",
         "never is neither none nor a duration from 1ms to 365d"                                                         },
        {"[model m]\nmaintenance = Sun",
         "maintenance: Sun holds Sun: behind the day stands a time"                                                      },
        {"[model m]\nmaintenance_skips = all",
         "all is not alarms, or learning, or alarms, learning"                                                           },
        {"[model m]\nlearn = yes",                        "learn: yes is none of off, observe and auto"                  },
        {"[model m]\nmin_rows = -1",
         "min_rows: -1 is neither auto nor a whole number from 1 to 1000000000"                                          },
        {"[model m]\nbuffer_rows = 39",                   "39 is not a whole number from 40 to 1000000000"               },
        {"[model m]\nbuffer_rows = 0",                    "is not a whole number from 40"                                },
        {"[model m]\nretrain_rows = no",                  "no is neither never nor a whole number from 1"                },
        {"[model m]\nretrain_every = 10",
         "10 is neither never nor a duration from 1s to 3650d: write 10s, 2m or 1h"                                      },
        {"[model m]\nretrain_min_interval = 1us",
         "1us is neither none nor a duration from 1ms to 3650d"                                                          },
        {"[model m]\nretrain_on_drift = true",            "true is neither no nor yes"                                   },
        {"[model m]\nfollow_after = 2h",                  "2h is neither never nor a whole number"                       },
        {"[model m]\nstrict = 1",                         "strict: 1 is neither no nor yes"                              },
        {"[model m]\nsample_rate = 1",
         "1 is neither all nor rows a second: write 1/s, 0.5/s or all"                                                   },
        {"[model m]\nsample_rate = 0/s",                  "is neither all nor rows a second"                             },
        {"[model m]\nsample_rate = 1/m",                  "is neither all nor rows a second"                             },
        {"[model m]\nsample_rate = /s",                   "is neither all nor rows a second"                             },
        {"[model m]\nsample_rate = nan/s",                "is neither all nor rows a second"                             },
        {"[model m]\nretrain_max_memory = 4",
         "4 is neither none nor a size from 64M to 1024G: write 65536, 64K or 64M"                                       },
        {"[model m]\nretrain_max_time = 1ms",             "1ms is neither none nor a duration from 1s"                   },
        {"[model m]\nkeep_versions = 1",                  "1 is not a whole number from 2 to 10000"                      },
        {"[model m]\nfeatures = ,",                       "features: , is no list of features: there are no features"    },
        {"[model m]\nfeatures = a, b, a",
         "is no list of features: feature 3 (a): feature 1 has the same name"                                            },
        {"[model m]\nhidden = 24 12",
         "hidden: 24 12 must be at most 8 whole numbers from 1 to 65536"                                                 },
        {"[model m]\npreset = quick",                     "preset: quick must be one of best, balanced, fast"            },
        {"[model m]\nlearning_rate = 0",                  "learning_rate: 0 must be a number above 0"                    },
        {"[model m]\ntied = true",                        "tied: true must be yes or no"                                 },
        {"[model m]\nseed = -1",                          "seed: -1 must be a whole number from 0 to 9223372036854775807"},
        {"[storage]\ndurability = disk",                  "durability: disk is neither process nor power"                },
        {"[storage]\nmax_size = 0",                       "max_size: 0 is not a size from 1M to 1024G"                   },
        {"[storage]\nmin_free = 1",                       "min_free: 1 is neither none nor a size from 1K to 1024G"      },
        {"[models]\nauto_create = on",                    "auto_create: on is neither no nor yes"                        },
        {"[models]\nmax_models = 0",                      "max_models: 0 is not a whole number from 1 to 100000"         },
        {"[model *]\nfile = a",
         "file stands in [model NAME] only: the models that [model *] is for learn from nothing"                         },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(text_clear) struct text text = {0};
        text_printf(&text, "[server]\n%s\n", cases[i].line);
        write_file("anomalyd.conf", text.data);
        assert_int_equal(load(), -EINVAL);
        if (!strstr(errors.data, cases[i].want))
            fail_msg("%s: got %s", cases[i].line, errors.data);
        text_clear(&errors);
    }
}

static void hostile_values_are_shown_harmlessly(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "[server]\nthreads = ");
    for (int i = 0; i < 100000; i++)
        text_puts(&text, "%n");
    write_file("anomalyd.conf", text.data);
    assert_int_equal(load(), -EINVAL);
    assert_non_null(strstr(errors.data, "%n%n"));
    assert_true(errors.length < 300);
}

static void a_key_may_stand_once_in_a_section_of_a_file(void **state)
{
    (void)state;
    assert_errors("[server]\nthreads = 1\n[model a]\nfile = a\n[model b]\nfile = b\n[server]\n"
                  "threads = 2\n[model a]\nfile = c\n",
                  "anomalyd.conf:8: threads stands there twice, first in line 2\n"
                  "anomalyd.conf:10: file stands there twice, first in line 4\n");
}

static void a_budget_stands_instead_of_a_rate(void **state)
{
    (void)state;
    load_text_with_store("[model *]\nfalse_alarms_per_day = 0.5\n"
                         "[model a]\nfalse_alarms_per_day = 2\n"
                         "[model b]\nfalse_alarm_rate = 0.1\n");
    assert_true(config->model_template.false_alarms_per_day == 0.5);
    assert_true(config->models[0].false_alarms_per_day == 2);
    assert_true(config->models[0].false_alarm_rate == 0);
    assert_true(config->models[1].false_alarms_per_day == 0);
}

static void a_budget_beside_a_rate_names_both_lines(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text want = {0};

    assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
    write_file("conf.d/a.conf", "[model b]\nfalse_alarms_per_day = 2\n");
    text_printf(&want,
                "anomalyd.conf:3: false_alarms_per_day: %s:4 gives false_alarm_rate: leave one of "
                "the two out\n",
                path_of("anomalyd.conf"));
    text_printf(&want,
                "conf.d/a.conf:2: false_alarms_per_day: %s:7 gives false_alarm_rate: leave one of "
                "the two out\n",
                path_of("anomalyd.conf"));
    assert_errors("[model a]\nfile = a\nfalse_alarms_per_day = 2\nfalse_alarm_rate = 0.1\n"
                  "[model b]\nfile = a\nfalse_alarm_rate = 0.1\n",
                  want.data);
}

static void a_budget_needs_a_folder(void **state)
{
    (void)state;
    assert_errors("[model a]\nfile = a\nfalse_alarms_per_day = 2\n",
                  "anomalyd.conf:3: false_alarms_per_day: there is no folder to keep the rows a "
                  "day: add directory = PATH to section [storage], or give false_alarm_rate\n");
}

static void model_names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-a",  "_a",
        "a b", "a.b",
        "a/b", "**",
        "ä",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 65 */};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        CLEANUP(text_clear) struct text text = {0};
        text_printf(&text, "[model %s]\nfile = a\n", bad[i]);
        write_file("anomalyd.conf", text.data);
        assert_int_equal(load(), -EINVAL);
        assert_non_null(strstr(errors.data, "anomalyd.conf:1: "));
        assert_non_null(strstr(errors.data, "cannot name a model"));
        text_clear(&errors);
    }
    assert_errors("[model]\n", "anomalyd.conf:1: a model needs a name: [model NAME]\n");
    load_text("[model 0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-_A]\n"
              "file = a\n");
}

static void a_model_whose_file_was_refused_has_one_error(void **state)
{
    (void)state;
    assert_errors("[model m]\nfile =\n",
                  "anomalyd.conf:2: file has no value: write one, or leave the line out\n");
}

static void files_that_cannot_be_read_are_told(void **state)
{
    (void)state;
    assert_int_equal(load(), -EINVAL);
    assert_non_null(strstr(errors.data, "anomalyd.conf: cannot open: No such file"));
    text_clear(&errors);

    assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
    assert_int_equal(mkdir(path_of("conf.d/a.conf"), 0755), 0);
    assert_errors("", "conf.d/a.conf: is a folder, not a file\n");
}

static void a_conf_d_that_is_no_folder_is_told(void **state)
{
    (void)state;
    write_file("conf.d", "");
    assert_errors("", "conf.d: cannot read: Not a directory\n");
}

/* ---- what is said elsewhere ---- */

/* How often text has the line "# KEY = DEFAULT"; of training options any value will do. */
static size_t count_lines(const char *text, const struct config_option *option)
{
    CLEANUP(text_clear) struct text line = {0};
    size_t n = 0;

    text_printf(&line, "\n# %s = ", option->key);
    for (const char *at = text; (at = strstr(at, line.data)); at++) {
        const char *value = option->initial ? option->initial : option->example;
        const char *shown = at + line.length;
        n++;
        if (!option->training)
            assert_true(strncmp(shown, value, strlen(value)) == 0 && shown[strlen(value)] == '\n');
    }
    return n;
}

/* The bytes of a key at the beginning of line; 0: none stands there. */
static size_t key_length(const char *line)
{
    const size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return strncmp(line + length, " = ", 3) == 0 ? length : 0;
}

static char *read_shipped_file(void)
{
    const char *top = getenv("top_srcdir");
    AUTO_FREE char *path = NULL;
    char *text = NULL;
    size_t size = 0;

    assert_true(asprintf(&path, "%s/conf/anomalyd.conf", top ? top : ".") > 0);
    assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), 0);
    return text;
}

static void the_shipped_file_shows_every_key_once_with_its_default(void **state)
{
    (void)state;
    AUTO_FREE char *text = read_shipped_file();
    size_t n_keys = 0;

    for (size_t i = 0; i < n_options; i++)
        if (count_lines(text, &options[i]) != 1)
            fail_msg("%s stands there %zu times", options[i].key, count_lines(text, &options[i]));
    for (const char *line = text; (line = strstr(line, "\n# ")); line++)
        n_keys += key_length(line + 3) > 0;
    assert_int_equal(n_keys, n_options);
    load_text(text);
}

/* One of the two may be given; a_budget_stands_instead_of_a_rate() gives the other. */
static bool is_given_by_another(const char *line)
{
    return strncmp(line, "false_alarms_per_day", strlen("false_alarms_per_day")) == 0;
}

static void the_shipped_file_is_good_with_every_key_in_force(void **state)
{
    (void)state;
    AUTO_FREE char *text = read_shipped_file();
    CLEANUP(text_clear) struct text whole = {0};

    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const bool is_hidden = strncmp(line, "# ", 2) == 0 &&
                               (key_length(line + 2) || strncmp(line, "# [model ", 9) == 0);
        const char *shown = is_hidden ? line + 2 : line;
        if (strncmp(shown, "directory = ", 12) == 0) /* that folder need not be here */
            text_printf(&whole, "directory = %s\n", folder);
        else if (!is_given_by_another(shown))
            text_append(&whole, shown, (size_t)(strchr(shown, '\n') + 1 - shown));
    }
    load_text(whole.data);
    assert_int_equal(config->n_models, 1);
    for (size_t i = 0; i < recipe_n_fields; i++)
        assert_true(config->models[0].has_option[i] ||
                    strcmp(recipe_fields[i].name, "false-alarm-rate") == 0);
}

static void every_key_with_its_default_is_good(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    for (size_t i = 0; i < n_options; i++) {
        const struct config_option *option = &options[i];
        if (i == 0 || option->scope != options[i - 1].scope)
            text_printf(&text, "[%s%s]\n", config_scope_name(option->scope),
                        option->scope == SCOPE_MODEL ? " example" : "");
        if (strcmp(option->key, "directory") == 0) /* that folder need not be here */
            text_printf(&text, "directory = %s\n", folder);
        else if (!option->training && !is_given_by_another(option->key))
            text_printf(&text, "%s = %s\n", option->key,
                        option->initial ? option->initial : option->example);
    }
    load_text(text.data);
    assert_int_equal(config->n_models, 1);
}

static void standard_input_is_no_configuration(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text reasons = {0};
    struct config *none = NULL;

    assert_int_equal(config_load("-", &none, &reasons), -EINVAL);
    assert_null(none);
    assert_non_null(strstr(reasons.data, "must be a file"));
}

static void the_description_has_every_key_and_its_default(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0}, line = {0};

    config_describe(&text);
    for (size_t i = 0; i < n_options; i++) {
        const struct config_option *option = &options[i];
        text_clear(&line);
        text_printf(&line, "\n  %s = %s", option->key,
                    option->initial ? option->initial : option->example);
        assert_non_null(strstr(text.data, line.data));
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
    write_file("conf.d/a.conf", "[model b]\nfile = b\n");
    write_file("anomalyd.conf", "[server]\nlisten = 1.2.3.4:5, 1.2.3.4:6\n[model a]\nfile = a\n"
                                "features = a, b\nhidden = 3, 2\n");
    for (int nth = 0; r == -ENOMEM && nth < 200; nth++) {
        text_clear(&errors);
        alloc_fail_in = nth;
        r = load();
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_int_equal(config->n_models, 2);
}

static void errors_survive_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    write_file("anomalyd.conf", "[sever]\n[server]\nthread = 1\nzzzz = 2\nlisten = a, b\n");
    for (int nth = 0; r == -ENOMEM && nth < 200; nth++) {
        text_clear(&errors);
        alloc_fail_in = nth;
        r = load();
        alloc_fail_in = -1;
        if (r == -EINVAL && !strstr(errors.data, "there are listen, threads, max_body"))
            r = -ENOMEM; /* a hint fell out for want of memory, the error itself is there */
    }
    assert_int_equal(r, -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_file_gives_the_defaults),
        TEST(every_key_is_read),
        TEST(models_are_sorted_and_files_relative_to_their_folder),
        TEST(conf_d_adds_in_the_order_of_names),
        TEST(a_model_has_these_defaults),
        TEST(every_learning_key_is_read),
        TEST(every_alarm_key_is_read),
        TEST(where_0_is_allowed_it_has_a_word),
        TEST(models_learn_where_there_is_a_store),
        TEST(learning_needs_a_store),
        TEST(a_store_that_was_refused_is_one_error),
        TEST(a_store_that_cannot_be_used_is_no_error),
        TEST(systemd_names_the_store),
        TEST(a_directory_that_is_given_goes_before_that_of_systemd),
        TEST(systemd_may_name_nothing),
        TEST(a_template_is_no_model),
        TEST(features_may_hold_blanks_and_go_on_in_other_lines),
        TEST(a_feature_that_holds_a_comma_stands_in_quotation_marks),
        TEST(a_later_file_replaces_lists),
        TEST(every_key_of_inputs_is_read),
        TEST(models_do_not_share_how_their_inputs_are_prepared),
        TEST(bad_inputs_are_told_with_their_line),
        TEST(inputs_are_held_against_the_features),
        TEST(with_a_model_file_features_are_not_looked_at),
        TEST(more_rows_than_the_buffer_holds_are_refused),
        TEST(training_options_override_what_the_model_file_says),
        TEST(without_training_options_the_model_file_is_right),
        TEST(all_errors_are_told_at_once),
        TEST(unknown_names_show_the_valid_ones),
        TEST(bad_values_are_told_with_what_is_valid),
        TEST(hostile_values_are_shown_harmlessly),
        TEST(a_key_may_stand_once_in_a_section_of_a_file),
        TEST(a_budget_stands_instead_of_a_rate),
        TEST(a_budget_beside_a_rate_names_both_lines),
        TEST(a_budget_needs_a_folder),
        TEST(model_names_are_checked),
        TEST(a_model_whose_file_was_refused_has_one_error),
        TEST(files_that_cannot_be_read_are_told),
        TEST(a_conf_d_that_is_no_folder_is_told),
        TEST(the_shipped_file_shows_every_key_once_with_its_default),
        TEST(the_shipped_file_is_good_with_every_key_in_force),
        TEST(every_key_with_its_default_is_good),
        TEST(standard_input_is_no_configuration),
        TEST(the_description_has_every_key_and_its_default),
        TEST(survives_every_failed_allocation),
        TEST(errors_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
