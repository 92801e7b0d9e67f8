/* The one door to the row tables, against a real Postgres: outcomes, doubles, poison, cancelled waiters, an outage. */
#include "worker/sink.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/postgres_trouble.h"

#define T0 INT64_C(1700000000000000)
#define SECOND 1000000
#define AT_ONCE 50
#define EACH 10

static struct sink *sink;

static int col(enum row_table t, const char *name)
{
	int c = row_column_find(t, name);

	CHECK(c >= 0);
	return c < 0 ? 0 : c;
}

static uint64_t only_name(void)
{
	return (uint64_t)1 << col(ROW_RESOURCES, "name");
}

/* updated_s < 0: the partner says nothing of it. */
static struct row row(const char *id, int updated_s, int observed_s, const char *name)
{
	struct row r = { .integration_id = 7,
			 .external_id = id,
			 .has_partner_updated = updated_s >= 0,
			 .partner_updated_us = T0 + (int64_t)updated_s * SECOND,
			 .observed_us = T0 + (int64_t)observed_s * SECOND };

	r.values[col(ROW_RESOURCES, "name")] =
		(struct row_value){ .set = true, .v.s = { name, strlen(name) } };
	return r;
}

static int64_t soon(void)
{
	return loop_now_ms() + PATIENCE_MS;
}

static int put_all(const struct row *v, int n, enum row_outcome *out, char (**why)[SINK_WHY_MAX],
		   struct err *err)
{
	const struct row **p = mem_alloc((n + 1) * sizeof(*p));
	const struct row_set names = { .table = ROW_RESOURCES, .columns = only_name() };
	int rc;

	for (int i = 0; i < n; i++)
		p[i] = &v[i];
	rc = sink_rows(sink, &names, p, n, out, why, soon(), err);
	free(p);
	return rc;
}

static enum row_outcome put(const char *id, int updated_s, int observed_s, const char *name)
{
	struct row r = row(id, updated_s, observed_s, name);
	enum row_outcome out = ROW_FAILED;
	struct err err = { 0 };

	CHECK(put_all(&r, 1, &out, NULL, &err) == 0);
	return out;
}

/* ---- outcomes ---- */

static void outcomes_body(struct pg *p)
{
	CHECK(put("a", 10, 10, "One") == ROW_ADDED);
	CHECK(put("a", 10, 20, "One") == ROW_UNCHANGED);
	CHECK(put("a", 11, 30, "Two") == ROW_UPDATED);
	CHECK(put("a", 9, 40, "Old") == ROW_STALE);
	CHECK(strcmp(other_says("SELECT name || version FROM resources"), "Two2") == 0);
	other_says("UPDATE resources SET deleted_at = now()");
	CHECK(put("a", 11, 50, "Two") == ROW_UNDELETED);
	CHECK(put_all(NULL, 0, NULL, NULL, NULL) == 0); /* nothing to write is no write */
}

/* ---- doubles ---- */

struct double_one {
	int updated_s;
	const char *name;
	enum row_outcome out;
};

static void put_double(int i, void *arg)
{
	struct double_one *d = (struct double_one *)arg + i;

	d->out = put("same", d->updated_s, i, d->name);
}

/* Of several jobs' rows of one key in one batch the newest is written, whoever came first. */
static void doubles_body(struct pg *p)
{
	struct double_one v[] = { { 5, "middle", 0 }, { 9, "newest", 0 }, { 1, "oldest", 0 } };

	crowd_wait(crowd_start(3, put_double, v));
	CHECK(v[0].out == ROW_STALE && v[1].out == ROW_ADDED && v[2].out == ROW_STALE);
	CHECK(strcmp(other_says("SELECT name || version FROM resources"), "newest1") == 0);

	struct row *page = mem_alloc(2 * sizeof(*page));
	enum row_outcome out[2] = { 0 };

	page[0] = row("twice", 2, 1, "new");
	page[1] = row("twice", 1, 1, "old");
	CHECK(put_all(page, 2, out, NULL, NULL) == 0);
	CHECK(out[0] == ROW_ADDED && out[1] == ROW_STALE);
	free(page);
}

/* ---- poison ---- */

#define POISON_JOBS 5
#define POISON_ROWS 100

struct poison {
	int failed[POISON_JOBS], added[POISON_JOBS], rc[POISON_JOBS];
	char why[SINK_WHY_MAX];
};

static void put_with_poison(int i, void *arg)
{
	struct poison *x = arg;
	struct row *v = mem_alloc(POISON_ROWS * sizeof(*v));
	enum row_outcome *out = mem_zalloc(POISON_ROWS * sizeof(*out));
	char(*why)[SINK_WHY_MAX];
	char(*id)[24] = mem_alloc(POISON_ROWS * sizeof(*id));

	for (int k = 0; k < POISON_ROWS; k++) {
		snprintf(id[k], sizeof(id[k]), "%d-%03d", i, k);
		/* Postgres takes no bytes that are not UTF-8. */
		v[k] = row(id[k], 1, 1, i == 3 && k == 42 ? "\xff\xfe" : "fine");
	}
	x->rc[i] = put_all(v, POISON_ROWS, out, &why, NULL);
	for (int k = 0; k < POISON_ROWS; k++) {
		x->added[i] += out[k] == ROW_ADDED;
		x->failed[i] += out[k] == ROW_FAILED;
		if (out[k] == ROW_FAILED)
			memcpy(x->why, why[k], sizeof(x->why));
		CHECK(out[k] != ROW_FAILED || (i == 3 && k == 42));
		CHECK(out[k] == ROW_FAILED || !why || !why[k][0]);
	}
	free(id);
	free(why);
	free(out);
	free(v);
}

static void poison_body(struct pg *p)
{
	struct poison x = { 0 };

	crowd_wait(crowd_start(POISON_JOBS, put_with_poison, &x));
	for (int i = 0; i < POISON_JOBS; i++) {
		CHECK(x.rc[i] == 0);
		CHECK(x.failed[i] == (i == 3));
		CHECK(x.added[i] == POISON_ROWS - (i == 3));
	}
	CHECK(strstr(x.why, "UTF8") != NULL);
	CHECK(other_counts("SELECT count(*) FROM resources") == POISON_JOBS * POISON_ROWS - 1);
}

/* ---- what Postgres can't hold ---- */

struct bad {
	enum row_table table;
	const char *column, *text;
	size_t len; /* 0: of text */
	int64_t n;
	bool good;
	const char *why;
};

static const struct bad bads[] = {
	{ ROW_RESOURCES, "name", "a\0b", 3, 0, false, "NUL" },
	{ ROW_RESOURCES, "name", "\xc3(", 0, 0, false, "UTF8" },
	{ ROW_RESOURCES, "name", "\xed\xa0\x80", 0, 0, false, "UTF8" }, /* a surrogate */
	{ ROW_RESOURCES, "name", "\xf4\x8f\xbf\xbf", 0, 0, true, NULL },
	{ ROW_RESOURCES, "partner_created_at", NULL, 0, INT64_MIN, false, "4714 BC" },
	{ ROW_RESOURCES, "partner_created_at", NULL, 0, INT64_C(-210866803200) * 1000000, true,
	  NULL },
	{ ROW_RESOURCES, "partner_created_at", NULL, 0, INT64_MAX, true, NULL },
	{ ROW_TRANSACTIONS, "starts_on", NULL, 0, INT64_C(3000000000), false, "day" },
	{ ROW_TRANSACTIONS, "starts_on", NULL, 0, INT64_C(2145042906), false, "day" },
	{ ROW_TRANSACTIONS, "starts_on", NULL, 0, INT64_C(2145042905), true, NULL },
	{ ROW_TRANSACTIONS, "starts_on", NULL, 0, -2440588, true, NULL },
	{ ROW_TRANSACTIONS, "starts_on", NULL, 0, -2440589, false, "day" },
	{ ROW_RESOURCES, "extra", "{\"a\": \"x\\u0000\"}", 0, 0, false, "u0000" },
	{ ROW_RESOURCES, "extra", "{\"a\": \"x\\\\u0000\"}", 0, 0, true, NULL },
	{ ROW_RESOURCES, "extra", "[\"\\ud83c\"]", 0, 0, false, "surrogate" },
	{ ROW_RESOURCES, "extra", "[\"\\udfe1\"]", 0, 0, false, "surrogate" },
	{ ROW_RESOURCES, "extra", "[\"\\ud83c\\udfe1\"]", 0, 0, true, NULL },
	{ ROW_RESOURCES, "extra", "[1e200000]", 0, 0, false, "too large" },
	{ ROW_RESOURCES, "extra", "[-1.5E-20000]", 0, 0, false, "too fine" },
	{ ROW_RESOURCES, "extra", "[1e131071, -1e-16383, \"1e999999\"]", 0, 0, true, NULL },
	{ ROW_RESOURCES, "extra", "[\"\xff\"]", 0, 0, false, "UTF8" },
};

static const char rolled_back[] =
	"SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";

/* Each among good ones: it alone is set aside, and what is said to be good Postgres does hold.  No error ever comes from
 * Postgres: the batch is sent once. */
static void cannot_hold_body(struct pg *p)
{
	long rollbacks = other_counts(rolled_back);

	for (size_t b = 0; b < ARRAY_LEN(bads); b++) {
		const struct bad *x = &bads[b];
		int c = col(x->table, x->column);
		const struct row_set set = { .table = x->table, .columns = (uint64_t)1 << c };
		struct row *v = mem_zalloc(3 * sizeof(*v));
		const struct row *ptr[] = { &v[0], &v[1], &v[2] };
		enum row_outcome out[3] = { 0 };
		char(*why)[SINK_WHY_MAX], id[3][16];

		for (int i = 0; i < 3; i++) {
			snprintf(id[i], sizeof(id[i]), "%zu-%d", b, i);
			v[i] = (struct row){ .integration_id = 7,
					     .external_id = id[i],
					     .observed_us = T0 };
		}
		v[1].values[c] = (struct row_value){ .set = true, .v.i = x->n };
		if (x->text)
			v[1].values[c].v.s.p = x->text;
		if (x->text)
			v[1].values[c].v.s.n = x->len ? x->len : strlen(x->text);
		CHECK(sink_rows(sink, &set, ptr, 3, out, &why, soon(), NULL) == 0);
		CHECK(out[0] == ROW_ADDED && out[2] == ROW_ADDED);
		CHECK(out[1] == (x->good ? ROW_ADDED : ROW_FAILED));
		if (out[1] == ROW_FAILED && x->why)
			CHECK(strncmp(why[1], x->column, strlen(x->column)) == 0 &&
			      strstr(why[1], x->why));
		if ((out[1] == ROW_FAILED) == x->good)
			fprintf(stderr, "case %zu: %s\n", b, why ? why[1] : "stored");
		free(why);
		free(v);
	}
	CHECK(co_sleep("statistics", 1100) == 0); /* sessions tell theirs once a second */
	CHECK(put("last", 1, 1, "x") == ROW_ADDED);
	CHECK(other_counts(rolled_back) == rollbacks);
}

/* Times of the guard itself, and ids. */
static void bad_keys_body(struct pg *p)
{
	struct row *v = mem_zalloc(4 * sizeof(*v));
	enum row_outcome out[4];
	char(*why)[SINK_WHY_MAX];

	v[0] = row("\xff", 1, 1, "a");
	v[1] = row("old", 1, 1, "a");
	v[1].partner_updated_us = INT64_MIN;
	v[2] = row("older", 1, 1, "a");
	v[2].observed_us = INT64_MIN;
	v[3] = row("fine", 1, 1, "a");
	CHECK(put_all(v, 4, out, &why, NULL) == 0);
	CHECK(out[0] == ROW_FAILED && out[1] == ROW_FAILED && out[2] == ROW_FAILED &&
	      out[3] == ROW_ADDED);
	CHECK(strstr(why[0], "external_id") && strstr(why[1], "partner_updated_at") &&
	      strstr(why[2], "observed_at"));
	free(why);
	CHECK(put_all(v, 3, out, &why, NULL) == 0); /* none is left to send */
	CHECK(out[2] == ROW_FAILED && strstr(why[2], "observed_at"));
	free(why);
	free(v);
}

/* ---- a version that is expected ---- */

static enum row_outcome put_expecting(const char *id, int observed_s, const char *name,
				      int64_t version)
{
	struct row r = row(id, -1, observed_s, name);
	enum row_outcome out = ROW_FAILED;

	r.expected_version = version;
	CHECK(put_all(&r, 1, &out, NULL, NULL) == 0);
	return out;
}

static void expected_body(struct pg *p)
{
	CHECK(put_expecting("a", 1, "One", 1) == ROW_MISMATCH); /* there is none */
	CHECK(other_counts("SELECT count(*) FROM resources") == 0);
	CHECK(put("a", -1, 1, "One") == ROW_ADDED);
	CHECK(put_expecting("a", 2, "Two", 2) == ROW_MISMATCH);
	CHECK(put_expecting("a", 2, "Two", 1) == ROW_UPDATED);
	CHECK(put_expecting("a", 3, "Three", 1) == ROW_MISMATCH);
	CHECK(put_expecting("a", 2, "Three", 2) ==
	      ROW_STALE); /* as expected, and older news all the same */
	CHECK(put_expecting("a", 3, "Two", 2) == ROW_UNCHANGED);
	other_says("UPDATE resources SET deleted_at = now(), version = 3");
	CHECK(put_expecting("a", 4, "Two", 2) == ROW_MISMATCH);
	CHECK(put_expecting("a", 4, "Two", 3) == ROW_UNDELETED);
	CHECK(strcmp(other_says("SELECT name || version FROM resources"), "Two4") == 0);

	/* Each of a batch by itself, beside those that expect nothing. */
	struct row *v = mem_zalloc(4 * sizeof(*v));
	enum row_outcome out[4];

	v[0] = row("a", -1, 9, "Nine");
	v[0].expected_version = 4;
	v[1] = row("b", -1, 9, "New");
	v[2] = row("c", -1, 9, "Nobody");
	v[2].expected_version = 1;
	v[3] = row("d", -1, 9, "New");
	CHECK(put_all(v, 4, out, NULL, NULL) == 0);
	CHECK(out[0] == ROW_UPDATED && out[1] == ROW_ADDED && out[2] == ROW_MISMATCH &&
	      out[3] == ROW_ADDED);
	CHECK(strcmp(other_says(
			     "SELECT string_agg(external_id || version, ' ' ORDER BY external_id) FROM resources"),
		     "a5 b1 d1") == 0);
	free(v);
	CHECK(strcmp(other_says(
			     "SELECT string_agg(version::text, ' ' ORDER BY version) FROM resource_changes WHERE external_id = 'a'"),
		     "1 2 4 5") == 0);
}

/* Of ten who saw the same version one is heeded. */
static void race_one(int i, void *arg)
{
	char name[8];

	snprintf(name, sizeof(name), "by%d", i);
	((enum row_outcome *)arg)[i] = put_expecting("raced", 10 + i, name, 1);
}

static void race_body(struct pg *p)
{
	enum row_outcome out[10];
	int updated = 0, refused = 0;

	CHECK(put("raced", -1, 1, "One") == ROW_ADDED);
	/* Each in a batch of its own: in one they would be one key, newest first. */
	for (int round = 0; round < 2; round++) {
		crowd_wait(crowd_start(10, race_one, out));
		for (int i = 0; i < 10; i++) {
			updated += out[i] == ROW_UPDATED;
			refused += out[i] == ROW_MISMATCH || out[i] == ROW_STALE;
		}
	}
	CHECK(updated == 1 && refused == 19);
	CHECK(other_counts("SELECT version FROM resources") == 2);
}

/* ---- history ---- */

static void wait_until_off(const char *table)
{
	int64_t end = soon();
	char sql[100];

	for (int n = 0; loop_now_ms() < end; n++) {
		char id[16];

		snprintf(id, sizeof(id), "off%d", n);
		CHECK(put(id, -1, 1, "x") == ROW_ADDED);
		snprintf(sql, sizeof(sql),
			 "SELECT count(*) FROM resource_changes WHERE external_id = '%s'", id);
		if (other_counts(sql) == 0)
			return;
		CHECK(co_sleep("off", 50) == 0);
	}
	CHECK(!"history never went off");
}

/* Workers look every few seconds; while it is off nothing is written. */
static void history_body(struct pg *p)
{
	CHECK(put("a", -1, 1, "One") == ROW_ADDED);
	CHECK(other_counts("SELECT count(*) FROM resource_changes") == 1);
	other_says("UPDATE history_settings SET enabled = false WHERE table_name = 'resources'");
	wait_until_off("resources");
	CHECK(put("a", -1, 9, "Two") == ROW_UPDATED);
	CHECK(other_counts("SELECT count(*) FROM resource_changes WHERE external_id = 'a'") == 1);
	other_says("UPDATE history_settings SET enabled = true WHERE table_name = 'resources'");
}

/* Too large for an index: not the statement's fault either. */
static void too_large_body(struct pg *p)
{
	int c = col(ROW_TRANSACTIONS, "resource_external_id");
	char *big = mem_zalloc(20001);
	unsigned x = 1;
	enum row_outcome out[3] = { 0 };
	char(*why)[SINK_WHY_MAX];
	struct row *v = mem_alloc(3 * sizeof(*v));

	for (int i = 0; i < 20000; i++) { /* noise: what can be packed would fit */
		x = x * 1103515245 + 12345;
		big[i] = (char)('!' + (x >> 16) % 90);
	}
	for (int i = 0; i < 3; i++) {
		const char *s = i == 1 ? big : "r1";

		v[i] = (struct row){ .integration_id = 7,
				     .external_id = i == 0   ? "x"
						    : i == 1 ? "y"
							     : "z",
				     .observed_us = T0 };
		v[i].values[c] = (struct row_value){ .set = true, .v.s = { s, strlen(s) } };
	}
	const struct row *ptr[] = { &v[0], &v[1], &v[2] };
	const struct row_set set = { .table = ROW_TRANSACTIONS, .columns = (uint64_t)1 << c };
	CHECK(sink_rows(sink, &set, ptr, 3, out, &why, soon(), NULL) == 0);
	CHECK(out[0] == ROW_ADDED && out[1] == ROW_FAILED && out[2] == ROW_ADDED);
	CHECK(strstr(why[1], "index") != NULL);
	free(why);
	free(v);
	free(big);
}

/* A schema that is not ours fails everybody, and is not searched for row by row. */
static void schema_body(struct pg *p)
{
	struct row r = row("a", 1, 1, "One");
	enum row_outcome out = ROW_ADDED;
	struct err err = { 0 };

	other_says("ALTER TABLE resources RENAME TO resources_away");
	CHECK(put_all(&r, 1, &out, NULL, &err) == -EPROTO);
	CHECK(err.class == ERR_INTERNAL && strcmp(err.rule, "42P01") == 0);
	other_says("ALTER TABLE resources_away RENAME TO resources");
}

/* ---- many at once ---- */

static int wrong;

static void put_ten(int i, void *arg)
{
	char id[EACH][24];
	struct row *v = mem_alloc(EACH * sizeof(*v));
	enum row_outcome out[EACH] = { 0 };

	for (int k = 0; k < EACH; k++) {
		snprintf(id[k], sizeof(id[k]), "%02d-%d", i, k);
		v[k] = row(id[k], 1, 1, id[k]);
	}
	wrong += put_all(v, EACH, out, NULL, NULL) != 0;
	for (int k = 0; k < EACH; k++)
		wrong += out[k] != (arg ? *(enum row_outcome *)arg : ROW_ADDED);
	free(v);
}

static void many_body(struct pg *p)
{
	wrong = 0;
	crowd_wait(crowd_start(AT_ONCE, put_ten, NULL));
	CHECK(wrong == 0);
	CHECK(other_counts("SELECT count(*) FROM resources WHERE name = external_id") ==
	      AT_ONCE * EACH);
	/* Gathered: in one statement, or on a busy machine in a few; they begin over several turns of the loop. */
	CHECK(other_counts("SELECT count(DISTINCT xmin::text) FROM resources") <= AT_ONCE / 8);
}

/* One request as large as it may come still goes in bounded statements. */
static void large_body(struct pg *p)
{
	enum { N = 2500 };
	struct row *v = mem_alloc(N * sizeof(*v));
	enum row_outcome *out = mem_zalloc(N * sizeof(*out));
	char(*id)[24] = mem_alloc(N * sizeof(*id));
	int added = 0;

	for (int i = 0; i < N; i++) {
		snprintf(id[i], sizeof(id[i]), "%d", i);
		v[i] = row(id[i], 1, 1, id[i]);
	}
	CHECK(put_all(v, N, out, NULL, NULL) == 0);
	for (int i = 0; i < N; i++)
		added += out[i] == ROW_ADDED;
	CHECK(added == N);
	CHECK(other_counts("SELECT count(*) FROM resources WHERE name = external_id") == N);
	CHECK(other_counts("SELECT max(c) FROM (SELECT count(*) AS c FROM resources GROUP BY"
			   " xmin::text) x") == 1000);
	free(id);
	free(out);
	free(v);
}

/* ---- waiters that go ---- */

static int cancelled_rc;

/* The row's bytes are gone as soon as the waiter is: the sink has copies. */
static void put_and_be_cancelled(int i, void *arg)
{
	char *id = mem_strdup("mine"), *name = mem_strdup("Still stored");
	struct row r = row(id, 1, 1, name);
	enum row_outcome out = ROW_FAILED;

	cancelled_rc = put_all(&r, 1, &out, NULL, NULL);
	memset(id, '#', 4);
	memset(name, '#', 12);
	free(id);
	free(name);
}

static void wait_for_rows(long n)
{
	int64_t end = soon();

	while (other_counts("SELECT count(*) FROM resources") < n && loop_now_ms() < end)
		CHECK(co_sleep("rows", 10) == 0);
	CHECK(other_counts("SELECT count(*) FROM resources") == n);
}

static void cancelled_body(struct pg *p)
{
	struct crowd *c;

	hold("resources");
	c = crowd_start(1, put_and_be_cancelled, NULL);
	wait_for_waiters(1);
	co_cancel(c->all[0]);
	crowd_wait(c);
	CHECK(cancelled_rc == -ECANCELED);
	release();
	wait_for_rows(1);
	CHECK(strcmp(other_says("SELECT external_id || name FROM resources"), "mineStill stored") ==
	      0);
	CHECK(put("other", 1, 1, "And the sink goes on") == ROW_ADDED);

	/* Gone before its batch was sent. */
	other_says("TRUNCATE resources");
	cancelled_rc = 0;
	c = crowd_start(1, put_and_be_cancelled, NULL);
	CHECK(co_yield () == 0);
	co_cancel(c->all[0]);
	crowd_wait(c);
	CHECK(cancelled_rc == -ECANCELED);
	wait_for_rows(1);
	CHECK(strcmp(other_says("SELECT external_id || name FROM resources"), "mineStill stored") ==
	      0);
}

static void deadline_body(struct pg *p)
{
	struct row r = row("late", 1, 1, "Late");
	const struct row *ptr = &r;
	enum row_outcome out = ROW_FAILED;

	hold("resources");
	const struct row_set set = { .table = ROW_RESOURCES, .columns = only_name() };
	CHECK(sink_rows(sink, &set, &ptr, 1, &out, NULL, loop_now_ms() + 50, NULL) == -ETIMEDOUT);
	release();
	wait_for_rows(1);
}

/* The sink goes while a batch is under way, and its answer comes after it, from the pool that is freed. */
static void freed_body(struct pg *p)
{
	struct crowd *c;

	hold("resources");
	c = crowd_start(1, put_and_be_cancelled, NULL);
	wait_for_waiters(1);
	co_cancel(c->all[0]);
	crowd_wait(c);
	sink_free(sink);
	sink = NULL;
}

/* ---- Postgres goes away ---- */

static void restart_body(struct pg *p)
{
	struct crowd *c;

	wrong = 0;
	hold("resources");
	c = crowd_start(AT_ONCE, put_ten, NULL);
	wait_for_waiters(1);
	postgres_crash();
	CHECK(co_sleep("away", 300) == 0); /* it is sent into the void at least once */
	postgres_again();
	crowd_wait(c);
	CHECK(wrong == 0);
	CHECK(other_counts("SELECT count(*) FROM resources") == AT_ONCE * EACH);
}

/* Whether the first sending was carried out nobody can tell: what it left is ours, and no stranger's newer row. */
static void sent_twice_body(struct pg *p)
{
	enum row_outcome want = ROW_UPDATED;
	struct crowd *c;

	wrong = 0;
	hold("resources");
	c = crowd_start(1, put_ten, &want);
	wait_for_waiters(1);
	postgres_crash();
	postgres_again();
	other_says("INSERT INTO resources (integration_id, external_id, partner_updated_at,"
		   " observed_at, name) SELECT 7, '00-' || n, to_timestamp(1700000001),"
		   " to_timestamp(1700000001), '00-' || n FROM generate_series(0, 9) n");
	crowd_wait(c);
	CHECK(wrong == 0);
	CHECK(other_counts("SELECT max(version) FROM resources") == 1);
}

/* ---- runs and rejected items ---- */

static void write_run(int i, void *arg)
{
	struct err err = { 0 };
	struct run r = { .id = 100 + i / 2,
			 .task = "import_resources",
			 .worker = "w",
			 .state = i % 2 ? "done" : "running",
			 .started_ms = 1700000000000,
			 .total = -1,
			 .processed = i };

	CHECK(sink_run(sink, &r, soon(), &err) == 0);
}

static void set_aside(int i, void *arg)
{
	struct err err = { 0 };
	struct rejected r = { .integration_id = 7,
			      .run_id = 100,
			      .collection = "listings",
			      .external_id = i ? "fine" : "\xff",
			      .field = "name",
			      .reason = "required",
			      .item_json = i % 2 ? "{\"name\":null}" : NULL,
			      .job_id = "j",
			      .page = i };
	int rc = sink_rejected(sink, &r, soon(), &err);

	CHECK(rc == (i ? 0 : -EPROTO));
	CHECK(i || err.class == ERR_DATA);
}

static void records_body(struct pg *p)
{
	crowd_wait(crowd_start(20, write_run, NULL)); /* two reports of each run in one batch */
	CHECK(other_counts(
		      "SELECT count(*) FROM runs WHERE state = 'done' AND processed % 2 = 1") ==
	      10);
	crowd_wait(crowd_start(20, set_aside, NULL));
	CHECK(other_counts("SELECT count(*) FROM rejected_items") ==
	      2); /* the same item is one row */
}

/* ---- running ---- */

static void (*body)(struct pg *p);

static void with_sink(struct pg *p)
{
	struct err err = { 0 };

	CHECK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	other_says("TRUNCATE resources, transactions, resource_changes, runs, rejected_items");
	sink = sink_new(p);
	body(p);
	sink_free(sink);
	sink = NULL;
}

#define TEST(name)                                            \
	static void test_##name(void **state)                 \
	{                                                     \
		body = name##_body;                           \
		assert_int_equal(in_coroutine(with_sink), 0); \
		other_leaves(); /* and its locks with it */   \
	}
TEST(outcomes)
TEST(doubles)
TEST(poison)
TEST(too_large)
TEST(cannot_hold)
TEST(bad_keys)
TEST(expected)
TEST(race)
TEST(history)
TEST(schema)
TEST(many)
TEST(large)
TEST(cancelled)
TEST(deadline)
TEST(freed)
TEST(restart)
TEST(sent_twice)
TEST(records)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),    cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_poison),      cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_cannot_hold), cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_expected),    cmocka_unit_test(test_race),
		cmocka_unit_test(test_history),     cmocka_unit_test(test_schema),
		cmocka_unit_test(test_many),        cmocka_unit_test(test_large),
		cmocka_unit_test(test_cancelled),   cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_freed),       cmocka_unit_test(test_restart),
		cmocka_unit_test(test_sent_twice),  cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
