#include "common/queue/job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

static void lanes(void **state)
{
	enum lane l = LANE_LOW;

	assert_int_equal(lane_parse("high", &l), 0);
	assert_int_equal(l, LANE_HIGH);
	assert_int_equal(lane_parse("normal", &l), 0);
	assert_int_equal(l, LANE_NORMAL);
	assert_int_equal(lane_parse("urgent", &l), -EINVAL);
	assert_int_equal(lane_parse(NULL, &l), -EINVAL);
	assert_int_equal(l, LANE_NORMAL);
	assert_string_equal(lane_name(LANE_LOW), "low");
}

/* ---- members ---- */

static int member(const char *m, struct job_header *h, int64_t *integration, const char **payload,
		  size_t *len)
{
	return job_member_parse(m, strlen(m), h, integration, payload, len);
}

static void member_parts(void **state)
{
	const char *m =
		"100000000000042 7 5f3-2a 3 1 1700000000000 since=17 x=y\n{\"task\":\"a\"}\nb";
	struct job_header h;
	int64_t integration;
	const char *payload;
	size_t len;

	assert_int_equal(member(m, &h, &integration, &payload, &len), 0);
	assert_int_equal(integration, 7);
	assert_string_equal(h.id, "5f3-2a");
	assert_int_equal(h.attempts, 3);
	assert_int_equal(h.crashes, 1);
	assert_int_equal(h.born_ms, 1700000000000);
	assert_int_equal(h.extra_len, strlen(" since=17 x=y"));
	assert_memory_equal(h.extra, " since=17 x=y", h.extra_len);
	assert_string_equal(payload, "{\"task\":\"a\"}\nb");
	assert_int_equal(len, strlen(payload));

	struct buf b = BUF_INIT;
	h.attempts = 4;
	job_header_print(&h, &b);
	assert_string_equal(b.data, "5f3-2a 4 1 1700000000000 since=17 x=y");
	buf_clear(&b);
}

static void member_without_extra(void **state)
{
	struct job_header h;
	int64_t integration;
	const char *payload;
	size_t len;

	assert_int_equal(member("000000000000001 0 a 0 0 5\n", &h, &integration, &payload, &len),
			 0);
	assert_int_equal(h.extra_len, 0);
	assert_int_equal(len, 0);
	assert_int_equal(h.born_ms, 5);
}

static void members_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"1\n",
		"100000000000042 7 id 0 0 5",
		"200000000000042 7 id 0 0 5\nx",
		"10000000000042 7 id 0 0 5\nx",
		"1000000000000042 7 id 0 0 5\nx",
		"100000000000042 -7 id 0 0 5\nx",
		"100000000000042 7 id 0 0\nx",
		"100000000000042 7 id 0 0 \nx",
		"100000000000042 7 id 0 0 5z\nx",
		"100000000000042 7  0 0 5\nx",
		"100000000000042 7 id x 0 5\nx",
		"100000000000042 7 id 9999999999 0 5\nx",
		"100000000000042 7 id 0 0 1234567890123456\nx",
		"{\"task\":\"a\"}\n",
		"100000000000042 \n 7 id 0 0 5\nx",
		"100000000000042 7 0123456789012345678901234567890123456789012345678901234567890123 0 0 5\nx",
	};
	struct job_header h;
	int64_t integration;
	const char *payload;
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(member(bad[i], &h, &integration, &payload, &len), -EBADMSG);
}

/* ---- payloads ---- */

static void everything_said(void **state)
{
	const char *p =
		"{\"task\":\"import_resources\",\"integration_id\":7,\"args\":{\"mode\":\"full\"},"
		"\"id\":\"mine\",\"max_retries\":3,\"run_at\":1700000000000,\"expires_in\":300,\"unique\":\"u\","
		"\"idempotency_key\":\"k\",\"parent\":\"p\",\"run_id\":12,\"run_home\":\"guesty\",\"result_ttl\":60,\"record\":true,\"traceparent\":\"t\",\"v\":1,\"new\":[]}";
	struct job j;

	assert_int_equal(job_parse(p, strlen(p), &j, NULL), 0);
	assert_string_equal(j.task, "import_resources");
	assert_int_equal(j.integration_id, 7);
	assert_string_equal(json_str(j.args, "mode"), "full");
	assert_string_equal(j.id, "mine");
	assert_int_equal(j.max_retries, 3);
	assert_false(j.no_retry);
	assert_int_equal(j.run_at_ms, 1700000000000);
	assert_int_equal(j.expires_in_s, 300);
	assert_string_equal(j.unique, "u");
	assert_string_equal(j.idempotency_key, "k");
	assert_string_equal(j.parent, "p");
	assert_string_equal(j.traceparent, "t");
	assert_int_equal(j.run_id, 12);
	assert_string_equal(j.run_home, "guesty");
	assert_int_equal(j.result_ttl_s, 60);
	assert_true(j.record);
	job_clear(&j);
}

static void printed_fields(void **state)
{
	struct buf b = BUF_INIT;

	job_print(&b, "t", 0, NULL, 4, NULL);
	job_print_run_home(&b, NULL);
	job_print_result_ttl(&b, 0);
	assert_string_equal(buf_str(&b), "{\"task\":\"t\",\"run_id\":4}");
	job_print_run_home(&b, "guesty");
	job_print_result_ttl(&b, 60);
	assert_string_equal(
		buf_str(&b),
		"{\"task\":\"t\",\"run_id\":4,\"run_home\":\"guesty\",\"result_ttl\":60}");
	buf_clear(&b);
}

static void only_a_task(void **state)
{
	const char *p = " {\"task\":\"noop\",\"args\":null,\"max_retries\":0,\"Task\":5} ";
	struct job j;

	assert_int_equal(job_parse(p, strlen(p), &j, NULL), 0);
	assert_string_equal(j.task, "noop");
	assert_null(j.args);
	assert_null(j.id);
	assert_int_equal(j.integration_id, 0);
	assert_true(j.no_retry);
	job_clear(&j);
	p = "{\"task\":\"noop\"}";
	assert_int_equal(job_parse(p, strlen(p), &j, NULL), 0);
	assert_int_equal(j.max_retries, -1);
	assert_false(j.no_retry);
	job_clear(&j);
}

/* What was found and what is expected must both be in the text. */
static void refused(const char *p, size_t len, const char *found, const char *expected)
{
	struct err err = { 0 };
	struct job j;

	assert_int_equal(job_parse(p, len, &j, &err), -EINVAL);
	assert_int_equal(err.class, ERR_BAD_JOB);
	if (!strstr(err.text, found) || !strstr(err.text, expected))
		fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.text, found, expected);
}

static void bad_payloads(void **state)
{
	static const struct {
		const char *payload, *found, *expected;
	} bad[] = {
		{ "", "not JSON", "a job is a JSON object" },
		{ "hello", "line 1 column 1", "a job is a JSON object" },
		{ "{\n \"task\": }", "line 2", "a job is a JSON object" },
		{ "[1]", "an array", "a job is a JSON object" },
		{ "null", "null", "a job is a JSON object" },
		{ "\"text\"", "a text", "a job is a JSON object" },
		{ "{}", "no \"task\"", "names its task" },
		{ "{\"task\":null}", "no \"task\"", "names its task" },
		{ "{\"task\":7}", "a number", "the name of a task" },
		{ "{\"task\":\"\"}", "empty", "the name of a task" },
		{ "{\"task\":\"a\",\"args\":[]}", "an array", "an object" },
		{ "{\"task\":\"a\",\"integration_id\":\"7\"}", "a text", "a positive integer" },
		{ "{\"task\":\"a\",\"integration_id\":0}", "is 0", "a positive integer" },
		{ "{\"task\":\"a\",\"integration_id\":-3}", "is -3", "a positive integer" },
		{ "{\"task\":\"a\",\"integration_id\":1.5}", "is 1.5", "a positive integer" },
		{ "{\"task\":\"a\",\"integration_id\":1e30}", "is 1e+30", "at most 15 digits" },
		{ "{\"task\":\"a\",\"max_retries\":-1}", "is -1", "an integer from 0" },
		{ "{\"task\":\"a\",\"max_retries\":100000}", "100000", "at most 1000" },
		{ "{\"task\":\"a\",\"run_at\":\"now\"}", "a text", "an integer" },
		{ "{\"task\":\"a\",\"expires_in\":0}", "is 0", "a positive integer" },
		{ "{\"task\":\"a\",\"unique\":1}", "a number", "a text" },
		{ "{\"task\":\"a\",\"result_ttl\":0}", "is 0", "a positive integer" },
		{ "{\"task\":\"a\",\"result_ttl\":86401}", "86401", "at most 86400" },
		{ "{\"task\":\"a\",\"record\":1}", "a number", "true or false" },
		{ "{\"task\":\"a\",\"run_home\":5}", "a number", "a text" },
		{ "{\"task\":\"a\",\"run_home\":\"a}:b\"}", "a}:b", "a partner's name" },
		{ "{\"task\":\"a\",\"record\":true,\"id\":"
		  "\"0123456789012345678901234567890123456789012345678901234567890123\"}",
		  "64 bytes", "at most 63" },
		{ "{\"task\":\"a\",\"id\":\"\"}", "empty", "a text" },
		{ "\x01{\"task\":\"a\"}", "0x01", "a job is a JSON object" },
		{ "{\"task\":\"\xff\xfe\"}", "not UTF-8", "a job is a JSON object" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused(bad[i].payload, strlen(bad[i].payload), bad[i].found, bad[i].expected);
	refused("{\"task\":\"a\0b\"}", 14, "not JSON", "a job is a JSON object");
}

static void too_large(void **state)
{
	char *p = mem_alloc(JOB_MAX_BYTES + 1);

	memset(p, ' ', JOB_MAX_BYTES + 1);
	memcpy(p, "{\"task\":\"a\"}", 12);
	refused(p, JOB_MAX_BYTES + 1, "1048577 bytes", "at most 1048576");
	struct job j;
	assert_int_equal(job_parse(p, JOB_MAX_BYTES, &j, NULL), 0);
	job_clear(&j);
	memset(p, '[', JOB_MAX_BYTES);
	refused(p, JOB_MAX_BYTES, "nested", "a job is a JSON object");
	free(p);
}

static void children_round_trip(void **state)
{
	struct buf b = BUF_INIT;
	cJSON *args = cJSON_CreateObject();
	struct job j;

	cJSON_AddStringToObject(args, "external_id", "a\"b\\c");
	job_print(&b, "import_resource", 9007199254740991 / 10, args, 5, "01PARENT");
	assert_int_equal(job_parse(b.data, b.len, &j, NULL), 0);
	assert_string_equal(j.task, "import_resource");
	assert_int_equal(j.integration_id, 9007199254740991 / 10);
	assert_string_equal(json_str(j.args, "external_id"), "a\"b\\c");
	assert_int_equal(j.run_id, 5);
	assert_string_equal(j.parent, "01PARENT");
	job_clear(&j);
	buf_reset(&b);
	job_print(&b, "noop", 0, NULL, 0, NULL);
	assert_string_equal(b.data, "{\"task\":\"noop\"}");
	buf_clear(&b);
	cJSON_Delete(args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lanes),
		cmocka_unit_test(member_parts),
		cmocka_unit_test(member_without_extra),
		cmocka_unit_test(members_that_are_none),
		cmocka_unit_test(everything_said),
		cmocka_unit_test(printed_fields),
		cmocka_unit_test(only_a_task),
		cmocka_unit_test(bad_payloads),
		cmocka_unit_test(too_large),
		cmocka_unit_test(children_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
