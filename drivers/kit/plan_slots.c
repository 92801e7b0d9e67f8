/* The slots of a plan, and what becomes of those that are due. */
#include "common/base/crypto.h"
#include "drivers/kit/plan.h"

#define HOUR_MS (3600 * 1000LL)
#define MISSED_COUNT_MAX 10000 /* counted no further; of a cron-like schedule only */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t phase_of(const struct plan *p, int64_t integration)
{
	if (p->jitter_ms <= 0)
		return 0;
	return (int64_t)(crypto_hash64(&integration, sizeof(integration), 0) %
			 (uint64_t)p->jitter_ms);
}

int64_t plan_next_ms(const struct plan *p, int64_t integration, int64_t after_ms)
{
	int64_t phase = phase_of(p, integration), from = after_ms - phase;

	if (p->is_cron)
		return cron_next_s(&p->cron, p->zone, floor_div(from, 1000)) * 1000 + phase;
	return (floor_div(from, p->every_ms) + 1) * p->every_ms + phase;
}

int64_t plan_after_ms(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms)
{
	int64_t next = plan_next_ms(p, integration, slot_ms), full = full_ms + p->full_every_ms;

	if (p->always_full || !p->full_every_ms || !full_ms || full <= slot_ms)
		return next;
	return next > full + p->full_every_ms / 2 ? full : next;
}

bool plan_is_full(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms)
{
	int64_t full = full_ms + p->full_every_ms;

	if (p->always_full || !p->full_every_ms)
		return p->always_full;
	if (!full_ms || slot_ms >= full)
		return true;
	/* The slot that is nearest: days have 23 to 25 hours. */
	return full - slot_ms <= plan_next_ms(p, integration, slot_ms) - full;
}

/* The last slot that is not after now; slot_ms itself where there is none. */
static int64_t newest(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t now_ms)
{
	int64_t found = slot_ms;

	if (plan_next_ms(p, integration, slot_ms) > now_ms)
		return slot_ms;
	if (!p->is_cron)
		return plan_next_ms(p, integration, now_ms) - p->every_ms;
	/* Looked for in a span that doubles until there is one, so that it takes few steps however long nobody was there. */
	for (int64_t span = HOUR_MS;; span *= 2) {
		int64_t t = plan_next_ms(p, integration,
					 now_ms - span > slot_ms ? now_ms - span : slot_ms);

		while (t <= now_ms) {
			found = t;
			t = plan_next_ms(p, integration, t);
		}
		if (found > slot_ms)
			return found;
	}
}

/* Slots from slot_ms on, before end_ms. */
static int64_t count(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t end_ms)
{
	int64_t n = 0;

	if (slot_ms >= end_ms)
		return 0;
	if (!p->is_cron)
		return (end_ms - slot_ms + p->every_ms - 1) / p->every_ms;
	for (int64_t t = slot_ms; t < end_ms && n < MISSED_COUNT_MAX; n++)
		t = plan_next_ms(p, integration, t);
	return n;
}

static void start(const struct plan *p, int64_t integration, int64_t slot_ms, struct plan_due *out)
{
	bool full = plan_is_full(p, integration, slot_ms, out->full_ms);

	out->v[out->n].slot_ms = slot_ms;
	out->v[out->n++].full = full;
	if (full)
		out->full_ms = slot_ms;
	out->next_ms = plan_after_ms(p, integration, slot_ms, out->full_ms);
}

void plan_due(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms,
	      int64_t now_ms, struct plan_due *out)
{
	int64_t last = newest(p, integration, slot_ms, now_ms);

	*out = (struct plan_due){ .full_ms = full_ms, .next_ms = slot_ms };
	if (p->catch_up == CATCH_UP_ALL) {
		while (out->n < PLAN_STARTS_MAX && out->next_ms <= now_ms)
			start(p, integration, out->next_ms, out);
	} else if (p->catch_up == CATCH_UP_ONE || now_ms - last <= PLAN_MISSED_AFTER_MS) {
		out->missed = count(p, integration, slot_ms, last);
		start(p, integration, last, out);
	} else {
		out->next_ms = plan_next_ms(p, integration, now_ms);
		out->missed = count(p, integration, slot_ms, out->next_ms);
	}
	out->next_full = plan_is_full(p, integration, out->next_ms, out->full_ms);
}
