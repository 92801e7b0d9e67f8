#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

int health_counts(struct pg *p, health_fn fn, void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(
		p,
		"SELECT health, count(*) FROM integration_health GROUP BY health ORDER BY health",
		NULL, &res, err);

	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get_int(res, i, 1), arg);
	PQclear(res);
	return 0;
}

int health_get(struct pg *p, int64_t integration_id, char **health, char **why, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query_some(p,
			"SELECT health, coalesce(why, '') FROM integration_health WHERE"
			" integration_id = $1",
			&params, &res, err);
	if (rc < 0)
		return rc;
	*health = query_dup(res, 0, 0);
	*why = query_dup(res, 0, 1);
	PQclear(res);
	return 0;
}
