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
		" $4, $5)"
		" ON CONFLICT (kind, scope) DO UPDATE SET severity = excluded.severity, what ="
		" excluded.what,"
		" todo = excluded.todo, state = 'open', last_seen = now(), resolved_at = NULL,"
		" since = CASE a.state WHEN 'open' THEN a.since ELSE now() END,"
		" count = CASE a.state WHEN 'open' THEN a.count + 1 ELSE 1 END",
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
