/* The limiter against a real redis-server: four processes at once, every window counted by brute force. */
#include "common/queue/limiter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_redis.h"

#define PROCESSES 4
#define RUN_MS 9000
#define GRANTS_MAX 20000

static struct limiter *limiter;

static struct limit_set one_scope(int64_t limit, int64_t window_ms)
{
	struct limit_set set = { .partner = "p", .n_scopes = 1 };

	snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), "host:443:i7");
	set.scopes[0].tiers[0] = (struct limit_tier){ .limit = limit, .window_ms = window_ms };
	set.scopes[0].n_tiers = 1;
	return set;
}

/* As a partner that was called long ago: no debit for what a lost log may hide. */
static void begin(void)
{
	freeReplyObject(plain("SET limit:{p}:since 1"));
	limiter = limiter_new(conn, own_epoch());
}

static void end(void)
{
	CHECK(co_sleep("flush", 5) == 0);
	limiter_free(limiter);
}

static int acquire(const struct limit_set *set, int64_t max_wait_ms, struct permit *p,
		   int64_t *wait_ms)
{
	struct err err = { 0 };
	int rc = limiter_acquire(limiter, set, max_wait_ms, p, wait_ms, NULL, CO_NO_DEADLINE, &err);

	CHECK(rc == 0 || err.text[0]);
	return rc;
}

/* ---- many processes ---- */

static struct limit_set busy;

static void busy_make(void)
{
	busy = one_scope(50, 1000);
	busy.scopes[0].tiers[1] = (struct limit_tier){ .limit = 120, .window_ms = 3000 };
	busy.scopes[0].n_tiers = 2;
}

static int grants_to;
static int64_t run_until_ms;

static void call_for_ever(void *arg)
{

	while (loop_now_ms() < run_until_ms) {
		struct permit p;

		if (acquire(&busy, 5000, &p, NULL) != 0)
			continue;
		if (write(grants_to, &p.granted_ms, sizeof(p.granted_ms)) != sizeof(p.granted_ms))
			_exit(1);
		limiter_release(limiter, &p);
	}
}

static void caller_main(void)
{
	struct redis_options o = { .url = server.url };
	struct err err;

	redisFree(server.plain);
	if (loop_init() < 0 || redis_new(&o, &conn, &err) < 0)
		_exit(1);
	limiter = limiter_new(conn, own_epoch());
	busy_make();
	run_until_ms = loop_now_ms() + RUN_MS;
	for (int i = 0; i < 20; i++) {
		if (!co_spawn("caller", call_for_ever, NULL))
			_exit(1);
	}
	loop_run();
	_exit(1);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Windows that end at each grant: (t - window, t]. */
static int violations(const int64_t *at, int n, int64_t limit, int64_t window_ms)
{
	int bad = 0, first = 0;

	for (int i = 0; i < n; i++) {
		while (at[first] <= at[i] - window_ms)
			first++;
		bad += i - first + 1 > limit;
	}
	return bad;
}

/* What could have been granted at most between the first and the last instant, margins kept. */
static int optimum(int64_t from_ms, int64_t to_ms)
{
	static int64_t at[GRANTS_MAX];
	int n = 0;

	for (int64_t now = from_ms; now <= to_ms; now++) {
		for (;;) {
			if (n >= 50 && at[n - 50] > now - 1000 - limit_margin_ms(1000))
				break;
			if (n >= 120 && at[n - 120] > now - 3000 - limit_margin_ms(3000))
				break;
			at[n++] = now;
		}
	}
	return n;
}

static void four_processes(void **state)
{
	static int64_t grants[GRANTS_MAX];
	pid_t pids[PROCESSES];
	int ends[2], n = 0;

	freeReplyObject(plain("FLUSHALL"));
	freeReplyObject(plain("CONFIG RESETSTAT"));
	freeReplyObject(plain("SET limit:{p}:since 1"));
	assert_int_equal(pipe(ends), 0);
	grants_to = ends[1];
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			caller_main();
	}
	close(ends[1]);
	int64_t until = clock_mono_ms() + RUN_MS + 200;
	usleep((RUN_MS + 200) * 1000);
	assert_true(clock_mono_ms() >= until);
	for (int i = 0; i < PROCESSES; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	while (n < GRANTS_MAX && read(ends[0], &grants[n], sizeof(grants[0])) == sizeof(grants[0]))
		n++;
	close(ends[0]);
	qsort(grants, (size_t)n, sizeof(grants[0]), by_value);
	assert_true(n > 120);
	int best = optimum(grants[0], grants[n - 1]);
	redisReply *info = plain("INFO commandstats");
	const char *calls = strstr(info->str, "cmdstat_evalsha:calls=");
	printf("%d grants of %d possible in %lld ms, %ld scripts\n", n, best,
	       (long long)(grants[n - 1] - grants[0]), calls ? strtol(calls + 22, NULL, 10) : -1);
	freeReplyObject(info);
	assert_int_equal(violations(grants, n, 50, 1000), 0);
	assert_int_equal(violations(grants, n, 120, 3000), 0);
	/* How much of it they get is the bench's (bench_limit_use, 95 %): here other tests take the cores. */
	assert_true(n >= best / 2 && n <= best);
}

/* ---- in one process ---- */

static void body_denied_says_when(void)
{
	struct limit_set set = one_scope(2, 400);
	struct permit a, b, c;
	int64_t wait_ms = 0;

	begin();
	CHECK(acquire(&set, 0, &a, NULL) == 0 && acquire(&set, 0, &b, NULL) == 0);
	CHECK(llabs(a.granted_ms - redis_now_ms(conn)) < 1000 && a.token[0]);
	CHECK(acquire(&set, 100, &c, &wait_ms) == -EAGAIN);
	CHECK(wait_ms > 200 && wait_ms <= 400 + limit_margin_ms(400) + 5);
	/* Known now without asking. */
	long long before = plain_int("ZCARD limit:{p}:host:443:i7");
	CHECK(acquire(&set, 100, &c, &wait_ms) == -EAGAIN &&
	      wait_ms <= 400 + limit_margin_ms(400) + 5);
	CHECK(before == 2);
	int64_t from = loop_now_ms(), waited = 0;
	CHECK(limiter_acquire(limiter, &set, 1000, &c, &wait_ms, &waited, CO_NO_DEADLINE, NULL) ==
	      0);
	CHECK(waited >= 200 && waited <= loop_now_ms() - from &&
	      c.granted_ms - a.granted_ms >= 400);
	end();
}

static void body_refund_frees_a_place(void)
{
	struct limit_set set = one_scope(1, 60000);
	struct permit a, b;

	begin();
	CHECK(acquire(&set, 0, &a, NULL) == 0);
	limiter_refund(limiter, &a);
	CHECK(a.agent == NULL);
	CHECK(co_sleep("flush", 10) == 0);
	CHECK(acquire(&set, 0, &b, NULL) == 0);
	limiter_release(limiter, &b);
	CHECK(co_sleep("flush", 10) == 0);
	CHECK(acquire(&set, 0, &b, NULL) == -EAGAIN);
	end();
}

static void body_all_or_none(void)
{
	static struct limit_set set, narrow;
	struct permit p;

	begin();
	set = one_scope(5, 60000);
	narrow = one_scope(1, 60000);
	set.n_scopes = 2;
	set.scopes[1] = narrow.scopes[0];
	snprintf(set.scopes[1].name, sizeof(set.scopes[1].name), "host:443:egress");
	CHECK(acquire(&set, 0, &p, NULL) == 0);
	CHECK(acquire(&set, 0, &p, NULL) == -EAGAIN);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7") == 1 &&
	      plain_int("ZCARD limit:{p}:host:443:egress") == 1);
	set.n_scopes = 1;
	for (int i = 0; i < 4; i++)
		CHECK(acquire(&set, 0, &p, NULL) == 0);
	CHECK(acquire(&set, 0, &p, NULL) == -EAGAIN);
	end();
}

static void body_hold(void)
{
	struct limit_set set = one_scope(100, 1000);
	struct permit p;
	struct err err = { 0 };
	int64_t wait_ms = 0, now = redis_now_ms(conn);

	begin();
	CHECK(limiter_hold(limiter, "p", "host:443:i7", now + 600, "429", false, soon(), &err) ==
	      0);
	CHECK(limiter_hold(limiter, "p", "host:443:i7", now + 100, "shorter", false, soon(),
			   &err) == 0);
	CHECK(acquire(&set, 100, &p, &wait_ms) == -EAGAIN && wait_ms > 400 && wait_ms <= 610);
	redisReply *reason = plain("GET limit:{p}:host:443:i7:hold");
	CHECK(reason->type == REDIS_REPLY_STRING && strcmp(reason->str, "429") == 0);
	freeReplyObject(reason);
	CHECK(acquire(&set, 2000, &p, &wait_ms) == 0);
	CHECK(p.granted_ms >= now + 600);
	CHECK(limiter_hold(limiter, "p", "host:443:i7", now, "past", false, soon(), &err) == 0);
	CHECK(plain_int("EXISTS limit:{p}:host:443:i7:hold") == 0);
	end();
}

static int flying, flying_most, flights_done;

static void fly(void *arg)
{
	const struct limit_set *set = arg;
	struct permit p;

	for (int i = 0; i < 5; i++) {
		if (acquire(set, 10000, &p, NULL) != 0)
			continue;
		CHECK(p.flight);
		flying++;
		if (flying > flying_most)
			flying_most = flying;
		CHECK(co_sleep("call", 5) == 0);
		flying--;
		limiter_release(limiter, &p);
	}
	flights_done++;
}

static void body_in_flight(void)
{
	static struct limit_set set;
	struct permit p;
	int64_t wait_ms = 0;

	begin();
	set = one_scope(1000, 1000);
	set.scopes[0].flight = 3;
	set.scopes[0].flight_ttl_ms = 60000;
	flying = flying_most = flights_done = 0;
	for (int i = 0; i < 12; i++)
		CHECK(co_spawn("flight", fly, &set) != NULL);
	for (int64_t end_ms = soon(); flights_done < 12 && loop_now_ms() < end_ms;)
		CHECK(co_sleep("flights", 5) == 0);
	CHECK(flights_done == 12 && flying_most == 3);
	CHECK(co_sleep("flush", 10) == 0);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7:flight") == 0);
	/* A call that was never released counts as long as it may have lasted. */
	set.scopes[0].flight = 1;
	set.scopes[0].flight_ttl_ms = 150;
	CHECK(acquire(&set, 0, &p, NULL) == 0);
	CHECK(acquire(&set, 20, &p, &wait_ms) == -EAGAIN && wait_ms > 0);
	CHECK(acquire(&set, 2000, &p, &wait_ms) == 0);
	end();
}

/* What a process had under way when it died stands in nobody's way once that is known; its windows stay. */
static void body_of_the_dead(void)
{
	struct limit_set set = one_scope(10, 60000);
	struct limiter *ours;
	static struct permit p[4], more; /* not on a coroutine's stack */
	int64_t wait_ms = 0;

	begin();
	set.scopes[0].flight = 3;
	set.scopes[0].flight_ttl_ms = 60000;
	CHECK(acquire(&set, 0, &p[0], NULL) == 0);
	ours = limiter;
	limiter = limiter_new(conn, "killed");
	CHECK(acquire(&set, 0, &p[1], NULL) == 0 && acquire(&set, 0, &p[2], NULL) == 0);
	limiter_free(limiter);
	limiter = ours;
	CHECK(limiter_gone(conn, "p", "another", soon(), NULL) == 0);
	CHECK(acquire(&set, 20, &p[3], &wait_ms) == -EAGAIN);
	CHECK(limiter_gone(conn, "p", "killed", soon(), NULL) == 0);
	/* Where there is room nobody looks: of a bound of 4 they have two still. */
	set.scopes[0].flight = 4;
	CHECK(acquire(&set, 0, &p[1], NULL) == 0);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7:flight") == 4);
	CHECK(acquire(&set, 0, &p[2], NULL) == 0 && acquire(&set, 0, &p[3], NULL) == 0);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7:flight") == 4);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7") == 6);
	CHECK(acquire(&set, 20, &more, &wait_ms) == -EAGAIN);
	for (int i = 0; i < 4; i++)
		limiter_release(limiter, &p[i]);
	for (int i = 0; i < 100; i++) {
		char epoch[16];

		snprintf(epoch, sizeof(epoch), "e%d", i);
		CHECK(limiter_gone(conn, "p", epoch, soon(), NULL) == 0);
	}
	CHECK(plain_int("ZCARD limit:{p}:gone") == 64);
	CHECK(plain_int("PTTL limit:{p}:gone") > 0);
	end();
}

/* A command that ends right after its call: what it gave back last arrives nevertheless. */
static void body_of_one_that_leaves(void)
{
	struct limit_set set = one_scope(10, 60000);
	struct redis_options o = { .url = server.url, .client_name = "leaves" };
	struct limiter *leaves;
	struct redis *r = NULL;
	static struct permit p;
	struct err err = { 0 };

	begin();
	set.scopes[0].flight = 3;
	set.scopes[0].flight_ttl_ms = 60000;
	CHECK(redis_new(&o, &r, &err) == 0 && redis_wait_up(r, soon()) == 0);
	leaves = limiter_new(r, "leaves");
	CHECK(limiter_acquire(leaves, &set, 0, &p, NULL, NULL, CO_NO_DEADLINE, &err) == 0);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7:flight") == 1);
	limiter_release(leaves, &p);
	limiter_free(leaves);
	redis_free(r);
	for (int64_t end_ms = soon();
	     loop_now_ms() < end_ms && plain_int("ZCARD limit:{p}:host:443:i7:flight") > 0;)
		CHECK(co_sleep("flight", 5) == 0);
	CHECK(plain_int("ZCARD limit:{p}:host:443:i7:flight") == 0);
	end();
}

static int order[40], ordered;

static void queue_up(void *arg)
{
	struct limit_set set = one_scope(5, 50);
	struct permit p;

	if (acquire(&set, 10000, &p, NULL) == 0)
		order[ordered++] = (int)(intptr_t)arg;
}

static void body_first_come_first_served(void)
{
	begin();
	ordered = 0;
	for (int i = 0; i < 40; i++)
		CHECK(co_spawn("row", queue_up, (void *)(intptr_t)i) != NULL);
	for (int64_t end_ms = soon(); ordered < 40 && loop_now_ms() < end_ms;)
		CHECK(co_sleep("row", 5) == 0);
	CHECK(ordered == 40);
	for (int i = 0; i < ordered; i++)
		CHECK(order[i] == i);
	end();
}

static int n_cancelled, n_granted;

static void wait_and_be_cancelled(void *arg)
{
	struct limit_set set = one_scope(3, 200);
	struct permit p;
	struct err err;
	int rc = limiter_acquire(limiter, &set, 10000, &p, NULL, NULL, CO_NO_DEADLINE, &err);

	n_cancelled += rc == -ECANCELED;
	n_granted += rc == 0;
}

/* Cancelled while they wait, or in the very moment of the grant: no permit is lost, none is used twice. */
static void body_cancelled(void)
{
	struct co *waiting[30];

	begin();
	n_cancelled = n_granted = 0;
	for (int i = 0; i < 30; i++) {
		waiting[i] = co_spawn("waiter", wait_and_be_cancelled, NULL);
		CHECK(waiting[i] != NULL);
	}
	CHECK(co_sleep("start", 100) == 0);
	CHECK(n_granted == 3);
	for (int i = 3; i < 30; i++) {
		if (i % 2)
			co_cancel(waiting[i]);
	}
	for (int64_t end_ms = soon(); n_cancelled + n_granted < 30 && loop_now_ms() < end_ms;)
		CHECK(co_sleep("row", 5) == 0);
	CHECK(n_cancelled == 14 && n_granted == 16);
	/* One that is cancelled with its request already under way. */
	CHECK(co_sleep("window", 230) == 0);
	struct co *late = co_spawn("late", wait_and_be_cancelled, NULL);
	CHECK(co_yield () == 0 && co_yield () == 0);
	CHECK(late && n_cancelled + n_granted == 30);
	co_cancel(late);
	CHECK(co_sleep("refund", 30) == 0);
	CHECK(n_cancelled == 15 && plain_int("ZCOUNT limit:{p}:host:443:i7 %lld +inf",
					     (long long)(redis_now_us(conn) - 100000)) == 0);
	end();
}

/* A log that Redis lost, and one that a failover may have cut short. */
static void body_lost_log(void)
{
	static struct limit_set set, slow;
	struct permit p;
	int64_t wait_ms = 0;

	begin();
	set = one_scope(10, 1000);
	slow = one_scope(1, 60000);
	freeReplyObject(plain("DEL limit:{p}:since"));
	CHECK(acquire(&set, 0, &p, &wait_ms) == -EAGAIN && wait_ms > 500);
	CHECK(plain_int("EXISTS limit:{p}:since") == 1);
	CHECK(acquire(&set, 3000, &p, &wait_ms) == 0);
	/* Two seconds of one call a minute are none. */
	snprintf(slow.scopes[0].name, sizeof(slow.scopes[0].name), "slow");
	CHECK(acquire(&slow, 0, &p, &wait_ms) == 0);
	/* A scope that was idle while Redis kept its memory begins empty. */
	freeReplyObject(plain("SET limit:{p}:since 1"));
	snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), "idle");
	CHECK(acquire(&set, 0, &p, &wait_ms) == 0);
	freeReplyObject(plain("SET limit:{p}:idle:run another"));
	CHECK(acquire(&set, 0, &p, &wait_ms) == -EAGAIN);
	end();
}

static void body_redis_goes_and_comes(void)
{
	struct limit_set set = one_scope(1000, 1000);
	struct permit p;
	int ok = 0;

	begin();
	/* Each waits longer for the next connection. */
	for (int i = 0; i < 8; i++) {
		redis_drop(conn, "test");
		ok += acquire(&set, 3000, &p, NULL) == 0;
		limiter_release(limiter, &p);
	}
	CHECK(ok == 8);
	redis_drop(conn, "test");
	CHECK(acquire(&set, 0, &p, NULL) == -ECONNRESET);
	end();
}

static void body_several_agents(void)
{
	struct limit_set set = one_scope(1, 60000);
	struct permit p;

	begin();
	for (int i = 0; i < 3000; i++) {
		snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), "host:443:i%d", i);
		CHECK(acquire(&set, 0, &p, NULL) == 0);
		limiter_release(limiter, &p);
	}
	CHECK(acquire(&set, 0, &p, NULL) == -EAGAIN);
	end();
}

#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}
TEST(denied_says_when)
TEST(refund_frees_a_place)
TEST(all_or_none)
TEST(hold)
TEST(in_flight)
TEST(of_the_dead)
TEST(of_one_that_leaves)
TEST(first_come_first_served)
TEST(cancelled)
TEST(lost_log)
TEST(redis_goes_and_comes)
TEST(several_agents)

static int setup(void **state)
{
	log_init("test_limiter", LOG_ERROR, false);
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
		cmocka_unit_test(denied_says_when),
		cmocka_unit_test(refund_frees_a_place),
		cmocka_unit_test(all_or_none),
		cmocka_unit_test(hold),
		cmocka_unit_test(in_flight),
		cmocka_unit_test(of_the_dead),
		cmocka_unit_test(of_one_that_leaves),
		cmocka_unit_test(first_come_first_served),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(lost_log),
		cmocka_unit_test(redis_goes_and_comes),
		cmocka_unit_test(several_agents),
		cmocka_unit_test(four_processes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
