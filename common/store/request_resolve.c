/* What people do with outbound requests: decide, and look. */
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/request.h"

#define ROW_MAX_BYTES (8 * 1024 * 1024)

/* The step that is in doubt, or failed, of the kind that the request wants. */
#define OPEN_STEP \
	"s.request_id = r.id AND s.kind = r.wants AND s.state IN ('unknown', 'sent', 'failed', 'pending')"

static const char done_sql[] =
	"WITH r AS (SELECT id, wants FROM outbound_requests WHERE id = $1 AND state = 'unknown' FOR UPDATE),"
	" s AS (UPDATE outbound_steps s SET state = 'done', doubt_since = NULL,"
	" how = CASE WHEN s.how LIKE 'told%' THEN s.how ELSE 'said' END,"
	" finished_at = now(), class = NULL, rule = NULL, error = NULL FROM r WHERE " OPEN_STEP
	" RETURNING s.request_id)"
	" UPDATE outbound_requests o SET state = 'pending', kept = kept || coalesce($2::jsonb, '{}'),"
	" steps_done = steps_done + CASE wants WHEN 'do' THEN 1 ELSE 0 END, queued_at = NULL,"
	" class = NULL, rule = NULL, error = NULL, next_try_at = NULL, updated_at = now(),"
	" deadline_at = greatest(deadline_at, now() + (deadline_at - created_at))"
	" FROM s WHERE o.id = s.request_id";

static const char retry_sql[] =
	"WITH r AS (SELECT id, wants FROM outbound_requests WHERE id = $1 AND state IN ('unknown', 'failed')"
	" FOR UPDATE),"
	" s AS (UPDATE outbound_steps s SET state = 'failed', doubt_since = NULL FROM r WHERE " OPEN_STEP
	" RETURNING s.request_id)"
	" UPDATE outbound_requests o SET state = 'pending', queued_at = NULL, next_try_at = NULL,"
	" updated_at = now(), finished_at = NULL,"
	" deadline_at = greatest(deadline_at, now() + (deadline_at - created_at))"
	" FROM r LEFT JOIN s ON s.request_id = r.id WHERE o.id = r.id";

/* A step in doubt stays so: whoever takes back looks for it first, where it can be looked for. */
#define IN_DOUBT "s.state IN ('sent', 'unknown') OR s.doubt_since IS NOT NULL"

static const char undo_sql[] =
	"WITH r AS (SELECT id, wants FROM outbound_requests WHERE id = $1 AND wants = 'do' AND"
	" state IN ('unknown', 'failed', 'done') FOR UPDATE),"
	" s AS (UPDATE outbound_steps s SET state = CASE WHEN " IN_DOUBT
	" THEN 'unknown' ELSE 'failed' END,"
	" doubt_since = CASE WHEN " IN_DOUBT " THEN coalesce(s.doubt_since, s.sent_at, now()) END"
	" FROM r WHERE " OPEN_STEP " RETURNING s.request_id)"
	" UPDATE outbound_requests o SET state = 'pending', wants = 'undo', queued_at = NULL,"
	" next_try_at = NULL, updated_at = now(), finished_at = NULL, class = NULL, rule = NULL,"
	" error = NULL, deadline_at = greatest(deadline_at, now() + (deadline_at - created_at))"
	" FROM r LEFT JOIN s ON s.request_id = r.id WHERE o.id = r.id";

static const struct {
	const char *as, *sql, *from;
} ways[] = {
	{ "done", done_sql, "unknown" },
	{ "retry", retry_sql, "unknown or failed" },
	{ "undo", undo_sql, "unknown, failed or done" },
};

static int not_allowed(struct pg *p, int64_t id, const char *as, const char *from, struct err *err)
{
	struct request r = { 0 };
	int rc = request_find(p, &(struct request_who){ .id = id }, &r, err);

	if (rc == 0)
		rc = err_set(err, -EPERM, ERR_CLIENT, "state",
			     "request %lld is %s%s: \"%s\" is for one that is %s", (long long)id,
			     request_state_name(r.state),
			     r.undo && r.state != REQUEST_UNDONE ? ", being undone" : "", as, from);
	request_clear(&r);
	return rc;
}

int request_resolve(struct pg *p, int64_t id, const char *as, const cJSON *kept, struct err *err)
{
	struct buf text = BUF_INIT;
	struct pg_params params;
	size_t i = 0;
	int rc;

	while (i < ARRAY_LEN(ways) && strcmp(ways[i].as, as) != 0)
		i++;
	if (i == ARRAY_LEN(ways))
		return err_set(err, -EINVAL, ERR_CLIENT, "resolve",
			       "\"%.40s\": done, retry or undo is expected", as);
	if (kept)
		json_print(kept, &text);
	pg_params_init(&params);
	pg_int(&params, id);
	if (ways[i].sql == done_sql)
		pg_text(&params, text.data);
	buf_clear(&text);
	rc = query_some(p, ways[i].sql, &params, NULL, err);
	return rc == -ENOENT ? not_allowed(p, id, as, ways[i].from, err) : rc;
}

/* ---- looking ---- */

int request_late_each(struct pg *p, int64_t min_ms, request_late_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, min_ms);
	rc = query(
		p,
		"SELECT partner, count(*), min(id) FROM outbound_requests WHERE state IN ('pending', 'running')"
		" AND deadline_at < now() - $1 * interval '1 ms' GROUP BY partner",
		&params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get_int(res, i, 1), pg_get_int(res, i, 2), arg);
	PQclear(res);
	return rc;
}

static const char list_sql[] =
	"SELECT row_to_json(x) FROM (SELECT o.id, o.partner, o.integration_id, o.action, o.state, o.wants,"
	" o.state IN ('pending', 'running', 'unknown') AND now() > o.deadline_at AS late,"
	" o.steps_done, o.steps, o.attempts, o.next_try_at, o.class, o.rule, o.at_step, o.error,"
	" o.external_id, o.idempotency_key, o.parent_id, o.source, o.lane, o.created_at, o.updated_at,"
	" o.finished_at, o.deadline_at, o.queued_at IS NOT NULL AS queued, o.job_id,"
	" o.letter_id AS dead_letter, o.worker,"
	" CASE WHEN $8 THEN o.args END AS args, CASE WHEN $8 THEN o.kept END AS kept,"
	" CASE WHEN $8 THEN (SELECT coalesce(json_agg(json_build_object('step', s.step, 'kind', s.kind,"
	" 'name', s.name, 'state', s.state, 'attempts', s.attempts, 'status', s.status, 'how', s.how,"
	" 'key', s.key, 'sent_at', s.sent_at, 'doubt_since', s.doubt_since, 'finished_at', s.finished_at,"
	" 'class', s.class, 'rule', s.rule, 'error', s.error) ORDER BY s.kind, s.step), '[]')"
	" FROM outbound_steps s WHERE s.request_id = o.id) END AS steps_begun"
	" FROM outbound_requests o WHERE ($1::int8 IS NULL OR o.id = $1)"
	" AND ($2::int8 IS NULL OR o.integration_id = $2) AND ($3::text IS NULL OR o.partner = $3)"
	" AND ($4::text IS NULL OR o.action = $4)"
	" AND ($5::text IS NULL OR o.state = $5 OR ($5 = 'open' AND o.state IN ('pending', 'running', 'unknown'))"
	" OR ($5 = 'late' AND o.state IN ('pending', 'running', 'unknown') AND now() > o.deadline_at))"
	" AND ($6::int8 IS NULL OR o.id < $6) ORDER BY o.id DESC LIMIT $7) x";

int request_each(struct pg *p, const struct request_filter *f, request_fn fn, void *arg,
		 struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	query_id(&params, f->id);
	query_id(&params, f->integration_id);
	pg_text(&params, f->partner);
	pg_text(&params, f->action);
	pg_text(&params, f->state);
	query_id(&params, f->before_id);
	pg_int(&params, f->limit ? f->limit : 50);
	pg_bool(&params, f->whole);
	rc = query(p, list_sql, &params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		const char *text = pg_get(res, i, 0);
		cJSON *row = NULL;

		if (json_parse(text, strlen(text), ROW_MAX_BYTES, &row, NULL) == 0)
			fn(row, arg);
		cJSON_Delete(row);
	}
	PQclear(res);
	return rc;
}
