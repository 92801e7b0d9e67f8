/* Deletions that are held: a record for each part of a run that met the brake, with all that it takes to carry on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/sweep.h"

#define WHOSE_MAX_BYTES (4 * 1024 * 1024)

/* ---- whose rows, as JSON ---- */
static void add_list(cJSON *o, const char *name, const char *const *v, int n)
{
	cJSON *list = cJSON_AddArrayToObject(o, name);

	for (int i = 0; i < n; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(v[i]));
}

static cJSON *whose_of(const struct sweep *s)
{
	cJSON *o = cJSON_CreateObject(), *children;

	cJSON_AddStringToObject(o, "table", row_table_name(s->table));
	cJSON_AddStringToObject(o, "id_prefix", s->prefix);
	add_list(o, "others", s->others, s->n_others);
	if (s->kind)
		cJSON_AddStringToObject(o, "kind", s->kind);
	if (s->parents)
		add_list(o, "parents", s->parents, s->n_parents);
	children = s->n_children ? cJSON_AddArrayToObject(o, "children") : NULL;
	for (int i = 0; i < s->n_children; i++)
		cJSON_AddItemToArray(children, whose_of(&s->children[i]));
	return o;
}

static void print_whose(const struct sweep *s, struct buf *out)
{
	cJSON *o = whose_of(s);

	json_print(o, out);
	cJSON_Delete(o);
}

static const char **list_of(const cJSON *o, const char *name, int *n)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, name), *v;
	const char **out;

	*n = 0;
	if (!cJSON_IsArray(list))
		return NULL;
	out = mem_alloc(sizeof(*out) * (size_t)(cJSON_GetArraySize(list) + 1));
	cJSON_ArrayForEach (v, list)
		if (cJSON_IsString(v))
			out[(*n)++] = v->valuestring;
	return out;
}

/* Texts are borrowed from the tree; the lists are the caller's (whose_clear), also after a failure. */
static int read_whose(const cJSON *o, struct sweep *s)
{
	const char *table = json_str(o, "table"), *prefix = json_str(o, "id_prefix");
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, "children"), *child;
	struct sweep *children;
	int rc = 0;

	if (!table || !prefix || row_table_parse(table, &s->table) < 0)
		return -EINVAL;
	s->prefix = prefix;
	s->kind = json_str(o, "kind");
	s->others = list_of(o, "others", &s->n_others);
	s->parents = list_of(o, "parents", &s->n_parents);
	s->children = children =
		mem_zalloc(sizeof(*children) * (size_t)(cJSON_GetArraySize(list) + 1));
	cJSON_ArrayForEach (child, list)
		if (rc == 0)
			rc = read_whose(child, &children[s->n_children++]);
	return rc;
}

static void whose_clear(struct sweep *s)
{
	for (int i = 0; i < s->n_children; i++)
		whose_clear((struct sweep *)&s->children[i]);
	free((void *)s->children);
	free((void *)s->others);
	free((void *)s->parents);
}

/* ---- the alert ---- */

/* One an integration: what of it is held, or that nothing is any more. */
static int tell(struct pg *p, int64_t integration_id, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	char scope[40];
	int rc;

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)integration_id);
	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query(
		p,
		"SELECT string_agg(format('%s: %s of %s rows (run %s)', collection, unseen, live, run_id), ', '"
		" ORDER BY run_id, collection), string_agg(DISTINCT format('`longshore run confirm-deletes %s`',"
		" run_id), ' and ') FROM (SELECT run_id, collection, sum(unseen) AS unseen, sum(live) AS live"
		" FROM held_deletions WHERE integration_id = $1 AND state = 'held' GROUP BY run_id, collection"
		" ORDER BY run_id LIMIT 20) AS h",
		&params, &res, err);
	if (rc < 0)
		return rc;
	if (pg_get(res, 0, 0)) {
		char *what = mem_printf(
			"so many rows were not in a complete scan that none of them was marked deleted: %s",
			pg_get(res, 0, 0));
		char *todo = mem_printf(
			"See at the partner whether they are gone. If they are: %s. If not, do nothing: the next complete"
			" scan decides anew.",
			pg_get(res, 0, 1));

		rc = alert_raise(p, "deletions_held", "warning", scope, what, todo, err);
		free(what);
		free(todo);
	} else {
		rc = alert_resolve(p, "deletions_held", scope, err);
	}
	PQclear(res);
	return rc;
}

/* ---- held, superseded ---- */
static void name_part(const struct sweep *s, char out[41])
{
	struct buf all = BUF_INIT;

	out[0] = '\0';
	if (!s->parents)
		return;
	for (int i = 0; i < s->n_parents; i++)
		buf_append(&all, s->parents[i], strlen(s->parents[i]) + 1);
	crypto_sha1_hex(buf_str(&all), all.len, out);
	buf_clear(&all);
}

int brake_hold(struct pg *p, const struct braked *h, struct err *err)
{
	struct buf whose = BUF_INIT;
	struct pg_params params;
	char part[41];
	int rc;

	name_part(h->whose, part);
	print_whose(h->whose, &whose);
	pg_params_init(&params);
	pg_int(&params, h->run_id);
	pg_int(&params, h->whose->integration_id);
	pg_text(&params, h->collection);
	pg_text(&params, part);
	pg_text(&params, whose.data);
	pg_int(&params, h->whose->before_us);
	pg_int(&params, h->counts->unseen);
	pg_int(&params, h->counts->live);
	buf_clear(&whose);
	rc = query(
		p,
		"INSERT INTO held_deletions AS h (run_id, integration_id, collection, part, whose,"
		" unseen_since, unseen, live) VALUES ($1, $2, $3, $4, $5::json, timestamptz 'epoch' + $6::int8"
		" * interval '1 microsecond', $7, $8) ON CONFLICT (run_id, collection, part) DO UPDATE SET"
		" whose = excluded.whose, unseen_since = excluded.unseen_since, unseen = excluded.unseen,"
		" live = excluded.live WHERE h.state = 'held'",
		&params, NULL, err);
	return rc < 0 ? rc : tell(p, h->whose->integration_id, err);
}

int brake_supersede(struct pg *p, int64_t integration_id, int64_t run_id,
		    const char *const *collections, int n, struct err *err)
{
	struct pg_params params;
	struct pg_array names;
	bool was_open = false;
	int rc;

	pg_array_init(&names, PG_TEXT);
	for (int i = 0; i < n; i++)
		pg_array_text(&names, collections[i], strlen(collections[i]));
	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_int(&params, run_id);
	pg_array_param(&params, &names);
	rc = query_open(
		p,
		"UPDATE held_deletions SET state = 'superseded', ended_at = now(), superseded_by = $2 WHERE"
		" integration_id = $1 AND run_id <> $2 AND collection = ANY ($3) AND state = 'held'",
		&params, &was_open, err);
	return rc < 0 || !was_open ? rc : tell(p, integration_id, err);
}

/* ---- confirmed ---- */
/* Counted where it is marked. */
static int on_marked(enum row_table table, int64_t n, void *arg)
{
	return 0;
}

static int mark(struct pg *p, const PGresult *res, int i, int64_t run_id, struct err *err)
{
	const char *text = pg_get(res, i, 2);
	struct sweep s = { .held_id = pg_get_int(res, i, 0),
			   .integration_id = pg_get_int(res, i, 1),
			   .before_us = pg_get_int(res, i, 3),
			   .run_id = run_id };
	cJSON *whose = NULL;
	int rc = json_parse(text, strlen(text), WHOSE_MAX_BYTES, &whose, NULL);

	if (rc == 0)
		rc = read_whose(whose, &s);
	if (rc < 0)
		rc = err_set(err, -EINVAL, ERR_INTERNAL, "held_deletions",
			     "whose rows are held cannot be read");
	else
		rc = sweep_run(p, &s, NULL, on_marked, NULL, err);
	whose_clear(&s);
	cJSON_Delete(whose);
	return rc;
}

static int note_confirmed(struct pg *p, int64_t id, int64_t *deleted, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	rc = query(
		p,
		"UPDATE held_deletions SET state = 'confirmed', ended_at = now() WHERE id = $1 AND"
		" state = 'held' RETURNING deleted",
		&params, &res, err);
	if (rc < 0)
		return rc;
	if (PQntuples(res))
		*deleted += pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

static int find_held(struct pg *p, int64_t run_id, PGresult **res, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, run_id);
	return query(
		p,
		"SELECT id, integration_id, whose::text, (extract(epoch FROM unseen_since) *"
		" 1000000)::int8 FROM held_deletions WHERE run_id = $1 AND state = 'held' ORDER BY id",
		&params, res, err);
}

/* Why there is none. */
static int look_ended(struct pg *p, int64_t run_id, struct brake_outcome *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, run_id);
	rc = query(p,
		   "SELECT state, superseded_by FROM held_deletions WHERE run_id = $1"
		   " ORDER BY superseded_by DESC NULLS LAST LIMIT 1",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	if (PQntuples(res)) {
		snprintf(out->state, sizeof(out->state), "%s", pg_get(res, 0, 0));
		out->newer_id = pg_get_int(res, 0, 1);
	}
	PQclear(res);
	return 0;
}

int brake_confirm(struct pg *p, int64_t run_id, struct brake_outcome *out, struct err *err)
{
	struct brake_outcome o = { 0 };
	PGresult *res = NULL;
	int rc = find_held(p, run_id, &res, err);

	if (rc < 0)
		return rc;
	o.held = PQntuples(res);
	for (int i = 0; i < o.held && rc == 0; i++) {
		rc = mark(p, res, i, run_id, err);
		if (rc == 0)
			rc = note_confirmed(p, pg_get_int(res, i, 0), &o.deleted, err);
	}
	if (rc == 0 && o.held)
		rc = tell(p, pg_get_int(res, 0, 1), err);
	if (rc == 0 && !o.held)
		rc = look_ended(p, run_id, &o, err);
	PQclear(res);
	if (rc == 0)
		*out = o;
	return rc;
}
