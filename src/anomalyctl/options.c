#include "anomalyctl/options.h"

#include "anomalyctl/commands.h"
#include "anomalyctl/output.h"
#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/feature_list.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 27
#define FIRST_ROW   256 /* getopt_long()'s value of rows[0]; above every short option */

#define MAX_COUNT   1000000000
#define MOST_LISTED 12 /* names in a message */

#define KEY_HELP    'h'
#define KEY_VERSION 'V'

void name_list_clear(struct name_list *list)
{
    free(list->names);
    free(list->storage);
    *list = (struct name_list){0};
}

static int name_list_read(struct name_list *ret_list, const char *text, struct error *reterr)
{
    CLEANUP(name_list_clear) struct name_list list = {0};
    CLEANUP(feature_list_clear) struct feature_list names = {0};
    struct feature_item item;

    int r = feature_list_open(&names, text);
    if (r < 0)
        return r;
    list.storage = malloc(strlen(text) + 1);
    list.names = calloc(strlen(text) + 1, sizeof(*list.names));
    if (!list.storage || !list.names)
        return -ENOMEM;
    char *at = list.storage;
    while ((r = feature_list_next(&names, &item, reterr)) > 0) {
        if (item.length == 0 || item.value)
            break;
        list.names[list.n_names++] = at;
        at = mempcpy(at, item.name, item.length);
        *at++ = '\0';
    }
    if (r > 0 || (r == 0 && list.n_names == 0))
        return error_set(reterr, -EINVAL, "must be names separated by commas");
    if (r < 0)
        return r;
    name_list_clear(ret_list);
    *ret_list = list;
    list = (struct name_list){0};
    return 0;
}

static int read_count(const char *text, size_t *ret_count, struct error *reterr)
{
    uint64_t count;
    int r = number_parse_u64(text, strlen(text), &count);

    if (r < 0 || count == 0 || count > MAX_COUNT)
        return error_set(reterr, -EINVAL, "must be a whole number from 1 to %d", MAX_COUNT);
    *ret_count = (size_t)count;
    return 0;
}

static int read_value(const struct option_row *row, const char *text, void *field,
                      struct error *reterr)
{
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)field = text;
        return *text ? 0 : error_set(reterr, -EINVAL, "must be a text that is not empty");
    case OPTION_LIST:
        return name_list_read(field, text, reterr);
    case OPTION_COUNT:
        return read_count(text, field, reterr);
    case OPTION_SET:
        return row->set(field, row->context, text ? text : "yes", reterr);
    }
    assert(!"a kind of option without its reader");
    return -EINVAL;
}

/* Help that has no room beside its option stands below it. */
static void append_option(struct text *text, const char *name, const char *argument,
                          const char *help)
{
    size_t used = strlen("  --") + strlen(name);

    text_printf(text, "  --%s%s%s", name, argument ? " " : "", argument ? argument : "");
    if (argument)
        used += 1 + output_count_characters(argument);
    if (used >= HELP_COLUMN) {
        text_puts(text, "\n");
        used = 0;
    }
    for (const char *line = help; line;) {
        const size_t length = strcspn(line, "\n");
        text_printf(text, "%*s%.*s\n", (int)(HELP_COLUMN - used), "", (int)length, line);
        used = 0;
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
    CLEANUP(text_clear) struct text hint = {0};
    /* A schema is a list of names that knows the nearest one. */
    CLEANUP(schema_freep) struct schema *schema = NULL;
    const char *nearest = NULL;

    if (schema_new(names, n_names, &schema, NULL) == 0)
        nearest = schema_nearest(schema, name, strlen(name));
    if (nearest)
        text_printf(&hint, "did you mean %s%s?", prefix, nearest);
    else if (n_names <= MOST_LISTED)
        for (size_t i = 0; i < n_names; i++)
            text_printf(&hint, "%s%s%s", i ? ", " : "there are ", prefix, names[i]);
    const bool has_hint = hint.data && !hint.failed;
    (void)report_failure("unknown %s %s%s; %s%ssee anomalyctl %s%s", what, prefix, name,
                         has_hint ? hint.data : "", has_hint ? " (" : "", help,
                         has_hint ? ")" : "");
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

static int take_operands(const struct usage *usage, int argc, char **argv, void *settings)
{
    const char **field = (const char **)((char *)settings + usage->operand_offset);

    for (const char *name = usage->operand; name && *name;) {
        if (*name == '[' && optind == argc)
            return EXIT_DONE;
        name += *name == '[';
        const size_t length = strcspn(name, " ");
        if (optind == argc) {
            AUTO_FREE char *missing = strndup(name, strcspn(name, " ]"));
            return usage_error(usage, "give ", missing ? missing : name);
        }
        *field++ = argv[optind++];
        name += length + (name[length] == ' ');
    }
    return EXIT_DONE;
}

static int check_complete(const struct usage *usage, const bool *seen, int argc, char **argv,
                          void *settings)
{
    for (size_t i = 0; i < usage->n_rows; i++)
        if (usage->rows[i].required && !seen[i])
            return usage_error(usage, "give --", usage->rows[i].name);
    if (take_operands(usage, argc, argv, settings) != EXIT_DONE)
        return EXIT_USAGE;
    return optind < argc ? usage_error(usage, "unexpected argument ", argv[optind]) : EXIT_DONE;
}

static int read_row(const struct usage *usage, const struct option_row *row, const char *text,
                    void *settings)
{
    struct error why = {0};
    int r = read_value(row, text, (char *)settings + row->offset, &why);

    if (r == 0)
        return EXIT_DONE;
    if (!*why.text)
        return report_error(&why);
    (void)report_failure("%s: --%s %s: %s", usage->command, row->name,
                         text && *text ? text : "\"\"", why.text);
    return EXIT_USAGE;
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
    optind = 0; /* from the beginning, also the second time */
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

static bool is_label(const char *label)
{
    double number;

    return number_parse_double(label, strlen(label), &number) < 0 || number == 0 || number == 1;
}

int input_check_labels(const struct dataset *dataset, const struct input_options *input,
                       struct error *reterr)
{
    for (size_t i = 0; i < dataset->n_rows; i++) {
        const char *label = dataset->label_names[dataset->labels[i]];
        char shown[TEXT_SHOWN_SIZE];

        if (dataset->labels[i] != 0 && !is_label(label))
            return error_set_at(reterr, -EINVAL, input_name(input->data), dataset->lines[i],
                                "--label-column %s: label %s is neither 0, 1 nor a name; give 0 "
                                "for normal rows and 1 or the incident's name for others",
                                input->label_column, text_show(shown, label, strlen(label)));
    }
    return 0;
}

bool is_standard_input(const char *path)
{
    return strcmp(path, "-") == 0;
}

const char *input_name(const char *path)
{
    return file_name(path);
}
