/* Failures made on purpose: who has them, which there are, and that a scan gets through them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/call_chaos.h"
#include "drivers/kit/paginate.h"
#include "tests/unit/partner.h"

#define CALLS 120
#define ITEMS 400
#define MANY ",\"concurrency\":{\"partner\":1000,\"integration\":1000}"
#define THINGS                                                                                                      \
	",\"pagination\":{\"kind\":\"offset\",\"offset_param\":\"skip\",\"limit_param\":\"limit\",\"size\":10,"     \
	"\"total\":\"count\"},\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"data\",\"id\":\"id\"," \
	"\"table\":\"resources\",\"map\":{\"name\":\"id\"}}}"

static void answer(struct httpd_request *q, int number)
{
	const char *skip = httpd_query(q, "skip");
	int from = skip ? (int)strtol(skip, NULL, 10) : 0;
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"data\":[");
	for (int i = from; i < from + 10 && i < ITEMS; i++)
		buf_printf(&out, "%s{\"id\":%d}", i > from ? "," : "", i);
	buf_printf(&out, "],\"count\":%d}", ITEMS);
	reply_json(q, 200, out.data);
	buf_clear(&out);
}

static void bench_of(struct bench *b, const char *environment, const char *share)
{
	redis_run("FLUSHALL", NULL);
	partner.answer = answer;
	partner.n = 0;
	bench_open(b, MANY,
		   ",\"breaker\":{\"share\":1,\"failures\":1000000,\"calls\":1000000}" THINGS, NULL,
		   5, 5000);
	b->integration.environment = (char *)environment;
	cJSON_AddStringToObject(b->integration.settings, CHAOS_SETTING, share);
}

/* ---- kinds ---- */

static struct {
	struct caller *c;
	int seen[6], other;
} kinds;

static void one_call(int i, void *arg)
{
	static const char *const names[] = {
		"timeout", "slow", "500", "429", "malformed", "network"
	};
	struct call_spec spec = {
		.endpoint = "/things", .method = "GET", .path = "/things", .repeatable = true
	};
	struct caller c = *kinds.c;
	struct call_result r;
	struct err err = { 0 };
	int rc = call(&c, &spec, &r, &err), k = 0;
	const char *kind = http_response_header(&r.http, "x-longshore-chaos");

	while (kind && k < 6 && strcmp(names[k], kind) != 0)
		k++;
	if (!kind || k == 6) {
		kinds.other++;
	} else {
		kinds.seen[k]++;
		OK((rc == 0) == (k == 1)); /* only the slow one is an answer */
		OK(k != 3 || (rc == -EAGAIN && err.class == ERR_RATE_LIMIT));
		OK(k != 4 || err.class == ERR_DATA);
		OK((k != 0 && k != 2 && k != 5) || err.class == ERR_TRANSIENT);
	}
	call_result_clear(&r);
}

static void body_kinds(void)
{
	struct bench b;

	memset(&kinds, 0, sizeof(kinds));
	bench_of(&b, "sandbox", "1");
	kinds.c = &b.caller;
	crowd_run(CALLS, one_call, NULL);
	for (int k = 0; k < 6; k++)
		OK(kinds.seen[k] > 0);
	OK(kinds.other == 0);
	bench_close(&b);
}

static void body_not_in_production(void)
{
	struct bench b;

	memset(&kinds, 0, sizeof(kinds));
	bench_of(&b, "production", "1");
	kinds.c = &b.caller;
	crowd_run(CALLS, one_call, NULL);
	OK(kinds.other == CALLS && partner.n == CALLS);
	bench_close(&b);
}

/* ---- a scan, in as many attempts as it takes ---- */

static char seen[ITEMS];

static int attempt(struct bench *b, cJSON **state)
{
	struct pager_options o = { .collection = &b->manifest->collections[0], .resume = *state };
	struct pager *p = NULL;
	struct err err = { 0 };
	struct page page;
	int64_t id;
	int rc = pager_new(&b->caller, &o, &p, &err);

	while (rc == 0 && (rc = pager_next(p, &page, &err)) > 0) {
		for (int i = 0; i < page.n; i++)
			if (json_int(page.records[i], "id", &id) && id >= 0 && id < ITEMS)
				seen[id]++;
		page_clear(&page);
		rc = 0;
	}
	page_clear(&page);
	OK(rc == 0 || err.class == ERR_TRANSIENT || err.class == ERR_RATE_LIMIT ||
	   err.class == ERR_DATA);
	cJSON_Delete(*state);
	*state = pager_state(p);
	OK(rc != 0 || pager_complete(p, NULL));
	pager_free(p);
	return rc;
}

static void body_scan(void)
{
	int64_t until = loop_now_ms() + 60000;
	cJSON *state = NULL;
	struct bench b;
	int rc = -1;

	bench_of(&b, "sandbox", "0.1");
	memset(seen, 0, sizeof(seen));
	while (rc < 0 && loop_now_ms() < until)
		rc = attempt(&b, &state);
	OK(rc == 0);
	for (int i = 0; i < ITEMS; i++)
		OK(seen[i] == 1);
	cJSON_Delete(state);
	bench_close(&b);
}

static void test_shares(void **state)
{
	static const char *const wrong[] = { "",     "0",    "1.1", "-0.1", "ten",
					     "0.1x", "1e-1", "0x1", "." };
	double share = 7;

	assert_int_equal(chaos_parse("0.1", &share), 0);
	assert_true(share == 0.1);
	assert_int_equal(chaos_parse("1", &share), 0);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		share = 7;
		assert_int_equal(chaos_parse(wrong[i], &share), -EINVAL);
		assert_true(share == 7);
	}
}

static void test_kinds(void **state)
{
	assert_int_equal(on_loop(body_kinds), 0);
}

static void test_not_in_production(void **state)
{
	assert_int_equal(on_loop(body_not_in_production), 0);
}

static void test_scan(void **state)
{
	assert_int_equal(on_loop(body_scan), 0);
}

static int setup(void **state)
{
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
		cmocka_unit_test(test_shares),
		ON_LOOP(test_kinds),
		ON_LOOP(test_not_in_production),
		ON_LOOP(test_scan),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
