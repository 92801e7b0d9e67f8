/* What becomes of notifications once they are written: attempt after attempt, and what partners tell of them. */
#include "common/store/notification.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

#define GIVE_UP_MARGIN_MS 5000 /* behind the deadline, by which no worker begins any more */

/* ---- what goes on ---- */

int notification_due(struct pg *p, int limit, struct notification_due **out, int *n,
		     struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, limit);
	rc = query(
		p,
		"(SELECT id, attempt, attempts, '', '' FROM notifications WHERE state = 'sending' AND attempt = 0"
		" ORDER BY id LIMIT $1) UNION ALL"
		" (SELECT n.id, n.attempt, n.attempts, o.state, o.tells FROM outbound_requests o"
		" JOIN notifications n ON n.id = o.notification_id WHERE o.tells IS NOT NULL"
		" AND (o.state IN ('done', 'failed', 'undone') OR (o.state = 'unknown' AND o.tells = 'doubt'))"
		" ORDER BY o.id LIMIT $1)",
		&params, &res, err);
	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	*out = mem_zalloc(sizeof(**out) * (size_t)(*n + 1));
	for (int i = 0; i < *n; i++) {
		struct notification_due *d = &(*out)[i];

		d->id = pg_get_int(res, i, 0);
		d->attempt = pg_get_int(res, i, 1);
		d->attempts = pg_get_int(res, i, 2);
		snprintf(d->state, sizeof(d->state), "%s", pg_get(res, i, 3));
		snprintf(d->tells, sizeof(d->tells), "%s", pg_get(res, i, 4));
	}
	PQclear(res);
	return 0;
}

static const char begin_sql[] =
	"WITH n AS (UPDATE notifications SET attempt = attempt + 1, state = 'sending', finished_at = NULL"
	" WHERE id = $1 AND attempt = $2 AND attempt < attempts AND NOT EXISTS (SELECT FROM outbound_requests o WHERE"
	" o.notification_id = $1 AND o.tells IS NOT NULL AND o.state = 'running') RETURNING *),"
	" gone AS (UPDATE outbound_requests o SET tells = NULL FROM n WHERE o.notification_id = n.id AND"
	" o.tells IS NOT NULL),"
	" s AS (SELECT n.id, n.attempt, n.urgent, n.in_doubt, n.job_id, n.plan -> (n.attempt - 1)::int AS c,"
	" t.patience_ms, t.quiet_from, t.quiet_until, t.tz, greatest(n.send_at, clock_timestamp()) AS at FROM n"
	" LEFT JOIN notify_settings t ON t.company_id = n.company_id),"
	" a AS (SELECT s.*, CASE WHEN urgent THEN at ELSE notify_after_quiet(at, quiet_from, quiet_until, tz) END"
	" AS begin_at FROM s),"
	" d AS (SELECT a.*, begin_at + coalesce(patience_ms, 900000) * interval '1 ms' AS over_at FROM a),"
	" r AS (INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry, fingerprint,"
	" source, lane, steps, deadline_at, notification_id, tells)"
	" SELECT c ->> 'partner', (c ->> 'integration_id')::int8, c ->> 'action', 'pending',"
	" json_strip_nulls(json_build_object('task', c ->> 'action', 'integration_id', (c ->> 'integration_id')::int8,"
	" 'run_at', CASE WHEN begin_at > clock_timestamp() THEN ceil(extract(epoch FROM begin_at) * 1000)::int8 END,"
	" 'notification', id, 'parent', job_id, 'args', c -> 'args')), 'notify:' || id || '.' || attempt,"
	" 'notify', 'job', CASE WHEN urgent THEN 'high' ELSE 'normal' END, (c ->> 'steps')::int8,"
	" CASE WHEN NOT urgent AND notify_after_quiet(over_at, quiet_from, quiet_until, tz) > over_at THEN"
	" notify_after_quiet(over_at, quiet_from, quiet_until, tz) + (over_at - begin_at) ELSE over_at END,"
	" id, CASE WHEN in_doubt THEN 'doubt' ELSE 'end' END FROM d RETURNING id, integration_id)"
	" INSERT INTO notification_attempts (notification_id, attempt, channel, integration_id, request_id)"
	" SELECT d.id, d.attempt, d.c ->> 'channel', r.integration_id, r.id FROM d, r RETURNING request_id";

static void add_due(struct pg_params *params, const struct notification_due *d)
{
	pg_params_init(params);
	pg_int(params, d->id);
	pg_int(params, d->attempt);
}

int notification_begin(struct pg *p, const struct notification_due *d, int64_t *request_id,
		       struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	add_due(&params, d);
	rc = query(p, begin_sql, &params, &res, err);
	if (rc == 0)
		*request_id = PQntuples(res) ? pg_get_int(res, 0, 0) : 0;
	PQclear(res);
	return rc;
}

int notification_end(struct pg *p, const struct notification_due *d, const char *state,
		     struct err *err)
{
	struct pg_params params;

	add_due(&params, d);
	pg_text(&params, state);
	return query(
		p,
		"WITH n AS (UPDATE notifications SET state = coalesce($3, state),"
		" finished_at = CASE WHEN $3::text IS NOT NULL THEN now() END WHERE id = $1 AND attempt = $2"
		" RETURNING id)"
		" UPDATE outbound_requests o SET tells = CASE WHEN $3::text IS NULL THEN 'end' END FROM n"
		" WHERE o.notification_id = n.id AND o.tells IS NOT NULL",
		&params, NULL, err);
}

int notification_give_up(struct pg *p, int limit, int64_t *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, limit);
	pg_int(&params, GIVE_UP_MARGIN_MS);
	rc = query(
		p,
		"UPDATE outbound_requests u SET state = 'failed', class = 'expired', rule = 'patience',"
		" error = 'nothing was sent within the company''s patience' || coalesce('; last: ' || u.error, ''),"
		" next_try_at = NULL, finished_at = now(), updated_at = now()"
		" WHERE u.id IN (SELECT o.id FROM outbound_requests o WHERE o.tells IS NOT NULL AND o.state = 'pending'"
		" AND o.deadline_at < now() - $2 * interval '1 ms' AND NOT EXISTS (SELECT FROM outbound_steps s WHERE"
		" s.request_id = o.id AND (s.state IN ('sent', 'unknown', 'done') OR s.doubt_since IS NOT NULL))"
		" ORDER BY o.deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED) AND u.state = 'pending' RETURNING 1",
		&params, &res, err);
	if (rc == 0)
		*n = PQntuples(res);
	PQclear(res);
	return rc;
}

/* The last attempt at one that has failed, tried again: what comes of it is the notification's end again. */
static const char look_sql[] =
	"WITH me AS (SELECT n.id, n.company_id, n.urgent, n.state, n.attempt > a.attempt AS went_on FROM notifications n"
	" JOIN notification_attempts a ON a.notification_id = n.id WHERE n.id = $1 AND a.request_id = $2),"
	" again AS (UPDATE notifications n SET state = 'sending', finished_at = NULL FROM me WHERE n.id = me.id AND"
	" NOT went_on AND me.state = 'failed' RETURNING n.id),"
	" armed AS (UPDATE outbound_requests o SET tells = 'end' FROM again WHERE o.id = $2)"
	" SELECT went_on::int, CASE WHEN urgent OR t.company_id IS NULL THEN 0 ELSE ceil(extract(epoch FROM"
	" notify_after_quiet(now(), t.quiet_from, t.quiet_until, t.tz) - now()) * 1000)::int8 END FROM me"
	" LEFT JOIN notify_settings t USING (company_id)";

int notification_look(struct pg *p, int64_t id, int64_t request_id, struct notification_look *out,
		      struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	*out = (struct notification_look){ 0 };
	pg_params_init(&params);
	pg_int(&params, id);
	pg_int(&params, request_id);
	rc = query(p, look_sql, &params, &res, err);
	if (rc == 0 && PQntuples(res)) {
		out->went_on = pg_get_int(res, 0, 0) != 0;
		out->quiet_ms = pg_get_int(res, 0, 1);
	}
	PQclear(res);
	return rc;
}

/* ---- what partners tell of it ---- */

/* One that bounced is tried by the next channel, where that is what it was last sent by: also where our own row does not say yet, or will
 * never know, that it was sent.
 *
 * The request's row is locked first, as whoever writes its end does too: either he is behind this and finds the step told, or this is
 * behind him and finds the request unknown.  A report of an earlier sending (another name of the partner's) is of nothing any more. */
static const char told_sql[] =
	"WITH f AS (SELECT o.id, o.state, o.steps, coalesce(o.external_id <> $2, false) AS older FROM outbound_requests o"
	" WHERE o.integration_id = $1 AND (o.id = $3 OR o.external_id = $2)"
	" ORDER BY o.external_id = $2 DESC NULLS LAST, o.id DESC LIMIT 1 FOR UPDATE),"
	" a AS (UPDATE notification_attempts a SET delivery = CASE WHEN a.delivery IN ('delivered', 'failed') THEN"
	" a.delivery ELSE $4 END, delivery_reason = CASE WHEN a.delivery IN ('delivered', 'failed') THEN"
	" a.delivery_reason ELSE $5 END, delivery_at = CASE WHEN a.delivery IN ('delivered', 'failed') THEN"
	" a.delivery_at ELSE to_timestamp($6::int8 / 1e6) END FROM f WHERE f.id = a.request_id AND NOT f.older"
	" RETURNING a.request_id, a.notification_id, a.attempt),"
	" b AS (SELECT a.request_id FROM a JOIN notifications n ON n.id = a.notification_id WHERE $4 = 'failed' AND"
	" n.attempt = a.attempt AND n.attempt < n.attempts AND n.state IN ('sending', 'sent')),"
	" o AS (UPDATE outbound_requests o SET tells = CASE WHEN b.request_id IS NULL THEN o.tells ELSE 'bounce' END,"
	" external_id = coalesce(o.external_id, $2) FROM f LEFT JOIN b ON b.request_id = f.id WHERE o.id = f.id AND"
	" NOT f.older AND o.state IN ('running', 'done', 'unknown', 'pending') AND ((b.request_id IS NOT NULL AND"
	" o.state <> 'pending') OR (o.external_id IS NULL AND $2 IS NOT NULL))),"
	" s AS (UPDATE outbound_steps s SET how = 'told: ' || $4 || coalesce(', ' || $5, '') FROM f WHERE s.request_id = f.id"
	" AND f.steps = 1 AND NOT f.older AND s.kind = 'do' AND s.state IN ('sent', 'unknown') AND"
	" (s.how IS NULL OR s.how NOT LIKE ALL (ARRAY['told: delivered%', 'told: failed%'])))"
	" SELECT CASE WHEN state = 'unknown' AND NOT older THEN id END FROM f";

/* 0: it is none of ours. */
static int64_t request_of(const char *reference)
{
	size_t n = reference ? strspn(reference, "0123456789") : 0;

	return n > 0 && n <= 18 && !reference[n] ? strtoll(reference, NULL, 10) : 0;
}

int notification_told(struct pg *p, const struct notification_report *r, int64_t *unknown,
		      struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, r->integration_id);
	pg_text(&params, r->external_id);
	query_id(&params, request_of(r->reference));
	pg_text(&params, r->delivery);
	pg_text(&params, r->reason);
	pg_int(&params, r->at_us);
	rc = query_some(p, told_sql, &params, &res, err);
	*unknown = rc == 0 && pg_get(res, 0, 0) ? pg_get_int(res, 0, 0) : 0;
	PQclear(res);
	return rc;
}
