#include "drivers/kit/rehearse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/map_find.h"

#define LATELY_US (INT64_C(86400) * 1000000) /* where no item says when it changed */
#define NAME_BYTES 120

/* An item that others hang on. */
struct parent {
	char *id;
	cJSON *row; /* as scenario_run tells it */
};
struct ids {
	bool walked;
	struct parent *v;
	int n;
	int64_t newest_us;
};

struct walking {
	const struct rehearsal *r;
	struct ids *ids; /* one for each collection of the manifest */
	struct err *err;
};

static void ids_clear(struct ids *ids)
{
	for (int i = 0; i < ids->n; i++) {
		free(ids->v[i].id);
		cJSON_Delete(ids->v[i].row);
	}
	free(ids->v);
}

static void ids_take(struct ids *ids, const struct manifest_collection *c, const cJSON *rows,
		     int most)
{
	const cJSON *row;

	ids->walked = true;
	cJSON_ArrayForEach (row, cJSON_GetObjectItemCaseSensitive(rows, "rows")) {
		const char *of = json_str(row, "collection"), *id = json_str(row, "external_id"),
			   *at = json_str(row, "partner_updated_at");
		int64_t us;

		if (strcmp(of, c->name) != 0)
			continue;
		if (at && clock_parse_time(at, &us, NULL) == 0 && us > ids->newest_us)
			ids->newest_us = us;
		if (ids->n == most)
			continue;
		ids->v = mem_realloc(ids->v, (size_t)(ids->n + 1) * sizeof(*ids->v));
		ids->v[ids->n++] = (struct parent){ mem_strdup(id + strlen(c->id_prefix)),
						    cJSON_Duplicate(row, true) };
	}
}

/* Of a file: an id may hold anything. */
static void name_of(const struct scenario *s, char out[NAME_BYTES])
{
	size_t n = (size_t)snprintf(out, NAME_BYTES, "%s%s%.40s", scenario_of(s),
				    s->action      ? ".action"
				    : s->lookup    ? ".lookup"
				    : s->item      ? ".item"
				    : s->since_us  ? ".changes"
				    : s->parent_id ? ".of."
						   : "",
				    s->parent_id ? s->parent_id : "");

	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
			    out[i]))
			out[i] = '_';
}

static int run(struct walking *w, const struct scenario *s, bool told, struct ids *ids)
{
	const struct rehearsal *r = w->r;
	cJSON *rows = NULL, *exchanges;
	char name[NAME_BYTES];
	int rc = scenario_run(r->c, s, &rows, w->err);

	exchanges = tape_take(r->tape, false);
	if (rc < 0) {
		cJSON_Delete(exchanges);
		return rc;
	}
	if (ids)
		ids_take(ids, s->collection, rows, r->parents > 1 ? r->parents : 1);
	if (told) {
		name_of(s, name);
		return r->done(name, s, rows, exchanges, r->arg);
	}
	cJSON_Delete(rows);
	cJSON_Delete(exchanges);
	return 0;
}

static int walk_more(struct walking *w, const struct manifest_collection *c, struct ids *ids)
{
	int64_t newest = ids->newest_us ? ids->newest_us : tape_now_us(w->r->tape) - LATELY_US;
	int rc = 0;

	if (c->incremental.on) {
		const struct scenario s = { .collection = c,
					    .since_us = newest / 1000 * 1000,
					    .pages = w->r->pages,
					    .size = w->r->size };

		rc = run(w, &s, true, NULL);
	}
	if (rc == 0 && c->detail && ids->n) {
		const struct scenario s = { .collection = c, .item = ids->v[0].id };

		rc = run(w, &s, true, NULL);
	}
	return rc;
}

static int walk_alone(struct walking *w, const struct manifest_collection *c, struct ids *ids,
		      bool told)
{
	struct scenario s = { .collection = c, .pages = w->r->pages, .size = w->r->size };
	int rc;

	/* nothing is stored, so nothing may be acknowledged: a queue says the same again */
	if (c->paging.kind == PAGING_ACK_QUEUE)
		s.pages = 1;
	rc = run(w, &s, told, ids);

	return rc == 0 && told && w->r->more ? walk_more(w, c, ids) : rc;
}

/* What {parent.COLUMN} names of a row.  NULL: one of them is null there, and an import sets such a parent aside. */
static cJSON *parent_row(const struct manifest *m, const struct manifest_collection *c,
			 const cJSON *row)
{
	int n;
	const struct row_column *columns = row_columns(manifest_collection(m, c->each)->table, &n);
	cJSON *out = cJSON_CreateObject();

	for (int i = 0; i < n; i++) {
		const cJSON *v;

		if (!(c->parent_columns >> i & 1))
			continue;
		v = cJSON_GetObjectItemCaseSensitive(row, columns[i].name);
		if (json_is_nothing(v)) {
			cJSON_Delete(out);
			return NULL;
		}
		cJSON_AddItemToObject(out, columns[i].name, cJSON_Duplicate(v, true));
	}
	return out;
}

static int walk_child(struct walking *w, const struct manifest_collection *c,
		      const struct parent *parent, bool told, struct ids *ids)
{
	struct scenario s = {
		.collection = c, .parent_id = parent->id, .pages = w->r->pages, .size = w->r->size
	};
	cJSON *row = NULL;
	int rc = 0;

	if (c->parent_columns)
		s.parent = row = parent_row(w->r->c->driver->manifest, c, parent->row);
	if (row || !c->parent_columns)
		rc = run(w, &s, told, ids);
	cJSON_Delete(row);
	return rc;
}

static int walk_children(struct walking *w, const struct manifest_collection *c, struct ids *ids,
			 const struct ids *parents, bool told)
{
	int rc = 0;

	ids->walked = true;
	for (int i = 0; i < parents->n && rc == 0; i++)
		rc = walk_child(w, c, &parents->v[i], told, ids);
	return rc;
}

static int index_of(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_collections; i++)
		if (strcmp(m->collections[i].name, name) == 0)
			return i;
	return -1;
}

static int walk(struct walking *w, int i)
{
	const struct manifest *m = w->r->c->driver->manifest;
	const struct manifest_collection *c = &m->collections[i];
	bool told = !w->r->only || strcmp(w->r->only, c->name) == 0;
	int parent = c->each ? index_of(m, c->each) : -1, rc = 0;

	if (w->ids[i].walked || c->embedded)
		return 0;
	if (parent >= 0 && !w->ids[parent].walked)
		rc = walk(w, parent);
	if (rc < 0)
		return rc;
	return parent < 0 ? walk_alone(w, c, &w->ids[i], told)
			  : walk_children(w, c, &w->ids[i], &w->ids[parent], told);
}

static int walk_lookups(struct walking *w)
{
	const struct manifest *m = w->r->c->driver->manifest;
	const char *only = w->r->lookup;
	int rc = 0;

	for (int i = 0; i < m->n_lookups && rc == 0; i++) {
		const struct manifest_lookup *l = &m->lookups[i];
		const struct scenario s = { .lookup = l,
					    .params = w->r->params ? w->r->params : l->example };

		if (only ? strcmp(only, l->name) == 0 : s.params != NULL)
			rc = run(w, &s, true, NULL);
	}
	return rc;
}

static int do_action(struct walking *w)
{
	const struct manifest *m = w->r->c->driver->manifest;
	const struct scenario s = { .action = manifest_action(m, w->r->action),
				    .params = w->r->params,
				    .attempts = 1 };

	if (!s.action)
		return err_set(w->err, -EINVAL, ERR_BAD_JOB, "action",
			       "the version that the integration has knows no action \"%.60s\"",
			       w->r->action);
	return run(w, &s, true, NULL);
}

int rehearse(const struct rehearsal *r, struct err *err)
{
	const struct manifest *m = r->c->driver->manifest;
	struct walking w = { .r = r,
			     .ids = mem_zalloc(((size_t)m->n_collections + 1) * sizeof(*w.ids)),
			     .err = err };
	int rc = r->action ? do_action(&w) : 0;

	for (int i = 0; i < m->n_collections && rc == 0 && !r->lookup && !r->action; i++) {
		const char *name = m->collections[i].name;

		if (!r->only || strcmp(r->only, name) == 0)
			rc = walk(&w, i);
	}
	if (rc == 0 && !r->only && !r->action)
		rc = walk_lookups(&w);
	for (int i = 0; i < m->n_collections; i++)
		ids_clear(&w.ids[i]);
	free(w.ids);
	return rc;
}
