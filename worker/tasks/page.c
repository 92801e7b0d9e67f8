/* One page of a collection: items to rows, rows to the sink, bad items set aside, embedded items with them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/store/sweep.h"
#include "worker/tasks/merge.h"
#include "worker/tasks/page.h"
#include "worker/tasks/schema.h"
#include "worker/tasks/sweep.h"

#define UNKNOWN_NAMED_MAX 100

/* Of one row: here, and what is said of it. */
#define ROW_HELD_BYTES \
	(sizeof(struct row) + 2 * sizeof(void *) + sizeof(enum row_outcome) + SINK_WHY_MAX)

static int too_much(struct import *im, const struct page *p, int64_t bytes)
{
	struct attempt *a = im->a;
	int rc = err_set(
		&a->err, -ENOMEM, ERR_MEMORY, "job memory",
		"the rows of a page of %d items need %lld KiB more; a job may hold %lld KiB and holds %lld: lower "
		"\"size\" of the manifest's pagination, or raise --job-memory",
		p->n, (long long)bytes >> 10, (long long)a->memory->limit >> 10,
		(long long)a->memory->held >> 10);

	snprintf(a->err.where, sizeof(a->err.where), "%s page %d", im->collection->name, p->number);
	return rc;
}

/* Room for `more` rows; thousands of jobs wait with theirs: as many as are expected, no more. */
static int rows_grow(struct import *im, struct rows *r, const struct page *p, int more)
{
	int64_t bytes = (int64_t)more * (int64_t)ROW_HELD_BYTES;

	if (!budget_take(im->a->memory, bytes))
		return too_much(im, p, bytes);
	r->cap += more;
	r->v = mem_realloc(r->v, (size_t)r->cap * sizeof(*r->v));
	r->items = mem_realloc(r->items, (size_t)r->cap * sizeof(*r->items));
	return 0;
}

static void rows_clear(struct import *im, struct rows *r)
{
	budget_give(im->a->memory, (int64_t)r->cap * (int64_t)ROW_HELD_BYTES);
	free(r->v);
	free(r->items);
	free(r->outcomes);
	free(r->seen);
	free(r->heirs);
}

static void rows_saw(struct rows *r, const char *id)
{
	if (!id) {
		r->unnamed++;
		return;
	}
	r->seen = mem_realloc(r->seen, sizeof(*r->seen) * (size_t)(r->n_seen + 1));
	r->seen[r->n_seen++] = id;
}

/* ---- set aside ---- */
struct fault { /* an item that can't be a row */
	const cJSON *item;
	const char *id, *parent_id, *field, *reason;
};

const char *import_id(const struct attempt *a)
{
	const char *of = a->job.args ? json_str(a->job.args, "import") : NULL;

	return of ? of : a->lease.header.id;
}

static int reject(struct import *im, const struct manifest_collection *c, const struct fault *f,
		  int page)
{
	struct attempt *a = im->a;
	struct buf json = BUF_INIT;
	int rc;

	json_print(f->item, &json);
	struct rejected r = { .integration_id = a->integration->id,
			      .run_id = im->run.id,
			      .collection = c->name,
			      .external_id = f->id,
			      .parent_id = f->parent_id,
			      .field = f->field,
			      .reason = f->reason,
			      .item_json = buf_str(&json),
			      .job_id = a->job_id,
			      .import_id = import_id(a),
			      .page = page };
	rc = sink_rejected(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
	buf_clear(&json);
	im->run.counts.failed += !im->place.looks; /* else it was counted when it came first */
	return rc;
}

/* Values that came later than the manifest are counted; the first few of a process are named. */
static void count_unknown(const char *column, const char *value, void *arg)
{
	static int named;
	struct import *im = arg;

	metric_add(metrics_counter("integration_enum_other_total",
				   "Values that only the catch-all of an enum took.", "partner",
				   im->a->partner, "collection", im->collection->name, "column",
				   column, NULL),
		   1);
	if (named < UNKNOWN_NAMED_MAX) {
		named++;
		log_event(LOG_INFO, "enum_other", LS("collection", im->collection->name),
			  LS("column", column), LS("value", value));
	}
}

/* The row that was just mapped. */
static int add_gone(struct import *im, struct rows *r, const struct page *p, const cJSON *item)
{
	struct rows *gone = r->gone;
	int rc = gone->n == gone->cap ? rows_grow(im, gone, p, gone->cap ? gone->cap : 16) : 0;

	if (rc == 0) {
		gone->items[gone->n] = item;
		gone->v[gone->n++] = r->v[r->n];
	}
	return rc;
}

static int map_one(struct import *im, struct rows *r, const struct page *p, const cJSON *item,
		   const char *parent_id, int index, struct arena *arena)
{
	struct map_context m = { .manifest = im->a->driver->manifest,
				 .collection = r->c,
				 .integration_id = im->a->integration->id,
				 .observed_us = p->observed_us,
				 .parent_id = parent_id,
				 .index = index,
				 .arena = arena,
				 .unknown = count_unknown,
				 .unknown_arg = im,
				 .hooks = im->a->driver->hooks };
	struct err err = { 0 };
	struct buf id = BUF_INIT;
	int rc = r->n == r->cap ? rows_grow(im, r, p, r->cap) : 0;

	if (rc < 0)
		return rc;
	rc = map_item(&m, item, &r->v[r->n], &err);
	if (rc == 0 && im->happened_us && r->c == im->collection &&
	    !r->v[r->n].has_partner_updated) {
		r->v[r->n].has_partner_updated = true;
		r->v[r->n].partner_updated_us = im->happened_us;
	}
	if (rc == 0 && r->v[r->n].gone)
		return add_gone(im, r, p, item);
	if (rc == 0) {
		r->items[r->n++] = item;
		return 0;
	}
	rows_saw(r, map_key(&m, item));
	const cJSON *idv = r->c->id ? json_path(item, r->c->id) : NULL;
	if (idv)
		json_scalar_text(idv, &id);
	struct fault f = { item, id.len ? id.data : NULL, parent_id, err.where, err.text };
	if (r->c == im->collection)
		schema_note(im, arena, f.field, f.id, f.reason);
	rc = reject(im, r->c, &f, p->number);
	buf_clear(&id);
	return rc;
}

/* ---- stored ---- */
static void count(struct import *im, enum row_outcome o)
{
	struct run_counts *c = &im->run.counts;

	/* What a list shows once more is no news. */
	if (im->place.looks && (o == ROW_UNCHANGED || o == ROW_STALE))
		return;
	switch (o) {
	case ROW_ADDED:
		c->added++;
		break;
	case ROW_UPDATED:
		c->updated++;
		break;
	case ROW_UNCHANGED:
		c->unchanged++;
		break;
	case ROW_STALE:
		c->stale++;
		break;
	case ROW_UNDELETED:
		c->undeleted++;
		break;
	case ROW_DELETED:
		c->deleted++;
		break;
	case ROW_FAILED:
	case ROW_MISMATCH: /* imports expect no version */
	case ROW_OUTCOMES:
		break; /* counted where it is set aside */
	}
}

static void measure(struct import *im, const struct rows *r)
{
	static const char *const names[ROW_OUTCOMES] = { "failed",    "added",  "updated",
							 "unchanged", "stale",  "undeleted",
							 "mismatch",  "deleted" };
	static struct metrics_kept kept;
	int n[ROW_OUTCOMES] = { 0 };

	for (int i = 0; i < r->n; i++)
		n[r->outcomes[i]]++;
	for (int o = 0; o < ROW_OUTCOMES; o++) {
		struct metric **m;

		if (!n[o])
			continue;
		m = metrics_keep(&kept, im->a->partner, row_table_name(r->c->table), names[o]);
		if (!*m)
			*m = metrics_counter("integration_rows_total",
					     "Rows by what became of them.", "partner",
					     im->a->partner, "table", row_table_name(r->c->table),
					     "outcome", names[o], NULL);
		metric_add(*m, n[o]);
	}
}

static int store_outcome(struct import *im, struct rows *r, int i, const char *why,
			 const struct page *p)
{
	struct fault f = { r->items[i], r->v[i].external_id, NULL, "row", why ? why : "" };

	count(im, r->outcomes[i]);
	if (r->outcomes[i] == ROW_FAILED || r->outcomes[i] == ROW_STALE)
		rows_saw(r, r->v[i].external_id);
	if (r->outcomes[i] == ROW_FAILED)
		return reject(im, r->c, &f, p->number);
	if (r->c == im->collection && r->v[i].has_partner_updated &&
	    r->v[i].partner_updated_us > im->place.newest_us)
		im->place.newest_us = r->v[i].partner_updated_us;
	return 0;
}

enum row_source import_source(const struct import *im)
{
	if (im->source)
		return im->source;
	return strcmp(im->mode, "incremental") == 0 ? ROW_INCREMENTAL : ROW_FULL;
}

/* columns: a set, or ROW_GONE. */
static int store_as(struct import *im, struct rows *r, uint64_t columns, const struct page *p)
{
	struct attempt *a = im->a;
	const struct row_set set = { r->c->table, columns, { import_source(im), im->run.id } };
	const struct row **ptrs = mem_alloc((r->n + 1) * sizeof(*ptrs));
	char(*why)[SINK_WHY_MAX] = NULL;
	int rc;

	r->outcomes = mem_zalloc((r->n + 1) * sizeof(*r->outcomes));
	for (int i = 0; i < r->n; i++)
		ptrs[i] = &r->v[i];
	rc = sink_rows(a->worker->sink, &set, ptrs, r->n, r->outcomes, &why, attempt_deadline_ms(a),
		       &a->err);
	for (int i = 0; rc == 0 && i < r->n; i++)
		rc = store_outcome(im, r, i, why ? why[i] : NULL, p);
	if (rc == 0)
		measure(im, r);
	free(why);
	free(ptrs);
	return rc;
}

/* Of an attempt that died before what follows they look as if they had been gone before. */
static bool is_gone_now(const struct import *im, const struct rows *gone, int i)
{
	return gone->outcomes[i] == ROW_DELETED || (im->redo && gone->outcomes[i] == ROW_UNCHANGED);
}

/* Rows that are marked deleted, and what comes with them; but of one that lives on in another what hangs on it does too. */
static int store_gone(struct import *im, struct rows *gone, const struct page *p,
		      struct arena *arena)
{
	const char **ids;
	struct merged m = { 0 };
	int n = 0, rc;

	if (!gone->n)
		return 0;
	rc = store_as(im, gone, ROW_GONE, p);
	ids = mem_alloc(sizeof(*ids) * (size_t)gone->n);
	m.merged = mem_zalloc(sizeof(*m.merged) * (size_t)gone->n);
	m.heirs = gone->heirs = mem_alloc(sizeof(*m.heirs) * (size_t)gone->n);
	if (rc == 0 && gone->c->merged_into)
		rc = merge_links(im,
				 &(struct merge){ gone->c, gone->v, gone->items, gone->outcomes,
						  gone->n, p->observed_us, arena },
				 &m);
	gone->n_heirs = m.n_heirs;
	for (int i = 0; rc == 0 && i < gone->n; i++)
		if (is_gone_now(im, gone, i) && !m.merged[i])
			ids[n++] = gone->v[i].external_id;
	if (rc == 0)
		rc = sweep_orphans(im, gone->c, ids, n, p->observed_us);
	free(m.merged);
	free(ids);
	return rc;
}

/* An item that is there and did not touch its row must not look like one that is not. */
static int store_seen(struct import *im, const struct rows *r, const struct page *p)
{
	struct attempt *a = im->a;
	bool matters = r->c->deletes.by == DELETES_SCAN_OF_PARENT ||
		       (r->c == im->collection && im->proving);

	if (r->c == im->collection && im->proving)
		im->place.unnamed += r->unnamed;
	if (!matters || !r->n_seen)
		return 0;
	return sweep_seen(a->worker->pg, r->c->table, a->integration->id, r->seen, r->n_seen,
			  p->observed_us, &a->err);
}

static int store(struct import *im, struct rows *r, const struct page *p, struct arena *arena)
{
	int rc = store_as(im, r, r->c->columns | (im->force ? ROW_FORCE : 0), p);

	if (rc == 0)
		rc = store_gone(im, r->gone, p, arena);
	return rc == 0 ? store_seen(im, r, p) : rc;
}

/* ---- what is embedded in the items: it costs no call ---- */
/* The whole of the parent's list, if it can be told what is in it: then *whole. */
static int map_embedded(struct import *im, struct rows *r, const struct page *p, const cJSON *list,
			const char *parent_id, struct arena *arena, bool *whole)
{
	int index = 0, unnamed = r->unnamed, rc = 0;
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		rc = map_one(im, r, p, item, parent_id, index++, arena);
		if (rc < 0)
			break;
	}
	*whole = rc == 0 && r->unnamed == unnamed;
	return rc;
}

static int store_embedded(struct import *im, const struct manifest_collection *e,
			  const struct rows *parents, const struct page *p, struct arena *arena)
{
	struct rows gone = { .c = e }, r = { .c = e, .gone = &gone };
	struct sweep_parents lists = { .c = e };
	int rc = rows_grow(im, &r, p, 16);

	for (int i = 0; rc == 0 && i < parents->n; i++) {
		const cJSON *list = json_path(parents->items[i], e->embedded);
		bool whole;

		/* a list that came in older news of its parent says nothing of now */
		if (parents->outcomes[i] == ROW_FAILED || parents->outcomes[i] == ROW_STALE ||
		    !cJSON_IsArray(list))
			continue;
		rc = map_embedded(im, &r, p, list, rows_partner_id(parents, i), arena, &whole);
		if (whole && e->deletes.by == DELETES_SCAN_OF_PARENT)
			sweep_parents_add(&lists, parents->v[i].external_id, p->observed_us);
	}
	if (rc == 0)
		rc = store(im, &r, p, arena);
	if (rc == 0)
		rc = sweep_parents_run(im, &lists);
	sweep_parents_clear(&lists);
	rows_clear(im, &gone);
	rows_clear(im, &r);
	return rc;
}

static int hang_on(struct import *im, const struct rows *parents, const struct page *p,
		   struct arena *arena)
{
	const struct manifest *m = im->a->driver->manifest;
	int rc = 0;

	for (int i = 0; rc == 0 && i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (!c->each || strcmp(c->each, parents->c->name))
			continue;
		rc = c->embedded ? store_embedded(im, c, parents, p, arena)
				 : children_queue(im, c, parents);
	}
	return rc;
}

/* Rows, and what hangs on them.  Waits. */
static int store_page(struct import *im, struct rows *r, const struct page *p, struct arena *arena)
{
	bool unclean = im->a->unclean;
	int rc;

	im->a->unclean = true;
	rc = store(im, r, p, arena);
	if (rc == 0)
		rc = hang_on(im, r, p, arena);
	if (rc == 0)
		im->a->unclean = unclean;
	return rc;
}

static int page_rows(struct import *im, struct rows *r, const struct page *p, const char *parent_id,
		     struct arena *arena)
{
	struct budget *memory = im->a->memory;
	int rc = rows_grow(im, r, p, p->n ? p->n : 1);
	int64_t mapped;

	for (int i = 0; rc == 0 && i < p->n; i++)
		rc = map_one(im, r, p, p->records[i], parent_id, i, arena);
	if (rc < 0)
		return rc;
	schema_judge(im, p->n);
	mapped = (int64_t)arena_bytes(arena);
	if (!budget_take(memory, mapped))
		return too_much(im, p, mapped);
	rc = store_page(im, r, p, arena);
	budget_give(memory, mapped);
	return rc;
}

int import_page(struct import *im, const struct page *p, const char *parent_id)
{
	struct arena *arena = arena_new();
	struct rows gone = { .c = im->collection }, r = { .c = im->collection, .gone = &gone };
	int rc;

	im->faults = NULL;
	/* The statement that writes them copies what is text in the rows, which is no more than what came. */
	if (budget_take(im->a->memory, p->text_bytes)) {
		rc = page_rows(im, &r, p, parent_id, arena);
		budget_give(im->a->memory, p->text_bytes);
	} else {
		rc = too_much(im, p, p->text_bytes);
	}
	im->run.processed += im->place.looks ? 0 : p->n;
	im->run.counts.pages++;
	rows_clear(im, &gone);
	rows_clear(im, &r);
	arena_free(arena);
	return rc;
}
