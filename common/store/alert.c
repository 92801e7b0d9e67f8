#include <errno.h>

#include "common/store/query.h"
#include "common/store/store.h"

int alert_raise(struct pg *p, const char *kind, const char *severity, const char *scope,
		const char *what, const char *todo, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, kind);
	pg_text(&params, severity);
	pg_text(&params, scope);
	pg_text(&params, what);
	pg_text(&params, todo);
	return query(
		p,
		"INSERT INTO alerts AS a (kind, severity, scope, what, todo) VALUES ($1, $2, $3,"
		" $4, $5)" ALERT_AGAIN,
		&params, NULL, err);
}

/* ---- what stands still until a person has read why ---- */

static void stop_params(struct pg_params *params, const struct stop *s)
{
	pg_text(params, s->kind);
	pg_text(params, s->scope);
	pg_text(params, s->what);
	pg_text(params, s->todo);
}

int integration_stop(struct pg *p, int64_t id, const char *status, const struct stop *s,
		     struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	pg_text(&params, status);
	pg_text(&params, s->reason);
	stop_params(&params, s);
	rc = query_some(
		p,
		"WITH i AS (" INTEGRATION_STATUS(
			"NULL",
			"NULL") " RETURNING id) INSERT INTO alerts AS a (kind,"
				" severity, scope, what, todo) SELECT $4, 'critical', $5, $6, $7 FROM i" ALERT_AGAIN,
		&params, NULL, err);
	return query_no_integration(rc, id, err);
}

int partner_stop(struct pg *p, const char *partner, const struct stop *s, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_text(&params, s->reason);
	stop_params(&params, s);
	return query(
		p,
		"WITH s AS (INSERT INTO partner_states AS s (partner, paused, pause_reason, paused_at)"
		" VALUES ($1, true, $2, now()) ON CONFLICT (partner) DO UPDATE SET paused = true,"
		" pause_reason = $2, paused_by = NULL, paused_until = NULL, paused_at = CASE WHEN"
		" s.paused THEN s.paused_at ELSE now() END RETURNING 1) INSERT INTO alerts AS a (kind,"
		" severity, scope, what, todo) SELECT $3, 'critical', $4, $5, $6 FROM s" ALERT_AGAIN,
		&params, NULL, err);
}

int alert_resolve_others(struct pg *p, const char *kind, struct pg_array *scopes, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, kind);
	pg_array_param(&params, scopes);
	return query(p,
		     "UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE kind = $1 AND"
		     " state = 'open' AND scope <> ALL ($2)",
		     &params, NULL, err);
}

int alert_resolve(struct pg *p, const char *kind, const char *scope, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, kind);
	pg_text(&params, scope);
	return query(p,
		     "UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE kind = $1 AND"
		     " scope = $2 AND state = 'open'",
		     &params, NULL, err);
}

int alert_each_open(struct pg *p, const char *kind, alert_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, kind);
	rc = query(p, "SELECT scope FROM alerts WHERE kind = $1 AND state = 'open' ORDER BY scope",
		   &params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		fn(PQgetvalue(res, i, 0), arg);
	PQclear(res);
	return rc;
}
