#include "anomalyctl/options.h"

#include "anomalyctl/commands.h"
#include "base/cleanup.h"
#include "base/error.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct settings {
    bool flag, other_flag;
    const char *text, *operand;
    struct name_list list;
    size_t count;
    char letter;
};

/* Takes one of the letters of context. */
static int set_letter(void *field, const void *context, const char *text, struct error *reterr)
{
    if (strlen(text) != 1 || !strchr(context, *text))
        return error_set(reterr, -EINVAL, "must be one of the letters %s", (const char *)context);
    *(char *)field = *text;
    return 0;
}

static int set_yes(void *field, const void *context, const char *text, struct error *reterr)
{
    (void)context;
    (void)reterr;
    *(bool *)field = strcmp(text, "yes") == 0;
    return 0;
}

static int run_out_of_memory(void *field, const void *context, const char *text,
                             struct error *reterr)
{
    (void)field;
    (void)context;
    (void)text;
    (void)reterr;
    return -ENOMEM;
}

#define SET_ROW(name, argument, field, help, set, context)                                      \
    {                                                                                           \
        name, argument, OPTION_SET, false, offsetof(struct settings, field), help, set, context \
    }

static const struct option_row rows[] = {
    OPTION_ROW("flag", NULL, OPTION_FLAG, false, flag, "a flag"),
    OPTION_ROW("text", "T", OPTION_TEXT, false, text, "a text"),
    OPTION_ROW("list", "A,B,…", OPTION_LIST, false, list, "a list\nof names"),
    OPTION_ROW("count", "N", OPTION_COUNT, false, count, "a count"),
    SET_ROW("letter", "alpha|beta|gamma|delta", letter, "a letter\nof three", set_letter, "abc"),
    SET_ROW("just-fits", "1234567890…", other_flag, "a yes", set_yes, NULL),
    SET_ROW("just-too-long", "1234567890", other_flag, "a yes", set_yes, NULL),
    SET_ROW("other-flag", NULL, other_flag, "a yes", set_yes, NULL),
    SET_ROW("huge", "N", other_flag, "more than there is", run_out_of_memory, NULL),
};

#define N_ROWS (sizeof(rows) / sizeof(*rows))

static const struct usage usage = {
    .command = "test", .description = "Tests.", .rows = rows, .n_rows = N_ROWS};

static const struct option_row demanding_rows[] = {
    OPTION_ROW("text", "T", OPTION_TEXT, true, text, "a text"),
    OPTION_ROW("flag", NULL, OPTION_FLAG, false, flag, "a flag"),
};
static const struct usage demanding = {
    .command = "demand",
    .description = "Demands.",
    .rows = demanding_rows,
    .n_rows = 2,
    .operand = "FILE",
    .operand_offset = offsetof(struct settings, operand),
};

/* The arguments are separated by blanks. What is said on fd goes to ret_said. */
static bool parse_with(const struct usage *with, const char *arguments, struct settings *settings,
                       int *ret_status, int fd, char ret_said[2048])
{
    static char copy[512]; /* texts point into it */
    char *words[32] = {NULL}, *rest = copy;
    const int saved = dup(fd), said = memfd_create("said", MFD_CLOEXEC);
    int n = 0;

    assert_true(snprintf(copy, sizeof(copy), "test %s", arguments) < (int)sizeof(copy));
    if (!*arguments)
        copy[4] = '\0';
    for (char *word; n < 31 && (word = strsep(&rest, " "));)
        words[n++] = word;
    (void)fflush(stdout);
    dup2(said, fd);
    const bool go_on = options_parse(with, n, words, settings, ret_status);
    (void)fflush(stdout);
    dup2(saved, fd);
    const ssize_t length = pread(said, ret_said, 2047, 0);
    ret_said[length > 0 ? length : 0] = '\0';
    close(saved);
    close(said);
    return go_on;
}

static bool parse(const char *arguments, struct settings *settings, int *ret_status,
                  char ret_said[2048])
{
    return parse_with(&usage, arguments, settings, ret_status, STDERR_FILENO, ret_said);
}

static struct settings parsed(const char *arguments)
{
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    if (!parse(arguments, &settings, &status, said))
        fail_msg("%s: %s", arguments, said);
    assert_int_equal(status, EXIT_DONE);
    assert_string_equal(said, "");
    return settings;
}

static void expect_refusal(const struct usage *by, const char *arguments, const char *said_of_it)
{
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    assert_false(parse_with(by, arguments, &settings, &status, STDERR_FILENO, said));
    assert_int_equal(status, EXIT_USAGE);
    assert_string_equal(said, said_of_it);
    name_list_clear(&settings.list);
}

static void every_kind_is_read(void **state)
{
    (void)state;
    struct settings got =
        parsed("--flag --text t --list a,bc --count=1000000000 --letter b --other-flag");

    assert_true(got.flag && got.other_flag);
    assert_string_equal(got.text, "t");
    assert_int_equal(got.count, 1000000000);
    assert_int_equal(got.letter, 'b');
    assert_int_equal(got.list.n_names, 2);
    assert_string_equal(got.list.names[0], "a");
    assert_string_equal(got.list.names[1], "bc");
    name_list_clear(&got.list);
    name_list_clear(&got.list); /* nothing is left to release */
    got = parsed("");
    assert_true(!got.flag && !got.other_flag && !got.text && got.count == 0);
    assert_string_equal(parsed("--text --flag").text, "--flag"); /* a value may look like one */
    assert_int_equal(parsed("--co 3").count, 3); /* the beginning of a name will do */
}

static void wrong_values_are_refused_with_what_is_allowed(void **state)
{
    (void)state;
#define COUNT "a whole number from 1 to 1000000000"
    static const struct {
        const char *name, *value, *allowed;
    } cases[] = {
        {"text",   "",           "a text that is not empty" },
        {"list",   "\"a\"=b",    "names separated by commas"},
        {"list",   ",",          "names separated by commas"},
        {"list",   "",           "names separated by commas"},
        {"count",  "0",          COUNT                      },
        {"count",  "1000000001", COUNT                      },
        {"count",  "1.5",        COUNT                      },
        {"count",  "-1",         COUNT                      },
        {"letter", "d",          "one of the letters abc"   },
        {"letter", "ab",         "one of the letters abc"   },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct settings settings = {.count = 42, .letter = 'x'};
        char arguments[128], expected[256], said[2048];
        int status = -1;
        (void)snprintf(arguments, sizeof(arguments), "--%s %s", cases[i].name, cases[i].value);
        (void)snprintf(expected, sizeof(expected), "anomalyctl: test: %s%s: must be %s\n",
                       arguments, *cases[i].value ? "" : "\"\"", cases[i].allowed);
        assert_false(parse(arguments, &settings, &status, said));
        assert_int_equal(status, EXIT_USAGE);
        assert_string_equal(said, expected);
        assert_true(settings.count == 42 && settings.letter == 'x' && !settings.list.storage);
    }
}

static void the_last_of_two_counts(void **state)
{
    (void)state;
    struct settings got = parsed("--count 1 --list a,b --text x --count 2 --list c --text=y");

    assert_int_equal(got.count, 2);
    assert_string_equal(got.text, "y");
    assert_int_equal(got.list.n_names, 1);
    assert_string_equal(got.list.names[0], "c");
    name_list_clear(&got.list);
}

static void unknown_options_get_a_hint(void **state)
{
    (void)state;
    expect_refusal(&usage, "--coumt 1",
                   "anomalyctl: unknown option --coumt; did you mean --count? (see anomalyctl test "
                   "--help)\n");
    expect_refusal(&usage, "--coumt=1",
                   "anomalyctl: unknown option --coumt; did you mean --count? (see anomalyctl test "
                   "--help)\n");
    expect_refusal(&demanding, "--zzzzzz",
                   "anomalyctl: unknown option --zzzzzz; there are --text, --flag (see anomalyctl "
                   "demand --help)\n");
    expect_refusal(&usage, "-x",
                   "anomalyctl: test: unknown option -x; see anomalyctl test --help\n");
    expect_refusal(&usage, "--count",
                   "anomalyctl: test: a value is missing after --count; see anomalyctl test "
                   "--help\n");
    expect_refusal(&usage, "--flag=1",
                   "anomalyctl: test: no value may follow --flag; see anomalyctl test --help\n");
    expect_refusal(&usage, "x",
                   "anomalyctl: test: unexpected argument x; see anomalyctl test --help\n");
}

static void what_is_required_must_be_there(void **state)
{
    (void)state;
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    expect_refusal(&demanding, "f",
                   "anomalyctl: demand: give --text; see anomalyctl demand "
                   "--help\n");
    expect_refusal(&demanding, "--text t",
                   "anomalyctl: demand: give FILE; see anomalyctl demand --help\n");
    expect_refusal(&demanding, "--text t a b",
                   "anomalyctl: demand: unexpected argument b; see anomalyctl demand --help\n");
    assert_true(parse_with(&demanding, "a --text t", &settings, &status, STDERR_FILENO, said));
    assert_string_equal(settings.operand, "a");
}

static void several_operands_go_to_fields_that_follow_one_another(void **state)
{
    (void)state;
    static const struct usage pair = {
        .command = "pair",
        .operand = "MODEL VERSION",
        .operand_offset = offsetof(struct settings, text),
        .description = "Tests.",
    };
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    expect_refusal(&pair, "", "anomalyctl: pair: give MODEL; see anomalyctl pair --help\n");
    expect_refusal(&pair, "web", "anomalyctl: pair: give VERSION; see anomalyctl pair --help\n");
    expect_refusal(&pair, "web 3 4",
                   "anomalyctl: pair: unexpected argument 4; see anomalyctl pair --help\n");
    assert_true(parse_with(&pair, "web 3", &settings, &status, STDERR_FILENO, said));
    assert_string_equal(settings.text, "web");
    assert_string_equal(settings.operand, "3");
}

static void operands_in_brackets_may_be_left_out_together(void **state)
{
    (void)state;
    static const struct usage pair = {
        .command = "pair",
        .operand = "[A B]",
        .operand_offset = offsetof(struct settings, text),
        .description = "Tests.",
    };
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    expect_refusal(&pair, "1", "anomalyctl: pair: give B; see anomalyctl pair --help\n");
    expect_refusal(&pair, "1 2 3",
                   "anomalyctl: pair: unexpected argument 3; see anomalyctl pair --help\n");
    assert_true(parse_with(&pair, "", &settings, &status, STDERR_FILENO, said));
    assert_null(settings.text);
    assert_true(parse_with(&pair, "1 2", &settings, &status, STDERR_FILENO, said));
    assert_string_equal(settings.text, "1");
    assert_string_equal(settings.operand, "2");
}

static void help_shows_every_option_in_columns(void **state)
{
    (void)state;
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    assert_false(parse_with(&usage, "--count 1 --help", &settings, &status, STDOUT_FILENO, said));
    assert_int_equal(status, EXIT_DONE);
    assert_string_equal(said, "Usage: anomalyctl test [OPTION…]\n"
                              "\n"
                              "Tests.\n"
                              "\n"
                              "Options:\n"
                              "  --flag                   a flag\n"
                              "  --text T                 a text\n"
                              "  --list A,B,…             a list\n"
                              "                           of names\n"
                              "  --count N                a count\n"
                              "  --letter alpha|beta|gamma|delta\n"
                              "                           a letter\n"
                              "                           of three\n"
                              "  --just-fits 1234567890…  a yes\n"
                              "  --just-too-long 1234567890\n"
                              "                           a yes\n"
                              "  --other-flag             a yes\n"
                              "  --huge N                 more than there is\n"
                              "  --help                   print this\n"
                              "  --version                print the version\n");
    assert_false(parse_with(&demanding, "-h", &settings, &status, STDOUT_FILENO, said));
    assert_memory_equal(said, "Usage: anomalyctl demand --text T [OPTION…] FILE\n\nDemands.", 59);
    assert_false(parse_with(&usage, "--version", &settings, &status, STDOUT_FILENO, said));
    assert_string_equal(said, "anomalyctl " PACKAGE_VERSION "\n");
}

static void too_little_memory_is_no_wrong_usage(void **state)
{
    (void)state;
    struct settings settings = {0};
    char said[2048];
    int status = -1;

    assert_false(parse("--huge 1", &settings, &status, said));
    assert_int_equal(status, EXIT_FAILED);
    assert_string_not_equal(said, "");
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char *const cases[] = {"--letter a --list a,b", "--letter x", "--lettre x"};

    for (size_t i = 0; i < 3; i++) {
        const int last = i ? EXIT_USAGE : EXIT_DONE;
        int status = EXIT_FAILED, nth = 0;
        for (; status == EXIT_FAILED && nth < 100; nth++) {
            struct settings settings = {0};
            char said[2048];
            alloc_fail_in = nth;
            (void)parse(cases[i], &settings, &status, said);
            alloc_fail_in = -1;
            assert_int_equal(status == EXIT_DONE, said[0] == '\0');
            name_list_clear(&settings.list);
        }
        assert_int_equal(status, last);
        assert_true(nth > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(wrong_values_are_refused_with_what_is_allowed),
        cmocka_unit_test(the_last_of_two_counts),
        cmocka_unit_test(unknown_options_get_a_hint),
        cmocka_unit_test(what_is_required_must_be_there),
        cmocka_unit_test(several_operands_go_to_fields_that_follow_one_another),
        cmocka_unit_test(operands_in_brackets_may_be_left_out_together),
        cmocka_unit_test(help_shows_every_option_in_columns),
        cmocka_unit_test(too_little_memory_is_no_wrong_usage),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
