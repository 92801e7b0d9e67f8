/* Leases and their workers, against a real redis-server: reaping, reconciling, lost connections; and what else there is. */
#include "common/queue/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

/* ---- leases and their workers ---- */

static void body_reap(void)
{
	struct queue *q = queue_new(conn, "p", "dead-1"), *other = queue_new(conn, "p", "alive-1");
	struct queue *keeper = queue_new(conn, "p", NULL);
	int reaped = -1;

	caps_are(q, 1000, 300);
	push_many("queue:{p}", 1, 250);
	push_many("queue:{p}:high", 2, 1);
	struct claim_result r = claim(q, 240), s = claim(other, 500);
	CHECK(r.n == 240 && s.n == 11);
	CHECK(queue_reap(keeper, NULL, &reaped, soon(), NULL) == 0 && reaped == 0);
	freeReplyObject(plain("DEL worker:{p}:dead-1"));
	CHECK(queue_reap(keeper, NULL, &reaped, soon(), NULL) == 0);
	CHECK(reaped == 240 && plain_int("HLEN flight:{p}") == 11 &&
	      plain_int("HGET busy:{p} 1") == 11);
	CHECK(queue_reap(keeper, "alive-1", &reaped, soon(), NULL) == 0);
	CHECK(reaped == 11 && plain_int("HLEN flight:{p}") == 0 &&
	      plain_int("EXISTS busy:{p}") == 0);
	/* Both come back: neither can finish. */
	settled_held = settled_lost = 0;
	for (int i = 0; i < r.n; i++)
		settle_one(&r.leases[i], SETTLE_DONE);
	for (int i = 0; i < s.n; i++)
		settle_one(&s.leases[i], SETTLE_AGAIN);
	wait_settled(q);
	wait_settled(other);
	free(r.leases);
	free(s.leases);
	CHECK(settled_held == 0 && settled_lost == 251 && ready_of(q) == 251);
	r = claim(q, 500);
	CHECK(r.n == 251 && r.leases[0].lane == LANE_HIGH && r.leases[0].fence == 3);
	CHECK(r.n > 2 && strstr(r.leases[1].payload, "\"n\":0") && r.leases[1].header.crashes == 0);
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
	queue_free(other);
	queue_free(keeper);
}

/* A claim whose answer never came: its leases are found and given back, and those that are held stay. */
static void body_reconcile(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct claim_result r, lost = { 0 };
	struct err err = { 0 };

	caps_are(q, 100, 100);
	push_many("queue:{p}", 1, 20);
	r = claim(q, 5);
	CHECK(r.n == 5);
	CHECK(queue_claim(q, 7, &lost, loop_now_ms() - 1, &err) == -ETIMEDOUT);
	CHECK(co_sleep("claim", 20) == 0);
	CHECK(plain_int("HLEN flight:{p}") == 12 && queue_held(q) == 5);
	struct claim_result s = claim(q, 100);
	CHECK(s.n == 15 && plain_int("HLEN flight:{p}") == 20);
	CHECK(s.n > 0 && strstr(s.leases[0].payload, "\"n\":5"));
	finish_all(q, &s);
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

static void body_lost_connection(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int done = 0;

	caps_are(q, 1000, 1000);
	push_many("queue:{p}", 1, 300);
	for (int round = 0; round < 100 && done < 300; round++) {
		struct claim_result r = { 0 };
		struct err err = { 0 };

		if (round % 3 == 1)
			redis_drop(conn, "test");
		CHECK(redis_wait_up(conn, soon()) == 0);
		CHECK(queue_reconcile(q, soon(), &err) == 0);
		CHECK(queue_claim(q, 20, &r, soon(), &err) == 0);
		done += r.n;
		settled_held = settled_lost = 0;
		for (int i = 0; i < r.n; i++)
			settle_one(&r.leases[i], i % 2 ? SETTLE_DONE : SETTLE_DEAD);
		CHECK(co_sleep("sent", 3) == 0);
		if (round % 3 == 0)
			redis_drop(conn, "test");
		wait_settled(q);
		CHECK(settled_held + settled_lost == r.n);
		free(r.leases);
	}
	CHECK(done == 300 && plain_int("HLEN flight:{p}") == 0 && queue_held(q) == 0);
	queue_free(q);
}

/* Redis refuses to write: what was settled is kept, and goes through when it can. */
static void body_refusing_redis(void)
{
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 3);
	struct claim_result r = claim(q, 3);
	CHECK(r.n == 3);
	freeReplyObject(plain("CONFIG SET min-replicas-to-write 1"));
	settled_held = settled_lost = 0;
	for (int i = 0; i < r.n; i++)
		settle_one(&r.leases[i], i == 0 ? SETTLE_DONE : SETTLE_AGAIN);
	CHECK(co_sleep("refused", 150) == 0);
	CHECK(queue_unsettled(q) == 3 && settled_held == 0 && settled_lost == 0);
	freeReplyObject(plain("CONFIG SET min-replicas-to-write 0"));
	wait_settled(q);
	CHECK(settled_held == 3 && plain_int("HLEN flight:{p}") == 0 && ready_of(q) == 2);
	free(r.leases);
	queue_free(q);
}

/* A full Redis takes no new work, and lets go of what it has. */
static void body_full_redis(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_push push = {
		.lane = LANE_NORMAL, .integration = 1, .payload = "{}", .len = 2
	};
	struct err err = { 0 };

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 6);
	struct claim_result r = claim(q, 3);
	CHECK(r.n == 3);
	freeReplyObject(plain("CONFIG SET maxmemory 1"));
	CHECK(queue_enqueue(q, &push, 1, soon(), &err) == -EPROTO && strstr(err.text, "maxmemory"));
	settled_held = settled_lost = 0;
	settle_one(&r.leases[0], SETTLE_DONE);
	settle_one(&r.leases[1], SETTLE_AGAIN);
	bury(&r.leases[2], 7, "{\"id\":\"x\"}");
	wait_settled(q);
	free(r.leases);
	CHECK(settled_held == 3 && plain_int("ZCARD dead:{p}") == 1 && ready_of(q) == 4);
	r = claim(q, 10);
	CHECK(r.n == 4);
	freeReplyObject(plain("CONFIG SET maxmemory 0"));
	finish_all(q, &r);
	queue_free(q);
}

static void body_beat(void)
{
	struct queue *q = queue_new(conn, "p", "e"), *l = queue_new(conn, "longshore", "e");
	struct claim_result r, s;

	caps_are(q, 100, 10);
	caps_are(l, 100, 10);
	push_many("queue:{p}", 1, 1);
	push_raw("queue:{longshore}", "{\"task\":\"noop\"}");
	CHECK(fleet_beat(conn, "e", "{\"host\":\"h\"}", soon(), NULL) == 0);
	r = claim(q, 1);
	s = claim(l, 1);
	CHECK(r.n == 1 && s.n == 1);
	freeReplyObject(plain("PEXPIRE worker:{p}:e 500"));
	freeReplyObject(plain("PEXPIRE worker:{longshore}:e 500"));
	queue_beat(q); /* a second has not passed */
	CHECK(co_sleep("beat", 20) == 0);
	CHECK(plain_int("PTTL worker:{p}:e") < 500);
	CHECK(co_sleep("beat", 1000) == 0);
	freeReplyObject(plain("SET worker:{longshore}:e {\"host\":\"h\"} PX 500"));
	queue_beat(q);
	queue_beat(l);
	CHECK(co_sleep("beat", 20) == 0);
	CHECK(plain_int("PTTL worker:{p}:e") > 7000 &&
	      plain_int("PTTL worker:{longshore}:e") > 7000);
	redisReply *v = plain("GET worker:{longshore}:e");
	CHECK(v->type == REDIS_REPLY_STRING && v->str[0] == '{');
	freeReplyObject(v);
	result_clear(&r);
	result_clear(&s);
	CHECK(queue_held(q) == 0);
	queue_free(q);
	queue_free(l);
}

/* ---- odds and ends ---- */

static void body_enqueue(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	static struct queue_push v[500];
	struct queue_depth d;
	struct err err = { 0 };
	char *large = mem_alloc(JOB_MAX_BYTES);

	memset(large, 'x', JOB_MAX_BYTES);
	caps_are(q, 1000, 1000);
	for (int i = 0; i < 500; i++)
		v[i] = (struct queue_push){
			.lane = LANE_HIGH, .integration = 1 + i % 3, .payload = "{}", .len = 2
		};
	v[7].run_at_ms = redis_now_ms(conn) + 3600 * 1000;
	v[8].run_at_ms = 5;
	v[9].id = "my-own";
	v[10].payload = large;
	v[10].len = JOB_MAX_BYTES;
	CHECK(queue_enqueue(q, v, 500, soon(), &err) == 0);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	CHECK(d.ready[LANE_HIGH] == 499 && d.delayed == 1 && d.held == 0 && d.in_flight == 0);
	v[9].id = "with blank";
	CHECK(queue_enqueue(q, v, 10, soon(), &err) == -EINVAL);
	CHECK(queue_enqueue(q, v, 501, soon(), &err) == -EINVAL);
	int seen = 0, own = 0;
	for (int i = 0; i < 10 && seen < 499; i++) {
		struct claim_result r = claim(q, 500);

		for (int k = 0; k < r.n; k++)
			own += strcmp(r.leases[k].header.id, "my-own") == 0;
		seen += r.n;
		finish_all(q, &r);
	}
	CHECK(seen == 499 && own == 1);
	free(large);
	queue_free(q);
}

static void body_enqueue_once(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_push job = {
		.lane = LANE_NORMAL, .integration = 1, .id = "beat-1", .payload = "{}", .len = 2
	};
	bool fresh = false;

	CHECK(queue_enqueue_once(q, &job, 60000, &fresh, soon(), NULL) == 0 && fresh);
	CHECK(queue_enqueue_once(q, &job, 60000, &fresh, soon(), NULL) == 0 && !fresh);
	CHECK(ready_of(q) == 1);
	queue_free(q);
}

static void body_large_jobs(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	char *payload = mem_alloc(JOB_MAX_BYTES);
	int seen = 0, first = -1;

	memset(payload, 'x', JOB_MAX_BYTES);
	caps_are(q, 1000, 1000);
	for (int i = 0; i < 24; i++)
		freeReplyObject(plain("LPUSH queue:{p} %b", payload, (size_t)JOB_MAX_BYTES));
	for (int i = 0; i < 30 && seen < 24; i++) {
		struct claim_result r = claim(q, 500);

		CHECK(first < 0 || r.n <= 4);
		first = r.n;
		for (int k = 0; k < r.n; k++)
			CHECK(r.leases[k].payload_len == JOB_MAX_BYTES);
		seen += r.n;
		finish_all(q, &r);
	}
	CHECK(seen == 24);
	free(payload);
	nothing_left("p");
	queue_free(q);
}

/* Hand-made nonsense under our names: said, and never in the way of real jobs. */
static void body_nonsense_keys(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_depth d;

	caps_are(q, 100, 10);
	freeReplyObject(plain("SET queue:{p}:high text"));
	freeReplyObject(plain("ZADD ready:{p}:normal 1 garbage"));
	freeReplyObject(plain("ZADD ring:{p}:normal 1 1"));
	freeReplyObject(plain("ZADD delayed:{p} 5 not-ours"));
	push_many("queue:{p}", 1, 2);
	CHECK(queue_promote(q, NULL, NULL, soon(), NULL) == 0);
	struct claim_result r = claim(q, 10);
	CHECK(r.n == 4);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0 && d.in_flight == 4);
	int malformed = 0, by_hand = 0;
	for (int i = 0; i < r.n; i++) {
		malformed +=
			r.leases[i].payload_len == 7 && !memcmp(r.leases[i].payload, "garbage", 7);
		by_hand +=
			r.leases[i].payload_len == 8 && !memcmp(r.leases[i].payload, "not-ours", 8);
	}
	CHECK(malformed == 1 && by_hand == 1);
	finish_all(q, &r);
	freeReplyObject(plain("DEL queue:{p}:high"));
	nothing_left("p");
	queue_free(q);
}

static void body_depth(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_depth d;
	int64_t now = redis_now_ms(conn);
	char member[96];

	caps_are(q, 100, 10);
	snprintf(member, sizeof(member), "100000000000001 3 a 0 0 %lld\n{}", (long long)now - 5000);
	freeReplyObject(plain("ZADD ready:{p}:low 3 %s", member));
	snprintf(member, sizeof(member), "100000000000002 1 a 0 0 5 since=%lld\n{}",
		 (long long)now - 1000);
	freeReplyObject(plain("ZADD ready:{p}:low 1 %s", member));
	freeReplyObject(plain("ZADD ring:{p}:low 1 1 2 3"));
	push_raw("queue:{p}:low", "{}");
	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	CHECK(d.ready[LANE_LOW] == 3 && d.ready[LANE_HIGH] == 0);
	/* Our idea of Redis' clock is off by half a round trip, which on a busy machine is long. */
	CHECK(d.oldest_age_ms[LANE_LOW] >= 4000 && d.oldest_age_ms[LANE_LOW] < 20000);
	queue_free(q);
}

struct seen {
	int n, alive;
};

static void on_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->alive += info_json && strstr(info_json, "\"pid\":1") != NULL;
	CHECK(last_beat_ms > 0 && epoch[0] == 'w');
}

static void body_fleet_and_roles(void)
{
	struct seen s = { 0 };
	int64_t a = 0, b = 0;

	CHECK(fleet_beat(conn, "w1", "{\"pid\":1}", soon(), NULL) == 0);
	CHECK(fleet_beat(conn, "w2", "{\"pid\":1}", soon(), NULL) == 0);
	freeReplyObject(plain("ZADD workers:{longshore} 5 w-long-gone"));
	freeReplyObject(plain("ZADD workers:{longshore} %lld w-silent",
			      (long long)redis_now_ms(conn) - 60000));
	CHECK(fleet_each(conn, on_worker, &s, soon(), NULL) == 0);
	CHECK(s.n == 3 && s.alive == 2);
	CHECK(fleet_leave(conn, "w1", soon(), NULL) == 0);
	s = (struct seen){ 0 };
	CHECK(fleet_each(conn, on_worker, &s, soon(), NULL) == 0 && s.n == 2 && s.alive == 1);

	CHECK(role_hold(conn, "leader", "me", 1000, &a, soon(), NULL) == 1);
	CHECK(role_hold(conn, "leader", "you", 1000, &b, soon(), NULL) == 0);
	CHECK(role_hold(conn, "leader", "me", 1000, &b, soon(), NULL) == 1 && a == b && a > 0);
	CHECK(role_leave(conn, "leader", "you", soon(), NULL) == 0);
	CHECK(role_hold(conn, "leader", "you", 1000, &b, soon(), NULL) == 0);
	CHECK(role_leave(conn, "leader", "me", soon(), NULL) == 0);
	CHECK(role_hold(conn, "leader", "you", 30, &b, soon(), NULL) == 1 && b > a);
	CHECK(co_sleep("expiry", 60) == 0);
	a = b;
	CHECK(role_hold(conn, "leader", "me", 1000, &b, soon(), NULL) == 1 && b > a);
}

static void body_names(void)
{
	CHECK(queue_name_is_valid("guesty") && queue_name_is_valid("a_1"));
	CHECK(!queue_name_is_valid("") && !queue_name_is_valid("Guesty") &&
	      !queue_name_is_valid("a b"));
	CHECK(!queue_name_is_valid(NULL) && !queue_name_is_valid("a{b}") &&
	      !queue_name_is_valid("12345678901234567890123456789012345678901"));
}

TEST(reap)
TEST(reconcile)
TEST(lost_connection)
TEST(refusing_redis)
TEST(full_redis)
TEST(beat)
TEST(enqueue)
TEST(enqueue_once)
TEST(large_jobs)
TEST(nonsense_keys)
TEST(depth)
TEST(fleet_and_roles)
TEST(names)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reap),
		cmocka_unit_test(reconcile),
		cmocka_unit_test(lost_connection),
		cmocka_unit_test(refusing_redis),
		cmocka_unit_test(full_redis),
		cmocka_unit_test(beat),
		cmocka_unit_test(enqueue),
		cmocka_unit_test(enqueue_once),
		cmocka_unit_test(large_jobs),
		cmocka_unit_test(nonsense_keys),
		cmocka_unit_test(depth),
		cmocka_unit_test(fleet_and_roles),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
