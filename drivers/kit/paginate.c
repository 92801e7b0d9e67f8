#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"

#define CURSOR_KEPT_BYTES 800 /* a state stays under 1 KiB: beyond, a scan starts over */
#define OWN_PARAMS 2          /* limit, and offset, page or cursor */
#define NUMBER_MAX 24

static const char *const kind_names[] = { "none", "offset", "page", "cursor" };

struct pager {
	struct caller *c;
	const struct manifest_collection *coll;
	const struct manifest_paging *p;
	char *parent_id; /* for messages; NULL if none */
	struct page_query query;
	int64_t asked; /* items, by the pages so far */
	int64_t next;  /* offset or page number */
	char *cursor;  /* NULL: the first page */
	int number;    /* pages so far */
	int size;      /* of a page, as is asked for */
	int largest;   /* page so far: what "short" means where the partner decides the size */
	int64_t records, total; /* seen; -1 unknown */
	bool ended;
	char why_not[160]; /* incomplete: why */
	struct seen pages, cursors;
};

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

static bool has_size(const struct pager *p)
{
	return p->p->kind != PAGING_NONE && p->p->limit_param;
}

int pager_size(const struct pager *p)
{
	return has_size(p) ? p->size : 0;
}

bool pager_shrink(struct pager *p)
{
	if (!has_size(p) || p->size <= 1)
		return false;
	size_set(p, p->size / 2);
	return true;
}

void pager_resize(struct pager *p, int size)
{
	if (has_size(p))
		size_set(p, size < p->p->size ? size : p->p->size);
}

/* Smaller pages are more pages: what counts is how many items were asked for. */
static bool over_max_pages(const struct pager *p)
{
	return p->number >= p->p->max_pages && p->asked >= (int64_t)p->p->max_pages * p->p->size;
}

/* A state of another kind (the manifest was changed) means nothing here: from the start. */
static void pager_resume(struct pager *p, const cJSON *state)
{
	const char *kind = json_str(state, "kind"), *cursor = json_str(state, "cursor"),
		   *why = json_str(state, "why_not");
	int64_t pages = 0, size = 0;

	if (!kind || strcmp(kind, kind_names[p->p->kind]) != 0 ||
	    json_bool(state, "restart", false))
		return;
	(void)json_int(state, "next", &p->next);
	if (json_int(state, "size", &size) && size > 0 && size <= p->p->size)
		p->size = (int)size;
	(void)json_int(state, "records", &p->records);
	(void)json_int(state, "total", &p->total);
	if (json_int(state, "pages", &pages) && pages >= 0 && pages < INT_MAX)
		p->number = (int)pages;
	p->asked = (int64_t)p->number * p->p->size;
	(void)json_int(state, "asked", &p->asked);
	if (over_max_pages(p)) {
		p->number = 0;
		p->asked = 0;
	}
	if (cursor)
		p->cursor = mem_strdup(cursor);
	p->ended = json_bool(state, "ended", false);
	if (why)
		snprintf(p->why_not, sizeof(p->why_not), "%s", why);
}

int pager_new(struct caller *c, const struct pager_options *o, struct pager **out, struct err *err)
{
	struct pager *p;
	int rc;

	if (!o->collection->get)
		return err_set(err, -EINVAL, ERR_INTERNAL, "paging",
			       "%s has no \"get\": it comes embedded in %s", o->collection->name,
			       o->collection->each ? o->collection->each : "another collection");
	p = mem_new(struct pager);
	p->c = c;
	p->coll = o->collection;
	p->p = &o->collection->paging;
	p->size = p->p->size > 0 ? p->p->size : 1;
	p->total = -1;
	p->next = p->p->kind == PAGING_PAGE ? p->p->first : 0;
	rc = page_query_init(&p->query, c, o, OWN_PARAMS, err);
	if (rc < 0) {
		pager_free(p);
		return rc;
	}
	p->parent_id = o->parent_id ? mem_strdup(o->parent_id) : NULL;
	if (o->resume)
		pager_resume(p, o->resume);
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
	free(p);
}

static void where(const struct pager *p, struct err *err)
{
	if (!err)
		return;
	snprintf(err->where, sizeof(err->where), "%s%s%.40s page %d", p->coll->name,
		 p->parent_id ? " of " : "", p->parent_id ? p->parent_id : "", p->number + 1);
	if (has_size(p) && p->size < p->p->size)
		snprintf(err->where + strlen(err->where), sizeof(err->where) - strlen(err->where),
			 " of %d items", p->size);
}

static int add_int(struct manifest_pair *v, int n, const char *name, int64_t value,
		   char text[NUMBER_MAX])
{
	snprintf(text, NUMBER_MAX, "%lld", (long long)value);
	v[n] = (struct manifest_pair){ name, text };
	return n + 1;
}

static const char *total_path(const struct manifest_paging *g)
{
	for (int i = 0; !g->total && i < g->n_stops; i++)
		if (g->stops[i].kind == STOP_TOTAL)
			return g->stops[i].path;
	return g->total;
}

/* A list that goes on for ever says the same again: at once, not at max_pages. */
static int check_loop(struct pager *p, const struct page *out, const char *next_cursor,
		      struct err *err)
{
	if (p->p->kind == PAGING_NONE || out->n == 0)
		return 0;
	if (!seen_add(&p->pages, page_hash(out, p->coll)))
		return err_set(err, -EBADMSG, ERR_DATA, "paging loop",
			       "a page came twice with the same %d records", out->n);
	if (p->cursor && p->cursors.n == 0)
		(void)seen_add(&p->cursors, crypto_hash64(p->cursor, strlen(p->cursor), 0));
	if (next_cursor &&
	    !seen_add(&p->cursors, crypto_hash64(next_cursor, strlen(next_cursor), 0)))
		return err_set(err, -EBADMSG, ERR_DATA, "paging loop",
			       "the partner gave the same cursor twice");
	return 0;
}

static bool stop_says(const struct pager *p, const struct manifest_stop *s, const struct page *out,
		      const char *next_cursor)
{
	bool more = p->total >= 0 && p->records < p->total;

	switch (s->kind) {
	case STOP_EMPTY:
		return out->n == 0;
	case STOP_SHORT_PAGE: /* but not against the total: some partners give less than was asked for */
		return out->n < (p->p->limit_param ? p->size : p->largest) && !more;
	case STOP_TOTAL:
		return p->total >= 0 && !more;
	case STOP_HAS_MORE:
		return !json_bool(out->result.json, s->path, false);
	case STOP_NO_CURSOR:
		return !next_cursor;
	}
	return false;
}

static bool is_last(const struct pager *p, const struct page *out, const char *next_cursor)
{
	if (p->p->kind == PAGING_NONE)
		return true;
	if (p->p->kind == PAGING_CURSOR) {
		/* an empty page may have a successor, but not itself */
		if (!next_cursor ||
		    (out->n == 0 && p->cursor && strcmp(next_cursor, p->cursor) == 0))
			return true;
	} else if (out->n == 0) {
		return true;
	}
	for (int i = 0; i < p->p->n_stops; i++)
		if (stop_says(p, &p->p->stops[i], out, next_cursor))
			return true;
	return false;
}

static void judge(struct pager *p)
{
	if (p->total >= 0 && p->records < p->total)
		snprintf(p->why_not, sizeof(p->why_not),
			 "the partner's total is %lld, %lld were seen", (long long)p->total,
			 (long long)p->records);
}

/* Where the next page starts. */
static void advance(struct pager *p, struct page *out, const char *next_cursor)
{
	p->number++;
	p->asked += p->size;
	p->records += out->n;
	if (out->n > p->largest)
		p->largest = out->n;
	if (out->total >= 0)
		p->total =
			out->total; /* the list may grow or shrink while it is read: the last word counts */
	out->last = is_last(p, out, next_cursor);
	p->next += p->p->kind == PAGING_OFFSET ? out->n : 1;
	free(p->cursor);
	p->cursor = next_cursor ? mem_strdup(next_cursor) : NULL;
	p->ended = out->last;
	if (p->ended)
		judge(p);
}

/* Left empty where there is none: by the manifest's path, or as the driver's C says. */
static int next_cursor_text(const struct pager *p, const struct page *page, struct buf *out,
			    struct err *err)
{
	const struct driver_hooks *h = p->c->driver->hooks;
	bool found = answer_text(&page->result, p->p->cursor, out);
	const struct hook_page in = { .collection = p->coll,
				      .answer = { &page->result.http, page->result.json },
				      .cursor = p->cursor,
				      .found = found ? out->data : NULL,
				      .number = p->number + 1,
				      .records = page->n };

	return h && h->next_page ? next_page_asked(h, &in, out, err) : 0;
}

static int take(struct pager *p, struct page *out, struct err *err)
{
	struct buf cursor = BUF_INIT;
	const char *next_cursor = NULL;
	int rc;

	if (p->p->kind == PAGING_CURSOR && p->p->cursor) {
		rc = next_cursor_text(p, out, &cursor, err);
		if (rc < 0)
			return rc;
		next_cursor = cursor.len ? cursor.data : NULL;
	}
	out->total = answer_int(&out->result, total_path(p->p), -1);
	rc = check_loop(p, out, next_cursor, err);
	if (rc == 0)
		advance(p, out, next_cursor);
	buf_clear(&cursor);
	return rc;
}

/* Waits. */
static int fetch(struct pager *p, struct page *out, struct err *err)
{
	const struct manifest_paging *g = p->p;
	struct manifest_pair *v = p->query.v; /* has room for two more */
	char size[NUMBER_MAX], next[NUMBER_MAX];
	struct call_spec spec = { .endpoint = p->coll->get,
				  .method = "GET",
				  .group = p->coll->group,
				  .path = buf_str(&p->query.path),
				  .query = v,
				  .repeatable = true };
	int n = p->query.n, rc;

	if (g->kind != PAGING_NONE && g->limit_param)
		n = add_int(v, n, g->limit_param, p->size, size);
	if (g->kind == PAGING_OFFSET)
		n = add_int(v, n, g->offset_param, p->next, next);
	else if (g->kind == PAGING_PAGE)
		n = add_int(v, n, g->page_param, p->next, next);
	else if (g->kind == PAGING_CURSOR && p->cursor)
		v[n++] = (struct manifest_pair){ g->cursor_param, p->cursor };
	spec.n_query = n;
	rc = call(p->c, &spec, &out->result, err);
	out->observed_us = out->result.observed_us;
	if (rc == 0)
		rc = page_records(out, p->coll, err);
	if (rc == 0)
		rc = take(p, out, err);
	out->text_bytes = (int64_t)out->result.http.body.len;
	if (rc == 0) /* the records are in the tree: thousands of jobs hold a page */
		call_result_drop_body(&out->result);
	if (rc == -EREMOTEIO || rc == -EBADMSG)
		call_exchange_print(p->c, &spec, &out->result, &out->exchange);
	return rc;
}

int pager_next(struct pager *p, struct page *out, struct err *err)
{
	int rc;

	page_init(out, p->number + 1);
	if (!p->ended && over_max_pages(p) && p->p->kind != PAGING_NONE) {
		p->ended = true;
		snprintf(p->why_not, sizeof(p->why_not), "max_pages: stopped after %d pages",
			 p->number);
	}
	if (p->ended)
		return 0;
	rc = fetch(p, out, err);
	if (rc < 0) {
		where(p, err);
		return rc;
	}
	return 1;
}

bool pager_complete(const struct pager *p, const char **why_not)
{
	bool complete = p->ended && p->why_not[0] == '\0';

	if (why_not)
		*why_not = complete ? NULL : p->ended ? p->why_not : "the scan has not ended";
	return complete;
}

cJSON *pager_state(const struct pager *p)
{
	cJSON *s = cJSON_CreateObject();

	cJSON_AddStringToObject(s, "kind", kind_names[p->p->kind]);
	if (p->cursor && strlen(p->cursor) > CURSOR_KEPT_BYTES) {
		cJSON_AddBoolToObject(s, "restart", true);
		return s;
	}
	cJSON_AddNumberToObject(s, "next", (double)p->next);
	cJSON_AddNumberToObject(s, "records", (double)p->records);
	cJSON_AddNumberToObject(s, "total", (double)p->total);
	cJSON_AddNumberToObject(s, "pages", p->number);
	if (p->size != p->p->size)
		cJSON_AddNumberToObject(s, "size", p->size);
	if (p->asked != (int64_t)p->number * p->p->size)
		cJSON_AddNumberToObject(s, "asked", (double)p->asked);
	if (p->cursor)
		cJSON_AddStringToObject(s, "cursor", p->cursor);
	if (p->ended)
		cJSON_AddBoolToObject(s, "ended", true);
	if (p->ended && p->why_not[0])
		cJSON_AddStringToObject(s, "why_not", p->why_not);
	return s;
}
