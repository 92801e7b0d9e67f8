/* Events about an item: it is read again, taken from the event, or marked as deleted. */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/tasks/sweep.h"
#include "worker/tasks/webhook.h"

#define NOT_KNOWN "the partner does not know it (yet)"

/* 0, or -ENOENT: nothing is stored of it. */
static int look(struct hook *h, struct row_held *out)
{
	struct attempt *a = h->a;

	return row_held(a->worker->pg, h->c->table, a->integration->id, h->row.external_id, out,
			&a->err);
}

/* Without a row in `runs`: a storm of events is no import. */
static void import_init(struct hook *h, struct import *im)
{
	*im = (struct import){ .a = h->a,
			       .collection = h->c,
			       .mode = "full",
			       .source = ROW_WEBHOOK,
			       .redo = h->a->unclean,
			       .run = { .integration_id = h->a->integration->id } };
}

/* What became of the one row. */
static int end_stored(struct hook *h, const struct import *im)
{
	const struct run_counts *n = &im->run.counts;

	if (n->failed)
		return hook_end(h, WEBHOOK_FAILED,
				"the item was set aside: rejected_items says why");
	if (n->stale)
		return hook_end(h, WEBHOOK_STALE, NULL);
	return hook_end(h, WEBHOOK_DONE, NULL);
}

/* What comes with the item alone goes with it.  Also where it was marked before: who did that may have died at once. */
static int take_along(struct hook *h, int64_t before_us)
{
	struct import *im = mem_new(struct import);
	int rc;

	import_init(h, im);
	rc = sweep_orphans(im, h->c, &h->row.external_id, 1, before_us);
	free(im);
	return rc;
}

/* ---- fetch ---- */

/* The partner was asked at `sent_us` and has none. */
static int not_there(struct hook *h, int64_t sent_us)
{
	struct attempt *a = h->a;
	struct row_held held;
	int rc;

	a->err = (struct err){ 0 };
	rc = look(h, &held);
	if (rc == -ENOENT) {
		h->missing_us = sent_us;
		return hook_wait(h, NOT_KNOWN);
	}
	if (rc == 0 && !held.deleted)
		rc = row_delete(a->worker->pg, h->c->table, a->integration->id, h->row.external_id,
				0, sent_us, &a->err);
	if (rc == -ENOENT)
		return hook_end(h, WEBHOOK_STALE, "the partner had none, and has it again");
	if (rc == 0)
		rc = take_along(h, sent_us);
	if (rc < 0)
		return rc;
	return hook_end(h, WEBHOOK_DONE,
			held.deleted ? "the partner has none, and it is marked deleted"
				     : "the partner has it no more: marked deleted");
}

static int fetch(struct hook *h)
{
	struct attempt *a = h->a;
	struct import *im = mem_new(struct import);
	struct page page = { 0 };
	int64_t sent_us;
	int rc = hook_begin(h);

	import_init(h, im);
	if (rc == 0)
		rc = import_room(im, h->c);
	if (rc < 0) {
		free(im);
		return rc;
	}
	rc = fetch_item(&a->caller, h->c, h->id, &page, &a->err);
	sent_us = page.observed_us;
	if (rc == -ENOENT && a->err.action != ACT_NONE)
		rc = -EREMOTEIO; /* the manifest says what follows */
	if (rc == 0)
		rc = import_page(im, &page, NULL);
	if (rc < 0)
		import_keep_exchange(a, &page);
	page_clear(&page);
	if (rc == 0)
		rc = end_stored(h, im);
	else if (rc == -ENOENT)
		rc = not_there(h, sent_us);
	free(im);
	return rc;
}

/* Another event may have marked it, which read nothing: one that came later, of what happened before. */
static bool is_marked_by_older(const struct hook *h, const struct row_held *held)
{
	return held->deleted && (!h->happened_us || !held->has_partner_updated ||
				 h->happened_us > held->partner_updated_us);
}

/* Not where an attempt died that may have stored the item and queued nothing of what hangs on it. */
int event_is_covered(struct hook *h, bool *covered)
{
	struct row_held held;
	int rc = look(h, &held);

	*covered = rc == 0 && !h->a->unclean && held.observed_us > h->row.received_us &&
		   !is_marked_by_older(h, &held);
	return rc == -ENOENT ? 0 : rc;
}

int event_covered(struct hook *h)
{
	return hook_end(h, WEBHOOK_COALESCED, "what is held was read after it came in");
}

int event_fetch(struct hook *h)
{
	bool covered = false;
	int rc;

	if (!h->c->detail)
		return err_set(
			&h->a->err, -EINVAL, ERR_CLIENT, "webhooks.events",
			"the event %.60s is not signed, and %s has no \"detail\" to read the item again",
			h->row.event, h->c->name);
	rc = event_is_covered(h,
			      &covered); /* again: whoever had the turn before may have read it */
	if (rc < 0)
		return rc;
	return covered ? event_covered(h) : fetch(h);
}

/* ---- upsert ---- */

/* When the item was changed, by itself; *us 0: it does not say.  A row that cannot be made of it is the event's failure. */
static int item_time(struct hook *h, const cJSON *item, int64_t *us)
{
	struct attempt *a = h->a;
	struct map_context m = { .manifest = a->driver->manifest,
				 .collection = h->c,
				 .integration_id = a->integration->id,
				 .observed_us = h->row.received_us,
				 .arena = a->arena,
				 .hooks = a->driver->hooks };
	struct row *row = arena_alloc(a->arena, sizeof(*row));
	int rc = map_item(&m, item, row, &a->err);

	if (rc < 0)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			       "the item in the event %.60s is no row: %.200s", h->row.event,
			       a->err.text);
	*us = row->has_partner_updated ? row->partner_updated_us : h->happened_us;
	if (strcmp(row->external_id, h->row.external_id) != 0)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			       "the event %.60s speaks of %.80s and holds %.80s", h->row.event,
			       h->row.external_id, row->external_id);
	return 0;
}

static int take_item(struct hook *h, const cJSON *item)
{
	struct import *im = mem_new(struct import);
	struct page page = { .number = 1,
			     .observed_us = h->row.received_us,
			     .text_bytes = (int64_t)h->body_text.len,
			     .total = -1,
			     .last = true };
	int rc;

	import_init(h, im);
	im->happened_us = h->happened_us;
	rc = import_room(im, h->c);
	if (rc == 0) {
		page.records = mem_alloc(sizeof(*page.records));
		page.records[page.n++] = item;
		rc = import_page(im, &page, NULL);
	}
	page_clear(&page);
	if (rc == 0)
		rc = end_stored(h, im);
	free(im);
	return rc;
}

int event_upsert(struct hook *h)
{
	const cJSON *item = event_item(h->e, h->c, h->body);
	struct attempt *a = h->a;
	struct row_held held;
	int64_t us = 0;
	int rc;

	if (!item && h->c->detail)
		return event_fetch(h);
	if (!item)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			       "the event %.60s holds no item", h->row.event);
	rc = item_time(h, item, &us);
	if (rc < 0)
		return rc;
	/* Only its arrival would order it, and that says nothing. */
	if (!us && h->c->detail)
		return event_fetch(h);
	if (!us)
		return err_set(
			&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			"neither the event %.60s nor its item says when it happened, and %s has no \"detail\" to read it again",
			h->row.event, h->c->name);
	rc = look(h, &held);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && held.deleted && held.has_partner_updated && us <= held.partner_updated_us)
		return hook_end(h, WEBHOOK_STALE, "older than its deletion");
	/* Whether what marked it came later by news of before, or by a look at the partner, only another look can tell. */
	if (rc == 0 && held.deleted && h->c->detail &&
	    (!held.has_partner_updated || h->row.received_us <= held.observed_us))
		return fetch(h);
	return take_item(h, item);
}

/* ---- delete ---- */

/* By the guard of the row tables. */
static bool is_newer(const struct hook *h, const struct row_held *held)
{
	if (h->happened_us && held->has_partner_updated &&
	    h->happened_us != held->partner_updated_us)
		return h->happened_us > held->partner_updated_us;
	return h->row.received_us > held->observed_us;
}

/* It was there when it was read last, and that was after it is said to have gone: whose clock is wrong, or has it come back? */
static bool is_doubtful(const struct hook *h, const struct row_held *held)
{
	return h->c->detail && h->happened_us && held->observed_us > h->happened_us &&
	       held->observed_us > h->row.received_us;
}

int event_delete(struct hook *h)
{
	struct attempt *a = h->a;
	struct row_held held;
	int rc = look(h, &held);

	if (rc == -ENOENT)
		return hook_wait(h, "nothing is stored of it (yet)");
	if (rc == 0 && held.deleted)
		rc = take_along(h, h->row.received_us);
	if (rc < 0)
		return rc;
	if (held.deleted)
		return hook_end(h, WEBHOOK_DONE, "it was marked deleted already");
	if (!is_newer(h, &held))
		return hook_end(h, WEBHOOK_STALE, "what is held is newer");
	if (is_doubtful(h, &held))
		return fetch(h);
	rc = row_delete(a->worker->pg, h->c->table, a->integration->id, h->row.external_id,
			h->happened_us, h->row.received_us, &a->err);
	if (rc == -ENOENT)
		return hook_end(h, WEBHOOK_STALE, "what is held is newer");
	if (rc == 0)
		rc = take_along(h, h->row.received_us);
	return rc < 0 ? rc : hook_end(h, WEBHOOK_DONE, NULL);
}
