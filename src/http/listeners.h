/* listeners - the listening sockets, from the addresses of the configuration or from systemd. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct listeners {
    int *fds; /* [n], non-blocking */
    size_t n;
    bool is_activated; /* they are systemd's: their files stay */
};

/* addresses[n]: "127.0.0.1:8817", "[::1]:8817", "localhost:8817", "unix:/run/anomalyd/http.sock".
 * The socket file of a service that has ended is replaced; that of a running one is -EADDRINUSE.
 * reterr names the address. */
MUST_CHECK int listeners_open(char *const *addresses, size_t n, struct listeners *ret_listeners,
                              struct error *reterr);

/* Takes over first_fd … first_fd + n - 1, which listen already (socket activation). */
MUST_CHECK int listeners_take(int first_fd, size_t n, struct listeners *ret_listeners,
                              struct error *reterr);

/* Removes the files of Unix sockets, too. Can be called twice. */
void listeners_close(struct listeners *listeners);
