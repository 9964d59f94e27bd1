/* commands - what anomalyctl can do: one row a command in the table of main.c. Commands that are
 * alike share a function, which has a table of its own.
 *
 * argv[0] is the command's name. All return the exit status. */
#pragma once

enum exit_status {
    EXIT_DONE,
    EXIT_FAILED, /* the work failed */
    EXIT_USAGE   /* wrong usage */
};

int train_main(int argc, char **argv);
int score_main(int argc, char **argv);
int evaluate_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int record_main(int argc, char **argv);
int replay_main(int argc, char **argv);
int status_main(int argc, char **argv);
int incident_main(int argc, char **argv);
int list_main(int argc, char **argv); /* models, versions, runs, events, incidents, audit */
int diff_main(int argc, char **argv);
int observe_main(int argc, char **argv);
int thresholds_main(int argc, char **argv);
int maintenance_main(int argc, char **argv);
int watch_main(int argc, char **argv);
int manage_main(int argc, char **argv); /* retrain, promote, … */
