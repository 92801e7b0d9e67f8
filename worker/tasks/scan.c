/* A list from its place to its end, page by page; then what was not in it (sweep.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "worker/tasks/import.h"
#include "worker/tasks/schema.h"
#include "worker/tasks/sweep.h"

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

int import_scan(struct import *im, const struct manifest_collection *c, const char *parent_id)
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
