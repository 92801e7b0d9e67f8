/* Answers to classes: the table, the manifest's rules before it, and how long to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/classify.h"

#define NOW_MS INT64_C(1767323045000) /* 2026-01-02T03:04:05Z */

static const char plain[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}}";
static const char with_rules[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}},"
	" \"retry_after\": [\"X-Wait\", \"Retry-After\"], \"errors\": ["
	"  {\"status\": 403, \"json\": \"error.code\", \"in\": [\"EXPIRED\", 602], \"class\": \"auth\"},"
	"  {\"status\": [200, 201], \"json\": \"success\", \"in\": [false], \"class\": \"client\"},"
	"  {\"text\": \"scheduled maintenance\", \"class\": \"transient\"},"
	"  {\"status\": \"4xx\", \"header\": \"X-Blocked\", \"class\": \"rate_limit\"},"
	"  {\"at\": \"token_url\", \"json\": \"error\", \"contains\": \"client\", \"class\": \"auth\"},"
	"  {\"json\": \"fault\", \"class\": \"data\"},"
	"  {\"status\": 207, \"json\": \"state\", \"not_in\": [\"ok\", \"fine\"], \"class\": \"client\"}]}";

static struct manifest *load(const char *text)
{
	struct manifest *m = NULL;
	struct buf problems = BUF_INIT;

	if (manifest_parse("manifest.json", text, strlen(text), &m, &problems) < 0)
		fail_msg("%s", problems.data);
	buf_clear(&problems);
	return m;
}

struct answer {
	int status;
	const char *body;
	const char *headers[6]; /* name, value, … */
};

static void make(const struct answer *a, struct http_response *r, cJSON **json)
{
	http_response_init(r);
	r->status = a->status;
	*json = NULL;
	if (a->body) {
		buf_puts(&r->body, a->body);
		if (json_parse(a->body, strlen(a->body), 1 << 20, json, NULL) < 0)
			*json = NULL;
	}
	for (int i = 0; i < 6 && a->headers[i]; i++)
		buf_append(&r->headers, a->headers[i], strlen(a->headers[i]) + 1);
}

static struct err judge(const struct manifest *m, const struct answer *a, bool at_token_url)
{
	struct http_response r;
	struct err err;
	cJSON *json;

	make(a, &r, &json);
	memset(&err, 0x5a, sizeof(err));
	classify(m, &r, json, at_token_url, NOW_MS, &err);
	http_response_clear(&r);
	cJSON_Delete(json);
	return err;
}

static void table(void **state)
{
	static const struct {
		struct answer answer;
		enum err_class class;
		const char *rule;
	} cases[] = {
		{ { 200, "{}", { 0 } }, ERR_NONE, "" },
		{ { 200, "[]", { 0 } }, ERR_NONE, "" },
		{ { 202, "", { 0 } }, ERR_NONE, "" },
		{ { 204, NULL, { 0 } }, ERR_NONE, "" },
		{ { 200, "<html>", { 0 } }, ERR_DATA, "not JSON" },
		{ { 200, "{\"a\":", { 0 } }, ERR_DATA, "not JSON" },
		{ { 302, NULL, { 0 } }, ERR_CLIENT, "status 3xx" },
		{ { 400, "{}", { 0 } }, ERR_CLIENT, "status 4xx" },
		{ { 401, "{}", { 0 } }, ERR_AUTH, "status 401" },
		{ { 403, "{}", { 0 } }, ERR_CLIENT, "status 4xx" },
		{ { 404, NULL, { 0 } }, ERR_CLIENT, "status 4xx" },
		{ { 408, NULL, { 0 } }, ERR_TRANSIENT, "status 408" },
		{ { 425, NULL, { 0 } }, ERR_TRANSIENT, "status 425" },
		{ { 429, NULL, { 0 } }, ERR_RATE_LIMIT, "status 429" },
		{ { 500, "oops", { 0 } }, ERR_TRANSIENT, "status 5xx" },
		{ { 503, NULL, { 0 } }, ERR_TRANSIENT, "status 5xx" },
		{ { 599, NULL, { 0 } }, ERR_TRANSIENT, "status 5xx" },
		{ { 102, NULL, { 0 } }, ERR_DATA, "status unknown" },
		{ { 999, NULL, { 0 } }, ERR_DATA, "status unknown" },
	};
	struct manifest *m = load(plain);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = judge(m, &cases[i].answer, false);

		assert_int_equal(err.class, cases[i].class);
		assert_string_equal(err.rule, cases[i].rule);
		assert_int_equal(err.retry_after_ms, err.class == ERR_RATE_LIMIT ? 60000 : 0);
		if (err.class == ERR_NONE)
			assert_string_equal(err.text, "");
	}
	manifest_free(m);
}

static void failures(void **state)
{
	static const char *const words[] = {
		"timeout", "wait_timeout", "write_timeout", "refused",
		"dns",     "tls",          "reset",         "network"
	};
	struct manifest *m = load(with_rules);
	struct http_response r;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		char *rule = i == ARRAY_LEN(words) - 1 ? mem_strdup("network")
						       : mem_printf("network %s", words[i]);

		http_response_init(&r);
		r.failure = words[i];
		snprintf(r.detail, sizeof(r.detail), "curl says so");
		classify(m, &r, NULL, false, NOW_MS, &err);
		assert_int_equal(err.class, ERR_TRANSIENT);
		assert_string_equal(err.rule, rule);
		assert_non_null(strstr(err.text, "curl says so"));
		http_response_clear(&r);
		free(rule);
	}
	http_response_init(&r);
	r.failure = "too_large";
	classify(m, &r, NULL, false, NOW_MS, &err);
	assert_int_equal(err.class, ERR_DATA);
	http_response_clear(&r);
	manifest_free(m);
}

static void rules_come_first(void **state)
{
	static const struct {
		struct answer answer;
		bool token;
		enum err_class class;
		const char *rule;
	} cases[] = {
		{ { 403, "{\"error\":{\"code\":\"EXPIRED\"}}", { 0 } },
		  false,
		  ERR_AUTH,
		  "errors[0]" },
		{ { 403, "{\"error\":{\"code\":\"602\"}}", { 0 } }, false, ERR_AUTH, "errors[0]" },
		{ { 403, "{\"error\":{\"code\":\"OTHER\"}}", { 0 } },
		  false,
		  ERR_CLIENT,
		  "status 4xx" },
		{ { 200, "{\"success\":false,\"message\":\"no\"}", { 0 } },
		  false,
		  ERR_CLIENT,
		  "errors[1]" },
		{ { 200, "{\"success\":true}", { 0 } }, false, ERR_NONE, "" },
		{ { 202, "{\"success\":false}", { 0 } }, false, ERR_NONE, "" },
		{ { 200, "<p>scheduled maintenance</p>", { 0 } },
		  false,
		  ERR_TRANSIENT,
		  "errors[2]" },
		{ { 418, NULL, { "x-blocked", "1" } }, false, ERR_RATE_LIMIT, "errors[3]" },
		{ { 500, NULL, { "x-blocked", "1" } }, false, ERR_TRANSIENT, "status 5xx" },
		{ { 400, "{\"error\":\"invalid_client\"}", { 0 } }, true, ERR_AUTH, "errors[4]" },
		{ { 400, "{\"error\":\"invalid_client\"}", { 0 } },
		  false,
		  ERR_CLIENT,
		  "status 4xx" },
		{ { 200, "{\"fault\":{}}", { 0 } }, false, ERR_DATA, "errors[5]" },
		{ { 200, "{\"fault\":null}", { 0 } }, false, ERR_NONE, "" },
	};
	struct manifest *m = load(with_rules);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = judge(m, &cases[i].answer, cases[i].token);

		if (err.class != cases[i].class || strcmp(err.rule, cases[i].rule) != 0)
			fail_msg("%zu: %s, rule %s", i, err_class_name(err.class), err.rule);
	}
	manifest_free(m);
}

static void messages(void **state)
{
	static const struct {
		const char *body, *text;
	} cases[] = {
		{ "{\"error\":{\"message\":\"no such field\"}}", "status 400: no such field" },
		{ "{\"message\":\"a\",\"error\":\"b\"}", "status 400: a" },
		{ "{\"error\":\"invalid_grant\"}", "status 400: invalid_grant" },
		{ "{\"errors\":[{\"message\":\"first\"}]}", "status 400: first" },
		{ "{\"error\":5}", "status 400" },
		{ "<h1>\n  Bad\t\tGateway</h1>", "status 400: <h1> Bad Gateway</h1>" },
		{ "", "status 400" },
	};
	struct manifest *m = load(plain);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = judge(m, &(struct answer){ 400, cases[i].body, { 0 } }, false);

		assert_string_equal(err.text, cases[i].text);
	}
	manifest_free(m);
}

static int64_t wait_of(const struct manifest *m, const char *name, const char *value,
		       const char *date)
{
	struct answer a = { 429, NULL, { name, value, date ? "date" : NULL, date } };
	struct http_response r;
	cJSON *json;
	int64_t ms;

	make(&a, &r, &json);
	ms = retry_after_ms(m, &r, NOW_MS);
	http_response_clear(&r);
	return ms;
}

static void waits(void **state)
{
	static const struct {
		const char *value, *date;
		int64_t wanted;
	} cases[] = {
		{ "30", NULL, 30000 },
		{ " 30 ", NULL, 30000 },
		{ "1.5", NULL, 1500 },
		{ "120s", NULL, 120000 },
		{ "0", NULL, 1000 },
		{ "99999999", NULL, 86400000 },
		{ "1767323055", NULL, 10000 },
		{ "1767323055000", NULL, 10000 },
		{ "1767323055", "Fri, 02 Jan 2026 03:04:00 GMT", 15000 },
		{ "Fri, 02 Jan 2026 03:04:35 GMT", NULL, 30000 },
		{ "Fri, 02 Jan 2026 03:14:35 GMT", "Fri, 02 Jan 2026 03:14:05 GMT", 30000 },
		{ "2026-01-02T03:04:35Z", NULL, 30000 },
		{ "Fri, 02 Jan 2026 03:04:00 GMT", NULL, 1000 },
		{ "500000000", NULL, 0 },
		{ "soon", NULL, 0 },
		{ "", NULL, 0 },
		{ "-5", NULL, 0 },
		{ "99999999999999999999999", NULL, 0 },
	};
	struct manifest *m = load(plain);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t ms = wait_of(m, "retry-after", cases[i].value, cases[i].date);

		if (ms != cases[i].wanted)
			fail_msg("%s: %lld", cases[i].value, (long long)ms);
	}
	assert_int_equal(wait_of(m, "x-rate-limit-reset", "7", NULL), 7000);
	assert_int_equal(wait_of(m, "x-wait", "7", NULL), 0);
	manifest_free(m);
}

/* The manifest's order; a header that says nothing useful leaves the word to the next. */
static void order_of_headers(void **state)
{
	struct manifest *m = load(with_rules);
	struct answer both = { 429, NULL, { "retry-after", "9", "x-wait", "4" } };
	struct answer bad_first = { 429, NULL, { "retry-after", "9", "x-wait", "later" } };
	struct answer zero_first = { 429, NULL, { "retry-after", "9", "x-wait", "0" } };

	assert_int_equal(judge(m, &both, false).retry_after_ms, 4000);
	assert_int_equal(judge(m, &bad_first, false).retry_after_ms, 9000);
	assert_int_equal(judge(m, &zero_first, false).retry_after_ms, 9000);
	manifest_free(m);
}

/* Anything but what is good, be it nothing at all. */
static void whatever_is_none_of_these(void **state)
{
	static const struct {
		struct answer answer;
		enum err_class class;
	} cases[] = {
		{ { 207, "{\"state\": \"ok\"}", { 0 } }, ERR_NONE },
		{ { 207, "{\"state\": \"fine\"}", { 0 } }, ERR_NONE },
		{ { 207, "{\"state\": \"bad\"}", { 0 } }, ERR_CLIENT },
		{ { 207, "{\"state\": null}", { 0 } }, ERR_CLIENT },
		{ { 207, "{}", { 0 } }, ERR_CLIENT },
		{ { 207, NULL, { 0 } }, ERR_CLIENT },
		{ { 200, "{}", { 0 } }, ERR_NONE },
	};
	struct manifest *m = load(with_rules);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = judge(m, &cases[i].answer, false);

		assert_int_equal(err.class, cases[i].class);
		if (err.class)
			assert_string_equal(err.rule, "errors[6]");
	}
	manifest_free(m);
}

/* A server of mail counts the other way round. */
static void replies_of_mail(void **state)
{
	static const struct {
		int status;
		enum err_class class;
		const char *rule;
	} cases[] = {
		{ 250, ERR_NONE, "" },
		{ 421, ERR_TRANSIENT, "smtp 421" },
		{ 451, ERR_TRANSIENT, "smtp 4yz" },
		{ 454, ERR_TRANSIENT, "smtp 4yz" },
		{ 530, ERR_AUTH, "smtp 530" },
		{ 535, ERR_AUTH, "smtp 535" },
		{ 550, ERR_CLIENT, "smtp 5yz" },
		{ 503, ERR_CLIENT, "smtp 5yz" },
	};
	struct manifest *m = load(plain);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_response r;
		struct err err;

		http_response_init(&r);
		r.status = cases[i].status;
		r.mail = true;
		buf_puts(&r.body, "550 5.1.1 no");
		classify(m, &r, NULL, false, NOW_MS, &err);
		assert_int_equal(err.class, cases[i].class);
		assert_string_equal(err.rule, cases[i].rule);
		http_response_clear(&r);
	}
	manifest_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(failures),
		cmocka_unit_test(rules_come_first),
		cmocka_unit_test(messages),
		cmocka_unit_test(waits),
		cmocka_unit_test(order_of_headers),
		cmocka_unit_test(whatever_is_none_of_these),
		cmocka_unit_test(replies_of_mail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
