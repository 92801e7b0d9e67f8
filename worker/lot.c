#include "worker/lot.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define LINGER_MS 3
#define ITEMS_MAX 500
#define AGAIN_MS 200

/* On the heap: its waiter may be cancelled while the statement is under way. */
struct entry {
	void *item;
	struct completion done;
	bool orphan;
	int rc;
	struct err err;
};

struct batch {
	struct lot *lot;
	int n;
	struct loop_timer *again;
	struct entry *v[ITEMS_MAX];
};

struct lot {
	struct pg *pg;
	const struct lot_kind *kind;
	struct batch *open; /* gathering; NULL: none */
	struct loop_timer *linger;
};

static void entry_end(struct lot *l, struct entry *e, int rc, const struct err *err)
{
	l->kind->free_item(e->item);
	e->item = NULL;
	e->rc = rc;
	if (err)
		e->err = *err;
	if (e->orphan)
		free(e);
	else
		completion_done(&e->done);
}

static void batch_end(struct batch *b, int rc, const struct err *err)
{
	for (int i = 0; i < b->n; i++)
		entry_end(b->lot, b->v[i], rc, err);
	loop_timer_free(b->again);
	free(b);
}

static bool wanted(const struct batch *b)
{
	for (int i = 0; i < b->n; i++)
		if (!b->v[i]->orphan)
			return true;
	return false;
}

static void batch_send(void *arg);

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct batch *b = arg;

	if (rc == 0)
		PQclear(results[0]);
	/* Unknown outcome, or the server is away: these writes may run twice. */
	if ((rc == -ECONNRESET || rc == -ETIMEDOUT || (rc < 0 && err->class == ERR_TRANSIENT)) &&
	    wanted(b)) {
		if (!b->again)
			b->again = loop_timer_new(batch_send, b);
		loop_timer_set(b->again, AGAIN_MS);
		return;
	}
	batch_end(b, rc, err);
}

static void batch_send(void *arg)
{
	struct batch *b = arg;
	static const void
		*items[ITEMS_MAX]; /* too large for a coroutine's stack; not used across a wait */
	struct pg_params params;

	for (int i = 0; i < b->n; i++)
		items[i] = b->v[i]->item;
	pg_params_init(&params);
	b->lot->kind->params(&params, items, b->n);
	struct pg_statement st = { b->lot->kind->sql(), &params };
	pg_send(b->lot->pg, &st, 1, on_answer, b);
	pg_params_clear(&params);
}

static void flush(void *arg)
{
	struct lot *l = arg;
	struct batch *b = l->open;

	l->open = NULL;
	loop_timer_stop(l->linger);
	if (b)
		batch_send(b);
}

struct lot *lot_new(struct pg *p, const struct lot_kind *kind)
{
	struct lot *l = mem_new(struct lot);

	l->pg = p;
	l->kind = kind;
	l->linger = loop_timer_new(flush, l);
	return l;
}

void lot_free(struct lot *l)
{
	if (!l)
		return;
	if (l->open)
		batch_end(l->open, -ECANCELED, NULL);
	loop_timer_free(l->linger);
	free(l);
}

int lot_add(struct lot *l, void *item, int64_t deadline_ms, struct err *err)
{
	struct entry *e = mem_new(struct entry);
	int rc;

	e->item = item;
	if (!l->open) {
		l->open = mem_new(struct batch);
		l->open->lot = l;
		loop_timer_set(l->linger, LINGER_MS);
	}
	l->open->v[l->open->n++] = e;
	if (l->open->n == ITEMS_MAX)
		flush(l);
	rc = completion_wait(&e->done, "write", deadline_ms);
	if (rc < 0 && !e->done.done) {
		e->orphan = true;
		return rc;
	}
	rc = e->rc;
	if (rc < 0 && err)
		*err = e->err;
	free(e);
	return rc;
}
