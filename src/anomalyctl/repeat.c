#include "anomalyctl/repeat.h"

#include "anomalyctl/client.h"
#include "anomalyctl/commands.h"
#include "anomalyctl/flight_file.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/text.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/judge.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "detector/vocabulary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What judges the rows of a version. */
struct judge {
    unsigned version;              /* 0: all */
    struct detector *detector;     /* NULL: the daemon has its file no more */
    struct relevance_rule **rules; /* [n_rules] those of the file, bound to its inputs */
    size_t n_rules;
};

struct repeat {
    struct flight_file file;
    struct workspace *workspace;
    struct judge *judges; /* [n_judges] */
    size_t n_judges;
    size_t n_judged, n_different;
    struct text differences; /* for people a line each, else members of a JSON list */
};

static void judge_clear(struct judge *judge)
{
    for (size_t i = 0; i < judge->n_rules; i++)
        free(judge->rules[i]);
    free(judge->rules);
    detector_free(judge->detector);
    *judge = (struct judge){0};
}

static void repeat_clear(struct repeat *repeat)
{
    for (size_t i = 0; i < repeat->n_judges; i++)
        judge_clear(&repeat->judges[i]);
    free(repeat->judges);
    detector_workspace_free(repeat->workspace);
    text_clear(&repeat->differences);
    flight_file_clear(&repeat->file);
}

static const struct judge *find_judge(const struct repeat *repeat, unsigned version)
{
    for (size_t i = 0; i < repeat->n_judges; i++)
        if (repeat->judges[i].version == version || repeat->judges[i].version == 0)
            return &repeat->judges[i];
    return NULL;
}

/* ---- the models ---- */

static int check_features(const struct repeat *repeat, const struct detector *detector,
                          const char *name, struct error *reterr)
{
    const struct schema *schema = detector_schema(detector);
    const size_t n = schema_n_features(schema);
    const struct flight_file *file = &repeat->file;

    if (n != file->n_features)
        return error_set_at(reterr, -EINVAL, file->name, 1, "has %zu features, but %s has %zu",
                            file->n_features, name, n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(schema_name(schema, i), flight_file_feature(file, i)) != 0)
            return error_set_at(reterr, -EINVAL, file->name, 1,
                                "feature %zu is %s, but that of %s is %s", i,
                                flight_file_feature(file, i), name, schema_name(schema, i));
    if (file->n_values != detector_n_features(detector))
        return error_set_at(reterr, -EINVAL, file->name, file->rows[0].line,
                            "has %zu values, but %s takes %zu", file->n_values, name,
                            detector_n_features(detector));
    return 0;
}

static int bind_rules(struct judge *judge, const struct flight_file *file, struct error *reterr)
{
    const struct vocabulary vocabulary = detector_vocabulary(judge->detector);
    struct error why = {0};

    judge->rules = calloc(file->n_rules + 1, sizeof(struct relevance_rule *));
    if (!judge->rules)
        return -ENOMEM;
    for (; judge->n_rules < file->n_rules; judge->n_rules++) {
        const size_t i = judge->n_rules;
        int r = relevance_bind(file->rules[i], &vocabulary, &judge->rules[i], &why);
        if (r == -EINVAL)
            return error_set_at(reterr, r, file->name, 1, "rules %zu: %s", i + 1, why.text);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The version of the rows whose model file has this hash; 0: none. */
static unsigned find_version(const struct flight_file *file, const char *sha256)
{
    for (size_t i = 0; i < file->n_rows; i++) {
        const char *known = flight_file_sha256(file, file->rows[i].version);
        if (known && strcmp(known, sha256) == 0)
            return file->rows[i].version;
    }
    return 0;
}

static int append_judge(struct repeat *repeat, struct judge judge)
{
    struct judge *judges = realloc(repeat->judges, (repeat->n_judges + 1) * sizeof(*judges));
    if (!judges)
        return -ENOMEM;
    repeat->judges = judges;
    judges[repeat->n_judges++] = judge;
    return 0;
}

/* version 0: that whose file this is, or if it is none of them, all. */
static int add_judge(struct repeat *repeat, const char *name, const char *data, size_t size,
                     unsigned version, struct error *reterr)
{
    const struct flight_file *file = &repeat->file;
    CLEANUP(judge_clear) struct judge judge = {0};
    char sha256[SHA256_HEX_SIZE];

    int r = model_file_parse(name, data, size, &judge.detector, reterr);
    if (r == 0)
        r = check_features(repeat, judge.detector, name, reterr);
    if (r == 0)
        r = bind_rules(&judge, file, reterr);
    if (r < 0)
        return r;
    sha256_hex(data, size, sha256);
    const char *known = flight_file_sha256(file, version);
    if (version == 0)
        version = find_version(file, sha256);
    if (version == 0 || (known && strcmp(known, sha256) != 0))
        report_warning("%s: is not the file of a version that judged these rows; it may well say "
                       "something else of them",
                       name);
    judge.version = version;
    r = append_judge(repeat, judge);
    if (r == 0)
        judge = (struct judge){0};
    return r;
}

static int fetch_judge(struct repeat *repeat, struct client *client, const char *model,
                       unsigned version, struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};
    const char *data = NULL;
    size_t size = 0;

    text_printf(&path, "/v1/models/%s/versions/%u/file", model, version);
    if (text_failed(&path))
        return -ENOMEM;
    int r = client_get_bytes(client, path.data, &data, &size, reterr);
    return r < 0 ? r : add_judge(repeat, path.data, data, size, version, reterr);
}

/* Rows of versions that the daemon has no more cannot be judged; if there are no others, reterr
 * says why. */
static int fetch_judges(struct repeat *repeat, const char *url, const char *model,
                        struct error *reterr)
{
    CLEANUP(client_freep) struct client *client = NULL;
    const struct flight_file *file = &repeat->file;
    bool has_any = false;

    int r = client_new(url, &client, reterr);
    for (size_t i = 0; r == 0 && i < file->n_rows; i++) {
        const unsigned version = file->rows[i].version;
        if (find_judge(repeat, version))
            continue;
        r = fetch_judge(repeat, client, model, version, reterr);
        has_any |= r == 0;
        if (r == -EPROTO && client_status(client) == 404)
            r = append_judge(repeat, (struct judge){.version = version});
    }
    return r == 0 && !has_any ? -EPROTO : r;
}

static int load_judge(struct repeat *repeat, const char *path, struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(path, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    return r < 0 ? r : add_judge(repeat, file_name(path), data, size, 0, reterr);
}

/* ---- the rows ---- */

static bool is_same(double a, double b)
{
    uint64_t bits_a, bits_b;

    memcpy(&bits_a, &a, sizeof(a));
    memcpy(&bits_b, &b, sizeof(b));
    return bits_a == bits_b;
}

static void put_figures(struct text *text, const char *key, double error, double score,
                        double p_value, bool anomaly, bool has_aside)
{
    text_printf(text, ",\"%s\":{\"reconstruction_error\":", key);
    text_double(text, error);
    text_puts(text, ",\"score\":");
    text_double(text, score);
    text_puts(text, ",\"p_value\":");
    text_double(text, p_value);
    text_printf(text, ",\"anomaly\":%s%s}", anomaly ? "true" : "false",
                has_aside ? ",\"set_aside\":true" : "");
}

static void put_change(struct text *text, const char *name, double was, double is)
{
    if (is_same(was, is))
        return;
    text_printf(text, " %s ", name);
    text_double(text, was);
    text_puts(text, " is ");
    text_double(text, is);
    text_puts(text, " now,");
}

static void put_difference(struct repeat *repeat, const struct flight_file_row *row,
                           const struct verdict *verdict, bool json)
{
    struct text *text = &repeat->differences;
    const bool has_aside = verdict->n_set_aside > 0;

    repeat->n_different++;
    if (json) {
        text_printf(text, "%s{\"line\":%zu,\"version\":%u", repeat->n_different > 1 ? "," : "",
                    row->line, row->version);
        put_figures(text, "was", row->reconstruction_error, row->score, row->p_value, row->anomaly,
                    row->has_aside);
        put_figures(text, "is", verdict->reconstruction_error, verdict->score, verdict->p_value,
                    verdict->anomaly, has_aside);
        text_puts(text, "}");
        return;
    }
    text_printf(text, "%s:%zu:", repeat->file.name, row->line);
    put_change(text, "reconstruction_error", row->reconstruction_error,
               verdict->reconstruction_error);
    put_change(text, "score", row->score, verdict->score);
    put_change(text, "p_value", row->p_value, verdict->p_value);
    put_change(text, "anomaly", row->anomaly, verdict->anomaly);
    put_change(text, "set_aside", row->has_aside, has_aside);
    if (!text_failed(text))
        text->length--; /* the last comma */
    text_puts(text, "\n");
}

static bool says_the_same(const struct flight_file_row *row, const struct verdict *verdict)
{
    return is_same(verdict->reconstruction_error, row->reconstruction_error) &&
           is_same(verdict->score, row->score) && is_same(verdict->p_value, row->p_value) &&
           verdict->anomaly == row->anomaly && (verdict->n_set_aside > 0) == row->has_aside;
}

static int repeat_rows(struct repeat *repeat, bool json)
{
    const struct flight_file *file = &repeat->file;

    int r = detector_workspace_new(&repeat->workspace);
    for (size_t i = 0; r == 0 && i < file->n_rows; i++) {
        const struct flight_file_row *row = &file->rows[i];
        const struct judge *judge = find_judge(repeat, row->version);
        struct verdict verdict;
        if (!judge || !judge->detector)
            continue;
        r = judge_rows(judge->detector, row->rules > 0 ? judge->rules[row->rules - 1] : NULL,
                       repeat->workspace, file->values + i * file->n_values, 1, row->threshold,
                       &verdict);
        if (r < 0)
            return r;
        repeat->n_judged++;
        if (!says_the_same(row, &verdict))
            put_difference(repeat, row, &verdict, json);
    }
    return r;
}

/* ---- the answer ---- */

static void print_json(const struct repeat *repeat, struct text *text)
{
    const struct flight_file *file = &repeat->file;

    text_puts(text, "{\"model\":");
    text_json_string(text, file->model, strlen(file->model));
    text_printf(text,
                ",\"incident\":%" PRIu64 ",\"rows\":%zu,\"judged\":%zu,\"repeated\":%zu,"
                "\"differences\":[%s]}\n",
                file->incident, file->n_rows, repeat->n_judged,
                repeat->n_judged - repeat->n_different,
                repeat->differences.data ? repeat->differences.data : "");
}

static void print(const struct repeat *repeat, struct text *text)
{
    const struct flight_file *file = &repeat->file;
    char shown[TEXT_SHOWN_SIZE];

    text_puts(text, repeat->differences.data ? repeat->differences.data : "");
    text_printf(text, "Incident %" PRIu64 " of %s: %zu of %zu rows are the same bit for bit\n",
                file->incident, text_show(shown, file->model, strlen(file->model)),
                repeat->n_judged - repeat->n_different, repeat->n_judged);
}

static int report(const struct repeat *repeat, bool is_online, bool json)
{
    CLEANUP(text_clear) struct text text = {0};
    const struct flight_file *file = &repeat->file;
    char kernels[DETECTOR_KERNELS_SIZE], shown[TEXT_SHOWN_SIZE];

    if (text_failed(&repeat->differences))
        return report_error(&(struct error){0});
    (json ? print_json : print)(repeat, &text);
    const int status = output_text(&text);
    if (status != EXIT_DONE)
        return status;
    if (repeat->n_judged < file->n_rows)
        report_warning("%s: %zu rows are not compared: the files of the versions that judged them "
                       "are not here; %s",
                       file->name, file->n_rows - repeat->n_judged,
                       is_online ? "the daemon keeps those of the newest (keep_versions)"
                                 : "give them, or ask the daemon");
    if (repeat->n_different == 0)
        return EXIT_DONE;
    detector_print_kernels(kernels);
    if (strcmp(kernels, file->kernel) != 0)
        report_warning("this machine computes with %s, the daemon did with %s: last digits may "
                       "differ",
                       kernels, text_show(shown, file->kernel, strlen(file->kernel)));
    return report_failure("%s: %zu of %zu rows are not the same", file->name, repeat->n_different,
                          repeat->n_judged);
}

int repeat_incident(const struct repeat_options *options)
{
    CLEANUP(repeat_clear) struct repeat repeat = {0};
    struct error err = {0};

    if (flight_file_read(options->incident, &repeat.file, &err) < 0)
        return report_error(&err);
    const char *model = options->model ? options->model : repeat.file.model;
    const bool is_name = online_is_model_name(model);
    if (!options->model && !is_name)
        return report_failure("%s:1: \"model\" is no name of a model", repeat.file.name);
    int r = is_name ? fetch_judges(&repeat, options->url, model, &err)
                    : load_judge(&repeat, model, &err);
    if (r == 0)
        r = repeat_rows(&repeat, options->json);
    return r < 0 ? report_error(&err) : report(&repeat, is_name, options->json);
}
