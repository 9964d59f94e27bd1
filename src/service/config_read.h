/* config_read - how the values of configuration keys are read: functions for config_option.read.
 * The comments say the type of the field. Used by config_option.c and config_check.c. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

struct config_value;

#define READER(name)                                                                 \
    MUST_CHECK int config_read_##name(const struct config_value *value, void *field, \
                                      struct error *reterr)
READER(count);             /* unsigned */
READER(threads);           /* unsigned */
READER(rows);              /* size_t */
READER(size);              /* size_t, bytes */
READER(space);             /* uint64_t, bytes */
READER(duration);          /* uint64_t, microseconds */
READER(rate);              /* double, 1e-9 to below 1 */
READER(alarms);            /* double, false alarms a day, 0.001 to 1000000 */
READER(sampling);          /* double, rows a second; 0: all */
READER(alarm);             /* struct alarm_policy: when one opens */
READER(alarm_clear);       /* struct alarm_policy: when it is over */
READER(maintenance);       /* struct calendar */
READER(maintenance_skips); /* unsigned: MAINTENANCE_… */
READER(flag);              /* bool */
READER(missing);           /* bool: reject */
READER(durability);        /* bool: power */
READER(learn);             /* enum config_learn */
READER(addresses);         /* config.listen, with n_listen behind it */
READER(features);          /* config_model.features, with n_features behind it */
READER(path);              /* char *, owned: of a file, relative to the value's folder */
READER(folder);            /* char *, owned: of a folder that can be written to */
READER(relevance);         /* struct relevance *, owned: the part that the key names */
READER(prepare);           /* struct prepare_spec *, made at the first of these four */
READER(context);
READER(max_gap);
READER(timezone);
READER(training); /* struct config_model: a field of its recipe */
#undef READER
