/* anomalyctl thresholds - what each false-alarm rate would cost a running model, and the choice. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/error.h"
#include "base/number.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

#define LEAST_RATE   1e-9 /* as in the configuration */
#define LEAST_ALARMS 1e-3
#define MOST_ALARMS  1e6

struct settings {
    const char *model;
    double rate, alarms_per_day; /* to set; 0: none */
    bool unset;
    struct online_options online;
};

static int set_rate(void *field, const void *context, const char *text, struct error *reterr)
{
    double *rate = field, value;

    (void)context;
    if (number_parse_double(text, strlen(text), &value) < 0 || !(value >= LEAST_RATE && value < 1))
        return error_set(reterr, -EINVAL, "must be from 1e-9 to below 1");
    *rate = value;
    return 0;
}

static int set_alarms(void *field, const void *context, const char *text, struct error *reterr)
{
    double *alarms = field, value;

    (void)context;
    if (number_parse_double(text, strlen(text), &value) < 0 ||
        !(value >= LEAST_ALARMS && value <= MOST_ALARMS))
        return error_set(reterr, -EINVAL, "must be from 0.001 to 1000000");
    *alarms = value;
    return 0;
}

static const struct option_row rows[] = {
    {"set",                  "R", OPTION_SET, false, offsetof(struct settings, rate),
     "put this false-alarm rate in force at once",                          set_rate,   NULL},
    {"false-alarms-per-day", "N", OPTION_SET, false, offsetof(struct settings, alarms_per_day),
     "put a rate in force that follows the rows a day, for N false alarms", set_alarms, NULL},
    OPTION_ROW("unset", NULL, OPTION_FLAG, false, unset,
               "go back to the configuration's, or the model file's"),
    ONLINE_ROWS,
};

static const struct usage usage = {
    .command = "thresholds",
    .operand = "MODEL",
    .operand_offset = offsetof(struct settings, model),
    .description = "Shows what each false-alarm rate means for a model: the threshold, what it\n"
                   "rests on (conformal is promised, tail-fit estimated, largest-error\n"
                   "neither), which of the recent rows it would have flagged, and how many false\n"
                   "alarms to expect a day. A rate that is set holds at once, without retraining,\n"
                   "and for later versions; so does a number of false alarms a day, whose rate is\n"
                   "made of the rows a day that are scored.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* ---- printing ---- */

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *string_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value ? value : "";
}

static void print_threshold(const json_t *threshold, const char *mark, struct text *text)
{
    const json_t *per_day = json_object_get(threshold, "alarms_per_day");
    const double n = json_number_value(per_day);

    text_printf(text, "%1s %10g  %10.4g  %-13.13s  %13.0f  ", mark,
                number_of(threshold, "false_alarm_rate"), number_of(threshold, "threshold"),
                string_of(threshold, "threshold_basis"), number_of(threshold, "recent_alarms"));
    if (json_is_number(per_day))
        text_printf(text, n < 100.0 ? "%12.3g\n" : "%12.0f\n", n);
    else
        text_printf(text, "%12s\n", "-");
}

/* From the highest rate, which has the lowest threshold; that in force stands in its place. */
static void print_table(const json_t *reply, struct text *text)
{
    const json_t *thresholds = json_object_get(reply, "thresholds");
    const json_t *in_force = json_object_get(reply, "in_force");
    const double rate = number_of(in_force, "false_alarm_rate");
    bool is_printed = false;

    text_printf(text, "\n  %10s  %10s  %-13s  %13s  %12s\n", "RATE", "THRESHOLD", "BASIS",
                "RECENT ALARMS", "ALARMS A DAY");
    for (size_t i = 0; i < json_array_size(thresholds); i++) {
        const json_t *threshold = json_array_get(thresholds, i);
        const double other = number_of(threshold, "false_alarm_rate");
        if (other <= rate && !is_printed) {
            print_threshold(in_force, "*", text);
            is_printed = true;
        }
        if (other != rate)
            print_threshold(threshold, "", text);
    }
    if (!is_printed)
        print_threshold(in_force, "*", text);
    const double a_second = number_of(reply, "rows_per_second");
    text_printf(text, "\nRecent: %.0f rows", number_of(reply, "recent_rows"));
    if (number_of(reply, "recent_rows") > 0)
        text_printf(text, a_second >= 100.0 ? ", %.0f a second" : ", %.3g a second", a_second);
    text_puts(text, "\n");
}

/* "2 false alarms a day (request): false-alarm rate 2e-05 at 100000 rows a day" */
static void print_budget(const json_t *reply, struct text *text)
{
    const double per_day = number_of(reply, "rows_per_day");

    text_printf(text, "%g false alarms a day (%s): ", number_of(reply, "false_alarms_per_day"),
                string_of(reply, "set_by"));
    if (json_is_object(json_object_get(reply, "in_force")))
        text_printf(text, "false-alarm rate %g, ",
                    number_of(json_object_get(reply, "in_force"), "false_alarm_rate"));
    if (per_day > 0)
        text_printf(text, "%.6g rows a day\n", per_day);
    else
        text_puts(text, "rows a day not known yet\n");
}

static void print_answer(const json_t *reply, struct text *text)
{
    const json_t *in_force = json_object_get(reply, "in_force");

    text_printf(text, "%s: ", string_of(reply, "model"));
    if (number_of(reply, "false_alarms_per_day") > 0)
        print_budget(reply, text);
    else if (json_is_object(in_force))
        text_printf(text, "false-alarm rate %g (%s)\n", number_of(in_force, "false_alarm_rate"),
                    string_of(reply, "set_by"));
    else
        text_puts(text, "no false-alarm rate yet\n");
    if (json_array_size(json_object_get(reply, "thresholds")) > 0)
        print_table(reply, text);
    else
        text_puts(text, "There is no version yet, so there are no thresholds.\n");
    if (*string_of(reply, "note"))
        text_printf(text, "Note: %s\n", string_of(reply, "note"));
}

/* ---- asking ---- */

static int ask(const struct settings *settings, struct client *client, json_t **ret_reply,
               struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0}, body = {0};
    text_printf(&path, "/v1/models/%s/thresholds", settings->model);
    text_printf(&body, "{\"%s\":",
                settings->alarms_per_day > 0 ? "false_alarms_per_day" : "false_alarm_rate");
    if (settings->rate > 0 || settings->alarms_per_day > 0)
        text_double(&body, settings->rate > 0 ? settings->rate : settings->alarms_per_day);
    else
        text_puts(&body, "null");
    text_puts(&body, "}");
    if (text_failed(&path) || text_failed(&body))
        return -ENOMEM;
    return settings->rate > 0 || settings->alarms_per_day > 0 || settings->unset
               ? client_put(client, path.data, body.data, body.length, ret_reply, reterr)
               : client_get(client, path.data, ret_reply, reterr);
}

int thresholds_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(text_clear) struct text text = {0};
    json_auto_t *reply = NULL;
    struct settings settings = {.online = ONLINE_DEFAULTS};
    struct error err = {0};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = online_check_model(usage.command, settings.model);
    const int n_wishes = (settings.rate > 0) + (settings.alarms_per_day > 0) + settings.unset;
    if (status == EXIT_DONE && n_wishes > 1) {
        (void)report_failure("thresholds: give one of --set, --false-alarms-per-day and --unset");
        status = EXIT_USAGE;
    }
    if (status == EXIT_DONE)
        status = online_connect(&settings.online, &client);
    if (status != EXIT_DONE)
        return status;
    if (ask(&settings, client, &reply, &err) < 0)
        return report_error(&err);
    if (settings.online.json)
        return online_print_reply(client);
    print_answer(reply, &text);
    return output_text(&text);
}
