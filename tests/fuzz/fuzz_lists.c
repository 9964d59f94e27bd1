/* fuzz_lists - what people write in one line: moments, lists of features, windows of maintenance.
 * The first byte says what the rest is. */
#include "base/text.h"
#include "data/feature_list.h"
#include "data/timestamp.h"
#include "fuzz/fuzz.h"
#include "service/calendar.h"

#include <errno.h>
#include <math.h>

static void check_moment(const char *text, size_t length)
{
    double seconds = -1;

    const int r = timestamp_parse(text, length, &seconds);
    must(r == 0 || r == -EINVAL);
    /* the years 1 to 9999 */
    must(r < 0 || (seconds >= -62135596800.0 && seconds <= 253402300800.0));
}

/* Each name, written as such a list wants it, is read as the same. */
static void check_features(const char *text)
{
    CLEANUP(feature_list_clear) struct feature_list list = {0};
    struct feature_item item;
    struct error error = {0};
    int r = feature_list_open(&list, text);

    must(r == 0);
    while ((r = feature_list_next(&list, &item, &error)) > 0) {
        CLEANUP(feature_list_clear) struct feature_list again = {0};
        CLEANUP(text_clear) struct text written = {0};
        struct feature_item same;
        AUTO_FREE char *name = strndup(item.name, item.length);

        must(name != NULL && feature_item_hint(&item) != NULL);
        if (!*name)
            continue;
        feature_list_append(&written, name);
        must(!text_failed(&written) && feature_list_open(&again, written.data) == 0);
        must(feature_list_next(&again, &same, &error) == 1);
        must(same.length == item.length && memcmp(same.name, name, same.length) == 0);
    }
    must(r == 0 || (r == -EINVAL && error.text[0]));
}

static void check_calendar(const char *text)
{
    struct calendar calendar = {0};
    struct error error = {0};

    const int r = calendar_parse(text, &calendar, &error);
    must(r == 0 || (r == -EINVAL && error.text[0] && calendar.n_windows == 0));
    must(calendar.n_windows <= CALENDAR_MOST_WINDOWS);
    for (uint64_t hour = 0; hour < UINT64_C(7) * 24; hour++)
        (void)calendar_is_on(&calendar, (1700000000 + 3600 * hour) * 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_FREE char *text = fuzz_text(bytes + 1, size - 1);
    AUTO_FREE char *block = fuzz_block(bytes + 1, size - 1);

    if (bytes[0] == 't')
        check_moment(block, size - 1);
    else if (bytes[0] == 'f')
        check_features(text);
    else if (bytes[0] == 'c')
        check_calendar(text);
    return 0;
}
