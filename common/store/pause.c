/* Pauses at three levels: why, by whom, until when.  What is paused waits and is owed; nothing is lost. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/schedule.h"
#include "common/store/store.h"

#define LIST_MAX_BYTES (1024 * 1024)

/* reason, by, until from $2 on; NULLs to resume. */
static void pause_params(struct pg_params *params, const struct pause *pause)
{
	struct pg_array until;

	pg_text(params, pause ? pause->reason : NULL);
	pg_text(params, pause ? pause->by : NULL);
	pg_array_init(&until, PG_TIMESTAMPTZ);
	if (pause && pause->until_ms)
		pg_array_time_us(&until, pause->until_ms * 1000);
	else
		pg_array_null(&until);
	pg_array_param(params, &until);
}

int integration_pause(struct pg *p, int64_t id, const struct pause *pause, struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	pg_text(&params, pause ? "paused" : "active");
	pause_params(&params, pause);
	rc = query_some(p, INTEGRATION_STATUS("$4", "($5::timestamptz[])[1]"), &params, NULL, err);
	return query_no_integration(rc, id, err);
}

int partner_pause(struct pg *p, const char *partner, const struct pause *pause, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, partner);
	pause_params(&params, pause);
	pg_bool(&params, pause != NULL);
	return query(
		p,
		"INSERT INTO partner_states AS s (partner, paused, pause_reason, paused_by,"
		" paused_until, paused_at) VALUES ($1, $5, $2, $3, ($4::timestamptz[])[1],"
		" CASE WHEN $5 THEN now() END) ON CONFLICT (partner) DO UPDATE SET paused = $5,"
		" pause_reason = $2, paused_by = $3, paused_until = ($4::timestamptz[])[1],"
		" paused_at = CASE WHEN s.paused = $5 THEN s.paused_at ELSE now() END",
		&params, NULL, err);
}

int scheduling_pause(struct pg *p, const struct pause *pause, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_bool(&params, pause != NULL);
	pause_params(&params, pause);
	return query(p,
		     "UPDATE scheduling SET pause_reason = $2, paused_by = $3, paused_until ="
		     " ($4::timestamptz[])[1], paused_at = CASE WHEN paused = $1 THEN paused_at"
		     " ELSE now() END, paused = $1",
		     &params, NULL, err);
}

static int list(struct pg *p, const char *sql, struct pg_params *params, cJSON **out,
		struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, sql, params, &res, err);
	const char *text;

	if (rc < 0)
		return rc;
	text = PQntuples(res) ? pg_get(res, 0, 0) : NULL;
	if (!text || json_parse(text, strlen(text), LIST_MAX_BYTES, out, NULL) < 0)
		*out = NULL;
	PQclear(res);
	return 0;
}

int pauses_list(struct pg *p, int limit, cJSON **out, struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	pg_int(&params, limit);
	rc = list(p,
		  "SELECT json_agg(p) FROM (SELECT * FROM pauses ORDER BY integration_id NULLS"
		  " FIRST, partner NULLS FIRST LIMIT $1) p",
		  &params, out, err);
	if (rc == 0 && !*out)
		*out = cJSON_CreateArray();
	return rc;
}

int pause_of(struct pg *p, int64_t integration, cJSON **out, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration);
	return list(p,
		    "SELECT to_json(p) FROM pauses p, integrations i WHERE i.id = $1 AND"
		    " (p.integration_id = i.id OR p.level = 'partner' AND p.partner = i.partner OR"
		    " p.level = 'scheduling') ORDER BY p.level = 'scheduling', p.level LIMIT 1",
		    &params, out, err);
}

int pauses_lift(struct pg *p, lifted_fn fn, void *arg, struct err *err)
{
	return query_pairs(
		p,
		"WITH a AS (UPDATE integrations SET status = 'active', status_reason = NULL,"
		" status_since = now(), paused_by = NULL, paused_until = NULL WHERE status ="
		" 'paused' AND paused_until <= now() RETURNING partner, id), b AS (UPDATE"
		" partner_states SET paused = false, pause_reason = NULL, paused_at = now(),"
		" paused_by = NULL, paused_until = NULL WHERE paused AND paused_until <= now()"
		" RETURNING partner), c AS (UPDATE scheduling SET paused = false, pause_reason ="
		" NULL, paused_at = now(), paused_by = NULL, paused_until = NULL WHERE paused AND"
		" paused_until <= now() RETURNING one) SELECT partner, id FROM a UNION ALL SELECT"
		" partner, 0 FROM b UNION ALL SELECT NULL, 0 FROM c",
		NULL, fn, arg, err);
}
