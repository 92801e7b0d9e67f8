#include "common/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now_us(clockid_t which)
{
	struct timespec t;

	if (clock_gettime(which, &t) != 0)
		abort();
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

int64_t clock_real_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_real_us(void)
{
	return now_us(CLOCK_REALTIME);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void put_digits(char *out, int n, int64_t v)
{
	while (n-- > 0) {
		out[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

/* Days since 1970 -> 2026-11-21 (Howard Hinnant's algorithm: years begin in March, so that the leap
 * day is the last one). */
static void put_date(char out[10], int64_t days)
{
	int64_t z = days + 719468;
	int64_t era = floor_div(z, 146097);
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int64_t month = mp < 10 ? mp + 3 : mp - 9;

	put_digits(out, 4, yoe + era * 400 + (month <= 2));
	out[4] = '-';
	put_digits(out + 5, 2, month);
	out[7] = '-';
	put_digits(out + 8, 2, doy - (153 * mp + 2) / 5 + 1);
}

/* Outside the years 0000 to 9999 the text stands still at the border: readers expect four
 * digits. */
char *clock_iso(int64_t real_ms, char out[CLOCK_ISO_MAX])
{
	const int64_t first = -62167219200000, last = 253402300799999;
	int64_t ms = real_ms < first ? first : real_ms > last ? last : real_ms;
	int64_t days = floor_div(ms, 86400000);
	int64_t rest = ms - days * 86400000;

	put_date(out, days);
	out[10] = 'T';
	put_digits(out + 11, 2, rest / 3600000);
	out[13] = ':';
	put_digits(out + 14, 2, rest / 60000 % 60);
	out[16] = ':';
	put_digits(out + 17, 2, rest / 1000 % 60);
	out[19] = '.';
	put_digits(out + 20, 3, rest % 1000);
	memcpy(out + 23, "Z", 2);
	return out;
}

/* 0 for a unit nobody knows. */
static int64_t unit_ms(const char *s)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "", 1000 },   { "ms", 1 },      { "s", 1000 },
		      { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(s, units[i].name) == 0)
			return units[i].ms;
	return 0;
}

/* Decimals are welcome ("1.5s"), what is finer than a millisecond is dropped. */
int clock_parse_duration(const char *s, int64_t *out_ms)
{
	int64_t whole = 0, frac = 0, scale = 1, unit;
	const char *p = s;

	if (!s || *s < '0' || *s > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, *p - '0', &whole))
			return -EINVAL;
	if (*p == '.') {
		if (p[1] < '0' || p[1] > '9')
			return -EINVAL;
		for (p++; *p >= '0' && *p <= '9'; p++)
			if (scale < 1000000000) {
				frac = frac * 10 + (*p - '0');
				scale *= 10;
			}
	}
	unit = unit_ms(p);
	if (unit == 0 || __builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(whole, frac * unit / scale, &whole))
		return -EINVAL;
	*out_ms = whole;
	return 0;
}
