/* From the schema before to this one, on a database that has rows and while the version before writes to it (P8). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/store/migrations.h"
#include "common/store/rows.h"
#include "common/store/store.h"
#include "tests/unit/postgres_trouble.h"
#include "tests/unit/sql_before.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000
#define WRITERS 6
#define EACH 5 /* rows of a batch */

static bool says(const char *sql, const char *want)
{
	const char *is = other_says(sql);

	if (strcmp(is, want) != 0)
		fprintf(stderr, "%s: is \"%s\", not \"%s\"\n", sql, is, want);
	return strcmp(is, want) == 0;
}

static void empty_database(void)
{
	other_says(
		"SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
}

static void apply(const struct migration *m)
{
	char hex[2 * SHA256_BYTES + 1], *sql;
	uint8_t sha[SHA256_BYTES];

	crypto_sha256(m->sql, strlen(m->sql), sha);
	crypto_hex(sha, sizeof(sha), hex);
	sql = mem_printf(
		"BEGIN; %s; INSERT INTO schema_migrations (number, name, checksum) VALUES (%d, '%s', '%s'); COMMIT",
		m->sql, m->number, m->name, hex);
	other_says(sql);
	free(sql);
}

static void migrate_to(int last)
{
	other_says(
		"CREATE TABLE schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT"
		" NULL, applied_at timestamptz NOT NULL DEFAULT now())");
	for (int i = 0; i < n_migrations; i++)
		if (migrations[i].number <= last)
			apply(&migrations[i]);
}

/* ---- the version before ---- */

struct before {
	int64_t integration;
	const char *prefix;
	int n, updated_s, observed_s;
	const char *name;
};

/* The outcomes, with 0 for stale; -1: an error. */
static int write_before(struct pg *p, const struct before *b, int out[EACH])
{
	struct pg_params params;
	struct pg_array a[6];
	static const Oid types[6] = { PG_INT8,        PG_TEXT, PG_TIMESTAMPTZ,
				      PG_TIMESTAMPTZ, PG_TEXT, PG_INT8 };
	PGresult *res = NULL;
	struct err err = { 0 };
	char id[40];
	int rc;

	pg_params_init(&params);
	for (int c = 0; c < 6; c++)
		pg_array_init(&a[c], types[c]);
	for (int i = 0; i < b->n; i++) {
		snprintf(id, sizeof(id), "%s%d", b->prefix, i);
		pg_array_int8(&a[0], b->integration);
		pg_array_text(&a[1], id, strlen(id));
		pg_array_time_us(&a[2], T0 + (int64_t)b->updated_s * SECOND);
		pg_array_time_us(&a[3], T0 + (int64_t)b->observed_s * SECOND);
		pg_array_text(&a[4], b->name, strlen(b->name));
		pg_array_int8(&a[5], i);
	}
	for (int c = 0; c < 6; c++)
		pg_array_param(&params, &a[c]);
	rc = pg_exec(p, upsert_before, &params, &res, loop_now_ms() + PATIENCE_MS, &err);
	pg_params_clear(&params);
	if (rc < 0) {
		fprintf(stderr, "the version before: %s %s\n", err.rule, err.text);
		return -1;
	}
	for (int i = 0, at = 0; i < b->n; i++) {
		snprintf(id, sizeof(id), "%s%d", b->prefix, i);
		out[i] = at < PQntuples(res) && strcmp(pg_get(res, at, 1), id) == 0
				 ? (int)pg_get_int(res, at++, 2)
				 : 0;
	}
	PQclear(res);
	return 0;
}

static int one_before(struct pg *p, int updated_s, int observed_s, const char *name)
{
	struct before b = { .integration = 3,
			    .prefix = "one",
			    .n = 1,
			    .updated_s = updated_s,
			    .observed_s = observed_s,
			    .name = name };
	int out[EACH];

	return write_before(p, &b, out) < 0 ? -1 : out[0];
}

static void statements_before_run(struct pg *p)
{
	PGresult *res = NULL;

	CHECK(one_before(p, 1, 1, "One") == 1);
	CHECK(one_before(p, 1, 2, "One") == 3);
	CHECK(one_before(p, 2, 3, "Two") == 2);
	CHECK(one_before(p, 1, 9, "Old") == 0);
	other_says("UPDATE resources SET deleted_at = now() WHERE external_id = 'one0'");
	CHECK(one_before(p, 2, 10, "Two") == 5);
	CHECK(pg_execv(p, &res, loop_now_ms() + PATIENCE_MS, NULL, look_before, "3", "one0",
		       NULL) == 0);
	CHECK(res && PQntuples(res) == 1);
	PQclear(res);
}

/* ---- a database that has rows ---- */

static void fill(void)
{
	other_says(
		"DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	other_says(
		"GRANT SELECT ON resources TO reader; GRANT SELECT (status) ON transactions TO PUBLIC;"
		" CREATE INDEX theirs ON resources (integration_id, city) WHERE city IS NOT NULL;"
		" ALTER TABLE resources ADD COLUMN theirs_too text;"
		" ALTER TABLE media SET (fillfactor = 80)");
	other_says(
		"INSERT INTO resources (integration_id, external_id, name, city, extra, theirs_too, observed_at, version, deleted_at)"
		" SELECT g % 50, 'k' || g, 'n' || g, 'c', '{\"a\": null}', 'x', to_timestamp(1700000000 + g), g, CASE g % 7 WHEN 0 THEN now() END"
		" FROM generate_series(1, 2000) g");
	other_says(
		"INSERT INTO transactions (integration_id, external_id, resource_external_id, starts_on, observed_at)"
		" SELECT g % 50, 't' || g, 'k' || g, date '2026-01-01' + g, now() FROM generate_series(1, 500) g");
}

/* All that a table holds, but the columns that are new. */
static char *sum_of(const char *table)
{
	char *sql = mem_printf(
		"SELECT count(*) || md5(string_agg((to_jsonb(r) - '{written,change,replaced_by}'::text[])::text,"
		" ',' ORDER BY integration_id, external_id)) FROM %s r",
		table);
	char *sum = mem_strdup(other_says(sql));

	free(sql);
	return sum;
}

static const char about[] =
	"SELECT md5(string_agg(concat_ws(' ', relname, obj_description(c.oid), attname, col_description(c.oid, attnum),"
	" format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attacl), ',' ORDER BY relname, attname))"
	" FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = attnum"
	" WHERE relname IN ('resources', 'transactions', 'media') AND attnum > 0 AND NOT attisdropped"
	" AND attname NOT IN ('written', 'change', 'replaced_by')";
static const char indexes[] =
	"SELECT string_agg(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '), ',' ORDER BY indexrelid::regclass::text)"
	" FROM pg_index WHERE indrelid IN ('resources'::regclass, 'transactions'::regclass, 'media'::regclass)";

static void rows_kept_body(struct pg *p)
{
	static const char *const tables[] = { "resources", "transactions" };
	struct err err = { 0 };
	char *before[2], *after, *were, *stood;

	empty_database();
	migrate_to(SCHEMA_BEFORE);
	fill();
	for (int i = 0; i < 2; i++)
		before[i] = sum_of(tables[i]);
	were = mem_strdup(other_says(about));
	stood = mem_printf("%.2000s", other_says(indexes));
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	for (int i = 0; i < 2; i++) {
		after = sum_of(tables[i]);
		CHECK(strcmp(before[i], after) == 0);
		free(before[i]);
		free(after);
	}
	CHECK(says(about, were));
	CHECK(says(indexes, stood));
	free(were);
	free(stood);
	CHECK(says("SELECT has_table_privilege('reader', 'resources', 'SELECT')", "t"));
	CHECK(says(
		"SELECT has_column_privilege('reader', 'transactions', 'status', 'SELECT') AND NOT"
		" has_column_privilege('reader', 'transactions', 'code', 'SELECT')",
		"t"));
	CHECK(says(
		"SELECT count(*) || ' ' || count(DISTINCT reloptions) || ' ' || min(reloptions::text) FROM pg_class WHERE"
		" relname ~ '^resources_[0-9]+$'",
		"16 1 {fillfactor=50,autovacuum_vacuum_scale_factor=0.05,autovacuum_vacuum_threshold=1000,"
		"autovacuum_vacuum_insert_scale_factor=0.1,autovacuum_analyze_scale_factor=0.05,autovacuum_vacuum_cost_limit=2000}"));
	CHECK(says(
		"SELECT 'fillfactor=80' = ANY (reloptions) FROM pg_class WHERE relname = 'media_3'",
		"t"));
	CHECK(says("SELECT count(*) FROM pg_class WHERE relname ~ 'before_0013'", "0"));
	CHECK(says("SELECT count(DISTINCT tableoid) > 10 FROM resources", "t"));
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0); /* again: nothing */
	statements_before_run(p);
}

/* What the migration would lose it refuses to lose. */
static void foreign_things_body(struct pg *p)
{
	struct err err = { 0 };

	empty_database();
	migrate_to(SCHEMA_BEFORE);
	other_says(
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
		" CREATE TRIGGER theirs BEFORE INSERT ON media FOR EACH ROW EXECUTE FUNCTION f()");
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) < 0);
	CHECK(strstr(err.text, "media has the trigger theirs") != NULL);
	CHECK(says("SELECT max(number) FROM schema_migrations", "12"));
	other_says("DROP TRIGGER theirs ON media");
	other_says("CREATE VIEW theirs AS SELECT name FROM resources");
	err = (struct err){ 0 };
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) < 0);
	CHECK(strstr(err.text, "depend") != NULL);
	other_says("DROP VIEW theirs");
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
}

/* ---- while the version before writes ---- */

static struct {
	struct pg *pg;
	int batches, wrong;
	bool stop;
} live;

/* Each has keys of its own: what becomes of them is known at every write, whatever happens meanwhile. */
static void write_on(int i, void *arg)
{
	struct before b = { .integration = i, .n = EACH, .updated_s = -1 };
	char prefix[20], name[20];
	int out[EACH], want = 1;

	snprintf(prefix, sizeof(prefix), "w%d-", i);
	b.prefix = prefix;
	b.name = name;
	for (int round = 0; !live.stop || round < 10; round++) {
		snprintf(name, sizeof(name), "n%d", round / 2);
		b.updated_s = b.observed_s = round;
		if (write_before(live.pg, &b, out) < 0) {
			live.wrong++;
			return;
		}
		for (int k = 0; k < EACH; k++)
			live.wrong += out[k] != want;
		want = round % 2 ? 2 : 3; /* of the next round */
		live.batches++;
	}
}

static void migrate_and_stop(int i, void *arg)
{
	struct err err = { 0 };
	int before = live.batches, after;

	while (live.batches < before + 20 && !live.stop)
		if (co_sleep("writers", 5) < 0)
			return;
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	after = live.batches;
	while (live.batches < after + 50 && !live.wrong && !live.stop)
		if (co_sleep("writers", 5) < 0)
			break;
	live.stop = true;
}

static void one_of(int i, void *arg)
{
	if (i < WRITERS)
		write_on(i, arg);
	else
		migrate_and_stop(i, arg);
}

static void live_body(struct pg *p)
{
	struct pg_options o = { .url = postgres.url,
				.application_name = "before",
				.max_connections = WRITERS };
	struct err err = { 0 };

	empty_database();
	migrate_to(SCHEMA_BEFORE);
	fill();
	other_leaves();
	live.stop = false;
	live.batches = live.wrong = 0;
	CHECK(pg_new(&o, &live.pg, &err) == 0);
	/* Several migrate at once: one does the work, the others find it done. */
	crowd_wait(crowd_start(WRITERS + 3, one_of, NULL));
	pg_free(live.pg);
	CHECK(live.wrong == 0);
	CHECK(says(
		"SELECT count(*) || ' ' || (SELECT count(*) FROM pg_inherits WHERE inhparent = 'resources'::regclass) FROM"
		" resources WHERE external_id LIKE 'w%'",
		"30 16"));
	CHECK(says("SELECT count(*) FROM schema_migrations WHERE number = 13", "1"));
}

/* A file that changed after it was applied is refused, by name. */
static void checksum_body(struct pg *p)
{
	struct err err = { 0 };

	empty_database();
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	other_says("UPDATE schema_migrations SET checksum = 'other' WHERE number = 2");
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) < 0);
	CHECK(strstr(err.text, "sql/0002_rows.sql has changed since it was applied") != NULL);
}

#define TEST(name)                                              \
	static void test_##name(void **state)                   \
	{                                                       \
		assert_int_equal(in_coroutine(name##_body), 0); \
		other_leaves();                                 \
	}
TEST(rows_kept)
TEST(foreign_things)
TEST(live)
TEST(checksum)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_kept),
		cmocka_unit_test(test_foreign_things),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_checksum),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
