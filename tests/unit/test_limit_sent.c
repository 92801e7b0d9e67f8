/* From the grant to the sending: what counts is when a call goes out, however late, in every kind of tier. */
#include "common/queue/limiter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/queue/limit_learn.h"
#include "tests/unit/queue_redis.h"

#define NAME "host:443:i7"
#define LOG "limit:{p}:" NAME

static struct limiter *limiter;

static struct limit_set one_scope(int64_t limit, int64_t window_ms)
{
	struct limit_set set = { .partner = "p", .n_scopes = 1 };

	snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), NAME);
	set.scopes[0].tiers[0] = (struct limit_tier){ .limit = limit, .window_ms = window_ms };
	set.scopes[0].n_tiers = 1;
	return set;
}

static void begin(void)
{
	freeReplyObject(plain("SET limit:{p}:since 1"));
	limiter = limiter_new(conn, own_epoch());
}

static void end(void)
{
	CHECK(co_sleep("flush", 20) == 0);
	limiter_free(limiter);
}

static int acquire(const struct limit_set *set, int64_t max_wait_ms, struct permit *p)
{
	int64_t wait_ms;

	return limiter_acquire(limiter, set, max_wait_ms, p, &wait_ms, NULL, CO_NO_DEADLINE, NULL);
}

static int64_t score_of(const struct permit *p)
{
	redisReply *reply = plain("ZSCORE " LOG " %s", p->token);
	int64_t us = reply->str ? (int64_t)strtod(reply->str, NULL) : -1;

	freeReplyObject(reply);
	return us;
}

static void body_at_once(void)
{
	struct limit_set set = one_scope(5, 60000);
	struct permit p;

	begin();
	CHECK(acquire(&set, 0, &p) == 0);
	limiter_sending(limiter, &p);
	CHECK(limiter_sent(limiter, &p) && p.sent);
	CHECK(co_sleep("flush", 20) == 0);
	int64_t score = score_of(&p);
	/* The very grant, unless this machine is so busy that it was late. */
	CHECK(p.moves ? score >= p.granted_us : score == p.granted_us);
	limiter_release(limiter, &p);
	end();
}

/* The entry stands where the call was sent, not where it was granted; never in the future. */
static void body_late(void)
{
	struct limit_set set = one_scope(5, 60000);
	struct permit p;

	begin();
	CHECK(acquire(&set, 0, &p) == 0);
	limiter_sending(limiter, &p);
	CHECK(co_sleep("connect", 60) == 0);
	int64_t sent_us = redis_now_us(conn);
	CHECK(limiter_sent(limiter, &p));
	CHECK(co_sleep("flush", 20) == 0);
	int64_t score = score_of(&p);
	CHECK(score >= sent_us - 2000 && score <= redis_now_us(conn));
	CHECK(score > p.granted_us + 50000);
	limiter_release(limiter, &p);
	end();
}

/* While a connection is being made the permit is moved along, so that it is never too old, and never leaves the window. */
static void body_kept_young(void)
{
	struct limit_set set = one_scope(1, 400);
	struct permit p, other;

	begin();
	CHECK(acquire(&set, 0, &p) == 0);
	limiter_sending(limiter, &p);
	CHECK(acquire(&set, 0, &other) == -EAGAIN);
	CHECK(co_sleep("connect", 900) == 0);
	CHECK(score_of(&p) > p.granted_us + 500000);
	CHECK(acquire(&set, 0, &other) == -EAGAIN);
	CHECK(limiter_sent(limiter, &p));
	limiter_release(limiter, &p);
	CHECK(acquire(&set, 3000, &other) == 0);
	end();
}

/* Nobody moved it along: the process stood still, or Redis was away.  It is not sent. */
static void body_too_old(void)
{
	struct limit_set set = one_scope(1, 400);
	struct permit p, again;

	begin();
	CHECK(acquire(&set, 0, &p) == 0);
	usleep(300 * 1000);
	limiter_sending(limiter, &p);
	CHECK(!limiter_sent(limiter, &p) && !p.sent);
	limiter_refund(limiter, &p);
	CHECK(co_sleep("flush", 20) == 0);
	CHECK(acquire(&set, 0, &again) == 0);
	CHECK(limiter_sent(limiter, &again));
	end();
}

static void body_no_window_no_age(void)
{
	struct limit_set set = one_scope(1, 400);
	struct permit p;

	begin();
	set.scopes[0].n_tiers = 0;
	set.scopes[0].flight = 1;
	CHECK(acquire(&set, 0, &p) == 0 && p.flight);
	usleep(1200 * 1000);
	CHECK(limiter_sent(limiter, &p));
	limiter_release(limiter, &p);
	CHECK(co_sleep("flush", 20) == 0);
	CHECK(plain_int("ZCARD " LOG ":flight") == 0);
	end();
}

/* ---- other kinds ---- */

static int granted_of(const struct limit_set *set, int tries)
{
	int n = 0;

	for (int i = 0; i < tries; i++) {
		struct permit p;

		if (acquire(set, 0, &p) != 0)
			continue;
		n++;
		limiter_release(limiter, &p);
	}
	return n;
}

static void body_large_windows_need_no_log(void)
{
	struct limit_set set = one_scope(2000, 3600000);
	struct permit p;

	begin();
	CHECK(granted_of(&set, 1999) == 1999);
	CHECK(acquire(&set, 0, &p) == 0);
	CHECK(granted_of(&set, 3) == 0);
	CHECK(plain_int("EXISTS " LOG) == 0);
	CHECK(plain_int("HGET " LOG ":sum s3600000000:n") == 2000);
	CHECK(plain_int("HLEN " LOG ":sum") <= 6);
	limiter_refund(limiter, &p);
	CHECK(co_sleep("flush", 20) == 0);
	CHECK(plain_int("HGET " LOG ":sum s3600000000:n") == 1999);
	limiter_free(limiter); /* it knows when there is room again, and would not ask */
	limiter = limiter_new(conn, own_epoch());
	CHECK(granted_of(&set, 3) == 1);
	end();
}

static void body_weights(void)
{
	static struct limit_set set, heavy;
	struct permit p;

	begin();
	set = one_scope(100, 60000);
	set.scopes[0].tiers[0].charged = true;
	heavy = set;
	heavy.scopes[0].tiers[0].units = 30;
	CHECK(granted_of(&heavy, 2) == 2);
	CHECK(granted_of(&set, 5) == 5);
	CHECK(acquire(&heavy, 0, &p) == 0);
	limiter_charge(limiter, &p, 0, 60000, -25);
	limiter_release(limiter, &p);
	CHECK(co_sleep("flush", 20) == 0);
	CHECK(plain_int("HGET " LOG ":sum s60000000:n") == 70);
	CHECK(granted_of(&heavy, 2) == 1 && granted_of(&set, 1) == 0);
	end();
}

static void body_fixed(void)
{
	struct limit_set set = one_scope(10, 60000);

	begin();
	set.scopes[0].tiers[0].kind = LIMIT_FIXED;
	CHECK(granted_of(&set, 12) == 10);
	end();
}

static void body_bucket(void)
{
	struct limit_set set = one_scope(20, 10000);
	struct permit p;

	begin();
	set.scopes[0].tiers[0].kind = LIMIT_BUCKET;
	set.scopes[0].tiers[0].burst = 5;
	int64_t from_ms = loop_now_ms();
	CHECK(granted_of(&set, 8) >= 4); /* the margin keeps a part of one back */
	CHECK(granted_of(&set, 8) == 0);
	for (int i = 0; i < 2; i++) {
		CHECK(acquire(&set, 5000, &p) == 0);
		limiter_release(limiter, &p);
	}
	CHECK(loop_now_ms() - from_ms >= 500);
	end();
}

/* What is known to have been used before Redis lost all, in every kind of tier; the same news again adds nothing. */
static void seed_leaves(int scope, struct limit_tier tier, int64_t used, int least, int most)
{
	struct limit_set set = one_scope(1, 1000);
	int64_t v[LIMIT_TIERS_MAX] = { used };
	int n;

	snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), "host:443:i%d", scope);
	set.scopes[0].tiers[0] = tier;
	for (int i = 0; i < 2; i++)
		CHECK(limit_seed(conn, "p", &set.scopes[0], v, loop_now_ms() + 5000, NULL) == 0);
	n = granted_of(&set, (int)tier.limit + 1);
	CHECK(n >= least && n <= most);
}

static void body_seeded(void)
{
	begin();
	seed_leaves(11, (struct limit_tier){ .limit = 10, .window_ms = 60000 }, 7, 3, 3);
	seed_leaves(12, (struct limit_tier){ .limit = 10, .window_ms = 60000 }, 70, 0, 0);
	seed_leaves(13, (struct limit_tier){ .limit = 600, .window_ms = 3600000 }, 590, 10, 10);
	seed_leaves(14, (struct limit_tier){ .limit = 10, .window_ms = 60000, .kind = LIMIT_FIXED },
		    4, 6, 6);
	seed_leaves(15,
		    (struct limit_tier){
			    .limit = 20, .window_ms = 600000, .kind = LIMIT_BUCKET, .burst = 5 },
		    3, 1, 2);
	seed_leaves(16, (struct limit_tier){ .limit = 10, .window_ms = 60000 }, 0, 10, 10);
	end();
}

/* What a person set is heard at once, by whoever asks next. */
static void body_set_by_hand(void)
{
	struct limit_set set = one_scope(10, 60000);

	begin();
	freeReplyObject(plain("HSET " LOG ":set limit:60000000 3"));
	CHECK(granted_of(&set, 12) == 3);
	freeReplyObject(plain("HSET " LOG ":set limit:60000000 5"));
	limiter_free(limiter);
	limiter = limiter_new(conn, own_epoch());
	CHECK(granted_of(&set, 12) == 2);
	end();
}

/* A part of each tier is kept for people's work while there is such work, and lent out while there is none. */
static void body_reserve(void)
{
	static struct limit_set set, high;

	begin();
	high = set = one_scope(10, 60000);
	high.high = true;
	CHECK(granted_of(&set, 6) == 6);
	CHECK(granted_of(&high, 1) == 1);
	CHECK(granted_of(&set, 5) == 1);
	CHECK(granted_of(&high, 1) == 1);
	/* What is left is theirs, for as long as they may come; then it is anybody's. */
	struct permit p;
	int64_t wait_ms = 0;
	CHECK(limiter_acquire(limiter, &set, 0, &p, &wait_ms, NULL, CO_NO_DEADLINE, NULL) ==
	      -EAGAIN);
	CHECK(wait_ms <= 5100);
	CHECK(acquire(&set, 8000, &p) == 0);
	end();
}

#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}
TEST(at_once)
TEST(late)
TEST(kept_young)
TEST(too_old)
TEST(no_window_no_age)
TEST(large_windows_need_no_log)
TEST(weights)
TEST(fixed)
TEST(bucket)
TEST(seeded)
TEST(set_by_hand)
TEST(reserve)

static int setup(void **state)
{
	log_init("test_limit_sent", LOG_ERROR, false);
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
		cmocka_unit_test(at_once),          cmocka_unit_test(late),
		cmocka_unit_test(kept_young),       cmocka_unit_test(too_old),
		cmocka_unit_test(no_window_no_age), cmocka_unit_test(large_windows_need_no_log),
		cmocka_unit_test(weights),          cmocka_unit_test(fixed),
		cmocka_unit_test(bucket),           cmocka_unit_test(seeded),
		cmocka_unit_test(set_by_hand),      cmocka_unit_test(reserve),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
