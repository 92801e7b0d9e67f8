#include "common/store/fresh.h"

#include "common/store/query.h"

int run_newer_exists(struct pg *p, int64_t integration_id, const char *task, const char *mode,
		     int64_t after_ms, bool *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, task);
	pg_text(&params, mode);
	pg_int(&params, after_ms);
	/* A run with a collection was for some parents only. */
	int rc = query(p,
		       "SELECT EXISTS (SELECT FROM runs WHERE integration_id = $1 AND task = $2"
		       " AND mode = $3 AND state = 'done' AND collection IS NULL"
		       " AND started_at > to_timestamp($4 / 1000.0))::int",
		       &params, &res, err);
	if (rc < 0)
		return rc;
	*out = pg_get_int(res, 0, 0) == 1;
	PQclear(res);
	return 0;
}

int resumed_ms(struct pg *p, const char *partner, int64_t integration_id, const char *host,
	       int64_t *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_int(&params, integration_id);
	pg_text(&params, host);
	int rc = query(
		p,
		"SELECT (extract(epoch FROM greatest("
		"(SELECT paused_at FROM partner_states WHERE partner = $1),"
		" (SELECT status_since FROM integrations WHERE id = $2),"
		" (SELECT coalesce(resolved_at, now()) FROM alerts WHERE kind = 'breaker_open'"
		" AND scope = $1 || ' ' || $3))) * 1000)::int8",
		&params, &res, err);
	if (rc < 0)
		return rc;
	*out = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}
