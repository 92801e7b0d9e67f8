#include "tests/sandbox/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

void collection_fill(struct collection *c, const struct content_plan *p, int account,
		     const char *noun)
{
	bool listings = strcmp(noun, "listing") == 0;

	c->noun = noun;
	c->n = listings ? p->listings : p->reservations;
	c->v = mem_zalloc(((size_t)c->n + 1) * sizeof(*c->v));
	for (int i = 0; i < c->n; i++) {
		int position = !p->clean && i == DUPLICATE_AT ? i - 1 : i;

		c->v[i] = listings ? listing_make(p, account, position)
				   : reservation_make(p, account, position);
		if (position != i)
			c->v[i].awkward = "duplicate";
	}
}

void collection_clear(struct collection *c)
{
	for (int i = 0; i < c->n; i++)
		cJSON_Delete(c->v[i].tree);
	free(c->v);
	*c = (struct collection){ .noun = c->noun };
}

static bool item_has_id(const struct item *item, const char *id)
{
	const char *own = json_str(item->tree, "_id");

	return own && strcmp(own, id) == 0;
}

struct item *collection_find(const struct collection *c, const char *id)
{
	for (int i = 0; i < c->n; i++)
		if (item_has_id(&c->v[i], id))
			return &c->v[i];
	return NULL;
}

static void tree_set(cJSON *tree, const char *key, cJSON *value)
{
	if (cJSON_GetObjectItemCaseSensitive(tree, key))
		cJSON_ReplaceItemInObjectCaseSensitive(tree, key, value);
	else
		cJSON_AddItemToObject(tree, key, value);
}

int collection_update(struct collection *c, const char *id, const cJSON *fields, int64_t now_ms)
{
	char now[CLOCK_ISO_MAX];
	int changed = 0;

	clock_iso(now_ms, now);
	for (int i = 0; i < c->n; i++) {
		const cJSON *field;

		if (!item_has_id(&c->v[i], id))
			continue;
		tree_set(c->v[i].tree, "lastUpdatedAt", cJSON_CreateString(now));
		cJSON_ArrayForEach (field, fields)
			tree_set(c->v[i].tree, field->string, cJSON_Duplicate(field, true));
		changed++;
	}
	return changed;
}

int collection_remove(struct collection *c, const char *id)
{
	int kept = 0, n = c->n;

	for (int i = 0; i < n; i++) {
		if (item_has_id(&c->v[i], id))
			cJSON_Delete(c->v[i].tree);
		else
			c->v[kept++] = c->v[i];
	}
	c->n = kept;
	return n - kept;
}

void collection_append(struct collection *c, const cJSON *tree)
{
	c->v = mem_realloc(c->v, ((size_t)c->n + 1) * sizeof(*c->v));
	c->v[c->n++] = (struct item){ cJSON_Duplicate(tree, true), NULL };
}

void collection_describe(const struct collection *c, struct buf *out)
{
	for (int i = 0; i < c->n; i++) {
		const struct item *item = &c->v[i];
		const char *id = json_str(item->tree, "_id");

		buf_printf(out, "{\"noun\":\"%s\",\"position\":%d,\"id\":", c->noun, i);
		json_quote(out, id ? id : "", id ? strlen(id) : 0);
		if (item->awkward)
			buf_printf(out, ",\"awkward\":\"%s\",\"item\":", item->awkward);
		else
			buf_puts(out, ",\"awkward\":null,\"item\":");
		json_print(item->tree, out);
		buf_puts(out, "}\n");
	}
}
