#include "http/request.h"

#include "base/number.h"
#include "http/request_id.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static const char *skip_space(const char *text)
{
    return text + strspn(text, " \t");
}

const char *request_path(const char *target)
{
    static const char *const schemes[] = {"http://", "https://"};

    if (*target == '/')
        return target;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], length) != 0)
            continue;
        const char *path = strchr(target + length, '/');
        return path ? path : "/";
    }
    return target;
}

/* `; charset=utf-8` and whatever else stands behind a media type. */
static bool charset_is_utf8(const char *parameters)
{
    while ((parameters = strchr(parameters, ';'))) {
        parameters = skip_space(parameters + 1);
        if (strncasecmp(parameters, "charset=", 8) != 0)
            continue;
        const char *value = parameters + 8;
        value += *value == '"';
        size_t length = strcspn(value, "\"; \t");
        bool is_utf8 = (length == 5 && strncasecmp(value, "utf-8", 5) == 0) ||
                       (length == 4 && strncasecmp(value, "utf8", 4) == 0) ||
                       (length == 8 && strncasecmp(value, "us-ascii", 8) == 0);
        if (!is_utf8)
            return false;
    }
    return true;
}

static bool type_is(const char *type, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncasecmp(type, wanted, length) == 0;
}

static bool is_among(const char *type, size_t length, const char *const *known)
{
    for (; *known; known++)
        if (type_is(type, length, *known))
            return true;
    return false;
}

static const char *const lines_types[] = {"application/x-ndjson", "application/ndjson",
                                          "application/jsonl", NULL};
static const char *const npy_types[] = {"application/x-npy", NULL};

/* The form type is what `curl -d` sends; the body is still taken as what the route wants. */
static bool is_type(enum request_body body, const char *type, size_t length)
{
    static const char *const json[] = {"application/json", "application/x-www-form-urlencoded",
                                       "text/plain", NULL};
    static const char *const model[] = {"application/octet-stream",
                                        "application/x-www-form-urlencoded", NULL};

    if (length == 0 || is_among(type, length, body == BODY_MODEL ? model : json))
        return true;
    return body == BODY_ROWS &&
           (is_among(type, length, lines_types) || is_among(type, length, npy_types));
}

const char *request_check_body_type(enum request_body body, const char *content_type,
                                    const char *content_encoding)
{
    static const char *const wrong[] = {
        [BODY_JSON] = "The body must be JSON; send Content-Type: application/json",
        [BODY_ROWS] = "The body must be JSON, NDJSON or .npy; send Content-Type: application/json, "
                      "application/x-ndjson or application/x-npy",
        [BODY_MODEL] = "The body must be a model file; send Content-Type: "
                       "application/octet-stream",
    };

    if (body == BODY_NONE)
        return NULL;
    if (content_encoding && *content_encoding && strcasecmp(content_encoding, "identity") != 0)
        return "The body is compressed; send it without Content-Encoding";
    if (!content_type)
        return NULL;

    content_type = skip_space(content_type);
    const size_t length = strcspn(content_type, "; \t");
    if (!is_type(body, content_type, length))
        return wrong[body];
    if (body != BODY_MODEL && !charset_is_utf8(content_type + length))
        return "The body must be UTF-8; send Content-Type: application/json; charset=utf-8";
    return NULL;
}

enum request_rows request_rows_of(const char *content_type)
{
    if (!content_type)
        return ROWS_JSON;
    content_type = skip_space(content_type);
    const size_t length = strcspn(content_type, "; \t");
    if (is_among(content_type, length, lines_types))
        return ROWS_LINES;
    return is_among(content_type, length, npy_types) ? ROWS_NPY : ROWS_JSON;
}

/* "; q=0.5" behind a type, up to the next comma; 1 unless it says otherwise. */
static double quality_of(const char *parameters)
{
    const char *const end = parameters + strcspn(parameters, ",");
    double quality = 1.0;

    while ((parameters = memchr(parameters, ';', (size_t)(end - parameters)))) {
        parameters = skip_space(parameters + 1);
        if (strncasecmp(parameters, "q=", 2) != 0)
            continue;
        parameters += 2;
        if (number_parse_double(parameters, strspn(parameters, "0123456789."), &quality) < 0)
            quality = 0.0;
    }
    return quality;
}

/* Below 0: it is not named. */
static double quality_named(const char *accept, const char *type)
{
    while (accept && *accept) {
        accept = skip_space(accept);
        const size_t length = strcspn(accept, ",; \t");
        if (type_is(accept, length, type))
            return quality_of(accept + length);
        accept += strcspn(accept, ",");
        accept += *accept == ',';
    }
    return -1.0;
}

double request_accepts(const char *accept, const char *type)
{
    return fmax(quality_named(accept, type), 0.0);
}

double request_accepts_json(const char *accept)
{
    static const char *const ranges[] = {"application/json", "application/*", "*/*"};
    double quality = -1.0;

    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges) && quality < 0.0; i++)
        quality = quality_named(accept, ranges[i]);
    return fmax(quality, 0.0);
}

const char *request_who(const struct request *request, char ret_who[REQUEST_WHO_SIZE])
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_storage room;
    } peer = {0};
    socklen_t size = sizeof(peer);
    const char *who = NULL;

    if (getpeername(request->fd, &peer.any, &size) == 0) {
        if (peer.any.sa_family == AF_INET)
            who = inet_ntop(AF_INET, &peer.ipv4.sin_addr, ret_who, REQUEST_WHO_SIZE);
        if (peer.any.sa_family == AF_INET6)
            who = inet_ntop(AF_INET6, &peer.ipv6.sin6_addr, ret_who, REQUEST_WHO_SIZE);
        if (peer.any.sa_family == AF_UNIX)
            who = memcpy(ret_who, "unix", sizeof("unix"));
    }
    return who ? who : memcpy(ret_who, "http", sizeof("http"));
}

bool request_id_is_sane(const char *id)
{
    size_t length = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789._-");
    return length > 0 && length <= REQUEST_ID_SIZE - 1 && id[length] == '\0';
}
