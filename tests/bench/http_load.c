/* http_load - keep-alive clients that send one request after the other, and what that costs the
 * server: CPU time of its process over all threads, requests and latencies. One thread, epoll.
 *
 *     http_load [OPTION…] ADDRESS:PORT PATH FILE
 *
 * Each line of FILE is the body of a request; they are used in turn. A # in PATH stands for the
 * numbers from 0 to --paths, in turn too. Prints one JSON object. What is no 200 counts as an
 * error. See usage(). */
#include "base/cleanup.h"
#include "base/sort.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE    ((size_t)1 << 18)
#define HEAD_MAX     4096
#define MAX_EVENTS   256
#define MAX_SAMPLES  2000000
#define MIN_REQUESTS 1
#define MAX_PIDS     16
#define PATIENCE_S   60.0
#define HEAD_END     "\r\n\r\n"
#define LAST_CHUNK   "\r\n0\r\n\r\n"
#define TAIL_BYTES   (sizeof(LAST_CHUNK) - 1)

struct request {
    char *bytes; /* head and body */
    size_t length;
};

struct client {
    int fd;
    size_t request, n_sent;
    char head[HEAD_MAX];
    size_t n_head;
    bool has_head, is_chunked;
    char tail[TAIL_BYTES]; /* of all that has come */
    size_t n_left;         /* of the answer's body, unless it is chunked */
    unsigned status;
    double began;
    double due; /* when it sends again; 0: it waits for an answer, or is done */
};

static struct {
    struct sockaddr_in address;
    const char *path, *type, *accept, *file, *method;
    size_t n_clients, n_requests, n_paths;
    double seconds, pause;
    clockid_t clocks[MAX_PIDS]; /* of the server's processes */
    size_t n_clocks;
    bool is_whole;
} options = {
    .n_clients = 16, .n_paths = 1, .seconds = 1.0, .type = "application/json", .method = "POST"};

static struct request *requests;
static size_t n_requests, next_request;
static double *latencies;
static size_t n_done, n_errors, n_received, n_started;
static char *room;

static void die(const char *what)
{
    (void)fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double server_cpu(void)
{
    double seconds = 0.0;

    for (size_t i = 0; i < options.n_clocks; i++)
        seconds += now(options.clocks[i]);
    return seconds;
}

/* PATH, with a number for its #. */
static void print_path(char *path, size_t size, size_t number)
{
    const char *mark = strchr(options.path, '#');

    if (mark)
        (void)snprintf(path, size, "%.*s%zu%s", (int)(mark - options.path), options.path, number,
                       mark + 1);
    else
        (void)snprintf(path, size, "%s", options.path);
}

static void add_request(const char *body, size_t length)
{
    char head[1024], path[512];
    const char *accept = options.accept ? "\r\nAccept: " : "";

    print_path(path, sizeof(path), n_requests % options.n_paths);
    const int n = snprintf(head, sizeof(head),
                           "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s%s%s\r\n"
                           "Content-Length: %zu\r\n\r\n",
                           options.method, path, options.type, accept,
                           options.accept ? options.accept : "", length);
    requests = realloc(requests, (n_requests + 1) * sizeof(*requests));
    char *bytes = malloc((size_t)n + length);
    if (!requests || !bytes)
        die("malloc");
    memcpy(bytes, head, (size_t)n);
    memcpy(bytes + n, body, length);
    requests[n_requests++] = (struct request){bytes, (size_t)n + length};
}

static void read_requests(void)
{
    FILE *file = fopen(options.file, "rb");
    if (!file)
        die(options.file);
    if (options.is_whole) {
        (void)fseek(file, 0, SEEK_END);
        const size_t size = (size_t)ftell(file);
        AUTO_FREE char *body = malloc(size + 1);
        rewind(file);
        if (!body || fread(body, 1, size, file) != size)
            die(options.file);
        add_request(body, size);
    } else {
        AUTO_FREE char *line = NULL;
        size_t capacity = 0;
        ssize_t n;
        while ((n = getline(&line, &capacity, file)) > 0)
            add_request(line, (size_t)n - (line[n - 1] == '\n'));
    }
    (void)fclose(file);
    if (n_requests == 0)
        die("no body");
}

/* As many as there are paths at least; bodies again from the first. */
static void repeat_requests(void)
{
    const size_t n_bodies = n_requests;

    for (size_t i = 0; n_requests < options.n_paths; i = (i + 1) % n_bodies) {
        const char *body = (const char *)memmem(requests[i].bytes, requests[i].length, HEAD_END, 4);
        body += 4;
        add_request(body, requests[i].length - (size_t)(body - requests[i].bytes));
    }
}

static void watch(int epoll_fd, int operation, struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    if (epoll_ctl(epoll_fd, operation, client->fd, &event) < 0)
        die("epoll_ctl");
}

/* Sends what the socket takes. */
static void send_more(int epoll_fd, struct client *client)
{
    const struct request *request = &requests[client->request];

    while (client->n_sent < request->length) {
        const ssize_t n = send(client->fd, request->bytes + client->n_sent,
                               request->length - client->n_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(epoll_fd, EPOLL_CTL_MOD, client, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0)
            die("send");
        client->n_sent += (size_t)n;
        if (client->n_sent == request->length && (size_t)n < request->length)
            watch(epoll_fd, EPOLL_CTL_MOD, client, EPOLLIN);
    }
}

static void begin(int epoll_fd, struct client *client)
{
    client->request = next_request;
    next_request = (next_request + 1) % n_requests;
    client->n_sent = client->n_head = 0;
    client->has_head = false;
    client->began = now(CLOCK_MONOTONIC);
    client->due = 0.0;
    n_started++;
    send_more(epoll_fd, client);
}

static void read_head(struct client *client)
{
    char *end = memmem(client->head, client->n_head, HEAD_END, 4);

    if (!end) {
        if (client->n_head == sizeof(client->head) - 1)
            die("a head that is too long");
        return;
    }
    *end = '\0';
    client->status = (unsigned)atoi(client->head + 9);
    const char *length = strcasestr(client->head, "\r\nContent-Length:");
    client->is_chunked = strcasestr(client->head, "\r\nTransfer-Encoding: chunked") != NULL;
    if (!length && !client->is_chunked)
        die("an answer without Content-Length");
    client->n_left = length ? strtoull(length + 17, NULL, 10) : 0;
    client->has_head = true;
    client->n_left -= client->n_head - (size_t)(end + 4 - client->head);
}

static void keep_tail(struct client *client, const char *bytes, size_t n)
{
    const size_t n_new = n < TAIL_BYTES ? n : TAIL_BYTES;

    memmove(client->tail, client->tail + n_new, TAIL_BYTES - n_new);
    memcpy(client->tail + TAIL_BYTES - n_new, bytes + n - n_new, n_new);
}

/* A chunk holds text whose lines end with \n alone, so none of them can look like the last one. */
static bool is_complete(const struct client *client)
{
    if (client->is_chunked)
        return client->has_head && memcmp(client->tail, LAST_CHUNK, TAIL_BYTES) == 0;
    return client->has_head && client->n_left == 0;
}

/* True: the answer is complete. */
static bool receive(struct client *client)
{
    const ssize_t n = recv(client->fd, room, READ_SIZE, 0);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        die("the server closed a connection");
    n_received += (size_t)n;
    keep_tail(client, room, (size_t)n);
    if (client->has_head) {
        client->n_left -= (size_t)n;
    } else {
        const size_t free_bytes = sizeof(client->head) - 1 - client->n_head;
        const size_t kept = (size_t)n < free_bytes ? (size_t)n : free_bytes;
        memcpy(client->head + client->n_head, room, kept);
        client->n_head += kept;
        read_head(client);
        if (client->has_head)
            client->n_left -= (size_t)n - kept;
    }
    return is_complete(client);
}

static void finish(struct client *client)
{
    if (n_done < MAX_SAMPLES)
        latencies[n_done] = now(CLOCK_MONOTONIC) - client->began;
    n_done++;
    n_errors += client->status != 200;
}

static void connect_all(int epoll_fd, struct client *clients)
{
    const int one = 1;

    for (size_t i = 0; i < options.n_clients; i++) {
        struct client *client = &clients[i];
        client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&options.address,
                                      sizeof(options.address)) < 0)
            die("connect");
        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (fcntl(client->fd, F_SETFL, O_NONBLOCK) < 0)
            die("fcntl");
        watch(epoll_fd, EPOLL_CTL_ADD, client, EPOLLIN);
    }
}

static bool is_over(double end)
{
    return options.n_requests > 0 ? n_started >= options.n_requests
                                  : now(CLOCK_MONOTONIC) >= end && n_done >= MIN_REQUESTS;
}

/* Sends what is due; seconds until the next one is. */
static double begin_due(int epoll_fd, struct client *clients)
{
    const double time = options.pause > 0 ? now(CLOCK_MONOTONIC) : 0.0;
    double wait = PATIENCE_S;

    for (size_t i = 0; options.pause > 0 && i < options.n_clients; i++) {
        struct client *client = &clients[i];
        if (client->due == 0.0)
            continue;
        if (client->due <= time)
            begin(epoll_fd, client);
        else if (client->due - time < wait)
            wait = client->due - time;
    }
    return wait;
}

static void answer_came(int epoll_fd, struct client *client, double end)
{
    finish(client);
    if (is_over(end))
        return;
    if (options.pause > 0)
        client->due = now(CLOCK_MONOTONIC) + options.pause;
    else
        begin(epoll_fd, client);
}

static bool is_waiting(const struct client *clients)
{
    bool is_due = false;

    for (size_t i = 0; options.pause > 0 && i < options.n_clients; i++)
        is_due |= clients[i].due > 0.0;
    return n_done < n_started || is_due;
}

static void run(int epoll_fd, struct client *clients)
{
    struct epoll_event events[MAX_EVENTS];
    const double end = now(CLOCK_MONOTONIC) + options.seconds;

    for (size_t i = 0; i < options.n_clients; i++)
        begin(epoll_fd, &clients[i]);
    while (is_waiting(clients)) {
        const double wait = begin_due(epoll_fd, clients);
        const struct timespec timeout = {(time_t)wait, (long)(1e9 * (wait - floor(wait)))};
        const int n = epoll_pwait2(epoll_fd, events, MAX_EVENTS, &timeout, NULL);
        if (n < 0 || (n == 0 && wait == PATIENCE_S))
            die("no answer within 60 s");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_more(epoll_fd, client);
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && receive(client))
                answer_came(epoll_fd, client, end);
        }
    }
}

static void usage(FILE *out)
{
    (void)fprintf(out, "Usage: http_load [OPTION]... ADDRESS:PORT PATH FILE\n"
                       "  --clients N     connections, each with one request at a time (16)\n"
                       "  --seconds S     how long (1)\n"
                       "  --requests N    instead: how many requests\n"
                       "  --pause S       of a client, between an answer and its next request\n"
                       "  --pid PID       of the server, whose CPU time is told; may be repeated\n"
                       "  --paths N       numbers that # in PATH stands for (1)\n"
                       "  --type TYPE     Content-Type (application/json)\n"
                       "  --accept TYPE   Accept\n"
                       "  --get           GET instead of POST\n"
                       "  --whole         FILE is one body\n");
}

static void add_clock(const char *pid)
{
    if (options.n_clocks == MAX_PIDS ||
        clock_getcpuclockid((pid_t)strtol(pid, NULL, 10), &options.clocks[options.n_clocks]) != 0)
        die(pid);
    options.n_clocks++;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"clients",  required_argument, NULL, 'c'},
        {"seconds",  required_argument, NULL, 's'},
        {"requests", required_argument, NULL, 'n'},
        {"pause",    required_argument, NULL, 'w'},
        {"pid",      required_argument, NULL, 'p'},
        {"type",     required_argument, NULL, 't'},
        {"paths",    required_argument, NULL, '#'},
        {"accept",   required_argument, NULL, 'a'},
        {"get",      no_argument,       NULL, 'g'},
        {"whole",    no_argument,       NULL, '1'},
        {NULL,       0,                 NULL, 0  },
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
        switch (c) {
        case 'c':
            options.n_clients = strtoul(optarg, NULL, 10);
            break;
        case 's':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'n':
            options.n_requests = strtoul(optarg, NULL, 10);
            break;
        case 'w':
            options.pause = strtod(optarg, NULL);
            break;
        case 'p':
            add_clock(optarg);
            break;
        case '#':
            options.n_paths = strtoul(optarg, NULL, 10);
            break;
        case 't':
            options.type = optarg;
            break;
        case 'a':
            options.accept = optarg;
            break;
        case 'g':
            options.method = "GET";
            break;
        case '1':
            options.is_whole = true;
            break;
        default:
            usage(stderr);
            exit(2);
        }
    char *colon = optind + 3 == argc ? strrchr(argv[optind], ':') : NULL;
    if (!colon || options.n_clients == 0 || options.n_paths == 0) {
        usage(stderr);
        exit(2);
    }
    *colon = '\0';
    options.address.sin_family = AF_INET;
    options.address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, argv[optind], &options.address.sin_addr) != 1)
        die(argv[optind]);
    options.path = argv[optind + 1];
    options.file = argv[optind + 2];
}

static double percentile(size_t n, double share)
{
    return n ? latencies[(size_t)(share * (double)(n - 1))] : 0.0;
}

static void tell(double seconds, double server_seconds)
{
    const size_t n = n_done < MAX_SAMPLES ? n_done : MAX_SAMPLES;

    sort_doubles(latencies, n);
    (void)printf("{\"requests\": %zu, \"errors\": %zu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
                 "\"cpu_us\": %.3f, \"received\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
                 n_done, n_errors, seconds, server_seconds, 1e6 * server_seconds / (double)n_done,
                 n_received, 1e6 * percentile(n, 0.5), 1e6 * percentile(n, 0.99));
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    read_requests();
    repeat_requests();
    AUTO_FREE struct client *clients = calloc(options.n_clients, sizeof(*clients));
    latencies = malloc(MAX_SAMPLES * sizeof(*latencies));
    room = malloc(READ_SIZE);
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !latencies || !room || epoll_fd < 0)
        die("malloc");
    connect_all(epoll_fd, clients);

    const double began = now(CLOCK_MONOTONIC), server_began = server_cpu();
    run(epoll_fd, clients);
    const double server_seconds = server_cpu() - server_began;
    tell(now(CLOCK_MONOTONIC) - began, server_seconds);
    return n_errors > 0;
}
