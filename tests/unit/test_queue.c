/* The queue's scripts and the C around them, against a real redis-server. */
#include "common/queue/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_redis.h"

static void caps_are(struct queue *q, int partner_cap, int default_cap)
{
	struct queue_control c = { .generation = 3, .partner_cap = partner_cap, .default_cap = default_cap };

	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
}

static void push_raw(const char *key, const char *payload)
{
	freeReplyObject(plain("LPUSH %s %s", key, payload));
}

static void push_many(const char *key, int64_t integration, int n)
{
	char payload[128];

	for (int i = 0; i < n; i++) {
		snprintf(payload, sizeof(payload), "{\"task\":\"t\",\"integration_id\":%lld,\"n\":%d}",
			 (long long)integration, i);
		push_raw(key, payload);
	}
}

static struct claim_result claim(struct queue *q, int want)
{
	struct claim_result r = { 0 };
	struct err err = { 0 };

	int rc = queue_claim(q, want, &r, soon(), &err);
	if (rc < 0)
		fprintf(stderr, "claim: %d %s\n", rc, err.text);
	CHECK(rc == 0);
	return r;
}

static int settled_held, settled_lost;

static void on_settled(bool held, void *arg)
{
	settled_held += held;
	settled_lost += !held;
}

static void wait_settled(struct queue *q)
{
	int64_t end = soon();

	while (queue_unsettled(q) && loop_now_ms() < end)
		CHECK(co_sleep("settle", 1) == 0);
	CHECK(queue_unsettled(q) == 0);
}

static void settle_one(struct lease *l, enum settle_kind kind)
{
	struct queue *q = l->queue;
	struct settlement *s = settlement_new(l, kind);

	CHECK(l->member == NULL && l->queue == NULL);
	queue_settle(q, s, on_settled, NULL);
}

static void finish_all(struct queue *q, struct claim_result *r)
{
	settled_held = settled_lost = 0;
	for (int i = 0; i < r->n; i++)
		settle_one(&r->leases[i], SETTLE_DONE);
	wait_settled(q);
	CHECK(settled_held == r->n && settled_lost == 0);
	free(r->leases);
	*r = (struct claim_result){ 0 };
}

static void result_clear(struct claim_result *r)
{
	for (int i = 0; i < r->n; i++)
		lease_clear(&r->leases[i]);
	free(r->leases);
}

/* Nothing of a job is left anywhere. */
static void nothing_left(const char *partner)
{
	const char *const allowed[] = { "control:", "seq:", "fence:", "worker:", "seen:", NULL };
	char *key = some_key_but(allowed);

	if (key)
		fprintf(stderr, "%s: left over: %s\n", partner, key);
	CHECK(key == NULL);
	free(key);
}

/* ---- the way of one job ---- */

static void body_raw_push(void)
{
	struct queue *q = queue_new(conn, "guesty", "e1");
	struct claim_result r;
	const char *payload = "{\"task\":\"import\",\"integration_id\" : 7,\"args\":{\"list\":[],\"big\":9007199254740993}}";

	push_raw("queue:{guesty}", payload);
	r = claim(q, 10);
	CHECK(r.n == 0 && r.no_control);
	CHECK(plain_int("LLEN queue:{guesty}") == 1);
	caps_are(q, 100, 10);
	r = claim(q, 10);
	CHECK(r.n == 1 && !r.more && !r.at_partner_cap && !r.no_control);
	if (r.n == 1) {
		struct lease *l = &r.leases[0];

		CHECK(strcmp(l->id, "e1:21:2:7") == 0);
		CHECK(l->lane == LANE_NORMAL && l->integration == 7 && l->generation == 3 && l->fence == 1);
		CHECK(l->payload_len == strlen(payload) && memcmp(l->payload, payload, l->payload_len) == 0);
		CHECK(l->header.attempts == 0 && l->header.crashes == 0 && l->header.id[0]);
		CHECK(llabs(l->header.born_ms - clock_real_ms()) < 60000);
		CHECK(plain_int("HLEN flight:{guesty}") == 1 && plain_int("HGET busy:{guesty} 7") == 1);
		CHECK(plain_int("PTTL worker:{guesty}:e1") > 7000);
		CHECK(queue_held(q) == 1);
	}
	finish_all(q, &r);
	CHECK(queue_held(q) == 0);
	nothing_left("guesty");
	queue_free(q);
}

static void body_lanes_in_order(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	enum lane want[] = { LANE_HIGH, LANE_HIGH, LANE_NORMAL, LANE_NORMAL, LANE_LOW, LANE_LOW };

	caps_are(q, 100, 10);
	push_many("queue:{p}:low", 1, 2);
	push_many("queue:{p}", 2, 2);
	push_many("queue:{p}:high", 3, 2);
	struct claim_result r = claim(q, 10);
	CHECK(r.n == 6);
	for (int i = 0; i < r.n; i++) {
		CHECK(r.leases[i].lane == want[i]);
		CHECK(strstr(r.leases[i].payload, i % 2 ? "\"n\":1" : "\"n\":0") != NULL);
	}
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

/* A high lane that never ends must let one low job through now and then. */
static void body_low_does_not_starve(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int low = 0;

	caps_are(q, 100, 10);
	push_many("queue:{p}:low", 1, 3);
	push_many("queue:{p}:high", 2, 200);
	for (int i = 0; i < 60; i++) {
		struct claim_result r = claim(q, 1);

		CHECK(r.n == 1);
		low += r.n == 1 && r.leases[0].lane == LANE_LOW;
		CHECK(i >= 16 || low == 0);
		finish_all(q, &r);
	}
	CHECK(low == 1 || low == 2);
	queue_free(q);
}

static void body_caps(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct claim_result a, b;

	caps_are(q, 8, 3);
	push_many("queue:{p}", 1, 6);
	push_many("queue:{p}", 2, 6);
	push_many("queue:{p}", 3, 6);
	a = claim(q, 100);
	CHECK(a.n == 8 && a.at_partner_cap && !a.more);
	b = claim(q, 100);
	CHECK(b.n == 0 && b.at_partner_cap);
	CHECK(plain_int("HGET busy:{p} 1") == 3 && plain_int("HGET busy:{p} 2") == 3);
	finish_all(q, &a);
	int total = 8;
	while ((a = claim(q, 100)).n > 0) {
		CHECK(a.n <= 8);
		total += a.n;
		finish_all(q, &a);
	}
	CHECK(total == 18);
	nothing_left("p");
	queue_free(q);
}

/* Jobs of no integration are bound by the partner's cap alone. */
static void body_integration_zero(void)
{
	struct queue *q = queue_new(conn, "longshore", "e");

	caps_are(q, 50, 2);
	for (int i = 0; i < 60; i++)
		push_raw("queue:{longshore}", "{\"task\":\"noop\"}");
	struct claim_result r = claim(q, 100);
	CHECK(r.n == 50 && r.at_partner_cap);
	CHECK(r.n > 0 && r.leases[0].integration == 0);
	finish_all(q, &r);
	r = claim(q, 100);
	CHECK(r.n == 10);
	finish_all(q, &r);
	nothing_left("longshore");
	queue_free(q);
}

static void body_fairness(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int before = 0, y = 0;

	caps_are(q, 1000, 1000);
	push_many("queue:{p}", 1, 2000);
	push_many("queue:{p}", 2, 10);
	while (y < 10) {
		struct claim_result r = claim(q, 100);

		CHECK(r.n > 0);
		if (!r.n)
			break;
		for (int i = 0; i < r.n && y < 10; i++) {
			y += r.leases[i].integration == 2;
			before += r.leases[i].integration == 1;
		}
		finish_all(q, &r);
	}
	CHECK(before <= 100);
	queue_free(q);
}

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
	settlement_set_due(s, redis_now_ms(conn) + 60);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	free(r.leases);
	CHECK(settled_held == 2 && plain_int("ZCARD delayed:{p}") == 1 && plain_int("EXISTS busy:{p}") == 0);
	CHECK(queue_promote(q, &moved, &due, soon(), NULL) == 0);
	CHECK(moved == 0 && due > 0);
	CHECK(co_sleep("due", 80) == 0);
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
		push[i] = (struct queue_push){ .lane = LANE_LOW, .integration = 1, .payload = same, .len = strlen(same) };
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
	struct queue_push child = { .lane = LANE_HIGH, .integration = 1, .payload = "{}", .len = 2 };
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

static int64_t ready_of(struct queue *q)
{
	struct queue_depth d = { 0 };

	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	return d.ready[LANE_HIGH] + d.ready[LANE_NORMAL] + d.ready[LANE_LOW];
}

static void body_children(void)
{
	struct queue *q = queue_new(conn, "p", "e"), *other = queue_new(conn, "other", "e");
	struct queue_push child = { .lane = LANE_LOW, .integration = 4, .payload = "{\"task\":\"\\u0000\xc3\xa9\"}" };
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
	CHECK(plain_int("ZCARD delayed:{other}") == 1 && plain_int("ZCOUNT delayed:{other} %lld %lld", later, later) == 1);
	CHECK(ready_of(q) == 3 && ready_of(other) == 5);
	CHECK(queue_relay(q, &moved, soon(), NULL) == 0 && moved == 0);
	r = claim(other, 10);
	CHECK(r.n == 5);
	for (int i = 0; i < r.n; i++)
		CHECK(r.leases[i].payload_len == child.len && !memcmp(r.leases[i].payload, child.payload, child.len));
	finish_all(other, &r);
	r = claim(q, 10);
	CHECK(r.n == 3);
	finish_all(q, &r);
	freeReplyObject(plain("DEL delayed:{p} delayed:{other}"));
	nothing_left("p");
	queue_free(q);
	queue_free(other);
}

/* An entry that was delivered and not yet removed is delivered once all the same. */
static void body_outbox_once(void)
{
	struct queue *q = queue_new(conn, "p", NULL), *other = queue_new(conn, "other", NULL);
	char entry[128];
	int moved = 0;

	for (int i = 0; i < 130; i++) {
		snprintf(entry, sizeof(entry), "01HZ%022d other 2 9 0 9 child%d 0 0 5\n{\"task\":\"t\"}", i, i);
		freeReplyObject(plain("LPUSH outbox:{p} %s", entry));
	}
	freeReplyObject(plain("LPUSH outbox:{p} %s", "nonsense"));
	freeReplyObject(plain("SET %s 1", "seen:{other}:01HZ0000000000000000000007"));
	CHECK(queue_relay(q, &moved, soon(), NULL) == 0);
	CHECK(moved == 130 && plain_int("LLEN outbox:{p}") == 0);
	CHECK(ready_of(other) == 129);
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

static void bury(struct lease *l, int64_t at_ms, const char *letter)
{
	struct queue *q = l->queue;
	struct settlement *s = settlement_new(l, SETTLE_DEAD);

	settlement_set_letter(s, at_ms, "a", letter, strlen(letter));
	queue_settle(q, s, on_settled, NULL);
}

static void body_dead(void)
{
	static const char letter[] = "{\"id\":\"a1\",\"queue\":\"queue:{p}:low\",\"lane\":\"low\",\"integration_id\":1,"
				     "\"payload\":\"{\\\"task\\\":\\\"\xc3\xa9\\\"}\",\"failed_at\":5}";
	static const char binary[] = "{\"id\":\"b 2\",\"queue\":\"queue:{p}:high\",\"payload_base64\":\"/wAB\"}";
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
		CHECK(memcmp(r.leases[0].payload, "\xff\0\1", 3) == 0 && r.leases[0].integration == 0);
		CHECK(r.leases[1].lane == LANE_LOW && strcmp(r.leases[1].header.id, "a1") == 0);
		CHECK(strcmp(r.leases[1].payload, "{\"task\":\"\xc3\xa9\"}") == 0 && r.leases[1].integration == 1);
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

/* ---- control ---- */

static void body_pause_and_resume(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_control c = { .generation = 3, .partner_cap = 100, .default_cap = 4 };
	struct queue_depth d;
	__typeof__(*c.over) over[] = { { 1, 0 } };

	c.over = over;
	c.n_over = 1;
	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
	push_many("queue:{p}", 1, 5);
	push_many("queue:{p}:low", 1, 2);
	push_many("queue:{p}", 2, 1);
	struct claim_result r = claim(q, 50);
	CHECK(r.n == 1 && !r.more);
	finish_all(q, &r);
	CHECK(plain_int("EXISTS ring:{p}:high ring:{p}:normal ring:{p}:low") == 0);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	CHECK(d.held == 7 && d.ready[LANE_NORMAL] == 5 && d.ready[LANE_LOW] == 2);
	c = (struct queue_control){ .generation = 99, .partner_cap = 100, .default_cap = 4 };
	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
	r = claim(q, 50);
	CHECK(r.n == 4 && r.leases[0].generation == 3);
	caps_are(q, 100, 6);
	struct claim_result s = claim(q, 50);
	CHECK(s.n == 2);
	finish_all(q, &s);
	finish_all(q, &r);
	caps_are(q, 0, 10);
	r = claim(q, 50);
	CHECK(r.n == 0 && r.at_partner_cap);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0 && d.held == 1);
	caps_are(q, 100, 0);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0 && d.held == 1);
	r = claim(q, 50);
	CHECK(r.n == 0);
	caps_are(q, 100, 10);
	r = claim(q, 50);
	CHECK(r.n == 1);
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

/* A change whose second half never ran is carried through by whoever sets control next. */
static void body_control_cut_short(void)
{
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 3);
	int moved = 0;
	CHECK(queue_admit(q, 100, &moved, soon(), NULL) == 0 && moved == 3);
	freeReplyObject(plain("DEL ring:{p}:normal"));
	caps_are(q, 100, 10);
	CHECK(plain_int("EXISTS ring:{p}:normal") == 0); /* nothing had changed */
	freeReplyObject(plain("HSET control:{p} open someone"));
	caps_are(q, 100, 10);
	CHECK(plain_int("EXISTS ring:{p}:normal") == 1 && plain_int("HEXISTS control:{p} open") == 0);
	struct claim_result r = claim(q, 10);
	CHECK(r.n == 3);
	finish_all(q, &r);
	queue_free(q);
}

static void body_many_integrations(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_control c = { .generation = 3, .partner_cap = 5000, .default_cap = 1 };
	int total = 0;

	c.n_over = 900;
	c.over = mem_zalloc(900 * sizeof(*c.over));
	for (int i = 0; i < 900; i++)
		c.over[i].integration = i + 1;
	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
	for (int i = 1; i <= 1000; i++)
		push_many("queue:{p}", i, 1);
	/* 900 paused ones stand in the ring: few of them are looked at in a claim, in the end all have left. */
	for (int i = 0; i < 40 && total < 100; i++) {
		struct claim_result r = claim(q, 200);

		for (int k = 0; k < r.n; k++)
			CHECK(r.leases[k].integration > 900);
		total += r.n;
		finish_all(q, &r);
	}
	CHECK(total == 100);
	struct queue_depth d;
	CHECK(queue_depth(q, &d, soon(), NULL) == 0 && d.held == 900);
	free(c.over);
	caps_are(q, 5000, 10);
	for (int i = 0; i < 40 && total < 1000; i++) {
		struct claim_result r = claim(q, 500);

		total += r.n;
		finish_all(q, &r);
	}
	CHECK(total == 1000);
	nothing_left("p");
	queue_free(q);
}

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
	CHECK(reaped == 240 && plain_int("HLEN flight:{p}") == 11 && plain_int("HGET busy:{p} 1") == 11);
	CHECK(queue_reap(keeper, "alive-1", &reaped, soon(), NULL) == 0);
	CHECK(reaped == 11 && plain_int("HLEN flight:{p}") == 0 && plain_int("EXISTS busy:{p}") == 0);
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
	struct queue_push push = { .lane = LANE_NORMAL, .integration = 1, .payload = "{}", .len = 2 };
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
	CHECK(plain_int("PTTL worker:{p}:e") > 7000 && plain_int("PTTL worker:{longshore}:e") > 7000);
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
		v[i] = (struct queue_push){ .lane = LANE_HIGH, .integration = 1 + i % 3, .payload = "{}", .len = 2 };
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
		malformed += r.leases[i].payload_len == 7 && !memcmp(r.leases[i].payload, "garbage", 7);
		by_hand += r.leases[i].payload_len == 8 && !memcmp(r.leases[i].payload, "not-ours", 8);
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
	snprintf(member, sizeof(member), "100000000000002 1 a 0 0 5 since=%lld\n{}", (long long)now - 1000);
	freeReplyObject(plain("ZADD ready:{p}:low 1 %s", member));
	freeReplyObject(plain("ZADD ring:{p}:low 1 1 2 3"));
	push_raw("queue:{p}:low", "{}");
	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	CHECK(d.ready[LANE_LOW] == 3 && d.ready[LANE_HIGH] == 0);
	CHECK(d.oldest_age_ms[LANE_LOW] >= 5000 && d.oldest_age_ms[LANE_LOW] < 20000);
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
	freeReplyObject(plain("ZADD workers:{longshore} %lld w-silent", (long long)redis_now_ms(conn) - 60000));
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
	CHECK(!queue_name_is_valid("") && !queue_name_is_valid("Guesty") && !queue_name_is_valid("a b"));
	CHECK(!queue_name_is_valid(NULL) && !queue_name_is_valid("a{b}") &&
	      !queue_name_is_valid("12345678901234567890123456789012345678901"));
}

#define TEST(name)                                   \
	static void name(void **state)               \
	{                                            \
		run(body_##name);                    \
		assert_int_equal(checks_failed, 0);  \
	}
TEST(raw_push)
TEST(lanes_in_order)
TEST(low_does_not_starve)
TEST(caps)
TEST(integration_zero)
TEST(fairness)
TEST(again_and_delay)
TEST(equal_payloads)
TEST(lost_lease)
TEST(children)
TEST(outbox_once)
TEST(dead)
TEST(dead_many)
TEST(pause_and_resume)
TEST(control_cut_short)
TEST(many_integrations)
TEST(reap)
TEST(reconcile)
TEST(lost_connection)
TEST(refusing_redis)
TEST(full_redis)
TEST(beat)
TEST(enqueue)
TEST(large_jobs)
TEST(nonsense_keys)
TEST(depth)
TEST(fleet_and_roles)
TEST(names)

static int setup(void **state)
{
	log_init("test_queue", LOG_ERROR, false);
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
		cmocka_unit_test(raw_push),
		cmocka_unit_test(lanes_in_order),
		cmocka_unit_test(low_does_not_starve),
		cmocka_unit_test(caps),
		cmocka_unit_test(integration_zero),
		cmocka_unit_test(fairness),
		cmocka_unit_test(again_and_delay),
		cmocka_unit_test(equal_payloads),
		cmocka_unit_test(lost_lease),
		cmocka_unit_test(children),
		cmocka_unit_test(outbox_once),
		cmocka_unit_test(dead),
		cmocka_unit_test(dead_many),
		cmocka_unit_test(pause_and_resume),
		cmocka_unit_test(control_cut_short),
		cmocka_unit_test(many_integrations),
		cmocka_unit_test(reap),
		cmocka_unit_test(reconcile),
		cmocka_unit_test(lost_connection),
		cmocka_unit_test(refusing_redis),
		cmocka_unit_test(full_redis),
		cmocka_unit_test(beat),
		cmocka_unit_test(enqueue),
		cmocka_unit_test(large_jobs),
		cmocka_unit_test(nonsense_keys),
		cmocka_unit_test(depth),
		cmocka_unit_test(fleet_and_roles),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
