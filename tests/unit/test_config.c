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

/* ---- a folder of files for each test ---- */

static int setup(void **state)
{
    (void)state;
    errors = (struct text){0};
    config = NULL;
    (void)strcpy(folder, "/tmp/test_config.XXXXXX");
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
    assert_null(config->storage_directory);
    assert_int_equal(config->n_models, 0);
}

static void every_key_is_read(void **state)
{
    (void)state;
    char text[512];

    (void)snprintf(text, sizeof(text),
                   "[server]\nlisten = 0.0.0.0:1,\n  [::1]:65535,\n  unix:/run/a.sock\n"
                   "threads = 3\nmax_body = 2K\nmax_connections = 7\nrequest_timeout = 250ms\n"
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

/* ---- what is wrong ---- */

static void all_errors_are_told_at_once(void **state)
{
    (void)state;
    assert_errors("[server]\nthread = 2\nmax_body = big\n[sever]\nlisten = x\n[model a]\n"
                  "learn = auto\n[model b]\nfile = b\nmax_body = 1M\nwrong\n",
                  "anomalyd.conf:11: wrong: expected [section], key = value or # comment\n"
                  "anomalyd.conf:2: thread is no key of section [server], did you mean threads?\n"
                  "anomalyd.conf:3: max_body: big is not a size from 1K to 4G: write 65536, 64K "
                  "or 64M\n"
                  "anomalyd.conf:4: [sever] is no section, did you mean server?\n"
                  "anomalyd.conf:7: learn: auto is not possible: this version does not learn, "
                  "write off or leave the line out\n"
                  "anomalyd.conf:10: the key max_body belongs into section [server], not [model]\n"
                  "anomalyd.conf:6: the model a has no file: add file = PATH\n");
}

static void unknown_names_show_the_valid_ones(void **state)
{
    (void)state;
    assert_errors("[qqq]\n", "anomalyd.conf:1: [qqq] is no section: there are [server], [storage] "
                             "and [model NAME]\n");
    assert_errors("[storage]\nzzzzzz = 1\n",
                  "anomalyd.conf:2: zzzzzz is no key of section [storage]: there are directory\n");
    assert_errors("[server web]\n", "anomalyd.conf:1: the section [server] takes no name\n");
}

static void bad_values_are_told_with_what_is_valid(void **state)
{
    (void)state;
    static const struct {
        const char *line, *want; /* a part of the error */
    } cases[] = {
        {"threads = 0",                                   "threads: 0 is neither auto nor a whole number from 1 to 256" },
        {"threads = 257",                                 "threads: 257 is neither"                                     },
        {"threads = -1",                                  "threads: -1 is neither"                                      },
        {"threads =",                                     "threads has no value: write one, or leave the line out"      },
        {"threads = 2 # two",                             "256 (a comment needs a line of its own)"                     },
        {"threads = 2\n  3",                              "threads: 2?3 is neither"                                     },
        {"max_body = 1023",                               "is not a size from 1K to 4G"                                 },
        {"max_body = 5G",                                 "is not a size"                                               },
        {"max_body = 99999999999999999999G",              "is not a size"                                               },
        {"max_connections = 0",                           "is not a whole number from 1 to 1000000"                     },
        {"request_timeout = 10",                          "is not a duration from 10ms to 3600s: write 500ms, 10s or 2m"},
        {"request_timeout = 2h",                          "is not a duration"                                           },
        {"listen = ,",                                    "holds no address: write 127.0.0.1:8817"                      },
        {"listen = localhost:80",                         "holds the address localhost:80: write 127.0.0.1:8817, [::1]:"},
        {"listen = 127.0.0.1",                            "write 127.0.0.1:8817"                                        },
        {"listen = :8817",                                "write 127.0.0.1:8817"                                        },
        {"listen = ::1:8817",                             "write 127.0.0.1:8817"                                        },
        {"listen = [::1:8817",                            "write 127.0.0.1:8817"                                        },
        {"listen = [:8817",                               "write 127.0.0.1:8817"                                        },
        {"listen = []:8817",                              "write 127.0.0.1:8817"                                        },
        {"listen = 127.0.0.1:0",                          "a port from 1 to 65535 stands behind the last colon"         },
        {"listen = 127.0.0.1:65536",                      "a port from 1 to 65535"                                      },
        {"listen = 127.0.0.1:",                           "a port from 1 to 65535"                                      },
        {"listen = 1.2.3.4:5, 1.2.3.4:5",                 "holds 1.2.3.4:5 twice"                                       },
        {"listen = unix:a.sock",                          "the path of a socket begins with /"                          },
        {"listen = unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "at most 107 bytes"                                           },
        {"[storage]\ndirectory = var",                    "directory: var is not an absolute path"                      },
        {"[storage]\ndirectory = /nowhere/at/all",        "is not a folder that exists"                                 },
        {"[storage]\ndirectory = /dev/null",              "is not a folder that exists"                                 },
        {"[model m]\nfile = a\n b",                       "file: a?b goes on in an indented line, but it is one file"   },
        {"[model m]\nfalse_alarm_rate = 0",               "0 is not a rate above 0 and below 1"                         },
        {"[model m]\nfalse_alarm_rate = 1",               "is not a rate above 0 and below 1"                           },
        {"[model m]\nfalse_alarm_rate = nan",             "is not a rate above 0 and below 1"                           },
        {"[model m]\nfalse_alarm_rate = 1%",              "is not a rate above 0 and below 1"                           },
        {"[model m]\nmissing = ignore",                   "missing: ignore is neither impute nor reject"                },
        {"[model m]\nlearn = observe",                    "this version does not learn, write off"                      },
        {"[model m]\nlearn = yes",                        "learn: yes is not off, the only choice in this version"      },
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

static void model_names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-a",  "_a",
        "a b", "a.b",
        "a/b", "*",
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

/* How often text has the line "# KEY = DEFAULT". */
static size_t count_lines(const char *text, const struct config_option *option)
{
    CLEANUP(text_clear) struct text line = {0};
    size_t n = 0;

    text_printf(&line, "\n# %s = ", option->key);
    for (const char *at = text; (at = strstr(at, line.data)); at++) {
        const char *value = option->initial ? option->initial : option->example;
        const char *shown = at + line.length;
        n++;
        assert_true(strncmp(shown, value, strlen(value)) == 0 && shown[strlen(value)] == '\n');
    }
    return n;
}

static void the_shipped_file_shows_every_key_once_with_its_default(void **state)
{
    (void)state;
    const char *top = getenv("top_srcdir");
    AUTO_FREE char *path = NULL, *text = NULL;
    size_t size = 0, n_keys = 0;

    assert_true(asprintf(&path, "%s/conf/anomalyd.conf", top ? top : ".") > 0);
    assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), 0);
    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++)
        assert_int_equal(count_lines(text, &config_options[i]), 1);
    for (const char *line = text; (line = strstr(line, "\n# ")); line++) {
        const size_t length = strspn(line + 3, "abcdefghijklmnopqrstuvwxyz_");
        n_keys += length && strncmp(line + 3 + length, " = ", 3) == 0;
    }
    assert_int_equal(n_keys, N_CONFIG_OPTIONS);
    load_text(text);
}

static void every_key_with_its_default_is_good(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
        if (i == 0 || option->scope != config_options[i - 1].scope)
            text_printf(&text, "[%s%s]\n", config_scope_name(option->scope),
                        option->scope == SCOPE_MODEL ? " example" : "");
        if (strcmp(option->key, "directory") != 0) /* that folder need not be here */
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
    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
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
    write_file("anomalyd.conf", "[server]\nlisten = 1.2.3.4:5, 1.2.3.4:6\n[model a]\nfile = a\n");
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
        TEST(all_errors_are_told_at_once),
        TEST(unknown_names_show_the_valid_ones),
        TEST(bad_values_are_told_with_what_is_valid),
        TEST(hostile_values_are_shown_harmlessly),
        TEST(a_key_may_stand_once_in_a_section_of_a_file),
        TEST(model_names_are_checked),
        TEST(a_model_whose_file_was_refused_has_one_error),
        TEST(files_that_cannot_be_read_are_told),
        TEST(a_conf_d_that_is_no_folder_is_told),
        TEST(the_shipped_file_shows_every_key_once_with_its_default),
        TEST(every_key_with_its_default_is_good),
        TEST(standard_input_is_no_configuration),
        TEST(the_description_has_every_key_and_its_default),
        TEST(survives_every_failed_allocation),
        TEST(errors_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
