#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "common/base/mem.h"
#include "common/store/sweep.h"
#include "tests/unit/postgres.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000

/* The first value of the first row as text; "" if none.  Valid until the next call. */
static const char *ask(struct pg *p, const char *sql)
{
	static char text[1024];
	struct err err = { 0 };
	PGresult *res = NULL;

	text[0] = 0;
	if (pg_execv(p, &res, loop_now_ms() + 10000, &err, sql, NULL) < 0)
		fprintf(stderr, "%s\n", err.text);
	if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res))
		snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return text;
}

#define CHECK_SQL(p, sql, want)                                                   \
	do {                                                                      \
		const char *is_ = ask((p), (sql));                                \
		if (strcmp(is_, (want)) != 0)                                     \
			fprintf(stderr, "%s: is %s, not %s\n", sql, is_, (want)); \
		CHECK(strcmp(is_, (want)) == 0);                                  \
	} while (0)

static void ignore_applied(int number, const char *name, void *arg)
{
}

static void prepare(struct pg *p)
{
	struct err err = { 0 };

	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	ask(p,
	    "TRUNCATE companies, integrations, resources, transactions, media, checkpoints, runs, alerts,"
	    " held_deletions CASCADE");
	ask(p, "INSERT INTO companies (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'C')");
	ask(p,
	    "INSERT INTO integrations (id, company_id, partner) OVERRIDING SYSTEM VALUE VALUES (7, 1, 'guesty'),"
	    " (8, 1, 'guesty')");
}

/* Ids with a letter before them, seen so many seconds after T0. */
static void add(struct pg *p, int integration, const char *prefix, const char *kind, int from,
		int to, int seen_s)
{
	char sql[400];

	snprintf(
		sql, sizeof(sql),
		"INSERT INTO resources (integration_id, external_id, kind, observed_at) SELECT %d, '%s' || lpad(n::text, 6, '0'),"
		" nullif('%s', ''), to_timestamp(1700000000 + %d) FROM generate_series(%d, %d) n",
		integration, prefix, kind, seen_s, from, to);
	ask(p, sql);
}

static struct sweep sweep_of(const char *prefix, int before_s)
{
	return (struct sweep){ .table = ROW_RESOURCES,
			       .integration_id = 7,
			       .prefix = prefix,
			       .before_us = T0 + (int64_t)before_s * SECOND };
}

struct told {
	int64_t rows, most;
	int slices, stop_after;
};

static int on_slice(enum row_table t, int64_t n, void *arg)
{
	struct told *told = arg;

	told->rows += n;
	told->most = n > told->most ? n : told->most;
	return ++told->slices == told->stop_after ? -ECANCELED : 0;
}

static int64_t run(struct pg *p, const struct sweep *s)
{
	struct told told = { 0 };
	struct err err = { 0 };
	int rc = sweep_run(p, s, NULL, on_slice, &told, &err);

	if (rc < 0)
		fprintf(stderr, "%s %s\n", err.rule, err.text);
	CHECK(rc == 0 && told.most <= SWEEP_SLICE);
	return told.rows;
}

static void marks_body(struct pg *p)
{
	struct sweep s = sweep_of("", 100);
	struct sweep_counts n = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 10, 50);
	add(p, 7, "", "", 11, 20, 100); /* at the very beginning: seen */
	add(p, 8, "", "", 1, 10, 50);
	ask(p,
	    "UPDATE resources SET deleted_at = now() WHERE external_id = '000001' AND integration_id = 7");
	CHECK(sweep_count(p, &s, &n, &err) == 0 && n.live == 19 && n.unseen == 9);
	CHECK(run(p, &s) == 9);
	CHECK(run(p, &s) == 0);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "10");
	CHECK_SQL(
		p,
		"SELECT string_agg(DISTINCT version || ' ' || extract(epoch FROM observed_at)::int8 || ' ' ||"
		" (changed_at = deleted_at), ',') FROM resources WHERE integration_id = 7 AND external_id BETWEEN"
		" '000002' AND '000010'",
		"2 1700000100 true");
	CHECK_SQL(
		p,
		"SELECT count(*) FROM resources WHERE integration_id = 8 AND deleted_at IS NOT NULL",
		"0");
	CHECK(sweep_count(p, &s, &n, &err) == 0 && n.live == 10 && n.unseen == 0);
}

static void test_marks_what_was_not_seen(void **state)
{
	assert_int_equal(in_coroutine(marks_body), 0);
}

/* Two collections in one table, and a third whose manifest is gone. */
static void family_body(struct pg *p)
{
	const char *const others[] = { "room-", "room-x-" };
	struct sweep plain = sweep_of("", 100), rooms = sweep_of("room-", 100);
	struct sweep_counts n = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "home", 1, 5, 50);
	add(p, 7, "room-", "room", 1, 5, 50);
	add(p, 7, "room-x-", "room", 1, 5, 50);
	add(p, 7, "rooms", "home", 1, 5, 50);
	add(p, 7, "old-", "gone", 1, 5, 50);
	add(p, 7, "zz", "", 1, 5, 50);
	plain.others = others;
	plain.n_others = 2;
	plain.kind = "home";
	rooms.others = others + 1;
	rooms.n_others = 1;
	CHECK(sweep_count(p, &rooms, &n, &err) == 0 && n.live == 5 && n.unseen == 5);
	CHECK(run(p, &rooms) == 5);
	CHECK_SQL(
		p,
		"SELECT string_agg(DISTINCT regexp_replace(external_id, '[0-9]+$', ''), ',') FROM resources WHERE"
		" deleted_at IS NOT NULL",
		"room-");
	n = (struct sweep_counts){ 0 };
	CHECK(sweep_count(p, &plain, &n, &err) == 0 && n.live == 10 && n.unseen == 10);
	CHECK(run(p, &plain) == 10);
	CHECK_SQL(
		p,
		"SELECT string_agg(DISTINCT regexp_replace(external_id, '[0-9]+$', ''), ',' ORDER BY"
		" regexp_replace(external_id, '[0-9]+$', '')) FROM resources WHERE deleted_at IS NULL",
		"old-,room-x-,zz");
}

static void test_collections_are_told_apart(void **state)
{
	assert_int_equal(in_coroutine(family_body), 0);
}

/* Whoever dies between two slices leaves the rest to the next. */
static void slices_body(struct pg *p)
{
	struct sweep s = sweep_of("", 100);
	struct told told = { .stop_after = 3 };
	struct sweep_counts n = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "a", "", 1, 12500, 100);
	add(p, 7, "b", "", 1, 5500, 50);
	add(p, 7, "c", "", 1, 12500, 100);
	add(p, 7, "d", "", 1, 1000, 50);
	CHECK(sweep_count(p, &s, &n, &err) == 0 && n.live == 31500 && n.unseen == 6500);
	CHECK(sweep_run(p, &s, NULL, on_slice, &told, &err) == -ECANCELED);
	CHECK(told.rows == 3 * SWEEP_SLICE);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "3000");
	CHECK(run(p, &s) == 3500);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "6500");
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE version > 2", "0");
}

static void test_it_goes_in_slices(void **state)
{
	assert_int_equal(in_coroutine(slices_body), 0);
}

static void fence_body(struct pg *p)
{
	struct sweep s = sweep_of("", 100);
	struct sweep_fence fence = { "listings", "job1", 2, 10, 12345 };
	struct told told = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 2500, 50);
	ask(p,
	    "INSERT INTO checkpoints (integration_id, collection, job_id, state, generation, fence) VALUES (7, 'listings',"
	    " 'job1', '{\"since_us\": 5, \"run\": {\"id\": 3, \"deleted\": 4}}', 2, 11)");
	CHECK(sweep_run(p, &s, &fence, on_slice, &told, &err) == -ESTALE && told.rows == 0);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "0");
	ask(p, "UPDATE checkpoints SET fence = 10, job_id = 'job2'");
	CHECK(sweep_run(p, &s, &fence, on_slice, &told, &err) == -ESTALE && told.rows == 0);
	ask(p, "UPDATE checkpoints SET job_id = 'job1'");
	CHECK(sweep_run(p, &s, &fence, on_slice, &told, &err) == 0 && told.rows == 2500);
	CHECK_SQL(p, "SELECT state::text FROM checkpoints",
		  "{\"run\": {\"id\": 3, \"deleted\": 2504}, \"at_ms\": 12345, \"since_us\": 5}");
}

static void test_a_newer_claim_ends_it(void **state)
{
	assert_int_equal(in_coroutine(fence_body), 0);
}

static void add_media(struct pg *p, const char *prefix, int each, int seen_s)
{
	char sql[400];

	snprintf(
		sql, sizeof(sql),
		"INSERT INTO media (integration_id, external_id, resource_external_id, kind, observed_at) SELECT 7, '%s' ||"
		" external_id || '-' || n, external_id, 'photo', to_timestamp(1700000000 + %d) FROM resources,"
		" generate_series(1, %d) n",
		prefix, seen_s, each);
	ask(p, sql);
}

static void parents_body(struct pg *p)
{
	const char *const parents[] = { "000002", "000003", "nobody" };
	struct sweep s = { .table = ROW_MEDIA,
			   .integration_id = 7,
			   .prefix = "",
			   .kind = "photo",
			   .parents = parents,
			   .n_parents = 3,
			   .before_us = T0 + 100 * SECOND };
	struct sweep_counts n = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 3, 50);
	add_media(p, "", 2, 100);
	ask(p,
	    "UPDATE media SET observed_at = to_timestamp(1700000099) WHERE external_id LIKE '00000_-1' AND"
	    " external_id <> '000003-1'");
	CHECK(sweep_count(p, &s, &n, &err) == 0);
	CHECK(n.live == 4 && n.unseen == 1 && n.parents == 2 && n.with_unseen == 1);
	CHECK(run(p, &s) == 1);
	CHECK_SQL(p, "SELECT string_agg(external_id, ',') FROM media WHERE deleted_at IS NOT NULL",
		  "000002-1");
	s.n_parents = 0; /* of none is not of all */
	CHECK(run(p, &s) == 0);
}

static void test_only_of_these_parents(void **state)
{
	assert_int_equal(in_coroutine(parents_body), 0);
}

/* What came with a row goes with it, by whatever chain. */
static void children_body(struct pg *p)
{
	struct sweep photos = { .table = ROW_MEDIA, .prefix = "", .kind = "photo" };
	struct sweep s = sweep_of("", 100);

	prepare(p);
	add(p, 7, "", "", 1, 2100, 50);
	add(p, 7, "new", "", 1, 5, 100);
	add_media(p, "", 1, 50);
	add_media(p, "late-", 1, 150);
	s.children = &photos;
	s.n_children = 1;
	CHECK(run(p, &s) == 2100 + 2100);
	CHECK_SQL(
		p,
		"SELECT count(*) FROM media WHERE deleted_at IS NULL AND external_id NOT LIKE 'late-%'",
		"5");
	CHECK_SQL(
		p,
		"SELECT count(*) FROM media WHERE deleted_at IS NOT NULL AND external_id LIKE 'late-%'",
		"0");
}

static void test_children_go_with_their_parents(void **state)
{
	assert_int_equal(in_coroutine(children_body), 0);
}

static void seen_body(struct pg *p)
{
	const char *const ids[] = { "000003", "000001", "000002", "none" };
	struct sweep s = sweep_of("", 100);
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 4, 50);
	add(p, 8, "", "", 1, 4, 50);
	ask(p,
	    "UPDATE resources SET observed_at = to_timestamp(1700000200) WHERE external_id = '000002'");
	CHECK(sweep_seen(p, ROW_RESOURCES, 7, ids, 4, T0 + 100 * SECOND, &err) == 0);
	CHECK_SQL(
		p,
		"SELECT string_agg(extract(epoch FROM observed_at)::int8 - 1700000000 || ':' || version, ' ' ORDER BY"
		" integration_id, external_id) FROM resources",
		"100:1 200:1 100:1 50:1 50:1 200:1 50:1 50:1");
	CHECK(run(p, &s) == 1);
	CHECK(sweep_seen(p, ROW_RESOURCES, 7, ids, 4, T0 + 300 * SECOND, &err) == 0);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "1");
}

static void test_what_was_seen_stays(void **state)
{
	assert_int_equal(in_coroutine(seen_body), 0);
}

static void brake_body(struct pg *p)
{
	struct sweep photos = { .table = ROW_MEDIA, .prefix = "", .kind = "photo" };
	struct sweep s = sweep_of("", 100);
	struct sweep_counts n = { .live = 10, .unseen = 9 };
	struct braked h = { 5, "listings", &s, &n };
	const char *const names[] = { "listings" };
	struct brake_outcome out = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 9, 50);
	add(p, 7, "", "", 10, 10, 100);
	add_media(p, "", 2, 50);
	s.children = &photos;
	s.n_children = 1;
	ask(p,
	    "INSERT INTO runs (id, root_id, integration_id, task, mode, state, started_at) VALUES (5, 5, 7, 'import_resources',"
	    " 'full', 'done', now())");
	CHECK(brake_hold(p, &h, &err) == 0 && brake_hold(p, &h, &err) == 0);
	CHECK_SQL(
		p,
		"SELECT count(*) FROM held_deletions WHERE state = 'held' AND unseen = 9 AND live = 10",
		"1");
	CHECK_SQL(
		p,
		"SELECT kind || ' ' || state || ' ' || (what LIKE '%listings: 9 of 10 rows (run 5)%') || (todo LIKE"
		" '%confirm-deletes 5%') FROM alerts WHERE scope = 'integration:7'",
		"deletions_held open truetrue");
	/* One row was seen after all. */
	ask(p, "UPDATE resources SET observed_at = now() WHERE external_id = '000001'");
	CHECK(brake_supersede(p, 7, 5, names, 1, &err) == 0); /* its own */
	CHECK(brake_confirm(p, 5, &out, &err) == 0);
	CHECK(out.held == 1 && out.deleted == 8 + 16);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NULL", "2");
	CHECK_SQL(p, "SELECT state || deleted FROM held_deletions", "confirmed24");
	CHECK_SQL(p, "SELECT deleted FROM runs", "24");
	CHECK_SQL(p, "SELECT state FROM alerts", "resolved");
	CHECK(brake_confirm(p, 5, &out, &err) == 0 && out.held == 0 && out.deleted == 0);
	CHECK(strcmp(out.state, "confirmed") == 0);
	CHECK(brake_confirm(p, 6, &out, &err) == 0 && out.held == 0 && out.state[0] == '\0');
}

static void test_what_is_held_is_confirmed(void **state)
{
	assert_int_equal(in_coroutine(brake_body), 0);
}

/* Whoever dies on the way has told of what is marked, and who goes on counts it. */
static void died_body(struct pg *p)
{
	struct sweep photos = { .table = ROW_MEDIA, .prefix = "", .kind = "photo" };
	struct sweep s = sweep_of("", 100);
	struct sweep_counts n = { .live = 2500, .unseen = 2500 };
	struct braked h = { 5, "listings", &s, &n };
	struct told told = { .stop_after = 2 };
	struct brake_outcome out = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 2500, 50);
	add_media(p, "", 1, 50);
	s.children = &photos;
	s.n_children = 1;
	ask(p,
	    "INSERT INTO runs (id, root_id, integration_id, task, mode, state, started_at, deleted) VALUES (5, 5, 7,"
	    " 'import_resources', 'full', 'done', now(), 3)");
	CHECK(brake_hold(p, &h, &err) == 0);
	s.run_id = 5;
	s.held_id = strtoll(ask(p, "SELECT id FROM held_deletions"), NULL, 10);
	CHECK(sweep_run(p, &s, NULL, on_slice, &told, &err) == -ECANCELED);
	CHECK_SQL(p, "SELECT state || deleted FROM held_deletions", "held2000");
	CHECK_SQL(p, "SELECT deleted FROM runs", "2003");
	CHECK(brake_confirm(p, 5, &out, &err) == 0 && out.held == 1);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NULL", "0");
	CHECK_SQL(p, "SELECT count(*) FROM media WHERE deleted_at IS NULL", "0");
	CHECK_SQL(
		p,
		"SELECT h.state || (h.deleted = (SELECT count(*) FROM resources) + (SELECT count(*) FROM media))"
		" || (r.deleted = h.deleted + 3) FROM held_deletions h, runs r",
		"confirmedtruetrue");
	CHECK(out.deleted > 2500);
}

static void test_what_a_dead_confirmation_marked_counts(void **state)
{
	assert_int_equal(in_coroutine(died_body), 0);
}

static void supersede_body(struct pg *p)
{
	struct sweep s = sweep_of("", 100);
	struct sweep_counts n = { .live = 10, .unseen = 9 };
	const char *const parents[] = { "1", "2" }, *const names[] = { "listings", "photos" };
	struct sweep of = { .table = ROW_MEDIA,
			    .integration_id = 7,
			    .prefix = "",
			    .parents = parents,
			    .n_parents = 2,
			    .before_us = T0 };
	struct braked h = { 5, "listings", &s, &n }, part = { 5, "photos", &of, &n };
	struct brake_outcome out = { 0 };
	struct err err = { 0 };

	prepare(p);
	add(p, 7, "", "", 1, 9, 50);
	CHECK(brake_hold(p, &h, &err) == 0 && brake_hold(p, &part, &err) == 0);
	of.n_parents = 1;
	CHECK(brake_hold(p, &part, &err) == 0);
	CHECK_SQL(p, "SELECT count(*) FROM held_deletions", "3");
	CHECK(brake_supersede(p, 8, 9, names, 2, &err) == 0);
	CHECK_SQL(p, "SELECT count(*) FROM held_deletions WHERE state = 'held'", "3");
	CHECK(brake_supersede(p, 7, 9, names, 1, &err) == 0);
	CHECK_SQL(p, "SELECT count(*) FROM held_deletions WHERE state = 'held'", "2");
	CHECK_SQL(p, "SELECT state FROM alerts", "open");
	CHECK(brake_supersede(p, 7, 9, names, 2, &err) == 0);
	CHECK_SQL(p, "SELECT state FROM alerts", "resolved");
	CHECK(brake_confirm(p, 5, &out, &err) == 0 && out.held == 0);
	CHECK(strcmp(out.state, "superseded") == 0 && out.newer_id == 9);
	CHECK_SQL(p, "SELECT count(*) FROM resources WHERE deleted_at IS NOT NULL", "0");
}

static void test_a_later_scan_decides_anew(void **state)
{
	assert_int_equal(in_coroutine(supersede_body), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks_what_was_not_seen),
		cmocka_unit_test(test_collections_are_told_apart),
		cmocka_unit_test(test_it_goes_in_slices),
		cmocka_unit_test(test_a_newer_claim_ends_it),
		cmocka_unit_test(test_only_of_these_parents),
		cmocka_unit_test(test_children_go_with_their_parents),
		cmocka_unit_test(test_what_was_seen_stays),
		cmocka_unit_test(test_what_is_held_is_confirmed),
		cmocka_unit_test(test_what_a_dead_confirmation_marked_counts),
		cmocka_unit_test(test_a_later_scan_decides_anew),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
