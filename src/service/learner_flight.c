/* The export of an incident: its record and the rows around it, NDJSON, with all that it takes to
 * judge them again. The format: docs/incidents.md. */
#include "base/clock.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "service/learner_state.h"
#include "store/event_log.h"
#include "store/flight_log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FORMAT_VERSION 1
#define MOST_VERSIONS  64 /* that have judged rows of one incident; of more the hash is not said */

struct rows {
    struct text text;
    size_t n_rows;
    unsigned versions[MOST_VERSIONS];
    size_t n_versions;
};

static void rows_clear(struct rows *rows)
{
    text_clear(&rows->text);
}

static void note_version(struct rows *rows, unsigned version)
{
    for (size_t i = rows->n_versions; i-- > 0;)
        if (rows->versions[i] == version)
            return;
    if (rows->n_versions < MOST_VERSIONS)
        rows->versions[rows->n_versions++] = version;
}

static void put_number(struct text *text, const char *key, double value)
{
    text_printf(text, ",\"%s\":", key);
    text_double(text, value);
}

/* A float is written as the double that it is: whoever reads it as one, of either kind, gets the
 * same float. */
static int put_row(void *userdata, const struct flight_row *row, size_t n_features)
{
    static const char *const parts[] = {
        [FLIGHT_BEFORE] = "before", [FLIGHT_IN] = "in", [FLIGHT_AFTER] = "after"};
    struct rows *rows = userdata;
    struct text *text = &rows->text;

    text_printf(text, "{\"part\":\"%s\",\"timestamp\":%llu.%06llu,\"version\":%u", parts[row->part],
                row->time_us / US_PER_S, row->time_us % US_PER_S, row->version);
    put_number(text, "score", row->score);
    put_number(text, "p_value", row->p_value);
    put_number(text, "reconstruction_error", row->reconstruction_error);
    put_number(text, "threshold", row->threshold);
    text_printf(text, ",\"anomaly\":%s%s", row->score > 1.0 ? "true" : "false",
                row->has_aside ? ",\"set_aside\":true" : "");
    if (row->rules > 0)
        text_printf(text, ",\"rules\":%u", row->rules);
    text_puts(text, ",\"values\":[");
    for (size_t i = 0; i < n_features; i++) {
        text_puts(text, i ? "," : "");
        text_double(text, row->values[i]);
    }
    text_puts(text, "]}\n");
    note_version(rows, row->version);
    rows->n_rows++;
    return text_failed(text) ? -ENOMEM : 0;
}

/* Of the versions that judged its rows, as far as they are known still. */
static int put_versions(struct learner *learner, int64_t model, const struct rows *rows,
                        struct text *text)
{
    AUTO_FREE struct logged_version *versions = NULL;
    const char *separator = "";
    size_t n = 0;

    int r = model_log_versions(learner->database, model, &versions, &n);
    text_puts(text, ",\"versions\":[");
    for (size_t i = 0; i < rows->n_versions; i++) {
        text_printf(text, "%s{\"version\":%u", separator, rows->versions[i]);
        for (size_t j = 0; j < n; j++)
            if (versions[j].version == rows->versions[i])
                text_printf(text, ",\"sha256\":\"%s\"", versions[j].sha256);
        text_puts(text, "}");
        separator = ",";
    }
    text_puts(text, "]");
    return r;
}

static int put_header(struct learner *learner, const struct pupil *pupil, int64_t model,
                      const struct flight *flight, const struct rows *rows, struct text *text)
{
    char kernels[DETECTOR_KERNELS_SIZE];

    detector_print_kernels(kernels);
    text_printf(text, "{\"anomalyd_incident\":%d,\"model\":\"%s\",\"kernel\":\"%s\",\"features\":",
                FORMAT_VERSION, pupil->name, kernels);
    text_puts(text, flight->features);
    text_puts(text, ",\"rules\":");
    text_puts(text, flight->rules);
    const int r = put_versions(learner, model, rows, text);
    text_printf(text,
                ",\"rows\":%zu,\"left_out\":%" PRIu64 ",\"missing\":%" PRIu64 ",\"incident\":",
                rows->n_rows, flight->n_left_out, flight->n_missing);
    return r;
}

int learner_print_flight(struct learner *learner, const char *model, uint64_t incident,
                         struct text *text, struct error *reterr)
{
    CLEANUP(text_clear) struct text record = {0};
    CLEANUP(rows_clear) struct rows rows = {0};
    CLEANUP(flight_clear) struct flight flight = {0};

    int r = learner_print_incident(learner, model, incident, &record, reterr);
    if (r < 0)
        return r;
    struct pupil *pupil = learner_need(learner, model, reterr);
    if (!pupil)
        return LEARNER_NOT_FOUND;
    const struct pupil_view view = pupil_look(pupil);
    r = flight_log_get(learner->database, view.id, incident, &flight);
    if (r == -ENOENT)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "No rows of incident %" PRIu64 " are kept any more: there is room for "
                         "those of the newest incidents of a model",
                         incident);
    if (r == 0)
        r = flight_log_read(learner->database, incident, put_row, &rows);
    if (r == 0)
        r = put_header(learner, pupil, view.id, &flight, &rows, text);
    if (r == -ENOMEM || text_failed(&record))
        return -ENOMEM;
    if (r < 0)
        return learner_store_failed(r, reterr);
    text_append(text, record.data, record.length);
    text_puts(text, "}\n");
    text_append(text, rows.text.data, rows.text.length);
    return 0;
}
