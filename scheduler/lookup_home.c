#include "scheduler/lookup_home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define KEEP_MS 5000
#define BUCKETS 256
#define SLOTS_MAX 1024 /* about 1 KB each */

/* A driver with overrides, shared by the rows that were read one after the other while they stayed the same: what the door has worked
 * out for it stays too. */
struct own_driver {
	struct driver *driver;
	const struct driver *base;
	char *overrides;
	int refs;
};

/* A row is replaced, not changed, when it is read anew: who is under way goes on with his. */
static struct slot {
	const struct driver *of;
	int64_t id; /* as it was asked for: 0, of no company */
	struct lookup_home *now;
	bool reading; /* one reads it anew, the others go on with what there is */
	struct slot *next;
} * buckets[BUCKETS];
static int n_slots;

static void own_put(struct own_driver *o)
{
	if (!o || --o->refs > 0)
		return;
	driver_overlaid_free(o->driver);
	free(o->overrides);
	free(o);
}

void lookup_home_put(struct lookup_home *h)
{
	if (!h || --h->refs > 0)
		return;
	own_put(h->own);
	integration_clear(&h->row);
	free(h->held);
	free(h);
}

/* ---- one row ---- */

static int own_make(struct lookup_home *h, const struct driver *base,
		    const struct lookup_home *before, struct err *err)
{
	struct own_driver *o = before ? before->own : NULL;
	struct buf problems = BUF_INIT;
	int rc = 0;

	if (o && o->base == base && strcmp(o->overrides, h->row.overrides) == 0) {
		o->refs++;
		h->own = o;
		return 0;
	}
	o = mem_new(struct own_driver);
	o->refs = 1;
	o->base = base;
	o->overrides = mem_strdup(h->row.overrides);
	if (driver_overlaid(base, "overrides", h->row.overrides, &o->driver, &problems) < 0)
		rc = err_set(err, -EINVAL, ERR_CLIENT, "integration_id", "%.*s",
			     (int)strcspn(problems.data, "\n"), problems.data);
	buf_clear(&problems);
	h->own = o;
	return rc;
}

static int find_driver(struct lookup_home *h, const struct driver *d,
		       const struct lookup_home *before, struct err *err)
{
	int rc = 0;

	h->driver = driver_for(d, h->row.id, h->row.settings, NULL, err);
	if (!h->driver)
		return -EINVAL;
	if (h->row.overrides)
		rc = own_make(h, h->driver, before, err);
	if (rc == 0 && h->own)
		h->driver = h->own->driver;
	return rc;
}

/* Paused, or its credentials are broken: jobs would wait. */
static int find_held(struct scheduler *s, struct lookup_home *h, struct err *err)
{
	const char *why = h->row.status_reason;
	char *paused = NULL;
	int rc = partner_pause_get(s->pg, h->row.partner, &paused, err);

	if (rc == 0 && strcmp(h->row.status, "active") != 0)
		h->held = mem_printf("integration %lld is %s%s%s", (long long)h->row.id,
				     h->row.status, why ? ": " : "", why ? why : "");
	else if (rc == 0 && paused)
		h->held =
			mem_printf("%s is paused%s%s", h->row.partner, *paused ? ": " : "", paused);
	free(paused);
	return rc;
}

static int find_id(struct scheduler *s, const char *partner, int64_t *id, struct err *err)
{
	int rc = *id ? 0 : integration_home(s->pg, partner, id, err);

	if (rc < 0)
		return rc;
	return *id ? 0
		   : err_set(err, -ENOENT, ERR_BAD_JOB, "partner",
			     "%s has no integration of no company: `longshore integration add --partner %s` makes one",
			     partner, partner);
}

static int read_home(struct scheduler *s, const struct driver *d, int64_t id,
		     const struct lookup_home *before, struct lookup_home *h, struct err *err)
{
	const char *partner = d->manifest->partner;
	int rc = find_id(s, partner, &id, err);

	if (rc < 0)
		return rc;
	rc = integration_get(s->pg, id, &h->row, err);
	if (rc == -ENOENT)
		err_set(err, rc, ERR_BAD_JOB, "integration_id", "integration %lld does not exist",
			(long long)id);
	if (rc == 0 && strcmp(h->row.partner, partner) != 0)
		rc = err_set(err, -EINVAL, ERR_BAD_JOB, "integration_id",
			     "integration %lld belongs to partner %s, not to %s", (long long)id,
			     h->row.partner, partner);
	if (rc == 0)
		rc = find_driver(h, d, before, err);
	if (rc == 0)
		rc = find_held(s, h, err);
	h->read_ms = loop_now_ms();
	return rc;
}

/* ---- the table ---- */

static struct slot **slot_at(const struct driver *d, int64_t id)
{
	struct slot **p = &buckets[(uint64_t)id % BUCKETS];

	while (*p && ((*p)->id != id || (*p)->of != d))
		p = &(*p)->next;
	return p;
}

static void slot_drop(struct slot **at)
{
	struct slot *slot = *at;

	*at = slot->next;
	lookup_home_put(slot->now);
	free(slot);
	n_slots--;
}

/* When it is full everything goes that nobody is reading. */
static void make_room(void)
{
	if (n_slots < SLOTS_MAX)
		return;
	for (int i = 0; i < BUCKETS; i++)
		for (struct slot **p = &buckets[i]; *p;)
			if ((*p)->reading)
				p = &(*p)->next;
			else
				slot_drop(p);
}

static void keep(const struct driver *d, int64_t id, struct lookup_home *h)
{
	struct slot *slot = *slot_at(d, id);

	h->refs++;
	if (slot) {
		lookup_home_put(slot->now);
		slot->now = h;
		return;
	}
	make_room();
	slot = mem_new(struct slot);
	*slot = (struct slot){
		.of = d, .id = id, .now = h, .next = buckets[(uint64_t)id % BUCKETS]
	};
	buckets[(uint64_t)id % BUCKETS] = slot;
	n_slots++;
}

static bool is_away(int rc, const struct err *err)
{
	return rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ECANCELED ||
	       err->class == ERR_TRANSIENT;
}

/* What was known stays good while Postgres is away. */
static void not_read(const struct driver *d, int64_t id, int rc, const struct err *err)
{
	struct slot **at = slot_at(d, id);

	if (!*at)
		return;
	if (is_away(rc, err))
		(*at)->now->read_ms = loop_now_ms();
	else if (!(*at)->reading)
		slot_drop(at);
}

static int read_anew(struct scheduler *s, const struct driver *d, int64_t id, struct err *err)
{
	struct lookup_home *h = mem_new(struct lookup_home), *before;
	struct slot *slot = *slot_at(d, id);
	int rc;

	before = slot ? slot->now : NULL;
	h->refs = 1;
	if (slot)
		slot->reading = true;
	if (before)
		before->refs++;
	rc = read_home(s, d, id, before, h, err);
	lookup_home_put(before);
	if (slot)
		slot->reading = false; /* it is still there: nobody drops what is being read */
	if (rc == 0)
		keep(d, id, h);
	else
		not_read(d, id, rc, err);
	lookup_home_put(h);
	return rc;
}

int lookup_home_get(struct scheduler *s, const struct driver *d, int64_t id,
		    struct lookup_home **out, struct err *err)
{
	struct slot *slot = *slot_at(d, id);
	int rc = 0;

	if (!slot || (!slot->reading && loop_now_ms() - slot->now->read_ms >= KEEP_MS)) {
		rc = read_anew(s, d, id, err);
		slot = *slot_at(d, id);
	}
	if (!slot)
		return rc < 0 ? rc
			      : err_set(err, -ECANCELED, ERR_TRANSIENT, "lookup",
					"too many integrations at once");
	if (rc < 0)
		log_event(LOG_WARN, "integration_not_read", LI("integration", slot->now->row.id),
			  LS("reason", err->text));
	slot->now->refs++;
	*out = slot->now;
	return 0;
}

void lookup_home_free_all(void)
{
	for (int i = 0; i < BUCKETS; i++)
		while (buckets[i])
			slot_drop(&buckets[i]);
}
