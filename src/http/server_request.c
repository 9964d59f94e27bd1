#include "http/server_request.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/number.h"
#include "http/connections.h"
#include "http/later.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/stream.h"
#include "service/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define STREAM_BLOCK  ((size_t)4096) /* bytes of a stream at a time */
#define READ_MARGIN_S 5u             /* the library's time-out is to come after ours */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

/* The library has one time-out for reading and writing; with ours (http/deadline.h) it may only end
 * what hangs while writing. WRITE_STALL_S is what a connection starts with, and nearly always right
 * for both: others go to a list that the library walks in each round. */
static void give_time_to_read(struct connection *connection, struct MHD_Connection *mhd)
{
    uint64_t timeout_us = service_request_timeout_us(connection->owner->context.service);
    unsigned timeout_s = (unsigned)(timeout_us / US_PER_S) + READ_MARGIN_S;

    connection->has_long_timeout = timeout_s > WRITE_STALL_S;
    if (connection->has_long_timeout)
        (void)MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, timeout_s);
}

static void give_time_to_write(struct connection *connection, struct MHD_Connection *mhd)
{
    if (connection->has_long_timeout)
        (void)MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, WRITE_STALL_S);
    connection->has_long_timeout = false;
}

void *server_begin_request(void *userdata, const char *uri, struct MHD_Connection *mhd)
{
    (void)userdata;
    struct connection *connection = connection_of(mhd);

    connection->owner->n_requests++;
    exchange_begin(&connection->exchange, &connection->owner->context, uri);
    give_time_to_read(connection, mhd);
    return connection;
}

void server_end_request(void *userdata, struct MHD_Connection *mhd, void **request_context,
                        enum MHD_RequestTerminationCode code)
{
    (void)userdata;
    (void)mhd;
    (void)code;
    struct connection *connection = *request_context;

    reply_clear_body(&connection->reply);
    stream_free(connection->reply.stream);
    connection->reply = (struct reply){0};
    exchange_idle(&connection->exchange, &connection->owner->context);
}

static enum MHD_Result keep_parameter(void *userdata, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    (void)kind;
    struct request *request = userdata;

    if (*name == '\0' && !value)
        return MHD_YES; /* nothing between two & */
    if (request->n_parameters < REQUEST_MAX_PARAMETERS)
        request->parameters[request->n_parameters] =
            (struct request_parameter){.name = name, .value = value ? value : ""};
    request->n_parameters++;
    return MHD_YES;
}

/* libmicrohttpd wants bytes of a stream. */
static ssize_t read_stream(void *userdata, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    struct stream *stream = userdata;
    const ssize_t n = stream_read(stream, buffer, size, clock_monotonic_us());

    if (n < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    stream->is_aside = n == 0;
    if (n == 0)
        MHD_suspend_connection(stream->connection);
    return n;
}

static void free_stream(void *userdata)
{
    stream_free(userdata);
}

static struct MHD_Response *make_stream(struct stream *stream)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, stream, free_stream);

    if (!response)
        stream_free(stream);
    return response;
}

/* NULL: no memory. The reply's body is the response's then. */
static struct MHD_Response *make_response(struct reply *reply)
{
    static char no_memory[] = REPLY_NO_MEMORY_BODY;

    if (reply->stream)
        return make_stream(TAKE(reply->stream));
    if (reply->has_file) { /* goes from the disk to the socket, piece by piece */
        struct MHD_Response *file = MHD_create_response_from_fd64(reply->file_size, reply->file_fd);
        if (!file)
            close_fd(&reply->file_fd);
        return file;
    }
    if (text_failed(&reply->body))
        return MHD_create_response_from_buffer(sizeof(no_memory) - 1, no_memory,
                                               MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->body.length, reply->body.data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        text_clear(&reply->body);
    reply->body = (struct text){0};
    return response;
}

/* Hands the reply to libmicrohttpd. MHD_NO closes the connection: there is no memory for an
 * answer. */
static enum MHD_Result send_reply(struct connection *connection, struct MHD_Connection *mhd)
{
    struct exchange_context *context = &connection->owner->context;
    struct reply *reply = &connection->reply;
    if (text_failed(&reply->body))
        reply_no_memory(reply);
    const bool is_stream = reply->stream;
    if (is_stream)
        reply->stream->connection = mhd;
    struct MHD_Response *response = make_response(reply);
    if (!response)
        return MHD_NO;

    bool ok = MHD_add_response_header(response, "Content-Type", reply->content_type) &&
              MHD_add_response_header(response, "X-Request-Id", connection->exchange.id);
    if (reply->allow[0] != '\0')
        ok = ok && MHD_add_response_header(response, "Allow", reply->allow);
    if (reply->location[0] != '\0')
        ok = ok && MHD_add_response_header(response, "Location", reply->location);
    if (reply->has_file) {
        char disposition[REPLY_FILE_NAME_SIZE + 32];
        (void)snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"",
                       reply->file_name);
        ok = ok && MHD_add_response_header(response, "Content-Disposition", disposition);
    }
    if (reply->retry_after_s > 0) {
        char retry_after[NUMBER_MAX];
        (void)snprintf(retry_after, sizeof(retry_after), "%u", reply->retry_after_s);
        ok = ok && MHD_add_response_header(response, "Retry-After", retry_after);
    }
    if (is_stream)
        ok = ok && MHD_add_response_header(response, "Cache-Control", "no-store");
    if (connection->must_linger || is_stream || service_is_draining(context->service))
        ok = ok && MHD_add_response_header(response, "Connection", "close");

    give_time_to_write(connection, mhd);
    exchange_end(&connection->exchange, context, reply->status);
    enum MHD_Result result = ok ? MHD_queue_response(mhd, reply->status, response) : MHD_NO;
    MHD_destroy_response(response);
    return result;
}

/* A head on its way through the fields that libmicrohttpd has read. */
struct head_walk {
    struct request_head check;
    struct head_refusal refusal;
    int result; /* 0, or -EBADMSG: there is a refusal */
    struct exchange_head *head;
    const char *last_event_id;
};

static bool name_is(const char *name, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncasecmp(name, wanted, length) == 0;
}

/* Of a field that is given twice, the first counts. */
static void keep(const char **kept, const char *value)
{
    if (!*kept)
        *kept = value;
}

static void keep_field(struct head_walk *walk, const char *name, size_t length, const char *value)
{
    struct exchange_head *head = walk->head;

    if (name_is(name, length, "Content-Type"))
        keep(&head->content_type, value);
    else if (name_is(name, length, "Content-Encoding"))
        keep(&head->content_encoding, value);
    else if (name_is(name, length, "Accept"))
        keep(&head->accept, value);
    else if (name_is(name, length, "X-Request-Id"))
        keep(&head->request_id, value);
    else if (name_is(name, length, "Last-Event-ID"))
        keep(&walk->last_event_id, value);
}

static enum MHD_Result take_field(void *userdata, enum MHD_ValueKind kind, const char *name,
                                  size_t name_length, const char *value, size_t value_length)
{
    (void)kind;
    struct head_walk *walk = userdata;

    if (!value)
        value = "";
    if (walk->result == 0)
        walk->result = request_head_check_field(&walk->check, name, name_length, value,
                                                value_length, &walk->refusal);
    keep_field(walk, name, name_length, value);
    return MHD_YES;
}

/* The library takes more than we do: it serves what follows a body of unclear length. Every head
 * of a connection goes through here; the first one has been checked already. */
static void walk_head(struct MHD_Connection *mhd, struct head_walk *walk)
{
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_field, walk);
    if (walk->result == 0)
        walk->result = request_head_check_end(&walk->check, &walk->refusal);
    walk->head->refusal = walk->result < 0 ? &walk->refusal : NULL;
    walk->head->content_length = walk->check.content_length;
}

static enum MHD_Result receive_head(struct connection *connection, struct MHD_Connection *mhd,
                                    const char *path, const char *method, const char *version)
{
    struct request *request = &connection->exchange.request;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct exchange_head head = {
        .path = path, .method = method, .size = info ? info->header_size : 0};

    (void)MHD_get_connection_values(mhd, MHD_GET_ARGUMENT_KIND, keep_parameter, request);
    struct head_walk walk = {
        .check = {.n_fields = request->n_parameters,
                  .is_http_1_1 = strcmp(version, "HTTP/1.1") == 0},
        .head = &head,
    };
    walk_head(mhd, &walk);
    request->fd = connection->fd;
    request->last_event_id = walk.last_event_id;
    if (exchange_take_head(&connection->exchange, &connection->owner->context, &head,
                           &connection->reply))
        return MHD_YES;

    /* An answer before the end of the request closes the connection, so without a body it waits
     * for the end, which is the next call. */
    connection->must_linger =
        head.refusal || head.content_length > 0 || walk.check.has_transfer_encoding;
    return connection->must_linger ? send_reply(connection, mhd) : MHD_YES;
}

/* The library looks at the connection no more, until the worker has the answer. */
static void put_aside(struct connection *connection, struct MHD_Connection *mhd)
{
    connection->reply.later->waiting = connection;
    connection->reply = (struct reply){0};
    connection->aside = mhd;
    connection->owner->n_aside++;
    MHD_suspend_connection(mhd);
}

enum MHD_Result server_receive(void *userdata, struct MHD_Connection *mhd, const char *path,
                               const char *method, const char *version, const char *bytes,
                               size_t *n_bytes, void **request_context)
{
    (void)userdata;
    struct connection *connection = *request_context;
    const struct exchange_context *context = &connection->owner->context;
    struct exchange *exchange = &connection->exchange;

    if (exchange->deadline.phase == PHASE_REFUSED) {
        bool is_body = exchange->has_head && *n_bytes > 0;
        *n_bytes = 0;
        return is_body ? MHD_YES : MHD_NO;
    }
    if (!exchange->has_head)
        return receive_head(connection, mhd, path, method, version);
    if (*n_bytes > 0) {
        const char *why;
        const unsigned status = exchange_take_body(exchange, context, bytes, *n_bytes, &why);
        if (status != 0) {
            connections_refuse(connection, status, why);
            return MHD_NO;
        }
        *n_bytes = 0;
        return MHD_YES;
    }
    if (connection->reply.status == 0)
        exchange_answer(exchange, context, &connection->reply);
    if (connection->reply.later) {
        put_aside(connection, mhd);
        return MHD_YES;
    }
    return send_reply(connection, mhd);
}
