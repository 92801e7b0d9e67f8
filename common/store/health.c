#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

int health_counts(struct pg *p, health_fn fn, void *arg, struct err *err)
{
	return query_pairs(
		p,
		"SELECT health, count(*) FROM integration_health GROUP BY health ORDER BY health",
		NULL, fn, arg, err);
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
