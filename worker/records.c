/* Runs and rejected items: small writes of many jobs, gathered (lot.h). */
#include <stdlib.h>

#include "common/base/mem.h"
#include "worker/sink_impl.h"

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
	free((char *)r->import_id);
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
	copy->import_id = dup(v->import_id);
	return lot_add(s->rejected, copy, deadline_ms, err);
}

void records_open(struct sink *s)
{
	static const struct lot_kind runs = { run_upsert_sql, run_params, run_free };
	static const struct lot_kind rejected = { rejected_insert_sql, rejected_params,
						  rejected_free };

	s->runs = lot_new(s->pg, &runs);
	s->rejected = lot_new(s->pg, &rejected);
}
