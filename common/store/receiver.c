#include "common/store/receiver.h"

#include <errno.h>
#include <stdio.h>

#define CONTEXT_MAX 48

#define SELECT_RECEIVERS                                                                \
	"SELECT i.id, i.partner, i.settings, c.sealed,"                                 \
	" CASE WHEN c.rotated_at > now() - interval '1 day' THEN c.previous_sealed END" \
	" FROM integrations i LEFT JOIN credentials c ON c.integration_id = i.id"

static int each(struct pg *p, const char *sql, struct pg_params *params, receiver_fn fn, void *arg,
		int64_t deadline_ms, struct err *err)
{
	PGresult *res = NULL;
	int rc = pg_exec(p, sql, params, &res, deadline_ms, err);

	pg_params_clear(params);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		struct receiver r = { .id = pg_get_int(res, i, 0),
				      .partner = pg_get(res, i, 1),
				      .settings = pg_get(res, i, 2),
				      .sealed = pg_get(res, i, 3),
				      .previous = pg_get(res, i, 4) };

		fn(&r, arg);
	}
	PQclear(res);
	return 0;
}

int receivers_by_id(struct pg *p, const int64_t *ids, int n, receiver_fn fn, void *arg,
		    int64_t deadline_ms, struct err *err)
{
	struct pg_params params;
	struct pg_array list;

	pg_array_init(&list, PG_INT8);
	for (int i = 0; i < n; i++)
		pg_array_int8(&list, ids[i]);
	pg_params_init(&params);
	pg_array_param(&params, &list);
	return each(p, SELECT_RECEIVERS " WHERE i.id = ANY($1)", &params, fn, arg, deadline_ms,
		    err);
}

int receivers_of_app(struct pg *p, const char *partner, receiver_fn fn, void *arg,
		     int64_t deadline_ms, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, partner);
	return each(p,
		    SELECT_RECEIVERS
		    " WHERE i.partner = $1 AND i.company_id IS NULL ORDER BY i.id DESC LIMIT 4",
		    &params, fn, arg, deadline_ms, err);
}

int receivers_with(struct pg *p, const char *partner, const char *setting, const char *value,
		   receiver_fn fn, void *arg, int64_t deadline_ms, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_text(&params, setting);
	pg_text(&params, value);
	pg_int(&params, RECEIVERS_SHARED);
	return each(p,
		    "SELECT id, partner, NULL, NULL, NULL FROM integrations WHERE partner = $1 AND"
		    " company_id IS NOT NULL AND settings->>($2::text) = $3 ORDER BY id LIMIT $4",
		    &params, fn, arg, deadline_ms, err);
}

int receiver_open(const struct keyring *k, int64_t id, const char *sealed, struct secret *json)
{
	char context[CONTEXT_MAX];

	if (!k)
		return -ENOKEY;
	snprintf(context, sizeof(context), "credential:%lld", (long long)id);
	return crypto_open(k, context, sealed, json);
}
