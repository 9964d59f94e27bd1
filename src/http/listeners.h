/* listeners - the listening sockets, from the addresses of the configuration or from systemd. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct text;

struct listeners {
    int *fds; /* [n], non-blocking */
    size_t n;
    bool is_activated; /* they are systemd's: their files stay */
};

/* addresses[n]: "127.0.0.1:8817", "[::1]:8817", "unix:/run/anomalyd/http.sock". A socket file has
 * mode 0666, as systemd's have: who may connect is a matter of the folder it is in. The file of a
 * service that has ended is replaced; where that is not sure, it is -EADDRINUSE. reterr names the
 * address. */
MUST_CHECK int listeners_open(char *const *addresses, size_t n, struct listeners *ret_listeners,
                              struct error *reterr);

/* Takes over first_fd … first_fd + n - 1, which listen already (socket activation). */
MUST_CHECK int listeners_take(int first_fd, size_t n, struct listeners *ret_listeners,
                              struct error *reterr);

/* Appends the addresses in the form above, with ", " between them. */
void listeners_describe(const struct listeners *listeners, struct text *text);

/* Removes the files of Unix sockets, too. Can be called twice. */
void listeners_close(struct listeners *listeners);
