/* errors[].action and redirects, at the door: who is called again, who waits, and where a credential may go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/partner.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"
#define RULE(status, class, action)                                                        \
	",\"errors\":[{\"status\":" status ",\"class\":\"" class "\",\"action\":\"" action \
								 "\"}]" COLLECTION

static int first_status;

static void answer_badly_once(struct httpd_request *q, int number)
{
	reply_json(q, number == 1 ? first_status : 200, "{\"message\":\"so it is\"}");
}

static void answer_badly(struct httpd_request *q, int number)
{
	reply_json(q, first_status, "{\"message\":\"so it is\"}");
}

static int ask(const char *rest, int64_t id, void (*answer)(struct httpd_request *, int),
	       int status, struct err *err)
{
	struct bench b;
	int rc;

	partner.n = 0;
	partner.answer = answer;
	first_status = status;
	memset(err, 0, sizeof(*err));
	bench_open(&b, "", rest, NULL, id, 300);
	rc = get(&b.caller, "/things", err);
	bench_close(&b);
	return rc;
}

static void body_actions(void)
{
	struct err err;

	/* a refusal that is worth another try, at once and then later */
	OK(ask(RULE("409", "client", "retry"), 1, answer_badly_once, 409, &err) == 0);
	OK(partner.n == 2);
	OK(ask(RULE("409", "client", "retry"), 2, answer_badly, 409, &err) == -EREMOTEIO);
	OK(partner.n == 2 && err.action == ACT_RETRY && strcmp(err.rule, "errors[0]") == 0);
	/* a failure that no try mends */
	OK(ask(RULE("503", "transient", "dead"), 3, answer_badly, 503, &err) == -EREMOTEIO);
	OK(partner.n == 1 && err.action == ACT_DEAD && err.class == ERR_TRANSIENT);
	OK(ask(RULE("404", "client", "skip"), 4, answer_badly, 404, &err) == -EREMOTEIO);
	OK(partner.n == 1 && err.action == ACT_SKIP);
	/* 401 by another word, and nothing that could be refreshed */
	OK(ask(RULE("403", "client", "refresh_then_retry"), 5, answer_badly, 403, &err) ==
	   -EREMOTEIO);
	OK(partner.n == 1 && err.action == ACT_REFRESH && err.class == ERR_CLIENT);
	/* what the class leads to where the rule says no more */
	OK(ask(",\"errors\":[{\"status\":409,\"class\":\"rate_limit\"}]" COLLECTION, 6,
	       answer_badly, 409, &err) == -EAGAIN);
	OK(err.action == ACT_NONE && err.retry_after_ms > 0);
}

static void test_actions(void **state)
{
	assert_int_equal(on_loop(body_actions), 0);
}

/* All wait, not only the one that met it. */
static void body_hold(void)
{
	struct bench b;
	struct err err = { 0 };

	partner.answer = answer_badly;
	first_status = 503;
	bench_open(&b, "", RULE("503", "transient", "hold(45s)"), NULL, 1, 300);
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.retry_after_ms == 45000);
	OK(partner.n == 1);
	memset(&err, 0, sizeof(err));
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(err.retry_after_ms > 30000 && err.retry_after_ms <= 46000);
	OK(partner.n == 1);
	bench_close(&b);

	bench_open(&b, "", RULE("503", "rate_limit", "suspend_partner"), NULL, 2, 300);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.action == ACT_SUSPEND);
	OK(partner.n == 2);
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD && partner.n == 2);
	bench_close(&b);
}

static void test_hold(void **state)
{
	assert_int_equal(on_loop(body_hold), 0);
}

/* ---- redirects ---- */

static char location[300];

static bool elsewhere_by_query; /* what is asked for with page=3 is there */
static int fail_first; /* the status of what is asked for there the first time; 0: it works */

static void answer_elsewhere(struct httpd_request *q, int number)
{
	if (strcmp(httpd_path(q), "/v1/there") == 0 ||
	    (elsewhere_by_query && strcmp(httpd_raw_query(q), "page=3") == 0)) {
		reply_json(q, number == 2 && fail_first ? fail_first : 200, "{\"ok\":true}");
		return;
	}
	httpd_add_header(q, "Location", location);
	reply_json(q, 302, "{}");
}

static int go(const char *to, int64_t id, const char *method, struct err *err)
{
	struct bench b;
	struct manifest_pair query[] = { { "page", "2" } };
	struct call_spec spec = { .endpoint = "/things",
				  .method = method,
				  .path = "/things",
				  .query = query,
				  .n_query = 1,
				  .repeatable = true };
	struct call_result r;
	int rc;

	partner.n = 0;
	partner.answer = answer_elsewhere;
	snprintf(location, sizeof(location), "%s", to);
	bench_open(&b, "", COLLECTION, NULL, id, 300);
	rc = call(&b.caller, &spec, &r, err);
	call_result_clear(&r);
	bench_close(&b);
	return rc;
}

static void body_redirects(void)
{
	struct err err = { 0 };
	char to[200];

	OK(go("/v1/there?page=2", 1, "GET", &err) == 0 && partner.n == 2);
	OK(strcmp(partner.arrivals[1].query, "page=2") == 0);
	snprintf(to, sizeof(to), "%s/v1/there#part", partner.root);
	OK(go(to, 2, "GET", &err) == 0 && partner.n == 2);
	/* As RFC 3986 says of what was asked for, /v1/things?page=2. */
	static const char *const here[] = { "there?a=b c", "./there#part", "../v1/there",
					    "x/../there", "../../../v1/./there" };
	for (size_t i = 0; i < ARRAY_LEN(here); i++)
		OK(go(here[i], 50 + (int64_t)i, "GET", &err) == 0 && partner.n == 2 &&
		   strcmp(partner.arrivals[1].query, i ? "" : "a=b%20c") == 0);
	elsewhere_by_query = true;
	OK(go("?page=3", 60, "GET", &err) == 0 && partner.n == 2);
	elsewhere_by_query = false;
	OK(go("/v1/things", 3, "GET", &err) == -EREMOTEIO); /* in circles */
	OK(partner.n == 4 && strcmp(err.rule, "status 3xx") == 0);
	OK(go("/v1/there", 4, "POST", &err) == -EREMOTEIO && partner.n == 1);
	fail_first = 503; /* the other try is sent there as the first was */
	OK(go("/v1/there", 30, "GET", &err) == 0 && partner.n == 4);
	fail_first = 0;

	/* another host, port, scheme, or what looks like ours */
	static const char *const others[] = { "http://evil.example/v1/there",
					      "//evil.example/v1/there",
					      "https://127.0.0.1/v1/there",
					      "http://127.0.0.1:1/v1/there",
					      "file:///etc/passwd",
					      "mailto:there",
					      "///there",
					      "#part",
					      "" };
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		OK(go(others[i], 5 + (int64_t)i, "GET", &err) == -EREMOTEIO && partner.n == 1);
	snprintf(to, sizeof(to), "%s@evil.example/v1/there", partner.root);
	OK(go(to, 20, "GET", &err) == -EREMOTEIO && partner.n == 1);
	snprintf(to, sizeof(to), "%s.evil.example/v1/there", partner.root);
	OK(go(to, 21, "GET", &err) == -EREMOTEIO && partner.n == 1);
}

/* As of a key that was pasted with the end of its line. */
static void body_unsendable(void)
{
	const struct http_header header = { "X-Key", "sesame\n" };
	struct call_spec spec = { .endpoint = "/things",
				  .method = "GET",
				  .path = "/things",
				  .headers = &header,
				  .n_headers = 1 };
	struct err err = { 0 };
	struct call_result r;
	struct bench b;

	partner.n = 0;
	bench_open(&b, "", COLLECTION, NULL, 40, 300);
	OK(call(&b.caller, &spec, &r, &err) == -EINVAL && partner.n == 0);
	OK(err.class == ERR_CLIENT && strstr(err.text, "line break") &&
	   !strstr(err.text, "sesame"));
	call_result_clear(&r);
	bench_close(&b);
}

/* A mark that says that another has the job by now is an end: neither the permit's tries nor the door's other ones follow. */
static int fence_from, marks; /* of all marks, which is the first that is refused */

static int write_mark(void *arg, struct err *err)
{
	if (++marks < fence_from)
		return 0;
	return err_set(err, -ESTALE, ERR_CANCELLED, "fence", "a newer claim goes on with it");
}

static void body_fence(void)
{
	struct call_mark mark = { .write = write_mark, .good_ms = 60000 };
	struct call_spec spec = {
		.endpoint = "/things", .method = "GET", .path = "/things", .mark = &mark
	};
	struct err err = { 0 };
	struct call_result r;
	struct bench b;

	partner.answer = answer_elsewhere;
	snprintf(location, sizeof(location), "there");
	for (int first = 1; first <= 2; first++) { /* of the redirect's second sending, too */
		partner.n = marks = 0;
		fence_from = first;
		bench_open(&b, "", COLLECTION, NULL, 70 + first, 300);
		OK(call(&b.caller, &spec, &r, &err) == -ESTALE && partner.n == first - 1);
		OK(marks == first && strcmp(err.rule, "fence") == 0 && !mark.handed);
		call_result_clear(&r);
		bench_close(&b);
	}
}

static void test_fence(void **state)
{
	assert_int_equal(on_loop(body_fence), 0);
}

static void test_unsendable(void **state)
{
	assert_int_equal(on_loop(body_unsendable), 0);
}

static void test_redirects(void **state)
{
	assert_int_equal(on_loop(body_redirects), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_actions, begin, end),
		cmocka_unit_test_setup_teardown(test_hold, begin, end),
		cmocka_unit_test_setup_teardown(test_redirects, begin, end),
		cmocka_unit_test_setup_teardown(test_fence, begin, end),
		cmocka_unit_test_setup_teardown(test_unsendable, begin, end),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
