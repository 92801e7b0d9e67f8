#include <stdlib.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

int catchup_owe(struct pg *p, const int64_t *ids, int n, struct err *err)
{
	struct pg_params params;
	struct pg_array a;

	if (n == 0)
		return 0;
	pg_array_init(&a, PG_INT8);
	for (int i = 0; i < n; i++)
		pg_array_int8(&a, ids[i]);
	pg_params_init(&params);
	pg_array_param(&params, &a);
	return query(p,
		     "UPDATE integrations SET catch_up_since = now() WHERE id = ANY($1) AND"
		     " catch_up_since IS NULL",
		     &params, NULL, err);
}

int catchup_owe_broken(struct pg *p, catchup_count_fn fn, void *arg, struct err *err)
{
	return query_pairs(
		p,
		"WITH broken AS (SELECT id, partner FROM integrations WHERE company_id IS"
		" NOT NULL AND status = 'auth_broken'), owed AS (UPDATE integrations SET"
		" catch_up_since = now() WHERE id IN (SELECT id FROM broken) AND"
		" catch_up_since IS NULL)"
		" SELECT partner, count(*) FROM broken GROUP BY 1 ORDER BY 1",
		NULL, fn, arg, err);
}

int catchup_due(struct pg *p, struct catchup **out, int *n, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(
		p,
		"SELECT id, partner, environment, base_url,"
		" (extract(epoch FROM catch_up_since) * 1000000)::int8 FROM integrations"
		" WHERE catch_up_since IS NOT NULL AND status = 'active' AND NOT EXISTS (SELECT FROM"
		" scheduling WHERE paused) ORDER BY id LIMIT 1000",
		NULL, &res, err);
	struct catchup *v;

	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	v = mem_zalloc(sizeof(*v) * (size_t)(*n + 1));
	for (int i = 0; i < *n; i++) {
		v[i].integration = pg_get_int(res, i, 0);
		v[i].partner = query_dup(res, i, 1);
		v[i].environment = query_dup(res, i, 2);
		v[i].base_url = query_dup(res, i, 3);
		v[i].since_us = pg_get_int(res, i, 4);
	}
	PQclear(res);
	*out = v;
	return 0;
}

void catchup_free(struct catchup *v, int n)
{
	for (int i = 0; i < n; i++) {
		free(v[i].partner);
		free(v[i].environment);
		free(v[i].base_url);
	}
	free(v);
}

/* One that is owed anew meanwhile stays owed. */
int catchup_paid(struct pg *p, const struct catchup *c, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, c->integration);
	pg_int(&params, c->since_us);
	return query(p,
		     "UPDATE integrations SET catch_up_since = NULL WHERE id = $1 AND"
		     " (extract(epoch FROM catch_up_since) * 1000000)::int8 = $2",
		     &params, NULL, err);
}
