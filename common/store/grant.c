#include "common/store/grant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/store/query.h"

#define CONTEXT_MAX 48
#define SEEN_MAX "1000"

static const char *context_of(int64_t integration_id, char out[CONTEXT_MAX])
{
	snprintf(out, CONTEXT_MAX, "grant:%lld", (long long)integration_id);
	return out;
}

void grant_clear(struct grant *g)
{
	secret_clear(&g->pair);
	free(g->spending_by);
	*g = (struct grant){ 0 };
}

static int open_error(int rc, int64_t id, struct err *err)
{
	return err_set(err, rc, ERR_INTERNAL, "grant",
		       rc == -ENOKEY
			       ? "the tokens of integration %lld were encrypted with a key that"
				 " LONGSHORE_SECRET_KEY_FILE does not have"
			       : "the tokens of integration %lld do not open: they were altered, or"
				 " belong to another",
		       (long long)id);
}

int grant_generation(struct pg *p, int64_t integration_id, int64_t *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query_some(p, "SELECT generation FROM grants WHERE integration_id = $1", &params, &res,
			err);
	if (rc < 0)
		return rc;
	*out = pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

int grant_get(struct pg *p, const struct keyring *k, int64_t integration_id, struct grant *out,
	      struct err *err)
{
	struct pg_params params;
	char context[CONTEXT_MAX];
	PGresult *res = NULL;
	const char *sealed;
	struct grant g = { 0 };
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query_some(p,
			"SELECT generation, sealed, (extract(epoch FROM granted_at) * 1000)::int8,"
			" (extract(epoch FROM used_at) * 1000)::int8,"
			" coalesce((extract(epoch FROM lapses_at) * 1000)::int8, 0),"
			" coalesce((extract(epoch FROM spending_since) * 1000)::int8, 0), spends,"
			" (extract(epoch FROM now() - spending_since) * 1000)::int8, spending_by"
			" FROM grants WHERE integration_id = $1",
			&params, &res, err);
	if (rc < 0)
		return rc;
	sealed = pg_get(res, 0, 1);
	if (sealed)
		rc = k ? crypto_open(k, context_of(integration_id, context), sealed, &g.pair)
		       : -ENOKEY;
	if (rc == 0) {
		g.generation = pg_get_int(res, 0, 0);
		g.granted_ms = pg_get_int(res, 0, 2);
		g.used_ms = pg_get_int(res, 0, 3);
		g.lapses_ms = pg_get_int(res, 0, 4);
		g.spending_ms = pg_get_int(res, 0, 5);
		g.spends = (int)pg_get_int(res, 0, 6);
		g.spending_age_ms = pg_get_int(res, 0, 7);
		g.spending_by = query_dup(res, 0, 8);
		*out = g;
	}
	PQclear(res);
	return rc < 0 ? open_error(rc, integration_id, err) : 0;
}

static int stale(int rc, struct err *err)
{
	if (rc != -ENOENT)
		return rc;
	return err_set(err, -ESTALE, ERR_TRANSIENT, "grant",
		       "another worker has a newer pair of tokens by now");
}

int grant_spend(struct pg *p, int64_t integration_id, int64_t generation, const char *by,
		struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_int(&params, generation);
	pg_text(&params, by);
	return stale(
		query_some(
			p,
			"UPDATE grants SET spending_since = coalesce(spending_since, now()), spends = spends + 1,"
			" spending_by = $3,"
			" used_at = now() WHERE integration_id = $1 AND generation = $2",
			&params, NULL, err),
		err);
}

int grant_unspend(struct pg *p, int64_t integration_id, int64_t generation, bool maybe_spent,
		  struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_int(&params, generation);
	pg_int(&params, maybe_spent);
	return stale(
		query_some(
			p,
			"UPDATE grants SET spends = 0, spending_by = NULL, spending_since = CASE $3::int8 WHEN 0"
			" THEN NULL ELSE spending_since END"
			" WHERE integration_id = $1 AND generation = $2",
			&params, NULL, err),
		err);
}

/* Whoever remembers a token of another grant drops it. */
static const char anew_sql[] =
	"WITH told AS (UPDATE integrations SET credential_version = credential_version + 1 WHERE id ="
	" $1) INSERT INTO grants AS g (integration_id, generation, sealed, lapses_at)"
	" SELECT $1, 1, $3, now() + nullif($4, 0) * interval '1 ms' WHERE $2 < 0"
	" ON CONFLICT (integration_id) DO UPDATE SET generation = g.generation + 1,"
	" sealed = excluded.sealed, granted_at = now(), used_at = now(), lapses_at ="
	" excluded.lapses_at, spending_by = NULL, spending_since = NULL, spends = 0";
static const char next_sql[] =
	"UPDATE grants SET generation = generation + 1, sealed = $3, used_at = now(), lapses_at ="
	" coalesce(now() + nullif($4, 0) * interval '1 ms', lapses_at), spending_by = NULL, spending_since = NULL, spends"
	" = 0 WHERE integration_id = $1 AND generation = $2";

int grant_put(struct pg *p, const struct keyring *k, int64_t integration_id, int64_t generation,
	      const struct secret *pair, int64_t lapses_in_ms, struct err *err)
{
	struct buf sealed = BUF_INIT;
	struct pg_params params;
	char context[CONTEXT_MAX];
	int rc = k ? crypto_seal(k, context_of(integration_id, context), secret_reveal(pair),
				 pair->len, &sealed)
		   : -ENOKEY;

	if (rc < 0) {
		rc = err_set(err, rc, ERR_INTERNAL, "secret key",
			     "the tokens of integration %lld could not be encrypted",
			     (long long)integration_id);
	} else {
		pg_params_init(&params);
		pg_int(&params, integration_id);
		pg_int(&params, generation);
		pg_text(&params, sealed.data);
		pg_int(&params, lapses_in_ms);
		rc = stale(query_some(p, generation == GRANT_ANEW ? anew_sql : next_sql, &params,
				      NULL, err),
			   err);
	}
	buf_clear(&sealed);
	return rc;
}

int grant_touch(struct pg *p, int64_t integration_id, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	return query(p,
		     "INSERT INTO grants (integration_id) VALUES ($1)"
		     " ON CONFLICT (integration_id) DO UPDATE SET used_at = now()",
		     &params, NULL, err);
}

/* A key that nobody has used yet counts from when it was stored. */
static const char each_sql[] =
	"SELECT id, idle, lapses, company, paired FROM (SELECT i.id, coalesce(c.name, '') AS company,"
	" g.sealed IS NOT NULL AS paired, (extract(epoch FROM now() - greatest(g.used_at, CASE WHEN"
	" g.sealed IS NULL THEN greatest(k.updated_at, i.last_success_at) END)) * 1000)::int8 AS"
	" idle, (extract(epoch FROM g.lapses_at - now()) * 1000)::int8 AS lapses"
	" FROM integrations i LEFT JOIN companies c ON c.id = i.company_id"
	" LEFT JOIN grants g ON g.integration_id = i.id"
	" LEFT JOIN credentials k ON k.integration_id = i.id"
	" WHERE i.partner = $1 AND i.status <> 'auth_broken') AS all_of_them"
	" WHERE idle >= $2 OR lapses <= $3 ORDER BY id LIMIT " SEEN_MAX;

int grants_each(struct pg *p, const char *partner, int64_t idle_ms, int64_t lapses_within_ms,
		grant_fn fn, void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, partner);
	pg_int(&params, idle_ms);
	pg_int(&params, lapses_within_ms);
	rc = query(p, each_sql, &params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		struct grant_seen g = {
			.integration = pg_get_int(res, i, 0),
			.idle_ms = pg_get_int(res, i, 1),
			.lapses_in_ms = pg_get(res, i, 2) ? pg_get_int(res, i, 2) : INT64_MAX,
			.company = (char *)pg_get(res, i, 3),
			.paired = query_bool(res, i, 4),
		};

		fn(&g, arg);
	}
	PQclear(res);
	return rc;
}
