#include <errno.h>
#include <string.h>

#include "common/store/query.h"
#include "common/store/store.h"

/* Refused because an id could not be told from it. */
static bool is_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

int company_add(struct pg *p, const char *name, int64_t *id, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	if (!*name || is_number(name))
		return err_set(err, -EINVAL, ERR_CLIENT, "company name",
			       "a company's name can be neither empty nor a number, got \"%s\"",
			       name);
	pg_params_init(&params);
	pg_text(&params, name);
	rc = query_some(p,
			"INSERT INTO companies (name) SELECT $1 WHERE NOT EXISTS"
			" (SELECT FROM companies WHERE name = $1)"
			" ON CONFLICT (name) DO NOTHING RETURNING id",
			&params, &res, err);
	if (rc == -ENOENT)
		return err_set(err, -EEXIST, ERR_CLIENT, "company name",
			       "there is a company \"%s\" already", name);
	if (rc < 0)
		return rc;
	*id = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

int company_find(struct pg *p, const char *company, int64_t *id, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, company);
	/* An id too big for a bigint is no company's. */
	rc = query_some(p,
			is_number(company)
				? "SELECT id FROM companies WHERE id::text = ltrim($1::text, '0')"
				: "SELECT id FROM companies WHERE name = $1",
			&params, &res, err);
	if (rc == -ENOENT)
		return err_set(err, -ENOENT, ERR_CLIENT, "company", "no company \"%s\"", company);
	if (rc < 0)
		return rc;
	*id = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

int company_each(struct pg *p, company_fn fn, void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(
		p,
		"SELECT c.id, c.name, count(i.id), (extract(epoch FROM c.created_at) * 1000)::int8"
		" FROM companies c LEFT JOIN integrations i ON i.company_id = c.id GROUP BY c.id"
		" ORDER BY c.id",
		NULL, &res, err);

	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get_int(res, i, 0), pg_get(res, i, 1), pg_get_int(res, i, 2),
		   pg_get_int(res, i, 3), arg);
	PQclear(res);
	return 0;
}
