#include "worker/tasks/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "worker/fresh.h"
#include "worker/settle.h"

#define PROGRESS_MS 1000
#define TOUCH_MS 5000 /* integrations.last_success: at most so often a process */

/* ---- the run's row ---- */
static int write_run(struct import *im, const char *state, const char *note)
{
	int64_t now = redis_now_ms(im->a->worker->redis);

	im->run.state = state;
	im->run.note = note;
	im->run.finished_ms = strcmp(state, "running") ? now : 0;
	im->run.counts.calls = im->a->caller.calls;
	im->run_written_ms = loop_now_ms();
	return sink_run(im->a->worker->sink, &im->run, attempt_deadline_ms(im->a), &im->a->err);
}

/* A later attempt goes on with the run its header names. */
static int64_t run_of_header(const struct attempt *a)
{
	const struct job_header *h = &a->lease.header;
	size_t n = strlen(RAN_RUN);

	for (const char *p = h->extra; p && p + n < h->extra + h->extra_len; p++)
		if (!memcmp(p, RAN_RUN, n))
			return strtoll(p + n, NULL, 10);
	return 0;
}

static int begin(struct import *im, struct attempt *a)
{
	int rc = task_mode(a, &im->mode);

	im->a = a;
	if (rc == 0) {
		a->run_id = run_of_header(a);
		im->resumed = a->run_id != 0;
		if (!a->run_id)
			rc = run_new_id(a->worker->pg, &a->run_id, &a->err);
	}
	im->run = (struct run){ .id = a->run_id,
				.root_id = a->job.run_id,
				.integration_id = a->integration->id,
				.task = a->job.task,
				.mode = im->mode,
				.job_id = a->job_id,
				.worker = a->worker->epoch,
				.started_ms = redis_now_ms(a->worker->redis),
				.total = -1 };
	im->run_written_ms = loop_now_ms();
	return rc;
}

static int touch_success(struct attempt *a)
{
	static struct {
		int64_t id, at_ms;
	} last[64];
	int slot = a->integration->id % 64;

	if (last[slot].id == a->integration->id && loop_now_ms() - last[slot].at_ms < TOUCH_MS)
		return 0;
	last[slot].id = a->integration->id;
	last[slot].at_ms = loop_now_ms();
	return integration_touch_success(a->worker->pg, a->integration->id, &a->err);
}

static int end(struct import *im, int rc)
{
	struct attempt *a = im->a;
	struct err first = a->err;
	int rc2;

	if (rc == 0 && !im->yielded && !im->incomplete)
		rc = touch_success(a);
	if (rc == 0 && !im->yielded && !im->incomplete && !im->resumed)
		fresh_success(a, im->mode, im->run.started_ms);
	if (rc == 0)
		return write_run(im,
				 im->yielded      ? "running"
				 : im->incomplete ? "incomplete"
						  : "done",
				 im->run.note);
	if (rc == -ECANCELED || rc == -ECONNRESET || rc == -ESTALE)
		return rc;
	bool waits = first.class == ERR_HOLD || first.class == ERR_RATE_LIMIT;
	rc2 = write_run(im, waits ? "running" : "failed", first.text);
	if (rc2 < 0)
		log_event(LOG_WARN, "run_not_written", LS("reason", a->err.text));
	a->err = first;
	return rc;
}

/* ---- checkpoints ---- */
static int put_checkpoint(struct import *im, const cJSON *scan, int64_t since_us)
{
	struct attempt *a = im->a;
	cJSON *state = cJSON_CreateObject();
	int rc;

	if (since_us)
		cJSON_AddNumberToObject(state, "since_us", (double)since_us);
	if (scan) {
		cJSON_AddItemToObject(state, "scan", cJSON_Duplicate(scan, 1));
		cJSON_AddNumberToObject(state, "newest_us", (double)im->newest_us);
	}
	rc = checkpoint_put(a->worker->pg, a->integration->id, im->collection->name, a->job_id,
			    state, a->lease.generation, a->lease.fence, &a->err);
	cJSON_Delete(state);
	return rc;
}

struct place {
	int64_t since_us;
	cJSON *scan;
	bool complete;
};

static int64_t number_at(const cJSON *o, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? (int64_t)n->valuedouble : 0;
}

/* Where to start: what an earlier attempt at this very job stored, and since when to ask for changes. */
static int find_place(struct import *im, struct place *out)
{
	struct attempt *a = im->a;
	struct checkpoint c = { 0 };
	int rc;

	memset(out, 0, sizeof(*out));
	if (!attempt_ran_before(a) && !im->collection->incremental.on)
		return 0;
	rc = checkpoint_get(a->worker->pg, a->integration->id, im->collection->name, &c, &a->err);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	out->since_us = number_at(c.state, "since_us");
	if (attempt_ran_before(a) && c.job_id && !strcmp(c.job_id, a->job_id)) {
		out->scan = cJSON_DetachItemFromObjectCaseSensitive(c.state, "scan");
		im->newest_us = number_at(c.state, "newest_us");
		out->complete = !out->scan;
	}
	checkpoint_clear(&c);
	return 0;
}

/* Full: everything.  Incremental: what changed since the newest that is stored; the first time as far back as the manifest says. */
static int64_t ask_since(const struct import *im, int64_t stored_us)
{
	const struct manifest_incremental *inc = &im->collection->incremental;

	if (!inc->on || strcmp(im->mode, "incremental"))
		return 0;
	if (stored_us)
		return stored_us;
	return inc->lookback_first_ms
		       ? redis_now_us(im->a->worker->redis) - inc->lookback_first_ms * 1000
		       : 0;
}

/* ---- a scan ---- */
static int after_page(struct import *im, struct pager *pg, const struct page *p, int64_t since_us)
{
	int rc = 0;

	if (p->total >= 0)
		im->run.total = p->total;
	if (!p->last) {
		cJSON *scan = pager_state(pg);
		rc = put_checkpoint(im, scan, since_us);
		cJSON_Delete(scan);
	}
	if (rc == 0 && loop_now_ms() - im->run_written_ms >= PROGRESS_MS)
		rc = write_run(im, "running", NULL);
	return rc;
}

/* The exchange that failed goes into the dead letter, if it comes to one. */
static void keep_exchange(struct attempt *a, struct page *p)
{
	buf_clear(&a->exchange);
	a->exchange = p->exchange;
	p->exchange = (struct buf)BUF_INIT;
}

static int walk(struct import *im, struct pager *pg, const char *parent_id, int64_t since_us)
{
	struct page page = { 0 };
	int rc;

	while ((rc = pager_next(pg, &page, &im->a->err)) > 0) {
		if (!attempt_holds_lease(im->a)) {
			page_clear(&page);
			return -ESTALE;
		}
		rc = import_page(im, &page, parent_id);
		if (rc == 0 && !parent_id)
			rc = after_page(im, pg, &page, since_us);
		bool last = page.last;
		page_clear(&page);
		if (rc < 0)
			return rc;
		if (!last && !parent_id && attempt_should_yield(im->a)) {
			im->yielded = true;
			attempt_continue(im->a);
			return 0;
		}
	}
	keep_exchange(im->a, &page);
	page_clear(&page);
	return rc;
}

static int scan(struct import *im, const struct manifest_collection *c, const char *parent_id)
{
	struct attempt *a = im->a;
	struct place at = { 0 };
	struct pager *pg = NULL;
	const char *why = NULL;
	int rc = 0;

	im->collection = c;
	im->newest_us = 0;
	if (!parent_id)
		rc = find_place(im, &at);
	if (rc < 0 || at.complete)
		goto out;
	struct pager_options po = { .collection = c,
				    .parent_id = parent_id,
				    .since_us = ask_since(im, at.since_us),
				    .resume = at.scan };
	rc = pager_new(&a->caller, &po, &pg, &a->err);
	if (rc == 0)
		rc = walk(im, pg, parent_id, at.since_us);
	if (rc < 0 || im->yielded)
		goto out;
	if (!pager_complete(pg, &why)) {
		im->incomplete = true;
		im->run.note = arena_printf(a->arena, "%s: %s", c->name, why);
		log_event(LOG_WARN, "scan_incomplete", LS("collection", c->name),
			  LS("reason", why));
	}
	/* The place in the scan is cleared; what was the newest is where the next incremental starts. */
	if (!parent_id && (c->incremental.on || at.scan || im->run.counts.pages > 1))
		rc = put_checkpoint(im, NULL,
				    !im->incomplete && im->newest_us > at.since_us ? im->newest_us
										   : at.since_us);
out:
	pager_free(pg);
	cJSON_Delete(at.scan);
	return rc;
}

static int scan_parents(struct import *im, const struct manifest_collection *c,
			const cJSON *parents)
{
	const cJSON *p;
	int rc;

	cJSON_ArrayForEach (p, parents) {
		if (!cJSON_IsString(p))
			return err_set(&im->a->err, -EINVAL, ERR_BAD_JOB, "args.parents",
				       "args.parents must be an array of ids (text)");
		rc = scan(im, c, p->valuestring);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int by_parents(struct import *im, enum row_table t, const cJSON *parents)
{
	struct attempt *a = im->a;
	const char *name = json_str(a->job.args, "collection");
	const struct manifest_collection *c =
		name ? manifest_collection(a->driver->manifest, name) : NULL;

	if (!c || c->table != t || !c->each || c->embedded)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.collection",
			"args.parents needs args.collection: a collection of %s that is called for each parent; \"%.60s\" is none",
			a->partner, name ? name : "");
	im->run.collection = c->name; /* a part, which stands for no complete import */
	return scan_parents(im, c, parents);
}

/* All collections of a table that stand by themselves. *found tells whether there was any. */
static int scan_table(struct import *im, enum row_table t, bool *found)
{
	const struct manifest *m = im->a->driver->manifest;
	int rc = 0;

	for (int i = 0; rc == 0 && !im->yielded && i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (c->table != t || c->each)
			continue;
		*found = true;
		rc = scan(im, c, NULL);
	}
	return rc;
}

static bool has_collection(const struct manifest *m, enum row_table t)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == t)
			return true;
	return false;
}

static int import_table(struct attempt *a, enum row_table t)
{
	struct import im = { 0 };
	const cJSON *parents = a->job.args ? json_path(a->job.args, "parents") : NULL;
	bool found = false;
	int rc;

	if (!has_collection(a->driver->manifest, t))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			       "partner %s has no collection of %s: its manifest declares none",
			       a->partner, row_table_name(t));
	rc = begin(&im, a);
	if (rc < 0)
		return rc;
	rc = cJSON_IsArray(parents) ? by_parents(&im, t, parents) : scan_table(&im, t, &found);
	return end(&im, rc);
}

/* ---- the tasks ---- */
static bool stands_alone(const struct manifest *m, enum row_table t)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == t && !m->collections[i].each)
			return true;
	return false;
}

int task_import_resources(struct attempt *a)
{
	int rc = import_table(a, ROW_RESOURCES);
	bool parents = a->job.args && json_path(a->job.args, "parents");
	int64_t root = a->job.run_id ? a->job.run_id : a->run_id;

	if (rc < 0 || a->goes_on || parents)
		return rc;
	/* The children of an import: what is listed beside the resources. */
	const cJSON *mode = a->job.args ? json_path(a->job.args, "mode") : NULL;
	cJSON *args = mode ? cJSON_CreateObject() : NULL;
	if (mode)
		cJSON_AddItemToObject(args, "mode", cJSON_Duplicate(mode, 1));
	if (stands_alone(a->driver->manifest, ROW_TRANSACTIONS))
		attempt_child(a, NULL, a->lease.lane, "import_transactions", a->integration->id,
			      args, root);
	if (stands_alone(a->driver->manifest, ROW_MEDIA))
		attempt_child(a, NULL, LANE_LOW, "import_media", a->integration->id, args, root);
	cJSON_Delete(args);
	return 0;
}

int task_import_transactions(struct attempt *a)
{
	return import_table(a, ROW_TRANSACTIONS);
}

int task_import_media(struct attempt *a)
{
	return import_table(a, ROW_MEDIA);
}

/* ---- one item ---- */
static const struct manifest_collection *collection_of_item(struct attempt *a)
{
	const struct manifest *m = a->driver->manifest;
	const char *name = json_str(a->job.args, "collection");

	if (name)
		return manifest_collection(m, name);
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == ROW_RESOURCES && m->collections[i].detail)
			return &m->collections[i];
	return NULL;
}

int task_import_resource(struct attempt *a)
{
	const char *id = a->job.args ? json_str(a->job.args, "external_id") : NULL;
	struct import im = { 0 };
	struct page page = { 0 };
	int rc;

	if (!id || !*id)
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.external_id",
			       "import_resource needs args.external_id: the partner's id, as text");
	im.collection = collection_of_item(a);
	if (!im.collection || !im.collection->detail)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.collection",
			"partner %s has no collection with \"detail\" to fetch one item from",
			a->partner);
	rc = begin(&im, a);
	if (rc < 0)
		return rc;
	rc = fetch_item(&a->caller, im.collection, id, &page, &a->err);
	if (rc == -ENOENT)
		rc = err_set(&a->err, -EINVAL, ERR_CLIENT, "404",
			     "%s: the partner does not know item %.80s", im.collection->name, id);
	if (rc == 0)
		rc = import_page(&im, &page, NULL);
	if (rc < 0)
		keep_exchange(a, &page);
	page_clear(&page);
	return end(&im, rc);
}
