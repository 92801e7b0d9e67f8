#include "drivers/kit/call_door.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/io/loop.h"
#include "drivers/kit/classify.h"

#define HOLD_SLACK_MS 50 /* after the partner's own instant */
#define HOLD_SAME_MS 100 /* a hold that ends this close to the last one is the same */
#define HOLD_MAX_MS (24 * 3600 * 1000LL)   /* no header is believed beyond */
#define UNHINTED_MS 60000                  /* a 429 that does not say: E2, doubling … */
#define UNHINTED_MAX_MS (15 * 60 * 1000LL) /* … up to here */
#define EMPTY_WINDOW_MS 60000              /* "0 remaining" without a reset holds no longer */
#define REDIS_WAIT_MS 2000

static void hold(struct caller *c, struct route *r, int held, int64_t ms, const char *reason)
{
	int64_t now = redis_now_ms(c->door->redis), until = now + ms + HOLD_SLACK_MS;
	const char *scope = r->limits.scopes[r->scope_of[held]].name;
	struct err e = { 0 };
	int rc;

	if (until <= r->held_until_ms[held] + HOLD_SAME_MS)
		return;
	r->held_until_ms[held] =
		until; /* before the wait: the answers that come meanwhile need not say it again */
	rc = limiter_hold(c->door->limiter, r->limits.partner, scope, until, reason,
			  loop_now_ms() + REDIS_WAIT_MS, &e);
	if (rc < 0) {
		r->held_until_ms[held] = 0;
		log_event(LOG_WARN, "limit_hold_failed", LS("scope", scope), LI("for_ms", ms),
			  LS("error", e.text));
		return;
	}
	log_event(LOG_WARN, "limit_held", LS("scope", scope), LI("for_ms", ms),
		  LS("reason", reason));
}

/* The scope that a partner means: that of its limit with this window, else the widest it has a limit for. */
static int scope_for(const struct route *r, int64_t window_ms)
{
	static const int held_by[] = { [SCOPE_PARTNER] = HELD_PARTNER,
				       [SCOPE_INTEGRATION] = HELD_INTEGRATION,
				       [SCOPE_EGRESS] = HELD_EGRESS,
				       [SCOPE_ENDPOINTS] = HELD_INTEGRATION };
	static const int wider[] = { [HELD_PARTNER] = 2, [HELD_EGRESS] = 1, [HELD_INTEGRATION] = 0 };
	const struct manifest *m = r->driver->manifest;
	int held = HELD_INTEGRATION;

	for (int i = 0; i < m->n_limits; i++) {
		int is = held_by[m->limits[i].scope];

		if (window_ms > 0 && m->limits[i].window_ms == window_ms)
			return is;
		if (wider[is] > wider[held])
			held = is;
	}
	for (int i = 0; r->scope_of[held] < 0; i++)
		held = i;
	return held;
}

/* Seconds from now, an epoch in s or ms, or a date; -1 where it is none of these. */
static int64_t reset_ms(const char *text, int64_t now_ms)
{
	char *end = NULL;
	double n = strtod(text, &end);
	int64_t at_us;

	if (end != text && *end == '\0' && n >= 0)
		return n < 1e8 ? (int64_t)(n * 1000) : (int64_t)(n < 1e12 ? n * 1000 : n) - now_ms;
	if (clock_parse_time(text, &at_us, NULL) < 0)
		return -1;
	return at_us / 1000 - now_ms;
}

/* The partner's own clock, where it tells it, so that skew does not lengthen a hold. */
static int64_t partner_now_ms(const struct caller *c, const struct http_response *h)
{
	const char *date = http_response_header(h, "date");
	int64_t us;

	return date && clock_parse_time(date, &us, NULL) == 0 ? us / 1000
							      : redis_now_ms(c->door->redis);
}

static void remaining_feedback(struct caller *c, struct route *r, const struct http_response *h)
{
	for (int i = 0; i < r->n_seen; i++) {
		const struct manifest_limit_header *l = &r->seen[i];
		const char *left = l->remaining ? http_response_header(h, l->remaining) : NULL;
		const char *reset = l->reset ? http_response_header(h, l->reset) : NULL;
		int64_t ms = -1;

		if (!left || strspn(left, "0") != strlen(left) || *left == '\0')
			continue;
		if (reset)
			ms = reset_ms(reset, partner_now_ms(c, h));
		if (ms < 0)
			ms = EMPTY_WINDOW_MS;
		if (l->window_ms > 0 && ms > l->window_ms)
			ms = l->window_ms;
		hold(c, r, scope_for(r, l->window_ms), ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS,
		     "0 remaining");
	}
}

/* All answers of one burst are one refusal: the count grows only after the last hold has ended. */
static int64_t unhinted_ms(struct caller *c, struct route *r, int held)
{
	int64_t ms;

	if (redis_now_ms(c->door->redis) >= r->held_until_ms[held])
		r->unhinted++;
	ms = (int64_t)UNHINTED_MS << (r->unhinted > 5 ? 4 : r->unhinted > 0 ? r->unhinted - 1 : 0);
	return ms < UNHINTED_MAX_MS ? ms : UNHINTED_MAX_MS;
}

void route_feedback(struct caller *c, struct route *r, const struct http_response *h,
		    struct err *out)
{
	int held;

	if (h->status == 0)
		return;
	if (out->class != ERR_RATE_LIMIT) {
		if (out->class == ERR_NONE)
			r->unhinted = 0;
		remaining_feedback(c, r, h);
		return;
	}
	held = scope_for(r, 0);
	if (retry_after_ms(r->driver->manifest, h, redis_now_ms(c->door->redis)) == 0)
		out->retry_after_ms = unhinted_ms(c, r, held);
	if (out->retry_after_ms > HOLD_MAX_MS)
		out->retry_after_ms = HOLD_MAX_MS;
	hold(c, r, held, out->retry_after_ms, out->rule);
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
