/* anomalyctl diff - how two versions of a model of a running daemon differ. Both files are fetched
 * and compared here, with the daemon's own code. */
#include "anomalyctl/diff.h"

#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/number.h"
#include "base/text.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/model_file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct settings {
    const char *model, *a, *b; /* operands, in this order */
    struct online_options online;
};

static const struct option_row rows[] = {ONLINE_ROWS};

static const struct usage usage = {
    .command = "diff",
    .operand = "MODEL [A B]",
    .operand_offset = offsetof(struct settings, model),
    .description = "Shows how version B of a model differs from version A: when and why each was\n"
                   "made, options, threshold, where the normal of each feature has moved, and the\n"
                   "comparison that let B serve or refused it. Without A and B: how what answers\n"
                   "now differs from what rollback would bring back.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

static void diff_clear(struct diff *diff)
{
    detector_free(diff->a.detector);
    detector_free(diff->b.detector);
    json_decref(diff->a.run);
    json_decref(diff->b.run);
    json_decref(diff->versions);
    difference_clear(&diff->difference);
}

/* ---- which two ---- */

static int read_version(const char *text, const char *model, unsigned *ret_version)
{
    uint64_t number;

    if (number_parse_u64(text, strlen(text), &number) < 0 || number == 0 || number > UINT_MAX) {
        (void)report_failure(
            "diff: %s: must be the number of a version; see anomalyctl versions %s",
            *text ? text : "\"\"", model);
        return EXIT_USAGE;
    }
    *ret_version = (unsigned)number;
    return EXIT_DONE;
}

static json_t *find_version(const json_t *versions, unsigned version, const char *state)
{
    const json_t *list = json_object_get(versions, "versions");

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *listed = json_array_get(list, i);
        const char *is = json_string_value(json_object_get(listed, "state"));
        if (state ? is && strcmp(is, state) == 0
                  : json_integer_value(json_object_get(listed, "version")) == version)
            return listed;
    }
    return NULL;
}

/* Those that were left out. */
static int choose(struct diff *diff, struct error *reterr)
{
    const json_t *former = find_version(diff->versions, 0, "former");
    const json_t *live = find_version(diff->versions, 0, "live");

    if (diff->a.version != 0)
        return 0;
    if (!former || !live)
        return error_set(reterr, -ENOENT,
                         "diff: %s has no former version to compare with; give two: anomalyctl "
                         "diff %s A B (see anomalyctl versions %s)",
                         diff->model, diff->model, diff->model);
    diff->a.version = (unsigned)json_integer_value(json_object_get(former, "version"));
    diff->b.version = (unsigned)json_integer_value(json_object_get(live, "version"));
    return 0;
}

/* ---- fetching ---- */

static int get(struct client *client, const struct diff *diff, const char *rest, json_t **ret_reply,
               struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};

    text_printf(&path, "/v1/models/%s%s", diff->model, rest);
    return text_failed(&path) ? -ENOMEM : client_get(client, path.data, ret_reply, reterr);
}

static int get_detector(struct client *client, const struct diff *diff, struct diff_side *side,
                        struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0}, name = {0};
    const char *data;
    size_t size;

    text_printf(&path, "/v1/models/%s/versions/%u/file", diff->model, side->version);
    text_printf(&name, "version %u of %s", side->version, diff->model);
    if (text_failed(&path) || text_failed(&name))
        return -ENOMEM;
    int r = client_get_bytes(client, path.data, &data, &size, reterr);
    return r < 0 ? r : model_file_parse(name.data, data, size, &side->detector, reterr);
}

static int get_side(struct client *client, const struct diff *diff, struct diff_side *side,
                    struct error *reterr)
{
    char rest[64];

    int r = get_detector(client, diff, side, reterr);
    if (r < 0)
        return r;
    side->listed = find_version(diff->versions, side->version, NULL);
    const long long run = json_integer_value(json_object_get(side->listed, "run"));
    if (run == 0)
        return 0;
    (void)snprintf(rest, sizeof(rest), "/runs/%lld", run);
    return get(client, diff, rest, &side->run, reterr);
}

static void judge(struct diff_side *side, double rate)
{
    const struct calibration *calibration = detector_calibration(side->detector);

    side->threshold = calibration_threshold(calibration, rate);
    side->threshold_basis = calibration_basis_name(calibration_basis(calibration, rate));
}

static int fetch(struct client *client, struct diff *diff, struct error *reterr)
{
    json_auto_t *model = NULL;

    int r = get(client, diff, "/versions", &diff->versions, reterr);
    if (r == 0)
        r = choose(diff, reterr);
    if (r == 0)
        r = get_side(client, diff, &diff->a, reterr);
    if (r == 0)
        r = get_side(client, diff, &diff->b, reterr);
    if (r == 0)
        r = get(client, diff, "", &model, reterr);
    if (r < 0)
        return r;
    diff->false_alarm_rate = json_number_value(json_object_get(model, "false_alarm_rate"));
    if (!(diff->false_alarm_rate > 0)) /* it does not serve */
        diff->false_alarm_rate = detector_summary(diff->b.detector)->recipe.false_alarm_rate;
    judge(&diff->a, diff->false_alarm_rate);
    judge(&diff->b, diff->false_alarm_rate);
    return difference_make(diff->a.detector, diff->b.detector, &diff->difference);
}

static int print(const struct diff *diff, bool as_json)
{
    CLEANUP(text_clear) struct text text = {0};

    if (!as_json) {
        diff_print(diff, &text);
        return output_text(&text);
    }
    json_auto_t *found = diff_json(diff);
    AUTO_FREE char *written = found ? json_dumps(found, JSON_COMPACT) : NULL;
    if (!written)
        return report_error(&(struct error){0});
    text_printf(&text, "%s\n", written);
    return output_text(&text);
}

int diff_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(diff_clear) struct diff diff = {0};
    struct settings settings = {.online = ONLINE_DEFAULTS};
    struct error err = {0};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = online_check_model("diff", settings.model);
    if (status == EXIT_DONE && settings.a)
        status = read_version(settings.a, settings.model, &diff.a.version);
    if (status == EXIT_DONE && settings.b)
        status = read_version(settings.b, settings.model, &diff.b.version);
    if (status == EXIT_DONE)
        status = online_connect(&settings.online, &client);
    if (status != EXIT_DONE)
        return status;
    diff.model = settings.model;
    if (fetch(client, &diff, &err) < 0)
        return report_error(&err);
    return print(&diff, settings.online.json);
}
