/* anomalyctl - everything that a person does with detectors: train, score, look, replay.
 *
 * Each command is one file and one row of the table below. */
#include "anomalyctl/commands.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "base/text.h"
#include "detector/detector.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {"train",       train_main,       "make a model file from normal rows"                   },
    {"score",       score_main,       "judge every row of a file"                            },
    {"evaluate",    evaluate_main,    "compare verdicts with the labels of a file"           },
    {"inspect",     inspect_main,     "show what is in a model file"                         },
    {"record",      record_main,      "sample this host into a file, or send it to anomalyd" },
    {"replay",      replay_main,      "send a labelled file to anomalyd, show what it caught"},
    {"status",      status_main,      "show whether anomalyd is ready, and its models"       },
    {"models",      list_main,        "list the models of anomalyd"                          },
    {"versions",    list_main,        "list a model's versions"                              },
    {"diff",        diff_main,        "show how two versions of a model differ"              },
    {"runs",        list_main,        "list a model's trainings"                             },
    {"events",      list_main,        "list what happened to a model"                        },
    {"incidents",   list_main,        "list stretches of trouble, and what is to blame"      },
    {"incident",    incident_main,    "write the rows around an incident into a file"        },
    {"watch",       watch_main,       "show what happens, as it happens"                     },
    {"audit",       list_main,        "list what people did to a model"                      },
    {"thresholds",  thresholds_main,  "show what each false-alarm rate costs, or choose one" },
    {"maintenance", maintenance_main, "no alarms and no learning for a while"                },
    {"observe",     observe_main,     "give anomalyd normal rows to learn from"              },
    {"retrain",     manage_main,      "train a model on what it has learned from"            },
    {"cancel",      manage_main,      "end a training"                                       },
    {"promote",     manage_main,      "let another version answer"                           },
    {"rollback",    manage_main,      "let the former version answer again"                  },
    {"feedback",    manage_main,      "say whether an event was normal or an anomaly"        },
    {"freeze",      manage_main,      "stop a model's learning"                              },
    {"unfreeze",    manage_main,      "resume a model's learning"                            },
    {"rebaseline",  manage_main,      "hold later versions against the present one"          },
    {"reset",       manage_main,      "forget the rows that a model has learned from"        },
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static int print_help(void)
{
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "Usage: anomalyctl COMMAND [OPTION…]\n\n"
                     "Trains and uses autoencoders that find anomalies in metrics.\n\n"
                     "Commands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        text_printf(&text, "  %-12s%s\n", commands[i].name, commands[i].summary);
    text_puts(&text, "\nOptions:\n"
                     "  --help    print this; after a command: print its options\n"
                     "  --version print the version\n\n"
                     "Exit status: 0 success, 1 the work failed, 2 wrong usage.\n");
    return output_text(&text);
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];

    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    return usage_unknown("command", "", name, names, N_COMMANDS, "--help");
}

int main(int argc, char **argv)
{
    detector_init();
    /* `anomalyctl score … | head` ends quietly, also where the parent ignores the signal. */
    (void)signal(SIGPIPE, SIG_DFL);

    if (argc < 2) {
        (void)report_failure("give a command; see anomalyctl --help");
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0)
        return print_version();
    if (argv[1][0] == '-') {
        (void)report_failure("unknown option %s; see anomalyctl --help", argv[1]);
        return EXIT_USAGE;
    }
    return unknown_command(argv[1]);
}
