#include "anomalyctl/options.h"

#include "anomalyctl/commands.h"
#include "anomalyctl/output.h"
#include "base/number.h"
#include "base/text.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 27
#define FIRST_ROW   256 /* getopt_long()'s value of rows[0]; above every short option */

#define MAX_COUNT    1000000000
#define LEAST_RATE   1e-9
#define STRING(x)    STRING_OF(x)
#define STRING_OF(x) #x

#define KEY_HELP    'h'
#define KEY_VERSION 'V'

void name_list_clear(struct name_list *list)
{
    free(list->names);
    free(list->storage);
    *list = (struct name_list){0};
}

static int name_list_read(struct name_list *ret_list, const char *text)
{
    CLEANUP(name_list_clear) struct name_list list = {0};

    list.storage = strdup(text);
    list.names = calloc(strlen(text) + 1, sizeof(*list.names));
    if (!list.storage || !list.names)
        return -ENOMEM;

    char *rest = list.storage;
    for (char *name; (name = strsep(&rest, ","));) {
        if (!*name)
            return -EINVAL;
        list.names[list.n_names++] = name;
    }
    name_list_clear(ret_list);
    *ret_list = list;
    list = (struct name_list){0};
    return 0;
}

static int read_count(const char *text, size_t *ret_count)
{
    uint64_t count;
    int r = number_parse_u64(text, strlen(text), &count);

    if (r < 0 || count == 0 || count > MAX_COUNT)
        return -EINVAL;
    *ret_count = (size_t)count;
    return 0;
}

/* The model file keeps it as a JSON integer. */
static int read_seed(const char *text, uint64_t *ret_seed)
{
    uint64_t seed;
    int r = number_parse_u64(text, strlen(text), &seed);

    if (r < 0 || seed > INT64_MAX)
        return -EINVAL;
    *ret_seed = seed;
    return 0;
}

static int read_positive(const char *text, double least, double limit, double *ret_value)
{
    double value;
    int r = number_parse_double(text, strlen(text), &value);

    if (r < 0 || !(value > 0) || !(value >= least) || !(value < limit))
        return -EINVAL;
    *ret_value = value;
    return 0;
}

static int read_value(enum option_kind kind, const char *text, void *field)
{
    switch (kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)field = text;
        return *text ? 0 : -EINVAL;
    case OPTION_LIST:
        return name_list_read(field, text);
    case OPTION_COUNT:
        return read_count(text, field);
    case OPTION_COUNT_OR_AUTO:
        if (strcmp(text, "auto") == 0) {
            *(size_t *)field = 0;
            return 0;
        }
        return read_count(text, field);
    case OPTION_SEED:
        return read_seed(text, field);
    case OPTION_RATE:
        return read_positive(text, LEAST_RATE, 1, field);
    case OPTION_POSITIVE:
        return read_positive(text, 0, (double)INFINITY, field);
    }
    assert(!"a kind of option without its reader");
    return -EINVAL;
}

static const char *expected(enum option_kind kind)
{
    switch (kind) {
    case OPTION_FLAG:
    case OPTION_TEXT:
        return "a text that is not empty";
    case OPTION_LIST:
        return "names separated by commas";
    case OPTION_COUNT:
        return "a whole number from 1 to " STRING(MAX_COUNT);
    case OPTION_SEED:
        return "a whole number from 0 to 9223372036854775807";
    case OPTION_COUNT_OR_AUTO:
        return "a whole number from 1 to " STRING(MAX_COUNT) ", or auto";
    case OPTION_RATE:
        return "a number from " STRING(LEAST_RATE) " to below 1";
    case OPTION_POSITIVE:
        return "a number above 0";
    }
    return "another value";
}

static void append_option(struct text *text, const char *name, const char *argument,
                          const char *help)
{
    const size_t start = text->length;

    text_printf(text, "  --%s%s%s", name, argument ? " " : "", argument ? argument : "");
    for (const char *line = help; line;) {
        const size_t length = strcspn(line, "\n");
        const size_t used = line == help ? text->length - start : 0;
        const int gap = used < HELP_COLUMN ? (int)(HELP_COLUMN - used) : 1;
        text_printf(text, "%*s%.*s\n", gap, "", (int)length, line);
        line = line[length] ? line + length + 1 : NULL;
    }
}

static int print_help(const struct usage *usage)
{
    CLEANUP(text_clear) struct text text = {0};

    text_printf(&text, "Usage: anomalyctl %s", usage->command);
    for (size_t i = 0; i < usage->n_rows; i++)
        if (usage->rows[i].required)
            text_printf(&text, " --%s %s", usage->rows[i].name, usage->rows[i].argument);
    text_printf(&text, " [OPTION…]%s%s\n\n%s\n\nOptions:\n", usage->operand ? " " : "",
                usage->operand ? usage->operand : "", usage->description);
    for (size_t i = 0; i < usage->n_rows; i++)
        append_option(&text, usage->rows[i].name, usage->rows[i].argument, usage->rows[i].help);
    append_option(&text, "help", NULL, "print this");
    append_option(&text, "version", NULL, "print the version");
    return output_text(&text);
}

int print_version(void)
{
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "anomalyctl " PACKAGE_VERSION "\n");
    return output_text(&text);
}

int usage_unknown(const char *what, const char *prefix, const char *name, const char *const *names,
                  size_t n_names, const char *help)
{
    /* A schema is a list of names that knows the nearest one. */
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(text_clear) struct text hint = {0};
    const char *nearest = NULL;

    if (schema_new(names, n_names, &schema, NULL) == 0)
        nearest = schema_nearest(schema, name, strlen(name));
    if (nearest)
        text_printf(&hint, "did you mean %s%s?", prefix, nearest);
    else
        for (size_t i = 0; i < n_names; i++)
            text_printf(&hint, "%s%s%s", i ? ", " : "there are ", prefix, names[i]);
    (void)report_failure("unknown %s %s%s; %s (see anomalyctl %s)", what, prefix, name,
                         hint.data && !hint.failed ? hint.data : "", help);
    return EXIT_USAGE;
}

static int usage_error(const struct usage *usage, const char *text, const char *name)
{
    (void)report_failure("%s: %s%s; see anomalyctl %s --help", usage->command, text, name,
                         usage->command);
    return EXIT_USAGE;
}

/* getopt_long() found something at argv[optind - 1] that is no option of ours. */
static int unknown_option(const struct usage *usage, char **argv)
{
    const char short_name[] = {(char)optopt, '\0'};
    const char *given = argv[optind - 1];

    if (optopt >= FIRST_ROW)
        return usage_error(usage, "no value may follow --", usage->rows[optopt - FIRST_ROW].name);
    if (optopt > 0)
        return usage_error(usage, "unknown option -", short_name);

    AUTO_FREE char *name = strndup(given + 2, strcspn(given + 2, "="));
    AUTO_FREE const char **names = calloc(usage->n_rows + 1, sizeof(*names));
    AUTO_FREE char *help = NULL;
    if (!name || !names || asprintf(&help, "%s --help", usage->command) < 0) {
        help = NULL;
        return report_error(&(struct error){0});
    }
    for (size_t i = 0; i < usage->n_rows; i++)
        names[i] = usage->rows[i].name;
    return usage_unknown("option", "--", name, names, usage->n_rows, help);
}

static struct option *long_options(const struct usage *usage)
{
    struct option *options = calloc(usage->n_rows + 3, sizeof(*options));
    if (!options)
        return NULL;

    for (size_t i = 0; i < usage->n_rows; i++)
        options[i] = (struct option){usage->rows[i].name,
                                     usage->rows[i].argument ? required_argument : no_argument,
                                     NULL, FIRST_ROW + (int)i};
    options[usage->n_rows] = (struct option){"help", no_argument, NULL, KEY_HELP};
    options[usage->n_rows + 1] = (struct option){"version", no_argument, NULL, KEY_VERSION};
    return options;
}

static int check_complete(const struct usage *usage, const bool *seen, int argc, char **argv,
                          void *settings)
{
    for (size_t i = 0; i < usage->n_rows; i++)
        if (usage->rows[i].required && !seen[i])
            return usage_error(usage, "give --", usage->rows[i].name);
    if (usage->operand && optind == argc)
        return usage_error(usage, "give ", usage->operand);
    if (usage->operand)
        *(const char **)((char *)settings + usage->operand_offset) = argv[optind++];
    return optind < argc ? usage_error(usage, "unexpected argument ", argv[optind]) : EXIT_DONE;
}

static int read_row(const struct usage *usage, const struct option_row *row, const char *text,
                    void *settings)
{
    int r = read_value(row->kind, text, (char *)settings + row->offset);

    if (r == -ENOMEM)
        return report_error(&(struct error){0});
    if (r < 0) {
        (void)report_failure("%s: --%s %s: must be %s", usage->command, row->name, text,
                             expected(row->kind));
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

bool options_parse(const struct usage *usage, int argc, char **argv, void *settings,
                   int *ret_status)
{
    AUTO_FREE struct option *options = long_options(usage);
    AUTO_FREE bool *seen = calloc(usage->n_rows + 1, sizeof(*seen));
    int key, status = EXIT_DONE;

    if (!options || !seen) {
        *ret_status = report_error(&(struct error){0});
        return false;
    }
    opterr = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while (status == EXIT_DONE && (key = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (key == KEY_HELP || key == KEY_VERSION) {
            *ret_status = key == KEY_HELP ? print_help(usage) : print_version();
            return false;
        }
        if (key == ':')
            status = usage_error(usage, "a value is missing after ", argv[optind - 1]);
        else if (key == '?')
            status = unknown_option(usage, argv);
        else {
            seen[key - FIRST_ROW] = true;
            status = read_row(usage, &usage->rows[key - FIRST_ROW], optarg, settings);
        }
    }
    if (status == EXIT_DONE)
        status = check_complete(usage, seen, argc, argv, settings);
    *ret_status = status;
    return status == EXIT_DONE;
}

bool is_standard_input(const char *path)
{
    return strcmp(path, "-") == 0;
}

const char *input_name(const char *path)
{
    return is_standard_input(path) ? "standard input" : path;
}
