/* service - the running service: configuration, live models, counters, and the phase it is in.
 *
 * Made and reloaded by the main thread; the workers only read. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct learner;
struct live;
struct quota;
struct stats;
struct service;

/* Call first in main(), before any thread starts. */
void service_init(void);
/* What computes on this processor: OpenBLAS's choice and ours, "Haswell fma". */
const char *service_kernels(void);

/* Takes over config, also when it fails. Checks that the kernels compute what they should (-EIO).
 * Loads the models: one that cannot be loaded is `failed`,
 * logged, and a reason not to be ready; the others serve. Counters are made for config->threads
 * workers, numbered from 0, and for the main thread under the number config->threads. */
MUST_CHECK int service_new(const char *config_path, struct config *config,
                           const char *const *routes, size_t n_routes, struct service **ret_service,
                           struct error *reterr);
void service_free(struct service *service);
DEFINE_CLEANUP(struct service *, service_free)

/* The configuration in force. Main thread. */
const struct config *service_config(const struct service *service);
struct live *service_live(struct service *service);
struct stats *service_stats(struct service *service);
/* NULL: there is no store, nothing is learned. It may come later, and stays then. */
struct learner *service_learner(struct service *service);

/* Once ready, from the main thread: has the store read through, and tries again to open one that
 * could not be opened. When to call next (monotonic); 0: after a reload. */
uint64_t service_tend(struct service *service);

/* Why nothing is learned, although it should be: the store cannot be opened or written to. Any
 * thread. */
bool service_store_trouble(struct service *service, struct error *ret_why);

/* Reads and checks everything again, then commits, which cannot fail. On failure the old state
 * goes on and ret_errors says why, one line each. Of [server] listen, threads and max_connections
 * need a restart; a change of them is a warning in the log, and service_config() goes on to show
 * what is in force. What it returned before is gone after a success. Main thread. */
MUST_CHECK int service_reload(struct service *service, struct text *ret_errors);

/* Read by workers with each request; both may change with a reload. Any thread. */
size_t service_max_body(const struct service *service);
uint64_t service_request_timeout_us(const struct service *service);

/* What requests take in memory that grows with them: who makes it has a share (base/quota.h), which
 * ends before the service. A request's rows and its answer; what it could do without, rows held for
 * learning, leaves half of it. Any thread. */
struct quota *service_request_memory(struct service *service);

/* Draining: SIGTERM came, requests in flight are finished. Any thread. */
void service_set_draining(struct service *service);
bool service_is_draining(const struct service *service);

/* True: /readyz answers 200. Else the reasons, one a call of add(). Any thread. */
bool service_is_ready(struct service *service, void (*add)(void *userdata, const char *reason),
                      void *userdata);

/* "2 models, 1 failed": for sd_notify and the log. */
void service_describe(struct service *service, struct text *text);

/* What `anomalyd --check-config` does: reads the configuration and loads every model file, as a
 * reload would, but starts nothing. 0: ret_summary has lines for a person; -EINVAL: ret_errors has
 * one line for each error; -ENOMEM. */
MUST_CHECK int service_check(const char *config_path, struct text *ret_summary,
                             struct text *ret_errors);
