#include "worker/lot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define LINGER_MS 3
#define ITEMS_MAX 500
#define AGAIN_MS 200
#define AGAIN_MAX_MS 2000
#define UNDER_WAY_MAX 1 /* a partial batch waits for it, and grows meanwhile (as in sink.c) */

/* On the heap: its waiter may be cancelled while the statement is under way. */
struct entry {
	void *item;
	struct completion done;
	bool orphan;
	int rc;
	struct err *err; /* NULL until there is one: it is most of a kilobyte */
};

struct batch {
	struct lot *lot; /* NULL: it is gone, and this only waits for its answer */
	const struct lot_kind *kind;
	int n, tries;
	struct loop_timer *again;
	struct batch *next, **back; /* of lot->batches */
	struct entry *v[ITEMS_MAX];
};

struct lot {
	struct pg *pg;
	const struct lot_kind *kind;
	struct batch *open;    /* gathering; NULL: none */
	struct batch *batches; /* under way, and the open one */
	int n_batches;
	bool due; /* the open one has lingered, and waits for another to end */
	struct loop_timer *linger;
};

static void entry_end(const struct lot_kind *kind, struct entry *e, int rc, const struct err *err)
{
	kind->free_item(e->item);
	e->item = NULL;
	e->rc = rc;
	if (e->orphan) {
		free(e->err);
		free(e);
		return;
	}
	if (err) {
		if (!e->err)
			e->err = mem_new(struct err);
		*e->err = *err;
	}
	completion_done(&e->done);
}

/* Values that don't fit, broken rules, and (54) what is too large for an index: of some row, not of the statement. */
bool lot_is_poison(int rc, const struct err *err)
{
	return rc == -EPROTO && (err->class == ERR_DATA || !strncmp(err->rule, "54", 2));
}

int64_t lot_again_ms(int tries)
{
	int64_t ms = (int64_t)AGAIN_MS << (tries < 8 ? tries : 8);

	return tries && ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : tries ? ms / 2 : AGAIN_MS;
}

int lot_gave_up(int rc, const struct err *refused, struct err *err)
{
	if (rc != -ETIMEDOUT)
		return rc;
	return err_set(err, rc, ERR_TRANSIENT, LOT_WAITED, "Postgres has not stored it in time: %s",
		       refused ? refused->text : "no answer yet");
}

/* ---- batches ---- */
static struct batch *batch_new(struct lot *l, struct entry *const *v, int n)
{
	struct batch *b = mem_new(struct batch);

	b->lot = l;
	b->kind = l->kind;
	b->n = n;
	if (n)
		memcpy(b->v, v, n * sizeof(*v));
	b->next = l->batches;
	b->back = &l->batches;
	if (b->next)
		b->next->back = &b->next;
	l->batches = b;
	l->n_batches++;
	return b;
}

static void batch_unlink(struct batch *b)
{
	*b->back = b->next;
	if (b->next)
		b->next->back = b->back;
	b->lot->n_batches--;
	b->lot = NULL;
}

/* Its entries have ended, or stand in others. */
static void batch_free(struct batch *b)
{
	if (b->lot && b->lot->due)
		loop_timer_set(b->lot->linger, 0);
	if (b->lot)
		batch_unlink(b);
	loop_timer_free(b->again);
	free(b);
}

static void batch_end(struct batch *b, int rc, const struct err *err)
{
	for (int i = 0; i < b->n; i++)
		entry_end(b->kind, b->v[i], rc, err);
	batch_free(b);
}

static bool wanted(const struct batch *b)
{
	for (int i = 0; i < b->n; i++)
		if (!b->v[i]->orphan)
			return true;
	return false;
}

static void batch_send(void *arg);

/* For whoever gives up waiting. */
static void note_refusal(struct batch *b, const struct err *err)
{
	for (int i = 0; i < b->n; i++) {
		struct entry *e = b->v[i];

		if (!e->err)
			e->err = mem_new(struct err);
		*e->err = *err;
	}
}

/* One item that Postgres refuses must not harm those of other jobs: halve until it stands alone. */
static void batch_split(struct batch *b)
{
	struct batch *first = batch_new(b->lot, b->v, b->n / 2);
	struct batch *rest = batch_new(b->lot, b->v + b->n / 2, b->n - b->n / 2);

	batch_free(b);
	batch_send(first);
	batch_send(rest);
}

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct batch *b = arg;

	if (rc == 0)
		PQclear(results[0]);
	if (rc == 0 || !b->lot || !wanted(b)) {
		batch_end(b, rc, err);
	} else if (rc == -ECONNRESET || rc == -ETIMEDOUT || err->class == ERR_TRANSIENT) {
		/* Unknown outcome, or the server is away: these writes may run twice. */
		if (!b->again)
			b->again = loop_timer_new(batch_send, b);
		b->tries = rc == -EPROTO ? b->tries + 1 : 0;
		note_refusal(b, err);
		loop_timer_set(b->again, lot_again_ms(b->tries));
	} else if (lot_is_poison(rc, err) && b->n > 1) {
		batch_split(b);
	} else {
		batch_end(b, rc, err);
	}
}

static void batch_send(void *arg)
{
	struct batch *b = arg;
	/* too large for a coroutine's stack; not used across a wait */
	static const void *items[ITEMS_MAX];
	struct pg_params params;

	for (int i = 0; i < b->n; i++)
		items[i] = b->v[i]->item;
	pg_params_init(&params);
	b->kind->params(&params, items, b->n);
	struct pg_statement st = { b->kind->sql(), &params };
	pg_send(b->lot->pg, &st, 1, on_answer, b);
	pg_params_clear(&params);
}

/* ---- gathering ---- */
static void flush(struct lot *l)
{
	struct batch *b = l->open;

	l->open = NULL;
	l->due = false;
	loop_timer_stop(l->linger);
	if (b)
		batch_send(b);
}

static void on_linger(void *arg)
{
	struct lot *l = arg;

	if (l->n_batches - 1 < UNDER_WAY_MAX)
		flush(l);
	else
		l->due = true;
}

struct lot *lot_new(struct pg *p, const struct lot_kind *kind)
{
	struct lot *l = mem_new(struct lot);

	l->pg = p;
	l->kind = kind;
	l->linger = loop_timer_new(on_linger, l);
	return l;
}

/* What was not sent ends now; what is under way is freed by its answer, at the latest when the pool goes. */
void lot_free(struct lot *l)
{
	if (!l)
		return;
	while (l->batches) {
		struct batch *b = l->batches;
		bool sent = b != l->open && !(b->again && loop_timer_pending(b->again));

		batch_unlink(b);
		if (!sent)
			batch_end(b, -ECANCELED, NULL);
	}
	loop_timer_free(l->linger);
	free(l);
}

int lot_add(struct lot *l, void *item, int64_t deadline_ms, struct err *err)
{
	struct entry *e = mem_new(struct entry);
	int rc;

	e->item = item;
	if (!l->open) {
		l->open = batch_new(l, NULL, 0);
		loop_timer_set(l->linger, LINGER_MS);
	}
	l->open->v[l->open->n++] = e;
	if (l->open->n == ITEMS_MAX)
		flush(l);
	rc = completion_wait(&e->done, "write", deadline_ms);
	if (rc < 0 && !e->done.done) {
		e->orphan = true;
		return lot_gave_up(rc, e->err, err);
	}
	rc = e->rc;
	if (rc < 0 && err && e->err)
		*err = *e->err;
	free(e->err);
	free(e);
	return rc;
}
