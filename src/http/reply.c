#include "http/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DETAIL_MAX    1024
#define RETRY_AFTER_S 1

static const char *title_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"                    },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {408, "Request Timeout"                },
        {409, "Conflict"                       },
        {413, "Content Too Large"              },
        {415, "Unsupported Media Type"         },
        {422, "Unprocessable Content"          },
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"          },
        {503, "Service Unavailable"            },
    };

    for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void reply_clear_body(struct reply *reply)
{
    text_clear(&reply->body);
    share_clear(&reply->share);
}

static void begin_problem(struct reply *reply, unsigned status, const char *format,
                          va_list arguments)
{
    char detail[DETAIL_MAX];

    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    reply_clear_body(reply);
    reply->location[0] = '\0';
    reply->status = status;
    reply->content_type = "application/problem+json";
    if (status == 503)
        reply->retry_after_s = RETRY_AFTER_S;
    text_printf(&reply->body,
                "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                title_of(status), status);
    text_json_string(&reply->body, detail, strlen(detail));
}

void reply_begin_problem(struct reply *reply, unsigned status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    begin_problem(reply, status, format, arguments);
    va_end(arguments);
}

void reply_problem(struct reply *reply, unsigned status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    begin_problem(reply, status, format, arguments);
    va_end(arguments);
    text_puts(&reply->body, "}");
}

void reply_no_memory(struct reply *reply)
{
    reply_clear_body(reply);
    reply->location[0] = '\0';
    reply->status = 503;
    reply->content_type = "application/problem+json";
    reply->retry_after_s = RETRY_AFTER_S;
    reply->body.failed = true;
}

void reply_send_raw(int fd, unsigned status, const char *request_id, const char *detail,
                    bool is_head)
{
    char body[512], head[512];
    char retry_after[32] = "";

    int n_body = snprintf(body, sizeof(body),
                          "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,"
                          "\"detail\":\"%s\"}",
                          title_of(status), status, detail);
    if (status == 503)
        (void)snprintf(retry_after, sizeof(retry_after), "Retry-After: %d\r\n", RETRY_AFTER_S);
    int n_head = snprintf(head, sizeof(head),
                          "HTTP/1.1 %u %s\r\nContent-Type: application/problem+json\r\n"
                          "Content-Length: %d\r\n%sX-Request-Id: %s\r\nConnection: close\r\n\r\n",
                          status, title_of(status), n_body, retry_after, request_id);

    /* A socket that takes no 600 bytes has a client that does not read: nothing is lost. */
    struct iovec parts[] = {
        {.iov_base = head, .iov_len = (size_t)n_head},
        {.iov_base = body, .iov_len = (size_t)n_body},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = is_head ? 1 : 2};
    (void)sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
