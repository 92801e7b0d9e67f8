/* Reading pages, one's own or other processes': merging and Prometheus text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/metrics_page.h"

#define DROPPED_NAME "longshore_metrics_dropped_total"
#define DROPPED_HELP "Times a series was left out since the metrics page is full."

struct found {
	const struct metric *m;
	const char *name, *help, *labels;
};

typedef void (*found_fn)(const struct found *f, void *arg);

/* A string at `from` that ends within the record. */
static const char *text_in(const struct metric *m, size_t from)
{
	return from < m->size && memchr((const char *)m + from, 0, m->size - from)
		       ? (const char *)m + from
		       : NULL;
}

/* Is there a whole record at this offset? */
static const struct metric *record_at(const struct metrics_page *page, uint32_t offset,
				      uint32_t used)
{
	const struct metric *m = (const void *)((const char *)page + offset);

	if (offset < sizeof(*page) || offset % 8 || offset > used || used - offset < sizeof(*m))
		return NULL;
	if (m->size < sizeof(*m) || m->size % 8 || m->size > used - offset ||
	    m->type == METRIC_NONE || m->type >= METRIC_TYPE_COUNT ||
	    m->count > METRICS_BUCKETS + 1 || m->text_at < sizeof(*m) + m->count * sizeof(double) ||
	    !text_in(m, m->text_at))
		return NULL;
	return m;
}

static const struct metric *family_at(const struct metrics_page *page, const struct metric *series,
				      uint32_t used)
{
	const struct metric *f = record_at(page, series->family, used);
	uint32_t count = series->type == METRIC_HISTOGRAM ? METRICS_BUCKETS + 1 : 1;

	return f && f->family == 0 && f->type == series->type && series->count == count ? f : NULL;
}

/* Stops at the first record that makes no sense: what follows it cannot be found. */
static void page_each(const struct metrics_page *page, found_fn fn, void *arg)
{
	uint32_t used = __atomic_load_n(&page->used, __ATOMIC_ACQUIRE), offset = sizeof(*page);
	const struct metric *m, *f;

	if (page->magic != METRICS_MAGIC || used > METRICS_PAGE_BYTES)
		return;
	for (; (m = record_at(page, offset, used)); offset += m->size) {
		struct found found = { .m = m };

		f = m->family ? family_at(page, m, used) : NULL;
		if (!f)
			continue;
		found.name = metric_text(f);
		found.help = text_in(f, f->text_at + strlen(found.name) + 1);
		found.labels = metric_text(m);
		if (found.help)
			fn(&found, arg);
	}
}

static void gather(const struct found *f, void *arg)
{
	buf_append(arg, f, sizeof(*f));
}

static int by_name(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int rc = strcmp(x->name, y->name);

	if (rc == 0)
		rc = (int)x->m->type - (int)y->m->type; /* versions may differ: never one group */
	return rc ? rc : strcmp(x->labels, y->labels);
}

static void put_value(struct buf *out, double v)
{
	char text[32];

	if (__builtin_isnan(v))
		buf_puts(out, "NaN");
	else if (__builtin_isinf(v))
		buf_puts(out, v > 0 ? "+Inf" : "-Inf");
	else if (v == __builtin_trunc(v) && v > -1e15 && v < 1e15)
		buf_putint(out, (int64_t)v);
	else {
		snprintf(text, sizeof(text), "%.15g", v);
		buf_puts(out, text);
	}
	buf_putc(out, '\n');
}

static void put_series(struct buf *out, const char *name, const char *suffix, const char *labels,
		       const char *le, double v)
{
	buf_puts(out, name);
	buf_puts(out, suffix);
	if (*labels || le) {
		buf_putc(out, '{');
		buf_puts(out, labels);
		if (le)
			buf_printf(out, "%sle=\"%s\"", *labels ? "," : "", le);
		buf_putc(out, '}');
	}
	buf_putc(out, ' ');
	put_value(out, v);
}

static void put_histogram(struct buf *out, const struct found *f, const double *values)
{
	double running = 0;
	char le[16];

	for (int i = 0; i < METRICS_BUCKETS; i++) {
		running += values[i];
		if (i < METRICS_BUCKETS - 1)
			snprintf(le, sizeof(le), "%g", metrics_bounds[i]);
		else
			snprintf(le, sizeof(le), "+Inf");
		put_series(out, f->name, "_bucket", f->labels, le, running);
	}
	put_series(out, f->name, "_sum", f->labels, NULL, values[METRICS_BUCKETS]);
	put_series(out, f->name, "_count", f->labels, NULL, running);
}

static void put_head(struct buf *out, const char *name, const char *help, uint16_t type)
{
	static const char *const types[] = { "", "counter", "gauge", "histogram", "gauge" };

	buf_printf(out, "# HELP %s ", name);
	for (; *help; help++) {
		if (*help == '\\' || *help == '\n') {
			buf_putc(out, '\\');
			buf_putc(out, *help == '\n' ? 'n' : '\\');
		} else {
			buf_putc(out, *help);
		}
	}
	buf_printf(out, "\n# TYPE %s %s\n", name, types[type]);
}

/* From `f` on, all that are the same series: their sum is printed, or the least of them. Returns the first that is
 * not. */
static const struct found *put_group(struct buf *out, const struct found *f,
				     const struct found *end)
{
	double sums[METRICS_BUCKETS + 1] = { 0 }, least = metric_load(&f->m->values[0]);
	const struct found *p = f;

	for (; p < end && by_name(p, f) == 0; p++) {
		for (uint32_t i = 0; i < f->m->count; i++)
			sums[i] += metric_load(&p->m->values[i]);
		least = __builtin_fmin(least, metric_load(&p->m->values[0]));
	}
	if (f->m->type == METRIC_HISTOGRAM)
		put_histogram(out, f, sums);
	else
		put_series(out, f->name, "", f->labels, NULL,
			   f->m->type == METRIC_LEAST ? least : sums[0]);
	return p;
}

void metrics_print(struct buf *out, void *const *pages, int n)
{
	struct buf all = BUF_INIT;
	const struct found *f, *end, *previous = NULL;
	double dropped = 0;

	for (int i = 0; i < n; i++) {
		const struct metrics_page *page = pages[i];

		page_each(page, gather, &all);
		if (page->magic == METRICS_MAGIC)
			dropped += (double)page->dropped;
	}
	if (all.len)
		qsort(all.data, all.len / sizeof(*f), sizeof(*f), by_name);
	f = (const void *)all.data;
	end = f + all.len / sizeof(*f);
	while (f < end) {
		if (!previous || strcmp(previous->name, f->name) != 0)
			put_head(out, f->name, f->help, f->m->type);
		else if (previous->m->type != f->m->type) {
			f++; /* a name can be of one type only */
			continue;
		}
		previous = f;
		f = put_group(out, f, end);
	}
	put_head(out, DROPPED_NAME, DROPPED_HELP, METRIC_COUNTER);
	put_series(out, DROPPED_NAME, "", "", NULL, dropped);
	buf_clear(&all);
}

static void fold_one(const struct found *f, void *arg)
{
	struct metrics_page *into = arg;
	struct metric *m;

	if (f->m->type == METRIC_GAUGE ||
	    f->m->type == METRIC_LEAST) /* what a dead process held is held no more */
		return;
	m = metrics_series(into, f->m->type, f->name, f->help, f->labels);
	if (!m) {
		into->dropped++;
		return;
	}
	for (uint32_t i = 0; i < m->count; i++)
		metric_store(&m->values[i], m->values[i] + metric_load(&f->m->values[i]));
}

void metrics_fold(void *into, void *from)
{
	struct metrics_page *to = into, *page = from;

	metrics_page_prepare(to);
	page_each(page, fold_one, to);
	if (page->magic == METRICS_MAGIC)
		to->dropped += page->dropped;
	memset(page, 0, METRICS_PAGE_BYTES);
}
