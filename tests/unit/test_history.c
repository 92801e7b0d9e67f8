/* What changed in the row tables, and what stood there: against a real Postgres. */
#include "common/store/history.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/store/id_link.h"
#include "common/store/store.h"
#include "tests/unit/postgres_trouble.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000

static struct pg *pg;

static int64_t soon(void)
{
	return loop_now_ms() + PATIENCE_MS;
}

static int col(enum row_table t, const char *name)
{
	int c = row_column_find(t, name);

	CHECK(c >= 0);
	return c < 0 ? 0 : c;
}

/* Writes one row of a table by all its text columns named here. */
struct write {
	enum row_table table;
	const char *id;
	int observed_s;
	const char *column, *text;
	const char *column2, *text2;
	struct row_origin origin;
	unsigned how;
};

static void put_text(struct row *r, enum row_table t, const char *column, const char *text,
		     uint64_t *columns)
{
	int c;

	if (!column)
		return;
	c = col(t, column);
	*columns |= (uint64_t)1 << c;
	r->values[c].set = text != NULL;
	r->values[c].v.s.p = text;
	r->values[c].v.s.n = text ? strlen(text) : 0;
}

static enum row_outcome put(const struct write *w)
{
	struct row *r = mem_zalloc(sizeof(*r));
	const struct row *rows[] = { r };
	enum row_outcome out = ROW_FAILED;
	struct pg_params params;
	struct err err = { 0 };
	PGresult *res = NULL;
	uint64_t columns = 0;
	unsigned how = w->how ? 0 : ROW_WITH_HISTORY;

	r->integration_id = 7;
	r->external_id = w->id;
	r->observed_us = T0 + (int64_t)w->observed_s * SECOND;
	put_text(r, w->table, w->column, w->text, &columns);
	put_text(r, w->table, w->column2, w->text2, &columns);
	pg_params_init(&params);
	row_upsert_params(w->table, columns, how, rows, &w->origin, 1, &params);
	CHECK(pg_exec(pg, row_upsert_sql(w->table, columns, how), &params, &res, soon(), &err) ==
	      0);
	pg_params_clear(&params);
	if (res)
		row_upsert_outcomes(res, NULL, rows, 1, &out);
	else
		fprintf(stderr, "%s\n", err.text);
	PQclear(res);
	free(r);
	return out;
}
#define PUT(...) put(&(struct write){ __VA_ARGS__ })

static bool says(const char *sql, const char *want)
{
	const char *is = other_says(sql);

	if (strcmp(is, want) != 0)
		fprintf(stderr, "%s: is \"%s\", not \"%s\"\n", sql, is, want);
	return strcmp(is, want) == 0;
}

/* Now, as a literal that is later than all that was written. */
static char *moment(void)
{
	return mem_strdup(other_says("SELECT clock_timestamp()"));
}

/* ---- what is written ---- */

static void changes_body(struct pg *p)
{
	const struct row_origin full = { ROW_FULL, 41 }, hook = { ROW_WEBHOOK, 0 };

	CHECK(PUT(.id = "a", .observed_s = 1, .column = "name", .text = "One", .column2 = "city",
		  .text2 = "Lisbon", .origin = full) == ROW_ADDED);
	CHECK(PUT(.id = "a", .observed_s = 2, .column = "name", .text = "One", .column2 = "city",
		  .text2 = "Lisbon", .origin = full) == ROW_UNCHANGED);
	CHECK(PUT(.id = "a", .observed_s = 3, .column = "name", .text = "T\"w\n\xc3\xb6",
		  .column2 = "city", .text2 = NULL, .origin = hook) == ROW_UPDATED);
	CHECK(PUT(.id = "a", .observed_s = 1, .column = "name", .text = "Old") == ROW_STALE);
	other_says(
		"UPDATE resources SET deleted_at = to_timestamp(1700000100), version = version + 1");
	CHECK(PUT(.id = "a", .observed_s = 200, .column = "name", .text = "T\"w\n\xc3\xb6",
		  .origin = { ROW_SINGLE, 42 }) == ROW_UNDELETED);
	CHECK(says(
		"SELECT string_agg(concat_ws(' ', version, what, source, run_id), ', ' ORDER BY version)"
		" FROM resource_changes WHERE integration_id = 7 AND external_id = 'a'",
		"1 added full 41, 2 updated webhook, 4 undeleted single 42"));
	CHECK(says("SELECT changes - 'name' FROM resource_changes WHERE version = 2",
		   "{\"city\": [\"Lisbon\", null]}"));
	CHECK(says(
		"SELECT (changes->'name'->>0 = 'One' AND changes->'name'->>1 = E'T\"w\\n\xc3\xb6')"
		" FROM resource_changes WHERE version = 2",
		"t"));
	CHECK(says("SELECT (changes->'deleted_at'->>0)::timestamptz = to_timestamp(1700000100)"
		   " FROM resource_changes WHERE version = 4",
		   "t"));
	CHECK(says(
		"SELECT bool_and(c.observed_at IS NOT NULL) AND max(c.changed_at) = max(r.changed_at)"
		" FROM resource_changes c, resources r",
		"t"));
}

/* What jsonb holds comes through, its nulls too; numbers and times as they are. */
static void types_body(struct pg *p)
{
	CHECK(PUT(.id = "a", .observed_s = 1, .column = "extra",
		  .text = "{\"a\": null, \"b\": [1]}") == ROW_ADDED);
	CHECK(PUT(.id = "a", .observed_s = 2, .column = "extra",
		  .text = "{\"a\": {\"c\": null}}") == ROW_UPDATED);
	CHECK(says("SELECT changes FROM resource_changes WHERE version = 2",
		   "{\"extra\": [{\"a\": null, \"b\": [1]}, {\"a\": {\"c\": null}}]}"));
	CHECK(PUT(.table = ROW_TRANSACTIONS, .id = "t", .observed_s = 1, .column = "status",
		  .text = "pending") == ROW_ADDED);
	CHECK(PUT(.table = ROW_MEDIA, .id = "m", .observed_s = 1, .column = "url", .text = "u") ==
	      ROW_ADDED);
	CHECK(says(
		"SELECT (SELECT count(*) FROM transaction_changes) || ' ' || (SELECT count(*) FROM"
		" media_changes)",
		"1 1"));
}

/* Off: the plain statement, and nothing of an earlier change is left in the row. */
static void off_body(struct pg *p)
{
	CHECK(PUT(.id = "a", .observed_s = 1, .column = "name", .text = "One") == ROW_ADDED);
	CHECK(PUT(.id = "a", .observed_s = 2, .column = "name", .text = "Two") == ROW_UPDATED);
	CHECK(PUT(.id = "a", .observed_s = 3, .column = "name", .text = "Three", .how = 1) ==
	      ROW_UPDATED);
	CHECK(says("SELECT count(*) || ' ' || max(version) FROM resource_changes", "2 2"));
	CHECK(says("SELECT version || ' ' || (change IS NULL) FROM resources", "3 true"));
}

/* ---- what stood there ---- */

static const char *at(const char *when)
{
	char *sql =
		mem_printf("SELECT concat_ws(' ', version, name, city, deleted_at IS NOT NULL) FROM"
			   " resource_at(7, 'a', '%s')",
			   when);
	const char *is = other_says(sql);

	free(sql);
	return is;
}

static void at_body(struct pg *p)
{
	char *t0 = moment(), *t1, *t2, *t3, *t4;

	PUT(.id = "a", .observed_s = 1, .column = "name", .text = "One", .column2 = "city",
	    .text2 = "Faro");
	t1 = moment();
	PUT(.id = "a", .observed_s = 2, .column = "name", .text = "Two", .column2 = "city",
	    .text2 = "Faro");
	PUT(.id = "a", .observed_s = 3, .column = "name", .text = "Two", .column2 = "city",
	    .text2 = "Faro");
	t2 = moment();
	other_says(
		"WITH w AS (UPDATE resources SET deleted_at = now(), version = version + 1, changed_at = now(), change ="
		" jsonb_build_object('deleted_at', jsonb_build_array(NULL, now())) RETURNING *)"
		" INSERT INTO resource_changes (integration_id, external_id, version, changed_at, what, changes)"
		" SELECT integration_id, external_id, version, changed_at, 'deleted', change FROM w");
	t3 = moment();
	PUT(.id = "a", .observed_s = 9, .column = "name", .text = "Two", .column2 = "city",
	    .text2 = NULL);
	t4 = moment();
	CHECK(strcmp(at(t0), "") == 0); /* no row */
	CHECK(strcmp(at(t1), "1 One Faro f") == 0);
	CHECK(strcmp(at(t2), "2 Two Faro f") == 0);
	CHECK(strcmp(at(t3), "3 Two Faro t") == 0);
	CHECK(strcmp(at(t4), "4 Two f") == 0);
	CHECK(strcmp(at("infinity"), "4 Two f") == 0);
	/* Two changes in one moment, or the clock set back: the version is what orders them. */
	other_says(
		"UPDATE resource_changes SET changed_at = changed_at - interval '1 hour' WHERE version = 4");
	CHECK(strcmp(at(t4), "4 Two f") == 0);
	free(t0);
	free(t1);
	free(t2);
	free(t3);
	free(t4);
}

/* A hole is told, never guessed over. */
static bool is_unknown(const char *when)
{
	char *sql = mem_printf("SELECT * FROM resource_at(7, 'a', '%s')", when);
	PGresult *res = PQexec(other, sql);
	bool unknown = PQresultStatus(res) == PGRES_FATAL_ERROR &&
		       strstr(PQresultErrorMessage(res), "is not known");

	PQclear(res);
	free(sql);
	return unknown;
}

static void hole_body(struct pg *p)
{
	char *t1, *t2, *t3;

	PUT(.id = "a", .observed_s = 1, .column = "name", .text = "One");
	t1 = moment();
	PUT(.id = "a", .observed_s = 2, .column = "name", .text = "Two", .how = 1); /* off */
	t2 = moment();
	PUT(.id = "a", .observed_s = 3, .column = "name", .text = "Three");
	t3 = moment();
	CHECK(strcmp(at(t3), "3 Three f") == 0);
	CHECK(is_unknown(t2));
	CHECK(is_unknown(t1));
	free(t1);
	/* Of a row that was there before history, the first state is known from its first change. */
	other_says("DELETE FROM resource_changes; UPDATE resources SET version = 1, first_seen_at ="
		   " changed_at");
	t1 = moment();
	PUT(.id = "a", .observed_s = 5, .column = "name", .text = "Five");
	CHECK(strcmp(at(t1), "1 Three f") == 0);
	free(t1);
	free(t2);
	free(t3);
}

/* ---- partitions ---- */

static int told;

static void tell(const char *partition, const char *done, void *arg)
{
	told++;
}

static void keep_body(struct pg *p)
{
	struct err err = { 0 };

	/* Nobody made partitions for months: nothing is lost, and it is moved where it belongs. */
	other_says(
		"DO $$ DECLARE t text; BEGIN FOR t IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid ="
		" i.inhrelid WHERE i.inhparent = 'resource_changes'::regclass AND c.relname <>"
		" 'resource_changes_other' LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$");
	PUT(.id = "a", .observed_s = 1, .column = "name", .text = "One");
	other_says(
		"INSERT INTO resource_changes (integration_id, external_id, version, changed_at, what)"
		" VALUES (7, 'b', 1, now() - interval '100 days', 'added'), (7, 'c', 1, now() - interval '500 days', 'added')");
	CHECK(says("SELECT count(*) FROM resource_changes_other", "3"));
	told = 0;
	CHECK(history_keep(pg, tell, NULL, &err) == 0 && told >= 4);
	CHECK(says("SELECT count(*) FROM resource_changes_other", "0"));
	CHECK(says("SELECT string_agg(external_id, '' ORDER BY external_id) FROM resource_changes",
		   "ab"));
	told = 0;
	CHECK(history_keep(pg, tell, NULL, &err) == 0 && told == 0); /* twice does nothing */

	/* Retention: by whole months. */
	CHECK(history_set(pg, ROW_RESOURCES, -1, 30, &err) == 0);
	told = 0;
	CHECK(history_keep(pg, tell, NULL, &err) == 0 && told == 1);
	CHECK(says("SELECT string_agg(external_id, '') FROM resource_changes", "a"));
	CHECK(history_set(pg, ROW_RESOURCES, -1, 400, &err) == 0);
}

static void see_setting(const struct history_setting *h, void *arg)
{
	struct buf *b = arg;

	buf_printf(b, "%s %d %lld ", row_table_name(h->table), h->on, (long long)h->keep_days);
	CHECK(h->since && strlen(h->since) == 10);
}

static void settings_body(struct pg *p)
{
	struct err err = { 0 };
	struct buf b = BUF_INIT;
	bool on[ROW_TABLES] = { false, true, false };
	PGresult *res = NULL;

	CHECK(history_set(pg, ROW_RESOURCES, 0, 0, &err) == 0);
	CHECK(history_set(pg, ROW_MEDIA, 1, 30, &err) == 0);
	CHECK(history_each(pg, see_setting, &b, &err) == 0);
	CHECK(strcmp(buf_str(&b), "resources 0 400 transactions 1 400 media 1 30 ") == 0);
	CHECK(pg_exec(pg, history_sql(), NULL, &res, soon(), &err) == 0);
	history_read(res, on);
	CHECK(!on[ROW_RESOURCES] && on[ROW_TRANSACTIONS] && on[ROW_MEDIA]);
	PQclear(res);
	buf_clear(&b);
	CHECK(history_set(pg, ROW_RESOURCES, 1, 0, &err) == 0);
	CHECK(history_set(pg, ROW_MEDIA, 0, 400, &err) == 0);
}

/* ---- ids that a partner changed ---- */

/* Beside one that is there, for the order of answers: -1 if that is wrong. */
static int missing(const char *old_id, const char *new_id)
{
	const struct id_link v[] = {
		{ .integration_id = 7, .old_id = "none", .new_id = "such" },
		{ .integration_id = 7, .old_id = old_id, .new_id = new_id },
	};
	struct err err = { 0 };
	bool out[2] = { false, false };

	CHECK(id_links_missing(pg, v, 2, out, &err) == 0);
	return out[0] ? out[1] : -1;
}

static void link_body(struct pg *p)
{
	struct id_link l = { .integration_id = 7,
			     .old_id = "old",
			     .new_id = "new",
			     .observed_us = T0 + 10 * SECOND };
	struct id_link_result r = { 0 };
	struct err err = { 0 };

	PUT(.id = "old", .observed_s = 1, .column = "name", .text = "Old");
	PUT(.table = ROW_TRANSACTIONS, .id = "t", .observed_s = 1, .column = "resource_external_id",
	    .text = "old");
	PUT(.table = ROW_TRANSACTIONS, .id = "u", .observed_s = 1, .column = "resource_external_id",
	    .text = "other");
	PUT(.table = ROW_MEDIA, .id = "m", .observed_s = 1, .column = "resource_external_id",
	    .text = "old");
	CHECK(id_link_put(pg, &l, &r, &err) == 0 && r.marked && r.children == 2);
	CHECK(says("SELECT replaced_by || (deleted_at IS NOT NULL) || version FROM resources",
		   "newtrue2"));
	CHECK(missing("old", "new") == 0 && missing("old", "newer") == 1 &&
	      missing("nobody", "new") == 1);
	CHECK(says(
		"SELECT string_agg(resource_external_id, ' ' ORDER BY external_id) FROM transactions",
		"new other"));
	CHECK(says(
		"SELECT string_agg(what || ' ' || source, ', ' ORDER BY what) FROM (SELECT what, source FROM resource_changes"
		" WHERE version = 2 UNION ALL SELECT what, source FROM transaction_changes WHERE version = 2) x",
		"moved link, replaced link"));
	CHECK(says("SELECT changes FROM transaction_changes WHERE version = 2",
		   "{\"resource_external_id\": [\"old\", \"new\"]}"));
	/* Twice changes nothing; an older reading does not bring it back, a later one does. */
	CHECK(id_link_put(pg, &l, &r, &err) == 0 && !r.marked && r.children == 0);
	CHECK(says("SELECT count(*) FROM id_links", "1"));
	CHECK(PUT(.id = "old", .observed_s = 9, .column = "name", .text = "Old") == ROW_STALE);
	CHECK(PUT(.id = "old", .observed_s = 11, .column = "name", .text = "Old") == ROW_UNDELETED);
	CHECK(says("SELECT replaced_by IS NULL AND deleted_at IS NULL FROM resources", "t"));
	CHECK(says("SELECT changes->'replaced_by' FROM resource_changes WHERE what = 'undeleted'",
		   "[\"new\", null]"));

	CHECK(missing("old", "new") == 1); /* it is itself again */

	/* A split: both links, the first mark stays, children wait for the partner. */
	l = (struct id_link){ .integration_id = 7,
			      .old_id = "other",
			      .new_id = "x",
			      .split = true,
			      .observed_us = T0 };
	PUT(.id = "other", .observed_s = 1, .column = "name", .text = "Other");
	CHECK(id_link_put(pg, &l, &r, &err) == 0 && r.marked && r.children == 0);
	l.new_id = "y";
	CHECK(id_link_put(pg, &l, &r, &err) == 0 && !r.marked);
	CHECK(says(
		"SELECT replaced_by || (SELECT count(*) FROM id_links WHERE old_external_id = 'other')"
		" FROM resources WHERE external_id = 'other'",
		"x2"));
	l.new_id = "other";
	CHECK(id_link_put(pg, &l, &r, &err) == -EINVAL);
}

/* ---- running ---- */

static void (*body)(struct pg *p);

static void prepared(struct pg *p)
{
	struct err err = { 0 };

	pg = p;
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	other_says(
		"TRUNCATE resources, transactions, media, resource_changes, transaction_changes, media_changes, id_links");
	body(p);
}

#define TEST(name)                                           \
	static void test_##name(void **state)                \
	{                                                    \
		body = name##_body;                          \
		assert_int_equal(in_coroutine(prepared), 0); \
		other_leaves();                              \
	}
TEST(changes)
TEST(types)
TEST(off)
TEST(at)
TEST(hole)
TEST(keep)
TEST(settings)
TEST(link)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),  cmocka_unit_test(test_types),
		cmocka_unit_test(test_off),      cmocka_unit_test(test_at),
		cmocka_unit_test(test_hole),     cmocka_unit_test(test_keep),
		cmocka_unit_test(test_settings), cmocka_unit_test(test_link),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
