#include "drivers/kit/call_door.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/io/loop.h"
#include "common/queue/limit_learn.h"
#include "drivers/kit/classify.h"

#define SUSPEND_HOLD_MS 10000
#define HOLD_SLACK_MS 50  /* after the partner's own instant */
#define HOLD_SAME_MS 100  /* a hold that ends this close to the last one is the same */
#define UNHINTED_MS 60000 /* a 429 that does not say: E2, doubling … */
#define UNHINTED_MAX_MS (15 * 60 * 1000LL) /* … up to here */
#define REDIS_WAIT_MS 2000

void route_hold(struct caller *c, struct route *r, int held, int64_t ms, const char *reason,
		bool refused)
{
	int64_t now = door_now_ms(c->door), until = now + ms + HOLD_SLACK_MS;
	const char *scope = r->limits.scopes[r->scope_of[held]].name;
	struct err e = { 0 };
	int rc;

	if (until <= r->held_until_ms[held] + HOLD_SAME_MS)
		return;
	r->held_until_ms[held] =
		until; /* before the wait: the answers that come meanwhile need not say it again */
	rc = limiter_hold(c->door->limiter, r->limits.partner, scope, until, reason, refused,
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
int route_scope_for(const struct route *r, int64_t window_ms)
{
	static const int held_by[] = { [SCOPE_PARTNER] = HELD_PARTNER,
				       [SCOPE_INTEGRATION] = HELD_INTEGRATION,
				       [SCOPE_EGRESS] = HELD_EGRESS,
				       [SCOPE_ENDPOINTS] = HELD_INTEGRATION };
	static const int wider[] = {
		[HELD_PARTNER] = 2, [HELD_EGRESS] = 1, [HELD_INTEGRATION] = 0
	};
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

/* All answers of one burst are one refusal: the count grows only after the last hold has ended. */
static int64_t unhinted_ms(struct caller *c, struct route *r, int held)
{
	int64_t ms;

	if (door_now_ms(c->door) >= r->held_until_ms[held])
		r->unhinted++;
	ms = (int64_t)UNHINTED_MS << (r->unhinted > 5 ? 4 : r->unhinted > 0 ? r->unhinted - 1 : 0);
	return ms < UNHINTED_MAX_MS ? ms : UNHINTED_MAX_MS;
}

/* For people, beside what the manifest says: how full each window was, as we count, when the partner refused. */
static void remember_refusal(struct caller *c, struct route *r)
{
	struct err e = { 0 };
	int rc = 0;

	for (int i = 0; i < r->limits.n_scopes && rc == 0; i++)
		rc = limit_met(c->door->redis, r->limits.partner, &r->limits.scopes[i],
			       loop_now_ms() + REDIS_WAIT_MS, &e);
	if (rc < 0)
		log_event(LOG_DEBUG, "limit_not_remembered", LS("reason", e.text));
}

void route_feedback(struct caller *c, struct route *r, const struct http_response *h,
		    struct err *out)
{
	int64_t known_until_ms;
	int held;

	if (h->status == 0 || !c->door->limiter)
		return;
	if (out->action == ACT_HOLD || out->action == ACT_SUSPEND) {
		/* suspended: whoever calls now is sent back; what then keeps them there is the pause */
		route_hold(c, r, route_scope_for(r, 0),
			   out->action == ACT_HOLD ? out->retry_after_ms : SUSPEND_HOLD_MS,
			   out->rule, false);
		return;
	}
	if (out->class != ERR_RATE_LIMIT) {
		if (out->class == ERR_NONE)
			r->unhinted = 0;
		route_zero_left(c, r, h);
		return;
	}
	if (chaos_made(h)) /* it says nothing of the partner: this job alone waits */
		return;
	held = route_scope_for(r, 0);
	known_until_ms = r->held_until_ms[held];
	if (retry_after_ms(r->driver->manifest, h, door_now_ms(c->door)) == 0)
		out->retry_after_ms = unhinted_ms(c, r, held);
	if (out->retry_after_ms > HOLD_MAX_MS)
		out->retry_after_ms = HOLD_MAX_MS;
	route_hold(c, r, held, out->retry_after_ms, out->rule, true);
	if (r->held_until_ms[held] > known_until_ms)
		remember_refusal(c, r);
}
