#include <errno.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/store/query.h"
#include "common/store/sealed.h"
#include "common/store/store.h"

const char credential_first_sql[] =
	"INSERT INTO credentials (integration_id, sealed) VALUES ($1, $2)";

#define CONTEXT_MAX 48
static const char *context_of(int64_t integration_id, char out[CONTEXT_MAX])
{
	snprintf(out, CONTEXT_MAX, "credential:%lld", (long long)integration_id);
	return out;
}

int credential_seal(const struct keyring *k, int64_t integration_id, const struct secret *json,
		    struct buf *out, struct err *err)
{
	char context[CONTEXT_MAX];
	int rc;

	if (!k)
		return err_set(err, -ENOKEY, ERR_INTERNAL, "secret key",
			       "no secret key to encrypt credentials with");
	rc = crypto_seal(k, context_of(integration_id, context), secret_reveal(json), json->len,
			 out);
	if (rc < 0)
		return err_set(err, rc, ERR_INTERNAL, "secret key",
			       "the credentials of integration %lld could not be encrypted",
			       (long long)integration_id);
	return 0;
}

void credential_params(struct pg_params *out, int64_t integration_id, const char *sealed)
{
	pg_params_init(out);
	pg_int(out, integration_id);
	pg_text(out, sealed);
}

static int open_error(int rc, int64_t id, struct err *err)
{
	const char *why =
		rc == -ENOKEY ? "they were encrypted with a key that LONGSHORE_SECRET_KEY_FILE does"
				" not have"
		: rc == -EBADMSG ? "they were altered, or belong to another integration"
				 : "what is stored is no sealed text";

	return err_set(err, rc, ERR_INTERNAL, "credentials",
		       "the credentials of integration %lld do not open: %s", (long long)id, why);
}

int credential_get(struct pg *p, const struct keyring *k, int64_t integration_id,
		   struct secret *json, struct err *err)
{
	struct pg_params params;
	char context[CONTEXT_MAX];
	PGresult *res = NULL;
	int rc;

	if (!k)
		return open_error(-ENOKEY, integration_id, err);
	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query_some(p, "SELECT sealed FROM credentials WHERE integration_id = $1", &params,
			&res, err);
	if (rc == -ENOENT)
		return err_set(err, rc, ERR_AUTH, "credentials",
			       "integration %lld has no credentials", (long long)integration_id);
	if (rc < 0)
		return rc;
	rc = crypto_open(k, context_of(integration_id, context), pg_get(res, 0, 0), json);
	PQclear(res);
	return rc < 0 ? open_error(rc, integration_id, err) : 0;
}

int credential_exists(struct pg *p, int64_t integration_id, bool *exists, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query(p, "SELECT 1 FROM credentials WHERE integration_id = $1", &params, &res, err);
	if (rc < 0)
		return rc;
	*exists = PQntuples(res) > 0;
	PQclear(res);
	return 0;
}

/* ---- rotation ---- */

static int one_id(struct pg *p, const char *sql, int64_t id, PGresult **res, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return query(p, sql, &params, res, err);
}

int credential_sealed(struct pg *p, int64_t integration_id, char **sealed, struct err *err)
{
	PGresult *res = NULL;
	int rc = one_id(p, "SELECT sealed FROM credentials WHERE integration_id = $1",
			integration_id, &res, err);

	if (rc < 0)
		return rc;
	*sealed = PQntuples(res) ? query_dup(res, 0, 0) : NULL;
	PQclear(res);
	return 0;
}

int credential_previous(struct pg *p, const struct keyring *k, int64_t integration_id,
			struct secret *json, struct err *err)
{
	char context[CONTEXT_MAX];
	PGresult *res = NULL;
	int rc = one_id(p,
			"SELECT previous_sealed FROM credentials WHERE integration_id = $1 AND"
			" previous_sealed IS NOT NULL",
			integration_id, &res, err);

	if (rc < 0)
		return rc;
	if (PQntuples(res) == 0)
		rc = err_set(err, -ENOENT, ERR_CLIENT, "credentials",
			     "integration %lld has no previous credentials",
			     (long long)integration_id);
	else if (crypto_open(k, context_of(integration_id, context), pg_get(res, 0, 0), json) < 0)
		rc = open_error(-EBADMSG, integration_id, err);
	PQclear(res);
	return rc;
}

static int changed_meanwhile(int64_t integration_id, struct err *err)
{
	return err_set(err, -ESTALE, ERR_CLIENT, "credentials",
		       "somebody has changed the credentials of integration %lld meanwhile",
		       (long long)integration_id);
}

/* Behind a CTE c that changed the row, in the same statement: whoever remembers the ones before asks anew. */
#define TOLD                                                                                   \
	", told AS (UPDATE integrations SET credential_version = credential_version + 1 WHERE" \
	" id = $1 AND EXISTS (SELECT FROM c)) SELECT c.changing_since"

static const char put_sql[] =
	"WITH was AS (SELECT changing_since FROM credentials WHERE integration_id = $1),"
	" c AS (INSERT INTO credentials (integration_id, sealed, changing_since)"
	" VALUES ($1, $2, clock_timestamp()) ON CONFLICT (integration_id) DO UPDATE SET sealed ="
	" excluded.sealed, updated_at = now(), changing_since = excluded.changing_since"
	" RETURNING changing_since)" TOLD ", (SELECT changing_since FROM was) IS NOT NULL FROM c";

static void keep_change(PGresult *res, struct credential_change *out)
{
	if (!res)
		return;
	snprintf(out->at, sizeof(out->at), "%s", pg_get(res, 0, 0));
	out->unsettled = PQnfields(res) > 1 && query_bool(res, 0, 1);
	PQclear(res);
}

int credential_put(struct pg *p, const struct keyring *k, int64_t integration_id,
		   const struct secret *json, struct credential_change *change, struct err *err)
{
	struct buf sealed = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc = credential_seal(k, integration_id, json, &sealed, err);

	if (rc == 0) {
		credential_params(&params, integration_id, sealed.data);
		rc = query_some(p, put_sql, &params, &res, err);
	}
	if (rc == 0)
		keep_change(res, change);
	buf_clear(&sealed);
	return rc;
}

/* One row says who was first: of two that read the same text one finds it gone. */
static const char replace_sql[] =
	"WITH c AS (INSERT INTO credentials AS c (integration_id, sealed, rotated_at, changing_since)"
	" SELECT $1, $2, t, t FROM clock_timestamp() t WHERE $3::text IS NULL OR EXISTS"
	" (SELECT 1 FROM credentials WHERE integration_id = $1)"
	" ON CONFLICT (integration_id) DO UPDATE SET previous_sealed = c.sealed, sealed = excluded.sealed,"
	" rotated_at = excluded.rotated_at, changing_since = excluded.changing_since, updated_at = now()"
	" WHERE c.sealed = $3 RETURNING changing_since)" TOLD " FROM c";

int credential_replace(struct pg *p, const struct keyring *k, int64_t integration_id,
		       const char *was, const struct secret *json, struct credential_change *change,
		       struct err *err)
{
	struct buf sealed = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc = credential_seal(k, integration_id, json, &sealed, err);

	if (rc == 0) {
		credential_params(&params, integration_id, sealed.data);
		pg_text(&params, was);
		rc = query_some(p, replace_sql, &params, &res, err);
	}
	if (rc == 0)
		keep_change(res, change);
	else if (rc == -ENOENT)
		rc = changed_meanwhile(integration_id, err);
	buf_clear(&sealed);
	return rc;
}

/* Neither a rotation nor a change that anything is dated by: what calls are made with stays what it is. */
static const char amend_sql[] =
	"INSERT INTO credentials AS c (integration_id, sealed)"
	" SELECT $1, $2 WHERE $3::text IS NULL OR EXISTS"
	" (SELECT 1 FROM credentials WHERE integration_id = $1)"
	" ON CONFLICT (integration_id) DO UPDATE SET sealed = excluded.sealed WHERE c.sealed = $3";

int credential_amend(struct pg *p, const struct keyring *k, int64_t integration_id, const char *was,
		     const struct secret *json, struct err *err)
{
	struct buf sealed = BUF_INIT;
	struct pg_params params;
	int rc = credential_seal(k, integration_id, json, &sealed, err);

	if (rc == 0) {
		credential_params(&params, integration_id, sealed.data);
		pg_text(&params, was);
		rc = query_some(p, amend_sql, &params, NULL, err);
	}
	if (rc == -ENOENT)
		rc = changed_meanwhile(integration_id, err);
	buf_clear(&sealed);
	return rc;
}

int credential_restore(struct pg *p, int64_t integration_id, struct credential_change *change,
		       struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, change->at);
	rc = query_some(
		p,
		"WITH c AS (UPDATE credentials SET sealed = previous_sealed, previous_sealed = NULL,"
		" rotated_at = NULL, changing_since = clock_timestamp(), updated_at = now() WHERE"
		" integration_id = $1 AND rotated_at = $2::timestamptz AND previous_sealed IS NOT NULL"
		" RETURNING changing_since)" TOLD " FROM c",
		&params, &res, err);
	if (rc == 0)
		keep_change(res, change);
	return rc == -ENOENT ? changed_meanwhile(integration_id, err) : rc;
}

/* The credentials' row first, as whoever stores them locks the two: a CTE that nothing reads runs last. */
static const char settle_sql[] =
	"WITH c AS (UPDATE credentials SET changing_since = NULL WHERE integration_id = $1"
	" AND changing_since = $2::timestamptz RETURNING 1)"
	" UPDATE integrations SET credential_version = credential_version + 1 WHERE id = $1"
	" AND (SELECT count(*) FROM c) >= 0";

int credential_settle(struct pg *p, int64_t integration_id, const char *at, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, at);
	return query(p, settle_sql, &params, NULL, err);
}

int credential_unsettled(struct pg *p, int64_t min_age_ms, struct credential_left *out, int max,
			 int *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, min_age_ms);
	pg_int(&params, max);
	rc = query(
		p,
		"SELECT i.id, i.partner, c.changing_since FROM credentials c JOIN integrations i"
		" ON i.id = c.integration_id WHERE c.changing_since < now() - $1 * interval '1 ms'"
		" ORDER BY c.changing_since LIMIT $2",
		&params, &res, err);
	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	for (int i = 0; i < *n; i++) {
		out[i].integration_id = pg_get_int(res, i, 0);
		snprintf(out[i].partner, sizeof(out[i].partner), "%s", pg_get(res, i, 1));
		snprintf(out[i].at, sizeof(out[i].at), "%s", pg_get(res, i, 2));
	}
	PQclear(res);
	return 0;
}

/* The row lock puts the mints of an integration in a row, whoever counts; each statement after
 * it sees what the one before it in that row wrote.  Times are clock_timestamp(): now() is from
 * before the wait for the lock. */
static const char lock_sql[] = "SELECT 1 FROM integrations WHERE id = $1 FOR NO KEY UPDATE";
static const char forget_sql[] =
	"DELETE FROM token_mints WHERE integration_id = $1"
	" AND minted_at < clock_timestamp() - greatest($2 * interval '1 ms', interval '7 days')";
static const char mint_sql[] =
	"INSERT INTO token_mints (integration_id, minted_at) SELECT id, clock_timestamp()"
	" FROM integrations WHERE id = $1 AND (SELECT count(*) FROM token_mints WHERE"
	" integration_id = $1"
	" AND minted_at > clock_timestamp() - $2 * interval '1 ms') < $3";
/* The limit-th newest must leave the window. */
static const char wait_sql[] =
	"SELECT ceil(extract(epoch FROM minted_at + $2 * interval '1 ms' - clock_timestamp()) *"
	" 1000)::int8"
	" FROM token_mints WHERE integration_id = $1 ORDER BY minted_at DESC OFFSET $3 - 1 LIMIT 1";

static int mint_refused(const PGresult *wait, int64_t id, int limit, struct err *err)
{
	int64_t ms = PQntuples(wait) ? pg_get_int(wait, 0, 0) : 0;

	err_set(err, 0, ERR_HOLD, "mint limit",
		"integration %lld has asked for its %d tokens within the partner's window",
		(long long)id, limit);
	if (err)
		err->retry_after_ms = ms > 0 ? ms : 1;
	return -EAGAIN;
}

int credential_count_mint(struct pg *p, int64_t integration_id, int limit, int64_t window_ms,
			  struct err *err)
{
	struct pg_params params; /* the same for all four: each takes what it needs */
	struct pg_statement st[4] = { { lock_sql, &params },
				      { forget_sql, &params },
				      { mint_sql, &params },
				      { wait_sql, &params } };
	PGresult *res[4] = { NULL, NULL, NULL, NULL };
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_int(&params, window_ms);
	pg_int(&params, limit);
	rc = pg_exec_all(p, st, 4, res, query_deadline(), err);
	pg_params_clear(&params);
	if (rc == 0 && PQntuples(res[0]) == 0)
		rc = query_no_integration(-ENOENT, integration_id, err);
	else if (rc == 0 && PQcmdTuples(res[2])[0] == '0')
		rc = mint_refused(res[3], integration_id, limit, err);
	for (int i = 0; i < 4; i++)
		PQclear(res[i]);
	return rc;
}
