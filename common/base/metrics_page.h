/* The layout of a metrics page, shared by metrics.c (writes its own page) and metrics_print.c
 * (reads and merges pages of other processes).  Nobody else includes this.
 *
 * A page is mapped at different addresses in different processes: it holds offsets, no pointers.
 * Records are appended and never move.  A record is complete before `used` covers it, so a reader
 * that walks the records up to `used` sees whole ones even while the writer works, or where it
 * died; yet a page may have been trampled on by a crash, so readers check every length. */
#ifndef COMMON_BASE_METRICS_PAGE_H
#define COMMON_BASE_METRICS_PAGE_H

#include <stdint.h>

#include "common/base/metrics.h"

#define METRICS_MAGIC 0x4c534d31u                   /* "LSM1" */
#define METRICS_SLOTS 16384                         /* a power of two */
#define METRICS_RECORDS_MAX (METRICS_SLOTS / 4 * 3) /* so that a probe ends, and soon */
#define METRICS_BUCKETS 15                          /* 14 bounds and +Inf */
#define METRICS_LABELS_MAX_BYTES 1024
#define METRICS_NAME_MAX_BYTES 128
#define METRICS_HELP_MAX_BYTES 512

enum metric_type {
	METRIC_NONE,
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
	METRIC_LEAST,
	METRIC_TYPE_COUNT
};

/* One record.  The text behind the fixed part: a family has its name and HELP, a series its labels
 * as they are printed (a="x",b="y"); each ends with NUL. */
struct metric {
	uint64_t hash;    /* of name and labels */
	uint32_t size;    /* of the whole record, a multiple of 8 */
	uint32_t family;  /* a series: offset of its family's record; a family: 0 */
	uint16_t type;    /* enum metric_type */
	uint16_t text_at; /* from the record's start */
	uint32_t count;   /* of values[] */
	double values
		[]; /* 1; a histogram: the buckets (each for itself, not summed up) and the sum */
};

struct metrics_page {
	uint32_t magic;
	uint32_t used;    /* bytes, this header included */
	uint64_t dropped; /* series that found no room */
	uint32_t records;
	uint32_t unused;
	uint32_t slots[METRICS_SLOTS]; /* offsets of records, by hash; only the writer looks */
};

extern const double metrics_bounds[METRICS_BUCKETS - 1];

/* The series with these labels in printed form; made if it is not there; NULL if there is no
 * room. */
struct metric *metrics_series(struct metrics_page *page, enum metric_type type, const char *name,
			      const char *help, const char *labels);
void metrics_page_prepare(struct metrics_page *page);

static inline const char *metric_text(const struct metric *m)
{
	return (const char *)m + m->text_at;
}

/* Values are read by another process while they change: whole doubles, in no order. */
static inline double metric_load(const double *p)
{
	double v;

	__atomic_load(p, &v, __ATOMIC_RELAXED);
	return v;
}

static inline void metric_store(double *p, double v)
{
	__atomic_store(p, &v, __ATOMIC_RELAXED);
}

#endif
