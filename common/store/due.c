#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

int companies_due(struct pg *p, int64_t after, int limit, int64_t **ids, int *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, after);
	pg_int(&params, limit);
	rc = query(p,
		   "SELECT DISTINCT company_id FROM integrations WHERE company_id > $1 AND"
		   " status = 'active' ORDER BY 1 LIMIT $2",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	*ids = mem_alloc(sizeof(**ids) * (size_t)(*n ? *n : 1));
	for (int i = 0; i < *n; i++)
		(*ids)[i] = pg_get_int(res, i, 0);
	PQclear(res);
	return 0;
}

int integrations_due(struct pg *p, int64_t company_id, const char *partner, int64_t after,
		     int64_t until, int limit, due_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, company_id);
	pg_text(&params, partner);
	pg_int(&params, after);
	pg_int(&params, until);
	pg_int(&params, limit);
	rc = query(p,
		   "SELECT id, partner FROM integrations WHERE company_id = $1 AND"
		   " ($2::text IS NULL OR partner = $2) AND id > $3 AND id <= $4 AND"
		   " status = 'active' ORDER BY id LIMIT $5",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get_int(res, i, 0), pg_get(res, i, 1), arg);
	PQclear(res);
	return 0;
}
