/* What Postgres cannot hold, told before it is sent: one bad row would be searched for in a batch of 500
 * by sending it eighteen times. */
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"
#include "common/store/rows.h"

/* timestamptz begins in 4714 BC; it ends later than any number of microseconds from 1970 that an int64 holds. */
#define TIME_MIN_US (INT64_C(-210866803200) * 1000000)
#define DATE_MIN (-2440588)
#define DATE_END (INT64_C(2147483494) - 2440588)
/* Digits of a numeric before and after the point, as jsonb keeps numbers. */
#define NUMERIC_WHOLE_MAX 131072
#define NUMERIC_PART_MAX 16383

static const char too_early[] = "is a time before 4714 BC";

static bool no(char *why, size_t why_size, const char *column, const char *reason)
{
	snprintf(why, why_size, "%s: %s", column, reason);
	return false;
}

static const char *text_fault(const char *s, size_t n)
{
	if (memchr(s, 0, n))
		return "holds a NUL, which a text can't";
	return utf8_is_valid(s, n) ? NULL : "is no UTF8";
}

static int hex4(const char *s)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = s[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + c - '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (c | 32) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/* s is behind a backslash; *step: how far the escape goes. */
static const char *escape_fault(const char *s, const char *end, int *step)
{
	int v, low;

	*step = 1;
	if (s >= end || *s != 'u')
		return NULL;
	v = end - s >= 5 ? hex4(s + 1) : -1;
	*step = 5;
	if (v < 0)
		return "has a broken \\u escape";
	if (v == 0)
		return "holds \\u0000, which jsonb can't";
	if (v >= 0xdc00 && v <= 0xdfff)
		return "holds half of a surrogate pair";
	if (v < 0xd800 || v > 0xdbff)
		return NULL;
	low = end - s >= 11 && s[5] == '\\' && s[6] == 'u' ? hex4(s + 7) : -1;
	*step = 11;
	return low >= 0xdc00 && low <= 0xdfff ? NULL : "holds half of a surrogate pair";
}

/* A number begins at *at: jsonb keeps it as numeric, with all the digits its exponent asks for. */
static const char *number_fault(const char **at, const char *end)
{
	const char *s = *at;
	int64_t whole = 0, part = 0, exponent = 0;
	bool minus = false;

	for (; s < end && (*s == '-' || (*s >= '0' && *s <= '9')); s++)
		whole += *s != '-';
	if (s < end && *s == '.')
		for (s++; s < end && *s >= '0' && *s <= '9'; s++)
			part++;
	if (s < end && (*s | 32) == 'e') {
		s++;
		if (s < end && (*s == '+' || *s == '-'))
			minus = *s++ == '-';
		for (; s < end && *s >= '0' && *s <= '9'; s++)
			if (exponent < NUMERIC_WHOLE_MAX * 10)
				exponent = exponent * 10 + *s - '0';
	}
	*at = s;
	if (minus ? part + exponent > NUMERIC_PART_MAX : whole + exponent > NUMERIC_WHOLE_MAX)
		return "holds a number that is too large or too fine";
	return part > NUMERIC_PART_MAX ? "holds a number that is too fine" : NULL;
}

/* Of JSON that cJSON or we printed: only what jsonb refuses of good JSON is looked for. */
static const char *json_fault(const char *s, size_t n)
{
	const char *end = s + n, *fault = text_fault(s, n);
	bool quoted = false;

	while (!fault && s < end) {
		int step = 1;

		if (quoted && *s == '\\') {
			fault = escape_fault(s + 1, end, &step);
			s += step + 1;
		} else if (*s == '"') {
			quoted = !quoted;
			s++;
		} else if (!quoted && (*s == '-' || (*s >= '0' && *s <= '9'))) {
			fault = number_fault(&s, end);
		} else {
			s++;
		}
	}
	return fault;
}

static const char *value_fault(enum row_type type, const struct row_value *v)
{
	switch (type) {
	case ROW_TEXT:
		return text_fault(v->v.s.p, v->v.s.n);
	case ROW_JSON:
		return json_fault(v->v.s.p, v->v.s.n);
	case ROW_TIME:
		return v->v.i < TIME_MIN_US ? too_early : NULL;
	case ROW_DATE:
		return v->v.i < DATE_MIN || v->v.i >= DATE_END
			       ? "is no day between 4714 BC and the year 5874897"
			       : NULL;
	case ROW_INT:
	case ROW_NUMBER:
	case ROW_BOOL:
		break;
	}
	return NULL;
}

bool row_check(enum row_table t, uint64_t columns, const struct row *r, char *why, size_t why_size)
{
	int n;
	const struct row_column *c = row_columns(t, &n);
	const char *fault = text_fault(r->external_id, strlen(r->external_id));

	if (fault)
		return no(why, why_size, "external_id", fault);
	if (r->observed_us < TIME_MIN_US)
		return no(why, why_size, "observed_at", too_early);
	if (r->has_partner_updated && r->partner_updated_us < TIME_MIN_US)
		return no(why, why_size, "partner_updated_at", too_early);
	for (int i = 0; i < n; i++) {
		if (!(columns >> i & 1) || !r->values[i].set)
			continue;
		fault = value_fault(c[i].type, &r->values[i]);
		if (fault)
			return no(why, why_size, c[i].name, fault);
	}
	return true;
}
