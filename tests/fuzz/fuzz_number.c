/* fuzz_number - numbers of JSON and of files beside strtod(), and written ones read back. */
#include "base/number.h"
#include "data/json_text.h"
#include "fuzz/fuzz.h"

#include <errno.h>
#include <math.h>

/* What JSON calls a number, and nothing behind it. */
static bool is_json_number(const char *text)
{
    text += *text == '-';
    const char *digits = text;
    text += strspn(text, "0123456789");
    if (text == digits || (*digits == '0' && text - digits > 1))
        return false;
    if (*text == '.') {
        const size_t n = strspn(++text, "0123456789");
        if (n == 0)
            return false;
        text += n;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        const size_t n = strspn(text, "0123456789");
        if (n == 0)
            return false;
        text += n;
    }
    return *text == '\0';
}

static bool is_same(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Alone, and in bulk among others. */
static void check_json(const char *number, size_t length)
{
    static const char before[] = "[0, 0, 0, 0, 0, 0, ", behind[] = ", 0, 0, 0, 0, 0, 0, 0, 0, 0]";
    const size_t size = sizeof(before) + length + sizeof(behind) - 2;
    AUTO_FREE char *bytes = malloc(size);
    struct json_text text = {.begin = number, .at = number, .end = number + length};
    float value = -1, in_bulk = -1;
    double exact = -1;

    must(bytes != NULL);
    const bool is_number = strlen(number) == length && is_json_number(number);
    int r = json_text_number(&text, &value);
    must(is_number ? r == 0 || text.at == (r == -ERANGE ? text.end : number)
                   : r == -EBADMSG || text.at < text.end);
    const double want = strtod(number, NULL);
    if (is_number) {
        must(r == (isinf(want) ? -EBADMSG : isinf((float)want) ? -ERANGE : 0));
        text.at = text.begin;
        must(json_text_double(&text, &exact) == r);
        if (r == 0)
            must(is_same((double)value, (double)(float)want) && is_same(exact, want));
    }

    memcpy(bytes, before, sizeof(before) - 1);
    memcpy(bytes + sizeof(before) - 1, number, length);
    memcpy(bytes + sizeof(before) - 1 + length, behind, sizeof(behind) - 1);
    text =
        (struct json_text){.begin = bytes, .at = bytes + sizeof(before) - 1, .end = bytes + size};
    if (is_number && json_text_numbers(&text, &in_bulk, 1) == 1)
        must(r == 0 && is_same((double)in_bulk, (double)value) &&
             text.at == bytes + sizeof(before) - 1 + length);
}

/* In a file. */
static void check_parsed(const char *number, size_t length)
{
    double value = -1;
    uint64_t whole;
    char *end;

    const int r = number_parse_double(number, length, &value);
    const double want = strtod(number, &end);
    must(r == 0 || r == -EINVAL || r == -ERANGE);
    if (r == 0)
        must(end == number + length && (isnan(want) ? isnan(value) : is_same(value, want)));
    must(number_parse_u64(number, length, &whole) <= 0);
    must(number_parse_duration_us(number, length, &whole) <= 0);
    must(number_parse_size(number, length, &whole) <= 0);
}

static void check_written(const uint8_t *bytes)
{
    char text[NUMBER_MAX];
    double value;
    float single;

    memcpy(&value, bytes, sizeof(value));
    memcpy(&single, bytes, sizeof(single));
    must(number_write_double(text, value) == strlen(text));
    must(isnan(value) || is_same(strtod(text, NULL), value));
    must(number_write_float(text, single) == strlen(text));
    must(isnan(single) || is_same((double)strtof(text, NULL), (double)single));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *number = fuzz_text(bytes, size);

    check_json(number, size);
    check_parsed(number, size);
    if (size >= sizeof(double))
        check_written(bytes);
    return 0;
}
