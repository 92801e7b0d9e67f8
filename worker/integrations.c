#include "worker/integrations.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/auth.h"
#include "drivers/kit/control.h"

#define KEEP_MS 5000
#define BUCKETS 1024
#define MAX_KEPT 8192 /* about 1 KB each */

/* A driver with overrides, shared by the entries that were read one after the other while they stayed the same. */
struct own {
	struct driver *driver; /* NULL: they do not fit */
	const struct driver *base;
	char *overrides, *problem;
	int refs;
};

/* An entry is replaced, not changed, when it is read anew: attempts go on with the one they hold. */
struct entry {
	struct integration row; /* first: integrations_put finds the entry from it */
	struct own *own;        /* made when it is first asked for; NULL: not yet, or none */
	int64_t read_ms;
	int refs;
	bool in_table;
	struct entry *next;
};

static struct entry *buckets[BUCKETS];
static int n_kept;

static struct entry **find(int64_t id)
{
	struct entry **e = &buckets[(uint64_t)id % BUCKETS];

	while (*e && (*e)->row.id != id)
		e = &(*e)->next;
	return e;
}

static void own_put(struct own *o)
{
	if (!o || --o->refs > 0)
		return;
	driver_overlaid_free(o->driver);
	free(o->overrides);
	free(o->problem);
	free(o);
}

static struct own *own_new(const struct integration *i, const struct driver *base)
{
	struct own *o = mem_new(struct own);
	struct buf problems = BUF_INIT;
	char *shown = mem_printf("the overrides of integration %lld", (long long)i->id);

	o->refs = 1;
	o->base = base;
	o->overrides = mem_strdup(i->overrides);
	if (driver_overlaid(base, shown, i->overrides, &o->driver, &problems) < 0) {
		problems.data[strcspn(problems.data, "\n")] = '\0';
		o->problem = buf_detach(&problems);
		log_event(LOG_ERROR, "overrides_refused", LI("integration", i->id),
			  LS("problem", o->problem));
	}
	buf_clear(&problems);
	free(shown);
	return o;
}

static void entry_free(struct entry *e)
{
	own_put(e->own);
	integration_clear(&e->row);
	free(e);
}

static void unlink_entry(struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	e->in_table = false;
	n_kept--;
	if (!e->refs)
		entry_free(e);
}

/* The table is bounded: when it is full everything that nobody holds goes. */
static void make_room(void)
{
	if (n_kept < MAX_KEPT)
		return;
	for (int i = 0; i < BUCKETS; i++)
		while (buckets[i])
			unlink_entry(&buckets[i]);
}

static struct entry *insert(struct integration *row)
{
	struct entry **at, *e = mem_new(struct entry);

	make_room();
	at = find(row->id);
	if (*at && (*at)->own && row->overrides &&
	    strcmp((*at)->own->overrides, row->overrides) == 0) {
		e->own = (*at)->own;
		e->own->refs++;
	}
	if (*at)
		unlink_entry(at);
	at = &buckets[(uint64_t)row->id % BUCKETS];
	e->row = *row;
	e->read_ms = loop_now_ms();
	e->in_table = true;
	e->next = *at;
	*at = e;
	n_kept++;
	return e;
}

/* One read of an id at a time: whoever comes meanwhile waits, and shares what came of it. */
struct waiter { /* on the waiting coroutine's stack */
	struct completion done;
	int rc;
	struct err err;
	struct waiter *next;
};

static struct loading { /* on the reading coroutine's stack */
	int64_t id;
	struct waiter *waiters;
	struct loading *next;
} * loads;

static struct loading *loading_find(int64_t id)
{
	struct loading *l = loads;

	while (l && l->id != id)
		l = l->next;
	return l;
}

static void loading_end(struct loading *l, int rc, const struct err *err)
{
	struct loading **p = &loads;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	for (struct waiter *w = l->waiters, *next; w; w = next) {
		next = w->next; /* its stack goes on as soon as it is woken */
		w->rc = rc;
		w->err = *err;
		completion_done(&w->done);
	}
}

static void waiter_drop(int64_t id, struct waiter *w)
{
	struct loading *l = loading_find(id);
	struct waiter **p = l ? &l->waiters : NULL;

	while (p && *p && *p != w)
		p = &(*p)->next;
	if (p && *p)
		*p = w->next;
}

static int read_row(struct worker *w, int64_t id, struct err *err)
{
	struct loading self = { .id = id, .next = loads };
	struct integration row = { 0 };
	struct err why = { 0 };
	int rc;

	loads = &self;
	rc = integration_get(w->pg, id, &row, &why);
	if (rc == 0)
		insert(&row);
	/* A reader whose own time is over says nothing about the row. */
	loading_end(&self,
		    rc == -ETIMEDOUT && loop_now_ms() >= co_deadline(co_self()) ? -ECANCELED : rc,
		    &why);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* Where the reader was cancelled the next one reads. */
static int share_read(struct loading *l, int64_t id, struct err *err)
{
	struct waiter self = { .next = l->waiters };
	int rc;

	l->waiters = &self;
	rc = completion_wait(&self.done, "integration", CO_NO_DEADLINE);
	if (rc < 0) {
		waiter_drop(id, &self);
		return rc;
	}
	if (self.rc == -ECANCELED)
		return 0;
	if (self.rc < 0 && err)
		*err = self.err;
	return self.rc;
}

int integrations_get(struct worker *w, int64_t id, const struct integration **out, struct err *err)
{
	int rc = 0;

	while (rc == 0) {
		struct entry *e = *find(id);
		struct loading *l;

		if (e && loop_now_ms() - e->read_ms < KEEP_MS) {
			e->refs++;
			*out = &e->row;
			return 0;
		}
		l = loading_find(id);
		rc = l ? share_read(l, id, err) : read_row(w, id, err);
	}
	return rc;
}

void integrations_put(const struct integration *i)
{
	struct entry *e = (struct entry *)i;

	if (e && --e->refs == 0 && !e->in_table)
		entry_free(e);
}

const struct driver *integrations_driver(const struct integration *i, const struct driver *base,
					 struct err *err)
{
	struct entry *e = (struct entry *)i;

	if (!i->overrides || !base)
		return base;
	if (e->own &&
	    e->own->base != base) { /* another version of the driver since the entry before */
		own_put(e->own);
		e->own = NULL;
	}
	if (!e->own)
		e->own = own_new(i, base);
	if (!e->own->driver)
		err_set(err, -EINVAL, ERR_CLIENT, "overrides",
			"%s; mend them with `longshore integration set %lld`", e->own->problem,
			(long long)i->id);
	return e->own->driver;
}

bool integrations_is_broken(struct worker *w, int64_t id)
{
	struct entry *e = *find(id);

	return e && !strcmp(e->row.status, "auth_broken");
}

void integrations_forget(int64_t id)
{
	struct entry **at = find(id);

	if (*at)
		unlink_entry(at);
}

static int write_broken(struct worker *w, const struct integration *i, const char *reason,
			struct err *err)
{
	const struct driver *d = driver_find(w->drivers, i->partner);
	struct buf todo = BUF_INIT;
	char scope[64], *shown;
	int rc;

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)i->id);
	if (d)
		auth_todo(d->manifest, i->id, &todo);
	shown = mem_printf("%s%s%s", reason, todo.len ? "; " : "", buf_str(&todo));
	rc = integration_stop(w->pg, i->id, "auth_broken",
			      &(struct stop){ shown, "auth_broken", scope, reason, buf_str(&todo) },
			      err);
	buf_clear(&todo);
	free(shown);
	return rc;
}

void integrations_mark_broken(struct worker *w, int64_t id, const char *reason)
{
	const struct integration *i = NULL;
	struct err err = { 0 };
	int rc;

	if (co_is_cancelled())
		return;
	rc = integrations_get(w, id, &i, &err);
	if (rc == 0 && reason)
		rc = write_broken(w, i, reason, &err);
	if (rc == 0)
		rc = control_mirror(w->redis, w->pg, driver_find(w->drivers, i->partner),
				    i->partner, false, loop_now_ms() + 5000, &err);
	integrations_forget(id);
	integrations_put(i);
	if (rc < 0)
		log_event(LOG_WARN, "integration_not_marked", LI("integration", id),
			  LS("reason", err.text));
}

void integrations_free_all(void)
{
	for (int i = 0; i < BUCKETS; i++)
		while (buckets[i])
			unlink_entry(&buckets[i]);
}
