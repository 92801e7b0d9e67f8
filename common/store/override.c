#include <string.h>

#include "common/store/query.h"
#include "common/store/store.h"

static void params_of(struct pg_params *out, const struct limit_override *o,
		      const char *const *names, int n)
{
	struct pg_array list;

	pg_params_init(out);
	pg_array_init(&list, PG_TEXT);
	for (int i = 0; i < n; i++)
		pg_array_text(&list, names[i], strlen(names[i]));
	pg_text(out, o->partner);
	pg_array_param(out, &list);
	pg_int(out, o->window_ms);
	pg_text(out, o->scope);
}

int limit_override_put(struct pg *p, const struct limit_override *o, const char *const *names,
		       int n, struct err *err)
{
	struct pg_params params;

	params_of(&params, o, names, n);
	pg_int(&params, o->calls);
	query_id(&params, o->integration_id);
	return query(p,
		     "INSERT INTO limit_overrides (partner, name, window_ms, scope, calls,"
		     " integration_id) SELECT $1, name, $3, $4, $5, $6 FROM unnest($2::text[]) name"
		     " ON CONFLICT (partner, name, window_ms) DO UPDATE SET calls = excluded.calls,"
		     " scope = excluded.scope, integration_id = excluded.integration_id,"
		     " set_at = now()",
		     &params, NULL, err);
}

int limit_override_drop(struct pg *p, const struct limit_override *o, const char *const *names,
			int n, const char *prefix, struct err *err)
{
	struct pg_params params;

	params_of(&params, o, names, n);
	pg_text(&params, prefix);
	return query(p,
		     "DELETE FROM limit_overrides WHERE partner = $1 AND window_ms = $3"
		     " AND (name = ANY ($2) OR (scope = $4 AND starts_with(name, $5)))",
		     &params, NULL, err);
}
