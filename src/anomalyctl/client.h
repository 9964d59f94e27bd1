/* client - talks to anomalyd over HTTP, one kept-alive connection. One thread at a time. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define CLIENT_DEFAULT_URL "http://127.0.0.1:8817"

struct client;

/* url: http://HOST:PORT, https://…, or unix:PATH for a socket. Connects at the first request.
 * -EINVAL: no such URL; -ENOMEM. */
MUST_CHECK int client_new(const char *url, struct client **ret_client, struct error *reterr);
void client_free(struct client *client);
DEFINE_CLEANUP(struct client *, client_free)

/* A request takes no longer from here on. -ENOMEM. */
MUST_CHECK int client_set_timeout(struct client *client, long timeout_ms);

/* path starts with "/v1/…". The reply belongs to the caller (json_decref()).
 * -ECONNREFUSED: nobody answers (the text says what to do); -EPROTO: any answer but 200 and 202,
 * with its problem's detail; -EBADMSG: not JSON; -ETIMEDOUT; -ENOMEM. */
MUST_CHECK int client_get(struct client *client, const char *path, json_t **ret_reply,
                          struct error *reterr);
/* The bytes of an answer that is not JSON, valid until the next request. */
MUST_CHECK int client_get_bytes(struct client *client, const char *path, const char **ret_data,
                                size_t *ret_size, struct error *reterr);
MUST_CHECK int client_post(struct client *client, const char *path, const char *body, size_t size,
                           json_t **ret_reply, struct error *reterr);
MUST_CHECK int client_put(struct client *client, const char *path, const char *body, size_t size,
                          json_t **ret_reply, struct error *reterr);
MUST_CHECK int client_delete(struct client *client, const char *path, json_t **ret_reply,
                             struct error *reterr);

/* An answer without an end, piece by piece, until take() returns false or the daemon ends it: 0 in
 * either case. It is given up when nothing, not even a comment, has come for a while. last_id:
 * where to go on (Last-Event-ID); NULL: from now. Fails as client_get(). */
MUST_CHECK int client_follow(struct client *client, const char *path, const char *last_id,
                             bool (*take)(void *userdata, const char *bytes, size_t n),
                             void *userdata, struct error *reterr);

/* Of the last answer; 0: there was none. */
long client_status(const struct client *client);

/* The last answer's body as it came, also of a refusal; "" before the first. Owned by the client,
 * until its next request. */
const char *client_reply(const struct client *client);
