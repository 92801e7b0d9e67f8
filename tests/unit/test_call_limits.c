/* Limits as a manifest words them, against a partner in this process: groups of endpoints, outgoing addresses, weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/queue/limit_learn.h"
#include "tests/unit/partner.h"

#define COLLECTIONS                                                                                \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"group\":\"search\",\"map\":{\"name\":\"name\"}}}"
#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"

static void answer_ok(struct httpd_request *q, int number)
{
	httpd_add_header(q, "X-Cost", "4");
	reply_json(q, 200, "{}");
}

static int get_of(struct caller *c, const char *group)
{
	struct call_spec spec = { .endpoint = "/things",
				  .method = "GET",
				  .group = group,
				  .path = "/things",
				  .repeatable = true };
	struct call_result r;
	struct err err = { 0 };
	int rc = call(c, &spec, &r, &err);

	call_result_clear(&r);
	return rc;
}

static int sent_of(struct caller *c, const char *group, int tries)
{
	int n = 0;

	for (int i = 0; i < tries; i++)
		n += get_of(c, group) == 0;
	return n;
}

static int64_t entries_of(const char *log)
{
	redisReply *reply = NULL;
	int64_t n = -1;

	if (redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "ZCARD", log, NULL) == 0)
		n = reply->integer;
	freeReplyObject(reply);
	return n;
}

static void body_groups(void)
{
	struct bench b;

	partner.answer = answer_ok;
	bench_open(&b, "",
		   ",\"limits\":[{\"rate\":10,\"window\":\"60s\"},"
		   "{\"scope\":\"endpoints:search\",\"rate\":5,\"window\":\"60s\"}]" COLLECTIONS,
		   NULL, 31, 50);
	OK(sent_of(&b.caller, "search", 6) == 4);
	OK(sent_of(&b.caller, NULL, 6) ==
	   4); /* what the group took counts for the integration too */
	bench_close(&b);
}

static void body_egress(void)
{
	struct bench b, twin;

	partner.answer = answer_ok;
	bench_open(&b, "",
		   ",\"limits\":[{\"scope\":\"egress\",\"rate\":5,\"window\":\"60s\"}]" COLLECTION,
		   NULL, 32, 50);
	bench_twin(&twin, &b, NULL, 50);
	OK(sent_of(&b.caller, NULL, 3) == 3);
	OK(sent_of(&twin.caller, NULL, 3) == 1); /* from the same address */
	free(twin.door->egress);
	twin.door->egress = mem_strdup("elsewhere");
	door_forget(twin.door);
	OK(sent_of(&twin.caller, NULL, 6) == 4);
	door_free(twin.door);
	bench_close(&b);
}

/* The first call is taken to cost 1 and turns out to cost 4, and so does each that follows. */
static void body_weight_told_afterwards(void)
{
	struct bench b;

	partner.answer = answer_ok;
	bench_open(
		&b, "",
		",\"limits\":[{\"rate\":25,\"window\":\"60s\",\"weight\":\"header:X-Cost\"}]" COLLECTION,
		NULL, 33, 50);
	OK(sent_of(&b.caller, NULL, 12) == 5); /* 0.8 of 25 */
	bench_close(&b);
}

static void body_fixed_weight(void)
{
	struct bench b;

	partner.answer = answer_ok;
	bench_open(&b, "", ",\"limits\":[{\"rate\":25,\"window\":\"60s\",\"weight\":6}]" COLLECTION,
		   NULL, 34, 50);
	OK(sent_of(&b.caller, NULL, 6) == 3);
	bench_close(&b);
}

/* What never reached the partner costs nothing. */
static void body_unsent_is_refunded(void)
{
	struct bench b;

	partner.answer = answer_ok;
	bench_open(&b, "", ",\"limits\":[{\"rate\":5,\"window\":\"60s\"}]" COLLECTION, NULL, 35,
		   50);
	free(b.integration.base_url);
	b.integration.base_url = mem_strdup("http://127.0.0.1:1/v1");
	OK(sent_of(&b.caller, NULL, 2) == 0);
	OK(co_sleep("flush", 30) == 0);
	OK(entries_of("limit:{acme}:127.0.0.1:1:i35") == 0);
	bench_close(&b);
}

static void answer_dropping_each_second(struct httpd_request *q, int number)
{
	if (number % 2)
		reply_json(q, 200, "{}");
	else
		httpd_abort(q);
}

/* A kept connection that dies under a request: the partner has seen that one, and the one that is sent in its place.  What may not be
 * repeated is sent once. */
static void body_sent_again(void)
{
	struct call_spec post = { .endpoint = "/things",
				  .method = "POST",
				  .path = "/things",
				  .body = "{}",
				  .body_len = 2 };
	struct call_result r;
	struct err err = { 0 };
	struct bench b;
	char log[80];

	partner.answer = answer_dropping_each_second;
	bench_open(&b, "", ",\"limits\":[{\"rate\":8,\"window\":\"60s\"}]" COLLECTION, NULL, 36,
		   50);
	snprintf(log, sizeof(log), "limit:{acme}:127.0.0.1:%d:i36", partner.port);
	OK(sent_of(&b.caller, NULL, 2) == 2);
	OK(co_sleep("flush", 30) == 0);
	OK(partner.n == 3 && entries_of(log) == 3);
	OK(call(&b.caller, &post, &r, &err) == -EREMOTEIO);
	OK(err.class == ERR_TRANSIENT && strcmp(r.http.failure, "reset") == 0);
	call_result_clear(&r);
	OK(co_sleep("flush", 30) == 0);
	OK(partner.n == 4 && entries_of(log) == 4);
	bench_close(&b);
}

/* ---- headers ---- */

static const char *said[6]; /* name, value, … */

static void answer_said(struct httpd_request *q, int number)
{
	for (int i = 0; i < 6 && said[i]; i += 2)
		httpd_add_header(q, said[i], said[i + 1]);
	reply_json(q, 200, "{}");
}

/* Calls that still went out after one whose answer said this, of twenty that our own count allows. */
static int sent_after(int id, const char *limits, const char *name, const char *value,
		      const char *name2, const char *value2)
{
	struct bench b, twin;
	int n;

	said[0] = name;
	said[1] = value;
	said[2] = name2;
	said[3] = value2;
	said[4] = NULL;
	partner.answer = answer_said;
	bench_open(&b, "", limits, NULL, id, 50);
	OK(sent_of(&b.caller, NULL, 1) == 1);
	OK(co_sleep("flush", 30) == 0);
	said[0] = NULL;
	bench_twin(&twin, &b, NULL, 50);
	n = sent_of(&twin.caller, NULL, 21); /* another process knows, too */
	door_free(twin.door);
	bench_close(&b);
	return n;
}

#define LIMITS \
	",\"limits\":[{\"rate\":25,\"window\":\"60s\"},{\"rate\":900,\"window\":\"1h\"}]" COLLECTION
#define ONE_LIMIT ",\"limits\":[{\"rate\":25,\"window\":\"60s\"}]" COLLECTION
#define HEADERS(more)                                                                            \
	",\"limits\":[{\"rate\":25,\"window\":\"60s\"}],\"limit_headers\":[{\"window\":\"60s\"," \
	"\"remaining\":\"X-Left\",\"reset\":\"X-Reset\"" more "}]" COLLECTION

static void body_less_is_left(void)
{
	char epoch[32];

	OK(sent_after(41, HEADERS(""), "X-Left", "3", NULL, NULL) == 3);
	OK(sent_after(42, HEADERS(""), "X-Left", "5", NULL, NULL) == 19); /* no news: 0.8 is ours */
	OK(sent_after(43, LIMITS, "X-RateLimit-Remaining-Minute", "2", NULL, NULL) == 2);
	OK(sent_after(44, LIMITS, "x-rate-limit-remaining", "2", "X-Rate-Limit-Limit", "25") == 2);
	OK(sent_after(45, LIMITS, "RateLimit", "limit=25, remaining=4, reset=30", NULL, NULL) == 4);
	OK(sent_after(46, LIMITS, "RateLimit-Remaining", "1", "RateLimit-Limit", "25, 25;w=60") ==
	   1);
	OK(sent_after(47, LIMITS, "X-RateLimit-Remaining", "1", NULL, NULL) ==
	   19); /* of which limit? */
	OK(sent_after(48, HEADERS(""), "X-Left", "many", NULL, NULL) == 19);
	/* The reset is near: then there is more. */
	OK(sent_after(49, HEADERS(""), "X-Left", "3", "X-Reset", "0") == 19);
	snprintf(epoch, sizeof(epoch), "%lld", (long long)(redis_now_ms(redis) + 30000));
	OK(sent_after(50, HEADERS(",\"unit\":\"epoch_ms\""), "X-Left", "3", "X-Reset", epoch) == 3);
}

/* A field of what Redis knows of a scope beside the manifest; the caller's. */
static char *known_of(const char *scope, const char *field)
{
	redisReply *reply = NULL;
	char *key = mem_printf("limit:{acme}:127.0.0.1:%d:%s:set", partner.port, scope);
	char *value = NULL;

	if (redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "HGET", key, field,
			NULL) == 0)
		value = mem_strdup(reply->str ? reply->str : "");
	freeReplyObject(reply);
	free(key);
	return value;
}

static bool known_is(const char *scope, const char *field, const char *start)
{
	char *value = known_of(scope, field);
	bool is = value && (*start ? strncmp(value, start, strlen(start)) == 0 : !*value);

	if (!is)
		fprintf(stderr, "%s of %s is \"%s\", not \"%s\"\n", field, scope, value, start);
	free(value);
	return is;
}

/* What a partner states is shown; where it is less than the manifest says our share of it is in force, for all. */
static void body_stated(void)
{
	OK(sent_after(61, LIMITS, "X-RateLimit-Limit-Minute", "10", NULL, NULL) == 7);
	OK(sent_after(62, LIMITS, "X-RateLimit-Limit-Minute", "100", NULL, NULL) == 19);
	OK(sent_after(63, LIMITS, "RateLimit-Limit", "5, 5;w=60", NULL, NULL) == 3);
	/* Of which window, and which of its numbers? */
	OK(sent_after(64, LIMITS, "X-RateLimit-Limit", "10", NULL, NULL) == 19);
	OK(sent_after(68, ONE_LIMIT, "X-RateLimit-Limit", "10", NULL, NULL) == 19);
	OK(sent_after(65, LIMITS, "RateLimit-Limit", "5, 5;w=1, 100;w=60", NULL, NULL) == 19);
	OK(sent_after(66, LIMITS, "X-RateLimit-Limit-Minute", "0", NULL, NULL) == 19);
	OK(sent_after(67, LIMITS, "X-RateLimit-Limit-Minute", "plenty", NULL, NULL) == 19);
}

/* It is the newest word that counts; a person's comes before it. */
static void body_stated_anew(void)
{
	struct bench b;
	struct limit_by_hand hand = { .window_ms = 60000, .calls = 15 };
	struct err err = { 0 };

	partner.answer = answer_said;
	said[0] = "X-RateLimit-Limit-Minute";
	said[1] = "10";
	said[2] = NULL;
	bench_open(&b, "", LIMITS, NULL, 71, 50);
	OK(sent_of(&b.caller, NULL, 1) == 1);
	OK(co_sleep("flush", 30) == 0);
	OK(known_is("i71", "limit:60000000", "8") && known_is("i71", "stated:60000000", "10 8 "));
	said[1] = "25";
	OK(sent_of(&b.caller, NULL, 1) == 1);
	OK(co_sleep("flush", 30) == 0);
	OK(known_is("i71", "limit:60000000", "") && known_is("i71", "stated:60000000", "25 0 "));
	hand.name = mem_printf("127.0.0.1:%d:i71", partner.port);
	OK(limit_mirror(redis, "acme", &hand, 1, loop_now_ms() + PATIENCE_MS, &err) == 0);
	OK(known_is("i71", "limit:60000000", "15"));
	said[1] = "5";
	OK(sent_of(&b.caller, NULL, 1) == 1);
	OK(co_sleep("flush", 30) == 0);
	OK(known_is("i71", "limit:60000000", "15") && known_is("i71", "stated:60000000", "5 4 "));
	OK(limit_mirror(redis, "acme", NULL, 0, loop_now_ms() + PATIENCE_MS, &err) == 0);
	OK(known_is("i71", "limit:60000000", "4") && known_is("i71", "hand:60000000", ""));
	free(hand.name);
	bench_close(&b);
}

static void answer_refusing(struct httpd_request *q, int number)
{
	if (number == 1)
		httpd_add_header(q, "Retry-After", "1");
	reply_json(q, number == 1 ? 429 : 200, "{}");
}

static int64_t pace_of(const char *scope)
{
	redisReply *reply = NULL;
	char *key = mem_printf("limit:{acme}:127.0.0.1:%d:%s:sum", partner.port, scope);
	int64_t us = -1;

	if (redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "HGET", key, "pace",
			NULL) == 0)
		us = reply->str ? strtoll(reply->str, NULL, 10) : 0;
	freeReplyObject(reply);
	free(key);
	return us;
}

/* What came of a call reaches Redis a moment after its answer. */
static bool pace_becomes(const char *scope, int64_t us)
{
	int64_t deadline_ms = loop_now_ms() + PATIENCE_MS;

	while (pace_of(scope) != us)
		if (loop_now_ms() > deadline_ms || co_sleep("flush", 5) < 0)
			return false;
	return true;
}

/* A refusal widens the interval between calls, successes narrow it until it is gone. */
static void body_paced(void)
{
	struct bench b;
	int64_t begun_ms;

	partner.answer = answer_refusing;
	bench_open(&b, "", ",\"limits\":[{\"rate\":500,\"window\":\"60s\"}]" COLLECTION, NULL, 51,
		   5000);
	OK(get_of(&b.caller, NULL) == -EAGAIN);
	OK(pace_of("i51") == 75000);
	OK(known_is("i51", "met:60000000", "1") && known_is("i51", "refusals", "1"));
	begun_ms = loop_now_ms();
	OK(sent_of(&b.caller, NULL, 2) == 2);
	OK(partner.arrivals[2].at_ms - begun_ms >= 70);
	OK(pace_becomes("i51", 55000));
	OK(sent_of(&b.caller, NULL, 2) == 2);
	OK(pace_becomes("i51", 0));
	bench_close(&b);
}

#define TEST(name)                                         \
	static void name(void **state)                     \
	{                                                  \
		assert_int_equal(on_loop(body_##name), 0); \
	}
TEST(groups)
TEST(egress)
TEST(weight_told_afterwards)
TEST(fixed_weight)
TEST(unsent_is_refunded)
TEST(sent_again)
TEST(less_is_left)
TEST(stated)
TEST(stated_anew)
TEST(paced)

static int setup(void **state)
{
	log_init("test_call_limits", LOG_ERROR, false);
	return partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
}

static int begin(void **state)
{
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(groups),
		ON_LOOP(egress),
		ON_LOOP(weight_told_afterwards),
		ON_LOOP(fixed_weight),
		ON_LOOP(unsent_is_refunded),
		ON_LOOP(sent_again),
		ON_LOOP(less_is_left),
		ON_LOOP(stated),
		ON_LOOP(stated_anew),
		ON_LOOP(paced),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
