/* The guard, its outcomes and the history in any interleaving: eight workers' sinks on the same rows, against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/postgres_trouble.h"
#include "worker/sink.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000
#define WORKERS 8
#define WRITERS 16 /* two jobs a worker: their rows meet in one batch */
#define KEYS 60
#define EACH 12 /* readings of a key */
#define TEXT 24

/* One reading of an item, by whichever way. */
struct reading {
	int key, updated_s, observed_s, writer;
	bool told; /* the partner says when it changed */
	char name[TEXT];
};

static struct {
	struct reading v[KEYS * EACH];
	char ids[KEYS][TEXT];
	struct pg *pg[WORKERS];
	struct sink *sink[WORKERS];
	uint64_t columns;
	int name, writing;
	long outcomes[ROW_OUTCOMES], deleted;
	unsigned seed;
} world;

static unsigned any(unsigned below)
{
	world.seed = world.seed * 1664525u + 1013904223u;
	return (world.seed >> 8) % below;
}

/* What a partner's history of one item looks like when it is read now and then: it moves on, or is found as it was, or changes without
 * saying so. Half of the partners tell when it changed. Readings of the same content are one writer's, whose change it then is. */
static void make_history(int key)
{
	int updated = 100, observed = 100, writer = 0, content = 0;

	snprintf(world.ids[key], TEXT, "k%02d", key);
	for (int i = 0; i < EACH; i++) {
		struct reading *r = &world.v[key * EACH + i];
		bool same = i && any(3) == 0;

		observed += 1 + (int)any(5);
		if (!same) {
			content++;
			writer = (int)any(WRITERS);
			updated += any(4) ? 1 + (int)any(3) : 0;
		}
		*r = (struct reading){ key, updated, observed, writer, key % 2, "" };
		snprintf(r->name, TEXT, "n%d-%d", content, 1000 + writer);
	}
}

static void shuffle(void)
{
	for (int i = KEYS * EACH - 1; i > 0; i--) {
		int j = (int)any((unsigned)i + 1);
		struct reading r = world.v[i];

		world.v[i] = world.v[j];
		world.v[j] = r;
	}
}

static int integration_of(int key)
{
	return 1 + key % 5;
}

static void write_some(int writer, const struct reading *const *some, int n)
{
	static const enum row_source sources[] = { ROW_FULL, ROW_INCREMENTAL, ROW_SINGLE,
						   ROW_WEBHOOK };
	const struct row_set set = { ROW_RESOURCES,
				     world.columns,
				     { sources[writer % 4], 1000 + writer } };
	struct row *rows = mem_zalloc((size_t)n * sizeof(*rows));
	const struct row **ptrs = mem_alloc((size_t)n * sizeof(*ptrs));
	enum row_outcome *out = mem_zalloc((size_t)n * sizeof(*out));
	struct err err = { 0 };

	for (int i = 0; i < n; i++) {
		const struct reading *r = some[i];

		rows[i] = (struct row){ .integration_id = integration_of(r->key),
					.external_id = world.ids[r->key],
					.has_partner_updated = r->told,
					.partner_updated_us = T0 + (int64_t)r->updated_s * SECOND,
					.observed_us = T0 + (int64_t)r->observed_s * SECOND };
		rows[i].values[world.name] =
			(struct row_value){ .set = true, .v.s = { r->name, strlen(r->name) } };
		ptrs[i] = &rows[i];
	}
	CHECK(sink_rows(world.sink[writer % WORKERS], &set, ptrs, n, out, NULL,
			loop_now_ms() + PATIENCE_MS, &err) == 0);
	for (int i = 0; i < n; i++)
		world.outcomes[out[i]]++;
	free(out);
	free(ptrs);
	free(rows);
}

/* Its readings in the order they were shuffled to, some at once. */
static void writer_run(int writer)
{
	const struct reading *some[40];
	unsigned n = 0, want = 1 + any(40);

	for (int i = 0; i < KEYS * EACH; i++) {
		if (world.v[i].writer != writer)
			continue;
		some[n++] = &world.v[i];
		if (n < want)
			continue;
		write_some(writer, some, (int)n);
		n = 0;
		want = 1 + any(40);
	}
	if (n)
		write_some(writer, some, (int)n);
	world.writing--;
}

/* What a complete scan did not see, with its record. */
static void deleter_run(struct pg *p)
{
	struct buf sql = BUF_INIT;

	buf_puts(
		&sql,
		"WITH o AS MATERIALIZED (SELECT integration_id, external_id FROM resources WHERE integration_id = 3 AND"
		" deleted_at IS NULL ORDER BY external_id LIMIT 5 FOR UPDATE), w AS (UPDATE resources r SET deleted_at = now(), version ="
		" r.version + 1, changed_at = now(), change = jsonb_build_object('deleted_at', jsonb_build_array(NULL, now())) FROM o"
		" WHERE r.integration_id = o.integration_id AND r.external_id = o.external_id RETURNING r.*)");
	row_history_put(&sql, ROW_RESOURCES, "w", "'deleted'", "'deletion'", "NULL::int8");
	buf_puts(&sql, " SELECT count(*) FROM w");
	while (world.writing > 0) {
		PGresult *res = NULL;
		struct err err = { 0 };

		CHECK(pg_exec(p, sql.data, NULL, &res, loop_now_ms() + PATIENCE_MS, &err) == 0);
		world.deleted += res ? pg_get_int(res, 0, 0) : 0;
		PQclear(res);
		if (co_sleep("deleter", 3) < 0)
			break;
	}
	buf_clear(&sql);
}

static void one_of(int i, void *deletes)
{
	if (i < WRITERS)
		writer_run(i);
	else if (deletes)
		deleter_run(world.pg[0]);
}

static bool says(const char *sql, const char *want)
{
	const char *is = other_says(sql);

	if (strcmp(is, want) != 0)
		fprintf(stderr, "seed %u: %s: is \"%s\", not \"%s\"\n", world.seed, sql, is, want);
	return strcmp(is, want) == 0;
}

static bool is_newer(const struct reading *a, const struct reading *b)
{
	return a->told && a->updated_s != b->updated_s ? a->updated_s > b->updated_s
						       : a->observed_s > b->observed_s;
}

static void check_newest(void)
{
	const struct reading *newest[KEYS] = { NULL };
	char sql[300];

	for (int i = 0; i < KEYS * EACH; i++) {
		const struct reading *r = &world.v[i];

		if (!newest[r->key] || is_newer(r, newest[r->key]))
			newest[r->key] = r;
	}
	for (int k = 0; k < KEYS; k++) {
		snprintf(
			sql, sizeof(sql),
			"SELECT name || (observed_at = to_timestamp(1700000000 + %d)) FROM resources WHERE integration_id = %d AND external_id = '%s'",
			newest[k]->observed_s, integration_of(k), world.ids[k]);
		char want[TEXT + 8];
		snprintf(want, sizeof(want), "%strue", newest[k]->name);
		CHECK(says(sql, want));
	}
}

/* Each version left one record; each begins with what the one before ended with, the last with what stands there; and each is its
 * writer's.  Nobody was told of a change that was none. */
static void check_history(void)
{
	char want[60];

	CHECK(says(
		"SELECT count(*) FROM resources r WHERE ARRAY(SELECT version FROM resource_changes c WHERE c.integration_id ="
		" r.integration_id AND c.external_id = r.external_id ORDER BY version) <> ARRAY(SELECT generate_series(1, r.version))",
		"0"));
	CHECK(says(
		"SELECT count(*) FROM (SELECT changes->'name'->>0 AS was, lag(changes->'name'->>1) OVER w AS before,"
		" changes->'name'->>1 AS became, lead(c.version) OVER w AS later, r.name FROM resource_changes c JOIN resources r USING"
		" (integration_id, external_id) WHERE changes ? 'name' WINDOW w AS (PARTITION BY integration_id, external_id"
		" ORDER BY c.version)) x WHERE was <> before OR (later IS NULL AND name <> became)",
		"0"));
	CHECK(says(
		"SELECT count(*) FROM resource_changes WHERE changes ? 'name' AND split_part(changes->'name'->>1, '-', 2) <>"
		" run_id::text",
		"0"));
	CHECK(says(
		"SELECT count(*) FROM resource_changes WHERE what <> 'deleted' AND source IS DISTINCT FROM"
		" ('{full,incremental,single,webhook}'::text[])[1 + (run_id - 1000) % 4]",
		"0"));
	snprintf(want, sizeof(want), "%ld %ld %ld %ld", world.outcomes[ROW_ADDED],
		 world.outcomes[ROW_UPDATED], world.outcomes[ROW_UNDELETED], world.deleted);
	CHECK(says(
		"SELECT concat_ws(' ', count(*) FILTER (WHERE what = 'added'), count(*) FILTER (WHERE what = 'updated'),"
		" count(*) FILTER (WHERE what = 'undeleted'), count(*) FILTER (WHERE what = 'deleted')) FROM resource_changes",
		want));
	CHECK(world.outcomes[ROW_ADDED] == KEYS && !world.outcomes[ROW_FAILED]);
	/* A deadlock would have been repeated without a word. */
	CHECK(says("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
		   "0"));
}

static void round_run(unsigned seed, bool deletes)
{
	world.seed = seed;
	world.deleted = 0;
	world.writing = WRITERS;
	memset(world.outcomes, 0, sizeof(world.outcomes));
	other_says("TRUNCATE resources, resource_changes");
	for (int k = 0; k < KEYS; k++)
		make_history(k);
	shuffle();
	crowd_wait(crowd_start(WRITERS + 1, one_of, deletes ? &world : NULL));
	if (!deletes)
		check_newest();
	else
		CHECK(world.deleted > 0);
	check_history();
}

static void body(struct pg *p)
{
	struct err err = { 0 };

	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	world.name = row_column_find(ROW_RESOURCES, "name");
	world.columns = (uint64_t)1 << world.name;
	for (int i = 0; i < WORKERS; i++) {
		struct pg_options o = { .url = postgres.url,
					.application_name = "worker",
					.max_connections = 2 };

		CHECK(pg_new(&o, &world.pg[i], &err) == 0);
		world.sink[i] = sink_new(world.pg[i]);
	}
	for (unsigned round = 0; round < 6; round++)
		round_run(round * 2654435761u + 1, round % 2);
	for (int i = 0; i < WORKERS; i++) {
		sink_free(world.sink[i]);
		pg_free(world.pg[i]);
	}
}

static void test_any_interleaving(void **state)
{
	assert_int_equal(in_coroutine(body), 0);
	other_leaves();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_interleaving) };

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
