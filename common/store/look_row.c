#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/store.h"

#define ROW_JSON_MAX_BYTES (1024 * 1024)

int row_look(struct pg *p, enum row_table table, int64_t integration_id, const char *external_id,
	     cJSON **out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	char *sql = mem_printf(
		"SELECT to_jsonb(r) - '{extra,change,written}'::text[] FROM %s r WHERE integration_id = $1 AND"
		" external_id = $2 AND deleted_at IS NULL",
		row_table_name(table));
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, external_id);
	rc = query_some(p, sql, &params, &res, err);
	free(sql);
	if (rc < 0)
		return rc;
	rc = json_parse(PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0), ROW_JSON_MAX_BYTES,
			out, NULL);
	PQclear(res);
	return rc < 0 ? err_set(err, -EINVAL, ERR_INTERNAL, "row", "a row of %s is no JSON",
				row_table_name(table))
		      : 0;
}
