/* What an answer says of the next page: whether there is one, and what leads there. */
#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/paginate_link.h"

static const char *total_path(const struct manifest_paging *g)
{
	for (int i = 0; !g->total && i < g->n_stops; i++)
		if (g->stops[i].kind == STOP_TOTAL)
			return g->stops[i].path;
	return g->total;
}

/* ---- guards ---- */

/* A list that goes on for ever says the same again: at once, not at max_pages.  1: it comes from a partner that was asked on, and
 * knows no pages: that is all there is. */
static int check_loop(struct pager *p, const struct page *out, const char *next, struct err *err)
{
	if (p->p->kind == PAGING_NONE || out->n == 0)
		return 0;
	if (!seen_add(&p->pages, page_hash(out, p->coll)))
		return p->prove
			       ? 1
			       : err_set(err, -EBADMSG, ERR_DATA, "paging loop",
					 p->p->kind == PAGING_ACK_QUEUE
						 ? "the queue gave the same %d records again after they were acknowledged"
						 : "a page came twice with the same %d records",
					 out->n);
	if (p->cursor && p->cursors.n == 0)
		(void)seen_add(&p->cursors, crypto_hash64(p->cursor, strlen(p->cursor), 0));
	if (next && !seen_add(&p->cursors, crypto_hash64(next, strlen(next), 0)))
		return err_set(err, -EBADMSG, ERR_DATA, "paging loop",
			       "the partner gave the same cursor twice");
	return 0;
}

/* ---- what leads on ---- */

static bool same_origin(const char *a, const char *b)
{
	size_t n = b ? url_origin_len(b) : 0;

	return n > 0 && url_origin_len(a) == n && strncasecmp(a, b, n) == 0;
}

/* Behind a proxy that ends TLS partners write http:// for what they serve by https:// alone. */
static void mend_scheme(const struct manifest *m, struct buf *url)
{
	struct buf s = BUF_INIT;

	if (strncasecmp(url->data, "http://", 7) != 0)
		return;
	buf_puts(&s, "https://");
	buf_puts(&s, url->data + 7);
	if (same_origin(s.data, m->base_production) || same_origin(s.data, m->base_sandbox)) {
		buf_clear(url);
		*url = s;
		return;
	}
	buf_clear(&s);
}

/* A path of the partner's host means that host, wherever the integration's base URL has moved it to; what begins
 * as that base URL does is meant as it is. */
static void base_of(const struct pager *p, const char *ref, struct buf *out)
{
	const char *production = p->c->driver->manifest->base_production, *path;
	size_t n;

	if (p->cursor) {
		buf_puts(out, p->cursor);
	} else {
		call_base_url(p->c->driver, p->c->integration, out);
		buf_append(out, buf_str(&p->query.path), p->query.path.len);
	}
	if (ref[0] != '/' || ref[1] == '/')
		return;
	buf_reset(out);
	call_base_url(p->c->driver, p->c->integration, out);
	path = buf_str(out) + url_origin_len(buf_str(out));
	n = strlen(path);
	if (strncmp(ref, path, n) == 0 && strchr("/?", ref[n]))
		return;
	buf_reset(out);
	buf_puts(out, production);
}

/* The credential that the partner says back to us must not get into a checkpoint: the door adds its own. */
static int address(const struct pager *p, const char *ref, struct buf *out, struct err *err)
{
	const struct manifest *m = p->c->driver->manifest;
	struct buf base = BUF_INIT;
	int rc;

	base_of(p, ref, &base);
	rc = url_resolve(buf_str(&base), ref, out, err);
	buf_clear(&base);
	if (rc < 0)
		return rc;
	mend_scheme(m, out);
	if (m->auth.kind != AUTH_NONE && m->auth.place == AUTH_IN_QUERY && m->auth.name)
		url_drop_param(out, m->auth.name);
	return 0;
}

/* A header may come more than once. */
static bool link_of(const struct http_response *h, struct buf *out)
{
	const char *at = h->headers.data, *end = at ? at + h->headers.len : NULL;

	while (at && at < end) {
		const char *value = at + strlen(at) + 1;

		if (strcmp(at, "link") == 0 && link_next(value, out))
			return true;
		at = value + strlen(value) + 1;
	}
	return false;
}

static int key_of(const struct pager *p, const struct page *page, int back, struct buf *out,
		  struct err *err)
{
	int i = page->n - 1 - back;
	const cJSON *v = json_path(page->records[i], p->p->key);

	if (v && !cJSON_IsBool(v) && json_scalar_text(v, out) && out->len)
		return 0;
	return err_set(err, -EBADMSG, ERR_DATA, "keyset",
		       "record %d of the page has no text or number at \"%s\", which leads on",
		       i + 1, p->p->key);
}

/* Empty: nothing leads on. */
static int find_next(const struct pager *p, const struct page *page, int back, struct buf *out,
		     struct err *err)
{
	const struct manifest_paging *g = p->p;
	struct buf ref = BUF_INIT;
	int rc = 0;

	switch (g->kind) {
	case PAGING_CURSOR:
		rc = next_page_cursor(p, page, out, err);
		break;
	case PAGING_KEYSET:
		if (page->n)
			rc = key_of(p, page, back, out, err);
		break;
	case PAGING_NEXT_URL:
		if (answer_text(&page->result, g->next, &ref))
			rc = address(p, ref.data, out, err);
		break;
	case PAGING_LINK:
		if (link_of(&page->result.http, &ref))
			rc = address(p, buf_str(&ref), out, err);
		break;
	case PAGING_NONE:
	case PAGING_OFFSET:
	case PAGING_PAGE:
	case PAGING_ACK_QUEUE:
		break;
	}
	buf_clear(&ref);
	return rc;
}

/* ---- the end ---- */

static bool stop_says(const struct pager *p, const struct manifest_stop *s, const struct page *out,
		      const char *next)
{
	bool more = p->total >= 0 && p->records < p->total;

	switch (s->kind) {
	case STOP_EMPTY:
		return out->n == 0;
	case STOP_SHORT_PAGE: /* but not against the total: some partners give less than was asked for */
		return out->n < (p->p->limit_param ? p->size : p->largest) && !more && !p->prove;
	case STOP_TOTAL:
		return p->total >= 0 && !more;
	case STOP_HAS_MORE:
		return !json_bool(out->result.json, s->path, false);
	case STOP_NO_CURSOR:
		return !next;
	}
	return false;
}

static bool follows_cursor(const struct pager *p)
{
	return p->p->kind == PAGING_CURSOR || p->p->kind == PAGING_NEXT_URL ||
	       p->p->kind == PAGING_LINK;
}

static bool is_last(const struct pager *p, const struct page *out, const char *next)
{
	if (p->p->kind == PAGING_NONE)
		return true;
	if (follows_cursor(p)) {
		/* an empty page may have a successor, but not itself */
		if (!next || (out->n == 0 && p->cursor && strcmp(next, p->cursor) == 0))
			return true;
	} else if (out->n == 0) {
		return true;
	}
	for (int i = 0; i < p->p->n_stops; i++)
		if (stop_says(p, &p->p->stops[i], out, next))
			return true;
	return false;
}

/* Short, and no total, word or missing cursor that says so too. */
static bool is_guess(const struct pager *p, const struct page *out, const char *next)
{
	if (p->p->kind == PAGING_NONE || p->p->kind == PAGING_ACK_QUEUE || out->n == 0 ||
	    p->total >= 0 || (follows_cursor(p) && !next))
		return false;
	for (int i = 0; i < p->p->n_stops; i++)
		if (p->p->stops[i].kind != STOP_SHORT_PAGE &&
		    stop_says(p, &p->p->stops[i], out, next))
			return false;
	return true;
}

/* More is there by the partner's own word, and nothing leads to it. */
static bool says_more(const struct pager *p, const struct page *out)
{
	for (int i = 0; i < p->p->n_stops; i++)
		if (p->p->stops[i].kind == STOP_HAS_MORE &&
		    json_bool(out->result.json, p->p->stops[i].path, false))
			return true;
	return false;
}

static void judge(struct pager *p, const struct page *out, const char *next)
{
	if (follows_cursor(p) && !next && says_more(p, out))
		snprintf(p->why_not, sizeof(p->why_not),
			 "the partner says there is more, and not where");
	if (p->total >= 0 && p->records < p->total)
		snprintf(p->why_not, sizeof(p->why_not),
			 "the partner's total is %lld, %lld were seen", (long long)p->total,
			 (long long)p->records);
}

/* Numbered pages are of one size: behind one that came short an item or more was never given. */
static void note_shape(struct pager *p, const struct page *out)
{
	if (!out->n)
		return;
	p->filled++;
	p->hole = p->hole || (p->shorter && p->p->kind == PAGING_PAGE);
	p->shorter = p->shorter || out->n < p->largest;
}

/* Where the next page starts. */
static void advance(struct pager *p, struct page *out, int back, const char *next)
{
	p->number++;
	p->asked += p->size;
	p->records += out->n > p->back ? out->n - p->back : 0;
	note_shape(p, out);
	if (out->n > p->largest)
		p->largest = out->n;
	if (out->total >= 0)
		p->total =
			out->total; /* the list may grow or shrink while it is read: the last word counts */
	out->last = is_last(p, out, next);
	p->back = back;
	p->next += p->p->kind == PAGING_OFFSET ? out->n - back : 1;
	free(p->cursor);
	p->cursor = next ? mem_strdup(next) : NULL;
	p->cursor_at_ms = door_now_ms(p->c->door);
	p->ended = out->last;
	p->guessed = p->ended && is_guess(p, out, next);
	if (p->ended)
		judge(p, out, next);
}

int pager_take(struct pager *p, struct page *out, struct err *err)
{
	int back = out->n > p->p->rescan_overlap ? p->p->rescan_overlap : 0;
	struct buf next = BUF_INIT;
	const char *leads_on;
	int rc = find_next(p, out, back, &next, err);

	leads_on = next.len ? next.data : NULL;
	out->total = answer_int(&out->result, total_path(p->p), -1);
	if (rc == 0)
		rc = check_loop(p, out, leads_on, err);
	if (rc == 0)
		advance(p, out, back, leads_on);
	if (rc > 0) {
		out->n = 0;
		out->last = p->ended = true;
	}
	buf_clear(&next);
	return rc < 0 ? rc : 0;
}
