#include "worker/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/history.h"
#include "worker/sink_impl.h"

#define LINGER_MS 3
#define ROWS_FLUSH 500                /* gathered: sent at once … */
#define BYTES_FLUSH (4 * 1024 * 1024) /* … as with so much text */
#define ROWS_MAX 1000                 /* of one statement */
#define SLOW_ROWS 25    /* a batch that takes Postgres too long is not halved below that */
#define HISTORY_MS 3000 /* between two looks at whether changes are kept */
/* Partial batches wait while so many of their bucket are under way: when Postgres is the slower one they grow instead of
 * multiplying, for a commit costs a sync of the disk however few rows it has. */
#define UNDER_WAY_MAX 2

/* One sink_rows.  Its rows are the caller's while it waits; one that stops waiting leaves copies (thousands of jobs
 * wait here at once, and few are cancelled). */
struct request {
	struct completion done;
	bool orphan;
	int pending; /* rows without an outcome */
	int rc;
	int n;
	struct row_origin origin;
	struct err *err;           /* NULL until there is one */
	size_t bytes;              /* of strings */
	char (*why)[SINK_WHY_MAX]; /* NULL until the first failure */
	const struct row *const *rows;
	struct copies *copies; /* NULL while the caller waits */
	enum row_outcome outcomes[];
};

struct copies {
	const struct row **ptrs;
	struct row *rows;
	char *strings;
};

struct place { /* a row in a batch */
	struct request *request;
	int index;
};

struct bucket { /* gathering, by table and set of columns: one or two a collection */
	struct sink *sink;
	enum row_table table;
	uint64_t columns;
	bool expecting; /* rows that name a version: they need one statement more */
	struct place *places;
	int n, cap;
	size_t bytes;
	int under_way; /* batches */
	bool due;      /* has lingered, and waits for one of them to end */
	struct loop_timer *linger;
};

struct batch {                 /* under way */
	struct bucket *bucket; /* NULL: the sink is gone, and this only waits for its answer */
	struct place *places;
	int n;
	bool again_sent; /* an earlier sending may have been carried out */
	int tries;       /* refusals in a row */
	struct loop_timer *again;
	struct batch *next, **back; /* of sink->batches */
};

/* ---- requests ---- */
static bool is_text(enum row_type t)
{
	return t == ROW_TEXT || t == ROW_JSON;
}

/* Bytes that the texts of a row need. */
static size_t text_bytes(const struct row *r, const struct row_column *cols, int n_cols,
			 uint64_t set)
{
	size_t bytes = strlen(r->external_id) + 1;

	for (int c = 0; c < n_cols; c++)
		if (set >> c & 1 && r->values[c].set && is_text(cols[c].type))
			bytes += r->values[c].v.s.n;
	return bytes;
}

static char *copy_row(struct row *to, const struct row *from, const struct row_column *cols,
		      int n_cols, uint64_t set, char *at)
{
	size_t n = strlen(from->external_id) + 1;

	*to = *from;
	to->external_id = memcpy(at, from->external_id, n);
	at += n;
	for (int c = 0; c < n_cols; c++) {
		if (!(set >> c & 1) || !from->values[c].set || !is_text(cols[c].type))
			continue;
		memcpy(at, from->values[c].v.s.p, from->values[c].v.s.n);
		to->values[c].v.s.p = at;
		at += from->values[c].v.s.n;
	}
	return at;
}

static struct request *request_new(const struct row_set *set, const struct row *const *rows, int n)
{
	struct request *q = mem_zalloc(sizeof(*q) + n * sizeof(q->outcomes[0]));
	int n_cols;
	const struct row_column *cols = row_columns(set->table, &n_cols);

	for (int i = 0; i < n; i++)
		q->bytes += text_bytes(rows[i], cols, n_cols, set->columns);
	q->origin = set->origin;
	q->n = q->pending = n;
	q->rows = rows;
	return q;
}

/* The caller is about to leave, its rows with it. */
static void request_detach(struct request *q, enum row_table t, uint64_t set)
{
	struct copies *c = mem_new(struct copies);
	int n_cols;
	const struct row_column *cols = row_columns(t, &n_cols);
	char *at = c->strings = mem_alloc(q->bytes);

	c->rows = mem_alloc(q->n * sizeof(*c->rows));
	c->ptrs = mem_alloc(q->n * sizeof(*c->ptrs));
	for (int i = 0; i < q->n; i++) {
		at = copy_row(&c->rows[i], q->rows[i], cols, n_cols, set, at);
		c->ptrs[i] = &c->rows[i];
	}
	q->rows = c->ptrs;
	q->copies = c;
	q->orphan = true;
}

static void request_free(struct request *q)
{
	if (q->copies) {
		free(q->copies->ptrs);
		free(q->copies->rows);
		free(q->copies->strings);
		free(q->copies);
	}
	free(q->err);
	free(q->why);
	free(q);
}

static const struct row *row_of(const struct place *p)
{
	return p->request->rows[p->index];
}

static void row_end(const struct place *p, enum row_outcome outcome, const char *why)
{
	struct request *q = p->request;

	q->outcomes[p->index] = outcome;
	if (why) {
		if (!q->why)
			q->why = mem_zalloc(q->n * sizeof(*q->why));
		snprintf(q->why[p->index], SINK_WHY_MAX, "%s", why);
	}
	if (--q->pending > 0)
		return;
	if (q->orphan)
		request_free(q);
	else
		completion_done(&q->done);
}

static void row_error(const struct place *p, int rc, const struct err *err)
{
	struct request *q = p->request;

	q->rc = rc;
	if (err) {
		if (!q->err)
			q->err = mem_new(struct err);
		*q->err = *err;
	}
	row_end(p, ROW_FAILED, err ? err->text : NULL);
}

/* ---- whether changes are kept ---- */
struct history_look {      /* under way */
	struct sink *sink; /* NULL: it is gone */
};

static void on_history(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct history_look *l = arg;

	if (rc == 0 && l->sink)
		history_read(results[0], l->sink->history);
	if (rc == 0)
		PQclear(results[0]);
	if (l->sink)
		l->sink->history_asking = NULL;
	free(l);
}

/* Without waiting: what is sent meanwhile goes by the last answer.  One that did not come is asked for again. */
static void history_look(struct sink *s)
{
	struct pg_statement st = { history_sql(), NULL };

	if (s->history_asking ||
	    (s->history_read_ms && loop_now_ms() - s->history_read_ms < HISTORY_MS))
		return;
	s->history_read_ms = loop_now_ms();
	s->history_asking = mem_new(struct history_look);
	s->history_asking->sink = s;
	pg_send(s->pg, &st, 1, on_history, s->history_asking);
}

/* ---- batches ---- */
static void batch_send(void *arg);

static struct batch *batch_new(struct bucket *b, const struct place *places, int n)
{
	struct batch *t = mem_new(struct batch);
	struct sink *s = b->sink;

	t->bucket = b;
	b->under_way++;
	t->n = n;
	t->places = mem_alloc(n * sizeof(*places));
	memcpy(t->places, places, n * sizeof(*places));
	t->next = s->batches;
	t->back = &s->batches;
	if (t->next)
		t->next->back = &t->next;
	s->batches = t;
	return t;
}

static void batch_unlink(struct batch *t)
{
	struct bucket *b = t->bucket;

	if (--b->under_way < UNDER_WAY_MAX && b->due)
		loop_timer_set(b->linger, 0);
	*t->back = t->next;
	if (t->next)
		t->next->back = t->back;
	t->bucket = NULL;
}

static void batch_free(struct batch *t)
{
	if (t->bucket)
		batch_unlink(t);
	loop_timer_free(t->again);
	free(t->places);
	free(t);
}

static void batch_fail(struct batch *t, int rc, const struct err *err)
{
	for (int i = 0; i < t->n; i++)
		row_error(&t->places[i], rc, err);
	batch_free(t);
}

static bool wanted(const struct batch *t)
{
	for (int i = 0; i < t->n; i++)
		if (!t->places[i].request->orphan)
			return true;
	return false;
}

/* As they are now: those of a request that was left have moved.  The caller's to free. */
static const struct row **batch_rows(const struct batch *t)
{
	const struct row **rows = mem_alloc(t->n * sizeof(*rows));

	for (int i = 0; i < t->n; i++)
		rows[i] = row_of(&t->places[i]);
	return rows;
}

static void batch_done(struct batch *t, const PGresult *res, const PGresult *held)
{
	enum row_outcome *out = mem_alloc(t->n * sizeof(*out));
	const struct row **rows = batch_rows(t);

	row_upsert_outcomes(res, held, rows, t->n, out);
	free(rows);
	for (int i = 0; i < t->n; i++) {
		/* As old as what stands there: most likely it is what stands there, from the first sending. */
		if (t->again_sent && out[i] == ROW_STALE)
			out[i] = ROW_UPDATED;
		row_end(&t->places[i], out[i], NULL);
	}
	free(out);
	batch_free(t);
}

/* One row that Postgres refuses must not harm 499 others: halve until it stands alone. */
static void batch_split(struct batch *t, const struct err *err)
{
	struct batch *half[2];

	if (t->n == 1) {
		row_end(&t->places[0], ROW_FAILED, err->text);
		batch_free(t);
		return;
	}
	half[0] = batch_new(t->bucket, t->places, t->n / 2);
	half[1] = batch_new(t->bucket, t->places + t->n / 2, t->n - t->n / 2);
	for (int i = 0; i < 2; i++) {
		half[i]->again_sent = t->again_sent;
		batch_send(half[i]);
	}
	batch_free(t);
}

/* For whoever gives up waiting. */
static void note_refusal(struct batch *t, const struct err *err)
{
	for (int i = 0; i < t->n; i++) {
		struct request *q = t->places[i].request;

		if (q->orphan || (i && t->places[i - 1].request == q))
			continue;
		if (!q->err)
			q->err = mem_new(struct err);
		*q->err = *err;
	}
}

/* Over somebody's statement_timeout: all at once it would be so for ever. */
static bool is_too_slow(int rc, const struct err *err)
{
	return rc == -EPROTO && !strcmp(err->rule, "57014");
}

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct batch *t = arg;

	if (rc == 0) {
		batch_done(t, results[n - 1], n > 1 ? results[0] : NULL);
		for (int i = 0; i < n; i++)
			PQclear(results[i]);
	} else if (!t->bucket || !wanted(t)) {
		batch_fail(t, rc, err);
	} else if (is_too_slow(rc, err) && t->n > SLOW_ROWS) {
		batch_split(t, err);
	} else if (rc == -ECONNRESET || rc == -ETIMEDOUT || err->class == ERR_TRANSIENT) {
		t->again_sent = t->again_sent || rc == -ECONNRESET;
		t->tries = rc == -EPROTO ? t->tries + 1 : 0;
		note_refusal(t, err);
		if (!t->again)
			t->again = loop_timer_new(batch_send, t);
		loop_timer_set(t->again, lot_again_ms(t->tries));
	} else if (lot_is_poison(rc, err)) {
		batch_split(t, err);
	} else {
		batch_fail(t, rc, err);
	}
}

static struct row_origin *batch_origins(const struct batch *t)
{
	struct row_origin *v = mem_alloc(t->n * sizeof(*v));

	for (int i = 0; i < t->n; i++)
		v[i] = t->places[i].request->origin;
	return v;
}

static void batch_send(void *arg)
{
	struct batch *t = arg;
	struct bucket *b = t->bucket;
	const struct row **rows = batch_rows(t);
	struct row_origin *origins = batch_origins(t);
	unsigned how = (b->expecting ? ROW_EXPECTING : 0) |
		       (b->sink->history[b->table] ? ROW_WITH_HISTORY : 0);
	struct pg_params keys, params;

	history_look(b->sink);
	pg_params_init(&keys);
	pg_params_init(&params);
	if (b->expecting)
		row_hold_params(rows, t->n, &keys);
	row_upsert_params(b->table, b->columns, how, rows, origins, t->n, &params);
	free(origins);
	free(rows);
	struct pg_statement st[] = { { row_hold_sql(b->table), &keys },
				     { row_upsert_sql(b->table, b->columns, how), &params } };
	pg_send(b->sink->pg, b->expecting ? st : st + 1, b->expecting ? 2 : 1, on_answer, t);
	pg_params_clear(&keys);
	pg_params_clear(&params);
}

/* ---- gathering ---- */
static int by_key(const void *a, const void *b)
{
	return row_compare(row_of(a), row_of(b));
}

static bool same_key(const struct row *a, const struct row *b)
{
	return a->integration_id == b->integration_id && !strcmp(a->external_id, b->external_id);
}

/* Not to be written with the others of their batch, whose keys they have.  Among rows that name a version an older one may be
 * the one that is heeded: they go next. */
static void flush_rest(struct bucket *b, const struct place *rest, int n)
{
	if (!b->expecting) {
		for (int i = 0; i < n; i++)
			row_end(&rest[i], ROW_STALE, NULL);
		return;
	}
	memcpy(b->places, rest, n * sizeof(*rest));
	b->n = n;
	if (n)
		loop_timer_set(b->linger, 0);
}

/* Sorted by key (no deadlocks between workers), newest first; each key once: an older one of the same batch is stale. */
static void flush(struct bucket *b)
{
	int kept = 0, total = b->n;
	struct place *rest;
	int n_rest = 0;

	loop_timer_stop(b->linger);
	b->due = false;
	if (!total)
		return;
	b->n = 0;
	b->bytes = 0;
	rest = mem_alloc(total * sizeof(*rest));
	qsort(b->places, total, sizeof(*b->places), by_key);
	for (int i = 0; i < total; i++) {
		if (kept && same_key(row_of(&b->places[kept - 1]), row_of(&b->places[i])))
			rest[n_rest++] = b->places[i];
		else
			b->places[kept++] = b->places[i];
	}
	for (int at = 0; at < kept; at += ROWS_MAX)
		batch_send(
			batch_new(b, b->places + at, kept - at < ROWS_MAX ? kept - at : ROWS_MAX));
	flush_rest(b, rest, n_rest);
	free(rest);
}

static void on_linger(void *arg)
{
	struct bucket *b = arg;

	if (b->under_way < UNDER_WAY_MAX)
		flush(b);
	else
		b->due = true;
}

static struct bucket *bucket_of(struct sink *s, const struct row_set *set, bool expecting)
{
	struct bucket *b;

	for (int i = 0; i < s->n_buckets; i++) {
		b = s->buckets[i];
		if (b->table == set->table && b->columns == set->columns &&
		    b->expecting == expecting)
			return b;
	}
	b = mem_new(struct bucket);
	b->sink = s;
	b->table = set->table;
	b->columns = set->columns;
	b->expecting = expecting;
	b->linger = loop_timer_new(on_linger, b);
	s->buckets = mem_realloc(s->buckets, (s->n_buckets + 1) * sizeof(*s->buckets));
	s->buckets[s->n_buckets++] = b;
	return b;
}

static void bucket_add(struct bucket *b, struct request *q)
{
	if (b->n + q->n > b->cap) {
		b->cap = b->n + q->n + ROWS_FLUSH;
		b->places = mem_realloc(b->places, b->cap * sizeof(*b->places));
	}
	for (int i = 0; i < q->n; i++) {
		struct place p = { q, i };
		char why[SINK_WHY_MAX];

		if (row_check(b->table, b->columns, q->rows[i], why, sizeof(why)))
			b->places[b->n++] = p;
		else
			row_end(&p, ROW_FAILED, why);
	}
	b->bytes += q->bytes;
	if (b->n >= ROWS_FLUSH || b->bytes >= BYTES_FLUSH)
		flush(b);
	else if (!b->due && !loop_timer_pending(b->linger))
		loop_timer_set(b->linger, LINGER_MS);
}

static bool any_expects(const struct row *const *rows, int n)
{
	for (int i = 0; i < n; i++)
		if (rows[i]->expected_version)
			return true;
	return false;
}

int sink_rows(struct sink *s, const struct row_set *set, const struct row *const *rows, int n,
	      enum row_outcome *outcomes, char (**why)[SINK_WHY_MAX], int64_t deadline_ms,
	      struct err *err)
{
	struct request *q;
	int rc;

	if (why)
		*why = NULL;
	if (n == 0)
		return 0;
	q = request_new(set, rows, n);
	bucket_add(bucket_of(s, set, any_expects(rows, n)), q);
	rc = completion_wait(&q->done, "rows", deadline_ms);
	if (rc < 0 && !q->done.done) {
		rc = lot_gave_up(rc, q->err, err);
		request_detach(q, set->table, set->columns);
		return rc;
	}
	rc = q->rc;
	if (rc < 0 && err && q->err)
		*err = *q->err;
	memcpy(outcomes, q->outcomes, n * sizeof(*outcomes));
	if (why) {
		*why = q->why;
		q->why = NULL;
	}
	request_free(q);
	return rc;
}

/* ---- the sink ---- */
struct sink *sink_new(struct pg *p)
{
	struct sink *s = mem_new(struct sink);

	s->pg = p;
	s->history[ROW_RESOURCES] = s->history[ROW_TRANSACTIONS] = true;
	records_open(s);
	return s;
}

/* What was not sent ends now; what is under way is freed by its answer, at the latest when the pool goes. */
static void batches_free(struct sink *s)
{
	while (s->batches) {
		struct batch *t = s->batches;
		bool sent = !t->again || !loop_timer_pending(t->again);

		batch_unlink(t);
		if (!sent)
			batch_fail(t, -ECANCELED, NULL);
	}
}

static void bucket_free(struct bucket *b)
{
	for (int i = 0; i < b->n; i++)
		row_error(&b->places[i], -ECANCELED, NULL);
	loop_timer_free(b->linger);
	free(b->places);
	free(b);
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	if (s->history_asking)
		s->history_asking->sink = NULL;
	batches_free(s);
	for (int i = 0; i < s->n_buckets; i++)
		bucket_free(s->buckets[i]);
	free(s->buckets);
	lot_free(s->runs);
	lot_free(s->rejected);
	lot_free(s->roots);
	lot_free(s->outcomes);
	lot_free(s->webhooks);
	free(s);
}
