#include "worker/tasks/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "worker/fresh.h"
#include "worker/memory.h"
#include "worker/outcome.h"
#include "worker/tasks/schema.h"
#include "worker/tasks/sweep.h"
#include "worker/tasks/units.h"

#define NOTE_MAX 800 /* and one more: a checkpoint stays small */
#define PROGRESS_MS 1000
#define TOUCH_MS 5000 /* integrations.last_success: at most so often a process */

/* ---- the run's row ---- */
static void note_memory(struct import *im)
{
	int64_t now = memory_resident();

	if (now > im->run.worker_peak_bytes)
		im->run.worker_peak_bytes = now;
}

/* What whoever asked for the outcome is told, beside how it ended. */
static void tell_result(const struct import *im)
{
	const struct run_counts *c = &im->run.counts;
	struct buf *out = &im->a->result;

	if (!outcome_is_wanted(im->a))
		return;
	const struct {
		const char *name;
		int64_t n;
	} v[] = { { "run", im->run.id },         { "processed", im->run.processed },
		  { "added", c->added },         { "updated", c->updated },
		  { "unchanged", c->unchanged }, { "stale", c->stale },
		  { "undeleted", c->undeleted }, { "deleted", c->deleted },
		  { "failed", c->failed },       { "pages", c->pages },
		  { "calls", c->calls } };
	buf_reset(out);
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		buf_printf(out, "%s\"%s\":%lld", i ? "," : "{", v[i].name, (long long)v[i].n);
	buf_printf(out, ",\"complete\":%s}", im->incomplete ? "false" : "true");
}

void import_note(struct import *im, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (im->note && (strstr(im->note, text) || strlen(im->note) > NOTE_MAX))
		return;
	im->note = im->note ? arena_printf(im->a->arena, "%s; %s", im->note, text)
			    : arena_strdup(im->a->arena, text);
}

/* error NULL: none. */
static int write_run(struct import *im, const char *state, const char *error)
{
	/* What it says is what became of the items; this attempt finds them unchanged. */
	if (im->a->run_told && strcmp(state, "failed") != 0)
		return 0;
	im->run.state = state;
	im->run.note = error ? error : im->note;
	im->run.finished_ms = strcmp(state, "running") ? redis_now_ms(im->a->worker->redis) : 0;
	im->run.counts.calls = im->calls_before + im->a->caller.calls;
	note_memory(im);
	im->run_written_ms = loop_now_ms();
	im->told = true;
	return sink_run(im->a->worker->sink, &im->run, attempt_deadline_ms(im->a), &im->a->err);
}

int import_progress(struct import *im)
{
	return loop_now_ms() - im->run_written_ms >= PROGRESS_MS ? write_run(im, "running", NULL)
								 : 0;
}

static int read_args(struct import *im, struct attempt *a)
{
	const cJSON *force = a->job.args ? json_path(a->job.args, "force") : NULL;
	const cJSON *children = a->job.args ? json_path(a->job.args, CHILDREN_ARG) : NULL;

	if (force && !cJSON_IsBool(force))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.force",
			       "args.force must be true or false");
	if (children && (!cJSON_IsString(children) || strcmp(children->valuestring, "all") != 0))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.children",
			       "args.children can only be \"all\"");
	im->force = cJSON_IsTrue(force);
	im->all_children = children;
	return 0;
}

int import_begin(struct import *im, struct attempt *a)
{
	int rc = task_mode(a, &im->mode);

	if (rc == 0)
		rc = read_args(im, a);

	im->a = a;
	im->resumed = a->run_id != 0;
	if (rc == 0)
		rc = task_run(a);
	im->run = (struct run){ .id = a->run_id,
				.root_id = a->job.run_id,
				.integration_id = a->integration->id,
				.task = a->job.task,
				.mode = im->mode,
				.job_id = a->job_id,
				.worker = a->worker->epoch,
				.started_ms = attempt_began_ms(a),
				.total = -1 };
	im->run_written_ms = loop_now_ms();
	im->redo = a->unclean;
	return rc;
}

/* An integration that was deleted meanwhile has nothing to tell.  Marked before the wait: the jobs that end meanwhile
 * would else all queue up for the lock of that one row. */
static int touch_success(struct attempt *a)
{
	static struct {
		int64_t id, at_ms;
	} last[64];
	int slot = a->integration->id % 64, rc;

	if (last[slot].id == a->integration->id && loop_now_ms() - last[slot].at_ms < TOUCH_MS)
		return 0;
	last[slot].id = a->integration->id;
	last[slot].at_ms = loop_now_ms();
	rc = integration_touch_success(a->worker->pg, a->integration->id, &a->err);
	if (rc < 0)
		last[slot].id = 0;
	return rc == -ENOENT ? 0 : rc;
}

/* What the run's row says of an attempt that failed; the error stays as it was. */
static void tell_failure(struct import *im)
{
	struct attempt *a = im->a;
	struct err first = a->err;
	bool waits = first.class == ERR_HOLD || first.class == ERR_RATE_LIMIT;

	/* One that had to wait before its first page, or for another one that scans the same, has not begun: it may still be
	 * superseded. */
	if (waits && !im->resumed && (!im->run.counts.pages || (im->taken && !im->place.written))) {
		a->run_id = 0;
		if (im->told && write_run(im, "incomplete", first.text) < 0)
			log_event(LOG_WARN, "run_not_written", LS("reason", a->err.text));
		a->err = first;
		return;
	}
	if (!waits)
		place_release(im);
	if (write_run(im, waits ? "running" : "failed", first.text) < 0)
		log_event(LOG_WARN, "run_not_written", LS("reason", a->err.text));
	a->err = first;
}

int import_end(struct import *im, int rc)
{
	if (rc == 0 && !im->yielded && !im->incomplete)
		rc = touch_success(im->a);
	if (rc == 0 && !im->yielded && !im->incomplete && !im->resumed)
		fresh_success(im->a, im->mode, im->run.started_ms);
	if (rc == 0)
		rc = write_run(im,
			       im->yielded      ? "running"
			       : im->incomplete ? "incomplete"
						: "done",
			       NULL);
	else if (rc != -ECANCELED && rc != -ECONNRESET && rc != -ESTALE)
		tell_failure(im);
	if (!im->yielded)
		tell_result(im);
	place_clear(&im->place);
	return rc;
}

/* Full: everything.  Incremental: what changed since the newest that is stored; the first time as far back as the manifest
 * says.  A scan that goes on asks as it did: its pages are those of that list. */
static int64_t ask_since(const struct import *im)
{
	const struct manifest_incremental *inc = &im->collection->incremental;

	if (im->place.scan)
		return im->place.asked_us;
	if (!inc->on || strcmp(im->mode, "incremental"))
		return 0;
	if (im->place.since_us)
		return im->place.since_us;
	return inc->lookback_first_ms
		       ? redis_now_us(im->a->worker->redis) - inc->lookback_first_ms * 1000
		       : 0;
}

/* ---- a scan ---- */
static int after_page(struct import *im, struct pager *pg, const struct page *p)
{
	int rc = 0;

	if (p->total >= 0)
		im->run.total = p->total;
	if (!p->last) {
		rc = place_move(im, pager_state(pg));
		/* What an earlier attempt may have left undone was on its first page beyond the checkpoint. */
		im->a->unclean = false;
	}
	im->redo = false;
	note_memory(im);
	return rc == 0 ? import_progress(im) : rc;
}

/* The exchange that failed goes into the dead letter, if it comes to one. */
void import_keep_exchange(struct attempt *a, struct page *p)
{
	buf_clear(&a->exchange);
	a->exchange = p->exchange;
	p->exchange = (struct buf)BUF_INIT;
}

/* A place that could not be kept (a cursor that is too long) would have the scan start over: it runs on. */
static bool may_yield(const struct import *im, const char *parent_id)
{
	return !parent_id && im->place.scan && !json_bool(im->place.scan, "restart", false) &&
	       attempt_should_yield(im->a);
}

static void yield(struct import *im)
{
	im->yielded = true;
	attempt_continue(im->a);
}

/* An attempt that was told to ask for smaller pages goes on until one fits: with pages of one item only an item that is
 * too large by itself is left. */
static int next_page(struct import *im, struct pager *pg, struct page *page)
{
	struct attempt *a = im->a;
	int rc;

	if (a->small)
		pager_resize(pg, a->small); /* what made it smaller lies behind */
	rc = pager_next(pg, page, &a->err);
	while (rc < 0 && a->err.class == ERR_MEMORY && a->small && pager_shrink(pg)) {
		a->page_size = pager_size(pg);
		log_event(LOG_INFO, "page_shrunk", LS("where", a->err.where),
			  LI("items", a->page_size), LS("reason", a->err.text));
		page_clear(page);
		a->err = (struct err){ 0 };
		rc = pager_next(pg, page, &a->err);
	}
	while (import_skips(im, rc) && pager_skip_window(pg)) {
		page_clear(page);
		a->err = (struct err){ 0 };
		rc = pager_next(pg, page, &a->err);
	}
	return rc;
}

/* Who dies before it, or is refused, gets the same items again. */
static int confirm(struct import *im, struct pager *pg, struct page *page)
{
	int rc;

	rc = pager_ack(pg, page, &im->a->err);
	if (rc < 0)
		import_keep_exchange(im->a, page);
	return rc;
}

static int walk(struct import *im, struct pager *pg, const char *parent_id)
{
	struct page page = { 0 };
	bool last = false;
	int rc;

	/* Of parents each is looked at before it begins. */
	while ((rc = last || parent_id ? 0 : import_room(im, im->collection)) == 0 &&
	       (rc = next_page(im, pg, &page)) > 0) {
		/* It is read: the job waits for its rows without the text. */
		http_response_clear(&page.result.http);
		if (!attempt_holds_lease(im->a)) {
			page_clear(&page);
			return -ESTALE;
		}
		if (!im->place.began_us)
			im->place.began_us = page.observed_us;
		rc = import_page(im, &page, parent_id);
		if (rc == 0) /* what it held is stored: a queue may forget it */
			rc = confirm(im, pg, &page);
		if (rc == 0 && !parent_id)
			rc = after_page(im, pg, &page);
		last = page.last;
		page_clear(&page);
		if (rc < 0)
			return rc;
		if (!last && may_yield(im, parent_id)) {
			yield(im);
			return 0;
		}
	}
	if (rc < 0 && !parent_id)
		import_reset(im, &rc);
	import_keep_exchange(im->a, &page);
	page_clear(&page);
	if (rc < 0)
		schema_broken(im);
	return rc;
}

static bool is_there(const cJSON *v)
{
	return v && !cJSON_IsNull(v);
}

/* The parent's row, where a template names a column of it. 0, and *row NULL where none does.  One that is not there
 * or is null sets the parent aside. */
static int find_parent(struct import *im, const struct manifest_collection *c, const char *id,
		       cJSON **row)
{
	struct attempt *a = im->a;
	const struct manifest_collection *parent =
		manifest_collection(a->driver->manifest, c->each);
	const struct row_column *columns;
	char *key;
	int n, rc;

	if (!c->parent_columns || !parent)
		return 0;
	key = arena_printf(a->arena, "%s%s", parent->id_prefix, id);
	rc = row_look(a->worker->pg, parent->table, a->integration->id, key, row, &a->err);
	if (rc == -ENOENT)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "parent",
			       "%s is not stored, and its columns are asked for", id);
	columns = row_columns(parent->table, &n);
	for (int i = 0; i < n && rc == 0; i++)
		if (c->parent_columns >> i & 1 &&
		    !is_there(cJSON_GetObjectItemCaseSensitive(*row, columns[i].name)))
			rc = err_set(&a->err, -EBADMSG, ERR_DATA, "parent", "{parent.%s} is null",
				     columns[i].name);
	return rc;
}

/* The end of the list, as far as it was read. */
struct ending {
	bool complete, skipped;
	const char *why; /* not complete */
};

static void note_ending(struct import *im, const struct ending *e)
{
	const char *name = im->collection->name;

	if (e->complete)
		return;
	log_event(LOG_WARN, "scan_incomplete", LS("collection", name), LS("reason", e->why));
	if (im->place.looks) { /* the scan was complete before: it is the second look that is not */
		import_note(im, "%s: what was not seen is kept: %s", name, e->why);
		return;
	}
	im->incomplete = true;
	import_note(im, "%s: %s", name, e->why);
}

static void note_told(struct import *im, const struct pager *pg)
{
	const char *why = pager_told(pg);

	if (!why)
		return;
	import_note(im, "%s: began anew: %s", im->collection->name, why);
	log_event(LOG_INFO, "scan_began_anew", LS("collection", im->collection->name),
		  LS("reason", why));
}

static bool is_proof(const struct import *im, const struct ending *e)
{
	return im->proving && !im->yielded && e->complete && !e->skipped;
}

/* Reads on to the list's end.  Waits. */
static int read_on(struct import *im, const char *parent_id, struct pager *pg, struct ending *end)
{
	int rc = walk(im, pg, parent_id);

	note_told(im, pg);
	end->skipped = import_skips(im, rc);
	if ((rc < 0 && !end->skipped) || im->yielded)
		return rc;
	end->complete =
		end->skipped ? import_skipped(im, pg, &end->why) : pager_complete(pg, &end->why);
	note_ending(im, end);
	return 0;
}

/* Reads the list once, from its place.  Waits. */
static int read_list(struct import *im, const char *parent_id, cJSON *parent, struct pager **pg,
		     struct ending *end)
{
	struct attempt *a = im->a;
	struct pager_options po = { .collection = im->collection,
				    .parent_id = parent_id,
				    .parent = parent,
				    .since_us = im->place.asked_us,
				    .resume = im->place.scan,
				    .size = a->small };
	bool on = false;
	int rc = pager_new(&a->caller, &po, pg, &a->err);

	if (rc < 0)
		return rc;
	a->page_size = pager_size(*pg);
	rc = read_on(im, parent_id, *pg, end);
	if (rc == 0 && is_proof(im, end) && pager_guessed(*pg))
		rc = sweep_asks_on(im, *pg, parent_id, &on);
	if (rc == 0 && on)
		rc = read_on(im, parent_id, *pg, end);
	return rc;
}

/* The place that an earlier attempt left is of a list that the partner knows no more: it says so to the first call. */
static bool is_place_refused(const struct import *im, int rc, int64_t pages_before)
{
	const struct err *e = &im->a->err;

	return rc == -EREMOTEIO && e->class == ERR_CLIENT && e->action == ACT_NONE &&
	       im->place.scan && im->resumed && !json_bool(im->place.scan, "restart", false) &&
	       im->run.counts.pages == pages_before;
}

static int begin_anew(struct import *im, bool *again)
{
	struct attempt *a = im->a;
	char why[sizeof(a->err.text)];

	snprintf(why, sizeof(why), "%s", a->err.text);
	log_event(LOG_WARN, "scan_began_anew", LS("collection", im->collection->name),
		  LS("reason", why));
	a->err = (struct err){ 0 };
	buf_clear(&a->exchange);
	*again = true;
	return place_restart(im, why);
}

/* And what follows from what was not in it.  *again: it is to be read once more. */
static int scan_once(struct import *im, const char *parent_id, cJSON *parent, struct ending *end,
		     bool *again)
{
	struct pager *pg = NULL;
	int64_t pages = im->run.counts.pages;
	int rc = read_list(im, parent_id, parent, &pg, end);

	*again = false;
	if (!parent_id && is_place_refused(im, rc, pages))
		rc = begin_anew(im, again);
	else if (rc == 0 && is_proof(im, end))
		rc = parent_id ? sweep_parent(im, pg, parent_id, again)
			       : sweep_scanned(im, pg, again);
	pager_free(pg);
	return rc;
}

static int scan(struct import *im, const struct manifest_collection *c, const char *parent_id)
{
	struct attempt *a = im->a;
	struct ending end = { 0 };
	cJSON *parent = NULL;
	bool again = true;
	int rc = 0;

	im->collection = c;
	im->redo = a->unclean;
	im->proving = sweep_wanted(im, c, parent_id);
	if (!parent_id)
		rc = place_find(im);
	else
		place_clear(&im->place);
	if (rc < 0 || im->place.complete)
		return rc;
	im->place.asked_us = ask_since(im);
	rc = parent_id ? find_parent(im, c, parent_id, &parent) : 0;
	while (rc == 0 && again && !im->yielded)
		rc = scan_once(im, parent_id, parent, &end, &again);
	cJSON_Delete(parent);
	im->proving = false;
	if (rc == 0 && !im->yielded && !parent_id)
		rc = place_end(im, end.complete || im->place.looks);
	return rc;
}

/* What the partner says of this parent alone, or has too much of for this parent alone. */
static bool is_of_parent(const struct attempt *a, int rc)
{
	if (rc == -EREMOTEIO && a->err.action != ACT_NONE)
		return a->err.action == ACT_SET_ASIDE;
	return (rc == -EREMOTEIO || rc == -EBADMSG) &&
	       (a->err.class == ERR_CLIENT || a->err.class == ERR_DATA ||
		(a->err.class == ERR_MEMORY && a->small));
}

static int set_parent_aside(struct import *im, const struct manifest_collection *c, const char *id)
{
	struct attempt *a = im->a;
	struct rejected r = { .integration_id = a->integration->id,
			      .run_id = im->run.id,
			      .collection = c->name,
			      .parent_id = id,
			      .reason = a->err.text,
			      .job_id = a->job_id,
			      .import_id = import_id(a) };

	im->run.counts.failed++;
	log_event(LOG_WARN, "parent_set_aside", LS("collection", c->name), LS("parent", id),
		  LS("class", err_class_name(a->err.class)), LS("reason", a->err.text));
	return sink_rejected(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
}

struct parents {
	const struct manifest_collection *c;
	const char **ids;
	int n, refused;
};

/* A parent that the partner refuses is set aside and the others go on; where it refuses them all, it is the call that is wrong, and
 * the job's. */
static int scan_parent(struct import *im, int64_t first, int n, void *arg)
{
	struct parents *p = arg;
	struct attempt *a = im->a;
	int rc = import_room(im, p->c);

	if (rc < 0)
		return rc;
	rc = scan(im, p->c, p->ids[first]);
	if (rc < 0 && is_of_parent(a, rc) &&
	    (a->err.action == ACT_SET_ASIDE || ++p->refused < p->n))
		rc = set_parent_aside(im, p->c, p->ids[first]);
	return rc;
}

/* Parents are done once what their lists left out is marked: one that fails, or has to wait, keeps what is done, and where
 * it cannot be marked they are looked at again. */
static int walk_parents(struct import *im, const struct units *u)
{
	struct attempt *a = im->a;
	int64_t step = a->step, beyond = a->beyond;
	int rc = units_run(im, u), swept = 0;
	struct err first = a->err;

	if (rc == -ECANCELED || rc == -ESTALE)
		swept = im->parents->n ? rc : 0;
	else
		swept = sweep_parents_run(im, im->parents);
	if (swept < 0) {
		a->step = step;
		a->beyond = beyond;
	}
	if (rc == 0) {
		im->yielded = im->yielded && swept == 0;
		return swept;
	}
	if (swept < 0 && swept != rc)
		log_event(LOG_WARN, "parents_not_swept", LS("reason", a->err.text));
	a->err = first;
	return rc;
}

static int scan_parents(struct import *im, const struct manifest_collection *c,
			const cJSON *parents)
{
	struct sweep_parents looked = { .c = c };
	struct parents p = { .c = c };
	struct units u = { .per = 1, .parallel = c->parallel, .run = scan_parent, .arg = &p };
	const cJSON *v;
	int rc = 0;

	p.ids = mem_alloc(sizeof(*p.ids) * (size_t)(cJSON_GetArraySize(parents) + 1));
	cJSON_ArrayForEach (v, parents) {
		if (!cJSON_IsString(v))
			rc = err_set(&im->a->err, -EINVAL, ERR_BAD_JOB, "args.parents",
				     "args.parents must be an array of ids (text)");
		p.ids[p.n++] = v->valuestring;
	}
	u.n = p.n;
	im->collection = c;
	im->parents = &looked;
	if (rc == 0)
		rc = walk_parents(im, &u);
	im->parents = NULL;
	sweep_parents_clear(&looked);
	free(p.ids);
	return rc;
}

static int by_parents(struct import *im, enum row_table t, const cJSON *parents)
{
	struct attempt *a = im->a;
	const char *name = json_str(a->job.args, "collection");
	const struct manifest_collection *c =
		name ? manifest_collection(a->driver->manifest, name) : NULL;

	if (!cJSON_IsArray(parents))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.parents",
			       "args.parents must be an array of ids (text)");
	if (!c || c->table != t || !c->each || c->embedded)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.collection",
			"args.parents needs args.collection: a collection of %s that is called for each parent; \"%.60s\" is none",
			a->partner, name ? name : "");
	im->run.collection = c->name; /* a part, which stands for no complete import */
	return scan_parents(im, c, parents);
}

/* All collections of a table that stand by themselves. */
static int scan_table(struct import *im, enum row_table t)
{
	const struct manifest *m = im->a->driver->manifest;
	int found = 0, rc = 0;

	for (int i = 0; rc == 0 && !im->yielded && i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (c->table != t || c->each)
			continue;
		found++;
		rc = scan(im, c, NULL);
	}
	if (!found)
		return err_set(
			&im->a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			"partner %s lists no %s by themselves: they come with what they belong to",
			im->a->partner, row_table_name(t));
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
	int rc;

	if (!has_collection(a->driver->manifest, t))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			       "partner %s has no collection of %s: its manifest declares none",
			       a->partner, row_table_name(t));
	rc = import_begin(&im, a);
	if (rc < 0)
		return rc;
	rc = parents ? by_parents(&im, t, parents) : scan_table(&im, t);
	return import_end(&im, rc);
}

/* ---- the tasks ---- */
static bool stands_alone(const struct manifest *m, enum row_table t)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == t && !m->collections[i].each)
			return true;
	return false;
}

/* How it is done is how they are done.  NULL: as usual. */
static cJSON *args_of_children(const cJSON *args)
{
	static const char *const handed_on[] = { "mode", "force", CHILDREN_ARG };
	cJSON *out = NULL;

	for (size_t i = 0; i < ARRAY_LEN(handed_on); i++) {
		const cJSON *v = args ? json_path(args, handed_on[i]) : NULL;

		if (v && !out)
			out = cJSON_CreateObject();
		if (v)
			cJSON_AddItemToObject(out, handed_on[i], cJSON_Duplicate(v, 1));
	}
	return out;
}

int task_import_resources(struct attempt *a)
{
	int rc = import_table(a, ROW_RESOURCES);
	bool parents = a->job.args && json_path(a->job.args, "parents");
	int64_t root = a->job.run_id ? a->job.run_id : a->run_id;

	if (rc < 0 || a->goes_on || parents)
		return rc;
	/* The children of an import: what is listed beside the resources. */
	cJSON *args = args_of_children(a->job.args);
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
