#include "common/store/query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/io/loop.h"

#define JSON_MAX_BYTES (64 * 1024 * 1024) /* no answer is longer */

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

int query_open(struct pg *p, const char *sql, struct pg_params *params, bool *was_open,
	       struct err *err)
{
	int rc = query_some(p, sql, params, NULL, err);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	*was_open = rc == 0;
	return 0;
}

int query_no_integration(int rc, int64_t id, struct err *err)
{
	if (rc != -ENOENT)
		return rc;
	return err_set(err, rc, ERR_BAD_JOB, "integration", "no integration %lld", (long long)id);
}

int query_stale_claim(int rc, struct err *err)
{
	if (rc != -ENOENT)
		return rc;
	return err_set(err, -ESTALE, ERR_CANCELLED, "fence",
		       "a newer claim of this request goes on with it");
}

int query_pairs(struct pg *p, const char *sql, struct pg_params *params, query_pair_fn fn,
		void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, sql, params, &res, err);

	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get_int(res, i, 1), arg);
	PQclear(res);
	return rc;
}

bool query_bool(const PGresult *r, int row, int col)
{
	const char *s = pg_get(r, row, col);

	return s && *s == 't';
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

void query_add_text(struct pg_array *a, const char *s)
{
	struct buf safe = BUF_INIT;

	if (!s) {
		pg_array_null(a);
		return;
	}
	if (secret_in(s, strlen(s))) {
		buf_puts(&safe, s);
		secret_redact(&safe);
		s = buf_str(&safe);
	}
	pg_array_text(a, s, strlen(s));
	buf_clear(&safe);
}

/* A secret that was a number leaves no JSON behind: then all of it is kept as a text. */
void query_add_json(struct pg_array *a, const char *s)
{
	struct buf safe = BUF_INIT, text = BUF_INIT;
	cJSON *tree = NULL;

	if (!s || !secret_in(s, strlen(s))) {
		query_add_text(a, s);
		return;
	}
	buf_puts(&safe, s);
	secret_redact(&safe);
	if (json_parse(buf_str(&safe), safe.len, JSON_MAX_BYTES, &tree, NULL) < 0)
		json_quote(&text, buf_str(&safe), safe.len);
	else
		buf_append(&text, safe.data, safe.len);
	pg_array_text(a, buf_str(&text), text.len);
	cJSON_Delete(tree);
	buf_clear(&safe);
	buf_clear(&text);
}
