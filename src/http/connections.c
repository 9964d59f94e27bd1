#include "http/connections.h"

#include "base/clock.h"
#include "http/deadline.h"
#include "http/handler.h"
#include "http/linger.h"
#include "service/service.h"

#include <fcntl.h>
#include <sys/socket.h>

#define SWEEP_US 250000

int connections_init(struct connections *connections, struct service *service, unsigned worker)
{
    LIST_INIT(&connections->list);
    connections->context.service = service;
    connections->context.worker = worker;
    request_ids_init(&connections->context.ids);
    int r = handler_new(service, worker, &connections->context.handler);
    return r < 0 ? r : linger_new(&connections->linger);
}

void connections_clear(struct connections *connections)
{
    while (!LIST_EMPTY(&connections->list))
        connections_forget(LIST_FIRST(&connections->list));
    linger_free(TAKE(connections->linger));
    handler_free(TAKE(connections->context.handler));
}

static void linger(struct connections *connections, int fd)
{
    linger_add(connections->linger, fd);
    atomic_store(&connections->n_lingering, linger_count(connections->linger));
}

struct connection *connections_add(struct connections *connections, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (!connection) {
        char id[REQUEST_ID_SIZE];
        request_ids_next(&connections->context.ids, id);
        reply_send_raw(fd, 503, id, "The service is out of memory; try again", false);
        linger(connections, fd);
        return NULL;
    }
    connection->owner = connections;
    connection->fd = fd;
    exchange_idle(&connection->exchange, &connections->context);
    LIST_INSERT_HEAD(&connections->list, connection, link);
    return connection;
}

void connections_forget(struct connection *connection)
{
    LIST_REMOVE(connection, link);
    reply_clear_body(&connection->reply);
    exchange_clear(&connection->exchange);
    free(connection);
}

void connections_end(struct connection *connection)
{
    int fd = connection->must_linger ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd >= 0)
        linger(connection->owner, fd);
    connections_forget(connection);
}

void connections_refuse(struct connection *connection, unsigned status, const char *detail)
{
    exchange_refuse(&connection->exchange, &connection->owner->context, connection->fd, status,
                    detail);
    connection->must_linger = true;
}

int connections_fd(const struct connections *connections)
{
    return linger_fd(connections->linger);
}

int connections_timeout_ms(const struct connections *connections)
{
    int ms = linger_timeout_ms(connections->linger);

    if (!LIST_EMPTY(&connections->list) && (ms < 0 || ms > (int)(SWEEP_US / US_PER_MS)))
        ms = (int)(SWEEP_US / US_PER_MS);
    return ms;
}

static void sweep(struct connections *connections, uint64_t now, uint64_t drain_us)
{
    uint64_t request_timeout_us = service_request_timeout_us(connections->context.service);
    uint64_t late_us = now - connections->next_sweep_us; /* long after a large batch */
    struct connection *connection;

    LIST_FOREACH(connection, &connections->list, link)
    {
        deadline_postpone(&connection->exchange.deadline, late_us, now);
        switch (deadline_check(&connection->exchange.deadline, now, request_timeout_us, drain_us)) {
        case DEADLINE_TIMEOUT:
            connections_refuse(connection, 408,
                               "The request did not arrive in time; send it faster");
            /* Not SHUT_RD: what still comes would then be answered with a reset, which may
             * overtake the 408. */
            (void)shutdown(connection->fd, SHUT_WR);
            deadline_enter(&connection->exchange.deadline, PHASE_REFUSED, now);
            break;
        case DEADLINE_CLOSE:
            (void)shutdown(connection->fd, SHUT_RDWR);
            break;
        case DEADLINE_FINE:
            break;
        }
    }
}

void connections_run(struct connections *connections, uint64_t drain_us)
{
    if (linger_count(connections->linger) > 0) {
        linger_run(connections->linger);
        atomic_store(&connections->n_lingering, linger_count(connections->linger));
    }
    if (LIST_EMPTY(&connections->list))
        return;
    uint64_t now = clock_monotonic_us();
    if (now >= connections->next_sweep_us) {
        sweep(connections, now, drain_us);
        connections->next_sweep_us = now + SWEEP_US;
    }
}

size_t connections_lingering(const struct connections *connections)
{
    return atomic_load(&connections->n_lingering);
}
