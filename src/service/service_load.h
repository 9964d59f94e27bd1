/* service_load - the models of a configuration are loaded: at the start, when a store could be
 * opened after all, and at a reload. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>

struct config;
struct learner;
struct live;
struct text;

/* learner NULL: nothing is learned; kept_in: where to look then for what served last, NULL:
 * nowhere. strict: a reload, which changes nothing where it fails. Main thread. */
MUST_CHECK int service_load_models(struct live *live, struct learner *learner, const char *kept_in,
                                   const struct config *config, bool strict, struct error *reterr);

/* One warning for each line. */
void service_log_notes(const struct text *notes);
