#include "drivers/kit/overlay.h"

#include <errno.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

struct overlaid {
	const char *name;
	const struct manifest_column *map;
	int n_map;
	const char *const *extra;
	int n_extra;
};
struct overlay {
	const struct manifest_limit *limits;
	int n_limits;
	const struct overlaid *collections;
	int n_collections;
};

#define AT(member) .at = offsetof(struct overlaid, member)
#define COUNT(member) .n_at = offsetof(struct overlaid, member)
static const struct manifest_key collection_keys[] = {
	{ "map", KEY_NAMED, AT(map), COUNT(n_map), .of = &manifest_column_table },
	{ "extra", KEY_TEXTS, AT(extra), COUNT(n_extra) },
};
static const struct key_table collection_table = { TABLE(collection_keys),
						   .size = sizeof(struct overlaid),
						   .name_at = offsetof(struct overlaid, name) };
#undef AT
#undef COUNT

static const struct manifest_key overlay_keys[] = {
	{ "limits", KEY_LIST, .at = offsetof(struct overlay, limits),
	  .n_at = offsetof(struct overlay, n_limits), .of = &manifest_limit_table },
	{ "collections", KEY_NAMED, .at = offsetof(struct overlay, collections),
	  .n_at = offsetof(struct overlay, n_collections), .of = &collection_table },
};
static const struct key_table overlay_table = { TABLE(overlay_keys) };

static bool is_own(enum limit_scope_kind scope)
{
	return scope == SCOPE_INTEGRATION || scope == SCOPE_ENDPOINTS;
}

static void check(struct manifest_reader *r, const struct manifest *base, const struct overlay *o)
{
	const char **names =
		arena_alloc(r->arena, sizeof(*names) * (size_t)(base->n_collections + 1));

	for (int i = 0; i < base->n_collections; i++)
		names[i] = base->collections[i].name;
	for (int i = 0; i < o->n_limits; i++)
		if (!is_own(o->limits[i].scope))
			reader_problem_at(
				r, arena_printf(r->arena, "limits[%d].scope", i),
				"is a limit of all integrations together: one of them cannot change it");
	for (int i = 0; i < o->n_collections; i++) {
		const char *name = o->collections[i].name;

		if (!manifest_collection(base, name))
			reader_problem_at(r, arena_printf(r->arena, "collections.%s", name),
					  "there is no collection \"%s\"%s", name,
					  reader_nearest(r, name, names, base->n_collections));
	}
}

/* ---- one tree over the other ---- */

static void put(cJSON *object, const char *name, const cJSON *v)
{
	cJSON *copy = cJSON_Duplicate(v, true);

	if (cJSON_GetObjectItemCaseSensitive(object, name))
		cJSON_ReplaceItemInObjectCaseSensitive(object, name, copy);
	else
		cJSON_AddItemToObject(object, name, copy);
}

static int64_t window_ms(const cJSON *limit)
{
	const cJSON *w = cJSON_GetObjectItemCaseSensitive(limit, "window");
	int64_t ms = -1;

	if (cJSON_IsNumber(w))
		return (int64_t)(w->valuedouble * 1000 + 0.5);
	return cJSON_IsString(w) && clock_parse_duration(w->valuestring, &ms) == 0 ? ms : -1;
}

static bool is_replaced(const cJSON *old, const cJSON *limits)
{
	const char *scope = json_str(old, "scope");
	const cJSON *l;

	cJSON_ArrayForEach (l, limits) {
		const char *own = json_str(l, "scope");

		if (strcmp(own ? own : "integration", scope ? scope : "integration") == 0 &&
		    window_ms(l) == window_ms(old))
			return true;
	}
	return false;
}

/* Each in the place of the one with its scope and window.  The overlay's come first, so that a problem's path is the same
 * in both. */
static void put_limits(cJSON *tree, const cJSON *limits)
{
	cJSON *made = cJSON_Duplicate(limits, true);
	const cJSON *old;

	cJSON_ArrayForEach (old, cJSON_GetObjectItemCaseSensitive(tree, "limits"))
		if (!is_replaced(old, limits))
			cJSON_AddItemToArray(made, cJSON_Duplicate(old, true));
	cJSON_DeleteItemFromObjectCaseSensitive(tree, "limits");
	cJSON_AddItemToObject(tree, "limits", made);
}

static void put_collection(cJSON *to, const cJSON *from)
{
	const cJSON *map = cJSON_GetObjectItemCaseSensitive(from, "map"), *column;
	const cJSON *extra = cJSON_GetObjectItemCaseSensitive(from, "extra");

	cJSON_ArrayForEach (column, map)
		put(cJSON_GetObjectItemCaseSensitive(to, "map"), column->string, column);
	if (extra)
		put(to, "extra", extra);
}

static void put_over(cJSON *tree, const cJSON *overlay)
{
	const cJSON *limits = cJSON_GetObjectItemCaseSensitive(overlay, "limits"), *c;
	cJSON *collections = cJSON_GetObjectItemCaseSensitive(tree, "collections");

	if (limits)
		put_limits(tree, limits);
	cJSON_ArrayForEach (c, cJSON_GetObjectItemCaseSensitive(overlay, "collections"))
		if (!is_comment(c->string))
			put_collection(cJSON_GetObjectItemCaseSensitive(collections, c->string), c);
}

/* ---- the whole ---- */

static int read_overlay(const struct manifest *base, const char *shown, const char *text,
			size_t len, cJSON **out, struct buf *problems)
{
	struct manifest_owner *o = manifest_owner_new(shown);
	struct manifest_reader r = { .owner = o,
				     .arena = o->arena,
				     .file = shown,
				     .text = text,
				     .len = len,
				     .problems = problems };
	struct overlay overlay = { 0 };
	int rc = manifest_text_parse(shown, text, len, o, problems);

	if (rc == 0) {
		const cJSON *tree = o->trees->tree;

		reader_object(&r, &overlay_table, tree, &overlay);
		if (cJSON_IsObject(tree))
			check(&r, base, &overlay);
		buf_clear(&r.path);
		if (r.n_problems == 0)
			*out = cJSON_Duplicate(tree, true);
		else
			rc = -EINVAL;
	}
	manifest_free(&o->m);
	return rc;
}

int manifest_overlay(const struct manifest *base, const char *shown, const char *text, size_t len,
		     struct manifest **out, struct buf *problems)
{
	const struct manifest_owner *b = (const struct manifest_owner *)base;
	cJSON *overlay = NULL, *tree;
	int rc = read_overlay(base, shown, text, len, &overlay, problems);

	if (rc < 0)
		return rc;
	tree = cJSON_Duplicate(b->tree, true);
	/* what is overridden is one version of several: that which the integration has */
	cJSON_DeleteItemFromObjectCaseSensitive(tree, "adapters");
	cJSON_DeleteItemFromObjectCaseSensitive(tree, "rollout");
	put_over(tree, overlay);
	cJSON_Delete(overlay);
	return manifest_parse_tree(base->path, shown, text, len, tree, out, problems);
}
