#include "service/systemd.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

/* A service manager that does not listen is none of our trouble: results are dropped. */

void systemd_ready(const char *status)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void systemd_reloading(void)
{
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
                     (unsigned long long)clock_monotonic_us());
}

void systemd_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=finishing requests in flight");
}

void systemd_status(const char *format, ...)
{
    char status[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(status, sizeof(status), format, arguments);
    va_end(arguments);
    for (char *at = status; *at; at++)
        if (*at == '\n')
            *at = at[1] ? ' ' : '\0'; /* a line is a field of its own */
    (void)sd_notifyf(0, "STATUS=%s", status);
}

uint64_t systemd_watchdog_us(void)
{
    uint64_t timeout_us = 0;

    return sd_watchdog_enabled(0, &timeout_us) > 0 ? timeout_us : 0;
}

void systemd_watchdog_ping(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

size_t systemd_listen_fds(int *ret_first_fd)
{
    const int n = sd_listen_fds(0);

    *ret_first_fd = SD_LISTEN_FDS_START;
    return n > 0 ? (size_t)n : 0;
}
