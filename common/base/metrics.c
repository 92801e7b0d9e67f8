#include "common/base/metrics.h"

#include <stdarg.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/metrics_page.h"

#define LABELS_MAX 12

const double metrics_bounds[METRICS_BUCKETS - 1] = { .005, .01, .025, .05, .1, .25, .5,
						     1,    2.5, 5,    10,  30, 60,  300 };

struct label {
	const char *key, *value;
};

static struct metrics_page *own;

/* What a full page hands out: callers write into it and nobody reads. */
static struct {
	struct metric m;
	double values[METRICS_BUCKETS + 1];
} nowhere;

static struct metric *nowhere_of(enum metric_type type)
{
	nowhere.m.type = (uint16_t)type;
	nowhere.m.count = METRICS_BUCKETS + 1;
	return &nowhere.m;
}

void metrics_page_prepare(struct metrics_page *page)
{
	if (page->magic == METRICS_MAGIC)
		return;
	page->used = sizeof(*page);
	__atomic_store_n(&page->magic, METRICS_MAGIC, __ATOMIC_RELEASE);
}

void metrics_init(void *page)
{
	own = page ? page : mem_zalloc(METRICS_PAGE_BYTES);
	metrics_page_prepare(own);
}

static struct metric *at(struct metrics_page *page, uint32_t offset)
{
	return (struct metric *)((char *)page + offset);
}

static bool is_record(const struct metric *m, uint64_t hash, uint32_t family, const char *text)
{
	return m->hash == hash && m->family == family && strcmp(metric_text(m), text) == 0;
}

/* The slot that has the record, or the empty one where it belongs. */
static uint32_t *slot_find(struct metrics_page *page, uint64_t hash, uint32_t family,
			   const char *text)
{
	for (uint64_t i = hash;; i++) {
		uint32_t *slot = &page->slots[i & (METRICS_SLOTS - 1)];

		if (*slot == 0 || is_record(at(page, *slot), hash, family, text))
			return slot;
	}
}

/* `used` moves last: see metrics_page.h. */
static struct metric *record_add(struct metrics_page *page, uint32_t *slot,
				 const struct metric *head, const char *text, const char *more)
{
	size_t text_len = strlen(text) + 1, more_len = more ? strlen(more) + 1 : 0;
	size_t text_at = sizeof(*head) + head->count * sizeof(double);
	size_t size = (text_at + text_len + more_len + 7) & ~(size_t)7;
	struct metric *m = at(page, page->used);

	if (size > METRICS_PAGE_BYTES - page->used || page->records == METRICS_RECORDS_MAX)
		return NULL;
	page->records++;
	*m = *head;
	m->size = (uint32_t)size;
	m->text_at = (uint16_t)text_at;
	memcpy((char *)m + text_at, text, text_len);
	if (more)
		memcpy((char *)m + text_at + text_len, more, more_len);
	*slot = page->used;
	__atomic_store_n(&page->used, page->used + (uint32_t)size, __ATOMIC_RELEASE);
	return m;
}

static struct metric *family_of(struct metrics_page *page, enum metric_type type, const char *name,
				const char *help)
{
	uint64_t hash = crypto_hash64(name, strlen(name), 0);
	uint32_t *slot = slot_find(page, hash, 0, name);
	struct metric head = { .hash = hash, .type = (uint16_t)type };
	char cut[METRICS_HELP_MAX_BYTES];

	if (*slot)
		return at(page, *slot);
	memcpy(cut, help, strnlen(help, sizeof(cut) - 1) + 1);
	cut[sizeof(cut) - 1] = '\0';
	return strlen(name) > METRICS_NAME_MAX_BYTES ? NULL
						     : record_add(page, slot, &head, name, cut);
}

struct metric *metrics_series(struct metrics_page *page, enum metric_type type, const char *name,
			      const char *help, const char *labels)
{
	struct metric *family = family_of(page, type, name, help);
	struct metric head = { .type = (uint16_t)type, .count = 1 };
	uint32_t *slot;

	if (!family || family->type != type)
		return NULL;
	head.family = (uint32_t)((char *)family - (char *)page);
	head.hash = crypto_hash64(labels, strlen(labels), family->hash);
	if (type == METRIC_HISTOGRAM)
		head.count = METRICS_BUCKETS + 1;
	slot = slot_find(page, head.hash, head.family, labels);
	return *slot ? at(page, *slot) : record_add(page, slot, &head, labels, NULL);
}

/* Appends key="value" with what Prometheus wants escaped; false if there is no room. */
static bool label_put(struct buf *b, const struct label *label)
{
	if (b->len)
		buf_putc(b, ',');
	buf_puts(b, label->key);
	buf_puts(b, "=\"");
	for (const char *p = label->value;;) {
		size_t plain = strcspn(p, "\\\"\n");

		buf_append(b, p, plain);
		p += plain;
		if (!*p)
			break;
		buf_putc(b, '\\');
		buf_putc(b, *p == '\n' ? 'n' : *p);
		p++;
	}
	buf_putc(b, '"');
	return b->len < METRICS_LABELS_MAX_BYTES;
}

/* Sorted by key, so that the order a caller names them in makes no second series (a scrape with the
 * same series twice is refused as a whole). */
static bool labels_print(struct buf *out, va_list ap)
{
	struct label labels[LABELS_MAX];
	int n = 0;

	for (;;) {
		struct label next = { va_arg(ap, const char *), NULL };
		int i;

		if (!next.key)
			break;
		next.value = va_arg(ap, const char *);
		if (n == LABELS_MAX)
			return false;
		if (!next.value)
			next.value = "";
		for (i = n++; i > 0 && strcmp(labels[i - 1].key, next.key) > 0; i--)
			labels[i] = labels[i - 1];
		labels[i] = next;
	}
	for (int i = 0; i < n; i++)
		if (!label_put(out, &labels[i]))
			return false;
	return true;
}

static struct metric *series_of(enum metric_type type, const char *name, const char *help,
				va_list ap)
{
	static struct buf labels, clean; /* kept: finding a series allocates nothing */
	struct metric *m = NULL;

	if (!own)
		metrics_init(NULL);
	buf_reset(&labels);
	buf_append(&labels, "", 0);
	if (labels_print(&labels, ap)) {
		if (!utf8_is_valid(labels.data, labels.len)) {
			buf_reset(&clean);
			utf8_append_clean(&clean, labels.data, labels.len);
			buf_reset(&labels);
			buf_append(&labels, clean.data, clean.len);
		}
		m = metrics_series(own, type, name, help, labels.data);
	}
	if (m)
		return m;
	own->dropped++;
	return nowhere_of(type);
}

struct metric *metrics_counter(const char *name, const char *help, ...)
{
	struct metric *m;
	va_list ap;

	va_start(ap, help);
	m = series_of(METRIC_COUNTER, name, help, ap);
	va_end(ap);
	return m;
}

struct metric *metrics_gauge(const char *name, const char *help, ...)
{
	struct metric *m;
	va_list ap;

	va_start(ap, help);
	m = series_of(METRIC_GAUGE, name, help, ap);
	va_end(ap);
	return m;
}

struct metric *metrics_least(const char *name, const char *help, ...)
{
	struct metric *m;
	va_list ap;

	va_start(ap, help);
	m = series_of(METRIC_LEAST, name, help, ap);
	va_end(ap);
	return m;
}

struct metric *metrics_histogram(const char *name, const char *help, ...)
{
	struct metric *m;
	va_list ap;

	va_start(ap, help);
	m = series_of(METRIC_HISTOGRAM, name, help, ap);
	va_end(ap);
	return m;
}

/* The oldest makes room: rare ones are found anew each time. */
struct metric **metrics_keep(struct metrics_kept *k, const void *a, const void *b, const void *c)
{
	unsigned n = k->n < METRICS_KEPT ? k->n : METRICS_KEPT, at;

	for (unsigned i = 0; i < n; i++)
		if (k->v[i].key[0] == a && k->v[i].key[1] == b && k->v[i].key[2] == c)
			return &k->v[i].m;
	at = k->n++ % METRICS_KEPT;
	k->v[at].key[0] = a;
	k->v[at].key[1] = b;
	k->v[at].key[2] = c;
	k->v[at].m = NULL;
	return &k->v[at].m;
}

/* A counter never falls and NaN would stay for ever: both are left out. */
void metric_add(struct metric *m, double n)
{
	if (m->type != METRIC_HISTOGRAM && (n >= 0 || (n < 0 && m->type == METRIC_GAUGE)))
		metric_store(m->values, m->values[0] + n);
}

void metric_set(struct metric *m, double v)
{
	if (m->type != METRIC_HISTOGRAM)
		metric_store(m->values, v);
}

void metric_observe(struct metric *m, double seconds)
{
	int i = 0;

	if (m->type != METRIC_HISTOGRAM || !__builtin_isfinite(seconds))
		return;
	while (i < METRICS_BUCKETS - 1 && seconds > metrics_bounds[i])
		i++;
	metric_store(&m->values[i], m->values[i] + 1);
	metric_store(&m->values[METRICS_BUCKETS], m->values[METRICS_BUCKETS] + seconds);
}

void metrics_print_own(struct buf *out)
{
	void *pages[1];

	if (!own)
		metrics_init(NULL);
	pages[0] = own;
	metrics_print(out, pages, 1);
}
