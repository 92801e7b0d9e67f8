/* Which row an item is: its id, its own time of change, what it belongs to. */
#include "drivers/kit/map_parts.h"

#include <string.h>

#include "drivers/kit/charset.h"
#include "drivers/kit/map_value.h"

#define ID_MAX_BYTES 512
#define HEIRS_MAX 100 /* ids that one was split into */

static const char *embedded_id(struct mapping *x)
{
	struct buf text = BUF_INIT;
	const char *id;

	json_print(x->from.json, &text);
	id = arena_printf(x->m->arena, "%s/%s", x->m->parent_id, hash_text(x, &text));
	buf_clear(&text);
	return id;
}

/* Whose row it is is told by the prefix alone: one that begins as those of another collection in the table would be one
 * of theirs. */
static int check_family(struct mapping *x)
{
	const struct manifest_collection *c = x->m->collection;
	size_t own = strlen(c->id_prefix);

	for (int i = 0; i < x->m->manifest->n_collections; i++) {
		const struct manifest_collection *o = &x->m->manifest->collections[i];
		size_t n = strlen(o->id_prefix);

		if (o->table == c->table && n > own && !strncmp(o->id_prefix, c->id_prefix, own) &&
		    !strncmp(x->row.external_id, o->id_prefix, n))
			return set_aside(x, "id", "\"%.60s\" begins as the ids of \"%s\" do",
					 x->row.external_id, o->name);
	}
	return 0;
}

int map_id(struct mapping *x)
{
	const struct manifest_collection *c = x->m->collection;
	const cJSON *v = item_find(&x->from, c->id);
	const char *id = NULL;

	if (!json_is_nothing(v) && !json_is_empty_text(v)) {
		if (!cJSON_IsString(v) && !cJSON_IsNumber(v))
			return set_aside(x, "id", "%s is neither a text nor a number", c->id);
		id = item_text(&x->from, c->id);
	} else if (c->embedded && x->m->parent_id) {
		id = embedded_id(x);
	}
	if (!id)
		return set_aside(x, "id", "%s is %s", c->id,
				 !v                ? "missing"
				 : cJSON_IsNull(v) ? "null"
						   : "\"\"");
	if (strstr(id, CHARSET_BROKEN))
		return set_aside(x, "id", "%s has broken characters in it: \"%.60s\"", c->id, id);
	if (strlen(id) > ID_MAX_BYTES)
		return set_aside(x, "id", "%s is %zu bytes long, at most %d are taken", c->id,
				 strlen(id), ID_MAX_BYTES);
	x->row.external_id =
		*c->id_prefix ? arena_printf(x->m->arena, "%s%s", c->id_prefix, id) : id;
	return check_family(x);
}

int map_updated(struct mapping *x)
{
	static const struct manifest_column column = { .name = "updated_at", .as = MAP_TIME };
	const char *path = x->m->collection->updated_at, *why = "";
	const cJSON *v = path ? item_find(&x->from, path) : NULL;
	struct row_value time = { 0 };

	if (json_is_nothing(v))
		return 0;
	if (map_value(&column, v, NULL, x->m->arena, &time, &why) < 0)
		return set_aside(x, "updated_at", "%s", why);
	x->row.has_partner_updated = time.set;
	x->row.partner_updated_us = time.v.i;
	return 0;
}

void map_parent(struct mapping *x)
{
	const struct manifest_collection *c = x->m->collection, *parent;
	const char *name = c->belongs_collection ? c->belongs_collection : c->each;
	const char *id =
		c->belongs_collection ? item_text(&x->from, c->belongs_id) : x->m->parent_id;
	int column = x->known->parent;

	if (!name || !id || column < 0 || !(c->columns >> column & 1))
		return;
	parent = manifest_collection(x->m->manifest, name);
	if (parent && *parent->id_prefix)
		id = arena_printf(x->m->arena, "%s%s", parent->id_prefix, id);
	x->row.values[column] = (struct row_value){ .set = true, .v.s = { id, strlen(id) } };
}

/* ---- what became of it, by its own word ---- */

/* Partners write that an item was not merged as null, "", 0, false, or its own id. */
static bool is_nobody(const struct mapping *x, const cJSON *v, const char *id)
{
	return json_is_nothing(v) || json_is_empty_text(v) || cJSON_IsFalse(v) ||
	       (cJSON_IsNumber(v) && v->valuedouble == 0) ||
	       strcmp(id, x->row.external_id + strlen(x->m->collection->id_prefix)) == 0;
}

static const char *heir_id(struct mapping *x, const cJSON *v)
{
	struct buf text = BUF_INIT;
	const char *id = json_scalar_text(v, &text)
				 ? arena_strndup(x->m->arena, buf_str(&text), text.len)
				 : "";

	buf_clear(&text);
	return id;
}

static int add_heir(struct mapping *x, const cJSON *v, const char **ids, int *n)
{
	const char *id = heir_id(x, v);

	if (is_nobody(x, v, id))
		return 0;
	if (!cJSON_IsString(v) && !cJSON_IsNumber(v))
		return set_aside(x, "merged_into", "an id, or a list of ids, is expected");
	if (strstr(id, CHARSET_BROKEN))
		return set_aside(x, "merged_into", "broken characters in \"%.60s\"", id);
	if (strlen(id) > ID_MAX_BYTES)
		return set_aside(x, "merged_into", "an id is %zu bytes long, at most %d are taken",
				 strlen(id), ID_MAX_BYTES);
	if (*n == HEIRS_MAX)
		return set_aside(x, "merged_into", "more than %d ids", HEIRS_MAX);
	ids[(*n)++] = arena_printf(x->m->arena, "%s%s", x->m->collection->id_prefix, id);
	return 0;
}

int map_heirs(struct mapping *x, const char ***ids)
{
	const char *path = x->m->collection->merged_into;
	const cJSON *v = path ? item_find(&x->from, path) : NULL, *each;
	int n = 0, rc = 0;

	if (json_is_nothing(v))
		return 0;
	if (!cJSON_IsArray(v)) {
		*ids = arena_alloc(x->m->arena, sizeof(**ids));
		rc = add_heir(x, v, *ids, &n);
		return rc < 0 ? rc : n;
	}
	*ids = arena_alloc(x->m->arena, sizeof(**ids) * HEIRS_MAX);
	cJSON_ArrayForEach (each, v)
		if (rc == 0)
			rc = add_heir(x, each, *ids, &n);
	return rc < 0 ? rc : n;
}
