/* process - the metrics about this process that every Prometheus client library gives. */
#pragma once

struct text;

/* process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes,
 * process_start_time_seconds, process_open_fds, process_max_fds; what /proc does not tell is left
 * out. Any thread. */
void process_write_metrics(struct text *text);
