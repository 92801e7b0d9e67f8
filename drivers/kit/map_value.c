#include "drivers/kit/map_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/zone.h"
#include "drivers/kit/map.h"

#define DAY_US (86400 * INT64_C(1000000))
#define SHOWN_MAX 60 /* of a value in a reason */

/* A conversion under way: the value, its text where it is a scalar, and what comes of it. */
struct conversion {
	const struct manifest_column *column;
	const cJSON *v;
	const char *text, *currency; /* text: trimmed; NULL for lists and objects */
	struct arena *arena;
	struct row_value *out;
	const char **why;
};

/* ` "12abc" is no whole number`, with the value cut. */
static int wrong(struct conversion *c, const char *what)
{
	struct buf shown = BUF_INIT;

	if (c->text)
		json_quote(&shown, c->text, strnlen(c->text, SHOWN_MAX));
	else
		buf_puts(&shown, cJSON_IsArray(c->v) ? "a list" : "an object");
	*c->why = arena_printf(c->arena, "%s%s %s", buf_str(&shown),
			       c->text && strlen(c->text) > SHOWN_MAX ? "…" : "", what);
	buf_clear(&shown);
	return -EINVAL;
}

static int set_text(struct conversion *c, const char *s, size_t n)
{
	if (n > MAP_TEXT_MAX_BYTES) {
		*c->why = arena_printf(c->arena, "text of %zu bytes, at most %d are taken", n,
				       MAP_TEXT_MAX_BYTES);
		return -EINVAL;
	}
	c->out->v.s.p = s;
	c->out->v.s.n = n;
	return 0;
}

/* As it is: blanks around a text belong to it. */
static int to_text(struct conversion *c)
{
	const char *s = cJSON_IsString(c->v) ? c->v->valuestring : c->text;

	if (!s)
		return wrong(c, "is no text");
	return set_text(c, s, strlen(s));
}

static int to_url(struct conversion *c)
{
	const char *s = c->text;

	if (!s || !cJSON_IsString(c->v))
		return wrong(c, "is no address");
	if (strncmp(s, "//", 2) == 0)
		s = arena_printf(c->arena, "https:%s", s);
	if (strncasecmp(s, "http://", 7) != 0 && strncasecmp(s, "https://", 8) != 0)
		return wrong(c, "is no http address");
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return wrong(c, "is no address: there is a blank in it");
	return set_text(c, s, strlen(s));
}

/* "12", "12.0", "1e3" as cJSON prints large ones: whole numbers all. */
static int to_int(struct conversion *c)
{
	const char *p = c->text;
	char *end;

	if (!p || cJSON_IsBool(c->v))
		return wrong(c, "is no whole number");
	if (!isdigit((unsigned char)p[*p == '-' || *p == '+']))
		return wrong(c, "is no whole number");
	errno = 0;
	c->out->v.i = strtoll(p, &end, 10);
	if (errno)
		return wrong(c, "is out of range");
	if (*end == '.' && end[1]) {
		end++;
		end += strspn(end, "0");
	}
	return *end ? wrong(c, "is no whole number") : 0;
}

/* strtod alone would take "inf", "nan", "0x1p3". */
static int to_number(struct conversion *c)
{
	const char *p = c->text;
	char *end;

	if (!p || cJSON_IsBool(c->v) || !*p || p[strspn(p, "0123456789+-.eE")])
		return wrong(c, "is no number");
	c->out->v.d = strtod(p, &end);
	if (*end || end == p)
		return wrong(c, "is no number");
	return isfinite(c->out->v.d) ? 0 : wrong(c, "is out of range");
}

static int to_bool(struct conversion *c)
{
	static const char *const words[] = { "false", "true", "0", "1", "no", "yes" };

	for (size_t i = 0; c->text && i < ARRAY_LEN(words); i++) {
		if (strcasecmp(c->text, words[i]) != 0)
			continue;
		c->out->v.b = i % 2 == 1;
		return 0;
	}
	return wrong(c, "is neither true nor false");
}

/* Whether the text says its zone itself (an epoch always does). */
static bool has_zone(const char *s)
{
	size_t n = strlen(s);

	if (strspn(s, "0123456789.-") == n && strchr(s, '-') <= s)
		return n > 8; /* an epoch; eight digits are a date */
	if (isalpha((unsigned char)s[n - 1]))
		return true;
	return n > 10 && s[10 + strcspn(s + 10, "+-")] != '\0';
}

/* A time of day in a zone, with what is below a second. */
static int64_t there_us(const struct zone *z, int64_t local_us)
{
	int64_t s = local_us / 1000000, rest = local_us % 1000000;

	if (rest < 0) {
		rest += 1000000;
		s--;
	}
	return zone_to_utc_s(z, s) * 1000000 + rest;
}

static int to_time(struct conversion *c)
{
	int64_t us;

	if (!c->text || cJSON_IsBool(c->v) || clock_parse_time(c->text, &us, NULL) < 0)
		return wrong(c, "is no time");
	if (c->column->tz && !has_zone(c->text))
		us = there_us(c->column->tz, us);
	c->out->v.i = us;
	return 0;
}

/* The day as it is written: what zone it was written in does not move it. */
static int to_date(struct conversion *c)
{
	const char *s = c->text;
	int64_t us;

	if (!s || cJSON_IsBool(c->v))
		return wrong(c, "is no date");
	if (strlen(s) > 10 && s[4] == '-' && s[7] == '-') {
		if (clock_parse_time(s, &us, NULL) < 0)
			return wrong(c, "is no date");
		s = arena_strndup(c->arena, s, 10);
	}
	if (clock_parse_time(s, &us, NULL) < 0)
		return wrong(c, "is no date");
	c->out->v.i = us / DAY_US - (us % DAY_US < 0);
	return 0;
}

static int to_money(struct conversion *c)
{
	int rc;

	if (!c->text || cJSON_IsBool(c->v))
		return wrong(c, "is no amount");
	if (c->currency && currency_digits(c->currency, NULL) < 0) {
		*c->why = arena_printf(c->arena, "the currency \"%.*s\" is not known", SHOWN_MAX,
				       c->currency);
		return -EINVAL;
	}
	rc = map_money(c->text, c->currency, &c->out->v.i);
	return rc == 0 ? 0 : wrong(c, rc == -ERANGE ? "is out of range" : "is no amount");
}

static int to_json(struct conversion *c)
{
	struct buf text = BUF_INIT;

	json_print(c->v, &text);
	c->out->v.s.n = text.len;
	c->out->v.s.p = arena_strndup(c->arena, text.data, text.len);
	buf_clear(&text);
	return 0;
}

/* A scalar's text without blanks around it. */
static const char *scalar_text(const cJSON *v, struct arena *arena)
{
	const char *s = cJSON_IsString(v) ? v->valuestring : NULL;
	struct buf text = BUF_INIT;
	size_t n;

	if (!s && json_scalar_text(v, &text))
		s = arena_strndup(arena, text.data, text.len);
	buf_clear(&text);
	if (!s)
		return NULL;
	s += strspn(s, " \t\r\n");
	n = strlen(s);
	if (n == 0 || !strchr(" \t\r\n", s[n - 1]))
		return s;
	while (n > 0 && strchr(" \t\r\n", s[n - 1]))
		n--;
	return arena_strndup(arena, s, n);
}

/* Most numbers are small and whole, or meant as they are: they need no detour over a text.  One with digits of its own
 * (beyond 2^53) has a text. */
static bool is_plain_number(const struct manifest_column *c, const cJSON *v, struct row_value *out)
{
	if (!cJSON_IsNumber(v) || v->valuestring)
		return false;
	if (c->as == MAP_NUMBER) {
		out->v.d = v->valuedouble;
		return isfinite(v->valuedouble);
	}
	if (c->as != MAP_INT || !(fabs(v->valuedouble) <= INT32_MAX) ||
	    v->valuedouble != trunc(v->valuedouble))
		return false;
	out->v.i = (int64_t)v->valuedouble;
	return true;
}

int map_value(const struct manifest_column *c, const cJSON *v, const char *currency,
	      struct arena *arena, struct row_value *out, const char **why)
{
	static int (*const convert[])(struct conversion *) = {
		[MAP_TEXT] = to_text,   [MAP_INT] = to_int,   [MAP_NUMBER] = to_number,
		[MAP_BOOL] = to_bool,   [MAP_TIME] = to_time, [MAP_DATE] = to_date,
		[MAP_MONEY] = to_money, [MAP_JSON] = to_json, [MAP_URL] = to_url,
	};
	struct row_value value = { .set = true };
	struct conversion x = {
		.column = c, .v = v, .currency = currency, .arena = arena, .out = &value, .why = why
	};
	int rc;

	if (is_plain_number(c, v, &value)) {
		*out = value;
		return 0;
	}
	x.text = c->as == MAP_JSON ? NULL : scalar_text(v, arena);
	/* "" is a text; of anything else it is what partners send for nothing */
	if (x.text && !*x.text && c->as != MAP_TEXT && c->as != MAP_JSON)
		return 1;
	rc = convert[c->as](&x);
	if (rc == 0)
		*out = value;
	return rc;
}
