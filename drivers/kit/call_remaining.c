/* What headers say is left: lowered for all workers before the partner has to refuse. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/queue/limit_learn.h"
#include "drivers/kit/call_door.h"

#define EMPTY_WINDOW_MS 60000 /* "0 remaining" without a reset holds no longer */
#define LEFT_MAX 1000000000
#define TELL_LOWER_MS 60000 /* what is kept to is told again so often, should Redis have lost it */
#define TELL_SHOWN_MS 600000

/* Where the manifest names none: the spellings that are about, in the order they are believed. */
static const struct manifest_limit_header usual[] = {
	{ 0, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", RESET_GUESSED },
	{ 0, "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", RESET_GUESSED },
	{ 0, "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", RESET_GUESSED },
	{ 0, "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
	  "x-ratelimit-reset-requests", RESET_GUESSED },
	{ 0, "x-api-limit", "x-api-remaining", "x-api-reset", RESET_GUESSED },
	{ 0, "x-ratelimit-quota", "x-ratelimit-available", "x-ratelimit-reset", RESET_GUESSED },
	{ 0, "ratelimit", "ratelimit", "ratelimit",
	  RESET_SECONDS }, /* limit=…, remaining=…, reset=… */
	{ 1000, "x-ratelimit-limit-second", "x-ratelimit-remaining-second",
	  "x-ratelimit-reset-second", RESET_GUESSED },
	{ 60000, "x-ratelimit-limit-minute", "x-ratelimit-remaining-minute",
	  "x-ratelimit-reset-minute", RESET_GUESSED },
	{ 3600000, "x-ratelimit-limit-hour", "x-ratelimit-remaining-hour", "x-ratelimit-reset-hour",
	  RESET_GUESSED },
	{ 86400000, "x-ratelimit-limit-day", "x-ratelimit-remaining-day", "x-ratelimit-reset-day",
	  RESET_GUESSED },
	{ 1000, "x-rate-limit-limit-second", "x-rate-limit-remaining-second", NULL, RESET_GUESSED },
	{ 60000, "x-rate-limit-limit-minute", "x-rate-limit-remaining-minute", NULL,
	  RESET_GUESSED },
	{ 3600000, "x-rate-limit-limit-hour", "x-rate-limit-remaining-hour", NULL, RESET_GUESSED },
	{ 86400000, "x-rate-limit-limit-day", "x-rate-limit-remaining-day", NULL, RESET_GUESSED },
	{ 86400000, "x-ratelimit-limit-daily", "x-ratelimit-remaining-daily", NULL, RESET_GUESSED },
};

static char *lower_dup(const char *s)
{
	char *d = s ? mem_strdup(s) : NULL;

	for (char *p = d; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return d;
}

void route_seen(struct route *r)
{
	const struct manifest *m = r->driver->manifest;
	const struct manifest_limit_header *from = m->n_limit_headers ? m->limit_headers : usual;
	int n = m->n_limit_headers ? m->n_limit_headers : (int)ARRAY_LEN(usual);

	r->n_seen = n;
	r->seen = mem_zalloc((size_t)n * sizeof(*r->seen));
	r->told = mem_zalloc((size_t)n * sizeof(*r->told));
	for (int i = 0; i < n; i++) {
		r->seen[i].window_ms = from[i].window_ms;
		r->seen[i].limit = lower_dup(from[i].limit);
		r->seen[i].remaining = lower_dup(from[i].remaining);
		r->seen[i].reset = lower_dup(from[i].reset);
		r->seen[i].unit = from[i].unit;
	}
}

/* ---- reading ---- */

/* A number alone, or one of a list of fields: "limit=100, remaining=50, reset=5" or "\"default\";r=50;t=5". -1: none. */
static int64_t number_in(const char *text, const char *field, const char *letter)
{
	char *end = NULL;
	double n = text ? strtod(text, &end) : -1;

	if (text && end != text)
		return n >= 0 && n <= LEFT_MAX * 1e4 ? (int64_t)n : -1;
	for (const char *p = text; p && *p;) {
		size_t word;

		p += strspn(p, " ,;");
		word = strcspn(p, "=,;");
		if (p[word] == '=' && ((word == strlen(field) && !strncasecmp(p, field, word)) ||
				       (word == strlen(letter) && !strncasecmp(p, letter, word))))
			return number_in(p + word + 1, field, letter);
		p += strcspn(p, ",;");
	}
	return -1;
}

/* The window that a limit header names itself: "100, 100;w=60". */
static int64_t window_in(const char *text)
{
	const char *w = text ? strstr(text, "w=") : NULL;
	int64_t s = w && (w == text || strchr("; ,", w[-1])) ? strtoll(w + 2, NULL, 10) : 0;

	return s > 0 && s < 31 * 86400 ? s * 1000 : 0;
}

/* The partner's own clock, where it tells it, so that skew does not lengthen a hold. */
static int64_t partner_now_ms(const struct caller *c, const struct http_response *h)
{
	const char *date = http_response_header(h, "date");
	int64_t us;

	return date && clock_parse_time(date, &us, NULL) == 0 ? us / 1000 : door_now_ms(c->door);
}

/* From now: seconds, an epoch in s or ms, or a date, as told or by its size; -1 where it is none of these. */
static int64_t reset_ms(const struct caller *c, const struct http_response *h, const char *text,
			enum reset_unit unit)
{
	int64_t at_us, now_ms = partner_now_ms(c, h), n = number_in(text, "reset", "t");
	bool is_date = unit == RESET_DATE || strchr(text, ':') || strchr(text, '-');

	if (is_date && clock_parse_time(text, &at_us, NULL) == 0)
		return at_us / 1000 - now_ms;
	if (n < 0 || unit == RESET_DATE)
		return -1;
	if (unit == RESET_GUESSED)
		unit = n < 100000000       ? RESET_SECONDS
		       : n < 1000000000000 ? RESET_EPOCH
					   : RESET_EPOCH_MS;
	return unit == RESET_SECONDS ? n * 1000 : (unit == RESET_EPOCH ? n * 1000 : n) - now_ms;
}

struct left {
	int64_t left, limit, window_ms, reset_ms; /* -1 = not told; window 0 = unknown */
};

static bool left_read(const struct caller *c, const struct manifest_limit_header *l,
		      const struct http_response *h, struct left *out)
{
	const char *left = l->remaining ? http_response_header(h, l->remaining) : NULL;
	const char *limit = l->limit ? http_response_header(h, l->limit) : NULL;
	const char *reset = l->reset ? http_response_header(h, l->reset) : NULL;

	if (!left)
		return false;
	out->left = number_in(left, "remaining", "r");
	out->limit = number_in(limit, "limit", "q");
	out->window_ms = l->window_ms ? l->window_ms : window_in(limit);
	out->reset_ms = reset ? reset_ms(c, h, reset, l->unit) : -1;
	return out->left >= 0;
}

/* ---- what follows ---- */

/* Sixteen spellings are looked for only where some header is about limits at all. */
static bool says_nothing(const struct route *r, const struct http_response *h)
{
	const char *at = h->headers.data, *end = at ? at + h->headers.len : at;

	if (r->driver->manifest->n_limit_headers > 0)
		return false;
	while (at < end) {
		if (strstr(at, "limit") || strstr(at, "remaining"))
			return false;
		at += strlen(at) + 1; /* the name … */
		at += strlen(at) + 1; /* … and the value */
	}
	return true;
}

/* Which of the stated limits is meant: that of the window, else the one whose number the header says, else the only one. */
static const struct manifest_limit *limit_meant(const struct manifest *m, const struct left *l)
{
	const struct manifest_limit *by_rate = NULL;

	for (int i = 0; i < m->n_limits; i++) {
		if (l->window_ms > 0 && m->limits[i].window_ms == l->window_ms)
			return &m->limits[i];
		if (l->limit > 0 && m->limits[i].rate == l->limit)
			by_rate = &m->limits[i];
	}
	if (l->window_ms > 0)
		return NULL;
	return by_rate ? by_rate : m->n_limits == 1 ? &m->limits[0] : NULL;
}

static int64_t lasts_ms(const struct left *l, int64_t window_ms)
{
	int64_t ms = l->reset_ms < 0 ? window_ms : l->reset_ms;

	if (window_ms > 0 && ms > window_ms)
		ms = window_ms;
	return ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS;
}

void route_zero_left(struct caller *c, struct route *r, const struct http_response *h)
{
	bool told = r->driver->manifest->n_limit_headers > 0;

	if (says_nothing(r, h))
		return;
	for (int i = 0; i < r->n_seen; i++) {
		const struct manifest_limit *meant;
		struct left l;

		if (!left_read(c, &r->seen[i], h, &l) || l.left > 0)
			continue;
		meant = limit_meant(r->driver->manifest, &l);
		if (!told && !meant && l.reset_ms < 0)
			continue; /* a guess at a header, of a window that nobody knows */
		if (l.reset_ms < 0 && !meant)
			l.reset_ms = EMPTY_WINDOW_MS;
		route_hold(c, r, route_scope_for(r, meant ? meant->window_ms : 0),
			   lasts_ms(&l, meant ? meant->window_ms : l.window_ms), "0 remaining",
			   false);
	}
}

static int scope_index(const struct limit_set *set, const struct route *r,
		       const struct manifest_limit *meant)
{
	static const int held_by[] = { [SCOPE_PARTNER] = HELD_PARTNER,
				       [SCOPE_INTEGRATION] = HELD_INTEGRATION,
				       [SCOPE_EGRESS] = HELD_EGRESS };

	return meant->scope == SCOPE_ENDPOINTS ? set->n_scopes - 1
					       : r->scope_of[held_by[meant->scope]];
}

void route_heed(struct caller *c, struct route *r, const char *group, const struct permit *permit,
		const struct http_response *h)
{
	const struct limit_set *set = route_limits_of(r, group);

	if (says_nothing(r, h))
		return;
	for (int i = 0; i < r->n_seen; i++) {
		const struct manifest_limit *meant;
		struct left l;
		int64_t stated;
		int scope;

		if (!left_read(c, &r->seen[i], h, &l))
			continue;
		meant = limit_meant(r->driver->manifest, &l);
		scope = meant ? scope_index(set, r, meant) : -1;
		if (scope < 0 || (meant->scope == SCOPE_ENDPOINTS && set == &r->limits))
			continue;
		/* As much is left as there is when we alone have used our share, or more: nothing to learn. */
		stated = l.limit > 0 && l.limit < meant->rate ? l.limit : meant->rate;
		if ((double)l.left + 1e-9 >= (double)stated * (1 - meant->share))
			continue;
		limiter_heed(c->door->limiter, permit, scope, meant->window_ms, l.left,
			     permit->granted_us + lasts_ms(&l, meant->window_ms) * 1000);
	}
}

/* The limit that a statement is about, under which this call was: one with that very number, or the only one with that window.
 * Of several, or of no window, nobody knows which is meant, and lowering the wrong one would cost a whole partner. */
static const struct manifest_limit *limit_stated_of(const struct manifest *m, const char *group,
						    int64_t window_ms, int64_t stated)
{
	const struct manifest_limit *only = NULL;
	int n = 0;

	for (int i = 0; i < m->n_limits; i++) {
		const struct manifest_limit *l = &m->limits[i];

		if ((window_ms > 0 && l->window_ms != window_ms) ||
		    (l->group && (!group || strcmp(l->group, group) != 0)))
			continue;
		if ((l->kind == LIMIT_BUCKET ? l->burst : l->rate) == stated)
			return l;
		only = l;
		n++;
	}
	return n == 1 && window_ms > 0 ? only : NULL;
}

static struct limit_tier *tier_for(struct limit_scope *s, int64_t window_ms)
{
	for (int k = 0; k < s->n_tiers; k++)
		if (s->tiers[k].window_ms == window_ms)
			return &s->tiers[k];
	return NULL;
}

static void learn(struct caller *c, struct route *r, const char *group, struct limit_told *told,
		  const struct manifest_limit *l, int64_t stated)
{
	struct limit_set *set = route_limits_of(r, group);
	struct limit_scope *s = &set->scopes[scope_index(set, r, l)];
	struct limit_tier *t = tier_for(s, l->window_ms);
	/* A bucket's stated size bounds nothing by itself: what is left of it does (route_heed). */
	bool lower = l->kind != LIMIT_BUCKET && stated < l->rate;

	if (!t || (told->of == l && told->stated == stated && loop_now_ms() < told->again_ms))
		return;
	limit_stated(c->door->redis, set->partner, s->name, t, stated,
		     lower ? limit_share(stated, l->share) : 0);
	*told = (struct limit_told){ l, stated,
				     loop_now_ms() + (lower ? TELL_LOWER_MS : TELL_SHOWN_MS) };
}

void route_learn(struct caller *c, struct route *r, const char *group,
		 const struct http_response *h)
{
	if (says_nothing(r, h))
		return;
	for (int i = 0; i < r->n_seen; i++) {
		const struct manifest_limit_header *seen = &r->seen[i];
		const char *text = seen->limit ? http_response_header(h, seen->limit) : NULL;
		int64_t stated = text ? number_in(text, "limit", "q") : -1;
		const char *policy = text ? strstr(text, "w=") : NULL;
		const struct manifest_limit *l;

		/* With several policies in one header the first number may be of any of them. */
		if (stated <= 0 || (policy && strstr(policy + 2, "w=")))
			continue;
		l = limit_stated_of(r->driver->manifest, group,
				    seen->window_ms ? seen->window_ms : window_in(text), stated);
		if (l)
			learn(c, r, group, &r->told[i], l, stated);
	}
}

static void append_window(struct buf *out, int64_t ms)
{
	if (out->len)
		buf_puts(out, ", ");
	buf_putint(out, ms % 1000 ? ms : ms / 1000);
	buf_puts(out, ms % 1000 ? "ms " : "s ");
}

void route_limits_seen(const struct route *r, const struct http_response *h, struct buf *out)
{
	if (says_nothing(r, h))
		return;
	for (int i = 0; i < r->n_seen; i++) {
		const struct manifest_limit_header *l = &r->seen[i];
		const char *left = l->remaining ? http_response_header(h, l->remaining) : NULL;
		const char *limit = l->limit ? http_response_header(h, l->limit) : NULL;

		if (!left && !limit)
			continue;
		append_window(out, l->window_ms);
		buf_puts(out, left ? left : "?");
		buf_putc(out, '/');
		buf_puts(out, limit ? limit : "?");
	}
}
