#include "common/base/zone_rule.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

/* ---- reading ---- */

static bool number(const char **p, int min, int max, int *out)
{
	int n = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (int i = 0; isdigit((unsigned char)**p); i++, ++*p) {
		if (i == 4)
			return false;
		n = n * 10 + (**p - '0');
	}
	if (n < min || n > max)
		return false;
	*out = n;
	return true;
}

/* "CET", or "<+03>". */
static bool abbreviation(const char **p)
{
	const char *start = *p;

	if (**p == '<') {
		while (**p && **p != '>')
			++*p;
		return *(*p)++ == '>';
	}
	while (isalpha((unsigned char)**p))
		++*p;
	return *p - start >= 3;
}

/* "-1", "3:30", "+5:45:00": up to a week, as rules may say it. */
static bool clock_time(const char **p, int32_t *out)
{
	int sign = **p == '-' ? -1 : 1, parts[3] = { 0 };

	if (**p == '-' || **p == '+')
		++*p;
	if (!number(p, 0, 167, &parts[0]))
		return false;
	for (int i = 1; i < 3 && **p == ':'; i++) {
		++*p;
		if (!number(p, 0, 59, &parts[i]))
			return false;
	}
	*out = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
	return true;
}

static bool date(const char **p, struct zone_day *out)
{
	*out = (struct zone_day){ .kind = **p, .at_s = 2 * 3600 };
	if (**p == 'M') {
		++*p;
		if (!number(p, 1, 12, &out->month) || *(*p)++ != '.' ||
		    !number(p, 1, 5, &out->week) || *(*p)++ != '.' || !number(p, 0, 6, &out->day))
			return false;
	} else if (**p == 'J') {
		++*p;
		if (!number(p, 1, 365, &out->day))
			return false;
	} else {
		out->kind = '0';
		if (!number(p, 0, 365, &out->day))
			return false;
	}
	if (**p != '/')
		return true;
	++*p;
	return clock_time(p, &out->at_s);
}

bool zone_rule_parse(const char *text, struct zone_rule *out)
{
	struct zone_rule r = { .there = true };
	const char *p = text;

	if (!abbreviation(&p) || !clock_time(&p, &r.winter_s))
		return false;
	r.winter_s = -r.winter_s; /* west of Greenwich counts up there */
	if (*p) {
		r.summer = true;
		r.summer_s = r.winter_s + 3600;
		if (!abbreviation(&p))
			return false;
		if (*p != ',') {
			if (!clock_time(&p, &r.summer_s))
				return false;
			r.summer_s = -r.summer_s;
		}
		if (*p++ != ',' || !date(&p, &r.begin) || *p++ != ',' || !date(&p, &r.end) || *p)
			return false;
	}
	*out = r;
	return true;
}

/* ---- use ---- */

static bool is_leap(int64_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

/* Days from 1970-01-01 to the first of a month. */
static int64_t days_to(int64_t year, int month)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	int64_t y = year - 1;

	return year * 365 + y / 4 - y / 100 + y / 400 - 719527 + before[month - 1] +
	       (month > 2 && is_leap(year));
}

static int64_t month_days(int64_t year, int month)
{
	return month == 12 ? 31 : days_to(year, month + 1) - days_to(year, month);
}

/* Seconds, as if it were UTC there. */
static int64_t moment(const struct zone_day *d, int64_t year)
{
	int64_t first = days_to(year, d->kind == 'M' ? d->month : 1), day;

	if (d->kind == 'M') {
		int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */

		day = (d->day - weekday + 7) % 7 + (d->week - 1) * 7;
		if (day >= month_days(year, d->month))
			day -= 7;
	} else if (d->kind == 'J') {
		day = d->day - 1 + (d->day >= 60 && is_leap(year));
	} else {
		day = d->day;
	}
	return (first + day) * DAY_S + d->at_s;
}

int32_t zone_rule_offset_s(const struct zone_rule *r, int64_t utc_s)
{
	time_t local = (time_t)(utc_s + r->winter_s);
	int64_t begin, end;
	struct tm tm;

	if (!r->summer || !gmtime_r(&local, &tm) || tm.tm_year < -1800 || tm.tm_year > 100000)
		return r->winter_s;
	begin = moment(&r->begin, tm.tm_year + 1900) - r->winter_s;
	end = moment(&r->end, tm.tm_year + 1900) - r->summer_s;
	if (begin < end)
		return utc_s >= begin && utc_s < end ? r->summer_s : r->winter_s;
	return utc_s >= end && utc_s < begin ? r->winter_s : r->summer_s;
}
