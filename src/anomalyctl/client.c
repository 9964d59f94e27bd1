#include "anomalyctl/client.h"

#include "base/text.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000L
#define REQUEST_TIMEOUT_MS 60000L
#define MOST_SILENCE_S     45L /* of a stream: three of the daemon's comments */
#define MAX_REPLY          ((size_t)256 << 20)

struct client {
    CURL *curl;
    struct curl_slist *headers;
    char *base; /* what stands before the path; no slash at its end */
    char *url;  /* as the user gave it, for messages */
    struct text reply;
    long status; /* of the last answer; 0: none came */
    char reason[CURL_ERROR_SIZE];
};

void client_free(struct client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
    free(client->base);
    free(client->url);
    text_clear(&client->reply);
    free(client);
}

static size_t take_reply(char *data, size_t size, size_t n, void *userdata)
{
    struct client *client = userdata;

    if (client->reply.length + size * n > MAX_REPLY)
        return 0; /* libcurl ends the transfer */
    text_append(&client->reply, data, size * n);
    return text_failed(&client->reply) ? 0 : size * n;
}

/* The part of url that paths are appended to; a socket needs some host name, and only that. */
static int read_url(struct client *client, const char *url, struct error *reterr)
{
    static const char unix_prefix[] = "unix:";
    const size_t prefix_length = sizeof(unix_prefix) - 1;
    const bool is_unix = strncmp(url, unix_prefix, prefix_length) == 0 && url[prefix_length];
    const bool is_http = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;

    if (!is_unix && !is_http)
        return error_set(reterr, -EINVAL,
                         "%s: is no address of anomalyd; give http://HOST:PORT or unix:PATH", url);
    client->url = strdup(url);
    client->base = strdup(is_unix ? "http://localhost" : url);
    if (!client->url || !client->base)
        return -ENOMEM;
    size_t length = strlen(client->base);
    while (length > 0 && client->base[length - 1] == '/')
        client->base[--length] = '\0';
    if (is_unix && curl_easy_setopt(client->curl, CURLOPT_UNIX_SOCKET_PATH, url + prefix_length))
        return -ENOMEM;
    return 0;
}

static bool set_options(struct client *client)
{
    CURL *curl = client->curl;

    client->headers = curl_slist_append(NULL, "Content-Type: application/json");
    return client->headers && !curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_reply) &&
           !curl_easy_setopt(curl, CURLOPT_WRITEDATA, client) &&
           !curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->reason) &&
           !curl_easy_setopt(curl, CURLOPT_USERAGENT, "anomalyctl/" PACKAGE_VERSION) &&
           !curl_easy_setopt(curl, CURLOPT_PROXY, "") &&
           !curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) &&
           !curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, REQUEST_TIMEOUT_MS) &&
           !curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
}

int client_new(const char *url, struct client **ret_client, struct error *reterr)
{
    assert(url && ret_client);
    CLEANUP(client_freep) struct client *client = calloc(1, sizeof(*client));
    if (!client)
        return -ENOMEM;
    client->curl = curl_easy_init();
    if (!client->curl || !set_options(client))
        return -ENOMEM;

    int r = read_url(client, url, reterr);
    if (r < 0)
        return r;
    *ret_client = TAKE(client);
    return 0;
}

int client_set_timeout(struct client *client, long timeout_ms)
{
    return curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, timeout_ms) ? -ENOMEM : 0;
}

static int explain_failure(const struct client *client, CURLcode code, struct error *reterr)
{
    if (code == CURLE_OUT_OF_MEMORY || text_failed(&client->reply))
        return -ENOMEM;
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return error_set(reterr, -ECONNREFUSED,
                         "%s: cannot connect; is anomalyd running, and is --url its address?",
                         client->url);
    return error_set(reterr, code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EPROTO, "%s: %s",
                     client->url, *client->reason ? client->reason : curl_easy_strerror(code));
}

/* A refusal is a problem document (RFC 9457): its detail, and the first field that is wrong. */
static int explain_status(const struct client *client, const char *path, long status,
                          struct error *reterr)
{
    json_auto_t *problem =
        json_loadb(client->reply.data ? client->reply.data : "", client->reply.length, 0, NULL);
    const json_t *field = json_array_get(json_object_get(problem, "errors"), 0);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *pointer = json_string_value(json_object_get(field, "pointer"));
    const char *reason = json_string_value(json_object_get(field, "detail"));

    if (!detail)
        detail = json_string_value(json_object_get(problem, "title"));
    if (pointer && reason)
        return error_set(reterr, -EPROTO, "%s%s: status %ld: %s (%s: %s)", client->url, path,
                         status, detail ? detail : "refused", pointer, reason);
    return error_set(reterr, -EPROTO, "%s%s: status %ld: %s", client->url, path, status,
                     detail ? detail : "no reason given; is this anomalyd?");
}

/* 0: client->reply is the body of a success. */
static int transfer(struct client *client, const char *path, struct error *reterr)
{
    AUTO_FREE char *url = NULL;

    if (asprintf(&url, "%s%s", client->base, path) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    text_clear(&client->reply);
    *client->reason = '\0';
    client->status = 0;
    CURLcode code = curl_easy_setopt(client->curl, CURLOPT_URL, url);
    if (code == CURLE_OK)
        code = curl_easy_perform(client->curl);
    if (code != CURLE_OK)
        return explain_failure(client, code, reterr);

    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &client->status);
    return client->status == 200 || client->status == 202
               ? 0
               : explain_status(client, path, client->status, reterr);
}

static int perform(struct client *client, const char *path, json_t **ret_reply,
                   struct error *reterr)
{
    int r = transfer(client, path, reterr);
    if (r < 0)
        return r;
    json_t *reply = json_loadb(client->reply.data ? client->reply.data : "", client->reply.length,
                               JSON_REJECT_DUPLICATES, NULL);
    if (!reply)
        return error_set(reterr, -EBADMSG, "%s%s: the answer is not JSON; is this anomalyd?",
                         client->url, path);
    *ret_reply = reply;
    return 0;
}

int client_get(struct client *client, const char *path, json_t **ret_reply, struct error *reterr)
{
    if (curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L))
        return -ENOMEM;
    return perform(client, path, ret_reply, reterr);
}

int client_get_bytes(struct client *client, const char *path, const char **ret_data,
                     size_t *ret_size, struct error *reterr)
{
    if (curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L))
        return -ENOMEM;
    int r = transfer(client, path, reterr);
    if (r < 0)
        return r;
    *ret_data = client_reply(client);
    *ret_size = client->reply.length;
    return 0;
}

int client_post(struct client *client, const char *path, const char *body, size_t size,
                json_t **ret_reply, struct error *reterr)
{
    if (curl_easy_setopt(client->curl, CURLOPT_POST, 1L) ||
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) ||
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body))
        return -ENOMEM;
    return perform(client, path, ret_reply, reterr);
}

int client_put(struct client *client, const char *path, const char *body, size_t size,
               json_t **ret_reply, struct error *reterr)
{
    if (curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, "PUT"))
        return -ENOMEM;
    const int r = client_post(client, path, body, size, ret_reply, reterr);
    (void)curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, NULL); /* frees: cannot fail */
    return r;
}

int client_delete(struct client *client, const char *path, json_t **ret_reply, struct error *reterr)
{
    if (curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L) ||
        curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, "DELETE"))
        return -ENOMEM;
    const int r = perform(client, path, ret_reply, reterr);
    (void)curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, NULL); /* frees: cannot fail */
    return r;
}

/* ---- answers without an end ---- */

struct following {
    struct client *client;
    bool (*take)(void *userdata, const char *bytes, size_t n);
    void *userdata;
    bool has_enough;
};

static size_t take_piece(char *data, size_t size, size_t n, void *userdata)
{
    struct following *following = userdata;
    long status = 0;

    (void)curl_easy_getinfo(following->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) /* why not */
        return take_reply(data, size, n, following->client);
    following->has_enough = !following->take(following->userdata, data, size * n);
    return following->has_enough ? 0 : size * n;
}

/* timeout_ms 0: none, but for silence. */
static bool set_following(CURL *curl, curl_write_callback write, void *userdata,
                          struct curl_slist *headers, long timeout_ms)
{
    return !curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) &&
           !curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write) &&
           !curl_easy_setopt(curl, CURLOPT_WRITEDATA, userdata) &&
           !curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) &&
           !curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms) &&
           !curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, timeout_ms ? 0L : 1L) &&
           !curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, timeout_ms ? 0L : MOST_SILENCE_S);
}

int client_follow(struct client *client, const char *path, const char *last_id,
                  bool (*take)(void *userdata, const char *bytes, size_t n), void *userdata,
                  struct error *reterr)
{
    struct following following = {.client = client, .take = take, .userdata = userdata};
    struct curl_slist *headers = NULL;
    AUTO_FREE char *field = NULL;

    if (last_id && asprintf(&field, "Last-Event-ID: %s", last_id) < 0) {
        field = NULL;
        return -ENOMEM;
    }
    if (field && !(headers = curl_slist_append(NULL, field)))
        return -ENOMEM;
    int r = set_following(client->curl, take_piece, &following, headers, 0)
                ? transfer(client, path, reterr)
                : -ENOMEM;
    if (!set_following(client->curl, take_reply, client, client->headers, REQUEST_TIMEOUT_MS))
        r = -ENOMEM;
    curl_slist_free_all(headers);
    return following.has_enough ? 0 : r;
}

long client_status(const struct client *client)
{
    return client->status;
}

const char *client_reply(const struct client *client)
{
    return client->reply.data ? client->reply.data : "";
}
