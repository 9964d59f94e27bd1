/* What a replay found, as a table for people and as JSON for programs. */
#include "anomalyctl/replayed.h"

#include "anomalyctl/output.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE_WIDTH  100
#define ALARM_WIDTH 14
#define N_BLAMED    3
#define NAME_SIZE   (TEXT_SHOWN_SIZE + 24)

struct blamed {
    const char *feature;
    double share; /* of all blame of the incident that the daemon told of */
};

/* The features with most blame, largest first; returns how many. */
static size_t find_blamed(const struct replayed *replayed, const struct incident *incident,
                          struct blamed blamed[N_BLAMED])
{
    const struct dataset *dataset = &replayed->dataset;
    double total = 0;
    size_t n = 0;

    for (size_t i = 0; i < dataset->n_features; i++) {
        const double blame = incident->blame[i];
        size_t at = n;

        total += blame;
        while (at > 0 && blame > blamed[at - 1].share)
            at--;
        if (!(blame > 0) || at == N_BLAMED)
            continue;
        n += n < N_BLAMED;
        memmove(blamed + at + 1, blamed + at, (n - at - 1) * sizeof(*blamed));
        blamed[at] = (struct blamed){dataset->names[i], blame};
    }
    for (size_t i = 0; i < n; i++)
        blamed[i].share /= total;
    return n;
}

/* "cpu_hog (2)" for the second one; a lone or first one is just "cpu_hog". */
static void write_name(const struct incident *incident, char *name, size_t size)
{
    if (incident->occurrence == 1)
        (void)snprintf(name, size, "%s", incident->fault);
    else
        (void)snprintf(name, size, "%s (%zu)", incident->fault, incident->occurrence);
}

/* The same for people: cut, and without control characters. */
static void write_shown_name(const struct incident *incident, char name[NAME_SIZE])
{
    char fault[TEXT_SHOWN_SIZE];
    struct incident shown = *incident;

    shown.fault = text_show(fault, incident->fault, strlen(incident->fault));
    write_name(&shown, name, NAME_SIZE);
}

static double seconds_to_alarm(const struct replayed *replayed, const struct incident *incident)
{
    const double *timestamps = replayed->dataset.timestamps;

    if (!timestamps || incident->n_flagged == 0)
        return (double)NAN;
    return timestamps[incident->first_flagged] - timestamps[incident->first];
}

static void write_alarm(const struct replayed *replayed, const struct incident *incident,
                        char *alarm, size_t size)
{
    const double seconds = seconds_to_alarm(replayed, incident);

    if (incident->n_flagged == 0)
        (void)snprintf(alarm, size, "missed");
    else if (isfinite(seconds))
        (void)snprintf(alarm, size, "after %.1f s", seconds);
    else
        (void)snprintf(alarm, size, "after %zu rows", incident->first_flagged - incident->first);
}

static void print_incident(const struct replayed *replayed, const struct incident *incident,
                           int name_width, struct text *text)
{
    struct blamed blamed[N_BLAMED];
    const size_t n_blamed = find_blamed(replayed, incident, blamed);
    const size_t start = text->length;
    char name[NAME_SIZE], alarm[48];

    write_shown_name(incident, name);
    write_alarm(replayed, incident, alarm, sizeof(alarm));
    text_printf(text, "%s%*s  %6zu  %7zu  %-*s", name,
                name_width - (int)output_count_characters(name), "", incident->n_rows,
                incident->n_flagged, n_blamed ? ALARM_WIDTH : 0, alarm);
    for (size_t i = 0; i < n_blamed && !text_failed(text); i++) {
        char feature[TEXT_SHOWN_SIZE], entry[TEXT_SHOWN_SIZE + 32];
        (void)snprintf(entry, sizeof(entry), "%s%s %.0f %%", i ? ", " : "  ",
                       text_show(feature, blamed[i].feature, strlen(blamed[i].feature)),
                       100 * blamed[i].share);
        const size_t width = output_count_characters(text->data + start);
        if (i > 0 && width + output_count_characters(entry) > LINE_WIDTH)
            break;
        text_puts(text, entry);
    }
    text_puts(text, "\n");
}

static void print_incidents(const struct replayed *replayed, struct text *text)
{
    int name_width = (int)strlen("fault");
    size_t n_caught = 0;

    for (size_t i = 0; i < replayed->n_incidents; i++) {
        char name[NAME_SIZE];
        write_shown_name(&replayed->incidents[i], name);
        if ((int)output_count_characters(name) > name_width)
            name_width = (int)output_count_characters(name);
        n_caught += replayed->incidents[i].n_flagged > 0;
    }
    text_printf(text, "%-*s  %6s  %7s  %-*s  %s\n", name_width, "fault", "rows", "flagged",
                ALARM_WIDTH, "first alarm", "blamed features");
    for (size_t i = 0; i < replayed->n_incidents; i++)
        print_incident(replayed, &replayed->incidents[i], name_width, text);
    text_printf(text, "\nincidents        %zu of %zu caught\n", n_caught, replayed->n_incidents);
}

void replayed_print(const struct replayed *replayed, struct text *text)
{
    const struct false_alarms *quiet = &replayed->false_alarms;
    const double n_rows = (double)replayed->dataset.n_rows;

    print_incidents(replayed, text);
    if (quiet->n_rows > 0)
        text_printf(text,
                    "false alarms     %zu of %zu rows in %zu quiet stretches, %zu episode%s\n"
                    "false-alarm rate %.2f %%, asked for %g %% (95 %% interval %.2f %% to %.2f %%, "
                    "blocks of %zu rows)\n",
                    quiet->n_alarms, quiet->n_rows, quiet->n_stretches, quiet->n_episodes,
                    quiet->n_episodes == 1 ? "" : "s", 100 * quiet->rate,
                    100 * replayed->false_alarm_rate, 100 * quiet->low, 100 * quiet->high,
                    replayed->block_rows);
    else
        text_puts(text, "false alarms     - (no row is labelled 0)\n");
    text_printf(text, "sent             %.0f rows in %.2f s (%.0f a second, batches of %zu)\n",
                n_rows, replayed->seconds, n_rows / replayed->seconds, replayed->n_batch);
}

static void append_number(struct text *text, const char *key, double value)
{
    text_printf(text, ",\"%s\":", key);
    text_double(text, value);
}

static void append_incident(const struct replayed *replayed, const struct incident *incident,
                            struct text *text)
{
    struct blamed blamed[N_BLAMED];
    const size_t n_blamed = find_blamed(replayed, incident, blamed);
    char name[512];

    write_name(incident, name, sizeof(name));
    text_puts(text, "{\"incident\":");
    text_json_string(text, name, strlen(name));
    text_puts(text, ",\"fault\":");
    text_json_string(text, incident->fault, strlen(incident->fault));
    text_printf(text, ",\"first_row\":%zu,\"rows\":%zu,\"flagged\":%zu,\"caught\":%s",
                incident->first, incident->n_rows, incident->n_flagged,
                incident->n_flagged ? "true" : "false");
    append_number(text, "alarm_after_rows",
                  incident->n_flagged ? (double)(incident->first_flagged - incident->first)
                                      : (double)NAN);
    append_number(text, "alarm_after_seconds", seconds_to_alarm(replayed, incident));
    text_puts(text, ",\"blamed\":[");
    for (size_t i = 0; i < n_blamed; i++) {
        text_puts(text, i ? ",{\"feature\":" : "{\"feature\":");
        text_json_string(text, blamed[i].feature, strlen(blamed[i].feature));
        append_number(text, "share", blamed[i].share);
        text_puts(text, "}");
    }
    text_puts(text, "]}");
}

void replayed_print_json(const struct replayed *replayed, struct text *text)
{
    const struct false_alarms *quiet = &replayed->false_alarms;

    text_puts(text, "{\"model\":");
    text_json_string(text, replayed->model, strlen(replayed->model));
    text_printf(text, ",\"version\":%lld,\"rows\":%zu", replayed->version,
                replayed->dataset.n_rows);
    append_number(text, "seconds", replayed->seconds);
    append_number(text, "false_alarm_rate", replayed->false_alarm_rate);
    text_puts(text, ",\"incidents\":[");
    for (size_t i = 0; i < replayed->n_incidents; i++) {
        text_puts(text, i ? "," : "");
        append_incident(replayed, &replayed->incidents[i], text);
    }
    text_printf(text,
                "],\"quiet\":{\"rows\":%zu,\"stretches\":%zu,\"false_alarms\":%zu,"
                "\"episodes\":%zu,\"block_rows\":%zu",
                quiet->n_rows, quiet->n_stretches, quiet->n_alarms, quiet->n_episodes,
                replayed->block_rows);
    append_number(text, "rate", quiet->rate);
    append_number(text, "rate_low", quiet->low);
    append_number(text, "rate_high", quiet->high);
    text_puts(text, "}}\n");
}
