#include "http/listeners.h"

#include "base/file.h"
#include "base/text.h"

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(struct error *reterr, const char *address, int r)
{
    const char *advice = r == -EADDRINUSE ? "; another program listens there: end it, or choose "
                                            "another address with `listen` in [server]"
                                          : "";
    return error_set(reterr, r, "cannot listen on %s: %s%s", address, strerrordesc_np(-r), advice);
}

#define SOCKET_MODE 0666

/* 0: nobody listens there, so the file may go. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return 0; /* bind() says what is wrong */

    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
        errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int open_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));

    int r = remove_stale(&address);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(path, SOCKET_MODE) < 0 || listen(fd, SOMAXCONN) < 0)
        r = -errno;
    if (r < 0)
        (void)close(fd);
    else
        *ret_fd = fd;
    return r;
}

static int set_up_inet(int fd, const struct addrinfo *info)
{
    static const int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    /* Else [::]:8817 takes the IPv4 port as well. */
    if (info->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return -errno;
    return bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0 ? -errno : 0;
}

static int open_inet(const struct addrinfo *info, int *ret_fd)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = set_up_inet(fd, info);
    if (r < 0)
        (void)close(fd);
    else
        *ret_fd = fd;
    return r;
}

/* "HOST:PORT" or "[HOST]:PORT" taken apart. */
static int split_address(const char *address, char ret_host[NI_MAXHOST], const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || colon[1] == '\0')
        return -EINVAL;

    const char *host = address;
    size_t length = (size_t)(colon - address);
    if (*host == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length == 0 || length >= NI_MAXHOST)
        return -EINVAL;
    memcpy(ret_host, host, length);
    ret_host[length] = '\0';
    *ret_port = colon + 1;
    return 0;
}

static int open_one(const char *address, int *ret_fd, struct error *reterr)
{
    if (strncmp(address, "unix:", 5) == 0) {
        int r = open_unix(address + 5, ret_fd);
        return r < 0 ? fail(reterr, address, r) : 0;
    }

    char host[NI_MAXHOST];
    const char *port;
    if (split_address(address, host, &port) < 0)
        return error_set(reterr, -EINVAL, "cannot listen on %s: not HOST:PORT or unix:PATH",
                         address);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    struct addrinfo *info;
    int failure = getaddrinfo(host, port, &hints, &info);
    if (failure != 0)
        return error_set(reterr, -EADDRNOTAVAIL, "cannot listen on %s: %s", address,
                         gai_strerror(failure));
    int r = open_inet(info, ret_fd);
    freeaddrinfo(info);
    return r < 0 ? fail(reterr, address, r) : 0;
}

/* The path of a Unix socket, "" for others. */
static const char *path_of(int fd, struct sockaddr_un *ret_address)
{
    socklen_t length = sizeof(*ret_address);

    *ret_address = (struct sockaddr_un){0};
    if (getsockname(fd, (struct sockaddr *)ret_address, &length) < 0 ||
        ret_address->sun_family != AF_UNIX)
        return "";
    return ret_address->sun_path;
}

static int make_room(size_t n, struct listeners *ret_listeners, struct error *reterr)
{
    ret_listeners->fds = calloc(n + 1, sizeof(*ret_listeners->fds)); /* n may be 0 */
    if (!ret_listeners->fds)
        return error_set(reterr, -ENOMEM, "cannot listen: out of memory");
    return 0;
}

int listeners_open(char *const *addresses, size_t n, struct listeners *ret_listeners,
                   struct error *reterr)
{
    struct listeners listeners = {0};

    int r = make_room(n, &listeners, reterr);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = open_one(addresses[i], &listeners.fds[i], reterr);
        listeners.n += r == 0;
    }
    if (r < 0) {
        listeners_close(&listeners);
        return r;
    }
    *ret_listeners = listeners;
    return 0;
}

int listeners_take(int first_fd, size_t n, struct listeners *ret_listeners, struct error *reterr)
{
    struct listeners listeners = {.n = n, .is_activated = true};

    int r = make_room(n, &listeners, reterr);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        listeners.fds[i] = first_fd + (int)i;
        (void)fcntl(listeners.fds[i], F_SETFL, fcntl(listeners.fds[i], F_GETFL) | O_NONBLOCK);
        (void)fcntl(listeners.fds[i], F_SETFD, FD_CLOEXEC);
    }
    *ret_listeners = listeners;
    return 0;
}

static void describe_one(int fd, struct text *text)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address = {0};
    socklen_t length = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "";

    (void)getsockname(fd, &address.any, &length);
    switch (address.any.sa_family) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &address.in.sin_addr, host, sizeof(host));
        text_printf(text, "%s:%u", host, ntohs(address.in.sin_port));
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &address.in6.sin6_addr, host, sizeof(host));
        text_printf(text, "[%s]:%u", host, ntohs(address.in6.sin6_port));
        break;
    default:
        text_printf(text, "unix:%.*s", (int)sizeof(address.un.sun_path), address.un.sun_path);
    }
}

void listeners_describe(const struct listeners *listeners, struct text *text)
{
    for (size_t i = 0; i < listeners->n; i++) {
        text_puts(text, i > 0 ? ", " : "");
        describe_one(listeners->fds[i], text);
    }
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->n; i++) {
        struct sockaddr_un local;
        const char *path = path_of(listeners->fds[i], &local);
        if (*path && !listeners->is_activated)
            (void)unlink(path);
        (void)close(listeners->fds[i]);
    }
    free(listeners->fds);
    *listeners = (struct listeners){0};
}
