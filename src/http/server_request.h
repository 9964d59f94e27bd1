/* server_request - what libmicrohttpd calls for each request of a connection, as its types want it:
 * from the first line to the reply. The socket context of a connection is a struct connection
 * (http/connections.h). On the worker's thread. */
#pragma once

#include <microhttpd.h>
#include <stddef.h>

#define WRITE_STALL_S 60u /* a client that takes nothing of its answer for so long is closed */

/* With the first line, before anything else of a request. */
void *server_begin_request(void *userdata, const char *uri, struct MHD_Connection *mhd);

/* With the head, with each piece of the body, at the end, and once more when an answer that came
 * later is there. */
enum MHD_Result server_receive(void *userdata, struct MHD_Connection *mhd, const char *path,
                               const char *method, const char *version, const char *bytes,
                               size_t *n_bytes, void **request_context);

void server_end_request(void *userdata, struct MHD_Connection *mhd, void **request_context,
                        enum MHD_RequestTerminationCode code);
