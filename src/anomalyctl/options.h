/* options - a command's options: one table is the truth for getopt_long() and --help.
 *
 * A command describes a struct of settings, filled with its defaults, by rows that say which field
 * an option sets. --help and --version are there by themselves. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct text;

/* Names separated by commas (data/feature_list.h); points into `storage`. Release with
 * name_list_clear(). */
struct name_list {
    const char **names; /* [n_names] */
    size_t n_names;
    char *storage;
};
void name_list_clear(struct name_list *list);

enum option_kind { /* field */
    OPTION_FLAG,   /* bool, no argument */
    OPTION_TEXT,   /* const char * */
    OPTION_LIST,   /* struct name_list */
    OPTION_COUNT,  /* size_t, 1 to a thousand million */
    OPTION_SET,    /* what the row's `set` makes of it */
};

struct option_row {
    const char *name;
    const char *argument; /* for --help: "FILE"; NULL for a flag */
    enum option_kind kind;
    bool required;
    size_t offset;    /* of the field in the settings */
    const char *help; /* lower case, no full stop; lines separated by \n */
    /* Only for OPTION_SET: reads text into the field. -EINVAL: reterr says "must be …". Without an
     * argument text is "yes". */
    int (*set)(void *field, const void *context, const char *text, struct error *reterr);
    const void *context;
};

/* A row for a field of the command's `struct settings`. */
#define OPTION_ROW(name, argument, kind, required, field, help)                            \
    {                                                                                      \
        name, argument, kind, required, offsetof(struct settings, field), help, NULL, NULL \
    }

struct usage {
    const char *command;
    const char *operand;     /* "FILE": exactly one operand must stand there; "MODEL VERSION": two;
                              * "MODEL [A B]": one or three; NULL: none may */
    size_t operand_offset;   /* of the const char * it goes to; further ones go behind it */
    const char *description; /* sentences for --help, lines of at most 80 columns */
    const struct option_row *rows;
    size_t n_rows;
};

/* True: go on. False: leave with *ret_status; --help has been printed or stderr says what is
 * wrong. Text fields point into argv. Of an option that is there twice the last one counts. */
bool options_parse(const struct usage *usage, int argc, char **argv, void *settings,
                   int *ret_status);

/* "anomalyctl: unknown WHAT NAME; did you mean …? (see anomalyctl HELP)": the nearest of
 * names[n_names], or all if none is near and they are few; prefix ("--") stands before both.
 * Returns the exit status. */
int usage_unknown(const char *what, const char *prefix, const char *name, const char *const *names,
                  size_t n_names, const char *help);

int print_version(void); /* returns the exit status */

/* What every command that reads rows is told by --data, --label-column and --exclude. */
struct input_options {
    const char *data;
    const char *label_column;
    struct name_list exclude;
};

/* Rows with this label follow an incident: neither normal nor anomalies, they do not count. */
#define LABEL_RECOVERY "recovery"

struct dataset;

/* Labels are 0 or empty, 1, or a name; -EINVAL names the first that is another number, which may
 * have come from a column of something else. dataset was read with the input's label column. */
int input_check_labels(const struct dataset *dataset, const struct input_options *input,
                       struct error *reterr);

bool is_standard_input(const char *path); /* "-" */
const char *input_name(const char *path); /* as messages call it: "-" is "standard input" */
