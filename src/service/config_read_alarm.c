/* The keys of alarms, and of when there shall be none. */
#include "base/number.h"
#include "service/alarm.h"
#include "service/calendar.h"
#include "service/config.h"
#include "service/config_option.h"
#include "service/config_read.h"

#include <errno.h>
#include <string.h>

/* "3 of 5": the two words around the one in the middle, which has blanks about it. -EINVAL. */
static int split_at(const char *text, const char *middle, const char **ret_first,
                    size_t *ret_n_first, const char **ret_last)
{
    static const char blanks[] = " \t";
    const size_t n_first = strcspn(text, blanks), n_middle = strlen(middle);
    const char *at = text + n_first + strspn(text + n_first, blanks);

    if (strncmp(at, middle, n_middle) != 0 || !strchr(blanks, at[n_middle]) || !at[n_middle])
        return -EINVAL;
    *ret_first = text;
    *ret_n_first = n_first;
    *ret_last = at + n_middle + strspn(at + n_middle, blanks);
    return 0;
}

int config_read_alarm(const struct config_value *value, void *field, struct error *reterr)
{
    struct alarm_policy *policy = field;
    const char *first, *last;
    size_t n_first;
    uint64_t n = 0, of = 1;

    if (strcmp(value->text, "never") != 0 &&
        (split_at(value->text, "of", &first, &n_first, &last) < 0 ||
         number_parse_u64(first, n_first, &n) < 0 ||
         number_parse_u64(last, strlen(last), &of) < 0 || n < 1 || n > of || of > ALARM_MOST_ROWS))
        return error_set(reterr, -EINVAL,
                         "is neither never nor rows of rows: write 3 of 5, at most %d of %d",
                         ALARM_MOST_ROWS, ALARM_MOST_ROWS);
    policy->n = (unsigned)n;
    policy->of = (unsigned)of;
    return 0;
}

int config_read_alarm_clear(const struct config_value *value, void *field, struct error *reterr)
{
    struct alarm_policy *policy = field;
    const char *first, *last;
    size_t n_first;
    uint64_t rows = 0;
    double score = 0;

    if (split_at(value->text, "below", &first, &n_first, &last) < 0 ||
        number_parse_u64(first, n_first, &rows) < 0 ||
        number_parse_double(last, strlen(last), &score) < 0 || rows < 1 ||
        rows > ALARM_MOST_CLEAR || !(score > 0 && score <= 1))
        return error_set(reterr, -EINVAL,
                         "is not rows below a score: write 5 below 0.8, with from 1 to %d rows and "
                         "a score above 0, at most 1",
                         ALARM_MOST_CLEAR);
    policy->clear_rows = (unsigned)rows;
    policy->clear_score = score;
    return 0;
}

int config_read_maintenance(const struct config_value *value, void *field, struct error *reterr)
{
    return calendar_parse(value->text, field, reterr);
}

int config_read_maintenance_skips(const struct config_value *value, void *field,
                                  struct error *reterr)
{
    static const struct {
        const char *text;
        unsigned skips;
    } words[] = {
        {"alarms",           MAINTENANCE_ALARMS                       },
        {"learning",         MAINTENANCE_LEARNING                     },
        {"alarms, learning", MAINTENANCE_ALARMS | MAINTENANCE_LEARNING},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(value->text, words[i].text) == 0) {
            *(unsigned *)field = words[i].skips;
            return 0;
        }
    return error_set(reterr, -EINVAL, "is not alarms, or learning, or alarms, learning");
}
