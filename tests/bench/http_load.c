/* http_load - keep-alive clients that send one request after the other, and what that costs the
 * server: CPU time of its process over all threads, requests and latencies. One thread, epoll.
 *
 *     http_load [OPTION…] ADDRESS:PORT PATH FILE
 *
 * Each line of FILE is the body of a request; they are used in turn. Prints one JSON object. What
 * is no 200 counts as an error. See usage(). */
#include "base/cleanup.h"
#include "base/sort.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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

struct request {
    char *bytes; /* head and body */
    size_t length;
};

struct client {
    int fd;
    size_t request, n_sent;
    char head[HEAD_MAX];
    size_t n_head;
    bool has_head;
    size_t n_left; /* of the answer's body */
    unsigned status;
    double began;
};

static struct {
    struct sockaddr_in address;
    const char *path, *type, *accept, *file, *method;
    size_t n_clients, n_requests;
    double seconds, pause;
    pid_t pid;
    bool is_whole;
} options = {.n_clients = 16, .seconds = 1.0, .type = "application/json", .method = "POST"};

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

static void add_request(const char *body, size_t length)
{
    char head[1024];
    const char *accept = options.accept ? "\r\nAccept: " : "";

    const int n = snprintf(head, sizeof(head),
                           "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s%s%s\r\n"
                           "Content-Length: %zu\r\n\r\n",
                           options.method, options.path, options.type, accept,
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
    n_started++;
    send_more(epoll_fd, client);
}

static void read_head(struct client *client)
{
    char *end = memmem(client->head, client->n_head, "\r\n\r\n", 4);

    if (!end) {
        if (client->n_head == sizeof(client->head) - 1)
            die("a head that is too long");
        return;
    }
    *end = '\0';
    client->status = (unsigned)atoi(client->head + 9);
    const char *length = strcasestr(client->head, "\r\nContent-Length:");
    if (!length)
        die("an answer without Content-Length");
    client->n_left = strtoull(length + 17, NULL, 10);
    client->has_head = true;
    client->n_left -= client->n_head - (size_t)(end + 4 - client->head);
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
    return client->has_head && client->n_left == 0;
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

static void run(int epoll_fd, struct client *clients)
{
    struct epoll_event events[MAX_EVENTS];
    const double end = now(CLOCK_MONOTONIC) + options.seconds;

    for (size_t i = 0; i < options.n_clients; i++)
        begin(epoll_fd, &clients[i]);
    while (n_done < n_started) {
        const int n = epoll_wait(epoll_fd, events, MAX_EVENTS, 60000);
        if (n <= 0)
            die("no answer within 60 s");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_more(epoll_fd, client);
            if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !receive(client))
                continue;
            finish(client);
            if (options.pause > 0)
                (void)usleep((useconds_t)(1e6 * options.pause));
            if (!is_over(end))
                begin(epoll_fd, client);
        }
    }
}

static void usage(FILE *out)
{
    (void)fprintf(out, "Usage: http_load [OPTION]... ADDRESS:PORT PATH FILE\n"
                       "  --clients N     connections, each with one request at a time (16)\n"
                       "  --seconds S     how long (1)\n"
                       "  --requests N    instead: how many requests\n"
                       "  --pause S       between an answer and the next request\n"
                       "  --pid PID       of the server, whose CPU time is told\n"
                       "  --type TYPE     Content-Type (application/json)\n"
                       "  --accept TYPE   Accept\n"
                       "  --get           GET instead of POST\n"
                       "  --whole         FILE is one body\n");
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
            options.pid = (pid_t)strtol(optarg, NULL, 10);
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
    if (!colon || options.n_clients == 0) {
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
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;

    read_options(argc, argv);
    read_requests();
    AUTO_FREE struct client *clients = calloc(options.n_clients, sizeof(*clients));
    latencies = malloc(MAX_SAMPLES * sizeof(*latencies));
    room = malloc(READ_SIZE);
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !latencies || !room || epoll_fd < 0)
        die("malloc");
    if (options.pid > 0 && clock_getcpuclockid(options.pid, &clock) != 0)
        die("clock_getcpuclockid");
    connect_all(epoll_fd, clients);

    const double began = now(CLOCK_MONOTONIC), server_began = now(clock);
    run(epoll_fd, clients);
    const double server_seconds = options.pid > 0 ? now(clock) - server_began : 0.0;
    tell(now(CLOCK_MONOTONIC) - began, server_seconds);
    return n_errors > 0;
}
