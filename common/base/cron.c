#include "common/base/cron.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DAY_S 86400
/* 29 February comes after eight years at the latest; on one day of the week alone (a step of that field begins with `*`), after forty. */
#define DAYS_MAX (41 * 366)
#define EVERY_HOUR 0xffffffU

static const char *const months[] = { "jan", "feb", "mar", "apr", "may", "jun",
				      "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekdays[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static const struct field {
	const char *name;
	int low, high;
	const char *const *names; /* NULL: numbers only */
	int n_names;
} fields[] = {
	{ "minute", 0, 59, NULL, 0 },
	{ "hour", 0, 23, NULL, 0 },
	{ "day of the month", 1, 31, NULL, 0 },
	{ "month", 1, 12, months, 12 },
	{ "day of the week", 0, 7, weekdays, 7 },
};
#define N_FIELDS 5

static int __attribute__((format(printf, 2, 3))) refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CRON_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- parsing ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number without bounds but that of three digits. */
static int take_number(const char **p, const char *end, int *out)
{
	int n = 0, digits = 0;

	for (; *p < end && is_digit(**p) && digits < 3; (*p)++, digits++)
		n = n * 10 + (**p - '0');
	if (!digits || (*p < end && is_digit(**p)))
		return -EINVAL;
	*out = n;
	return 0;
}

static int take_value(const struct field *f, const char **p, const char *end, int *out)
{
	if (*p < end && is_digit(**p)) {
		int rc = take_number(p, end, out);

		return rc == 0 && *out >= f->low && *out <= f->high ? 0 : -EINVAL;
	}
	for (int i = 0; i < f->n_names; i++) {
		if (end - *p >= 3 && strncasecmp(*p, f->names[i], 3) == 0) {
			*p += 3;
			*out = f->low + i;
			return 0;
		}
	}
	return -EINVAL;
}

/* One item of a list, whole. */
static int take_item(const struct field *f, const char *p, const char *end, uint64_t *set)
{
	int from = f->low, to = f->high == 7 ? 6 : f->high, step = 1;
	bool range = false;

	if (p < end && *p == '*') {
		p++;
		range = true;
	} else {
		if (take_value(f, &p, end, &from) < 0)
			return -EINVAL;
		to = from;
		if (p < end && *p == '-') {
			p++;
			range = true;
			if (take_value(f, &p, end, &to) < 0 || to < from)
				return -EINVAL;
		}
	}
	if (p < end && *p == '/') {
		p++;
		if (!range || take_number(&p, end, &step) < 0 || step < 1)
			return -EINVAL;
	}
	for (int v = from; v <= to; v += step)
		*set |= UINT64_C(1) << (f->high == 7 && v == 7 ? 0 : v); /* Sunday is both */
	return p == end ? 0 : -EINVAL;
}

static int take_field(const struct field *f, const char *text, size_t len, uint64_t *set, char *why)
{
	const char *p = text, *end = text + len;

	*set = 0;
	while (p <= end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *to = comma ? comma : end;

		if (take_item(f, p, to, set) < 0)
			return refuse(
				why,
				"\"%.*s\" is no %s: %d to %d%s%s, *, a range a-b, steps (*/n, a-b/n), or a list of these with commas is expected",
				(int)(len < 40 ? len : 40), text, f->name, f->low, f->high,
				f->n_names ? ", a name such as " : "",
				f->n_names ? f->names[f->n_names - 1] : "");
		p = to + 1;
	}
	return 0;
}

/* 30 February never comes. */
static bool comes(const struct cron *c)
{
	static const int lengths[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (c->any_day || !c->any_weekday)
		return true;
	for (int m = 1; m <= 12; m++)
		for (int d = 1; d <= lengths[m - 1]; d++)
			if ((c->months >> m & 1) && (c->days >> d & 1))
				return true;
	return false;
}

int cron_parse(const char *text, struct cron *out, char why[CRON_WHY_MAX])
{
	uint64_t sets[N_FIELDS];
	bool any[N_FIELDS];
	const char *p = text;

	if (strlen(text) > CRON_MAX)
		return refuse(why, "longer than %d bytes", CRON_MAX);
	for (int i = 0; i < N_FIELDS; i++) {
		p += strspn(p, " \t");
		size_t len = strcspn(p, " \t");

		if (!len)
			return refuse(
				why,
				"%d of five fields: minute, hour, day of the month, month, day of the week, such as \"30 4 * * *\"",
				i);
		if (take_field(&fields[i], p, len, &sets[i], why) < 0)
			return -EINVAL;
		any[i] = *p == '*';
		p += len;
	}
	p += strspn(p, " \t");
	if (*p)
		return refuse(why, "\"%.40s\" stands after the five fields", p);
	struct cron c = { .minutes = sets[0],
			  .hours = (uint32_t)sets[1],
			  .days = (uint32_t)sets[2],
			  .months = (uint32_t)sets[3],
			  .weekdays = (uint32_t)sets[4],
			  .any_day = any[2],
			  .any_weekday = any[4] };
	if (!comes(&c))
		return refuse(why, "no month that it names has such a day: it would never come");
	*out = c;
	return 0;
}

/* ---- the next time ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970 to month and day (Howard Hinnant's algorithm). */
static void civil(int64_t days, int *month, int *day)
{
	int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
}

static bool has_day(const struct cron *c, int64_t days)
{
	int month, day, weekday = (int)(((days + 4) % 7 + 7) % 7); /* 1970 began on a Thursday */

	civil(days, &month, &day);
	if (!(c->months >> month & 1))
		return false;
	bool by_day = c->days >> day & 1, by_weekday = c->weekdays >> weekday & 1;
	return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* Every hour is named: real minutes are counted.  The first of that day after after_s, or INT64_MAX. */
static int64_t by_minutes(const struct cron *c, const struct zone *z, int64_t day, int64_t after_s)
{
	int64_t t = zone_to_utc_s(z, day * DAY_S);

	if (t <= after_s)
		t = after_s + 1;
	for (;;) {
		int64_t local = t + zone_offset_s(z, t);

		if (floor_div(local, DAY_S) != day)
			return INT64_MAX;
		if (local % 60 == 0 && (c->minutes >> (local / 60 % 60) & 1))
			return t;
		t += 60 - local % 60;
	}
}

/* Named times of a day; where clocks change within it they may stand in another order than on paper. */
static int64_t by_times(const struct cron *c, const struct zone *z, int64_t day, int64_t after_s)
{
	int64_t midnight = day * DAY_S, best = INT64_MAX;
	int64_t before = zone_offset_s(z, midnight - DAY_S);
	bool steady = before == zone_offset_s(z, midnight + 2 * DAY_S);

	for (int h = 0; h < 24; h++) {
		for (int m = 0; m < 60 && (c->hours >> h & 1); m++) {
			int64_t local = midnight + h * 3600 + m * 60, t;

			if (!(c->minutes >> m & 1))
				continue;
			t = steady ? local - before : zone_to_utc_s(z, local);
			if (t <= after_s || t >= best)
				continue;
			best = t;
			if (steady)
				return t;
		}
	}
	return best;
}

int64_t cron_next_s(const struct cron *c, const struct zone *z, int64_t after_s)
{
	/* From the day before: what a change of clocks has put off may fall into this one. */
	int64_t day = floor_div(after_s + zone_offset_s(z, after_s), DAY_S) - 1;

	for (int i = 0; i < DAYS_MAX; i++, day++) {
		int64_t t;

		if (!has_day(c, day))
			continue;
		t = c->hours == EVERY_HOUR ? by_minutes(c, z, day, after_s)
					   : by_times(c, z, day, after_s);
		if (t != INT64_MAX)
			return t;
	}
	return INT64_MAX; /* not reached: cron_parse refuses what never comes */
}
