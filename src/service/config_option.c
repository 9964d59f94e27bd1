#include "service/config_option.h"

#include "base/clock.h"
#include "base/text.h"
#include "detector/recipe.h"
#include "service/config.h"
#include "service/config_read.h"

#include <assert.h>
#include <string.h>

#define KIB  ((uint64_t)1 << 10)
#define MIB  ((uint64_t)1 << 20)
#define GIB  ((uint64_t)1 << 30)
#define DAY  (86400 * US_PER_S)
#define MANY 1000000000

/* A row: where its field is, what it is called, its value, who reads it, what it may be, help. */
#define KEY(where, name, value, reader, limits, text)                                 \
    {                                                                                 \
        where, .key = name, value, .read = config_read_##reader, limits, .help = text \
    }
#define SERVER(field)        .scope = SCOPE_SERVER, .offset = offsetof(struct config, field)
#define STORAGE(field)       .scope = SCOPE_STORAGE, .offset = offsetof(struct config, field)
#define MODELS(field)        .scope = SCOPE_MODELS, .offset = offsetof(struct config, field)
#define MODEL(field)         .scope = SCOPE_MODEL, .offset = offsetof(struct config_model, field)
#define DEFAULT(value)       .initial = value
#define EXAMPLE(value)       .example = value
#define ANY                  .min = 0
#define RANGE(a, b)          .min = a, .max = b
#define RANGE_OR(word, a, b) RANGE(a, b), .zero = word

const char *config_scope_name(enum config_scope scope)
{
    static const char *const names[] = {"server", "storage", "models", "model"};

    return names[scope];
}

/* Rows of one scope stand together, those of SCOPE_MODEL last: training options follow them. */
static const struct config_option options[] = {
    KEY(SERVER(listen), "listen", DEFAULT("127.0.0.1:8817"), addresses, ANY,
        "Where to listen: IPv4 127.0.0.1:8817, IPv6 [::1]:8817, or a Unix socket\n"
        "unix:/run/anomalyd/http.sock. Several are separated by commas and may go on\n"
        "in indented lines. A change needs a restart."),
    KEY(SERVER(threads), "threads", DEFAULT("auto"), threads, RANGE_OR("auto", 1, 256),
        "Threads that answer requests; auto is one for each core we may use.\n"
        "A change needs a restart."),
    KEY(SERVER(max_body), "max_body", DEFAULT("64M"), size, RANGE(KIB, 4 * GIB),
        "The largest request body in bytes; K, M and G are powers of 1024."),
    KEY(SERVER(max_connections), "max_connections", DEFAULT("1024"), count, RANGE(1, 1000000),
        "Open connections at a time, over all threads. A change needs a restart."),
    KEY(SERVER(request_timeout_us), "request_timeout", DEFAULT("10s"), duration,
        RANGE(10 * US_PER_MS, 3600 * US_PER_S),
        "How long the head of a request may take to arrive, and every 64 KiB of its\n"
        "body: 500ms, 10s, 2m."),
    KEY(SERVER(max_request_memory), "max_request_memory", DEFAULT("256M"), space,
        RANGE_OR("none", MIB, 1024 * GIB),
        "What requests may take in memory together, over all connections: their bodies\n"
        "and answers. Beyond half of it no more rows are held for learning, beyond it\n"
        "requests get 503; none: no limit."),

    KEY(STORAGE(storage_directory), "directory", EXAMPLE("/var/lib/anomalyd"), folder, ANY,
        "Where learned rows and models are kept: a folder that the daemon may write\n"
        "to. Unless given, $STATE_DIRECTORY, which systemd sets for the service;\n"
        "without either nothing is learned. A change needs a restart."),
    KEY(STORAGE(survives_power_loss), "durability", DEFAULT("power"), durability, ANY,
        "What an acknowledged row of /observe survives: power, a power failure too;\n"
        "process, only the end of the daemon, which is faster. A change needs a\n"
        "restart."),
    KEY(STORAGE(storage_max_size), "max_size", DEFAULT("1G"), space, RANGE(MIB, 1024 * GIB),
        "The largest size of the store in bytes; when it is reached no more rows are\n"
        "buffered, scoring goes on."),
    KEY(STORAGE(storage_min_free), "min_free", DEFAULT("256M"), space,
        RANGE_OR("none", KIB, 1024 * GIB),
        "With less free space than this in the file system no more rows are buffered,\n"
        "scoring goes on; none: whatever is free."),

    KEY(MODELS(auto_create), "auto_create", DEFAULT("no"), flag, ANY,
        "Whether a row for an unknown name creates that model, as [model *] says."),
    KEY(MODELS(max_models), "max_models", DEFAULT("100"), rows, RANGE(1, 100000),
        "With so many models, those of this file included, none is created."),
    KEY(MODELS(max_memory), "max_memory", DEFAULT("256M"), space, RANGE_OR("none", KIB, 1024 * GIB),
        "What the detectors of all models may take in memory together: that of the\n"
        "model that was not needed for longest is dropped, and read again when it is.\n"
        "256M hold about 400 of the preset best, 4,500 of fast; none: all stay."),

    KEY(MODEL(file), "file", EXAMPLE("example.safetensors"), path, ANY,
        "The model file, made by `anomalyctl train`; absolute, or relative to the\n"
        "folder of this file. Without one the model learns from nothing. Not in\n"
        "[model *]."),
    KEY(MODEL(features), "features", EXAMPLE("cpu, memory, disk read"), features, ANY,
        "The names of the features, separated by commas; may go on in indented lines.\n"
        "One that holds a comma stands in quotation marks, here and in the lists below.\n"
        "Unless given, those of the model file or of the first row."),
    KEY(MODEL(false_alarm_rate), "false_alarm_rate", EXAMPLE("0.001"), rate, ANY,
        "How often a normal row may be called an anomaly; sets the threshold. Unless\n"
        "given, what the model was trained for."),
    KEY(MODEL(false_alarms_per_day), "false_alarms_per_day", EXAMPLE("2"), alarms, ANY,
        "So many false alarms a day, instead of false_alarm_rate: the rate follows the\n"
        "rows a day that are scored. Needs a storage directory."),
    KEY(MODEL(reject_missing), "missing", DEFAULT("impute"), missing, ANY,
        "Rows with missing values: impute takes the training median and leaves the\n"
        "feature out of the error; reject refuses the request."),
    KEY(MODEL(relevance), "direction", EXAMPLE("cpu=above, memory=below"), relevance, ANY,
        "Which deviations of a feature matter: above what was expected, below it, or\n"
        "both, as of all features that are not named. A row that only others make an\n"
        "anomaly is none. none: of no feature the model file's word counts. Unless\n"
        "given, what the model file says."),
    KEY(MODEL(relevance), "tolerance", EXAMPLE("cpu=5, memory=10%"), relevance, ANY,
        "The smallest deviation of a feature that matters, in its unit or in percent\n"
        "of what was expected; for the rest as direction."),
    KEY(MODEL(prepare), "prepare", EXAMPLE("disk read=rate, timestamp=hour-of-day"), prepare, ANY,
        "How a model that learns from nothing sees its features: raw (unless said), log1p,\n"
        "rate (of a counter, per second), delta, onehot:A|B (categories), and from the time\n"
        "of a row hour-of-day and day-of-week. A model file has its own."),
    KEY(MODEL(prepare), "context", DEFAULT("1"), context, ANY,
        "Rows of a series that such a model sees at once, up to 64."),
    KEY(MODEL(prepare), "max_gap", DEFAULT("1h"), max_gap, ANY,
        "Time without a row after which a series begins afresh for such a model, or none."),
    KEY(MODEL(prepare), "timezone", DEFAULT("UTC"), timezone, ANY,
        "Of hour-of-day and day-of-week, as in Europe/Berlin."),
    KEY(MODEL(max_series), "max_series", DEFAULT("10000"), rows, RANGE(1, 1000000),
        "Series whose last rows and movement are remembered; the one that was silent\n"
        "for longest goes first. Of wide rows at most 64 MiB."),
    KEY(MODEL(stale_after_us), "stale_after", DEFAULT("never"), duration,
        RANGE_OR("never", US_PER_MS, 7 * DAY),
        "After so long without a row a series counts as silent: an event and a metric\n"
        "say so."),
    KEY(MODEL(alarm), "alarm", DEFAULT("3 of 5"), alarm, ANY,
        "When anomalies of a series open an incident that is worth waking somebody\n"
        "for: so many of so many rows on end; never: none does."),
    KEY(MODEL(alarm), "alarm_clear", DEFAULT("5 below 0.8"), alarm_clear, ANY,
        "When such an alarm is over: so many rows on end with a score below that."),
    KEY(MODEL(alarm.hold_us), "alarm_hold", DEFAULT("none"), duration,
        RANGE_OR("none", US_PER_MS, 365 * DAY),
        "The least time that an alarm stays open, or none."),
    KEY(MODEL(alarm.cool_down_us), "alarm_cool_down", DEFAULT("none"), duration,
        RANGE_OR("none", US_PER_MS, 365 * DAY),
        "For so long after its end a series opens no other alarm; one that is still\n"
        "called for then opens."),
    KEY(MODEL(maintenance), "maintenance", EXAMPLE("Sun 02:00-04:00"), maintenance, ANY,
        "Windows of each week, in the time zone of the machine, in which no alarm opens\n"
        "and scored rows are not learned from: Sun 02:00-04:00, Mon-Fri 22:30-00:30,\n"
        "daily 05:00-05:10. Several are separated by commas and may go on in indented\n"
        "lines."),
    KEY(MODEL(maintenance_skips), "maintenance_skips", DEFAULT("alarms, learning"),
        maintenance_skips, ANY, "What is left out in them: alarms, learning, or both."),
    KEY(MODEL(learn), "learn", EXAMPLE("auto"), learn, ANY,
        "auto: from rows that are scored or observed, and training by itself; observe:\n"
        "only from rows of /observe; off: not at all. Unless given, auto where there\n"
        "is a storage directory, else off."),
    KEY(MODEL(min_rows), "min_rows", DEFAULT("auto"), rows, RANGE_OR("auto", 1, MANY),
        "Rows in the buffer before the first version is trained; auto: the larger of\n"
        "1,000 and 20 a feature. Fewer than 80 count as 80."),
    KEY(MODEL(buffer_rows), "buffer_rows", DEFAULT("50000"), rows, RANGE(40, MANY),
        "Rows that are kept to learn from: half to train on, half to calibrate and\n"
        "judge with."),
    KEY(MODEL(sample_rate), "sample_rate", DEFAULT("1/s"), sampling, ANY,
        "Scored rows a second of each series that are learned from at most, evenly\n"
        "drawn: 1/s, 0.5/s; all: every one. What is not used up is saved for five\n"
        "minutes, for rows that come many at once. Rows without a series (null) count\n"
        "as one."),
    KEY(MODEL(retrain_rows), "retrain_rows", DEFAULT("5000"), rows, RANGE_OR("never", 1, MANY),
        "Train again when so many rows were stored since the last time, or never."),
    KEY(MODEL(retrain_every_us), "retrain_every", DEFAULT("never"), duration,
        RANGE_OR("never", US_PER_S, 3650 * DAY),
        "Train again when so much time has passed since the last time: 2h, 1d."),
    KEY(MODEL(retrain_min_interval_us), "retrain_min_interval", DEFAULT("10m"), duration,
        RANGE_OR("none", US_PER_MS, 3650 * DAY),
        "The least time between trainings that begin by themselves, or none."),
    KEY(MODEL(retrain_on_drift), "retrain_on_drift", DEFAULT("no"), flag, ANY,
        "Train again when the drift meter says that normal has moved."),
    KEY(MODEL(retrain_max_memory), "retrain_max_memory", DEFAULT("4G"), space,
        RANGE_OR("none", 64 * MIB, 1024 * GIB),
        "Bytes of address space that a training may take, or none: no limit."),
    KEY(MODEL(retrain_max_time_us), "retrain_max_time", DEFAULT("1h"), duration,
        RANGE_OR("none", US_PER_S, 3650 * DAY),
        "Time that a training may take, or none: no limit."),
    KEY(MODEL(keep_versions), "keep_versions", DEFAULT("10"), rows, RANGE(2, 10000),
        "Versions whose files are kept; the oldest go first."),
    KEY(MODEL(follow_after), "follow_after", DEFAULT("never"), rows, RANGE_OR("never", 1, MANY),
        "After so many rows an incident that nobody has answered counts as the new\n"
        "normal; never: it is kept out of training until somebody answers."),
    KEY(MODEL(is_strict), "strict", DEFAULT("no"), flag, ANY,
        "Do not train on a batch in which rare rows are too frequent, as when somebody\n"
        "moves the model slowly; slow changes of normal are refused sooner too."),
};
#define N_OPTIONS (sizeof(options) / sizeof(*options))

/* learning-rate is learning_rate here. */
static struct config_option training_option(const struct recipe_field *field)
{
    struct config_option option = {
        .scope = SCOPE_MODEL,
        .example = field->argument ? field->argument : "yes|no",
        .help = field->help,
        .read = config_read_training,
        .training = field,
    };

    assert(strlen(field->name) < sizeof(option.key));
    for (size_t i = 0; field->name[i]; i++)
        option.key[i] = field->name[i];
    for (char *dash = option.key; (dash = strchr(dash, '-'));)
        *dash = '_';
    return option;
}

size_t config_option_list(struct config_option ret_options[CONFIG_MAX_OPTIONS])
{
    size_t n = N_OPTIONS;

    assert(recipe_n_fields <= CONFIG_MAX_TRAINING && n + recipe_n_fields <= CONFIG_MAX_OPTIONS);
    memcpy(ret_options, options, sizeof(options));
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (recipe_fields[i].offset != offsetof(struct recipe, false_alarm_rate))
            ret_options[n++] = training_option(&recipe_fields[i]);
    return n;
}

/* ---- help ---- */

static void describe_option(const struct config_option *option, struct text *text)
{
    text_printf(text, "  %s = %s%s\n", option->key,
                option->initial ? option->initial : option->example,
                option->initial || option->training ? "" : "    (an example; unset by default)");
    for (const char *line = option->help; line;) {
        const char *end = strchrnul(line, '\n');
        text_printf(text, "      %.*s\n", (int)(end - line), line);
        line = *end ? end + 1 : NULL;
    }
}

void config_describe(struct text *text)
{
    struct config_option list[CONFIG_MAX_OPTIONS];
    const size_t n = config_option_list(list);

    for (size_t i = 0; i < n; i++) {
        const bool is_first = i == 0 || list[i].scope != list[i - 1].scope;
        if (is_first)
            text_printf(text, "%s[%s%s]\n", i ? "\n" : "", config_scope_name(list[i].scope),
                        list[i].scope == SCOPE_MODEL ? " NAME" : "");
        if (is_first && list[i].scope == SCOPE_MODEL)
            text_puts(text,
                      "  The same keys stand in [model *], for models that a row creates.\n\n");
        if (list[i].training && !list[i - 1].training)
            text_puts(text, "\n  How to train, as for `anomalyctl train`. Unless given, what the\n"
                            "  live model file says, or the default of `anomalyctl train` for\n"
                            "  the first version.\n");
        describe_option(&list[i], text);
    }
}
