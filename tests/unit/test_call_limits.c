/* Limits as a manifest words them, against a partner in this process: groups of endpoints, outgoing addresses, weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/unit/partner.h"

#define COLLECTIONS                                                                                  \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"id\":\"id\",\"table\":\"resources\","   \
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
	OK(sent_of(&b.caller, NULL, 6) == 4); /* what the group took counts for the integration too */
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
	bench_open(&b, "", ",\"limits\":[{\"rate\":5,\"window\":\"60s\"}]" COLLECTION, NULL, 35, 50);
	free(b.integration.base_url);
	b.integration.base_url = mem_strdup("http://127.0.0.1:1/v1");
	OK(sent_of(&b.caller, NULL, 2) == 0);
	OK(co_sleep("flush", 30) == 0);
	OK(entries_of("limit:{acme}:127.0.0.1:1:i35") == 0);
	bench_close(&b);
}

#define TEST(name)                                                   \
	static void name(void **state)                               \
	{                                                            \
		assert_int_equal(on_loop(body_##name), 0);           \
	}
TEST(groups)
TEST(egress)
TEST(weight_told_afterwards)
TEST(fixed_weight)
TEST(unsent_is_refunded)

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
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
