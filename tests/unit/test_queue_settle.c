/* How jobs end, against a real redis-server: outcomes, children, outbox, dead letters, and Redis refusing. */
#include "common/queue/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

/* ---- settling ---- */

static void body_again_and_delay(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct claim_result r;
	int moved = -1;
	int64_t due = -1;

	caps_are(q, 100, 10);
	push_raw("queue:{p}", "{\"task\":\"a\",\"integration_id\":5}");
	push_raw("queue:{p}", "{\"task\":\"b\",\"integration_id\":5}");
	push_raw("queue:{p}", "{\"task\":\"c\",\"integration_id\":5}");
	r = claim(q, 2);
	CHECK(r.n == 2 && r.more);
	settled_held = 0;
	struct settlement *s = settlement_new(&r.leases[1], SETTLE_AGAIN);
	settlement_set_integration(s, 6);
	queue_settle(q, s, on_settled, NULL);
	struct job_header h = r.leases[0].header;
	h.attempts = 2;
	s = settlement_new(&r.leases[0], SETTLE_DELAY);
	settlement_set_header(s, &h);
	settlement_set_due(s, redis_now_ms(conn) + 500);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	free(r.leases);
	CHECK(settled_held == 2 && plain_int("ZCARD delayed:{p}") == 1 &&
	      plain_int("EXISTS busy:{p}") == 0);
	CHECK(queue_promote(q, &moved, &due, soon(), NULL) == 0);
	CHECK(moved == 0 && due > 0);
	CHECK(co_sleep("due", 520) == 0);
	CHECK(queue_promote(q, &moved, &due, soon(), NULL) == 0);
	CHECK(moved == 1 && due == 0);
	r = claim(q, 10);
	CHECK(r.n == 3);
	for (int i = 0; i < r.n; i++) {
		bool is_a = strstr(r.leases[i].payload, "\"a\"");

		CHECK(r.leases[i].header.attempts == (is_a ? 2 : 0));
		CHECK(!is_a || strncmp(r.leases[i].header.extra, " since=", 7) == 0);
		CHECK(r.leases[i].integration == (strstr(r.leases[i].payload, "\"b\"") ? 6 : 5));
	}
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

/* Two identical payloads are two jobs, wherever they stand. */
static void body_equal_payloads(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	const char *same = "{\"task\":\"same\",\"integration_id\":1}";
	int64_t due = redis_now_ms(conn) + 1;
	int moved = 0;

	caps_are(q, 100, 50);
	for (int i = 0; i < 20; i++)
		push_raw("queue:{p}", same);
	struct claim_result r = claim(q, 50);
	CHECK(r.n == 20);
	for (int i = 0; i < r.n; i++) {
		struct settlement *s = settlement_new(&r.leases[i], SETTLE_DELAY);

		settlement_set_due(s, due);
		queue_settle(q, s, on_settled, NULL);
	}
	wait_settled(q);
	free(r.leases);
	CHECK(plain_int("ZCARD delayed:{p}") == 20);
	CHECK(co_sleep("due", 5) == 0);
	CHECK(queue_promote(q, &moved, NULL, soon(), NULL) == 0);
	CHECK(moved == 20);
	struct queue_push push[20];
	for (int i = 0; i < 20; i++)
		push[i] = (struct queue_push){
			.lane = LANE_LOW, .integration = 1, .payload = same, .len = strlen(same)
		};
	CHECK(queue_enqueue(q, push, 20, soon(), NULL) == 0);
	r = claim(q, 100);
	CHECK(r.n == 40);
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

static void body_lost_lease(void)
{
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 3);
	struct claim_result r = claim(q, 3);
	CHECK(r.n == 3);
	for (int i = 0; i < r.n; i++)
		freeReplyObject(plain("HDEL flight:{p} %s", r.leases[i].id));
	settled_held = settled_lost = 0;
	settle_one(&r.leases[0], SETTLE_DONE);
	struct settlement *s = settlement_new(&r.leases[1], SETTLE_DONE);
	struct queue_push child = {
		.lane = LANE_HIGH, .integration = 1, .payload = "{}", .len = 2
	};
	settlement_add_child(s, "p", &child);
	settlement_add_child(s, "other", &child);
	queue_settle(q, s, on_settled, NULL);
	s = settlement_new(&r.leases[2], SETTLE_DEAD);
	settlement_set_letter(s, 5, "x", "{\"id\":\"x\"}", 10);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	free(r.leases);
	CHECK(settled_lost == 3 && settled_held == 0);
	freeReplyObject(plain("DEL busy:{p} ring:{p}:normal"));
	nothing_left("p");
	queue_free(q);
}

static void body_children(void)
{
	struct queue *q = queue_new(conn, "p", "e"), *other = queue_new(conn, "other", "e");
	struct queue_push child = { .lane = LANE_LOW,
				    .integration = 4,
				    .payload = "{\"task\":\"\\u0000\xc3\xa9\"}" };
	int64_t later = redis_now_ms(conn) + 3600 * 1000, end = soon();
	int moved = -1;

	child.len = strlen(child.payload);
	caps_are(q, 100, 10);
	caps_are(other, 100, 10);
	push_many("queue:{p}", 1, 1);
	struct claim_result r = claim(q, 1);
	CHECK(r.n == 1);
	struct settlement *s = settlement_new(&r.leases[0], SETTLE_DONE);
	for (int i = 0; i < 3; i++)
		settlement_add_child(s, "p", &child);
	for (int i = 0; i < 5; i++)
		settlement_add_child(s, "other", &child);
	child.run_at_ms = later;
	settlement_add_child(s, "p", &child);
	settlement_add_child(s, "other", &child);
	settled_held = 0;
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	free(r.leases);
	CHECK(settled_held == 1);
	while (plain_int("LLEN outbox:{p}") && loop_now_ms() < end)
		CHECK(co_sleep("relay", 1) == 0);
	CHECK(plain_int("LLEN outbox:{p}") == 0);
	CHECK(plain_int("ZSCORE delayed:{p} %s", "x") == -1 && plain_int("ZCARD delayed:{p}") == 1);
	CHECK(plain_int("ZCARD delayed:{other}") == 1 &&
	      plain_int("ZCOUNT delayed:{other} %lld %lld", later, later) == 1);
	CHECK(ready_of(q) == 3 && ready_of(other) == 5);
	CHECK(queue_relay(q, &moved, soon(), NULL) == 0 && moved == 0);
	r = claim(other, 10);
	CHECK(r.n == 5);
	for (int i = 0; i < r.n; i++)
		CHECK(r.leases[i].payload_len == child.len &&
		      !memcmp(r.leases[i].payload, child.payload, child.len));
	finish_all(other, &r);
	r = claim(q, 10);
	CHECK(r.n == 3);
	finish_all(q, &r);
	freeReplyObject(plain("DEL delayed:{p} delayed:{other}"));
	nothing_left("p");
	queue_free(q);
	queue_free(other);
}

/* Children that go the same way are packed together: each must come out as it went in, in its order. */
static void body_children_in_order(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int64_t last[4] = { -1, -1, -1, -1 }, length = 0, n = -1;
	char payload[400];

	caps_are(q, 1000, 1000);
	push_many("queue:{p}", 1, 1);
	struct claim_result r = claim(q, 1);
	struct settlement *s = settlement_new(&r.leases[0], SETTLE_DONE);
	free(r.leases);
	for (int i = 0; i < 300; i++) {
		struct queue_push child = { .lane = i / 40 % 2 ? LANE_HIGH : LANE_LOW,
					    .integration = i / 13 % 3 + 1,
					    .payload = payload };

		memset(payload, '\0',
		       sizeof(payload)); /* any byte, and none that means something to Lua */
		child.len = (size_t)snprintf(payload, sizeof(payload), "%d\n", i) + (size_t)i;
		if (i % 50 == 9)
			child.run_at_ms = redis_now_ms(conn) + 3600 * 1000;
		settlement_add_child(s, "p", &child);
	}
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(plain_int("ZCARD delayed:{p}") == 6 && ready_of(q) == 294);
	r = claim(q, 500);
	CHECK(r.n == 294);
	for (int i = 0; i < r.n; i++) {
		const struct lease *l = &r.leases[i];

		CHECK(sscanf(l->payload, "%" SCNd64, &n) == 1 && n / 13 % 3 + 1 == l->integration &&
		      l->lane == (n / 40 % 2 ? LANE_HIGH : LANE_LOW));
		length = (int64_t)l->payload_len - n;
		CHECK(length == (n < 10 ? 2 : n < 100 ? 3 : 4));
		if (l->lane == LANE_LOW) {
			CHECK(n > last[l->integration]);
			last[l->integration] = n;
		}
	}
	finish_all(q, &r);
	freeReplyObject(plain("DEL delayed:{p}"));
	nothing_left("p");
	queue_free(q);
}

/* An entry that was delivered and not yet removed is delivered once all the same. */
static void body_outbox_once(void)
{
	struct queue *q = queue_new(conn, "p", NULL), *other = queue_new(conn, "other", NULL);
	char entry[128];
	int moved = 0;

	for (int i = 0; i < 130; i++) {
		snprintf(entry, sizeof(entry),
			 "01HZ%022d other 2 9 0 9 child%d 0 0 5\n{\"task\":\"t\"}", i, i);
		freeReplyObject(plain("LPUSH outbox:{p} %s", entry));
	}
	freeReplyObject(plain("LPUSH outbox:{p} %s", "nonsense"));
	freeReplyObject(plain("SET %s 1", "seen:{other}:01HZ0000000000000000000007"));
	CHECK(queue_relay(q, &moved, soon(), NULL) == 0);
	CHECK(moved == 130 && plain_int("LLEN outbox:{p}") == 0);
	CHECK(ready_of(other) == 129);
	/* What is none is kept, with its text and the reason; another relay finds nothing to do. */
	CHECK(plain_int("ZCARD dead:{p}") == 1);
	redisReply *r = plain("ZRANGE dead:{p} 0 0");
	CHECK(r->elements == 1 && strstr(r->element[0]->str, "\"class\":\"bad_job\"") &&
	      strstr(r->element[0]->str, "\"entry\":\"nonsense\"") &&
	      strstr(r->element[0]->str, "TOKEN TARGET LANE"));
	freeReplyObject(r);
	CHECK(queue_relay(q, &moved, soon(), NULL) == 0 && moved == 0);
	CHECK(plain_int("ZCARD dead:{p}") == 1);
	CHECK(plain_int("PTTL seen:{other}:01HZ0000000000000000000008") > 3600 * 1000);
	queue_free(q);
	queue_free(other);
}

/* ---- dead letters ---- */

struct told {
	int n;
	int64_t last_ms;
	char last_id[64];
	struct buf last;
};

static void on_letter(const char *id, int64_t failed_at_ms, const char *json, size_t len, void *arg)
{
	struct told *t = arg;

	CHECK(failed_at_ms >= t->last_ms);
	t->n++;
	t->last_ms = failed_at_ms;
	snprintf(t->last_id, sizeof(t->last_id), "%s", id);
	buf_reset(&t->last);
	buf_append(&t->last, json, len);
}

static void body_dead(void)
{
	static const char letter[] =
		"{\"id\":\"a1\",\"queue\":\"queue:{p}:low\",\"lane\":\"low\",\"integration_id\":1,"
		"\"payload\":\"{\\\"task\\\":\\\"\xc3\xa9\\\"}\",\"failed_at\":5}";
	static const char binary[] =
		"{\"id\":\"b 2\",\"queue\":\"queue:{p}:high\",\"payload_base64\":\"/wAB\"}";
	struct queue *q = queue_new(conn, "p", "e");
	struct told t = { 0 };
	struct err err = { 0 };

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 2);
	struct claim_result r = claim(q, 2);
	CHECK(r.n == 2);
	bury(&r.leases[0], 100, letter);
	bury(&r.leases[1], 100, binary);
	wait_settled(q);
	free(r.leases);
	CHECK(queue_dead_list(q, 99, 1, on_letter, &t, soon(), NULL) == 0);
	CHECK(t.n == 2 && t.last_ms == 100); /* one millisecond is not split */
	t.n = 0;
	CHECK(queue_dead_list(q, 100, 10, on_letter, &t, soon(), NULL) == 0 && t.n == 0);
	CHECK(queue_dead_take(q, 100, letter, strlen(letter), true, soon(), &err) == 0);
	CHECK(queue_dead_take(q, 100, letter, strlen(letter), true, soon(), &err) == -ENOENT);
	CHECK(queue_dead_take(q, 100, binary, strlen(binary), true, soon(), &err) == 0);
	CHECK(plain_int("ZCARD dead:{p}") == 0);
	r = claim(q, 10);
	CHECK(r.n == 2);
	if (r.n == 2) {
		CHECK(r.leases[0].lane == LANE_HIGH && r.leases[0].payload_len == 3);
		CHECK(memcmp(r.leases[0].payload, "\xff\0\1", 3) == 0 &&
		      r.leases[0].integration == 0);
		CHECK(r.leases[1].lane == LANE_LOW && strcmp(r.leases[1].header.id, "a1") == 0);
		CHECK(strcmp(r.leases[1].payload, "{\"task\":\"\xc3\xa9\"}") == 0 &&
		      r.leases[1].integration == 1);
	}
	finish_all(q, &r);
	nothing_left("p");
	buf_clear(&t.last);
	queue_free(q);
}

static void body_dead_many(void)
{
	struct queue *q = queue_new(conn, "p", NULL);
	const char *letters[90];
	size_t lens[90];
	struct told t = { 0 };
	struct err err = { 0 };

	for (int i = 0; i < 90; i++) {
		char *letter = mem_printf("{\"id\":\"%d\",\"payload\":\"{}\"}", i);

		letters[i] = letter;
		lens[i] = strlen(letter);
		freeReplyObject(plain("ZADD dead:{p} %d %s", i < 50 ? 10 : i, letter));
	}
	CHECK(queue_dead_list(q, 0, 40, on_letter, &t, soon(), NULL) == 0);
	CHECK(t.n == 50 && t.last_ms == 10);
	CHECK(queue_dead_list(q, t.last_ms, 15, on_letter, &t, soon(), NULL) == 0);
	CHECK(t.n == 65 && t.last_ms == 64 && strcmp(t.last_id, "64") == 0);
	CHECK(queue_dead_take(q, 89, letters[89], lens[89], false, soon(), &err) == 0);
	CHECK(queue_dead_take(q, 89, letters[89], lens[89], false, soon(), &err) == -ENOENT);
	CHECK(queue_dead_take(q, 0, "junk", 4, true, soon(), &err) == -EINVAL);
	CHECK(queue_dead_trim(q, letters, lens, 60, soon(), NULL) == 0);
	CHECK(plain_int("ZCARD dead:{p}") == 29);
	for (int i = 0; i < 90; i++)
		free((char *)letters[i]);
	buf_clear(&t.last);
	queue_free(q);
}

TEST(again_and_delay)
TEST(equal_payloads)
TEST(lost_lease)
TEST(children)
TEST(children_in_order)
TEST(outbox_once)
TEST(dead)
TEST(dead_many)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(again_and_delay),
		cmocka_unit_test(equal_payloads),
		cmocka_unit_test(lost_lease),
		cmocka_unit_test(children),
		cmocka_unit_test(children_in_order),
		cmocka_unit_test(outbox_once),
		cmocka_unit_test(dead),
		cmocka_unit_test(dead_many),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
