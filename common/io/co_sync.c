/* What coroutines wait for together, made of nothing but co_wait and co_wake. */
#include <errno.h>

#include "common/io/co.h"

struct gate_waiter {
	struct gate_waiter *next;
	struct co *co;
	bool granted;
};

int completion_wait(struct completion *c, const char *why, int64_t deadline_ms)
{
	int rc = 0;

	c->waiter = co_self();
	while (!c->done && rc == 0)
		rc = co_wait(why, deadline_ms);
	c->waiter = NULL;
	return c->done ? 0 : rc; /* what is there counts, also when cancelled */
}

void completion_done(struct completion *c)
{
	c->done = true;
	if (c->waiter)
		co_wake(c->waiter);
}

void crew_init(struct crew *c, struct crew_member *members)
{
	*c = (struct crew){ .owner = co_self(), .members = members };
}

static void member_run(void *arg)
{
	struct crew_member *m = arg;
	struct crew *c = m->crew;

	m->fn(m->arg);
	m->co = NULL;
	c->alive--;
	co_wake(c->owner); /* its stack is not touched after this */
}

bool crew_spawn(struct crew *c, const char *name, void (*fn)(void *arg), void *arg, void *data)
{
	struct crew_member *m = &c->members[c->n];

	*m = (struct crew_member){ .crew = c, .fn = fn, .arg = arg };
	m->co = co_spawn(name, member_run, m);
	if (!m->co)
		return false;
	co_set_data(m->co, data);
	co_set_deadline(m->co, co_deadline(c->owner));
	c->n++;
	c->alive++;
	return true;
}

void crew_join(struct crew *c, const char *why)
{
	bool told = false;

	while (c->alive > 0) {
		if (co_is_cancelled() && !told) {
			told = true;
			for (int i = 0; i < c->n; i++)
				if (c->members[i].co)
					co_cancel(c->members[i].co);
		}
		co_wait_through(why);
	}
}

void gate_init(struct gate *g, int n)
{
	g->free = n;
	g->head = NULL;
	g->tail = &g->head;
}

static void gate_forget(struct gate *g, struct gate_waiter *w)
{
	struct gate_waiter **p = &g->head;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	if (!*p)
		g->tail = p;
}

int gate_enter(struct gate *g, const char *why, int64_t deadline_ms)
{
	struct gate_waiter w = { .co = co_self() };
	int rc = 0;

	if (co_is_cancelled())
		return -ECANCELED;
	if (g->free > 0) {
		g->free--;
		return 0;
	}
	*g->tail = &w;
	g->tail = &w.next;
	while (!w.granted && rc == 0)
		rc = co_wait(why, deadline_ms);
	if (w.granted)
		return 0; /* the place is ours and must be left again, whatever rc is */
	gate_forget(g, &w);
	return rc;
}

void gate_leave(struct gate *g)
{
	struct gate_waiter *w = g->head;

	if (!w) {
		g->free++;
		return;
	}
	g->head = w->next;
	if (!g->head)
		g->tail = &g->head;
	w->granted = true; /* handed over: whoever comes now stands behind */
	co_wake(w->co);
}
