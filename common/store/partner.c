#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/schedule.h"
#include "common/store/store.h"

void partner_state_clear(struct partner_state *s)
{
	free(s->pause_reason);
	free(s->over);
	for (int i = 0; i < s->n_homes; i++) {
		free(s->homes[i].environment);
		free(s->homes[i].base_url);
	}
	free(s->homes);
	for (int i = 0; i < s->n_limits; i++)
		free(s->limits[i].name);
	free(s->limits);
	*s = (struct partner_state){ 0 };
}

static const char ensure_sql[] =
	"INSERT INTO partner_states (partner) VALUES ($1) ON CONFLICT DO NOTHING";
static const char state_sql[] =
	"SELECT generation, paused, pause_reason FROM partner_states WHERE partner = $1";
/* in_flight was checked to be a number when it was set; one that is none counts as not given. */
static const char over_sql[] =
	"SELECT id, CASE WHEN status <> 'active' THEN 0 ELSE"
	" least((settings->>'in_flight')::numeric, 1000000)::int END"
	" FROM integrations WHERE partner = $1"
	" AND (status <> 'active' OR settings->>'in_flight' ~ '^[0-9]{1,9}$') ORDER BY id";

static const char homes_sql[] =
	"SELECT id, environment, base_url FROM integrations WHERE partner = $1"
	" AND (base_url IS NOT NULL OR environment <> 'production') ORDER BY id";

static const char limits_sql[] =
	"SELECT name, window_ms, calls FROM limit_overrides WHERE partner = $1 ORDER BY name, window_ms";

static void read_limits(const PGresult *r, struct partner_state *out)
{
	out->n_limits = PQntuples(r);
	out->limits = mem_alloc(sizeof(*out->limits) * (size_t)(out->n_limits + 1));
	for (int i = 0; i < out->n_limits; i++) {
		out->limits[i].name = query_dup(r, i, 0);
		out->limits[i].window_ms = pg_get_int(r, i, 1);
		out->limits[i].calls = pg_get_int(r, i, 2);
	}
}

static void read_homes(const PGresult *r, struct partner_state *out)
{
	out->n_homes = PQntuples(r);
	out->homes = mem_alloc(sizeof(*out->homes) * (size_t)(out->n_homes + 1));
	for (int i = 0; i < out->n_homes; i++) {
		out->homes[i].integration = pg_get_int(r, i, 0);
		out->homes[i].environment = query_dup(r, i, 1);
		out->homes[i].base_url = query_dup(r, i, 2);
	}
}

static void read_over(const PGresult *r, struct partner_state *out)
{
	out->n_over = PQntuples(r);
	out->over = mem_alloc(sizeof(*out->over) * (size_t)(out->n_over + 1));
	for (int i = 0; i < out->n_over; i++) {
		out->over[i].integration = pg_get_int(r, i, 0);
		out->over[i].cap = (int)pg_get_int(r, i, 1);
	}
}

int partner_state_get(struct pg *p, const char *partner, struct partner_state *out, struct err *err)
{
	struct pg_params params;
	struct pg_statement st[5] = { { ensure_sql, &params },
				      { state_sql, &params },
				      { over_sql, &params },
				      { homes_sql, &params },
				      { limits_sql, &params } };
	PGresult *res[5] = { NULL, NULL, NULL, NULL, NULL };
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	rc = pg_exec_all(p, st, 5, res, query_deadline(), err);
	pg_params_clear(&params);
	if (rc == 0) {
		*out = (struct partner_state){
			.generation = pg_get_int(res[1], 0, 0),
			.paused = query_bool(res[1], 0, 1),
			.pause_reason = query_dup(res[1], 0, 2),
		};
		read_over(res[2], out);
		read_homes(res[3], out);
		read_limits(res[4], out);
	}
	for (int i = 0; i < 5; i++)
		PQclear(res[i]);
	return rc;
}

int partner_pause_get(struct pg *p, const char *partner, char **reason, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	*reason = NULL;
	pg_params_init(&params);
	pg_text(&params, partner);
	rc = query(
		p,
		"SELECT coalesce(pause_reason, '') FROM partner_states WHERE partner = $1 AND paused",
		&params, &res, err);
	if (rc < 0)
		return rc;
	if (PQntuples(res))
		*reason = query_dup(res, 0, 0);
	PQclear(res);
	return 0;
}

int partner_bump_generation(struct pg *p, const char *partner, int64_t *generation, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	rc = query(p,
		   "INSERT INTO partner_states AS s (partner, generation) VALUES ($1, 2)"
		   " ON CONFLICT (partner) DO UPDATE SET generation = s.generation + 1 RETURNING"
		   " generation",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	*generation = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}
