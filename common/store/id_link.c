#include "common/store/id_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

/* $1 integration, $2 old id, $3 new id, $4 observed (unix us), $5 run, $6 source; of the link alone $7 table. */
#define OBSERVED "(timestamptz 'epoch' + $4::int8 * interval '1 microsecond')"

static const char link_sql[] =
	"INSERT INTO id_links (integration_id, table_name, old_external_id, new_external_id, source,"
	" run_id) VALUES ($1, $7, $2, $3, $6, NULLIF($5::int8, 0)) ON CONFLICT DO NOTHING";

static void put_history(struct buf *b, enum row_table t, const char *what)
{
	struct buf from = BUF_INIT;

	buf_printf(&from, "w WHERE %s", row_history_on(t));
	row_history_put(b, t, from.data, what, "$6::text", "NULLIF($5::int8, 0)");
	buf_clear(&from);
}

/* Of a row that is split a second mark is none: replaced_by is the first. */
static char *mark_sql(const struct id_link *l)
{
	struct buf b = BUF_INIT;

	buf_printf(
		&b,
		"WITH w AS (UPDATE %s r SET replaced_by = $3::text, deleted_at = coalesce(r.deleted_at, now()),"
		" observed_at = greatest(r.observed_at, " OBSERVED "), version = r.version + 1,"
		" changed_at = now(), change = jsonb_build_object('replaced_by',"
		" jsonb_build_array(r.replaced_by, $3::text)) || CASE WHEN r.deleted_at IS NULL THEN"
		" jsonb_build_object('deleted_at', jsonb_build_array(NULL, now())) ELSE '{}' END"
		" WHERE integration_id = $1::int8 AND external_id = $2::text AND %s RETURNING r.*)",
		row_table_name(l->table),
		l->split ? "r.replaced_by IS NULL" : "r.replaced_by IS DISTINCT FROM $3::text");
	put_history(&b, l->table, "'replaced'");
	buf_puts(&b, " SELECT count(*) FROM w");
	return buf_detach(&b);
}

/* By key, as all who write: no deadlock with a batch. */
static char *children_sql(enum row_table t)
{
	struct buf b = BUF_INIT;
	const char *name = row_table_name(t);

	buf_printf(
		&b,
		"WITH o AS MATERIALIZED (SELECT integration_id, external_id FROM %s WHERE integration_id = $1::int8 AND"
		" resource_external_id = $2::text ORDER BY integration_id, external_id FOR UPDATE),"
		" w AS (UPDATE %s r SET resource_external_id = $3::text, version = r.version + 1,"
		" changed_at = now(), change = jsonb_build_object('resource_external_id',"
		" jsonb_build_array($2::text, $3::text)) FROM o WHERE r.integration_id = $1::int8 AND"
		" r.external_id = o.external_id AND r.resource_external_id = $2::text RETURNING r.*)",
		name, name);
	put_history(&b, t, "'moved'");
	buf_puts(&b, " SELECT count(*) FROM w");
	return buf_detach(&b);
}

static void fill(struct pg_params *p, const struct id_link *l)
{
	pg_params_init(p);
	pg_int(p, l->integration_id);
	pg_text(p, l->old_id);
	pg_text(p, l->new_id);
	pg_int(p, l->observed_us);
	pg_int(p, l->origin.run_id);
	pg_text(p, row_source_name(l->origin.source ? l->origin.source : ROW_LINK));
}

int id_link_put(struct pg *p, const struct id_link *l, struct id_link_result *out, struct err *err)
{
	char *mark, *transactions, *media;
	struct pg_params link, params;
	PGresult *res[4] = { NULL };
	bool follow = l->table == ROW_RESOURCES && !l->split;
	int rc;

	if (!*l->old_id || !*l->new_id || strcmp(l->old_id, l->new_id) == 0)
		return err_set(err, -EINVAL, ERR_DATA, "id",
			       "\"%.80s\" cannot have become \"%.80s\"", l->old_id, l->new_id);
	mark = mark_sql(l);
	transactions = children_sql(ROW_TRANSACTIONS);
	media = children_sql(ROW_MEDIA);
	fill(&params, l);
	fill(&link, l);
	pg_text(&link, row_table_name(l->table));
	struct pg_statement st[4] = { { link_sql, &link },
				      { mark, &params },
				      { transactions, &params },
				      { media, &params } };
	rc = pg_exec_all(p, st, follow ? 4 : 2, res, query_deadline(), err);
	pg_params_clear(&link);
	pg_params_clear(&params);
	if (rc == 0) {
		out->marked = pg_get_int(res[1], 0, 0);
		out->children = follow ? pg_get_int(res[2], 0, 0) + pg_get_int(res[3], 0, 0) : 0;
	}
	for (int i = 0; i < 4; i++)
		PQclear(res[i]);
	free(mark);
	free(transactions);
	free(media);
	return rc;
}

static char *missing_sql(enum row_table t)
{
	const char *name = row_table_name(t);

	return mem_printf(
		"SELECT NOT (EXISTS (SELECT FROM id_links l WHERE l.integration_id = $1 AND l.table_name = '%s'"
		" AND l.old_external_id = f.was COLLATE \"C\" AND l.new_external_id = f.became COLLATE \"C\")"
		" AND EXISTS (SELECT FROM %s r WHERE r.integration_id = $1 AND r.external_id = f.was"
		" AND r.replaced_by IS NOT NULL)) FROM unnest($2::text[], $3::text[]) WITH ORDINALITY"
		" AS f (was, became, place) ORDER BY f.place",
		name, name);
}

int id_links_missing(struct pg *p, const struct id_link *v, int n, bool *missing, struct err *err)
{
	char *sql = missing_sql(v[0].table);
	struct pg_params params;
	struct pg_array from, to;
	PGresult *res = NULL;
	int rc;

	pg_array_init(&from, PG_TEXT);
	pg_array_init(&to, PG_TEXT);
	for (int i = 0; i < n; i++) {
		pg_array_text(&from, v[i].old_id, strlen(v[i].old_id));
		pg_array_text(&to, v[i].new_id, strlen(v[i].new_id));
	}
	pg_params_init(&params);
	pg_int(&params, v[0].integration_id);
	pg_array_param(&params, &from);
	pg_array_param(&params, &to);
	rc = query_some(p, sql, &params, &res, err);
	for (int i = 0; rc == 0 && i < n; i++)
		missing[i] = query_bool(res, i, 0);
	PQclear(res);
	free(sql);
	return rc;
}
