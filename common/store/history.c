#include "common/store/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/query.h"

const char *history_sql(void)
{
	return "SELECT table_name, enabled::int FROM history_settings";
}

void history_read(const PGresult *res, bool on[ROW_TABLES])
{
	enum row_table t;

	for (int i = 0; i < PQntuples(res); i++)
		if (row_table_parse(pg_get(res, i, 0), &t) == 0)
			on[t] = pg_get_int(res, i, 1);
}

/* The months are read from the partitions' names, the figures from what vacuum last saw. */
static const char each_sql[] =
	"SELECT s.table_name, s.enabled::int, s.keep_days,"
	" (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_partition_tree("
	"  to_regclass(CASE s.table_name WHEN 'media' THEN 'media' ELSE rtrim(s.table_name, 's') END || '_changes')) p"
	"  JOIN pg_class c ON c.oid = p.relid WHERE p.isleaf),"
	" (SELECT min(to_date(right(c.relname, 7), 'YYYY\"m\"MM'))::text FROM pg_partition_tree("
	"  to_regclass(CASE s.table_name WHEN 'media' THEN 'media' ELSE rtrim(s.table_name, 's') END || '_changes')) p"
	"  JOIN pg_class c ON c.oid = p.relid WHERE c.relname ~ '_y[0-9]{4}m[0-9]{2}$')"
	" FROM history_settings s ORDER BY array_position(ARRAY['resources', 'transactions', 'media'], s.table_name)";

int history_each(struct pg *p, void (*fn)(const struct history_setting *h, void *arg), void *arg,
		 struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, each_sql, NULL, &res, err);

	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		struct history_setting h = { .on = pg_get_int(res, i, 1),
					     .keep_days = pg_get_int(res, i, 2),
					     .changes = pg_get_int(res, i, 3),
					     .since = pg_get(res, i, 4) };

		if (row_table_parse(pg_get(res, i, 0), &h.table) == 0)
			fn(&h, arg);
	}
	PQclear(res);
	return 0;
}

int history_set(struct pg *p, enum row_table t, int on, int64_t keep_days, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, row_table_name(t));
	if (on < 0)
		pg_null(&params);
	else
		pg_bool(&params, on);
	query_id(&params, keep_days);
	return query(
		p,
		"INSERT INTO history_settings AS s (table_name, enabled, keep_days)"
		" VALUES ($1, coalesce($2::bool, false), coalesce($3::int8, 400))"
		" ON CONFLICT (table_name) DO UPDATE SET enabled = coalesce($2::bool, s.enabled),"
		" keep_days = coalesce($3::int8, s.keep_days), changed_at = now()",
		&params, NULL, err);
}

int history_keep(struct pg *p, void (*fn)(const char *partition, const char *done, void *arg),
		 void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, "SELECT part, done FROM history_keep()", NULL, &res, err);

	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get(res, i, 1), arg);
	PQclear(res);
	return 0;
}
