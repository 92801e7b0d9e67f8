/* The doorbell against a real redis-server: what must ring, how soon, and what silence costs. */
#include "common/queue/doorbell.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_redis.h"

static struct {
	struct queue *q[2];
	struct doorbell *bell;
	int rings[2];
	int64_t rang_us[2];
	struct co *waiter;
} t;

static void on_ring(struct queue *q, void *arg)
{
	int i = q == t.q[1];

	t.rings[i]++;
	t.rang_us[i] = clock_mono_us();
	if (t.waiter)
		co_wake(t.waiter);
}

static void begin(void)
{
	t.q[0] = queue_new(conn, "p", "e");
	t.q[1] = queue_new(conn, "o", "e");
	t.rings[0] = t.rings[1] = 0;
	t.waiter = co_self();
	t.bell = doorbell_new(conn, server.url, t.q, 2, on_ring, NULL);
	struct queue_control c = { .generation = 1, .partner_cap = 3, .default_cap = 3 };
	for (int i = 0; i < 2; i++)
		CHECK(queue_control_set(t.q[i], &c, soon(), NULL) == 0);
}

static void end(void)
{
	doorbell_free(t.bell);
	t.bell = NULL;
	t.waiter = NULL;
	queue_free(t.q[0]);
	queue_free(t.q[1]);
}

/* Waits until q rang more often than that. */
static bool rings_beyond(int i, int before, int64_t within_ms)
{
	int64_t deadline = loop_now_ms() + within_ms;
	int rc = 0;

	while (t.rings[i] <= before && rc == 0)
		rc = co_wait("ring", deadline);
	return t.rings[i] > before;
}

/* Long enough that the connection for messages is up and the check is answered. */
static void arm_and_settle(int i, bool at_cap)
{
	doorbell_arm(t.bell, t.q[i], at_cap);
	for (int64_t end_ms = loop_now_ms() + 5000; loop_now_ms() < end_ms;) {
		redisReply *clients = plain("CLIENT LIST");
		bool tracks = strstr(clients->str, "redir=-1") && strstr(clients->str, "flags=t");

		freeReplyObject(clients);
		if (tracks)
			break;
		CHECK(co_sleep("tracking", 5) == 0);
	}
	CHECK(co_sleep("armed", 30) == 0);
}

static void push(const char *key)
{
	freeReplyObject(plain("LPUSH %s {\"task\":\"t\",\"integration_id\":1}", key));
}

static int claim(struct queue *q, struct claim_result *r)
{
	struct err err;

	CHECK(queue_claim(q, 10, r, soon(), &err) == 0);
	return r->n;
}

static void take_and_finish(struct queue *q)
{
	struct claim_result r = { 0 };

	claim(q, &r);
	for (int i = 0; i < r.n; i++)
		queue_settle(q, settlement_new(&r.leases[i], SETTLE_DONE), NULL, NULL);
	free(r.leases);
	for (int64_t end_ms = soon(); queue_unsettled(q) && loop_now_ms() < end_ms;)
		CHECK(co_sleep("settle", 1) == 0);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void body_raw_push_rings_soon(void)
{
	static const char *const keys[] = { "queue:{p}", "queue:{p}:high", "queue:{p}:low" };
	int64_t took_us[30];

	begin();
	arm_and_settle(0, false);
	for (int i = 0; i < 30; i++) {
		int before = t.rings[0];
		int64_t from_us = clock_mono_us();

		push(keys[i % 3]);
		CHECK(rings_beyond(0, before, 1000));
		took_us[i] = t.rang_us[0] - from_us;
		CHECK(t.rings[1] == 0);
		take_and_finish(t.q[0]);
		doorbell_arm(t.bell, t.q[0], false);
		CHECK(co_sleep("armed", 10) == 0);
		CHECK(t.rings[0] == before + 1);
	}
	qsort(took_us, 30, sizeof(took_us[0]), by_value);
	printf("raw push to ring: median %lld us, slowest %lld us\n", (long long)took_us[15],
	       (long long)took_us[29]);
	CHECK(took_us[15] < 5000);
	end();
}

static void body_work_that_is_there_rings_at_once(void)
{
	begin();
	push("queue:{p}:low");
	doorbell_arm(t.bell, t.q[0], false);
	doorbell_arm(t.bell, t.q[1], false);
	CHECK(rings_beyond(0, 0, 1000));
	CHECK(co_sleep("other", 20) == 0);
	CHECK(t.rings[0] == 1 && t.rings[1] == 0);
	push("queue:{o}");
	CHECK(rings_beyond(1, 0, 1000));
	end();
}

static long long commands_so_far(void)
{
	redisReply *info = plain("INFO commandstats");
	long long sum = 0;

	for (char *p = info->str; (p = strstr(p, "calls=")); p++)
		sum += strtoll(p + 6, NULL, 10);
	freeReplyObject(info);
	return sum;
}

static void body_silence_is_cheap(void)
{
	begin();
	arm_and_settle(0, false);
	doorbell_arm(t.bell, t.q[1], false);
	CHECK(co_sleep("armed", 50) == 0);
	long long before = commands_so_far();
	CHECK(co_sleep("silence", 5000) == 0);
	long long calls = commands_so_far() - before;
	printf("commands in 5 s of silence: %lld\n", calls);
	CHECK(calls < 10);
	CHECK(t.rings[0] == 0 && t.rings[1] == 0);
	end();
}

static void body_own_writes_ring(void)
{
	struct queue_push job = {
		.lane = LANE_NORMAL, .integration = 1, .payload = "{}", .len = 2
	};

	begin();
	arm_and_settle(0, false);
	CHECK(queue_enqueue(t.q[0], &job, 1, soon(), NULL) == 0);
	CHECK(rings_beyond(0, 0, 1000));
	take_and_finish(t.q[0]);
	/* The finish of one job lets another of the same integration into the ring. */
	struct queue_control c = { .generation = 1, .partner_cap = 3, .default_cap = 1 };
	CHECK(queue_control_set(t.q[0], &c, soon(), NULL) == 0);
	push("queue:{p}");
	push("queue:{p}");
	struct claim_result r = { 0 };
	CHECK(claim(t.q[0], &r) == 1 && !r.more);
	int before = t.rings[0];
	doorbell_arm(t.bell, t.q[0], false);
	CHECK(co_sleep("armed", 20) == 0);
	CHECK(t.rings[0] == before);
	for (int i = 0; i < r.n; i++)
		queue_settle(t.q[0], settlement_new(&r.leases[i], SETTLE_DONE), NULL, NULL);
	free(r.leases);
	CHECK(rings_beyond(0, before, 1000));
	end();
}

static void body_partner_cap(void)
{
	struct claim_result r = { 0 };

	begin();
	arm_and_settle(1, false);
	for (int i = 0; i < 5; i++)
		freeReplyObject(
			plain("LPUSH queue:{p} {\"task\":\"t\",\"integration_id\":%d}", i + 1));
	CHECK(claim(t.q[0], &r) == 3 && r.at_partner_cap);
	doorbell_arm(t.bell, t.q[0], true);
	CHECK(co_sleep("armed", 50) == 0);
	CHECK(t.rings[0] == 0);
	freeReplyObject(plain("HDEL flight:{p} %s", r.leases[0].id));
	CHECK(rings_beyond(0, 0, 1000));
	lease_clear(&r.leases[0]);
	struct claim_result one = { 0 };
	CHECK(claim(t.q[0], &one) == 1 && one.at_partner_cap);
	int before = t.rings[0];
	doorbell_arm(t.bell, t.q[0], true);
	CHECK(co_sleep("armed", 50) == 0);
	CHECK(t.rings[0] == before);
	freeReplyObject(plain("HSET control:{p} partner 9"));
	CHECK(rings_beyond(0, before, 1000));
	lease_clear(&one.leases[0]);
	free(one.leases);
	for (int i = 1; i < r.n; i++)
		lease_clear(&r.leases[i]);
	free(r.leases);
	end();
}

static void body_lost_connections(void)
{
	begin();
	arm_and_settle(0, false);
	for (int i = 0; i < 2; i++) {
		redisReply *list = plain("CLIENT LIST");
		char *at = strstr(list->str, "name=longshore-doorbell");
		long long id = 0;

		/* The line that has the name begins with id=. */
		while (at && at > list->str && at[-1] != '\n')
			at--;
		if (at)
			id = strtoll(at + 3, NULL, 10);
		freeReplyObject(list);
		CHECK(plain_int("CLIENT KILL ID %lld", id) == 1);
		CHECK(co_sleep("reconnect", 300) == 0);
		int before = t.rings[0];
		push("queue:{p}");
		CHECK(rings_beyond(0, before, 1000));
		take_and_finish(t.q[0]);
		doorbell_arm(t.bell, t.q[0], false);
		CHECK(co_sleep("armed", 30) == 0);
	}
	/* The other connection: whoever is armed hears of work by the safety check at the latest. */
	redis_drop(conn, "test");
	CHECK(redis_wait_up(conn, soon()) == 0);
	int before = t.rings[0];
	push("queue:{p}");
	CHECK(rings_beyond(0, before, 3000));
	take_and_finish(t.q[0]);
	doorbell_arm(t.bell, t.q[0], false);
	CHECK(co_sleep("armed", 200) == 0);
	before = t.rings[0];
	push("queue:{p}");
	CHECK(rings_beyond(0, before, 1000));
	end();
}

static void body_flushall_rings(void)
{
	begin();
	arm_and_settle(0, false);
	doorbell_arm(t.bell, t.q[1], false);
	CHECK(co_sleep("armed", 30) == 0);
	freeReplyObject(plain("FLUSHALL"));
	CHECK(rings_beyond(0, 0, 500));
	CHECK(rings_beyond(1, 0, 500));
	end();
}

static void body_refused(void)
{
	begin();
	freeReplyObject(plain("ACL SETUSER default -client|tracking"));
	doorbell_arm(t.bell, t.q[0], false);
	CHECK(co_sleep("refused", 200) == 0);
	push("queue:{p}");
	CHECK(rings_beyond(0, 0, 1000));
	take_and_finish(t.q[0]);
	doorbell_arm(t.bell, t.q[0], false);
	CHECK(co_sleep("polling", 50) == 0);
	int before = t.rings[0];
	push("queue:{p}:high");
	CHECK(rings_beyond(0, before, 1000));
	freeReplyObject(plain("ACL SETUSER default +client|tracking"));
	end();
}

/* Something that always looks like work and never is must not become a hot loop. */
static void body_false_alarm(void)
{
	struct claim_result r = { 0 };

	begin();
	freeReplyObject(plain("SET queue:{p} text"));
	doorbell_arm(t.bell, t.q[0], false);
	for (int64_t end_ms = loop_now_ms() + 2000; loop_now_ms() < end_ms;) {
		int before = t.rings[0];

		if (!rings_beyond(0, before - 1, 100))
			continue;
		CHECK(claim(t.q[0], &r) == 0);
		doorbell_arm(t.bell, t.q[0], false);
		CHECK(rings_beyond(0, before, 1500));
	}
	printf("false rings in 2 s: %d\n", t.rings[0]);
	CHECK(t.rings[0] > 5 && t.rings[0] < 40);
	end();
}

#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}
TEST(raw_push_rings_soon)
TEST(work_that_is_there_rings_at_once)
TEST(silence_is_cheap)
TEST(own_writes_ring)
TEST(partner_cap)
TEST(lost_connections)
TEST(flushall_rings)
TEST(refused)
TEST(false_alarm)

static int setup(void **state)
{
	log_init("test_doorbell", LOG_ERROR, false);
	return server_start(NULL, NULL);
}

static int teardown(void **state)
{
	server_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_push_rings_soon),
		cmocka_unit_test(work_that_is_there_rings_at_once),
		cmocka_unit_test(silence_is_cheap),
		cmocka_unit_test(own_writes_ring),
		cmocka_unit_test(partner_cap),
		cmocka_unit_test(lost_connections),
		cmocka_unit_test(flushall_rings),
		cmocka_unit_test(refused),
		cmocka_unit_test(false_alarm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
