#include "worker/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "worker/lot.h"

#define LINGER_MS 3
#define ROWS_FLUSH 500
#define AGAIN_MS 200
#define BUCKETS_MAX 256 /* sets of columns in use: one or two a collection */

/* One sink_rows: its rows copied into one block, so that a cancelled job's memory is not needed. */
struct request {
	struct completion done;
	bool orphan;
	int pending; /* rows without an outcome */
	int rc;
	struct err err;
	int n;
	enum row_outcome *outcomes;
	char (*why)[SINK_WHY_MAX]; /* NULL until the first failure */
	struct row *rows;
	char *strings;
};

struct place { /* a row in a batch */
	const struct row *row;
	struct request *request;
	int index;
};

struct bucket { /* gathering, by table and set of columns */
	struct sink *sink;
	enum row_table table;
	uint64_t columns;
	struct place *places;
	int n, cap;
	struct loop_timer *linger;
};

struct batch { /* under way */
	struct bucket *bucket;
	struct place *places;
	const struct row **rows;
	int n;
	struct loop_timer *again;
};

struct sink {
	struct pg *pg;
	struct bucket *buckets[BUCKETS_MAX];
	int n_buckets;
	struct lot *runs, *rejected;
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

static struct request *request_new(enum row_table t, uint64_t set, const struct row *const *rows,
				   int n)
{
	struct request *q = mem_new(struct request);
	int n_cols;
	const struct row_column *cols = row_columns(t, &n_cols);
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += text_bytes(rows[i], cols, n_cols, set);
	q->n = q->pending = n;
	q->rows = mem_alloc(n * sizeof(*q->rows));
	q->strings = mem_alloc(bytes);
	q->outcomes = mem_zalloc(n * sizeof(*q->outcomes));
	char *at = q->strings;
	for (int i = 0; i < n; i++)
		at = copy_row(&q->rows[i], rows[i], cols, n_cols, set, at);
	return q;
}

static void request_free(struct request *q)
{
	free(q->rows);
	free(q->strings);
	free(q->outcomes);
	free(q->why);
	free(q);
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
	p->request->rc = rc;
	if (err)
		p->request->err = *err;
	row_end(p, ROW_FAILED, err ? err->text : NULL);
}

/* ---- batches ---- */
static void batch_send(void *arg);

static struct batch *batch_new(struct bucket *b, struct place *places, int n)
{
	struct batch *t = mem_new(struct batch);

	t->bucket = b;
	t->n = n;
	t->places = mem_alloc(n * sizeof(*places));
	memcpy(t->places, places, n * sizeof(*places));
	t->rows = mem_alloc(n * sizeof(*t->rows));
	for (int i = 0; i < n; i++)
		t->rows[i] = places[i].row;
	return t;
}

static void batch_free(struct batch *t)
{
	loop_timer_free(t->again);
	free(t->places);
	free(t->rows);
	free(t);
}

static bool wanted(const struct batch *t)
{
	for (int i = 0; i < t->n; i++)
		if (!t->places[i].request->orphan)
			return true;
	return false;
}

static void batch_done(struct batch *t, const PGresult *res)
{
	enum row_outcome *out = mem_alloc(t->n * sizeof(*out));

	row_upsert_outcomes(res, t->rows, t->n, out);
	for (int i = 0; i < t->n; i++)
		row_end(&t->places[i], out[i], NULL);
	free(out);
}

/* One row that Postgres refuses must not harm 499 others: halve until it stands alone. */
static void batch_split(struct batch *t, int rc, const struct err *err)
{
	if (t->n == 1) {
		row_end(&t->places[0], ROW_FAILED, err->text);
		return;
	}
	batch_send(batch_new(t->bucket, t->places, t->n / 2));
	batch_send(batch_new(t->bucket, t->places + t->n / 2, t->n - t->n / 2));
}

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct batch *t = arg;

	if (rc == 0) {
		batch_done(t, results[0]);
		PQclear(results[0]);
	} else if ((rc == -ECONNRESET || rc == -ETIMEDOUT || err->class == ERR_TRANSIENT) &&
		   wanted(t)) {
		if (!t->again)
			t->again = loop_timer_new(batch_send, t);
		loop_timer_set(t->again, AGAIN_MS);
		return;
	} else if (rc == -EPROTO && err->class == ERR_DATA) {
		batch_split(t, rc, err);
	} else {
		for (int i = 0; i < t->n; i++)
			row_error(&t->places[i], rc, err);
	}
	batch_free(t);
}

static void batch_send(void *arg)
{
	struct batch *t = arg;
	struct pg_params params;

	pg_params_init(&params);
	row_upsert_params(t->bucket->table, t->bucket->columns, t->rows, t->n, &params);
	struct pg_statement st = { row_upsert_sql(t->bucket->table, t->bucket->columns), &params };
	pg_send(t->bucket->sink->pg, &st, 1, on_answer, t);
	pg_params_clear(&params);
}

/* ---- gathering ---- */
static int by_key(const void *a, const void *b)
{
	return row_compare(((const struct place *)a)->row, ((const struct place *)b)->row);
}

static bool same_key(const struct row *a, const struct row *b)
{
	return a->integration_id == b->integration_id && !strcmp(a->external_id, b->external_id);
}

/* Sorted by key (no deadlocks between workers), newest first; each key once: an older one of the same batch is stale. */
static void flush(void *arg)
{
	struct bucket *b = arg;
	int kept = 0, total = b->n;
	struct place *stale;
	int n_stale = 0;

	loop_timer_stop(b->linger);
	if (!total)
		return;
	b->n = 0;
	stale = mem_alloc(total * sizeof(*stale));
	qsort(b->places, total, sizeof(*b->places), by_key);
	for (int i = 0; i < total; i++) {
		if (kept && same_key(b->places[kept - 1].row, b->places[i].row))
			stale[n_stale++] = b->places[i];
		else
			b->places[kept++] = b->places[i];
	}
	batch_send(batch_new(b, b->places, kept));
	for (int i = 0; i < n_stale; i++)
		row_end(&stale[i], ROW_STALE, NULL);
	free(stale);
}

static struct bucket *bucket_of(struct sink *s, enum row_table t, uint64_t columns)
{
	struct bucket *b;

	for (int i = 0; i < s->n_buckets; i++)
		if (s->buckets[i]->table == t && s->buckets[i]->columns == columns)
			return s->buckets[i];
	if (s->n_buckets == BUCKETS_MAX)
		return NULL;
	b = mem_new(struct bucket);
	b->sink = s;
	b->table = t;
	b->columns = columns;
	b->linger = loop_timer_new(flush, b);
	s->buckets[s->n_buckets++] = b;
	return b;
}

static void bucket_add(struct bucket *b, struct request *q)
{
	if (b->n + q->n > b->cap) {
		b->cap = b->n + q->n + ROWS_FLUSH;
		b->places = mem_realloc(b->places, b->cap * sizeof(*b->places));
	}
	for (int i = 0; i < q->n; i++)
		b->places[b->n++] = (struct place){ &q->rows[i], q, i };
	if (b->n >= ROWS_FLUSH)
		flush(b);
	else if (!loop_timer_pending(b->linger))
		loop_timer_set(b->linger, LINGER_MS);
}

int sink_rows(struct sink *s, enum row_table t, uint64_t columns, const struct row *const *rows,
	      int n, enum row_outcome *outcomes, char (*why)[SINK_WHY_MAX], int64_t deadline_ms,
	      struct err *err)
{
	struct bucket *b = bucket_of(s, t, columns);
	struct request *q;
	int rc;

	if (n == 0)
		return 0;
	if (!b)
		return err_set(err, -ENOSPC, ERR_INTERNAL, "sink",
			       "more than %d sets of columns in use", BUCKETS_MAX);
	q = request_new(t, columns, rows, n);
	bucket_add(b, q);
	rc = completion_wait(&q->done, "rows", deadline_ms);
	if (rc < 0 && !q->done.done) {
		q->orphan = true;
		return rc;
	}
	rc = q->rc;
	if (rc < 0 && err)
		*err = q->err;
	memcpy(outcomes, q->outcomes, n * sizeof(*outcomes));
	if (why && q->why)
		memcpy(why, q->why, n * sizeof(*why));
	request_free(q);
	return rc;
}

/* ---- runs and rejected items ---- */
static void run_free(void *item)
{
	struct run *r = item;

	free((char *)r->task);
	free((char *)r->collection);
	free((char *)r->mode);
	free((char *)r->job_id);
	free((char *)r->worker);
	free((char *)r->state);
	free((char *)r->note);
	free(r);
}

static const char *dup(const char *s)
{
	return s ? mem_strdup(s) : NULL;
}

/* Each id once, the last state of it: one statement may not touch a row twice. */
static void run_params(struct pg_params *out, const void *const *items, int n)
{
	struct run *v = mem_alloc(n * sizeof(*v));
	int kept = 0;

	for (int i = n - 1; i >= 0; i--) {
		const struct run *r = items[i];
		bool newer = false;
		for (int k = 0; k < kept && !newer; k++)
			newer = v[k].id == r->id;
		if (!newer)
			v[kept++] = *r;
	}
	run_upsert_params(out, v, kept);
	free(v);
}

int sink_run(struct sink *s, const struct run *r, int64_t deadline_ms, struct err *err)
{
	struct run *copy = mem_new(struct run);

	*copy = *r;
	copy->task = dup(r->task);
	copy->collection = dup(r->collection);
	copy->mode = dup(r->mode);
	copy->job_id = dup(r->job_id);
	copy->worker = dup(r->worker);
	copy->state = dup(r->state);
	copy->note = dup(r->note);
	return lot_add(s->runs, copy, deadline_ms, err);
}

static void rejected_free(void *item)
{
	struct rejected *r = item;

	free((char *)r->collection);
	free((char *)r->external_id);
	free((char *)r->parent_id);
	free((char *)r->field);
	free((char *)r->reason);
	free((char *)r->item_json);
	free((char *)r->job_id);
	free(r);
}

static void rejected_params(struct pg_params *out, const void *const *items, int n)
{
	struct rejected *v = mem_alloc(n * sizeof(*v));

	for (int i = 0; i < n; i++)
		v[i] = *(const struct rejected *)items[i];
	rejected_insert_params(out, v, n);
	free(v);
}

int sink_rejected(struct sink *s, const struct rejected *v, int64_t deadline_ms, struct err *err)
{
	struct rejected *copy = mem_new(struct rejected);

	*copy = *v;
	copy->collection = dup(v->collection);
	copy->external_id = dup(v->external_id);
	copy->parent_id = dup(v->parent_id);
	copy->field = dup(v->field);
	copy->reason = dup(v->reason);
	copy->item_json = dup(v->item_json);
	copy->job_id = dup(v->job_id);
	return lot_add(s->rejected, copy, deadline_ms, err);
}

struct sink *sink_new(struct pg *p)
{
	static const struct lot_kind runs = { run_upsert_sql, run_params, run_free };
	static const struct lot_kind rejected = { rejected_insert_sql, rejected_params,
						  rejected_free };
	struct sink *s = mem_new(struct sink);

	s->pg = p;
	s->runs = lot_new(p, &runs);
	s->rejected = lot_new(p, &rejected);
	return s;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->n_buckets; i++) {
		loop_timer_free(s->buckets[i]->linger);
		free(s->buckets[i]->places);
		free(s->buckets[i]);
	}
	lot_free(s->runs);
	lot_free(s->rejected);
	free(s);
}
