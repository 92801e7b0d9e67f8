/* Where a scan stands, as JSON of under 1 KiB: what a later attempt goes on from. */
#include "drivers/kit/paginate_parts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

#define CURSOR_KEPT_BYTES 800 /* a state stays under 1 KiB: beyond, a scan starts over */

const char *paging_kind_name(enum paging_kind kind)
{
	static const char *const names[PAGING_KINDS] = {
		"none", "offset", "page", "cursor", "next_url", "link", "keyset", "ack_queue"
	};

	return names[kind];
}

bool pager_is_over(const struct pager *p)
{
	return p->number >= p->p->max_pages && p->asked >= (int64_t)p->p->max_pages * p->p->size;
}

static int small_int(const cJSON *state, const char *key, int fallback)
{
	int64_t n;

	return json_int(state, key, &n) && n >= 0 && n < INT_MAX ? (int)n : fallback;
}

/* Tells lists from each other: a place in one says nothing of another, which a manifest or an integration that was changed
 * meanwhile may ask for. */
static void list_name(const struct pager *p, char out[17])
{
	struct buf all = BUF_INIT;

	call_base_url(p->c->driver, p->c->integration, &all);
	buf_printf(&all, " %s %s", p->coll->post ? p->coll->post : p->coll->get,
		   p->coll->records ? p->coll->records : "@");
	for (int i = 0; i < p->coll->query.n; i++)
		buf_printf(&all, " %s=%s", p->coll->query.v[i].name, p->coll->query.v[i].value);
	if (p->coll->json)
		json_print(p->coll->json, &all);
	snprintf(out, 17, "%016llx", (unsigned long long)crypto_hash64(all.data, all.len, 0));
	buf_clear(&all);
}

/* Counted pages are of the size that they were asked for with, whatever the manifest says now. */
static void resume_size(struct pager *p, int size)
{
	if (size < 1)
		return;
	if (size <= p->p->size)
		p->size = size;
	if (size <= p->p->size || p->p->kind != PAGING_PAGE || !pager_has_size(p))
		return;
	p->size = size;
	pager_resize(p, p->p->size);
}

/* A state of another kind (the manifest was changed) means nothing here: from the start. */
bool pager_resume(struct pager *p, const cJSON *state)
{
	const char *kind = json_str(state, "kind"), *cursor = json_str(state, "cursor"),
		   *why = json_str(state, "why_not"), *of = json_str(state, "of");
	char name[17];

	list_name(p, name);
	if (of && strcmp(of, name) != 0)
		return false;
	if (!kind || strcmp(kind, paging_kind_name(p->p->kind)) != 0 ||
	    json_bool(state, "restart", false))
		return true;
	(void)json_int(state, "next", &p->next);
	resume_size(p, small_int(state, "size", 0));
	(void)json_int(state, "records", &p->records);
	(void)json_int(state, "total", &p->total);
	(void)json_int(state, "at", &p->cursor_at_ms);
	p->number = small_int(state, "pages", p->number);
	p->back = small_int(state, "back", 0);
	p->restarts = small_int(state, "restarts", 0);
	p->filled = small_int(state, "filled", p->number);
	p->largest = small_int(state, "largest", 0);
	p->shorter = json_bool(state, "shorter", false);
	p->hole = json_bool(state, "hole", false);
	p->guessed = json_bool(state, "guessed", false);
	p->prove = json_bool(state, "prove", false);
	p->asked = (int64_t)p->number * p->p->size;
	(void)json_int(state, "asked", &p->asked);
	if (pager_is_over(p)) {
		p->number = 0;
		p->asked = 0;
	}
	if (cursor)
		p->cursor = mem_strdup(cursor);
	p->ended = json_bool(state, "ended", false);
	if (why)
		snprintf(p->why_not, sizeof(p->why_not), "%s", why);
	return true;
}

/* What its end is worth. */
static void put_flags(const struct pager *p, cJSON *s)
{
	const struct {
		const char *name;
		bool is;
	} flags[] = { { "shorter", p->shorter && p->p->kind == PAGING_PAGE },
		      { "hole", p->hole },
		      { "guessed", p->guessed },
		      { "prove", p->prove } };

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i].is)
			cJSON_AddBoolToObject(s, flags[i].name, true);
}

cJSON *pager_state(const struct pager *p)
{
	cJSON *s = cJSON_CreateObject();
	char name[17];

	list_name(p, name);
	cJSON_AddStringToObject(s, "kind", paging_kind_name(p->p->kind));
	cJSON_AddStringToObject(s, "of", name);
	if (p->cursor && strlen(p->cursor) > CURSOR_KEPT_BYTES) {
		cJSON_AddBoolToObject(s, "restart", true);
		return s;
	}
	cJSON_AddNumberToObject(s, "next", (double)p->next);
	cJSON_AddNumberToObject(s, "records", (double)p->records);
	cJSON_AddNumberToObject(s, "total", (double)p->total);
	cJSON_AddNumberToObject(s, "pages", p->number);
	if (p->size != p->p->size || p->p->kind == PAGING_PAGE)
		cJSON_AddNumberToObject(s, "size", p->size);
	if (p->asked != (int64_t)p->number * p->p->size)
		cJSON_AddNumberToObject(s, "asked", (double)p->asked);
	if (p->back)
		cJSON_AddNumberToObject(s, "back", p->back);
	if (p->restarts)
		cJSON_AddNumberToObject(s, "restarts", p->restarts);
	if (p->filled != p->number)
		cJSON_AddNumberToObject(s, "filled", p->filled);
	if (p->p->kind == PAGING_PAGE)
		cJSON_AddNumberToObject(s, "largest", p->largest);
	put_flags(p, s);
	if (p->cursor)
		cJSON_AddStringToObject(s, "cursor", p->cursor);
	if (p->cursor && p->p->expires_ms)
		cJSON_AddNumberToObject(s, "at", (double)p->cursor_at_ms);
	if (p->ended)
		cJSON_AddBoolToObject(s, "ended", true);
	if (p->ended && p->why_not[0])
		cJSON_AddStringToObject(s, "why_not", p->why_not);
	pager_window_state(p, s);
	return s;
}
