#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "drivers/kit/call_door.h"

#define RESTARTS_MAX 3 /* of one scan, after cursors that had expired */

void page_clear(struct page *p)
{
	call_result_clear(&p->result);
	free(p->records);
	p->records = NULL;
	p->n = 0;
	buf_clear(&p->exchange);
}

void page_init(struct page *p, int number)
{
	memset(p, 0, sizeof(*p));
	call_result_init(&p->result);
	p->number = number;
	p->total = -1;
}

/* Pages that are counted begin at whole multiples of their size: the next one must. */
static void size_set(struct pager *p, int size)
{
	int64_t at;

	if (size < 1)
		size = 1;
	if (p->p->kind != PAGING_PAGE) {
		p->size = size;
		return;
	}
	at = (p->next - p->p->first) * p->size;
	while (at % size)
		size--;
	p->next = p->p->first + at / size;
	p->size = size;
}

/* An address that the partner gave has the size of its page in it. */
bool pager_has_size(const struct pager *p)
{
	bool given = p->p->kind == PAGING_NEXT_URL || p->p->kind == PAGING_LINK;

	return p->p->kind != PAGING_NONE && p->p->limit_param && !(given && p->cursor);
}

int pager_size(const struct pager *p)
{
	return pager_has_size(p) ? p->size : 0;
}

bool pager_shrink(struct pager *p)
{
	if (!pager_has_size(p) || p->size <= 1)
		return false;
	size_set(p, p->size / 2);
	return true;
}

void pager_resize(struct pager *p, int size)
{
	if (pager_has_size(p))
		size_set(p, size < p->p->size ? size : p->p->size);
}

void pager_to_start(struct pager *p)
{
	p->total = -1;
	p->next = p->p->kind == PAGING_PAGE ? p->p->first : 0;
	p->asked = p->records = 0;
	p->number = p->largest = p->back = p->filled = 0;
	p->shorter = p->hole = p->guessed = false;
	free(p->cursor);
	p->cursor = NULL;
	seen_clear(&p->pages);
	seen_clear(&p->cursors);
}

int pager_new(struct caller *c, const struct pager_options *o, struct pager **out, struct err *err)
{
	struct pager_options own;
	struct pager *p;
	int rc;

	if (!o->collection->get && !o->collection->post)
		return err_set(err, -EINVAL, ERR_INTERNAL, "paging",
			       "%s has no \"get\": it comes embedded in %s", o->collection->name,
			       o->collection->each ? o->collection->each : "another collection");
	p = mem_new(struct pager);
	p->c = c;
	p->coll = o->collection;
	p->p = &o->collection->paging;
	p->size = p->p->size > 0 ? p->p->size : 1;
	pager_to_start(p);
	pager_window_init(p, o);
	own = *o;
	own.until_us = p->until_us;
	rc = page_query_init(&p->query, c, &own, PAGER_OWN_PARAMS, err);
	p->parent_id = o->parent_id ? mem_strdup(o->parent_id) : NULL;
	if (rc == 0 && o->resume) {
		if (pager_resume(p, o->resume))
			rc = pager_window_resume(p, o->resume, err);
		else
			p->told =
				"its place was in another list: the manifest or the integration was changed";
	}
	if (rc < 0) {
		pager_free(p);
		return rc;
	}
	if (o->size)
		pager_resize(p, o->size);
	*out = p;
	return 0;
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	page_query_clear(&p->query);
	seen_clear(&p->pages);
	seen_clear(&p->cursors);
	free(p->parent_id);
	free(p->cursor);
	cJSON_Delete(p->parent);
	free(p);
}

void pager_where(const struct pager *p, struct err *err)
{
	if (!err)
		return;
	snprintf(err->where, sizeof(err->where), "%s%s%.40s page %d", p->coll->name,
		 p->parent_id ? " of " : "", p->parent_id ? p->parent_id : "", p->number + 1);
	if (pager_has_size(p) && p->size < p->p->size)
		snprintf(err->where + strlen(err->where), sizeof(err->where) - strlen(err->where),
			 " of %d items", p->size);
}

/* Waits. */
static int fetch(struct pager *p, struct page *out, struct err *err)
{
	struct page_request q;
	int rc = page_request_init(&q, p, err);

	if (rc == 0) {
		rc = call(p->c, &q.spec, &out->result, err);
		out->observed_us = out->result.observed_us;
		if (rc == 0)
			rc = page_records(out, p->coll, err);
		if (rc == 0)
			rc = pager_take(p, out, err);
		out->text_bytes = (int64_t)out->result.http.body.len;
		if (rc == 0) /* the records are in the tree: thousands of jobs hold a page */
			call_result_drop_body(&out->result);
		if (rc == -EREMOTEIO || rc == -EBADMSG)
			call_exchange_print(p->c, &q.spec, &out->result, &out->exchange);
	}
	page_request_clear(&q);
	return rc;
}

/* ---- cursors that live for a while ---- */

static bool is_older(const struct pager *p, int64_t ms)
{
	return p->cursor && p->p->expires_ms && door_now_ms(p->c->door) - p->cursor_at_ms >= ms;
}

/* What was stored stays: the pages before come again and find their rows unchanged. */
static int restart(struct pager *p, struct err *err)
{
	if (p->restarts == RESTARTS_MAX)
		return err_set(err, -EBADMSG, ERR_DATA, "paging",
			       "the cursor expires before the scan can end: it began %d times",
			       RESTARTS_MAX + 1);
	pager_to_start(p);
	p->restarts++;
	p->told = "the cursor had expired";
	log_event(LOG_INFO, "scan_restarted", LS("collection", p->coll->name),
		  LI("restarts", p->restarts), LS("reason", "the cursor had expired"));
	return 0;
}

/* The partner's word for it may come before ours: a cursor that is no longer young and is refused. */
static int refetch(struct pager *p, struct page *out, int rc, struct err *err)
{
	if (rc != -EREMOTEIO || !err || err->class != ERR_CLIENT ||
	    !is_older(p, p->p->expires_ms / 2))
		return rc;
	rc = restart(p, err);
	if (rc < 0)
		return rc;
	*err = (struct err){ 0 };
	page_clear(out);
	page_init(out, 1);
	return fetch(p, out, err);
}

int pager_next(struct pager *p, struct page *out, struct err *err)
{
	int rc = pager_window_next(p, err);

	page_init(out, p->number + 1);
	if (rc < 0)
		return rc;
	if (!p->ended && pager_is_over(p) && p->p->kind != PAGING_NONE) {
		p->ended = true;
		snprintf(p->why_not, sizeof(p->why_not), "max_pages: stopped after %d pages",
			 p->number);
	}
	if (p->ended)
		return 0;
	if (is_older(p, p->p->expires_ms)) {
		rc = restart(p, err);
		out->number = 1;
	}
	if (rc == 0) {
		rc = fetch(p, out, err);
		rc = refetch(p, out, rc, err);
	}
	if (rc < 0) {
		pager_where(p, err);
		return rc;
	}
	pager_window_end(p, out);
	return 1;
}

bool pager_complete(const struct pager *p, const char **why_not)
{
	bool complete = p->ended && p->why_not[0] == '\0';

	if (why_not)
		*why_not = complete ? NULL : p->ended ? p->why_not : "the scan has not ended";
	return complete;
}

bool pager_guessed(const struct pager *p)
{
	return p->guessed && p->ended && !p->why_not[0];
}

void pager_go_on(struct pager *p)
{
	p->prove = true;
	p->guessed = p->ended = false;
}

bool pager_proves(const struct pager *p, const char **why_not)
{
	bool complete = pager_complete(p, why_not);

	if (complete && p->hole)
		*why_not = "pages came shorter in the middle of the list";
	else if (complete && p->guessed)
		*why_not = "its last page was short, and nothing says that the list ends there";
	return complete && !p->hole && !p->guessed;
}

int64_t pager_records(const struct pager *p)
{
	return p->records;
}

int pager_filled(const struct pager *p)
{
	return p->filled;
}

const char *pager_told(const struct pager *p)
{
	return p->told;
}
