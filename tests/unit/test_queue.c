/* The way of a job through the queue's scripts, against a real redis-server: lanes, fairness, caps, control. */
#include "common/queue/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

/* ---- the way of one job ---- */

static void body_raw_push(void)
{
	struct queue *q = queue_new(conn, "guesty", "e1");
	struct claim_result r;
	const char *payload =
		"{\"task\":\"import\",\"integration_id\" : 7,\"args\":{\"list\":[],\"big\":9007199254740993}}";

	push_raw("queue:{guesty}", payload);
	r = claim(q, 10);
	CHECK(r.n == 0 && r.no_control);
	CHECK(plain_int("LLEN queue:{guesty}") == 1);
	caps_are(q, 100, 10);
	r = claim(q, 10);
	CHECK(r.n == 1 && !r.more && !r.at_partner_cap && !r.no_control);
	if (r.n == 1) {
		struct lease *l = &r.leases[0];

		CHECK(strncmp(l->id, "e1:", 3) == 0 &&
		      strcmp(strrchr(l->id, ':') - 2, ":2:7") == 0);
		CHECK(l->lane == LANE_NORMAL && l->integration == 7 && l->generation == 3 &&
		      l->fence == 1);
		CHECK(l->payload_len == strlen(payload) &&
		      memcmp(l->payload, payload, l->payload_len) == 0);
		CHECK(l->header.attempts == 0 && l->header.crashes == 0 && l->header.id[0]);
		CHECK(llabs(l->header.born_ms - clock_real_ms()) < 60000);
		CHECK(plain_int("HLEN flight:{guesty}") == 1 &&
		      plain_int("HGET busy:{guesty} 7") == 1);
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
	CHECK(d.held_in[LANE_NORMAL] == 5 && d.held_in[LANE_LOW] == 2 && d.held_in[LANE_HIGH] == 0);
	c = (struct queue_control){ .generation = 99, .partner_cap = 100, .default_cap = 4 };
	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
	r = claim(q, 50);
	CHECK(r.n == 4 && r.leases[0].generation == 3);
	caps_are(q, 100, 6);
	struct claim_result s = claim(q, 50);
	CHECK(s.n == 2);
	finish_all(q, &s);
	finish_all(q, &r);
	queue_free(q);
}

static void body_everything_paused(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_depth d;
	struct claim_result r;

	caps_are(q, 0, 10);
	push_many("queue:{p}", 1, 1);
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
	CHECK(plain_int("EXISTS ring:{p}:normal") == 1 &&
	      plain_int("HEXISTS control:{p} open") == 0);
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

TEST(raw_push)
TEST(lanes_in_order)
TEST(low_does_not_starve)
TEST(caps)
TEST(integration_zero)
TEST(fairness)
TEST(pause_and_resume)
TEST(everything_paused)
TEST(control_cut_short)
TEST(many_integrations)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_push),
		cmocka_unit_test(lanes_in_order),
		cmocka_unit_test(low_does_not_starve),
		cmocka_unit_test(caps),
		cmocka_unit_test(integration_zero),
		cmocka_unit_test(fairness),
		cmocka_unit_test(pause_and_resume),
		cmocka_unit_test(everything_paused),
		cmocka_unit_test(control_cut_short),
		cmocka_unit_test(many_integrations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
