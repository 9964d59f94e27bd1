#include "service/trainer_report.h"

#include "base/text.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static struct trainer_report report;
static struct text text;

static int set_up(void **state)
{
    (void)state;
    report = (struct trainer_report){0};
    text = (struct text){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    text_clear(&text);
    return 0;
}

/* Printed and read, with the newline as the only one. */
static struct trainer_report pass_on(void)
{
    struct trainer_report got;

    trainer_report_print(&report, &text);
    assert_false(text_failed(&text));
    assert_true(text.length <= TRAINER_REPORT_SIZE);
    assert_ptr_equal(strchr(text.data, '\n'), text.data + text.length - 1);
    assert_int_equal(trainer_report_parse(text.data, text.length - 1, &got), 0);
    assert_int_equal(got.kind, report.kind);
    return got;
}

static void progress_arrives(void **state)
{
    (void)state;
    report = (struct trainer_report){.kind = TRAINER_REPORT_PROGRESS,
                                     .done = 0.1,
                                     .network = 1,
                                     .n_networks = 5,
                                     .epoch = 30,
                                     .epochs = 400,
                                     .loss = 1e-30,
                                     .validation_loss = 3};
    const struct trainer_report got = pass_on();
    assert_true(got.done == 0.1 && got.loss == 1e-30 && got.validation_loss == 3);
    assert_int_equal(got.network, 1);
    assert_int_equal(got.n_networks, 5);
    assert_int_equal(got.epoch, 30);
    assert_int_equal(got.epochs, 400);
}

static void no_validation_loss_arrives_as_nan(void **state)
{
    (void)state;
    report.validation_loss = (double)NAN;
    assert_true(isnan(pass_on().validation_loss));
}

static void texts_arrive_whatever_they_hold(void **state)
{
    (void)state;
    report.kind = TRAINER_REPORT_ERROR;
    (void)strcpy(report.text, "a \"quoted\"\nline\t\\ ü");
    assert_string_equal(pass_on().text, report.text);
}

static void the_worst_text_fits_a_line(void **state)
{
    (void)state;
    report.kind = TRAINER_REPORT_WARNING;
    memset(report.text, 1, sizeof(report.text) - 1);
    assert_string_equal(pass_on().text, report.text);
}

static void done_arrives(void **state)
{
    (void)state;
    report.kind = TRAINER_REPORT_DONE;
    (void)pass_on();
}

static void everything_else_is_refused(void **state)
{
    (void)state;
#define NUMBERS "\"network\": 0, \"networks\": 1, \"epoch\": 1, \"epochs\": 2"
    static const char *const lines[] = {
        "",
        "hello",
        "{}",
        "[]",
        "null",
        "{\"report\": 1}",
        "{\"report\": \"other\"}",
        "{\"report\": \"error\"}",
        "{\"report\": \"warning\", \"text\": 1}",
        "{\"report\": \"done\"} {}",
        "{\"report\": \"done\", \"report\": \"error\"}",
        "{\"report\": \"progress\"}",
        "{\"report\": \"progress\", \"done\": 0.5, \"loss\": 1, " NUMBERS "}",
        "{\"report\": \"progress\", \"done\": -1, \"loss\": 1, \"validation_loss\": 1, " NUMBERS
        "}",
        "{\"report\": \"progress\", \"done\": null, \"loss\": 1, \"validation_loss\": 1, " NUMBERS
        "}",
        "{\"report\": \"progress\", \"done\": \"1\", \"loss\": 1, \"validation_loss\": 1, " NUMBERS
        "}",
        "{\"report\": \"progress\", \"done\": 1, \"loss\": 1, \"validation_loss\": 1, "
        "\"network\": -1, \"networks\": 1, \"epoch\": 1, \"epochs\": 2}",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        assert_int_equal(trainer_report_parse(lines[i], strlen(lines[i]), &report), -EINVAL);
}

static void a_text_that_is_too_long_is_cut_between_characters(void **state)
{
    (void)state;
    struct trainer_report got;

    for (size_t before = 0; before < 2; before++) { /* one of both would be cut in two */
        text_clear(&text);
        text_puts(&text, "{\"report\": \"error\", \"text\": \"");
        text_puts(&text, before ? "x" : "");
        for (size_t i = 0; i < 400; i++)
            text_puts(&text, "é");
        text_puts(&text, "\"}");
        assert_false(text_failed(&text));
        assert_int_equal(trainer_report_parse(text.data, text.length, &got), 0);
        const size_t length = strlen(got.text);
        assert_true(length >= sizeof(got.text) - 2);
        assert_int_equal((length - before) % 2, 0);
    }
}

static void more_work_than_there_is_counts_as_all(void **state)
{
    (void)state;
    static const char line[] =
        "{\"report\": \"progress\", \"done\": 1.5, \"network\": 1, \"networks\": 1, "
        "\"epoch\": 1, \"epochs\": 1, \"loss\": null, \"validation_loss\": null}";

    assert_int_equal(trainer_report_parse(line, strlen(line), &report), 0);
    assert_true(report.done == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(progress_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_validation_loss_arrives_as_nan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(texts_arrive_whatever_they_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_worst_text_fits_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(done_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_else_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_text_that_is_too_long_is_cut_between_characters, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_work_than_there_is_counts_as_all, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
