/* Events of partners on their way in: marked and queued in one script, each once a day, whatever shares a turn. */
#include "common/queue/intake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

/* ---- what came of a delivery ---- */

struct took {
	struct completion done;
	int rc, n;
	char fresh[2048];
};

static void on_taken(int rc, const char *fresh, int n, void *arg)
{
	struct took *t = arg;

	t->rc = rc;
	t->n = n;
	t->fresh[0] = '\0';
	if (fresh)
		snprintf(t->fresh, sizeof(t->fresh), "%.*s", n, fresh);
	completion_done(&t->done);
}

static void wait_for(struct took *t)
{
	t->done.waiter = co_self();
	CHECK(completion_wait(&t->done, "test", soon()) == 0);
}

static struct queue_event event(enum lane lane, int64_t integration, int n)
{
	static char texts[2000][96];
	static int used;
	char *text = texts[used++ % 2000];
	struct queue_event e = { .lane = lane, .integration = integration };

	snprintf(e.hash, sizeof(e.hash), "%032d", n);
	snprintf(text, sizeof(texts[0]),
		 "{\"task\":\"process_webhook\",\"integration_id\":%lld,\"id\":\"wh-%s\"}",
		 (long long)integration, e.hash);
	e.payload = text;
	e.len = strlen(text);
	return e;
}

static void take(struct queue *q, struct took *t, const struct queue_event *v, int n)
{
	memset(t, 0, sizeof(*t));
	queue_take_in(q, v, n, on_taken, t);
	CHECK(!t->done.done);
}

/* ---- tests ---- */

static void body_once(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_event v[] = { event(LANE_NORMAL, 7, 1), event(LANE_NORMAL, 7, 2),
				   event(LANE_HIGH, 7, 3), event(LANE_NORMAL, 7, 1) };
	static struct took first, again, other;
	struct claim_result r;

	take(q, &first, v, 4);
	wait_for(&first);
	CHECK(first.rc == 0 && first.n == 4 && !strcmp(first.fresh, "1110"));
	CHECK(plain_int("PTTL seen:{p}:wh:7:%s", v[0].hash) > INTAKE_SEEN_MS - 60000);
	take(q, &again, v, 3);
	v[1] = event(LANE_NORMAL, 8, 2); /* the same id of another customer's */
	take(q, &other, v, 2);           /* … in the same turn */
	wait_for(&again);
	wait_for(&other);
	CHECK(!strcmp(again.fresh, "000") && !strcmp(other.fresh, "01"));

	caps_are(q, 100, 10);
	r = claim(q, 10);
	CHECK(r.n == 4);
	if (r.n == 4) {
		CHECK(r.leases[0].lane == LANE_HIGH);
		CHECK(!strcmp(r.leases[1].header.id, "wh-00000000000000000000000000000001"));
		CHECK(strstr(r.leases[1].payload, "\"integration_id\":7") != NULL);
	}
	finish_all(q, &r);
	queue_free(q);
}

/* Deliveries that do not fit into one script, and one that is larger than a script itself. */
static void body_many(void)
{
	struct queue *q = queue_new(conn, "p", NULL);
	struct queue_event *v = mem_zalloc(1100 * sizeof(*v));
	static struct took t[3];

	for (int i = 0; i < 1100; i++)
		v[i] = event(LANE_NORMAL, 1 + i % 3, i);
	take(q, &t[0], v, 10);
	take(q, &t[1], v + 10, 1000);
	take(q, &t[2], v + 1005, 95);
	for (int i = 0; i < 3; i++)
		wait_for(&t[i]);
	CHECK(t[0].n == 10 && strspn(t[0].fresh, "1") == 10);
	CHECK(t[1].n == 1000 && strspn(t[1].fresh, "1") == 1000);
	CHECK(strspn(t[2].fresh, "0") == 5 && strspn(t[2].fresh + 5, "1") == 90);
	CHECK(plain_int("ZCARD ready:{p}:normal") == 1100);
	CHECK(plain_int("ZCARD ring:{p}:normal") == 3);
	free(v);
	queue_free(q);
}

/* What can't be queued is not marked either: it comes again. */
static void body_refused(void)
{
	struct queue *q = queue_new(conn, "p", NULL);
	struct queue_event e = event(LANE_NORMAL, 7, 1);
	static struct took t;

	freeReplyObject(plain("SET ready:{p}:normal text"));
	take(q, &t, &e, 1);
	wait_for(&t);
	CHECK(t.rc == -EPROTO);
	CHECK(plain_int("EXISTS seen:{p}:wh:7:%s", e.hash) == 0);
	freeReplyObject(plain("DEL ready:{p}:normal"));

	freeReplyObject(plain("CONFIG SET maxmemory 1"));
	take(q, &t, &e, 1);
	wait_for(&t);
	CHECK(t.rc == -EPROTO);
	freeReplyObject(plain("CONFIG SET maxmemory 0"));
	CHECK(plain_int("EXISTS seen:{p}:wh:7:%s", e.hash) == 0);

	take(q, &t, &e, 1);
	queue_free(q); /* before the turn was over */
	CHECK(t.done.done && t.rc == -ECONNRESET);
	q = queue_new(conn, "p", NULL);
	take(q, &t, &e, 1);
	redis_drop(conn, "a test");
	wait_for(&t);
	CHECK(t.rc == -ECONNRESET);
	CHECK(redis_wait_up(conn, soon()) == 0);
	take(q, &t, &e, 1);
	wait_for(&t);
	CHECK(t.rc == 0 && !strcmp(t.fresh, "1"));
	queue_free(q);
}

/* What holds the integration does not hold what mends it. */
static void body_unheld(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_event v[] = { event(LANE_HIGH, 7, 1), event(LANE_HIGH, 7, 2) };
	static struct took t, again;
	struct claim_result r;

	v[1].unheld = true;
	take(q, &t, v, 2);
	wait_for(&t);
	take(q, &again, v + 1, 1);
	wait_for(&again);
	CHECK(!strcmp(t.fresh, "11") && !strcmp(again.fresh, "0"));
	CHECK(plain_int("EXISTS seen:{p}:wh:7:%s", v[1].hash) == 1);
	caps_are(q, 100, 0);
	r = claim(q, 10);
	CHECK(r.n == 1 && r.leases[0].integration == 0);
	if (r.n == 1)
		CHECK(!strcmp(r.leases[0].header.id, "wh-00000000000000000000000000000002"));
	finish_all(q, &r);
	queue_free(q);
}

#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}
TEST(once)
TEST(many)
TEST(refused)
TEST(unheld)

static int start(void **state)
{
	return server_start(NULL, NULL);
}

static int stop(void **state)
{
	server_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once),
		cmocka_unit_test(many),
		cmocka_unit_test(refused),
		cmocka_unit_test(unheld),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
