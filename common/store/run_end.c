#include "common/store/run_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/query.h"

#define ON_DONE_MAX (1024 * 1024)

/* ---- what a root asks for ---- */

/* The row of an import is there already: only what concerns its descendants is added, and the death of one that could not say so
 * itself. */
static const char root_sql[] =
	"INSERT INTO runs AS r (id, root_id, integration_id, task, job_id, worker, state, home,"
	" on_done, started_at, finished_at)"
	" SELECT DISTINCT ON (f.id) f.id, f.id, f.integration_id, f.task, f.job_id, f.worker, f.state,"
	" f.home, f.on_done::json, f.started_at, f.finished_at"
	" FROM unnest($1::int8[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[],"
	" $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[]) WITH ORDINALITY"
	" AS f (id, integration_id, task, job_id, worker, state, home, on_done, started_at,"
	" finished_at, place) ORDER BY f.id, f.place DESC"
	" ON CONFLICT (id) DO UPDATE SET home = excluded.home, on_done = excluded.on_done,"
	" updated_at = now(), state = CASE WHEN r.state = 'running' THEN excluded.state ELSE r.state END,"
	" finished_at = coalesce(r.finished_at, excluded.finished_at)";

const char *run_root_sql(void)
{
	return root_sql;
}

static void add_text(struct pg_array *a, const char *s)
{
	if (s)
		pg_array_text(a, s, strlen(s));
	else
		pg_array_null(a);
}

void run_root_params(struct pg_params *out, const struct run_root *v, int n)
{
	enum { ID, INTEGRATION, TASK, JOB, WORKER, STATE, HOME, ON_DONE, STARTED, FINISHED, COUNT };
	struct pg_array a[COUNT];

	for (int c = 0; c < COUNT; c++)
		pg_array_init(&a[c], c <= INTEGRATION ? PG_INT8
				     : c < STARTED    ? PG_TEXT
						      : PG_TIMESTAMPTZ);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&a[ID], v[i].id);
		if (v[i].integration_id)
			pg_array_int8(&a[INTEGRATION], v[i].integration_id);
		else
			pg_array_null(&a[INTEGRATION]);
		add_text(&a[TASK], v[i].task);
		add_text(&a[JOB], v[i].job_id);
		add_text(&a[WORKER], v[i].worker);
		add_text(&a[STATE], v[i].state);
		add_text(&a[HOME], v[i].home);
		add_text(&a[ON_DONE], v[i].on_done);
		pg_array_time_us(&a[STARTED], v[i].started_ms * 1000);
		if (v[i].finished_ms)
			pg_array_time_us(&a[FINISHED], v[i].finished_ms * 1000);
		else
			pg_array_null(&a[FINISHED]);
	}
	for (int c = 0; c < COUNT; c++)
		pg_array_param(out, &a[c]);
}

/* ---- its end ---- */

int run_mark_ended(struct pg *p, int64_t id, const struct run_end_counts *c, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	pg_int(&params, c->at_ms);
	pg_int(&params, c->done);
	pg_int(&params, c->dead);
	pg_int(&params, c->dropped);
	/* One that still says it runs died without a word. */
	return query(p,
		     "UPDATE runs SET ended_at = to_timestamp($2 / 1000.0), descendants_done = $3,"
		     " descendants_dead = $4, descendants_dropped = $5, updated_at = now(),"
		     " ended = CASE WHEN $4 > 0 OR state IN ('failed', 'running') THEN 'failed'"
		     " ELSE 'done' END WHERE id = $1 AND ended_at IS NULL",
		     &params, NULL, err);
}

int run_mark_lost(struct pg *p, int64_t id, bool *was_open, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query_open(p,
			  "UPDATE runs SET ended_at = now(), ended = 'unknown', updated_at = now()"
			  " WHERE id = $1 AND ended_at IS NULL",
			  &params, was_open, err);
}

int run_touch(struct pg *p, int64_t id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query(p, "UPDATE runs SET updated_at = now() WHERE id = $1", &params, NULL, err);
}

int run_imports_each(struct pg *p, int64_t id, run_import_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	rc = query(
		p,
		"SELECT i.id, i.partner FROM integrations i WHERE i.id IN (SELECT r.integration_id"
		" FROM runs r WHERE (r.id = $1 OR r.root_id = $1) AND r.task LIKE 'import\\_%')"
		" ORDER BY i.id",
		&params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		rc = fn(pg_get_int(res, i, 0), pg_get(res, i, 1), arg);
	PQclear(res);
	return rc;
}

int run_done_task(struct pg *p, int64_t id, struct run_done_task *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	struct run_done_task t = { 0 };

	pg_params_init(&params);
	pg_int(&params, id);
	int rc = query_some(p,
			    "SELECT CASE WHEN on_done_at IS NULL THEN on_done END, ended,"
			    " (extract(epoch FROM ended_at) * 1000)::int8, descendants_done,"
			    " descendants_dead, descendants_dropped FROM runs WHERE id = $1",
			    &params, &res, err);
	if (rc < 0)
		return rc;
	const char *json = pg_get(res, 0, 0);
	if (json && json_parse(json, strlen(json), ON_DONE_MAX, &t.on_done, NULL) < 0)
		t.on_done = NULL; /* it was JSON when it was written: an edit by hand */
	const char *ended = pg_get(res, 0, 1);
	snprintf(t.ended, sizeof(t.ended), "%s", ended ? ended : "");
	t.counts = (struct run_end_counts){ pg_get_int(res, 0, 2), pg_get_int(res, 0, 3),
					    pg_get_int(res, 0, 4), pg_get_int(res, 0, 5) };
	PQclear(res);
	*out = t;
	return 0;
}

int run_done_task_queued(struct pg *p, int64_t id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query(p, "UPDATE runs SET on_done_at = now() WHERE id = $1 AND on_done_at IS NULL",
		     &params, NULL, err);
}

int run_idle_each(struct pg *p, int64_t idle_ms, int max, run_idle_fn fn, void *arg,
		  struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;

	pg_params_init(&params);
	pg_int(&params, idle_ms);
	pg_int(&params, max);
	int rc = query(
		p,
		"SELECT r.id, r.home FROM runs r WHERE home IS NOT NULL AND ended_at IS NULL"
		" AND updated_at < now() - $1 * interval '1 millisecond'"
		" AND NOT EXISTS (SELECT FROM runs c WHERE c.root_id = r.id AND c.root_id <> c.id"
		" AND c.updated_at > now() - $1 * interval '1 millisecond')"
		" ORDER BY updated_at LIMIT $2",
		&params, &res, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get_int(res, i, 0), pg_get(res, i, 1), arg);
	PQclear(res);
	return 0;
}

/* ---- for people ---- */

#define ISO(column) "to_char(r." column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

static const char list_sql[] =
	"SELECT r.id, r.home, r.ended_at IS NOT NULL, (json_build_object('id', r.id, 'root_id', r.root_id,"
	" 'task', r.task, 'partner', i.partner, 'integration_id', r.integration_id, 'mode', r.mode,"
	" 'state', r.state, 'ended', r.ended, 'processed', r.processed, 'total', r.total,"
	" 'failed', r.failed, 'added', r.added, 'updated', r.updated, 'unchanged', r.unchanged,"
	" 'stale', r.stale, 'undeleted', r.undeleted, 'deleted', r.deleted, 'pages', r.pages,"
	" 'calls', r.calls, 'worker_peak_bytes', r.worker_peak_bytes, 'started_at', " ISO("started_at") ", 'finished_at', " ISO("finished_at") ", 'ended_at', " ISO(
		"ended_at") ", 'duration_s', round(extract(epoch FROM coalesce(r.ended_at, CASE WHEN r.home IS NULL THEN"
			    " r.finished_at END, now()) - r.started_at)::numeric, 3), 'descendants_done',"
			    " r.descendants_done, 'descendants_dead', r.descendants_dead, 'descendants_dropped',"
			    " r.descendants_dropped, 'on_done', r.on_done, 'on_done_at', " ISO(
				    "on_done_at") ", 'collection', r.collection, 'job', r.job_id, 'worker', r.worker, 'note', r.note,"
						  " 'deletes_held', (SELECT sum(h.unseen) FROM held_deletions h WHERE h.run_id = r.id AND h.state = 'held')))::text"
						  " FROM runs r LEFT JOIN integrations i ON i.id = r.integration_id"
						  " WHERE ($1::int8 IS NULL OR r.id = $1) AND ($2::int8 IS NULL OR r.root_id = $2)"
						  " AND ($3::int8 IS NULL OR r.integration_id = $3) AND ($4::text IS NULL OR r.state = $4)"
						  " AND ($5::text IS NULL OR r.job_id = $5) ORDER BY r.id DESC LIMIT $6";

int run_each(struct pg *p, const struct run_filter *f, run_seen_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;

	pg_params_init(&params);
	query_id(&params, f->id);
	query_id(&params, f->root_id);
	query_id(&params, f->integration_id);
	pg_text(&params, f->state);
	pg_text(&params, f->job_id);
	pg_int(&params, f->limit);
	int rc = query(p, list_sql, &params, &res, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *text = pg_get(res, i, 3);
		cJSON *row = NULL;

		if (json_parse(text, strlen(text), 2 * ON_DONE_MAX, &row, NULL) == 0)
			fn(pg_get_int(res, i, 0), pg_get(res, i, 1), query_bool(res, i, 2), row,
			   arg);
		cJSON_Delete(row);
	}
	PQclear(res);
	return 0;
}

int run_parts(struct pg *p, int64_t id, run_part_fn fn, void *arg, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query_pairs(p,
			   "SELECT state, count(*) FROM runs WHERE root_id = $1 AND root_id <> id"
			   " GROUP BY state ORDER BY state",
			   &params, fn, arg, err);
}
