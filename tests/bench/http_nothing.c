/* http_nothing - a libmicrohttpd server that does nothing: what a request costs at the least.
 *
 * The library's own pool of two threads (epoll), 16 KiB a connection; the body is read and dropped,
 * the answer is 200 bytes with one Content-Type, copied into a new response each time.
 *
 *     http_nothing    prints its port, serves until its input ends. */
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#define N_THREADS  2
#define BODY_BYTES 200

static enum MHD_Result answer(void *userdata, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *bytes,
                              size_t *n_bytes, void **request_context)
{
    (void)userdata, (void)url, (void)method, (void)version, (void)bytes;
    static int seen;
    char body[BODY_BYTES];

    if (!*request_context) {
        *request_context = &seen;
        return MHD_YES;
    }
    if (*n_bytes > 0) {
        *n_bytes = 0;
        return MHD_YES;
    }
    memset(body, 'x', sizeof(body));
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof(body), body, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "application/json");
    const enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

int main(void)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)N_THREADS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    if (!daemon)
        return 1;
    (void)printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
    MHD_stop_daemon(daemon);
    return 0;
}
