#include "common/store/query.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/io/loop.h"

int64_t query_deadline(void)
{
	return loop_now_ms() + QUERY_TIMEOUT_MS;
}

int query(struct pg *p, const char *sql, struct pg_params *params, PGresult **res, struct err *err)
{
	int rc = pg_exec(p, sql, params, res, query_deadline(), err);

	if (params)
		pg_params_clear(params);
	return rc;
}

/* An UPDATE without RETURNING has no tuples, only a count. */
static bool is_empty(PGresult *r)
{
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		return PQntuples(r) == 0;
	return strtoll(PQcmdTuples(r), NULL, 10) == 0;
}

int query_some(struct pg *p, const char *sql, struct pg_params *params, PGresult **res,
	       struct err *err)
{
	PGresult *r = NULL;
	int rc = query(p, sql, params, &r, err);

	if (rc == 0 && is_empty(r))
		rc = -ENOENT;
	if (rc == 0 && res)
		*res = r;
	else
		PQclear(r);
	return rc;
}

char *query_dup(const PGresult *r, int row, int col)
{
	const char *s = pg_get(r, row, col);

	return s ? mem_strdup(s) : NULL;
}

void query_id(struct pg_params *p, int64_t id)
{
	if (id)
		pg_int(p, id);
	else
		pg_null(p);
}
