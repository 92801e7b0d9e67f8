/* What a partner is asked, as its manifest says it: versions, zones, windows of time, forms; and answers in other formats,
 * through the door to the records. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/paginate_parts.h"
#include "tests/unit/partner.h"

#define MAP ",\"table\":\"resources\",\"map\":{\"name\":\"name\",\"city\":\"c\"}}}"
#define THINGS(more) ",\"collections\":{\"things\":{\"id\":\"id\"," more MAP
#define NOW_US (redis_now_us(redis))
#define DAY_US INT64_C(86400000000)

static const char *said, *said_type;

static void answer_said(struct httpd_request *q, int number)
{
	httpd_reply(q, 200, said_type, said, strlen(said));
}

struct asked {
	int pages, records;
	bool complete;
	char text[200];
};

/* One scan of "things", of which each page may be an attempt of its own. */
static struct asked ask(const char *api, const char *rest, int64_t since_us, bool in_attempts)
{
	struct asked got = { 0 };
	cJSON *state = NULL;
	int rc = 1;

	partner.n = 0;
	redis_run("FLUSHALL", NULL);
	while (rc > 0) {
		struct pager_options o = { .since_us = since_us, .resume = state };
		struct pager *p = NULL;
		struct err err = { 0 };
		struct bench b;

		bench_open(&b, api, rest, NULL, 5, 5000);
		o.collection = &b.manifest->collections[0];
		rc = pager_new(&b.caller, &o, &p, &err) < 0 ? -1 : 1;
		for (bool more = true; rc > 0 && more; more = !in_attempts) {
			struct page page;

			rc = pager_next(p, &page, &err);
			got.pages += rc > 0;
			got.records += page.n;
			page_clear(&page);
		}
		cJSON_Delete(state);
		state = p ? pager_state(p) : NULL;
		got.complete = p && pager_complete(p, NULL);
		keep(got.text, sizeof(got.text), err.text);
		pager_free(p);
		bench_close(&b);
	}
	cJSON_Delete(state);
	return got;
}

static void one_list(void)
{
	said = "[{\"id\":1,\"name\":\"a\"}]";
	said_type = "application/json";
	partner.answer = answer_said;
}

/* ---- versions ---- */

static void body_version(void)
{
	one_list();
	OK(ask(",\"version\":{\"value\":\"v7\",\"in\":\"path\"}", THINGS("\"get\":\"/things\""), 0,
	       false)
		   .records == 1);
	OK(strcmp(partner.arrivals[0].path, "/v1/v7/things") == 0);
	OK(ask(",\"version\":{\"value\":\"2024-07\",\"in\":\"header\",\"name\":\"X-Account\"}",
	       THINGS("\"get\":\"/things\""), 0, false)
		   .records == 1);
	OK(strcmp(partner.arrivals[0].path, "/v1/things") == 0);
	OK(strcmp(partner.arrivals[0].pinned, "2024-07") == 0);
	OK(ask(",\"version\":\"v1\"", THINGS("\"get\":\"/things\""), 0, false).records == 1);
	OK(strcmp(partner.arrivals[0].path, "/v1/things") == 0 && !partner.arrivals[0].pinned[0]);
}

/* ---- settings ---- */

/* One that nobody has set has its default. */
static void body_defaults(void)
{
	one_list();
	OK(ask(",\"headers\":{\"X-Account\":\"{cfg.shop}\"}",
	       ",\"settings\":{\"shop\":{\"as\":\"int\",\"default\":17},\"lang\":{\"default\":\"en\"}}" THINGS(
		       "\"get\":\"/things/{cfg.lang}\",\"query\":{\"s\":\"{cfg.shop}\"}"),
	       0, false)
		   .records == 1);
	OK(strcmp(partner.arrivals[0].path, "/v1/things/en") == 0);
	OK(strcmp(partner.arrivals[0].query, "s=17") == 0);
	OK(strcmp(partner.arrivals[0].pinned, "17") == 0);
	OK(ask("", THINGS("\"get\":\"/things/{cfg.lang}\""), 0, false).text[0] != '\0');
}

/* ---- times ---- */

#define SINCE(more)                                                                                             \
	"\"get\":\"/things\",\"updated_at\":\"u\",\"incremental\":{\"param\":\"since\",\"overlap\":\"0s\"" more \
	"}"

static void asks_since(const char *more, int64_t since_us, const char *want)
{
	char *rest = mem_printf(THINGS("%s"), more);

	one_list();
	OK(ask("", rest, since_us, false).complete);
	if (strcmp(partner.arrivals[0].query, want) != 0)
		fprintf(stderr, "asked: %s\n", partner.arrivals[0].query);
	OK(strcmp(partner.arrivals[0].query, want) == 0);
	free(rest);
}

static void body_zones(void)
{
	const int64_t summer = INT64_C(1784116800123000), winter = INT64_C(1768478400000000);

	asks_since(SINCE(",\"format\":\"%Y-%m-%d %H:%M:%S\",\"tz\":\"Europe/Berlin\""), summer,
		   "since=2026-07-15%2014%3A00%3A00");
	asks_since(SINCE(",\"format\":\"%H:%M %z\",\"tz\":\"Europe/Berlin\""), winter,
		   "since=13%3A00%20%2B0100");
	asks_since(SINCE(",\"format\":\"iso8601_ms\",\"tz\":\"-03:30\""), summer,
		   "since=2026-07-15T08%3A30%3A00.123-03%3A30");
	asks_since(SINCE(",\"format\":\"epoch\",\"tz\":\"-03:30\""), summer, "since=1784116800");
	asks_since(SINCE(""), summer, "since=2026-07-15T12%3A00%3A00Z");
}

/* ---- windows ---- */

#define STEPS                                                                                                          \
	"\"get\":\"/things\",\"query\":{\"to\":\"{until}\"},\"updated_at\":\"u\",\"incremental\":{\"param\":\"from\"," \
	"\"format\":\"epoch\",\"overlap\":\"0s\",\"step\":\"60d\",\"lookback_first\":\"1d\"}"

static int64_t number_of(int i, const char *name)
{
	const char *s = strstr(partner.arrivals[i].query, name);

	OK(s != NULL);
	return s ? strtoll(s + strlen(name), NULL, 10) : 0;
}

static void answer_window(struct httpd_request *q, int number)
{
	char text[64];

	snprintf(text, sizeof(text), "[{\"id\":%d,\"name\":\"a\"}]", number);
	reply_json(q, 200, text);
}

/* From `since` to now without a gap, each window at most the step, the last one open: in one attempt, and in as many as there
 * are pages. */
static void walks_windows(bool in_attempts)
{
	int64_t since_us = NOW_US - 150 * DAY_US;
	struct asked got;

	partner.answer = answer_window;
	got = ask("", THINGS(STEPS), since_us, in_attempts);
	OK(got.complete && got.pages == 3 && got.records == 3 && partner.n == 3);
	OK(number_of(0, "from=") == since_us / 1000000);
	for (int i = 0; i < 2; i++) {
		OK(number_of(i, "to=") - number_of(i, "from=") == 60 * 86400);
		OK(number_of(i + 1, "from=") == number_of(i, "to="));
	}
	OK(number_of(2, "to=") >=
	   since_us / 1000000 + 150 * 86400 - 60); /* now, by an estimated clock */
}

static void body_windows(void)
{
	walks_windows(false);
	walks_windows(true);
	/* a full scan, and one shorter than a step, are one window */
	partner.answer = answer_window;
	OK(ask("", THINGS(STEPS), 0, false).pages == 1);
	OK(ask("", THINGS(STEPS), NOW_US - DAY_US, false).pages == 1);
}

static void answer_some_windows(struct httpd_request *q, int number)
{
	if (number == 2)
		reply_json(q, 410, "{}");
	else
		answer_window(q, number);
}

/* An answer that stands for an empty list is one window's, not that of all that follow. */
static void body_window_skipped(void)
{
	struct pager_options o = { .since_us = NOW_US - 150 * DAY_US };
	struct pager *p = NULL;
	struct err err = { 0 };
	struct page page;
	struct bench b;

	partner.n = 0;
	partner.answer = answer_some_windows;
	redis_run("FLUSHALL", NULL);
	bench_open(&b, "", THINGS(STEPS), NULL, 5, 5000);
	o.collection = &b.manifest->collections[0];
	OK(pager_new(&b.caller, &o, &p, &err) == 0);
	OK(pager_next(p, &page, &err) == 1);
	page_clear(&page);
	OK(pager_next(p, &page, &err) == -EREMOTEIO);
	page_clear(&page);
	OK(pager_skip_window(p) && !pager_complete(p, NULL));
	OK(pager_next(p, &page, &err) == 1 && partner.n == 3);
	OK(number_of(2, "from=") == number_of(1, "to="));
	page_clear(&page);
	OK(!pager_skip_window(p) && pager_next(p, &page, &err) == 0 && pager_complete(p, NULL));
	page_clear(&page);
	pager_free(p);
	bench_close(&b);
}

/* ---- bodies ---- */

static void body_forms(void)
{
	one_list();
	OK(ask(",\"body\":\"form\"",
	       THINGS("\"post\":\"/things\",\"json\":{\"a\":{\"b\":\"x y\",\"c\":[1,2,{\"d\":true}]},\"n\":null,\"e\":\"\"}"),
	       0, false)
		   .records == 1);
	OK(strcmp(partner.arrivals[0].method, "POST") == 0);
	OK(strcmp(partner.arrivals[0].body,
		  "a%5Bb%5D=x%20y&a%5Bc%5D%5B%5D=1&a%5Bc%5D%5B%5D=2&a%5Bc%5D%5B2%5D%5Bd%5D=true&e=") ==
	   0);
	OK(ask("", THINGS("\"post\":\"/things\",\"json\":{\"a\":{\"b\":\"\\\"\"}}"), 0, false)
		   .records == 1);
	OK(strcmp(partner.arrivals[0].body, "{\"a\":{\"b\":\"\\\"\"}}") == 0);
}

/* ---- answers ---- */

static struct asked ask_format(const char *format, const char *type, const char *text,
			       const char *more)
{
	char *api = mem_printf(",\"format\":\"%s\"", format),
	     *rest = mem_printf(THINGS("\"get\":\"/things\"%s"), more);
	struct asked got;

	said = text;
	said_type = type;
	partner.answer = answer_said;
	got = ask(api, rest, 0, false);
	free(api);
	free(rest);
	return got;
}

static void body_formats(void)
{
	struct asked got =
		ask_format("xml", "text/xml", "<l><t><id>1</id></t></l>", ",\"records\":\"l.t\"");

	OK(got.records == 1 && got.complete);
	OK(strcmp(partner.arrivals[0].accept, "application/xml, text/xml") == 0);
	OK(ask_format("xml", "text/xml", "<l/>", ",\"records\":\"l.t\"").complete);
	OK(ask_format("csv", "text/csv", "id,name\n1,a\n2,b\n", "").records == 2);
	OK(ask_format("jsonl", "application/x-ndjson", "{\"id\":1}\n{\"id\":2}\n", "").records ==
	   2);
	got = ask_format("xml", "text/html", "<!DOCTYPE html><html/>", ",\"records\":\"l.t\"");
	OK(!got.complete && strstr(got.text, "a document type (is it HTML?)") != NULL);
	got = ask_format("csv", "text/csv", "a,b\n1\n", "");
	OK(!got.complete && strstr(got.text, "fewer fields") != NULL);
}

#define TEST(name)                                         \
	static void test_##name(void **state)              \
	{                                                  \
		assert_int_equal(on_loop(body_##name), 0); \
	}
TEST(version)
TEST(defaults)
TEST(zones)
TEST(windows)
TEST(window_skipped)
TEST(forms)
TEST(formats)

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

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = { ON_LOOP(version),       ON_LOOP(defaults),
					    ON_LOOP(zones),         ON_LOOP(windows),
					    ON_LOOP(forms),         ON_LOOP(formats),
					    ON_LOOP(window_skipped) };

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
