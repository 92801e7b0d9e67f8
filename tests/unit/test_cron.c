/* Times as crontab has them: what is read, what is refused and in which words, and when the next one is, over changes of clocks. */
#include "common/base/cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"

static struct cron read_one(const char *text)
{
	char why[CRON_WHY_MAX] = "";
	struct cron c;

	if (cron_parse(text, &c, why) < 0)
		fail_msg("\"%s\": %s", text, why);
	return c;
}

static int64_t at(const char *iso)
{
	int64_t us;

	assert_int_equal(clock_parse_time(iso, &us, NULL), 0);
	return us / 1000000;
}

/* The times that follow `from`, one after the other, in UTC. */
static void follows(const char *text, const char *zone, const char *from, const char *const *wanted)
{
	struct cron c = read_one(text);
	const struct zone *z = zone ? zone_get(zone) : NULL;
	int64_t t = at(from);
	char shown[CLOCK_ISO_MAX];

	assert_true(!zone || z);
	for (; *wanted; wanted++) {
		t = cron_next_s(&c, z, t);
		if (t != at(*wanted))
			fail_msg("%s in %s: %s instead of %s", text, zone ? zone : "UTC",
				 clock_iso(t * 1000, shown), *wanted);
	}
}
#define FOLLOWS(text, zone, from, ...) \
	follows(text, zone, from, (const char *const[]){ __VA_ARGS__, NULL })

static void fields(void **state)
{
	FOLLOWS("30 4 * * *", NULL, "2026-11-21T04:30Z", "2026-11-22T04:30Z", "2026-11-23T04:30Z");
	FOLLOWS("*/20 * * * *", NULL, "2026-11-21T23:25Z", "2026-11-21T23:40Z",
		"2026-11-22T00:00Z");
	FOLLOWS("5,50 9-17/4 * * *", NULL, "2026-11-21T00:00Z", "2026-11-21T09:05Z",
		"2026-11-21T09:50Z", "2026-11-21T13:05Z");
	FOLLOWS("0 6 * * mon-fri", NULL, "2026-11-20T07:00Z" /* a Friday */, "2026-11-23T06:00Z");
	FOLLOWS("0 6 * * 0", NULL, "2026-11-20T07:00Z", "2026-11-22T06:00Z");
	FOLLOWS("0 6 * * 7", NULL, "2026-11-20T07:00Z", "2026-11-22T06:00Z");
	FOLLOWS("0 0 29 2 *", NULL, "2026-01-01", "2028-02-29", "2032-02-29");
	FOLLOWS("0 0 29 FEB *", NULL, "2096-03-01", "2104-02-29"); /* 2100 has none */
	FOLLOWS("59 23 31 12 */7", NULL, "2035-01-01", "2045-12-31T23:59Z");
	FOLLOWS("0 0 29 2 */7", NULL, "2088-03-01", "2128-02-29"); /* the longest there is */
	FOLLOWS("\t 1  2 3 4\t* ", NULL, "2026-01-01", "2026-04-03T02:01Z");
}

/* As cron has it: where both are restricted either will do. */
static void days(void **state)
{
	FOLLOWS("0 0 13 * fri", NULL, "2026-11-12T12:00Z", "2026-11-13", "2026-11-20", "2026-11-27",
		"2026-12-04", "2026-12-11", "2026-12-13");
	FOLLOWS("0 0 */2 * fri", NULL, "2026-11-12T12:00Z", "2026-11-13", "2026-11-27");
	FOLLOWS("0 0 31 * *", NULL, "2026-03-31T12:00Z", "2026-05-31");
}

static void clocks_go_forward(void **state)
{
	/* 2026-03-29: 2:00 is 3:00 in Berlin. What never comes is taken an hour later, once. */
	FOLLOWS("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00Z", "2026-03-28T01:30Z",
		"2026-03-29T01:30Z", "2026-03-30T00:30Z");
	/* 2:30 stands at 3:30 then, and 3:00 before it. */
	FOLLOWS("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z",
		"2026-03-29T01:30Z", "2026-03-30T00:00Z");
	FOLLOWS("30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T00:30Z",
		"2026-03-29T01:30Z", "2026-03-29T02:30Z");
}

static void clocks_go_back(void **state)
{
	/* 2026-10-25: 3:00 is 2:00 in Berlin. What comes twice is taken once. */
	FOLLOWS("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z",
		"2026-10-26T01:30Z");
	FOLLOWS("30 4 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T03:30Z",
		"2026-10-26T03:30Z");
	/* But hours that pass are hours. */
	FOLLOWS("30 * * * *", "Europe/Berlin", "2026-10-25T00:00Z", "2026-10-25T00:30Z",
		"2026-10-25T01:30Z", "2026-10-25T02:30Z");
	FOLLOWS("*/30 * * * *", "America/New_York", "2026-11-01T05:00Z", "2026-11-01T05:30Z",
		"2026-11-01T06:00Z", "2026-11-01T06:30Z", "2026-11-01T07:00Z");
}

static void zones(void **state)
{
	FOLLOWS("0 0 * * *", "Asia/Kolkata", "2026-11-21T00:00Z", "2026-11-21T18:30Z");
	FOLLOWS("0 0 1 * *", "Pacific/Auckland", "2026-11-21T00:00Z", "2026-11-30T11:00Z");
	FOLLOWS("0 12 * * *", "+02:00", "2026-11-21T00:00Z", "2026-11-21T10:00Z");
	FOLLOWS("59 23 31 12 *", NULL, "2026-12-31T23:59Z", "2027-12-31T23:59Z");
}

static void refused(void **state)
{
	static const struct {
		const char *text, *why;
	} v[] = {
		{ "", "0 of five fields" },
		{ "30 4 * *", "4 of five fields" },
		{ "30 4 * * * *", "\"*\" stands after the five fields" },
		{ "60 4 * * *", "\"60\" is no minute: 0 to 59" },
		{ "30 24 * * *", "\"24\" is no hour" },
		{ "30 4 0 * *", "\"0\" is no day of the month" },
		{ "30 4 * 13 *", "\"13\" is no month" },
		{ "30 4 * * 8", "\"8\" is no day of the week" },
		{ "30 4 * * mo", "\"mo\" is no day of the week" },
		{ "30 4 * * monday", "\"monday\" is no day" },
		{ "5-1 4 * * *", "\"5-1\"" },
		{ "*/0 4 * * *", "\"*/0\"" },
		{ "5/2 4 * * *", "\"5/2\"" },
		{ "1,,2 4 * * *", "\"1,,2\"" },
		{ "1, 4 * * *", "\"1,\"" },
		{ "-1 4 * * *", "\"-1\"" },
		{ "0001 4 * * *", "\"0001\"" },
		{ "@daily", "\"@daily\" is no minute" },
		{ "0 0 30 2 *", "never come" },
		{ "0 0 31 4,6,9,11 *", "never come" },
	};
	char why[CRON_WHY_MAX], text[CRON_MAX + 10];
	struct cron c = { .hours = 77 };

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		*why = 0;
		assert_true(cron_parse(v[i].text, &c, why) < 0);
		if (!strstr(why, v[i].why))
			fail_msg("%s: %s", v[i].text, why);
	}
	assert_int_equal(c.hours, 77);
	memset(text, '1', sizeof(text));
	text[sizeof(text) - 1] = 0;
	assert_true(cron_parse(text, &c, why) < 0);
	/* The other day will do. */
	read_one("0 0 30 2 mon");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(days),
		cmocka_unit_test(clocks_go_forward),
		cmocka_unit_test(clocks_go_back),
		cmocka_unit_test(zones),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
