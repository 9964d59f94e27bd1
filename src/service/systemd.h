/* systemd - what we tell the service manager (sd_notify(3)) and get from it (sd_listen_fds(3)).
 * Everything does nothing when systemd did not start us. Main thread. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

void systemd_ready(const char *status);
void systemd_reloading(void);
void systemd_stopping(void);
void systemd_status(const char *format, ...) PRINTF_LIKE(1, 2);

/* Without a ping in this time systemd takes us for hung; 0: it does not watch. */
uint64_t systemd_watchdog_us(void);
void systemd_watchdog_ping(void);

/* Sockets handed over by socket activation: fds ret_first_fd … + n - 1, already listening. */
size_t systemd_listen_fds(int *ret_first_fd);
