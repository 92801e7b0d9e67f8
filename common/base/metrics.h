/* Counters, gauges and histograms, printed as Prometheus text.  All series of a process live in
 * one page of fixed size that may be shared memory: a supervisor made it, the worker process
 * writes it, and the supervisor reads it even after that process died, and answers for all (sums
 * of counters and histograms, sums of gauges).  One writer per page, no locks: a torn read costs
 * one scrape. Labels are bounded by the caller (templates, never ids); a full page drops new
 * series and counts them in longshore_metrics_dropped_total.  Nothing here waits. */
#ifndef COMMON_BASE_METRICS_H
#define COMMON_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define METRICS_PAGE_BYTES (1024 * 1024)

struct metrics_page;
struct metric; /* one series; a handle stays valid for the life of the page */

/* Before any other call; NULL: a private page.  `page` has METRICS_PAGE_BYTES zeroed bytes. */
void metrics_init(void *page);

/* Finds or makes a series.  `name` with its HELP text is registered once; labels as alternating
 * key, value strings ended by NULL: metrics_counter("x_total", "What it counts.", "partner", p,
 * NULL). Cheap, yet hot paths keep the handle. */
struct metric *metrics_counter(const char *name, const char *help, ...) __attribute__((sentinel));
struct metric *metrics_gauge(const char *name, const char *help, ...) __attribute__((sentinel));
/* A gauge of which the least of all processes counts, not the sum: what each knows of the same thing. */
struct metric *metrics_least(const char *name, const char *help, ...) __attribute__((sentinel));
/* Seconds, buckets .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10 30 60 300. */
struct metric *metrics_histogram(const char *name, const char *help, ...) __attribute__((sentinel));

/* For hot paths with a few series: handles by the addresses of what their labels say, which are
 * constants or live as long as the process.  The place of a handle; NULL in it: to be found and put
 * there. */
#define METRICS_KEPT 32
struct metrics_kept {
	struct {
		const void *key[3];
		struct metric *m;
	} v[METRICS_KEPT];
	unsigned n;
};
struct metric **metrics_keep(struct metrics_kept *k, const void *a, const void *b, const void *c);

void metric_add(struct metric *m, double n);
void metric_set(struct metric *m, double v);
void metric_observe(struct metric *m, double seconds);

/* Appends the text of n pages merged. */
void metrics_print(struct buf *out, void *const *pages, int n);
void metrics_print_own(struct buf *out);
/* Adds a dead process's counters and histograms into `into`, then zeroes `from`. */
void metrics_fold(void *into, void *from);

#endif
