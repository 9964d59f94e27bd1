#include "http/request_head.h"

#include "base/number.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define METHOD_MAX 32   /* bytes: none is longer */
#define COOKIE_MAX 4096 /* bytes: libmicrohttpd copies them within the 16 KiB */

static int refuse(struct head_refusal *ret_refusal, unsigned status, const char *detail)
{
    *ret_refusal = (struct head_refusal){.status = status, .detail = detail};
    return -EBADMSG;
}

/* RFC 9110, 5.6.2 */
static const bool is_token_char[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

static size_t token_length(const char *text, size_t size)
{
    size_t n = 0;
    while (n < size && is_token_char[(unsigned char)text[n]])
        n++;
    return n;
}

static bool name_is(const char *name, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncasecmp(name, wanted, length) == 0;
}

static int check_count(const struct request_head *head, struct head_refusal *ret_refusal)
{
    if (head->n_fields > REQUEST_HEAD_MAX_FIELDS)
        return refuse(ret_refusal, 431, "More than 64 header fields, query parameters and cookies");
    return 0;
}

/* METHOD SP TARGET SP HTTP/1.x */
static int check_first_line(struct request_head *head, const char *line, size_t length,
                            struct head_refusal *ret_refusal)
{
    static const char not_http[] = "The first line is not `METHOD TARGET HTTP/1.1`; send HTTP/1.1 "
                                   "without TLS";
    size_t method = token_length(line, length);
    if (method == 0 || method > METHOD_MAX || method == length || line[method] != ' ')
        return refuse(ret_refusal, 400, not_http);

    const char *target = line + method + 1;
    size_t rest = length - method - 1;
    const char *space = memchr(target, ' ', rest);
    if (!space || space == target)
        return refuse(ret_refusal, 400, not_http);

    size_t version = rest - (size_t)(space - target) - 1;
    if (version != 8 ||
        (memcmp(space + 1, "HTTP/1.1", 8) != 0 && memcmp(space + 1, "HTTP/1.0", 8) != 0))
        return refuse(ret_refusal, 400, not_http);
    head->is_http_1_1 = space[8] == '1';

    for (const char *c = target; c < space; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return refuse(ret_refusal, 400, "The target holds a control character; escape it");
        head->n_fields += *c == '?' || *c == '&';
    }
    return check_count(head, ret_refusal);
}

static int check_length(struct request_head *head, const char *value, size_t size,
                        struct head_refusal *ret_refusal)
{
    if (head->has_length)
        return refuse(ret_refusal, 400, "Content-Length is given twice; send it once");
    head->has_length = true;

    if (size == 0 || strspn(value, "0123456789") < size)
        return refuse(ret_refusal, 400, "Content-Length is not a number of bytes");
    if (number_parse_u64(value, size, &head->content_length) < 0 ||
        head->content_length > INT64_MAX)
        return refuse(ret_refusal, 413, "Content-Length is far above any limit; send less");
    return 0;
}

static int check_transfer_encoding(struct request_head *head, const char *value, size_t size,
                                   struct head_refusal *ret_refusal)
{
    if (head->has_transfer_encoding || !name_is(value, size, "chunked"))
        return refuse(ret_refusal, 400, "The only Transfer-Encoding taken is chunked");
    head->has_transfer_encoding = true;
    return 0;
}

static int check_cookie(struct request_head *head, const char *value, size_t size,
                        struct head_refusal *ret_refusal)
{
    if (size > COOKIE_MAX)
        return refuse(ret_refusal, 431, "The field Cookie is larger than 4 KiB; send none");
    for (size_t i = 0; i < size; i++)
        head->n_fields += value[i] == ';' || value[i] == ',';
    return check_count(head, ret_refusal);
}

int request_head_check_field(struct request_head *head, const char *name, size_t name_length,
                             const char *value, size_t value_length,
                             struct head_refusal *ret_refusal)
{
    if (name_length == 0 || token_length(name, name_length) < name_length)
        return refuse(ret_refusal, 400, "A header line is not `Name: value`");
    head->n_fields++;
    int r = check_count(head, ret_refusal);
    if (r < 0)
        return r;
    if (name_is(name, name_length, "content-length"))
        return check_length(head, value, value_length, ret_refusal);
    if (name_is(name, name_length, "transfer-encoding"))
        return check_transfer_encoding(head, value, value_length, ret_refusal);
    if (name_is(name, name_length, "cookie"))
        return check_cookie(head, value, value_length, ret_refusal);
    if (!name_is(name, name_length, "host"))
        return 0;
    if (head->has_host)
        return refuse(ret_refusal, 400, "Host is given twice; send it once");
    head->has_host = true;
    return 0;
}

/* A line as it was sent, without its end. */
static int check_line(struct request_head *head, const char *line, size_t length,
                      struct head_refusal *ret_refusal)
{
    if (*line == ' ' || *line == '\t')
        return refuse(ret_refusal, 400, "A header field is folded over two lines; use one");
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return refuse(ret_refusal, 400, "A header line is not `Name: value`");

    const char *value = colon + 1;
    size_t size = length - (size_t)(value - line);
    if (memchr(value, '\0', size) || memchr(value, '\r', size))
        return refuse(ret_refusal, 400, "A header value holds a control character");
    while (size > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        size--;
    }
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
        size--;
    return request_head_check_field(head, line, (size_t)(colon - line), value, size, ret_refusal);
}

int request_head_check_end(const struct request_head *head, struct head_refusal *ret_refusal)
{
    if (head->is_http_1_1 && !head->has_host)
        return refuse(ret_refusal, 400, "HTTP/1.1 requires the header field Host");
    if (!head->is_http_1_1 && head->has_transfer_encoding)
        return refuse(ret_refusal, 400, "HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1");
    if (head->has_length && head->has_transfer_encoding)
        return refuse(ret_refusal, 400,
                      "Content-Length and Transfer-Encoding exclude each other; send one");
    return 0;
}

/* Before the first line is complete: tells what can never become one, so that a TLS client learns
 * at once that it is wrong here. */
static int check_start(const char *bytes, size_t size, struct head_refusal *ret_refusal)
{
    size_t method = token_length(bytes, size);
    if (size == 1 && *bytes == '\r')
        return 0;
    if ((method < size && (method == 0 || bytes[method] != ' ')) || method > METHOD_MAX)
        return refuse(ret_refusal, 400, "This is not HTTP; send HTTP/1.1 without TLS");
    return 0;
}

static int check_lines(const char *bytes, size_t size, struct head_refusal *ret_refusal)
{
    struct request_head head = {0};
    bool is_first = true;

    for (size_t at = 0;;) {
        const char *line = bytes + at;
        const char *newline = memchr(line, '\n', size - at);
        if (!newline)
            return is_first ? check_start(line, size - at, ret_refusal) : 0;
        size_t length = (size_t)(newline - line);
        at += length + 1;
        if (length > 0 && line[length - 1] == '\r')
            length--;

        int r = 0;
        if (length == 0 && is_first)
            continue; /* RFC 9112, 2.2: empty lines before a request are skipped */
        if (length == 0) {
            r = request_head_check_end(&head, ret_refusal);
            return r < 0 ? r : 1;
        }
        if (is_first)
            r = check_first_line(&head, line, length, ret_refusal);
        else
            r = check_line(&head, line, length, ret_refusal);
        if (r < 0)
            return r;
        is_first = false;
    }
}

int request_head_check(const char *bytes, size_t size, struct head_refusal *ret_refusal)
{
    size_t seen = size < REQUEST_HEAD_MAX ? size : REQUEST_HEAD_MAX;
    int r = check_lines(bytes, seen, ret_refusal);

    if (r == 0 && size >= REQUEST_HEAD_MAX)
        return refuse(ret_refusal, 431,
                      "The request head is larger than 8 KiB; send a shorter one");
    return r;
}
