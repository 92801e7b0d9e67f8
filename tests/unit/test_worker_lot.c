/* Small writes gathered into one statement, against a real Postgres: each waiter learns the fate of its own item. */
#include "worker/lot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/postgres_trouble.h"

#define MANY 600 /* more than a batch holds */
#define POISON (-13)

static struct lot *lot;
static int made, freed;
static int rcs[MANY];
static struct err errs[MANY];

static const char *sql(void)
{
	return "INSERT INTO things (n, place) SELECT n, place FROM unnest($1::int8[]) WITH"
	       " ORDINALITY AS f (n, place)";
}

static void params(struct pg_params *out, const void *const *items, int n)
{
	struct pg_array a;

	pg_array_init(&a, PG_INT8);
	for (int i = 0; i < n; i++)
		pg_array_int8(&a, *(const int64_t *)items[i]);
	pg_array_param(out, &a);
}

static void free_item(void *item)
{
	freed++;
	free(item);
}

static const struct lot_kind kind = { sql, params, free_item };

static int add(int64_t n, int64_t deadline_ms, struct err *err)
{
	int64_t *item = mem_new(int64_t);

	*item = n;
	made++;
	return lot_add(lot, item, deadline_ms, err);
}

/* arg: the number of the one that adds poison, or NULL. */
static void add_one(int i, void *arg)
{
	int64_t n = arg && *(int *)arg == i ? POISON : i;

	rcs[i] = add(n, loop_now_ms() + PATIENCE_MS, &errs[i]);
}

static int refused(int n)
{
	int count = 0;

	for (int i = 0; i < n; i++)
		count += rcs[i] != 0;
	return count;
}

static void wait_for_things(long n)
{
	int64_t end = loop_now_ms() + PATIENCE_MS;

	while (other_counts("SELECT count(*) FROM things") < n && loop_now_ms() < end)
		CHECK(co_sleep("things", 10) == 0);
	CHECK(other_counts("SELECT count(*) FROM things") == n);
}

/* ---- gathering ---- */

static void together_body(struct pg *p)
{
	crowd_wait(crowd_start(100, add_one, NULL));
	CHECK(refused(100) == 0);
	CHECK(other_counts("SELECT count(*) FROM things") == 100);
	/* In order; in one statement, or in a few where this machine is so busy that they begin over more than the linger. */
	CHECK(other_counts(
		      "SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY xmin::text ORDER BY"
		      " place) AS before FROM things) s WHERE before > n") == 0);
	CHECK(other_counts("SELECT count(DISTINCT xmin::text) FROM things") <= 12);
}

/* While the first statement is held up all that comes is gathered, however slowly it comes: a full batch goes beside it, the
 * rest follows. */
static void more_than_a_batch_body(struct pg *p)
{
	struct crowd *c;

	hold("things");
	c = crowd_start(MANY, add_one, NULL);
	wait_for_waiters(1);
	while (made < MANY)
		CHECK(co_sleep("crowd", 5) == 0);
	release();
	crowd_wait(c);
	CHECK(refused(MANY) == 0);
	CHECK(other_counts("SELECT count(DISTINCT n) FROM things") == MANY);
	CHECK(other_counts("SELECT max(place) FROM things") <= 500);
	CHECK(other_counts("SELECT count(DISTINCT xmin::text) FROM things") <= 4);
}

/* ---- one that Postgres refuses ---- */

static void poison_body(struct pg *p)
{
	int bad = 77;

	crowd_wait(crowd_start(200, add_one, &bad));
	CHECK(refused(200) == 1 && rcs[bad] == -EPROTO);
	CHECK(errs[bad].class == ERR_DATA && strstr(errs[bad].text, "positive"));
	CHECK(other_counts("SELECT count(DISTINCT n) FROM things") == 199);
}

/* The statement itself is wrong: everybody is told so, at once. */
static void wrong_statement_body(struct pg *p)
{
	other_says("ALTER TABLE things RENAME TO things_away");
	crowd_wait(crowd_start(10, add_one, NULL));
	other_says("ALTER TABLE things_away RENAME TO things");
	CHECK(refused(10) == 10 && errs[0].class == ERR_INTERNAL);
}

/* ---- waiters that go ---- */

static void cancelled_body(struct pg *p)
{
	struct crowd *c;

	hold("things");
	c = crowd_start(3, add_one, NULL);
	wait_for_waiters(1);
	co_cancel(c->all[1]);
	CHECK(co_yield () == 0);
	CHECK(rcs[1] == -ECANCELED && made == 3 && freed == 0);
	release();
	crowd_wait(c);
	CHECK(rcs[0] == 0 && rcs[2] == 0);
	wait_for_things(3); /* what was on its way is written all the same */
	CHECK(freed == 3);
}

static void deadline_body(struct pg *p)
{
	struct err err = { 0 };

	hold("things");
	CHECK(add(1, loop_now_ms() + 50, &err) == -ETIMEDOUT);
	release();
	wait_for_things(1);
	CHECK(add(2, loop_now_ms() + PATIENCE_MS, &err) == 0);
}

/* ---- Postgres says "again" ---- */

/* A sequence counts what a transaction that is rolled back forgets. */
static void transient_body(struct pg *p)
{
	other_says("CREATE SEQUENCE tries");
	other_says("CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
		   " IF nextval('tries') < 3 THEN RAISE EXCEPTION 'stumbled' USING ERRCODE ="
		   " '40001'; END IF; RETURN NULL; END $$");
	other_says("CREATE TRIGGER stumble AFTER INSERT ON things FOR EACH STATEMENT EXECUTE"
		   " FUNCTION stumble()");
	crowd_wait(crowd_start(5, add_one, NULL));
	CHECK(refused(5) == 0 && other_counts("SELECT last_value FROM tries") == 3);
	CHECK(other_counts("SELECT count(*) FROM things") == 5);
}

static void restart_body(struct pg *p)
{
	struct crowd *c;

	hold("things");
	c = crowd_start(50, add_one, NULL);
	wait_for_waiters(1);
	postgres_crash();
	postgres_again();
	crowd_wait(c);
	CHECK(refused(50) == 0);
	CHECK(other_counts("SELECT count(DISTINCT n) FROM things") == 50);
}

/* ---- the lot goes ---- */

static void freed_open_body(struct pg *p)
{
	struct crowd *c = crowd_start(2, add_one, NULL);

	CHECK(co_yield () == 0); /* both stand in the open batch */
	CHECK(made == 2);
	lot_free(lot);
	lot = NULL;
	crowd_wait(c);
	CHECK(rcs[0] == -ECANCELED && rcs[1] == -ECANCELED && freed == 2);
}

/* What is under way is answered after the lot has gone, by the pool that is freed at the end. */
static void freed_under_way_body(struct pg *p)
{
	struct crowd *c;

	hold("things");
	c = crowd_start(2, add_one, NULL);
	wait_for_waiters(1);
	co_cancel(c->all[0]);
	co_cancel(c->all[1]);
	crowd_wait(c);
	lot_free(lot);
	lot = NULL;
	CHECK(freed == 0);
}

/* ---- running ---- */

static void (*body)(struct pg *p);

static void with_lot(struct pg *p)
{
	other_says("DROP TABLE IF EXISTS things");
	other_says("CREATE TABLE things (n int8 CONSTRAINT positive CHECK (n >= 0), place int8)");
	made = freed = 0;
	memset(rcs, 0xff, sizeof(rcs));
	memset(errs, 0, sizeof(errs));
	lot = lot_new(p, &kind);
	body(p);
	lot_free(lot);
}

#define TEST(name)                                                                   \
	static void test_##name(void **state)                                        \
	{                                                                            \
		body = name##_body;                                                  \
		assert_int_equal(in_coroutine(with_lot), 0);                         \
		other_leaves();                                                      \
		assert_int_equal(made, freed); /* each item once, however it went */ \
	}
TEST(together)
TEST(more_than_a_batch)
TEST(poison)
TEST(wrong_statement)
TEST(cancelled)
TEST(deadline)
TEST(transient)
TEST(restart)
TEST(freed_open)
TEST(freed_under_way)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_together),   cmocka_unit_test(test_more_than_a_batch),
		cmocka_unit_test(test_poison),     cmocka_unit_test(test_wrong_statement),
		cmocka_unit_test(test_cancelled),  cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_transient),  cmocka_unit_test(test_restart),
		cmocka_unit_test(test_freed_open), cmocka_unit_test(test_freed_under_way),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
