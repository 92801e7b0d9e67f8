#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/io/loop.h"
#include "common/store/migrations.h"
#include "common/store/query.h"
#include "common/store/store.h"

#define MIGRATE_TIMEOUT_MS \
	(6 * 3600 * 1000LL) /* others may hold the lock, and tables may be large */
#define CONNECT_TIMEOUT_MS 5000
#define SILENT_MS 20000          /* one that has not refused may be busy, as this host may be */
#define LOCK_KEY "7813458210117" /* any number that no other program's advisory lock has */
#define QUOTE "$longshore_migration$"

static const char lock_sql[] = "SELECT pg_advisory_xact_lock(" LOCK_KEY ")";
static const char table_sql[] =
	"DO $$ BEGIN IF to_regclass('schema_migrations') IS NULL THEN"
	" CREATE TABLE schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, checksum"
	" text NOT NULL,"
	" applied_at timestamptz NOT NULL DEFAULT now());"
	" COMMENT ON TABLE schema_migrations IS 'Which files of sql/ this database has; written"
	" by `longshore migrate`.';"
	" COMMENT ON COLUMN schema_migrations.checksum IS 'SHA-256 of the file as it was applied;"
	" it may not change afterwards.';"
	" END IF; END $$";
static const char list_sql[] = "SELECT number FROM schema_migrations ORDER BY number";

static void checksum(const struct migration *m, char out[2 * SHA256_BYTES + 1])
{
	uint8_t sha[SHA256_BYTES];

	crypto_sha256(m->sql, strlen(m->sql), sha);
	crypto_hex(sha, sizeof(sha), out);
}

/* The decision is made inside the transaction, under the lock: whoever waited for it finds the
 * work done. */
static void put_migration(struct buf *b, const struct migration *m)
{
	char sha[2 * SHA256_BYTES + 1];

	checksum(m, sha);
	buf_printf(
		b,
		"IF NOT EXISTS (SELECT FROM schema_migrations WHERE number = %d) THEN\n"
		"EXECUTE " QUOTE "%s" QUOTE ";\n"
		"INSERT INTO schema_migrations (number, name, checksum) VALUES (%d, '%s', '%s');\n"
		"ELSIF EXISTS (SELECT FROM schema_migrations WHERE number = %d AND checksum <>"
		" '%s') THEN\n"
		"RAISE EXCEPTION 'sql/%s.sql has changed since it was applied; put it back as it"
		" was, and make the change"
		" in a new migration';\nEND IF;\n",
		m->number, m->sql, m->number, m->name, sha, m->number, sha, m->name);
}

static char *build_work(void)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, "DO $longshore_work$ BEGIN\n");
	for (int i = 0; i < n_migrations; i++)
		put_migration(&b, &migrations[i]);
	buf_puts(&b, "END $longshore_work$");
	return buf_detach(&b);
}

static bool has_number(const PGresult *r, int number)
{
	for (int i = 0; i < PQntuples(r); i++) {
		if (pg_get_int(r, i, 0) == number)
			return true;
	}
	return false;
}

static void report(const PGresult *before, const PGresult *after, migrate_fn applied, void *arg)
{
	for (int i = 0; i < n_migrations; i++) {
		int number = migrations[i].number;

		if (has_number(after, number) && !has_number(before, number))
			applied(number, migrations[i].name, arg);
	}
}

int migrate_run(const char *url, migrate_fn applied, void *arg, struct err *err)
{
	struct pg_options o = { .url = url,
				.application_name = "longshore migrate",
				.max_connections = 1,
				.timeout_ms = MIGRATE_TIMEOUT_MS };
	char *work = build_work();
	struct pg_statement st[] = { { lock_sql, NULL },
				     { table_sql, NULL },
				     { list_sql, NULL },
				     { work, NULL },
				     { list_sql, NULL } };
	PGresult *res[5] = { NULL };
	struct pg *p = NULL;
	int rc = pg_new(&o, &p, err);

	if (rc == 0)
		rc = pg_wait_up(p, loop_now_ms() + CONNECT_TIMEOUT_MS, err);
	if (p && rc == -ETIMEDOUT && !pg_has_failed(p))
		rc = pg_wait_up(p, loop_now_ms() + SILENT_MS, err);
	if (rc == 0)
		rc = pg_exec_all(p, st, 5, res, loop_now_ms() + MIGRATE_TIMEOUT_MS, err);
	if (rc == 0)
		report(res[2], res[4], applied, arg);
	for (int i = 0; i < 5; i++)
		PQclear(res[i]);
	pg_free(p);
	free(work);
	return rc;
}

int migrate_check(struct pg *p, struct err *err)
{
	int64_t have = 0, need = migrations[n_migrations - 1].number;
	PGresult *res = NULL;
	int rc =
		query(p, "SELECT coalesce(max(number), 0) FROM schema_migrations", NULL, &res, err);

	if (rc == -EPROTO && err && strcmp(err->rule, "42P01") == 0)
		return err_set(
			err, -ENODATA, ERR_INTERNAL, "schema",
			"the database %s has no Longshore tables yet; run `longshore migrate`",
			pg_url_shown(p));
	if (rc < 0)
		return rc;
	have = pg_get_int(res, 0, 0);
	PQclear(res);
	if (have < need)
		return err_set(
			err, -ENODATA, ERR_INTERNAL, "schema",
			"the database %s has schema %lld, this version needs %lld; run `longshore"
			" migrate`",
			pg_url_shown(p), (long long)have, (long long)need);
	return 0;
}
