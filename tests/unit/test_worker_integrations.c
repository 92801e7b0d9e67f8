/* The process's view of its integrations, against a real Postgres: read once for all who ask, bounded, replaced and never changed. */
#include "worker/integrations.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/postgres_trouble.h"
#include "worker/home.h"

#define CROWD 200
#define MORE_THAN_KEPT 8300
#define KEPT_MS 5000

static struct worker worker;
static const struct integration *got[CROWD];
static int rcs[CROWD];
static struct err errs[CROWD];

/* Every read of the table counts. */
static long looks(void)
{
	return other_counts("SELECT last_value FROM looks") - 1;
}

static void looks_from_zero(void)
{
	other_says("SELECT setval('looks', 1)");
}

static const struct integration *get(int64_t id)
{
	const struct integration *i = NULL;
	struct err err = { 0 };

	CHECK(integrations_get(&worker, id, &i, &err) == 0);
	CHECK(i && i->id == id);
	return i;
}

static void get_one(int i, void *arg)
{
	rcs[i] = integrations_get(&worker, *(int64_t *)arg, &got[i], &errs[i]);
}

static void put_all(int n)
{
	for (int i = 0; i < n; i++)
		integrations_put(got[i]);
	memset(got, 0, sizeof(got));
}

/* ---- once for all ---- */

static void single_flight_body(struct pg *p)
{
	int64_t id = 1;

	crowd_wait(crowd_start(CROWD, get_one, &id));
	for (int i = 0; i < CROWD; i++)
		CHECK(rcs[i] == 0 && got[i] == got[0]);
	CHECK(got[0] && strcmp(got[0]->partner, "acme") == 0);
	CHECK(looks() == 1);
	integrations_put(get(1));
	CHECK(looks() == 1); /* and kept */
	put_all(CROWD);
}

/* What is not there is one question too, and everybody is told. */
static void unknown_body(struct pg *p)
{
	int64_t id = 999999;

	crowd_wait(crowd_start(CROWD, get_one, &id));
	for (int i = 0; i < CROWD; i++)
		CHECK(rcs[i] == -ENOENT && errs[i].class == ERR_BAD_JOB);
	CHECK(looks() == 1);
	CHECK(integrations_get(&worker, id, &got[0], NULL) == -ENOENT);
	CHECK(looks() == 2); /* it may have been added meanwhile */
}

/* ---- cancelled ones ---- */

/* Of the crowd the first one reads, the others wait for it.  Those from `from` on are cancelled, every second one. */
static void cancel_some(int from)
{
	int64_t id = 1;
	struct crowd *c;

	hold("integrations_rows");
	c = crowd_start(CROWD, get_one, &id);
	wait_for_waiters(1);
	for (int i = from; i < CROWD; i += 2)
		co_cancel(c->all[i]);
	for (int i = 0; i < 10; i++)
		CHECK(co_yield () == 0);
	for (int i = from; i < CROWD; i += 2)
		CHECK(rcs[i] == -ECANCELED && c->all[i] == NULL);
	release();
	crowd_wait(c);
	for (int i = 0; i < CROWD; i++)
		CHECK((i >= from && (i - from) % 2 == 0) ||
		      (rcs[i] == 0 && got[i] && got[i] == got[1 - from % 2]));
	put_all(CROWD);
}

/* The reader tells nobody who has gone: the frame it would write to is gone too. */
static void cancelled_waiters_body(struct pg *p)
{
	cancel_some(1);
	CHECK(looks() == 1);
}

/* Without the reader the next one reads. */
static void cancelled_reader_body(struct pg *p)
{
	cancel_some(0);
}

/* ---- replaced, not changed ---- */

static void replaced_body(struct pg *p)
{
	const struct integration *before = get(1), *again = get(1), *after;

	CHECK(before == again && !integrations_is_broken(&worker, 1));
	other_says(
		"UPDATE integrations_rows SET status = 'auth_broken', status_reason = 'gone' WHERE id = 1");
	integrations_forget(1);
	after = get(1);
	CHECK(after != before && strcmp(after->status, "auth_broken") == 0);
	CHECK(integrations_is_broken(&worker, 1));
	CHECK(strcmp(before->status, "active") == 0 && !before->status_reason);
	integrations_put(before);
	CHECK(strcmp(again->partner, "acme") == 0); /* held still */
	integrations_put(again);
	integrations_put(after);
	integrations_put(NULL);
	integrations_forget(424242);
}

/* After a while it is read anew by itself. */
static void ages_body(struct pg *p)
{
	const struct integration *before = get(1), *now = get(1);
	int64_t began = loop_now_ms();

	other_says("UPDATE integrations_rows SET status = 'paused' WHERE id = 1");
	while (strcmp(now->status, "active") == 0 && loop_now_ms() - began < 3 * KEPT_MS) {
		integrations_put(now);
		CHECK(co_sleep("age", 100) == 0);
		now = get(1);
	}
	CHECK(strcmp(now->status, "paused") == 0 && strcmp(before->status, "active") == 0);
	CHECK(loop_now_ms() - began >= KEPT_MS);
	CHECK(looks() == 2);
	integrations_put(before);
	integrations_put(now);
}

/* ---- bounded ---- */

static void get_a_share(int i, void *arg)
{
	for (int64_t id = 2 + i; id <= MORE_THAN_KEPT; id += 8)
		integrations_put(get(id));
}

static void bounded_body(struct pg *p)
{
	const struct integration *held = get(1);

	crowd_wait(crowd_start(8, get_a_share, NULL));
	CHECK(looks() == MORE_THAN_KEPT);
	CHECK(held->id == 1 &&
	      strcmp(held->partner, "acme") == 0); /* out of the table, not of our hands */
	integrations_put(get(1));
	CHECK(looks() == MORE_THAN_KEPT + 1);
	integrations_put(held);
}

/* ---- what lookups ask with ---- */

static void home_body(struct pg *p)
{
	struct err err = { 0 };
	int64_t id = 0;

	CHECK(home_get(&worker, "zeta", &id, &err) == -ENOENT && err.class == ERR_BAD_JOB);
	other_says("INSERT INTO integrations_rows (company_id, partner) SELECT NULL, 'zeta'");
	CHECK(home_get(&worker, "zeta", &id, NULL) == 0 && id > 0);
	CHECK(home_paused("zeta") == NULL);
	other_says(
		"INSERT INTO partner_states (partner, paused, pause_reason) VALUES ('zeta', true, 'tidying')");
	home_free_all();
	CHECK(home_get(&worker, "zeta", &id, NULL) == 0);
	CHECK(home_paused("zeta") && strcmp(home_paused("zeta"), "tidying") == 0);
	CHECK(home_enter("zeta", 2) && home_enter("zeta", 2) && !home_enter("zeta", 2));
	CHECK(home_enter("eta", 1)); /* each has its own */
	home_leave("zeta");
	CHECK(home_enter("zeta", 2));
	home_free_all();
}

/* ---- running ---- */

static void (*body)(struct pg *p);

/* A view that counts its readers stands in the table's place. */
static void prepare(void)
{
	other_says("DROP SCHEMA public CASCADE");
	other_says("CREATE SCHEMA public");
	CHECK(migrate_run(postgres.url, ignore_applied, NULL, NULL) == 0);
	other_says(
		"INSERT INTO integrations (company_id, partner) SELECT NULL, 'acme' FROM generate_series(1, 8300)");
	other_says("CREATE SEQUENCE looks");
	other_says("ALTER TABLE integrations RENAME TO integrations_rows");
	other_says(
		"CREATE VIEW integrations AS SELECT i.* FROM (SELECT nextval('looks') OFFSET 0) n"
		" CROSS JOIN integrations_rows i");
	looks_from_zero();
}

static void with_postgres(struct pg *p)
{
	prepare();
	worker.pg = p;
	memset(rcs, 0x7f, sizeof(rcs));
	body(p);
	integrations_free_all();
}

#define TEST(name)                                                \
	static void test_##name(void **state)                     \
	{                                                         \
		body = name##_body;                               \
		assert_int_equal(in_coroutine(with_postgres), 0); \
		other_leaves();                                   \
	}
TEST(single_flight)
TEST(unknown)
TEST(cancelled_waiters)
TEST(cancelled_reader)
TEST(replaced)
TEST(ages)
TEST(bounded)
TEST(home)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_flight),     cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_cancelled_waiters), cmocka_unit_test(test_cancelled_reader),
		cmocka_unit_test(test_replaced),          cmocka_unit_test(test_ages),
		cmocka_unit_test(test_bounded),           cmocka_unit_test(test_home),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
