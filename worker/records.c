/* Runs, rejected items, outcomes and events of webhooks: small writes of many jobs, gathered (lot.h). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/sink_impl.h"

/* The texts of a run, by their places in it. */
static const size_t run_texts[] = { offsetof(struct run, task),   offsetof(struct run, collection),
				    offsetof(struct run, mode),   offsetof(struct run, job_id),
				    offsetof(struct run, worker), offsetof(struct run, state),
				    offsetof(struct run, note) };

static const char **run_text(struct run *r, size_t i)
{
	return (const char **)((char *)r + run_texts[i]);
}

/* One block with its texts behind it: each import writes its run. */
static struct run *run_copy(const struct run *r)
{
	size_t sizes[ARRAY_LEN(run_texts)], bytes = sizeof(*r);
	struct run from = *r, *copy;
	char *at;

	for (size_t i = 0; i < ARRAY_LEN(run_texts); i++) {
		const char *s = *run_text(&from, i);

		sizes[i] = s ? strlen(s) + 1 : 0;
		bytes += sizes[i];
	}
	copy = mem_alloc(bytes);
	*copy = from;
	at = (char *)(copy + 1);
	for (size_t i = 0; i < ARRAY_LEN(run_texts); i++) {
		if (sizes[i])
			*run_text(copy, i) = memcpy(at, *run_text(&from, i), sizes[i]);
		at += sizes[i];
	}
	return copy;
}

static const char *dup(const char *s)
{
	return s ? mem_strdup(s) : NULL;
}

static void run_params(struct pg_params *out, const void *const *items, int n)
{
	struct run *v = mem_alloc(n * sizeof(*v));

	for (int i = 0; i < n; i++)
		v[i] = *(const struct run *)items[i];
	run_upsert_params(out, v, n);
	free(v);
}

int sink_run(struct sink *s, const struct run *r, int64_t deadline_ms, struct err *err)
{
	return lot_add(s->runs, run_copy(r), deadline_ms, err);
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

static void root_free(void *item)
{
	struct run_root *r = item;

	free((char *)r->task);
	free((char *)r->job_id);
	free((char *)r->worker);
	free((char *)r->state);
	free((char *)r->home);
	free((char *)r->on_done);
	free(r);
}

static void root_params(struct pg_params *out, const void *const *items, int n)
{
	struct run_root *v = mem_alloc(n * sizeof(*v));

	for (int i = 0; i < n; i++)
		v[i] = *(const struct run_root *)items[i];
	run_root_params(out, v, n);
	free(v);
}

int sink_root(struct sink *s, const struct run_root *r, int64_t deadline_ms, struct err *err)
{
	struct run_root *copy = mem_new(struct run_root);

	*copy = *r;
	copy->task = dup(r->task);
	copy->job_id = dup(r->job_id);
	copy->worker = dup(r->worker);
	copy->state = dup(r->state);
	copy->home = dup(r->home);
	copy->on_done = dup(r->on_done);
	return lot_add(s->roots, copy, deadline_ms, err);
}

static void outcome_free(void *item)
{
	struct outcome *o = item;

	free((char *)o->queue);
	free((char *)o->job_id);
	free((char *)o->task);
	free((char *)o->state);
	free((char *)o->why);
	free((char *)o->class);
	free((char *)o->error);
	free((char *)o->worker);
	free((char *)o->result);
	free(o);
}

static void outcome_params(struct pg_params *out, const void *const *items, int n)
{
	struct outcome *v = mem_alloc(n * sizeof(*v));

	for (int i = 0; i < n; i++)
		v[i] = *(const struct outcome *)items[i];
	outcome_upsert_params(out, v, n);
	free(v);
}

int sink_outcome(struct sink *s, const struct outcome *o, int64_t deadline_ms, struct err *err)
{
	struct outcome *copy = mem_new(struct outcome);

	*copy = *o;
	copy->queue = dup(o->queue);
	copy->job_id = dup(o->job_id);
	copy->task = dup(o->task);
	copy->state = dup(o->state);
	copy->why = dup(o->why);
	copy->class = dup(o->class);
	copy->error = dup(o->error);
	copy->worker = dup(o->worker);
	copy->result = dup(o->result);
	return lot_add(s->outcomes, copy, deadline_ms, err);
}

static const size_t event_texts[] = {
	offsetof(struct webhook_event, event_id),    offsetof(struct webhook_event, partner),
	offsetof(struct webhook_event, event),       offsetof(struct webhook_event, action),
	offsetof(struct webhook_event, collection),  offsetof(struct webhook_event, row_table),
	offsetof(struct webhook_event, external_id), offsetof(struct webhook_event, job_id),
	offsetof(struct webhook_event, reason),      offsetof(struct webhook_event, body)
};

static const char **event_text(struct webhook_event *e, size_t i)
{
	return (const char **)((char *)e + event_texts[i]);
}

static void event_free(void *item)
{
	for (size_t i = 0; i < ARRAY_LEN(event_texts); i++)
		free((char *)*event_text(item, i));
	free(item);
}

static void event_params(struct pg_params *out, const void *const *items, int n)
{
	struct webhook_event *v = mem_alloc(n * sizeof(*v));

	for (int i = 0; i < n; i++)
		v[i] = *(const struct webhook_event *)items[i];
	webhook_upsert_params(out, v, n);
	free(v);
}

int sink_webhook(struct sink *s, const struct webhook_event *e, int64_t deadline_ms,
		 struct err *err)
{
	struct webhook_event *copy = mem_new(struct webhook_event);

	*copy = *e;
	for (size_t i = 0; i < ARRAY_LEN(event_texts); i++)
		*event_text(copy, i) = dup(*event_text(copy, i));
	return lot_add(s->webhooks, copy, deadline_ms, err);
}

void records_open(struct sink *s)
{
	static const struct lot_kind webhooks = { webhook_upsert_sql, event_params, event_free };
	static const struct lot_kind roots = { run_root_sql, root_params, root_free };
	static const struct lot_kind outcomes = { outcome_upsert_sql, outcome_params,
						  outcome_free };
	static const struct lot_kind runs = { run_upsert_sql, run_params, free };
	static const struct lot_kind rejected = { rejected_insert_sql, rejected_params,
						  rejected_free };

	s->runs = lot_new(s->pg, &runs);
	s->rejected = lot_new(s->pg, &rejected);
	s->roots = lot_new(s->pg, &roots);
	s->outcomes = lot_new(s->pg, &outcomes);
	s->webhooks = lot_new(s->pg, &webhooks);
}
