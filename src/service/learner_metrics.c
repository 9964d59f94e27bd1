/* The models that learn, for /metrics. */
#include "service/learner_state.h"

#include <stdlib.h>

static double buffer_rows(const struct learner_figures *figures)
{
    return (double)figures->rows.rows;
}

static double quarantine_rows(const struct learner_figures *figures)
{
    return (double)figures->rows.of_role[ROW_QUARANTINE];
}

static double dropped_by_queue(const struct learner_figures *figures)
{
    return (double)figures->n_dropped_queue;
}

static double dropped_by_store(const struct learner_figures *figures)
{
    return (double)figures->n_dropped_store;
}

static double verdicts_dropped(const struct learner_figures *figures)
{
    return (double)figures->n_verdicts_dropped;
}

static double promoted(const struct learner_figures *figures)
{
    return (double)figures->n_promoted;
}

static double refused(const struct learner_figures *figures)
{
    return (double)figures->n_refused;
}

static double failed(const struct learner_figures *figures)
{
    return (double)figures->n_failed;
}

static double cancelled(const struct learner_figures *figures)
{
    return (double)figures->n_cancelled;
}

static double duration(const struct learner_figures *figures)
{
    return figures->run_seconds;
}

static double progress(const struct learner_figures *figures)
{
    return figures->progress;
}

static double drift(const struct learner_figures *figures)
{
    return figures->drift_log10;
}

static double series(const struct learner_figures *figures)
{
    return (double)figures->series.n_series;
}

static double series_silent(const struct learner_figures *figures)
{
    return (double)figures->series.n_silent;
}

static double incidents_open(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_open;
}

static double opened_by_alarm(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_alarm;
}

static double opened_by_hard(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_hard;
}

static double opened_by_soft(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_soft;
}

/* In the order of the page; help NULL: one more sample of the family above. */
static const struct {
    const char *name, *type, *help, *label;
    double (*value)(const struct learner_figures *figures);
} metrics[] = {
    {"anomalyd_buffer_rows",              "gauge",   "Rows in the buffer.",                             "",                       buffer_rows     },
    {"anomalyd_quarantine_rows",          "gauge",   "Rows in quarantine.",                             "",                       quarantine_rows },
    {"anomalyd_rows_dropped_total",       "counter", "Rows that were not kept for learning.",
     ",reason=\"queue\"",                                                                                                         dropped_by_queue},
    {"anomalyd_rows_dropped_total",       NULL,      NULL,                                              ",reason=\"store\"",      dropped_by_store},
    {"anomalyd_verdicts_dropped_total",   "counter",
     "Anomalies that were not written down: feedback cannot name them.",                                "",                       verdicts_dropped},
    {"anomalyd_retrains_total",           "counter", "Runs that ended.",                                ",outcome=\"promoted\"",  promoted        },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"refused\"",   refused         },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"failed\"",    failed          },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"cancelled\"", cancelled       },
    {"anomalyd_retrain_progress_ratio",   "gauge",   "How far the run under way is; 0: there is none.",
     "",                                                                                                                          progress        },
    {"anomalyd_retrain_duration_seconds", "gauge",   "Duration of the last run.",                       "",                       duration        },
    {"anomalyd_incidents_open",           "gauge",   "Incidents that go on.",                           "",                       incidents_open  },
    {"anomalyd_incidents_opened_total",   "counter", "Incidents, by what opened or joined them.",
     ",opened_by=\"alarm\"",                                                                                                      opened_by_alarm },
    {"anomalyd_incidents_opened_total",   NULL,      NULL,                                              ",opened_by=\"hard\"",    opened_by_hard  },
    {"anomalyd_incidents_opened_total",   NULL,      NULL,                                              ",opened_by=\"soft\"",    opened_by_soft  },
    {"anomalyd_series",                   "gauge",   "Series that are remembered.",                     "",                       series          },
    {"anomalyd_series_silent",            "gauge",   "Series without a row for stale_after.",           "",                       series_silent   },
    {"anomalyd_drift_log10_martingale",   "gauge",   "Evidence of drift, log10; an event at 6.",        "",
     drift                                                                                                                                        },
};

#define N_METRICS (sizeof(metrics) / sizeof(*metrics))

/* Not by text_printf(), which takes long for thousands of models. */
static void put_all(struct text *text, const char *const *strings)
{
    while (*strings)
        text_puts(text, *strings++);
}

/* All samples of a family must stand together. */
static void put_family(struct text *text, size_t first, struct pupil *const *pupils,
                       const struct learner_figures *figures, size_t n_pupils)
{
    text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", metrics[first].name, metrics[first].help,
                metrics[first].name, metrics[first].type);
    for (size_t i = 0; i < n_pupils; i++)
        for (size_t m = first; m < N_METRICS && (m == first || !metrics[m].help); m++) {
            put_all(text, (const char *const[]){metrics[m].name, "{model=\"", pupils[i]->name, "\"",
                                                metrics[m].label, "} ", NULL});
            text_double(text, metrics[m].value(&figures[i]));
            text_puts(text, "\n");
        }
}

static void put_events(struct text *text, struct pupil *const *pupils,
                       const struct learner_figures *figures, size_t n_pupils)
{
    text_puts(text, "# HELP anomalyd_events_total What people were told; an incident that hardens "
                    "counts again.\n# TYPE anomalyd_events_total counter\n");
    for (size_t i = 0; i < n_pupils; i++)
        for (size_t kind = 0; kind < LEARNER_N_EVENT_KINDS; kind++) {
            put_all(text,
                    (const char *const[]){"anomalyd_events_total{model=\"", pupils[i]->name,
                                          "\",kind=\"", learner_event_kinds[kind], "\"} ", NULL});
            text_u64(text, figures[i].n_events[kind]);
            text_puts(text, "\n");
        }
}

void learner_write_metrics(struct learner *learner, struct text *text)
{
    (void)pthread_mutex_lock(&learner->lock);
    const size_t n = learner->n_pupils;
    (void)pthread_mutex_unlock(&learner->lock);
    AUTO_FREE struct pupil **pupils = calloc(n + 1, sizeof(struct pupil *));
    AUTO_FREE struct learner_figures *figures = calloc(n + 1, sizeof(*figures));
    size_t n_there = 0;
    if (!pupils || !figures)
        return;

    (void)pthread_mutex_lock(&learner->lock);
    for (size_t i = 0; i < n; i++)
        if (!learner->pupils[i]->is_gone)
            pupils[n_there++] = learner->pupils[i];
    (void)pthread_mutex_unlock(&learner->lock);
    for (size_t i = 0; i < n_there; i++)
        figures[i] = pupil_look(pupils[i]).figures;
    for (size_t m = 0; m < N_METRICS; m++)
        if (metrics[m].help)
            put_family(text, m, pupils, figures, n_there);
    put_events(text, pupils, figures, n_there);
}
