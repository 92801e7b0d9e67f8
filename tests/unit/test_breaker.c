/* The breaker's scripts and its local half, against a real redis-server: several `breakers` stand for several processes. */
#include "common/queue/breaker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

#define HOST "api.example"

static const struct breaker_rules quick = { .failures = 5,
					    .share = 0.5,
					    .calls = 20,
					    .window_ms = 60000,
					    .open_ms = 150,
					    .open_max_ms = 500,
					    .slow_start_ms = 2000 };

static int enter(struct breaker *b, struct breaker_pass *pass)
{
	struct err err = { 0 };
	int rc = breaker_enter(b, 5000, pass, &err);

	CHECK(rc == 0 || rc == -EAGAIN);
	CHECK(rc == 0 ||
	      (err.class == ERR_HOLD && err.retry_after_ms > 0 && strstr(err.text, HOST)));
	return rc;
}

/* One call, or -EAGAIN. */
static int call_with(struct breaker *b, const struct breaker_rules *rules,
		     enum breaker_outcome outcome)
{
	struct breaker_pass pass;
	int rc = enter(b, &pass);

	if (rc == 0)
		breaker_leave(b, rules, &pass, outcome, "status 503");
	return rc;
}

static int calls(struct breaker *b, enum breaker_outcome outcome, int n)
{
	int through = 0;

	for (int i = 0; i < n; i++)
		through += call_with(b, &quick, outcome) == 0;
	return through;
}

static void pass_ms(int64_t ms)
{
	CHECK(co_sleep("time", ms) == 0);
}

static bool becomes(struct breaker *b, bool closed)
{
	int64_t end = loop_now_ms() + 4000;
	struct breaker_pass pass;

	while (loop_now_ms() < end) {
		if (breaker_is_closed(b) == closed)
			return true;
		if (breaker_enter(b, 5000, &pass, NULL) == 0)
			breaker_leave(b, &quick, &pass, BREAKER_NOTHING, NULL);
		pass_ms(20);
	}
	return false;
}

static char *field(const char *name)
{
	redisReply *reply = plain("HGET breaker:{p}:" HOST " %s", name);
	char *value = mem_strdup(reply->str ? reply->str : "");

	freeReplyObject(reply);
	return value;
}

static bool field_is(const char *name, const char *want)
{
	char *value = field(name);
	bool same = strcmp(value, want) == 0;

	if (!same)
		fprintf(stderr, "%s is \"%s\", not \"%s\"\n", name, value, want);
	free(value);
	return same;
}

/* ---- opening ---- */

static void body_in_a_row(void)
{
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);

	CHECK(breaker_of(all, "p", HOST) == b && breaker_of(all, "q", HOST) != b);
	for (int i = 0; i < 3; i++) {
		CHECK(calls(b, BREAKER_FAILED, 4) == 4);
		CHECK(calls(b, BREAKER_OK, 1) == 1);
		CHECK(calls(b, BREAKER_NOTHING, 20) == 20);
	}
	CHECK(breaker_is_closed(b));
	CHECK(calls(b, BREAKER_FAILED, 9) == 5 && !breaker_is_closed(b));
	CHECK(field_is("state", "open") && field_is("opens", "1") && field_is("why", "status 503"));
	breakers_free(all);
}

/* Two processes' failures are in a row together; the other learns of it within a second or so, or at its first call. */
static void body_shared(void)
{
	struct breakers *one = breakers_new(conn), *two = breakers_new(conn),
			*idle = breakers_new(conn);
	struct breaker *a = breaker_of(one, "p", HOST), *b = breaker_of(two, "p", HOST),
		       *c = breaker_of(idle, "p", HOST);
	struct breaker_rules slow = quick;

	slow.open_ms = slow.open_max_ms = 60000;
	CHECK(call_with(b, &slow, BREAKER_OK) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(call_with(a, &slow, BREAKER_FAILED) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(call_with(b, &slow, BREAKER_FAILED) == 0);
	/* b's one success came with its first failure: it stands at two. */
	CHECK(breaker_is_closed(a) && breaker_is_closed(b) && field_is("failures", "2"));
	for (int i = 0; i < 3; i++)
		CHECK(call_with(a, &slow, BREAKER_FAILED) == 0);
	CHECK(!breaker_is_closed(a) && becomes(b, false));
	CHECK(call_with(c, &slow, BREAKER_OK) == -EAGAIN);
	breakers_free(one);
	breakers_free(two);
	breakers_free(idle);
}

/* Half of at least twenty calls, never five in a row. */
static void body_share(void)
{
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	int n = 0;

	for (; n < 60 && breaker_is_closed(b); n++)
		CHECK(call_with(b, &quick, n % 2 ? BREAKER_FAILED : BREAKER_OK) == 0);
	CHECK(n == 20 && field_is("failures", "1"));
	breakers_free(all);

	all = breakers_new(conn);
	b = breaker_of(all, "p", "other." HOST);
	for (n = 0; n < 300; n++) /* a third is not enough, however long */
		CHECK(call_with(b, &quick, n % 3 ? BREAKER_OK : BREAKER_FAILED) == 0);
	CHECK(breaker_is_closed(b));
	breakers_free(all);
}

/* What is older than the window does not count. */
static void body_window(void)
{
	struct breaker_rules rules = quick;
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);

	rules.window_ms = 600;
	rules.failures = 1000;
	for (int i = 0; i < 19; i++)
		CHECK(call_with(b, &rules, BREAKER_FAILED) == 0);
	pass_ms(900);
	for (int i = 0; i < 19; i++)
		CHECK(call_with(b, &rules, BREAKER_FAILED) == 0);
	CHECK(breaker_is_closed(b) && call_with(b, &rules, BREAKER_FAILED) == 0);
	CHECK(!breaker_is_closed(b));
	breakers_free(all);
}

/* Whatever the number of calls, healthy is free. */
static void body_healthy(void)
{
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	redisReply *after;
	long long n;

	CHECK(calls(b, BREAKER_OK, 1) == 1);
	freeReplyObject(plain("CONFIG RESETSTAT"));
	CHECK(calls(b, BREAKER_OK, 20000) == 20000);
	after = plain("INFO commandstats");
	CHECK(!strstr(after->str, "cmdstat_evalsha") && !strstr(after->str, "cmdstat_eval:"));
	n = plain_int("EXISTS breaker:{p} breaker:{p}:" HOST);
	CHECK(n == 0);
	freeReplyObject(after);
	breakers_free(all);
}

/* ---- probing ---- */

#define PROCESSES 8

static void body_one_probe(void)
{
	struct breakers *all[PROCESSES];
	struct breaker *b[PROCESSES];
	struct breaker_pass pass[PROCESSES];
	struct breaker_rules rules = quick;
	int64_t wait_ms = 400;

	rules.open_ms = wait_ms;
	rules.open_max_ms = 1200;

	for (int i = 0; i < PROCESSES; i++) {
		all[i] = breakers_new(conn);
		b[i] = breaker_of(all[i], "p", HOST);
	}
	for (int i = 0; i < 5; i++)
		CHECK(call_with(b[0], &rules, BREAKER_FAILED) == 0);
	/* open 400, 800, 1200 (not 1600), 1200 */
	for (int round = 0; round < 4; round++) {
		int probes = 0, who = 0;

		CHECK(enter(b[1], &pass[1]) == -EAGAIN);
		pass_ms(wait_ms - 200);
		for (int i = 0; i < PROCESSES; i++)
			CHECK(enter(b[i], &pass[i]) == -EAGAIN);
		pass_ms(220);
		for (int i = 0; i < PROCESSES; i++) {
			if (enter(b[i], &pass[i]) == 0 && pass[i].token[0]) {
				probes++;
				who = i;
			}
		}
		CHECK(probes == 1);
		breaker_leave(b[who], &rules, &pass[who], BREAKER_FAILED, "status 503");
		wait_ms = wait_ms * 2 < 1200 ? wait_ms * 2 : 1200;
	}
	CHECK(field_is("opens", "5"));
	for (int i = 0; i < PROCESSES; i++)
		breakers_free(all[i]);
}

static void open_and_wait(struct breaker *b)
{
	CHECK(calls(b, BREAKER_FAILED, 5) == 5);
	pass_ms(170);
}

/* Who dies on the probe holds it until its deadline, no longer; what it says after that counts for nothing. */
static void body_lost_probe(void)
{
	struct breakers *one = breakers_new(conn), *two = breakers_new(conn);
	struct breaker *a = breaker_of(one, "p", HOST), *b = breaker_of(two, "p", HOST);
	struct breaker_pass lost, pass;

	open_and_wait(a);
	CHECK(breaker_enter(a, 200, &lost, NULL) == 0 && lost.token[0]);
	CHECK(enter(b, &pass) == -EAGAIN);
	pass_ms(220);
	CHECK(enter(b, &pass) == 0 && pass.token[0]);
	breaker_leave(a, &quick, &lost, BREAKER_OK, NULL);
	CHECK(field_is("state", "half_open"));
	breaker_leave(b, &quick, &pass, BREAKER_OK, NULL);
	CHECK(field_is("state", "closed") && breaker_is_closed(b));
	breakers_free(one);
	breakers_free(two);
}

/* A probe that came to nothing says nothing; the next may go a second later. */
static void body_no_verdict(void)
{
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	struct breaker_pass pass;

	open_and_wait(b);
	CHECK(enter(b, &pass) == 0 && pass.token[0]);
	breaker_leave(b, &quick, &pass, BREAKER_NOTHING, NULL);
	CHECK(field_is("state", "half_open") && enter(b, &pass) == -EAGAIN);
	pass_ms(1020);
	CHECK(enter(b, &pass) == 0 && pass.token[0]);
	breaker_leave(b, &quick, &pass, BREAKER_NOTHING, NULL);
	breakers_free(all);
}

static void body_slow_start(void)
{
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	int first, later;

	CHECK(breaker_allows(b, &quick, 40) == 40);
	open_and_wait(b);
	CHECK(call_with(b, &quick, BREAKER_OK) == 0 && breaker_is_closed(b));
	first = breaker_allows(b, &quick, 40);
	CHECK(first >= 1 && first <= 2);
	pass_ms(1000);
	later = breaker_allows(b, &quick, 40);
	CHECK(later >= 4 && later <= 16);
	pass_ms(1050);
	CHECK(breaker_allows(b, &quick, 40) == 40);
	/* Once that went well a failure begins with the short time again. */
	CHECK(calls(b, BREAKER_FAILED, 5) == 5 && field_is("opens", "1"));
	pass_ms(170);
	CHECK(call_with(b, &quick, BREAKER_OK) == 0);
	CHECK(calls(b, BREAKER_FAILED, 5) == 5 && field_is("opens", "2"));
	breakers_free(all);
}

/* ---- the claim ---- */

static void control_of_two_hosts(struct queue *q)
{
	char other[] = "sandbox.example";
	struct queue_control c = {
		.generation = 1, .partner_cap = 100, .default_cap = 10, .host = HOST, .n_hosts = 1
	};

	c.hosts = mem_zalloc(sizeof(*c.hosts));
	c.hosts[0].integration = 2;
	c.hosts[0].host = other;
	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
	free(c.hosts);
}

static int claimed_of(const struct claim_result *r, int64_t integration)
{
	int n = 0;

	for (int i = 0; i < r->n; i++)
		n += r->leases[i].integration == integration;
	return n;
}

/* What calls the broken host stays where it is, at no cost; another host's jobs and those of no integration run. */
static void body_claim_behind(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct queue_depth d = { 0 };
	struct breaker_list l = { 0 };
	struct claim_result r;
	struct breaker_homes h = { 0 };

	control_of_two_hosts(q);
	CHECK(breaker_homes(q, &h, soon(), NULL) == 0 && strcmp(breaker_home(&h, 1), HOST) == 0);
	CHECK(strcmp(breaker_home(&h, 2), "sandbox.example") == 0 && !breaker_home(&h, 0));
	breaker_homes_clear(&h);
	CHECK(breaker_open(q, HOST, 0, "by a test", soon(), NULL) == 0);
	push_many("queue:{p}", 1, 5);
	push_many("queue:{p}:high", 3, 5);
	push_many("queue:{p}", 2, 5);
	push_many("queue:{p}:low", 0, 5);
	r = claim(q, 100);
	CHECK(r.n == 10 && claimed_of(&r, 2) == 5 && claimed_of(&r, 0) == 5 && !r.more);
	finish_all(q, &r);
	CHECK(plain_int("EXISTS ring:{p}:high ring:{p}:normal ring:{p}:low") == 0);
	CHECK(queue_depth(q, &d, soon(), NULL) == 0 && d.held == 10 && d.held_in[LANE_HIGH] == 5);
	CHECK(breaker_list(q, true, &l, soon(), NULL) == 0 && l.n == 1);
	CHECK(l.n == 1 && l.v[0].state == BREAKER_OPEN && l.v[0].by_hand && !l.v[0].until_ms &&
	      strcmp(l.v[0].why, "by a test") == 0);
	CHECK(breaker_tick(q, &l, soon(), NULL) == 0);
	r = claim(q, 100);
	CHECK(r.n == 0);
	result_clear(&r);
	CHECK(breaker_close(q, HOST, 0, soon(), NULL) == 0);
	r = claim(q, 100);
	CHECK(r.n == 10);
	finish_all(q, &r);
	CHECK(breaker_tick(q, &l, soon(), NULL) == 0);
	breaker_list_clear(&l);
	queue_free(q);
}

/* When its time is over one job goes ahead; the rest when it is closed. */
static void body_claim_probe(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	struct breaker_list l = { 0 };
	struct breaker_pass pass;
	struct claim_result r, probe;
	int n = 0;

	control_of_two_hosts(q);
	for (int i = 10; i < 40; i++)
		push_many("queue:{p}", i, 3);
	CHECK(calls(b, BREAKER_FAILED, 5) == 5);
	r = claim(q, 100);
	CHECK(r.n == 0);
	result_clear(&r);
	pass_ms(170);
	CHECK(breaker_list(q, false, &l, soon(), NULL) == 0 && l.n == 1);
	CHECK(breaker_tick(q, &l, soon(), NULL) == 0);
	breaker_list_clear(&l);
	probe = claim(q, 100);
	CHECK(probe.n == 1);
	for (int i = 0; i < 5; i++) {
		r = claim(q, 100);
		CHECK(r.n == 0);
		result_clear(&r);
	}
	CHECK(enter(b, &pass) == 0 && pass.token[0]);
	breaker_leave(b, &quick, &pass, BREAKER_OK, NULL);
	finish_all(q, &probe);
	for (int left = 89; left > 0 && !checks_failed; left -= n) {
		r = claim(q, 100);
		n = r.n;
		CHECK(n > 0 && n <= left);
		finish_all(q, &r);
	}
	breakers_free(all);
	queue_free(q);
}

/* A breaker whose fields Redis has lost holds nobody for ever. */
static void body_forgotten(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct breakers *all = breakers_new(conn);
	struct breaker *b = breaker_of(all, "p", HOST);
	struct breaker_list l = { 0 };
	struct claim_result r;

	control_of_two_hosts(q);
	CHECK(breaker_open(q, HOST, 0, "by a test", soon(), NULL) == 0);
	push_many("queue:{p}", 1, 1);
	freeReplyObject(plain("DEL breaker:{p}:" HOST));
	for (int i = 0; i < 20 && plain_int("EXISTS breaker:{p}") == 1; i++) {
		CHECK(breaker_list(q, false, &l, soon(), NULL) == 0 && l.n == 1);
		CHECK(breaker_tick(q, &l, soon(), NULL) == 0);
		breaker_list_clear(&l);
		pass_ms(500);
	}
	CHECK(plain_int("EXISTS breaker:{p}") == 0);
	r = claim(q, 10);
	CHECK(r.n == 1);
	finish_all(q, &r);
	CHECK(calls(b, BREAKER_OK, 1) == 1);
	breakers_free(all);

	/* The other way round: who calls finds it out at his first failure. */
	CHECK(breaker_open(q, HOST, 0, "by a test", soon(), NULL) == 0);
	freeReplyObject(plain("DEL breaker:{p}"));
	all = breakers_new(conn);
	b = breaker_of(all, "p", HOST);
	CHECK(calls(b, BREAKER_FAILED, 5) == 1 && plain_int("HLEN breaker:{p}") == 1);
	breakers_free(all);
	queue_free(q);
}

/* Who closed it died before its jobs were let in: that is made good at the end of the slow start. */
static void body_healed(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct breaker_list l = { 0 };
	struct claim_result r;

	control_of_two_hosts(q);
	CHECK(breaker_open(q, HOST, 0, "by a test", soon(), NULL) == 0);
	push_many("queue:{p}", 1, 3);
	r = claim(q, 10);
	CHECK(r.n == 0);
	result_clear(&r);
	CHECK(breaker_close(q, HOST, 300, soon(), NULL) == 0);
	CHECK(plain_int("DEL ring:{p}:normal") == 1);
	r = claim(q, 10);
	CHECK(r.n == 0);
	result_clear(&r);
	pass_ms(350);
	CHECK(breaker_list(q, false, &l, soon(), NULL) == 0 && l.n == 1);
	CHECK(breaker_tick(q, &l, soon(), NULL) == 0);
	breaker_list_clear(&l);
	r = claim(q, 10);
	CHECK(r.n == 3);
	finish_all(q, &r);
	queue_free(q);
}

TEST(healed)
TEST(in_a_row)
TEST(shared)
TEST(share)
TEST(window)
TEST(healthy)
TEST(one_probe)
TEST(lost_probe)
TEST(no_verdict)
TEST(slow_start)
TEST(claim_behind)
TEST(claim_probe)
TEST(forgotten)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_row),    cmocka_unit_test(shared),
		cmocka_unit_test(share),       cmocka_unit_test(window),
		cmocka_unit_test(healthy),     cmocka_unit_test(one_probe),
		cmocka_unit_test(lost_probe),  cmocka_unit_test(no_verdict),
		cmocka_unit_test(slow_start),  cmocka_unit_test(claim_behind),
		cmocka_unit_test(claim_probe), cmocka_unit_test(forgotten),
		cmocka_unit_test(healed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
