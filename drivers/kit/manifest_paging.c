/* Checks of the ways of paging: which key goes with which kind, and with which collection. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/subst.h"

#define ON(kind) (1u << PAGING_##kind)
#define EVERY_MIN_MS 1000
#define ON_CURSORS (ON(CURSOR) | ON(NEXT_URL) | ON(LINK))
#define ON_COUNTED (ON(OFFSET) | ON(PAGE) | ON(KEYSET))
#define ON_ALL (ON_CURSORS | ON_COUNTED | ON(ACK_QUEUE))

static const char *const kinds[PAGING_KINDS] = { "none",     "offset", "page",   "cursor",
						 "next_url", "link",   "keyset", "ack_queue" };

static const char *sub(struct manifest_reader *r, const char *path, const char *key)
{
	return arena_printf(r->arena, "%s.%s", path, key);
}

static void check_params(struct manifest_reader *r, const struct manifest_paging *p,
			 const char *path)
{
	bool in_path = p->in == PAGING_IN_PATH;
	const struct {
		const char *name;
		bool given;
		unsigned needed, allowed;
	} params[] = {
		{ "limit_param", p->limit_param, ON(OFFSET), ON_ALL },
		{ "offset_param", p->offset_param, in_path ? 0 : ON(OFFSET), ON(OFFSET) },
		{ "page_param", p->page_param, in_path ? 0 : ON(PAGE), ON(PAGE) },
		{ "cursor_param", p->cursor_param, in_path ? 0 : ON(CURSOR), ON(CURSOR) },
		{ "cursor", p->cursor, ON(CURSOR), ON(CURSOR) },
		{ "next", p->next, ON(NEXT_URL), ON(NEXT_URL) },
		{ "param", p->param, ON(KEYSET), ON(KEYSET) },
		{ "key", p->key, ON(KEYSET), ON(KEYSET) },
		{ "total", p->total, 0, ON_CURSORS | ON_COUNTED },
		{ "rescan_overlap", p->rescan_overlap, 0, ON(OFFSET) | ON(KEYSET) },
		{ "expires", p->expires_ms, 0, ON_CURSORS },
		{ "ack", p->ack.post || p->ack.put, ON(ACK_QUEUE), ON(ACK_QUEUE) },
		{ "every", p->every_ms, 0, ON(ACK_QUEUE) },
		{ "first", p->first_cursor, in_path ? ON(CURSOR) : 0, ON(CURSOR) },
	};
	unsigned bit = 1u << p->kind;

	for (size_t i = 0; i < ARRAY_LEN(params); i++) {
		if (!params[i].given && (params[i].needed & bit))
			reader_problem_at(r, sub(r, path, params[i].name),
					  "missing: the kind \"%s\" needs it", kinds[p->kind]);
		if (params[i].given && !(params[i].allowed & bit))
			reader_problem_at(r, sub(r, path, params[i].name),
					  "means nothing with the kind \"%s\"", kinds[p->kind]);
	}
}

static void check_stops(struct manifest_reader *r, const struct manifest_paging *p,
			const char *path)
{
	const char *at = sub(r, path, "stop");

	if (p->kind == PAGING_NONE && p->n_stops)
		reader_problem_at(r, at, "means nothing with the kind \"none\"");
	for (int i = 0; i < p->n_stops; i++)
		if (p->stops[i].kind == STOP_NO_CURSOR && p->kind != PAGING_NONE &&
		    !(ON_CURSORS & 1u << p->kind))
			reader_problem_at(
				r, at,
				"\"no_cursor\" is for the kinds \"cursor\", \"next_url\" and \"link\" alone");
	if (p->kind != PAGING_NONE && p->n_stops == 1 && p->stops[0].kind == STOP_TOTAL &&
	    !p->total)
		reader_problem_at(r, at, "\"total\" needs a path");
}

/* ---- the acknowledgement ---- */

struct names_seen {
	bool id, ids;
};

/* Which other names it has is looked at where all templates are. */
static void look_at(const char *template, struct names_seen *seen)
{
	char name[SUBST_NAME_MAX];

	while (template && subst_next(&template, name)) {
		seen->id |= strcmp(name, "id") == 0;
		seen->ids |= strcmp(name, "ids") == 0;
	}
}

static void look_into(const cJSON *v, struct names_seen *seen)
{
	if (cJSON_IsString(v))
		look_at(v->valuestring, seen);
	for (const cJSON *c = v ? v->child : NULL; c; c = c->next)
		look_into(c, seen);
}

static void check_ack(struct manifest_reader *r, const struct manifest_paging *p, const char *path)
{
	const struct manifest_ack *a = &p->ack;
	const char *at = sub(r, path, "ack"), *to = a->post ? a->post : a->put;
	struct names_seen seen = { 0 };

	if (!to)
		return;
	if (a->post && a->put)
		reader_problem_at(r, at, "\"post\" or \"put\", not both");
	if (to[0] != '/')
		reader_problem_at(r, at, "a path begins with /");
	look_at(to, &seen);
	look_into(a->json, &seen);
	if (!seen.id && !seen.ids)
		reader_problem_at(r, at, "says not what is confirmed: it needs {id} or {ids}");
	if (seen.id && seen.ids)
		reader_problem_at(r, at, "{id} is one call an item, {ids} one a page: not both");
}

void manifest_check_paging(struct manifest_reader *r, const struct manifest_paging *p,
			   const char *path)
{
	check_params(r, p, path);
	check_stops(r, p, path);
	check_ack(r, p, path);
	if (p->every_ms && p->every_ms < EVERY_MIN_MS)
		reader_problem_at(r, sub(r, path, "every"), "1s at least");
	if (p->in != PAGING_IN_QUERY && (p->kind == PAGING_NONE || p->kind == PAGING_ACK_QUEUE))
		reader_problem_at(r, sub(r, path, "in"), "means nothing with the kind \"%s\"",
				  kinds[p->kind]);
	if (p->rescan_overlap && p->rescan_overlap >= p->size)
		reader_problem_at(r, sub(r, path, "rescan_overlap"),
				  "a page of %d would never get on: it must be smaller", p->size);
}

/* ---- the collection that is paged ---- */

static int cursors_in(const char *template)
{
	char name[SUBST_NAME_MAX];
	int n = 0;

	while (template && subst_next(&template, name))
		n += strcmp(name, "cursor") == 0;
	return n;
}

void manifest_check_paged(struct manifest_reader *r, const struct manifest_collection *c,
			  const char *path)
{
	bool in_path = c->paging.in == PAGING_IN_PATH;
	int cursors = cursors_in(c->post ? c->post : c->get);

	if (c->get && c->post)
		reader_problem_at(r, sub(r, path, "post"), "\"get\" or \"post\", not both");
	if (c->post && c->post[0] != '/')
		reader_problem_at(r, sub(r, path, "post"), "a path begins with /");
	if (c->json && !c->post)
		reader_problem_at(r, sub(r, path, "json"), "is the body of \"post\"");
	if (c->json && !cJSON_IsObject(c->json))
		reader_problem_at(r, sub(r, path, "json"), "expected an object");
	if (c->paging.in == PAGING_IN_BODY && !c->post)
		reader_problem_at(r, sub(r, path, "pagination.in"),
				  "\"body\" needs \"post\", which has one");
	if (in_path && cursors != 1)
		reader_problem_at(r, sub(r, path, c->post ? "post" : "get"),
				  "needs one {cursor}: \"pagination\" is in the path");
	if (c->paging.kind == PAGING_ACK_QUEUE && c->each)
		reader_problem_at(r, sub(r, path, "pagination"),
				  "a queue is read as a whole, not for each of \"%s\"", c->each);
}
