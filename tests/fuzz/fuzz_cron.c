/* Schedules that people type: whatever is accepted comes, after the time it was asked for, and at a time that it names. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cron.h"
#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void follow(const struct cron *c, const char *zone, int64_t from_s)
{
	const struct zone *z = zone_get(zone);
	bool utc = strcmp(zone, "UTC") == 0;
	int64_t t = from_s;

	for (int i = 0; i < 4; i++) {
		int64_t next = cron_next_s(c, z, t), local;

		need(next > t && next < t + INT64_C(41) * 366 * 86400);
		local = next + zone_offset_s(z, next);
		need(!utc || c->minutes >> (local / 60 % 60) & 1);
		need(cron_next_s(c, z, next - 1) == next);
		t = next;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(size ? (const char *)data : "", size), why[CRON_WHY_MAX] = "";
	struct cron c;

	if (cron_parse(text, &c, why) == 0) {
		need(c.minutes && c.hours && c.days && c.months && c.weekdays);
		follow(&c, "UTC", 1767225600);
		follow(&c, "Europe/Berlin", 1774659600);    /* a day before clocks go forward */
		follow(&c, "America/New_York", 1793422800); /* and back */
	} else {
		need(*why && memchr(why, 0, sizeof(why)));
	}
	free(text);
	return 0;
}
