#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/store/rows.h"
#include "common/store/store.h"
#include "tests/unit/postgres.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000

/* Each test runs once with every way to write. */
static unsigned how;
static const struct row_origin origins[10];

static int col(const char *name)
{
	int c = row_column_find(ROW_RESOURCES, name);

	CHECK(c >= 0);
	return c < 0 ? 0 : c;
}

static uint64_t name_and_capacity(void)
{
	return (uint64_t)1 << col("name") | (uint64_t)1 << col("capacity");
}

/* updated_s < 0: the partner says nothing of it. */
static struct row row(const char *id, int updated_s, int observed_s, const char *name, int capacity)
{
	struct row r = { .integration_id = 7,
			 .external_id = id,
			 .has_partner_updated = updated_s >= 0,
			 .partner_updated_us = T0 + (int64_t)updated_s * SECOND,
			 .observed_us = T0 + (int64_t)observed_s * SECOND };

	r.values[col("name")].set = name != NULL;
	r.values[col("name")].v.s.p = name;
	r.values[col("name")].v.s.n = name ? strlen(name) : 0;
	r.values[col("capacity")].set = true;
	r.values[col("capacity")].v.i = capacity;
	return r;
}

static void write_rows(struct pg *p, enum row_table t, uint64_t set, const struct row *const *rows,
		       int n, enum row_outcome *out)
{
	struct pg_params params;
	struct err err = { 0 };
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	row_upsert_params(t, set, how, rows, origins, n, &params);
	rc = pg_exec(p, row_upsert_sql(t, set, how), &params, &res, loop_now_ms() + 10000, &err);
	pg_params_clear(&params);
	if (rc < 0)
		fprintf(stderr, "%s %s\n", err.rule, err.text);
	CHECK(rc == 0);
	if (rc == 0)
		row_upsert_outcomes(res, NULL, rows, n, out);
	PQclear(res);
}

static enum row_outcome write_one(struct pg *p, const struct row *r)
{
	enum row_outcome out = ROW_FAILED;

	write_rows(p, ROW_RESOURCES, name_and_capacity(), &r, 1, &out);
	return out;
}

static enum row_outcome put(struct pg *p, const char *id, int updated_s, int observed_s,
			    const char *name, int capacity)
{
	struct row r = row(id, updated_s, observed_s, name, capacity);

	return write_one(p, &r);
}

/* The first value of the first row as text; "" if none. Valid until the next call. */
static const char *ask(struct pg *p, const char *sql)
{
	static char text[256];
	PGresult *res = NULL;

	text[0] = 0;
	CHECK(pg_execv(p, &res, loop_now_ms() + 10000, NULL, sql, NULL) == 0);
	if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res))
		snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return text;
}

static void ignore_applied(int number, const char *name, void *arg)
{
}

static void prepare(struct pg *p)
{
	struct err err = { 0 };

	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	ask(p, "TRUNCATE resources, transactions, media");
}

static void guard_body(struct pg *p)
{
	prepare(p);
	CHECK(put(p, "a", 10, 100, "One", 2) == ROW_ADDED);
	CHECK(put(p, "a", 10, 100, "Two", 2) == ROW_STALE); /* the very same moment */
	CHECK(put(p, "a", 9, 200, "Two", 2) ==
	      ROW_STALE); /* observed later, but older at the partner */
	CHECK(put(p, "a", 10, 101, "One", 2) == ROW_UNCHANGED);
	CHECK(strcmp(ask(p, "SELECT version::text || name || (observed_at ="
			    " to_timestamp(1700000101)) FROM resources"),
		     "1Onetrue") == 0);
	CHECK(put(p, "a", 10, 102, "Two", 2) == ROW_UPDATED);
	CHECK(put(p, "a", 11, 50, "Three", 3) ==
	      ROW_UPDATED); /* newer at the partner, whenever it was fetched */
	CHECK(put(p, "a", -1, 49, "Four", 3) ==
	      ROW_STALE); /* one side without: the later observation */
	CHECK(put(p, "a", -1, 51, "Four", 3) == ROW_UPDATED);
	CHECK(put(p, "a", 1, 52, NULL, 3) == ROW_UPDATED);
	CHECK(strcmp(ask(p,
			 "SELECT version::text || coalesce(name, '-') || capacity FROM resources"),
		     "5-3") == 0);
	CHECK(strcmp(ask(p, "SELECT count(*) FROM resources"), "1") == 0);
}

static void in_every_way(void (*body)(struct pg *p))
{
	for (how = 0; how <= ROW_WITH_HISTORY + ROW_EXPECTING; how++)
		if (how != ROW_EXPECTING) /* needs one statement more */
			assert_int_equal(in_coroutine(body), 0);
}

static void test_guard(void **state)
{
	in_every_way(guard_body);
}

static void deletion_body(struct pg *p)
{
	prepare(p);
	CHECK(put(p, "gone", 10, 100, "One", 2) == ROW_ADDED);
	ask(p, "UPDATE resources SET deleted_at = now(), observed_at = to_timestamp(1700000150)");
	CHECK(put(p, "gone", 11, 149, "One", 2) == ROW_STALE);
	CHECK(strcmp(ask(p, "SELECT deleted_at IS NULL FROM resources"), "f") == 0);
	CHECK(put(p, "gone", 9, 151, "One", 2) == ROW_UNDELETED);
	CHECK(strcmp(ask(p, "SELECT (deleted_at IS NULL)::text || version FROM resources"),
		     "true2") == 0);
	CHECK(put(p, "gone", 9, 152, "One", 2) == ROW_UNCHANGED);
}

static enum row_outcome put_gone(struct pg *p, const char *id, int updated_s, int observed_s)
{
	struct row r = row(id, updated_s, observed_s, NULL, 0);
	const struct row *one = &r;
	enum row_outcome out = ROW_FAILED;

	write_rows(p, ROW_RESOURCES, ROW_GONE, &one, 1, &out);
	return out;
}

static void gone_body(struct pg *p)
{
	prepare(p);
	CHECK(put(p, "a", 10, 100, "One", 2) == ROW_ADDED);
	CHECK(put_gone(p, "a", 9, 150) == ROW_STALE);
	CHECK(put_gone(p, "a", 10, 100) == ROW_STALE);
	CHECK(put_gone(p, "a", 11, 90) == ROW_DELETED); /* newer at the partner */
	CHECK(strcmp(ask(p,
			 "SELECT (deleted_at = changed_at)::text || version || name || capacity FROM resources"),
		     "true2One2") == 0);
	CHECK(put_gone(p, "a", 11, 91) == ROW_UNCHANGED);
	CHECK(put(p, "a", 12, 91, "One", 2) == ROW_STALE);
	CHECK(put(p, "a", 12, 92, "One", 2) == ROW_UNDELETED);
	CHECK(put_gone(p, "a", -1, 93) == ROW_DELETED);
	/* News of it from before, that comes after. */
	CHECK(put_gone(p, "b", 20, 200) == ROW_UNCHANGED);
	CHECK(put(p, "b", 19, 199, "Late", 2) == ROW_STALE);
	CHECK(strcmp(ask(p, "SELECT count(*) FROM resources WHERE deleted_at IS NULL"), "0") == 0);
	CHECK(put(p, "b", 21, 201, "Back", 2) == ROW_UNDELETED);
}

static void test_what_the_partner_calls_deleted(void **state)
{
	assert_int_equal(in_coroutine(gone_body), 0);
}

static enum row_outcome put_forced(struct pg *p, const char *id, int updated_s, int observed_s,
				   const char *name)
{
	struct row r = row(id, updated_s, observed_s, name, 2);
	const struct row *one = &r;
	enum row_outcome out = ROW_FAILED;

	write_rows(p, ROW_RESOURCES, name_and_capacity() | ROW_FORCE, &one, 1, &out);
	return out;
}

/* A partner whose clock ran a year ahead, and is right again. */
static void force_body(struct pg *p)
{
	prepare(p);
	CHECK(put(p, "a", 1000, 100, "Ahead", 2) == ROW_ADDED);
	CHECK(put(p, "a", 11, 200, "Right", 2) == ROW_STALE);
	CHECK(put_forced(p, "a", 11, 99, "Right") ==
	      ROW_STALE); /* what was asked for before is not news */
	CHECK(put_forced(p, "a", 11, 200, "Right") == ROW_UPDATED);
	CHECK(put(p, "a", 12, 150, "Later", 2) == ROW_UPDATED);
	CHECK(strcmp(ask(p,
			 "SELECT name || version || (partner_updated_at = to_timestamp(1700000012)) FROM resources"),
		     "Later3true") == 0);
}

static void test_a_forced_write_compares_observations(void **state)
{
	assert_int_equal(in_coroutine(force_body), 0);
}

static void test_deleted_rows_come_back(void **state)
{
	in_every_way(deletion_body);
}

static void batch_body(struct pg *p)
{
	static const char *const ids[4] = { "a", "b", "c", "d" };
	static struct row rows[4];
	const struct row *v[4] = { &rows[0], &rows[1], &rows[2], &rows[3] };
	enum row_outcome out[4];

	prepare(p);
	for (int i = 0; i < 4; i++)
		rows[i] = row(ids[i], 1, 1, ids[i], 1);
	write_rows(p, ROW_RESOURCES, name_and_capacity(), &v[1], 2, out);
	CHECK(out[0] == ROW_ADDED && out[1] == ROW_ADDED);
	rows[1].observed_us += SECOND; /* b unchanged, c stale */
	rows[2].observed_us -= SECOND;
	write_rows(p, ROW_RESOURCES, name_and_capacity(), v, 4, out);
	CHECK(out[0] == ROW_ADDED && out[1] == ROW_UNCHANGED && out[2] == ROW_STALE &&
	      out[3] == ROW_ADDED);
	write_rows(p, ROW_RESOURCES, name_and_capacity(), v, 4, out);
	for (int i = 0; i < 4; i++)
		CHECK(out[i] == ROW_STALE);
}

static void test_outcomes_follow_the_order_given(void **state)
{
	in_every_way(batch_body);
}

/* Columns outside the set keep what they hold, and do not count as content. */
static void set_body(struct pg *p)
{
	struct row r = row("a", 1, 1, "A", 4);
	const struct row *v[1] = { &r };
	enum row_outcome out;

	prepare(p);
	CHECK(write_one(p, &r) == ROW_ADDED);
	r.observed_us += SECOND;
	r.values[col("capacity")].v.i = 5;
	write_rows(p, ROW_RESOURCES, (uint64_t)1 << col("name"), v, 1, &out);
	CHECK(out == ROW_UNCHANGED);
	CHECK(strcmp(ask(p, "SELECT capacity FROM resources"), "4") == 0);
	r.observed_us += SECOND;
	write_rows(p, ROW_RESOURCES, 0, v, 1, &out); /* only seen */
	CHECK(out == ROW_UNCHANGED);
}

static void test_columns_outside_the_set(void **state)
{
	in_every_way(set_body);
}

static void fill(struct row *r, enum row_table t, int seed)
{
	int n;
	const struct row_column *c = row_columns(t, &n);

	for (int i = 0; i < n; i++) {
		struct row_value *v = &r->values[i];

		v->set = true;
		if (c[i].type == ROW_NUMBER)
			v->v.d = 2.5 + seed;
		else if (c[i].type == ROW_BOOL)
			v->v.b = true;
		else if (c[i].type == ROW_TEXT || c[i].type == ROW_JSON) {
			v->v.s.p = c[i].type == ROW_JSON ? "{\"a\": [1, \"\xf0\x9f\x8f\xa1\"]}"
							 : "\xf0\x9f\x8f\xa1 \"x\"";
			v->v.s.n = strlen(v->v.s.p);
		} else if (c[i].type == ROW_TIME)
			v->v.i = T0 + seed;
		else
			v->v.i = 20000 + seed;
	}
}

static void types_body(struct pg *p)
{
	prepare(p);
	for (int t = 0; t < ROW_TABLES; t++) {
		struct row *r = mem_new(struct row);
		const struct row *v[1] = { r };
		enum row_outcome out;

		*r = (struct row){ .integration_id = 1, .external_id = "x", .observed_us = T0 };
		fill(r, (enum row_table)t, 0);
		write_rows(p, (enum row_table)t, ~(uint64_t)0, v, 1, &out);
		CHECK(out == ROW_ADDED);
		r->observed_us++;
		write_rows(p, (enum row_table)t, ~(uint64_t)0, v, 1, &out);
		CHECK(out == ROW_UNCHANGED); /* each type comes back as it went */
		r->observed_us++;
		fill(r, (enum row_table)t, 1);
		write_rows(p, (enum row_table)t, ~(uint64_t)0, v, 1, &out);
		CHECK(out == ROW_UPDATED);
		free(r);
	}
	CHECK(strcmp(ask(p, "SELECT starts_on || ' ' || (starts_at ="
			    " to_timestamp(1700000000.000001)) FROM transactions"),
		     "2024-10-05 true") == 0);
	CHECK(strcmp(ask(p, "SELECT extra->'a'->>1 FROM media"), "\xf0\x9f\x8f\xa1") == 0);
	CHECK(strcmp(ask(p, "SELECT bathrooms FROM resources"), "3.5") == 0);
}

static void test_every_column_of_every_table(void **state)
{
	in_every_way(types_body);
}

/* Columns here and columns there are the same, so a migration cannot forget rows.c. */
static void schema_body(struct pg *p)
{
	prepare(p);
	for (int t = 0; t < ROW_TABLES; t++) {
		struct buf have = BUF_INIT, sql = BUF_INIT;
		int n;
		const struct row_column *c = row_columns((enum row_table)t, &n);

		CHECK(n <= ROW_COLUMNS_MAX && strcmp(c[n - 1].name, "extra") == 0);
		for (int i = 0; i < n; i++)
			buf_printf(&have, "%s%s", i ? "," : "", c[i].name);
		buf_printf(
			&sql,
			"SELECT string_agg(attname, ',' ORDER BY attnum) = '%s' FROM pg_attribute"
			" WHERE attrelid = '%s'::regclass"
			" AND attnum > 0 AND attname NOT IN ('integration_id', 'external_id',"
			" 'partner_updated_at', 'observed_at',"
			" 'version', 'first_seen_at', 'changed_at', 'deleted_at', 'replaced_by',"
			" 'written', 'change') AND NOT attisdropped",
			have.data, row_table_name((enum row_table)t));
		CHECK(strcmp(ask(p, sql.data), "t") == 0);
		buf_clear(&have);
		buf_clear(&sql);
	}
}

static void test_columns_are_those_of_the_schema(void **state)
{
	in_every_way(schema_body);
}

/* Reading a whole batch again that did not change must touch no index, though it fills whole pages: half of each is free for
 * that.  Nor must a change of what no index has. */
#define HOT_ROWS 400
static void hot_batch(struct pg *p, struct row *rows, const char *size)
{
	const struct row **v = mem_alloc(HOT_ROWS * sizeof(*v));
	static const struct row_origin from[HOT_ROWS];
	struct pg_params params;
	struct pg_statement st[2] = {
		{ row_upsert_sql(ROW_RESOURCES, name_and_capacity(), how), &params },
		{ "SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_xact_user_tables WHERE"
		  " relname ~ '^resources_[0-9]+$'",
		  NULL },
	};
	PGresult *res[2] = { NULL, NULL };

	for (int i = 0; i < HOT_ROWS; i++) {
		rows[i].observed_us += SECOND;
		v[i] = &rows[i];
	}
	pg_params_init(&params);
	row_upsert_params(ROW_RESOURCES, name_and_capacity(), how, v, from, HOT_ROWS, &params);
	CHECK(pg_exec_all(p, st, 2, res, loop_now_ms() + 10000, NULL) == 0);
	/* Of this transaction, and of earlier ones that the session has not reported yet. */
	CHECK(res[1] && pg_get_int(res[1], 0, 0) >= (size ? HOT_ROWS : 0));
	CHECK(res[1] && pg_get_int(res[1], 0, 1) == pg_get_int(res[1], 0, 0));
	CHECK(!size ||
	      strcmp(size, ask(p, "SELECT sum(pg_indexes_size(inhrelid)) FROM pg_inherits WHERE"
				  " inhparent = 'resources'::regclass")) == 0);
	pg_params_clear(&params);
	PQclear(res[0]);
	PQclear(res[1]);
	free(v);
}

static void hot_body(struct pg *p)
{
	struct row *rows = mem_alloc(HOT_ROWS * sizeof(*rows));
	char(*id)[16] = mem_alloc(HOT_ROWS * sizeof(*id)), *size;

	prepare(p);
	for (int i = 0; i < HOT_ROWS; i++) {
		snprintf(id[i], sizeof(id[i]), "r%05d", i);
		rows[i] = row(id[i], 1, 1, "The same name", 4);
	}
	hot_batch(p, rows, NULL);
	size = mem_strdup(
		ask(p, "SELECT sum(pg_indexes_size(inhrelid)) FROM pg_inherits WHERE inhparent ="
		       " 'resources'::regclass"));
	for (int round = 0; round < 3; round++)
		hot_batch(p, rows, size);
	CHECK(strcmp(ask(p, "SELECT max(version) FROM resources"), "1") == 0);
	/* With history a changed row carries what changed, and of rows as short as these not all fit. */
	for (int i = 0; i < HOT_ROWS && !(how & ROW_WITH_HISTORY); i++)
		rows[i].values[col("capacity")].v.i = 5;
	hot_batch(p, rows, size);
	CHECK(strcmp(ask(p, "SELECT min(version) FROM resources"),
		     how & ROW_WITH_HISTORY ? "1" : "2") == 0);
	free(size);
	free(id);
	free(rows);
}

static void test_same_content_is_a_hot_update(void **state)
{
	in_every_way(hot_body);
}

/* Whatever the order in which writes of one history arrive, the newest is what stays. */
static void order_body(struct pg *p)
{
	static const int history[5][2] = { { 1, 10 }, { 2, 12 }, { 2, 15 }, { 3, 14 }, { 3, 20 } };
	int at[5];

	prepare(p);
	for (int round = 0; round < 60; round++) {
		unsigned seed = (unsigned)round * 2654435761u;
		char id[16], sql[128], want[8];

		snprintf(id, sizeof(id), "r%d", round);
		for (int i = 0; i < 5; i++) {
			int j = (int)(seed % (unsigned)(i + 1));

			seed = seed * 1103515245u + 12345u;
			at[i] = at[j];
			at[j] = i;
		}
		for (int i = 0; i < 5; i++) {
			char name[8];

			snprintf(name, sizeof(name), "v%d", at[i]);
			put(p, id, history[at[i]][0], history[at[i]][1], name, 1);
		}
		snprintf(sql, sizeof(sql), "SELECT name FROM resources WHERE external_id = '%s'",
			 id);
		snprintf(want, sizeof(want), "v4");
		CHECK(strcmp(ask(p, sql), want) == 0);
	}
}

static void test_newest_wins_in_any_order(void **state)
{
	in_every_way(order_body);
}

static void test_compare(void **state)
{
	static const struct {
		const char *id;
		int updated_s, observed_s;
	} in_order[] = {
		{ "a", -1, 7 }, { "a", 2, 1 }, { "a", 1, 6 }, { "a", 1, 5 }, { "b", 9, 9 },
	};
	struct row one, two;

	for (size_t i = 0; i + 1 < ARRAY_LEN(in_order); i++) {
		one = row(in_order[i].id, in_order[i].updated_s, in_order[i].observed_s, "", 0);
		two = row(in_order[i + 1].id, in_order[i + 1].updated_s, in_order[i + 1].observed_s,
			  "", 0);
		assert_true(row_compare(&one, &two) < 0);
		assert_true(row_compare(&two, &one) > 0);
		assert_int_equal(row_compare(&one, &one), 0);
	}
	two.integration_id = 6;
	assert_true(row_compare(&two, &one) < 0);
}

static void test_names(void **state)
{
	enum row_table t = ROW_TABLES;

	assert_int_equal(row_table_parse("media", &t), 0);
	assert_int_equal(t, ROW_MEDIA);
	assert_true(row_table_parse("medium", &t) < 0);
	assert_int_equal(row_column_find(ROW_MEDIA, "nothing"), -1);
	assert_ptr_equal(row_upsert_sql(ROW_MEDIA, 1, 0), row_upsert_sql(ROW_MEDIA, 1, 0));
	assert_ptr_not_equal(row_upsert_sql(ROW_MEDIA, 1, 0), row_upsert_sql(ROW_MEDIA, 2, 0));
	assert_ptr_not_equal(row_upsert_sql(ROW_MEDIA, 1, 0), row_upsert_sql(ROW_MEDIA, 1, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_deleted_rows_come_back),
		cmocka_unit_test(test_what_the_partner_calls_deleted),
		cmocka_unit_test(test_a_forced_write_compares_observations),
		cmocka_unit_test(test_outcomes_follow_the_order_given),
		cmocka_unit_test(test_columns_outside_the_set),
		cmocka_unit_test(test_every_column_of_every_table),
		cmocka_unit_test(test_columns_are_those_of_the_schema),
		cmocka_unit_test(test_same_content_is_a_hot_update),
		cmocka_unit_test(test_newest_wins_in_any_order),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
