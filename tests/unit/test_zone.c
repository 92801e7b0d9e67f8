/* Zones: by name from the system's database, by offset, and by the rule behind the last known change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/zone.h"
#include "common/base/zone_rule.h"

static int64_t seconds(const char *iso)
{
	int64_t us;

	assert_int_equal(clock_parse_time(iso, &us, NULL), 0);
	return us / 1000000;
}

static void fixed(void **state)
{
	static const char *const wrong[] = { "+2:00",   "+15:00",         "+02:60", "02:00",
					     "",        "/etc/passwd",    "../x",   "Europe",
					     "Europe/", "Europe/Nowhere", "utc " };

	assert_int_equal(zone_offset_s(NULL, 5), 0);
	assert_int_equal(zone_offset_s(zone_get("UTC"), 0), 0);
	assert_int_equal(zone_offset_s(zone_get("+02:00"), 0), 7200);
	assert_int_equal(zone_to_utc_s(zone_get("-03:30"), 0), 12600);
	assert_string_equal(zone_name(zone_get("+02:00")), "+02:00");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (zone_get(wrong[i]))
			fail_msg("there is no zone %s", wrong[i]);
}

/* There and back, beside what the database says of the places (RFC 8536's own examples among them). */
static void by_name(void **state)
{
	static const struct {
		const char *zone, *local, *utc;
	} cases[] = {
		{ "Europe/Berlin", "2026-01-15T12:00:00Z", "2026-01-15T11:00:00Z" },
		{ "Europe/Berlin", "2026-07-15T12:00:00Z", "2026-07-15T10:00:00Z" },
		{ "America/New_York", "2026-07-15T12:00:00Z", "2026-07-15T16:00:00Z" },
		{ "Australia/Lord_Howe", "2026-01-15T12:00:00Z", "2026-01-15T01:00:00Z" },
		{ "Australia/Lord_Howe", "2026-07-15T12:00:00Z", "2026-07-15T01:30:00Z" },
		{ "Asia/Kathmandu", "2026-07-15T12:00:00Z", "2026-07-15T06:15:00Z" },
		{ "Europe/Dublin", "2026-07-15T12:00:00Z", "2026-07-15T11:00:00Z" },
		{ "America/Sao_Paulo", "2018-12-15T12:00:00Z", "2018-12-15T14:00:00Z" },
		{ "America/Sao_Paulo", "2026-12-15T12:00:00Z", "2026-12-15T15:00:00Z" },
		{ "Europe/Berlin", "1960-06-15T12:00:00Z", "1960-06-15T11:00:00Z" },
		/* beyond what is listed: by the rule */
		{ "Europe/Berlin", "2060-07-15T12:00:00Z", "2060-07-15T10:00:00Z" },
		{ "Europe/Berlin", "2060-01-15T12:00:00Z", "2060-01-15T11:00:00Z" },
		{ "Australia/Sydney", "2060-01-15T12:00:00Z", "2060-01-15T01:00:00Z" },
		{ "Australia/Sydney", "2060-07-15T12:00:00Z", "2060-07-15T02:00:00Z" },
		/* twice: the earlier; never: as before the change */
		{ "Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z" },
		{ "Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z" },
		{ "America/New_York", "2026-11-01T01:30:00Z", "2026-11-01T05:30:00Z" },
		{ "America/New_York", "2026-03-08T02:30:00Z", "2026-03-08T07:30:00Z" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct zone *z = zone_get(cases[i].zone);
		int64_t utc;

		if (!z)
			fail_msg("no zone %s: is tzdata installed?", cases[i].zone);
		utc = zone_to_utc_s(z, seconds(cases[i].local));
		if (utc != seconds(cases[i].utc))
			fail_msg("%s %s: off by %lld s", cases[i].zone, cases[i].local,
				 (long long)(utc - seconds(cases[i].utc)));
	}
	assert_ptr_equal(zone_get("Europe/Berlin"), zone_get("Europe/Berlin"));
}

/* Where the C library is asked for every week of a century it says the same. */
static void as_the_library_says(void **state)
{
	static const char *const names[] = { "Europe/Berlin",      "America/New_York",
					     "Australia/Adelaide", "America/Santiago",
					     "Africa/Casablanca",  "Pacific/Chatham",
					     "Asia/Gaza",          "Pacific/Apia" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct zone *z = zone_get(names[i]);

		assert_non_null(z);
		setenv("TZ", names[i], 1);
		tzset();
		for (int64_t t = -1000000000; t < 2000000000; t += 604800 - 3599) {
			time_t at = (time_t)t;
			struct tm tm;

			assert_non_null(localtime_r(&at, &tm));
			if (tm.tm_gmtoff != zone_offset_s(z, t))
				fail_msg("%s at %lld: %ld, not %lld", names[i], (long long)t,
					 tm.tm_gmtoff, (long long)zone_offset_s(z, t));
		}
	}
	unsetenv("TZ");
	tzset();
}

static void rules(void **state)
{
	static const char *const wrong[] = { "",
					     "CE",
					     "CET",
					     "CET-1CEST",
					     "CET-1CEST,M3.5.0",
					     "CET-999",
					     "CET-1CEST,M13.5.0,M10.5.0",
					     "CET-1CEST,M3.6.0,M10.5.0",
					     "<+03-3",
					     "CET-1CEST,M3.5.0,M10.5.0x",
					     "CET-1CEST,J0,J5",
					     "CET-1CEST,366,5" };
	struct zone_rule r;

	assert_true(zone_rule_parse("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", &r));
	assert_int_equal(r.winter_s, -10800);
	assert_int_equal(r.summer_s, -7200);
	assert_int_equal(r.begin.at_s, -7200);
	assert_true(zone_rule_parse("IST-2IDT,J60/26,300", &r));
	assert_int_equal(zone_rule_offset_s(&r, seconds("2024-03-02T00:00:00Z") - 1), 7200);
	assert_int_equal(zone_rule_offset_s(&r, seconds("2024-03-02T00:00:00Z")), 10800);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (zone_rule_parse(wrong[i], &r))
			fail_msg("accepted: %s", wrong[i]);
}

/* Cut anywhere, a file is refused or read, and never past its end. */
static void broken_files(void **state)
{
	static const uint8_t head[44] = "TZif2";
	uint8_t *data = mem_zalloc(256);

	for (size_t n = 0; n <= sizeof(head); n++) {
		memcpy(data, head, n);
		assert_null(zone_parse("x", data, n));
	}
	memcpy(data, head, 44);
	data[35] = 200; /* changes that are not there */
	assert_null(zone_parse("x", data, 120));
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed),
		cmocka_unit_test(by_name),
		cmocka_unit_test(as_the_library_says),
		cmocka_unit_test(rules),
		cmocka_unit_test(broken_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
