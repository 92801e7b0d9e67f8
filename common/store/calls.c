/* What Postgres knows of calls that were made lately. */
#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

int calls_lately(struct pg *p, const char *partner, const int64_t *windows_ms, int n,
		 struct calls_known **out, int *n_out, struct err *err)
{
	struct pg_params params;
	struct pg_array windows;
	PGresult *res = NULL;
	struct calls_known *v;
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_array_init(&windows, PG_INT8);
	for (int i = 0; i < n; i++)
		pg_array_int8(&windows, windows_ms[i]);
	pg_array_param(&params, &windows);
	/* A run counts whole if it went on within the window; none goes on for a day. */
	rc = query(p,
		   "SELECT r.integration_id, w, sum(r.calls)::int8 FROM unnest($2::int8[]) w"
		   " JOIN runs r ON r.started_at > now() - make_interval(secs => w / 1000.0)"
		   " - interval '1 day'"
		   " AND r.updated_at > now() - make_interval(secs => w / 1000.0)"
		   " JOIN integrations i ON i.id = r.integration_id AND i.partner = $1"
		   " GROUP BY 1, 2 HAVING sum(r.calls) > 0 ORDER BY 1",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	v = mem_alloc(sizeof(*v) * (size_t)(PQntuples(res) + 1));
	for (int i = 0; i < PQntuples(res); i++)
		v[i] = (struct calls_known){ pg_get_int(res, i, 0), pg_get_int(res, i, 1),
					     pg_get_int(res, i, 2) };
	*n_out = PQntuples(res);
	*out = v;
	PQclear(res);
	return 0;
}
