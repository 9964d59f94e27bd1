#include "service/trainer_report.h"

#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"progress", "warning", "error", "done"};

void trainer_report_print(const struct trainer_report *report, struct text *text)
{
    text_printf(text, "{\"report\": \"%s\"", kinds[report->kind]);
    if (report->kind == TRAINER_REPORT_PROGRESS) {
        text_puts(text, ", \"done\": ");
        text_double(text, report->done);
        text_printf(text, ", \"network\": %zu, \"networks\": %zu, \"epoch\": %zu, \"epochs\": %zu",
                    report->network, report->n_networks, report->epoch, report->epochs);
        text_puts(text, ", \"loss\": ");
        text_double(text, report->loss);
        text_puts(text, ", \"validation_loss\": ");
        text_double(text, report->validation_loss);
    } else if (report->kind != TRAINER_REPORT_DONE) {
        text_puts(text, ", \"text\": ");
        text_json_string(text, report->text, strlen(report->text));
    }
    text_puts(text, "}\n");
}

static int read_kind(const json_t *object, enum trainer_report_kind *ret_kind)
{
    const char *name = json_string_value(json_object_get(object, "report"));

    for (size_t i = 0; name && i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(name, kinds[i]) != 0)
            continue;
        *ret_kind = (enum trainer_report_kind)i;
        return 0;
    }
    return -EINVAL;
}

static bool read_count(const json_t *object, const char *key, size_t *ret_count)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_count = (size_t)json_integer_value(value);
    return true;
}

/* null is NaN. */
static bool read_real(const json_t *object, const char *key, double *ret_real)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_number(value) && !json_is_null(value))
        return false;
    *ret_real = json_is_null(value) ? (double)NAN : json_number_value(value);
    return true;
}

static bool read_progress(const json_t *object, struct trainer_report *report)
{
    return read_count(object, "network", &report->network) &&
           read_count(object, "networks", &report->n_networks) &&
           read_count(object, "epoch", &report->epoch) &&
           read_count(object, "epochs", &report->epochs) &&
           read_real(object, "loss", &report->loss) &&
           read_real(object, "validation_loss", &report->validation_loss) &&
           read_real(object, "done", &report->done) && report->done >= 0;
}

/* What does not fit is cut off, between characters. */

static bool read_text(const json_t *object, struct trainer_report *report)
{
    const char *said = json_string_value(json_object_get(object, "text"));

    if (!said)
        return false;
    size_t length = strnlen(said, sizeof(report->text) - 1);
    while (length > 0 && ((unsigned char)said[length] & 0xC0) == 0x80)
        length--;
    memcpy(report->text, said, length);
    report->text[length] = '\0';
    return true;
}

int trainer_report_parse(const char *line, size_t length, struct trainer_report *ret_report)
{
    json_auto_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    struct trainer_report report = {0};

    if (!object || read_kind(object, &report.kind) < 0)
        return -EINVAL;
    if (report.kind == TRAINER_REPORT_PROGRESS && !read_progress(object, &report))
        return -EINVAL;
    report.done = fmin(report.done, 1);
    if ((report.kind == TRAINER_REPORT_WARNING || report.kind == TRAINER_REPORT_ERROR) &&
        !read_text(object, &report))
        return -EINVAL;
    *ret_report = report;
    return 0;
}
