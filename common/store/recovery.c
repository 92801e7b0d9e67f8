#include "common/store/query.h"
#include "common/store/store.h"

int recovery_each(struct pg *p, recovery_fn fn, void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p,
		       "SELECT partner, lane, strategy, coalesce(over, 0), since IS NOT NULL,"
		       " coalesce((extract(epoch FROM since) * 1000)::int8, 0),"
		       " coalesce((extract(epoch FROM ended_at) * 1000)::int8, 0), deepest, shed,"
		       " fresh FROM queue_recoveries ORDER BY partner, lane",
		       NULL, &res, err);

	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		struct recovery r = { .partner = pg_get(res, i, 0),
				      .lane = pg_get(res, i, 1),
				      .strategy = pg_get(res, i, 2),
				      .over = pg_get_int(res, i, 3),
				      .under_way = query_bool(res, i, 4),
				      .since_ms = pg_get_int(res, i, 5),
				      .ended_ms = pg_get_int(res, i, 6),
				      .deepest = pg_get_int(res, i, 7),
				      .shed = pg_get_int(res, i, 8),
				      .fresh = pg_get_int(res, i, 9) };
		fn(&r, arg);
	}
	PQclear(res);
	return 0;
}

static void put_place(struct pg_params *params, const char *partner, const char *lane)
{
	pg_params_init(params);
	pg_text(params, partner);
	pg_text(params, lane);
}

int recovery_set(struct pg *p, const char *partner, const char *lane, const char *strategy,
		 int64_t over, struct err *err)
{
	struct pg_params params;

	put_place(&params, partner, lane);
	pg_text(&params, strategy);
	query_id(&params, over);
	return query(p,
		     "INSERT INTO queue_recoveries (partner, lane, strategy, over) VALUES ($1, $2,"
		     " $3, $4) ON CONFLICT (partner, lane) DO UPDATE SET strategy ="
		     " excluded.strategy, over = excluded.over",
		     &params, NULL, err);
}

int recovery_begin(struct pg *p, const char *partner, const char *lane, int64_t depth,
		   struct err *err)
{
	struct pg_params params;

	put_place(&params, partner, lane);
	pg_int(&params, depth);
	return query(p,
		     "INSERT INTO queue_recoveries AS r (partner, lane, since, deepest) VALUES"
		     " ($1, $2, now(), $3) ON CONFLICT (partner, lane) DO UPDATE SET since ="
		     " now(), ended_at = NULL, deepest = excluded.deepest, shed = 0, fresh = 0"
		     " WHERE r.since IS NULL",
		     &params, NULL, err);
}

int recovery_add(struct pg *p, const char *partner, const char *lane, int64_t depth, int64_t shed,
		 int64_t fresh, struct err *err)
{
	struct pg_params params;

	put_place(&params, partner, lane);
	pg_int(&params, depth);
	pg_int(&params, shed);
	pg_int(&params, fresh);
	return query(p,
		     "UPDATE queue_recoveries SET deepest = greatest(deepest, $3), shed = shed +"
		     " $4, fresh = fresh + $5 WHERE partner = $1 AND lane = $2",
		     &params, NULL, err);
}

int recovery_end(struct pg *p, const char *partner, const char *lane, struct err *err)
{
	struct pg_params params;

	put_place(&params, partner, lane);
	return query(p,
		     "UPDATE queue_recoveries SET since = NULL, ended_at = now() WHERE partner ="
		     " $1 AND lane = $2 AND since IS NOT NULL",
		     &params, NULL, err);
}
