#include "common/store/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

/* Parameters of all statements here. */
#define INTEGRATION "$1::int8"
#define BEFORE "(timestamptz 'epoch' + $2::int8 * interval '1 microsecond')"
#define PREFIX "$3::text"
#define OTHERS "$4::text[]"
#define KIND "$5::text"
#define PARENTS "$6::text[]"
#define AFTER "$7::text"
#define RUN "$8::int8"

static void add_ids(struct pg_params *params, const char *const *ids, int n)
{
	struct pg_array a;

	pg_array_init(&a, PG_TEXT);
	for (int i = 0; i < n; i++)
		pg_array_text(&a, ids[i], strlen(ids[i]));
	pg_array_param(params, &a);
}

static void add_whose(struct pg_params *params, const struct sweep *s, const char *after)
{
	pg_params_init(params);
	pg_int(params, s->integration_id);
	pg_int(params, s->before_us);
	pg_text(params, s->prefix);
	add_ids(params, s->others, s->n_others);
	pg_text(params, s->kind);
	add_ids(params, s->parents, s->parents ? s->n_parents : 0);
	pg_text(params, after);
}

static bool has_column(enum row_table t, const char *name)
{
	return row_column_find(t, name) >= 0;
}

/* True of the collection's own rows. */
static void put_own(struct buf *b, const struct sweep *s)
{
	buf_puts(b,
		 "starts_with(r.external_id, " PREFIX ") AND NOT EXISTS (SELECT FROM unnest(" OTHERS
		 ") AS o WHERE starts_with(r.external_id, o))");
	buf_puts(b, has_column(s->table, "kind") ? " AND (" KIND " IS NULL OR r.kind = " KIND ")"
						 : " AND " KIND " IS NULL");
	buf_puts(b, s->parents ? " AND r.resource_external_id = ANY (" PARENTS ")"
			       : " AND " PARENTS " IS NOT NULL");
}

/* ---- how many ---- */

/* So many rows in the order of their ids, whoever's they are. */
static void put_window(struct buf *b, const struct sweep *s)
{
	buf_printf(b,
		   "(SELECT * FROM %s WHERE integration_id = " INTEGRATION
		   " AND external_id >= " PREFIX " AND external_id > " AFTER
		   " ORDER BY external_id LIMIT %d) AS r",
		   row_table_name(s->table), SWEEP_WINDOW);
}

static int count_window(struct pg *p, const struct sweep *s, char **after, struct sweep_counts *out,
			struct err *err)
{
	struct buf sql = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	buf_puts(&sql,
		 "SELECT count(*), count(*) FILTER (WHERE live), count(*) FILTER (WHERE live AND"
		 " observed_at < " BEFORE
		 "), max(external_id), starts_with(max(external_id), " PREFIX
		 ")::int FROM (SELECT r.external_id, r.observed_at, r.deleted_at IS NULL AND ");
	put_own(&sql, s);
	buf_puts(&sql, " AS live FROM ");
	put_window(&sql, s);
	buf_puts(&sql, ") AS w");
	add_whose(&params, s, *after ? *after : "");
	rc = query(p, sql.data, &params, &res, err);
	buf_clear(&sql);
	if (rc < 0)
		return rc;
	out->live += pg_get_int(res, 0, 1);
	out->unseen += pg_get_int(res, 0, 2);
	rc = pg_get_int(res, 0, 0) == SWEEP_WINDOW && pg_get_int(res, 0, 4);
	free(*after);
	*after = query_dup(res, 0, 3);
	PQclear(res);
	return rc;
}

static int count_parents(struct pg *p, const struct sweep *s, struct sweep_counts *out,
			 struct err *err)
{
	struct buf sql = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	buf_printf(
		&sql,
		"SELECT coalesce(sum(live), 0), coalesce(sum(old), 0), count(*), count(*) FILTER (WHERE"
		" old > 0) FROM (SELECT count(*) AS live, count(*) FILTER (WHERE r.observed_at < " BEFORE
		") AS old FROM %s r WHERE r.integration_id = " INTEGRATION
		" AND r.deleted_at IS NULL AND " AFTER " IS NOT NULL AND ",
		row_table_name(s->table));
	put_own(&sql, s);
	buf_puts(&sql, " GROUP BY r.resource_external_id) AS q");
	add_whose(&params, s, "");
	rc = query(p, sql.data, &params, &res, err);
	buf_clear(&sql);
	if (rc < 0)
		return rc;
	*out = (struct sweep_counts){ pg_get_int(res, 0, 0), pg_get_int(res, 0, 1),
				      pg_get_int(res, 0, 2), pg_get_int(res, 0, 3) };
	PQclear(res);
	return 0;
}

int sweep_count(struct pg *p, const struct sweep *s, struct sweep_counts *out, struct err *err)
{
	struct sweep_counts n = { 0 };
	char *after = NULL;
	int rc;

	if (s->parents)
		return count_parents(p, s, out, err);
	while ((rc = count_window(p, s, &after, &n, err)) > 0)
		;
	free(after);
	if (rc == 0)
		*out = n;
	return rc;
}

/* ---- marking ---- */

/* Locked in the order of their ids, as batches of rows are, so that neither waits for the other in a circle. */
static void put_due(struct buf *b, const struct sweep *s, bool fenced)
{
	buf_puts(b, "due AS MATERIALIZED (SELECT r.external_id FROM ");
	if (s->parents)
		buf_printf(b, "%s r WHERE " AFTER " IS NOT NULL", row_table_name(s->table));
	else
		buf_printf(b,
			   "%s r WHERE r.external_id > " AFTER " AND r.external_id <= (SELECT"
			   " max(external_id) FROM win)",
			   row_table_name(s->table));
	buf_puts(b, " AND r.integration_id = " INTEGRATION " AND r.deleted_at IS NULL AND"
		    " r.observed_at < " BEFORE " AND ");
	put_own(b, s);
	if (fenced)
		buf_puts(b, " AND EXISTS (SELECT FROM mine)");
	buf_printf(b, " ORDER BY r.external_id LIMIT %d FOR UPDATE OF r)", SWEEP_SLICE);
}

static void put_mine(struct buf *b)
{
	buf_puts(
		b,
		"mine AS MATERIALIZED (SELECT 1 FROM checkpoints WHERE integration_id = " INTEGRATION
		" AND collection = $9::text AND job_id = $10::text AND generation = $11::int8"
		" AND fence = $12::int8 FOR UPDATE), ");
}

/* The marks are counted where the place of the scan is, so that a process that dies right after has told of them. */
static void put_told(struct buf *b)
{
	buf_puts(
		b,
		", told AS (UPDATE checkpoints c SET state = jsonb_set(jsonb_set(c.state, '{at_ms}',"
		" to_jsonb($13::int8)), '{run,deleted}', to_jsonb(coalesce((c.state #>>"
		" '{run,deleted}')::numeric::int8, 0) + (SELECT count(*) FROM gone))),"
		" updated_at = now() WHERE c.integration_id = " INTEGRATION
		" AND c.collection = $9 AND EXISTS (SELECT FROM mine))");
}

/* The same of what a person confirmed: who runs the command may stop it. */
static void put_confirmed(struct buf *b)
{
	buf_puts(
		b,
		", held AS (UPDATE held_deletions SET deleted = deleted + (SELECT count(*) FROM gone)"
		" WHERE id = $9::int8), ran AS (UPDATE runs SET deleted = deleted + (SELECT count(*) FROM"
		" gone), updated_at = now() WHERE id = " RUN " AND EXISTS (SELECT FROM gone))");
}

static void put_gone(struct buf *b, const struct sweep *s)
{
	struct buf from = BUF_INIT;

	buf_printf(b,
		   ", gone AS (UPDATE %s r SET deleted_at = now(), changed_at = now(), observed_at"
		   " = " BEFORE
		   ", version = r.version + 1, change = jsonb_build_object('deleted_at',"
		   " jsonb_build_array(NULL, now())) FROM due WHERE r.integration_id = " INTEGRATION
		   " AND r.external_id = due.external_id RETURNING r.*)",
		   row_table_name(s->table));
	buf_printf(&from, "gone WHERE %s", row_history_on(s->table));
	row_history_put(b, s->table, from.data, "'deleted'", "'deletion'", "NULLIF(" RUN ", 0)");
	buf_clear(&from);
}

static char *slice_sql(const struct sweep *s, bool fenced)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, "WITH ");
	if (fenced)
		put_mine(&b);
	if (!s->parents) {
		buf_puts(&b, "win AS MATERIALIZED (SELECT r.external_id FROM ");
		put_window(&b, s);
		buf_puts(&b, "), ");
	}
	put_due(&b, s, fenced);
	put_gone(&b, s);
	if (fenced)
		put_told(&b);
	else if (s->held_id)
		put_confirmed(&b);
	buf_printf(
		&b, " SELECT count(*), max(external_id), %s, %s, %s FROM gone",
		fenced ? "(SELECT count(*) FROM mine)" : "1",
		s->parents ? "0" : "(SELECT count(*) FROM win)",
		s->parents
			? "NULL"
			: "(SELECT max(external_id) FROM win WHERE starts_with(external_id, " PREFIX
			  "))");
	return buf_detach(&b);
}

/* A full slice goes on behind its last row, a window without behind itself; of parents what is marked is found no more. */
static int go_on(const struct sweep *s, const PGresult *res, char **after)
{
	bool full = pg_get_int(res, 0, 0) == SWEEP_SLICE;
	bool more = full || (pg_get_int(res, 0, 3) == SWEEP_WINDOW && pg_get(res, 0, 4));

	if (s->parents || !more)
		return more;
	free(*after);
	*after = query_dup(res, 0, full ? 1 : 4);
	return 1;
}

/* The next slice.  *after: where it goes on ("" begins).  1: there may be more; 0: through. */
static int slice(struct pg *p, const struct sweep *s, const struct sweep_fence *fence, char **after,
		 int64_t *n, struct err *err)
{
	char *sql = slice_sql(s, fence != NULL);
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	*n = 0;
	add_whose(&params, s, *after ? *after : "");
	pg_int(&params, s->run_id);
	if (fence) {
		pg_text(&params, fence->collection);
		pg_text(&params, fence->job_id);
		pg_int(&params, fence->generation);
		pg_int(&params, fence->fence);
		pg_int(&params, fence->now_ms);
	} else if (s->held_id) {
		pg_int(&params, s->held_id);
	}
	rc = query(p, sql, &params, &res, err);
	free(sql);
	if (rc < 0)
		return rc;
	if (pg_get_int(res, 0, 2) == 0) {
		PQclear(res);
		return err_set(err, -ESTALE, ERR_CANCELLED, "fence",
			       "a newer claim of this job has written the checkpoint of %s",
			       fence->collection);
	}
	*n = pg_get_int(res, 0, 0);
	rc = go_on(s, res, after);
	PQclear(res);
	return rc;
}

static int mark(struct pg *p, const struct sweep *s, const struct sweep_fence *fence, sweep_fn fn,
		void *arg, struct err *err)
{
	char *after = NULL;
	int64_t n = 0;
	int rc, told;

	do {
		rc = slice(p, s, fence, &after, &n, err);
		told = rc >= 0 && n ? fn(s->table, n, arg) : 0;
	} while (rc > 0 && told >= 0);
	free(after);
	return rc < 0 ? rc : told < 0 ? told : 0;
}

/* ---- and what came with it ---- */

/* Rows that this sweep marked, or one before it, beyond `after`: a late answer may have brought something of theirs since. */
static int marked(struct pg *p, const struct sweep *s, const char *after, char ***ids, int *n,
		  struct err *err)
{
	struct buf sql = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	buf_printf(&sql,
		   "SELECT r.external_id FROM %s r WHERE r.integration_id = " INTEGRATION
		   " AND r.deleted_at IS NOT NULL AND r.observed_at <= " BEFORE
		   " AND r.external_id > " AFTER " AND ",
		   row_table_name(s->table));
	put_own(&sql, s);
	buf_printf(&sql, " ORDER BY r.external_id LIMIT %d", SWEEP_SLICE);
	add_whose(&params, s, after);
	rc = query(p, sql.data, &params, &res, err);
	buf_clear(&sql);
	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	*ids = mem_alloc(sizeof(**ids) * (size_t)(*n + 1));
	for (int i = 0; i < *n; i++)
		(*ids)[i] = query_dup(res, i, 0);
	PQclear(res);
	return 0;
}

static void ids_free(char **ids, int n)
{
	for (int i = 0; i < n; i++)
		free(ids[i]);
	free(ids);
}

static int sweep_children(struct pg *p, const struct sweep *s, const struct sweep_fence *fence,
			  sweep_fn fn, void *arg, struct err *err)
{
	char **ids = NULL, *after = mem_strdup("");
	int n = 0, rc = 0;

	do {
		ids_free(ids, n);
		n = 0;
		ids = NULL;
		rc = marked(p, s, after, &ids, &n, err);
		for (int i = 0; rc == 0 && n && i < s->n_children; i++) {
			struct sweep child = s->children[i];

			child.integration_id = s->integration_id;
			child.before_us = s->before_us;
			child.run_id = s->run_id;
			child.held_id = s->held_id;
			child.parents = (const char *const *)ids;
			child.n_parents = n;
			rc = sweep_run(p, &child, fence, fn, arg, err);
		}
		if (n) {
			free(after);
			after = mem_strdup(ids[n - 1]);
		}
	} while (rc == 0 && n == SWEEP_SLICE);
	ids_free(ids, n);
	free(after);
	return rc;
}

int sweep_run(struct pg *p, const struct sweep *s, const struct sweep_fence *fence, sweep_fn fn,
	      void *arg, struct err *err)
{
	int rc = mark(p, s, fence, fn, arg, err);

	return rc == 0 && s->n_children ? sweep_children(p, s, fence, fn, arg, err) : rc;
}

int sweep_seen(struct pg *p, enum row_table table, int64_t integration_id, const char *const *ids,
	       int n, int64_t observed_us, struct err *err)
{
	struct pg_params params;
	char *sql = mem_printf(
		"WITH old AS MATERIALIZED (SELECT r.external_id FROM %s r WHERE r.integration_id = " INTEGRATION
		" AND r.external_id = ANY ($3::text[]) AND r.deleted_at IS NULL AND"
		" r.observed_at < " BEFORE " ORDER BY r.external_id FOR UPDATE OF r)"
		" UPDATE %s r SET observed_at = " BEFORE
		" FROM old WHERE r.integration_id = " INTEGRATION
		" AND r.external_id = old.external_id",
		row_table_name(table), row_table_name(table));
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_int(&params, observed_us);
	add_ids(&params, ids, n);
	rc = query(p, sql, &params, NULL, err);
	free(sql);
	return rc;
}
