/* Where partners were told to send webhooks. */
#include <stdlib.h>

#include "common/store/query.h"
#include "common/store/webhook.h"

#define COLUMNS                                                              \
	"w.integration_id, w.callback_url, w.webhook_id, w.state, w.reason," \
	" (extract(epoch FROM w.registered_at) * 1000)::int8,"               \
	" (extract(epoch FROM w.checked_at) * 1000)::int8,"                  \
	" (extract(epoch FROM w.check_after) * 1000)::int8"

void webhook_registration_clear(struct webhook_registration *r)
{
	free(r->callback_url);
	free(r->webhook_id);
	free(r->state);
	free(r->reason);
	*r = (struct webhook_registration){ 0 };
}

static void read_row(const PGresult *res, int row, struct webhook_registration *out)
{
	*out = (struct webhook_registration){
		.integration_id = pg_get_int(res, row, 0),
		.callback_url = query_dup(res, row, 1),
		.webhook_id = query_dup(res, row, 2),
		.state = query_dup(res, row, 3),
		.reason = query_dup(res, row, 4),
		.registered_ms = pg_get_int(res, row, 5),
		.checked_ms = pg_get_int(res, row, 6),
		.check_after_ms = pg_get_int(res, row, 7),
	};
}

int webhook_registration_get(struct pg *p, int64_t integration_id, struct webhook_registration *out,
			     struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query_some(p,
			"SELECT " COLUMNS
			" FROM webhook_registrations w WHERE w.integration_id = $1",
			&params, &res, err);
	if (rc < 0)
		return rc;
	read_row(res, 0, out);
	PQclear(res);
	return 0;
}

/* How often it is imported by the clock goes by whether webhooks come. */
#define STALE                                                                                 \
	"WITH stale AS (UPDATE import_schedules SET plan = NULL, version = version + 1 WHERE" \
	" integration_id = $1) "

int webhook_registration_put(struct pg *p, int64_t integration_id, const char *callback_url,
			     const char *webhook_id, const char *state, const char *reason,
			     int64_t again_in_ms, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, callback_url);
	pg_text(&params, webhook_id);
	pg_text(&params, state);
	pg_text(&params, reason);
	pg_int(&params, again_in_ms);
	return query(
		p,
		STALE
		"INSERT INTO webhook_registrations AS w (integration_id, callback_url, webhook_id, state,"
		" reason, registered_at, checked_at, check_after) VALUES ($1, $2, $3, $4, $5,"
		" CASE WHEN $4 = 'registered' THEN now() END, now(), now() + $6::int8 * interval '1 ms')"
		" ON CONFLICT (integration_id) DO UPDATE SET callback_url = excluded.callback_url,"
		" webhook_id = excluded.webhook_id, state = excluded.state, reason = excluded.reason,"
		" registered_at = CASE WHEN w.webhook_id IS NOT DISTINCT FROM excluded.webhook_id AND"
		" w.callback_url = excluded.callback_url THEN coalesce(w.registered_at,"
		" excluded.registered_at) ELSE excluded.registered_at END,"
		" checked_at = excluded.checked_at, check_after = excluded.check_after",
		&params, NULL, err);
}

int webhook_registration_drop(struct pg *p, int64_t integration_id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	return query_some(p, STALE "DELETE FROM webhook_registrations WHERE integration_id = $1",
			  &params, NULL, err);
}

int webhook_registration_each(struct pg *p, const char *partner, bool due,
			      webhook_registration_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_bool(&params, due);
	rc = query(p,
		   "SELECT " COLUMNS ", i.partner FROM webhook_registrations w"
		   " JOIN integrations i ON i.id = w.integration_id"
		   " WHERE ($1::text IS NULL OR i.partner = $1) AND"
		   " (NOT $2 OR (w.check_after <= now() AND i.status = 'active'))"
		   " ORDER BY w.integration_id LIMIT CASE WHEN $2 THEN 100 END",
		   &params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		struct webhook_registration r;

		read_row(res, i, &r);
		fn(&r, pg_get(res, i, 8), arg);
		webhook_registration_clear(&r);
	}
	PQclear(res);
	return rc;
}
