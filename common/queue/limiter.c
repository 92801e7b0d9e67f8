#include "common/queue/limiter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define AGE_MS 5000

/* ---- the row ---- */

static void leave(struct limit_agent *a, struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		a->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		a->last = w->prev;
	w->prev = w->next = NULL;
	a->n_waiting--;
}

static void join(struct limit_agent *a, struct waiter *w)
{
	w->prev = a->last;
	if (a->last)
		a->last->next = w;
	else
		a->first = w;
	a->last = w;
	a->n_waiting++;
}

void row_end(struct limit_agent *a, struct waiter *w, int rc)
{
	leave(a, w);
	w->rc = rc;
	w->done = true;
	co_wake(w->co);
}

/* ---- the outside ---- */

static void age(void *arg)
{
	limit_left_age();
}

struct limiter *limiter_new(struct redis *r, const char *epoch)
{
	struct limiter *l = mem_new(struct limiter);

	limit_prefix(epoch, l->prefix);
	l->r = r;
	l->refs = 1;
	l->flush = loop_timer_new(limit_flush, l);
	l->touch = loop_timer_new(limit_touch, l);
	l->watch = loop_timer_new(limit_watch_all, l);
	l->age = loop_timer_new(age, NULL);
	loop_timer_every(l->age, AGE_MS);
	limit_listen(l);
	l->swept_ms = loop_now_ms();
	return l;
}

void limiter_put(struct limiter *l)
{
	if (--l->refs == 0)
		free(l);
}

void limiter_free(struct limiter *l)
{
	if (!l)
		return;
	if (l->dirty) /* a place that nobody gives back is missed until its call would have timed out */
		limit_flush(l);
	for (int i = 0; i < LIMIT_BUCKETS; i++) {
		while (l->buckets[i]) {
			struct limit_agent *a = l->buckets[i];

			l->buckets[i] = a->next;
			agent_free(a);
		}
	}
	loop_timer_free(l->flush);
	loop_timer_free(l->touch);
	loop_timer_free(l->watch);
	loop_timer_free(l->age);
	limit_unlisten(l);
	limiter_put(l);
}

/* Known already that it takes too long: no need to ask. */
static int64_t known_wait_ms(const struct limit_agent *a, int64_t now_ms)
{
	if (a->next_ms <= now_ms || a->flight_poll_ms)
		return 0;
	return a->next_ms - now_ms + limit_row_ms(a, a->n_waiting);
}

static int wait_for(struct limit_agent *a, struct waiter *w, int64_t deadline_ms)
{
	int rc = 0;

	join(a, w);
	/* Not at once: all that come to wait in one turn of the loop ask together. */
	if (!a->call && !loop_timer_pending(a->timer))
		loop_timer_set(a->timer,
			       a->next_ms > loop_now_ms() ? a->next_ms - loop_now_ms() : 0);
	else if (a->grounded && w->until_ms < a->timer_ms)
		loop_timer_set(a->timer, w->until_ms + 1 - loop_now_ms()); /* to be told so */
	while (!w->done && rc == 0)
		rc = co_wait("permit", deadline_ms);
	a->used_ms = loop_now_ms();
	if (!w->done) {
		leave(a, w);
		limit_leave_row(a);
		return rc;
	}
	if (rc < 0 && w->rc == 0) {
		limiter_refund(a->limiter, &w->permit);
		return rc;
	}
	return rc < 0 ? rc : w->rc;
}

int limiter_acquire(struct limiter *l, const struct limit_set *set, int64_t max_wait_ms,
		    struct permit *out, int64_t *wait_ms, int64_t *waited_ms, int64_t deadline_ms,
		    struct err *err)
{
	struct limit_agent *a = agent_of(l, set);
	int64_t now_ms = loop_now_ms(), known = known_wait_ms(a, now_ms);
	struct waiter w = { .co = co_self(), .until_ms = now_ms + max_wait_ms };
	int rc = -EAGAIN;

	a->used_ms = now_ms;
	w.wait_ms = known;
	if (known <= max_wait_ms)
		rc = wait_for(a, &w, deadline_ms);
	if (waited_ms)
		*waited_ms = loop_now_ms() - now_ms;
	if (rc == 0)
		*out = w.permit;
	if (rc == -EAGAIN) {
		if (wait_ms)
			*wait_ms = w.wait_ms > 0 ? w.wait_ms : 1000;
		return err_set(err, rc, ERR_HOLD, "limit", "%s: no permit for %lld ms (%s)",
			       set->partner, (long long)w.wait_ms, w.text[0] ? w.text : "tier");
	}
	if (rc == -ECONNRESET || rc == -EPROTO)
		return err_set(err, rc, ERR_HOLD, "redis", "%s: no permit: %s", set->partner,
			       w.text);
	return rc;
}

int limiter_hold(struct limiter *l, const char *partner, const char *scope_name, int64_t until_ms,
		 const char *reason, bool refused, int64_t deadline_ms, struct err *err)
{
	static const char *const suffix[] = { "hold", "sum", "set" };
	char *keys[ARRAY_LEN(suffix)];
	struct redis_args args;
	int rc;

	redis_args_init(&args);
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		keys[i] = mem_printf("limit:{%s}:%s:%s", partner, scope_name, suffix[i]);
		redis_arg(&args, keys[i]);
	}
	redis_arg_int(&args, until_ms);
	redis_arg(&args, reason);
	redis_arg_int(&args, refused);
	rc = redis_call_script(l->r, &lua_hold, ARRAY_LEN(suffix), &args, NULL, deadline_ms, err);
	redis_args_clear(&args);
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++)
		free(keys[i]);
	return rc;
}
