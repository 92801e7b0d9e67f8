/* The dates of partners.  A small reader per notation over one cursor; what none of them takes
 * whole is refused, since a date half understood is a wrong date. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"

#define US_PER_S INT64_C(1000000)

struct cursor {
	const char *p, *end;
};

struct fields {
	int year, month, day, hour, minute, second;
	int64_t us;
	int zone_minutes; /* east of UTC */
	bool has_time;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool take(struct cursor *c, char wanted)
{
	if (c->p >= c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

/* Exactly n digits. */
static bool number(struct cursor *c, int n, int *out)
{
	int v = 0;

	if (c->end - c->p < n)
		return false;
	for (int i = 0; i < n; i++) {
		if (!is_digit(c->p[i]))
			return false;
		v = v * 10 + (c->p[i] - '0');
	}
	c->p += n;
	*out = v;
	return true;
}

static void spaces(struct cursor *c)
{
	while (take(c, ' '))
		;
}

/* One of `n` names by its first three letters, whatever their case; what is left of a longer form
 * is skipped if it is the long form. Index or -1. */
static int name(struct cursor *c, const char *const *names, int n)
{
	size_t len = 0;

	while (c->p + len < c->end && ((c->p[len] | 32) >= 'a' && (c->p[len] | 32) <= 'z'))
		len++;
	for (int i = 0; i < n; i++) {
		if ((len != 3 && len != strlen(names[i])) || strncasecmp(c->p, names[i], len) != 0)
			continue;
		c->p += len;
		return i;
	}
	return -1;
}

static bool weekday(struct cursor *c)
{
	static const char *const names[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
					     "Friday", "Saturday", "Sunday" };

	return name(c, names, 7) >= 0;
}

static bool month(struct cursor *c, int *out)
{
	static const char *const names[] = { "January",   "February", "March",    "April",
					     "May",       "June",     "July",     "August",
					     "September", "October",  "November", "December" };

	*out = name(c, names, 12) + 1;
	return *out > 0;
}

/* .123456789 or ,123: down to microseconds, what is finer is dropped. */
static bool fraction(struct cursor *c, int64_t *us)
{
	int64_t unit = US_PER_S / 10;

	*us = 0;
	if (c->p >= c->end || !is_digit(*c->p))
		return false;
	for (; c->p < c->end && is_digit(*c->p); c->p++) {
		*us += (*c->p - '0') * unit;
		unit /= 10;
	}
	return true;
}

/* hh:mm[:ss[.f]], or hhmm[ss[.f]] as the first separator decides. */
static bool time_of_day(struct cursor *c, struct fields *f)
{
	bool colons;

	f->has_time = true;
	if (!number(c, 2, &f->hour))
		return false;
	colons = take(c, ':');
	if (!number(c, 2, &f->minute))
		return false;
	if (colons ? !take(c, ':') : (c->p >= c->end || !is_digit(*c->p)))
		return true;
	if (!number(c, 2, &f->second))
		return false;
	if (take(c, '.') || take(c, ','))
		return fraction(c, &f->us);
	return true;
}

/* Those of RFC 2822; other names mean different zones to different people. */
static bool named_zone(struct cursor *c, struct fields *f)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = { { "UTC", 0 },  { "GMT", 0 },  { "UT", 0 },   { "EST", -5 },
		      { "EDT", -4 }, { "CST", -6 }, { "CDT", -5 }, { "MST", -7 },
		      { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 } };
	size_t n = (size_t)(c->end - c->p);

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		if (n != strlen(zones[i].name) || strncasecmp(c->p, zones[i].name, n) != 0)
			continue;
		c->p = c->end;
		f->zone_minutes = zones[i].hours * 60;
		return true;
	}
	return false;
}

/* Z, UTC, GMT, +02, +0200, +02:00; nothing is UTC. */
static bool zone(struct cursor *c, struct fields *f)
{
	int sign, hours, minutes = 0;

	spaces(c);
	if (c->p == c->end)
		return true;
	if (c->end - c->p == 1)
		return (*c->p++ | 32) == 'z';
	if (named_zone(c, f))
		return true;
	sign = *c->p == '-' ? -1 : *c->p == '+' ? 1 : 0;
	c->p++;
	if (!sign || !number(c, 2, &hours))
		return false;
	if ((take(c, ':') || c->p < c->end) && !number(c, 2, &minutes))
		return false;
	f->zone_minutes = sign * (hours * 60 + minutes);
	return hours <= 18 && minutes <= 59;
}

static bool iso(struct cursor c, struct fields *f)
{
	bool dashes;

	if (!number(&c, 4, &f->year))
		return false;
	dashes = take(&c, '-');
	if (!number(&c, 2, &f->month) || (dashes && !take(&c, '-')) || !number(&c, 2, &f->day))
		return false;
	if (c.p == c.end)
		return true;
	if (!take(&c, 'T') && !take(&c, 't') && !take(&c, ' '))
		return false;
	spaces(&c);
	return time_of_day(&c, f) && zone(&c, f) && c.p == c.end;
}

/* Two digits: this century, unless that were more than 50 years ahead (RFC 7231). */
static int full_year(int year)
{
	int64_t now = 1970 + clock_real_ms() / 1000 / 31556952;
	int full = (int)(now - now % 100) + year;

	return full > now + 50 ? full - 100 : full;
}

/* Sun, 06 Nov 1994 08:49:37 GMT, and Sunday, 06-Nov-94 08:49:37 GMT; in mail (RFC 2822) the day of the week may be missing. */
static bool http_date(struct cursor c, struct fields *f)
{
	char separator;
	const char *start;

	if (c.p < c.end && !is_digit(*c.p) && (!weekday(&c) || !take(&c, ',')))
		return false;
	spaces(&c);
	if (!number(&c, 2, &f->day) && !number(&c, 1, &f->day))
		return false;
	separator = c.p < c.end ? *c.p : '\0';
	if ((separator != ' ' && separator != '-') || !take(&c, separator) ||
	    !month(&c, &f->month) || !take(&c, separator))
		return false;
	start = c.p;
	if (!number(&c, 4, &f->year)) {
		c.p = start;
		if (!number(&c, 2, &f->year))
			return false;
		f->year = full_year(f->year);
	}
	return take(&c, ' ') && time_of_day(&c, f) && zone(&c, f) && c.p == c.end;
}

/* Sun Nov  6 08:49:37 1994 */
static bool asctime_date(struct cursor c, struct fields *f)
{
	if (!weekday(&c) || !take(&c, ' ') || !month(&c, &f->month) || !take(&c, ' '))
		return false;
	spaces(&c);
	if (!number(&c, 2, &f->day) && !number(&c, 1, &f->day))
		return false;
	return take(&c, ' ') && time_of_day(&c, f) && take(&c, ' ') && number(&c, 4, &f->year) &&
	       c.p == c.end;
}

static bool leap(int y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static bool fields_valid(const struct fields *f)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (f->year < 1 || f->month < 1 || f->month > 12 || f->day < 1 ||
	    f->day > days[f->month - 1] + (f->month == 2 && leap(f->year)))
		return false;
	if (f->hour == 24)
		return f->minute == 0 && f->second == 0 && f->us == 0;
	return f->hour <= 23 && f->minute <= 59 && f->second <= 60; /* 60: a leap second */
}

static int64_t fields_us(const struct fields *f)
{
	int64_t y = f->year - (f->month <= 2);
	int64_t era = y / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (f->month + (f->month > 2 ? -3 : 9)) + 2) / 5 + f->day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	int64_t days = era * 146097 + doe - 719468;
	int64_t minutes = f->hour * 60 + f->minute - f->zone_minutes;

	return (days * 86400 + minutes * 60 + f->second) * US_PER_S + f->us;
}

/* Seconds, milliseconds or microseconds since 1970, told by size: as seconds, 1e11 is the year
 * 5138; as milliseconds it is 1973.  Eight digits that make a date (20261121) are one, and come
 * here not. */
static bool epoch(struct cursor c, int64_t *out)
{
	bool negative = take(&c, '-');
	int64_t v = 0, us = 0, unit;
	const char *start = c.p;

	for (; c.p < c.end && is_digit(*c.p); c.p++) {
		if (c.p - start >= 17)
			return false;
		v = v * 10 + (*c.p - '0');
	}
	if (c.p == start)
		return false;
	unit = v < INT64_C(100000000000) ? US_PER_S : v < INT64_C(100000000000000) ? 1000 : 1;
	if (take(&c, '.') && !fraction(&c, &us))
		return false;
	if (c.p != c.end)
		return false;
	v = v * unit + us * unit / US_PER_S;
	*out = negative ? -v : v;
	return true;
}

int clock_parse_time(const char *s, int64_t *out_us, bool *date_only)
{
	static bool (*const notations[])(struct cursor, struct fields *) = { iso, http_date,
									     asctime_date };
	struct cursor c = { s, s ? s + strlen(s) : s };

	if (!s)
		return -EINVAL;
	while (c.p < c.end && strchr(" \t\r\n", *c.p))
		c.p++;
	while (c.end > c.p && strchr(" \t\r\n", c.end[-1]))
		c.end--;
	for (size_t i = 0; i < sizeof(notations) / sizeof(notations[0]); i++) {
		struct fields f = { 0 };

		if (!notations[i](c, &f) || !fields_valid(&f))
			continue;
		*out_us = fields_us(&f);
		if (date_only)
			*date_only = !f.has_time;
		return 0;
	}
	if (!epoch(c, out_us))
		return -EINVAL;
	if (date_only)
		*date_only = false;
	return 0;
}
