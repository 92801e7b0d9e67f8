#include "drivers/kit/scenario.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/lookup_parts.h"
#include "drivers/kit/map.h"
#include "drivers/kit/paginate.h"
#include "drivers/kit/scenario_parts.h"

#define EXACT_MAX (INT64_C(1) << 53) /* beyond, a JSON number is no longer exact */

struct running {
	struct caller *c;
	const struct scenario *s;
	cJSON *rows, *aside;
	struct arena *arena; /* of one page */
};

/* ---- a row as JSON ---- */

static void add_time(cJSON *o, const char *name, int64_t us)
{
	char iso[CLOCK_ISO_MAX];

	cJSON_AddStringToObject(o, name, clock_iso(us / 1000, iso));
}

static void add_text(cJSON *o, const char *name, const struct row_value *v)
{
	char *text = mem_strndup(v->v.s.p, v->v.s.n);

	cJSON_AddStringToObject(o, name, text);
	free(text);
}

static void add_int(cJSON *o, const char *name, int64_t n)
{
	char *text;

	if (n < EXACT_MAX && n > -EXACT_MAX) {
		cJSON_AddNumberToObject(o, name, (double)n);
		return;
	}
	text = mem_printf("%lld", (long long)n);
	cJSON_AddStringToObject(o, name, text);
	free(text);
}

static void add_json(cJSON *o, const char *name, const struct row_value *v)
{
	cJSON *tree = NULL;

	if (json_parse(v->v.s.p, v->v.s.n, v->v.s.n, &tree, NULL) == 0)
		cJSON_AddItemToObject(o, name, tree);
	else
		add_text(o, name, v);
}

static void add_value(cJSON *o, const struct row_column *k, const struct row_value *v)
{
	char iso[CLOCK_ISO_MAX];

	switch (k->type) {
	case ROW_TEXT:
		add_text(o, k->name, v);
		return;
	case ROW_INT:
		add_int(o, k->name, v->v.i);
		return;
	case ROW_NUMBER:
		cJSON_AddNumberToObject(o, k->name, v->v.d);
		return;
	case ROW_BOOL:
		cJSON_AddBoolToObject(o, k->name, v->v.b);
		return;
	case ROW_TIME:
		add_time(o, k->name, v->v.i);
		return;
	case ROW_DATE:
		clock_iso(v->v.i * 86400000, iso)[10] = '\0';
		cJSON_AddStringToObject(o, k->name, iso);
		return;
	case ROW_JSON:
		add_json(o, k->name, v);
		return;
	}
}

static void add_heirs(cJSON *o, const struct map_context *m, const cJSON *item)
{
	const char **ids;
	int n = map_merged(m, item, &ids);

	if (n)
		cJSON_AddItemToObject(o, "merged_into", cJSON_CreateStringArray(ids, n));
}

static void add_row(struct running *x, const struct map_context *m, const cJSON *item,
		    const struct row *row)
{
	const struct manifest_collection *c = m->collection;
	int n;
	const struct row_column *columns = row_columns(c->table, &n);
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "collection", c->name);
	cJSON_AddStringToObject(o, "table", row_table_name(c->table));
	cJSON_AddStringToObject(o, "external_id", row->external_id);
	if (row->has_partner_updated)
		add_time(o, "partner_updated_at", row->partner_updated_us);
	if (row->gone)
		cJSON_AddBoolToObject(o, "deleted", true);
	if (row->gone)
		add_heirs(o, m, item);
	for (int i = 0; i < n; i++)
		if (row->values[i].set && (c->columns >> i & 1))
			add_value(o, &columns[i], &row->values[i]);
	cJSON_AddItemToArray(x->rows, o);
}

static void add_aside(struct running *x, const struct manifest_collection *c, const cJSON *item,
		      const struct err *why)
{
	const cJSON *id = c->id && c->id[0] != '@' ? json_path(item, c->id) : NULL;
	struct buf text = BUF_INIT;
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "collection", c->name);
	if (id && json_scalar_text(id, &text))
		cJSON_AddStringToObject(o, "external_id", buf_str(&text));
	cJSON_AddStringToObject(o, "field", why->where);
	cJSON_AddStringToObject(o, "reason", why->text);
	cJSON_AddItemToArray(x->aside, o);
	buf_clear(&text);
}

/* ---- items ---- */

static bool map_one(struct running *x, const struct manifest_collection *c, const struct page *p,
		    const cJSON *item, const char *parent_id, int index, struct row *row)
{
	const struct map_context m = { .manifest = x->c->driver->manifest,
				       .collection = c,
				       .integration_id = x->c->integration->id,
				       .observed_us = p->observed_us,
				       .parent_id = parent_id,
				       .index = index,
				       .arena = x->arena,
				       .hooks = x->c->driver->hooks };
	struct err why = { 0 };

	if (map_item(&m, item, row, &why) < 0) {
		add_aside(x, c, item, &why);
		return false;
	}
	add_row(x, &m, item, row);
	return !row->gone;
}

static void map_embedded(struct running *x, const struct page *p, const cJSON *item,
			 const char *parent_id)
{
	const struct manifest *m = x->c->driver->manifest;

	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *e = &m->collections[i];
		const cJSON *child;
		struct row row;
		int index = 0;

		if (!e->embedded || strcmp(e->each, x->s->collection->name) != 0)
			continue;
		cJSON_ArrayForEach (child, json_path(item, e->embedded))
			(void)map_one(x, e, p, child, parent_id, index++, &row);
	}
}

static void map_page(struct running *x, const struct page *p)
{
	const struct manifest_collection *c = x->s->collection;
	struct row row;

	x->arena = arena_new();
	for (int i = 0; i < p->n; i++)
		if (map_one(x, c, p, p->records[i], x->s->parent_id, i, &row))
			map_embedded(x, p, p->records[i], row.external_id + strlen(c->id_prefix));
	arena_free(x->arena);
}

/* ---- pages ---- */

void scenario_add_error(cJSON *out, const struct err *why)
{
	cJSON *e = cJSON_AddObjectToObject(out, "error");

	cJSON_AddStringToObject(e, "class", err_class_name(why->class));
	cJSON_AddStringToObject(e, "rule", why->rule);
	cJSON_AddStringToObject(e, "text", why->text);
}

/* What the partner said is a result, as long as it said something. */
static int settle(int rc, const struct err *why, cJSON *out, struct err *err)
{
	bool said = rc == -EREMOTEIO || rc == -EBADMSG || rc == -ENOENT ||
		    (rc == -EAGAIN && why->class == ERR_RATE_LIMIT);

	if (rc >= 0)
		return 0;
	if (!said || strcmp(why->rule, "replay") == 0) {
		if (err)
			*err = *why;
		return rc;
	}
	scenario_add_error(out, why);
	return 0;
}

static int scan(struct running *x, cJSON *out, struct err *err)
{
	const struct scenario *s = x->s;
	const struct pager_options o = { .collection = s->collection,
					 .parent_id = s->parent_id,
					 .parent = s->parent,
					 .since_us = s->since_us,
					 .size = s->size };
	struct pager *pager = NULL;
	struct err why = { 0 };
	struct page page = { 0 };
	const char *why_not;
	int pages = 0, rc = pager_new(x->c, &o, &pager, err);

	if (rc < 0)
		return rc;
	while ((!s->pages || pages < s->pages) && (rc = pager_next(pager, &page, &why)) > 0) {
		map_page(x, &page);
		page_clear(&page);
		pages++;
	}
	page_clear(&page);
	cJSON_AddNumberToObject(out, "pages", pages);
	if (rc >= 0) {
		cJSON_AddBoolToObject(out, "complete", pager_complete(pager, &why_not));
		if (why_not && pages != s->pages)
			cJSON_AddStringToObject(out, "why_not", why_not);
	}
	pager_free(pager);
	return settle(rc, &why, out, err);
}

static int fetch(struct running *x, cJSON *out, struct err *err)
{
	struct err why = { 0 };
	struct page page = { 0 };
	int rc = fetch_item(x->c, x->s->collection, x->s->item, &page, &why);

	if (rc == 0)
		map_page(x, &page);
	page_clear(&page);
	return settle(rc, &why, out, err);
}

/* ---- a lookup ---- */

/* The question as a job asks it, but of the partner: a cache would only say what was recorded before. */
static int answer(struct running *x, const struct question *q, struct buf *data, struct err *err)
{
	struct call_spec spec = question_call(x->s->lookup, q);
	struct call_result r;
	int rc = call(x->c, &spec, &r, err);

	if (rc == 0)
		rc = lookup_data(x->s->lookup, r.json, data, err);
	else if (call_found_none(rc, &r, err))
		rc = -ENODATA;
	call_result_clear(&r);
	return rc;
}

static int look_up(struct running *x, cJSON *out, struct err *err)
{
	struct question q;
	struct buf data = BUF_INIT;
	struct err why = { 0 };
	cJSON *tree = NULL;
	int rc = question_make(x->c, x->s->lookup, x->s->params, &q, err);

	if (rc < 0)
		return rc;
	rc = answer(x, &q, &data, &why);
	question_clear(&q);
	if (rc == 0 && json_parse(data.data, data.len, data.len, &tree, NULL) < 0)
		rc = err_set(&why, -EBADMSG, ERR_DATA, "lookup", "the data are no JSON");
	if (rc == 0 || rc == -ENODATA) {
		cJSON_AddStringToObject(out, "state", rc == 0 ? "fresh" : "missing");
		cJSON_AddItemToObject(out, "data", tree ? tree : cJSON_CreateNull());
		rc = 0;
	}
	buf_clear(&data);
	return settle(rc, &why, out, err);
}

const char *scenario_of(const struct scenario *s)
{
	return s->action ? s->action->name : s->lookup ? s->lookup->name : s->collection->name;
}

int scenario_run(struct caller *c, const struct scenario *s, cJSON **rows, struct err *err)
{
	cJSON *out = cJSON_CreateObject();
	struct running x = { .c = c, .s = s };
	int rc;

	if (s->action) {
		rc = scenario_act(c, s, out, err);
	} else if (s->lookup) {
		rc = look_up(&x, out, err);
	} else {
		x.rows = cJSON_AddArrayToObject(out, "rows");
		x.aside = cJSON_AddArrayToObject(out, "set_aside");
		rc = s->item ? fetch(&x, out, err) : scan(&x, out, err);
	}
	if (rc < 0)
		cJSON_Delete(out);
	else
		*rows = out;
	return rc;
}
