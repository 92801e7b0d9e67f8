#include "common/queue/limiter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define WANT_MAX 64            /* permits a script: 5 us each */
#define FLIGHT_POLL_MS 20      /* other processes' releases are not announced … */
#define FLIGHT_POLL_MAX_MS 200 /* … and asking for long means asking less */

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

static void end(struct limit_agent *a, struct waiter *w, int rc)
{
	leave(a, w);
	w->rc = rc;
	w->done = true;
	co_wake(w->co);
}

static bool has_flight(const struct limit_agent *a)
{
	for (int i = 0; i < a->n_scopes; i++) {
		if (a->scopes[i].flight > 0)
			return true;
	}
	return false;
}

static void grant(struct limit_agent *a, struct waiter *w, const char *token, int64_t now_us,
		  int64_t asked_us, bool paced)
{
	w->permit = (struct permit){ .agent = a,
				     .granted_ms = now_us / 1000,
				     .granted_us = now_us,
				     .asked_us = asked_us,
				     .kept_us = asked_us,
				     .flight = has_flight(a),
				     .paced = paced };
	for (int i = 0; i < a->n_scopes; i++)
		for (int k = 0; k < a->scopes[i].n_tiers; k++)
			w->permit.units[i][k] = a->scopes[i].tiers[k].units;
	snprintf(w->permit.token, sizeof(w->permit.token), "%s", token);
	a->permits++;
	end(a, w, 0);
}

static int64_t calls_of(const struct limit_tier *t)
{
	return t->units > 1 ? t->limit / t->units : t->limit;
}

/* How long those before it in the row keep the one at `place` waiting, at the slowest tier's pace. */
static int64_t row_ms(const struct limit_agent *a, int place)
{
	int64_t most = 0;

	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < a->scopes[i].n_tiers; k++) {
			const struct limit_tier *t = &a->scopes[i].tiers[k];
			int64_t calls = calls_of(t),
				ms = calls > 0 ? place / calls * t->window_ms : 0;

			if (ms > most)
				most = ms;
		}
	}
	return most;
}

/* Those who would wait too long are told so now. */
static void dismiss(struct limit_agent *a, int64_t wait_ms, int rc, const char *text)
{
	int64_t now_ms = loop_now_ms();
	int place = 0;

	for (struct waiter *w = a->first, *next; w; w = next) {
		int64_t ms = wait_ms + row_ms(a, place);

		next = w->next;
		if (now_ms + ms <= w->until_ms) {
			place++;
			continue;
		}
		w->wait_ms = ms;
		snprintf(w->text, sizeof(w->text), "%s", text);
		end(a, w, rc);
	}
}

/* ---- asking ---- */

static void ask_at(struct limit_agent *a, int64_t delay_ms)
{
	/* A little chance, so that processes do not come in step. */
	delay_ms += (int64_t)random_below(3);
	a->next_ms = loop_now_ms() + delay_ms;
	if (a->first)
		loop_timer_set(a->timer, delay_ms);
}

static void denied(struct limit_agent *a, int64_t wait_us, const char *why)
{
	int64_t wait_ms = (wait_us + 999) / 1000;

	if (strcmp(why, "flight") != 0) {
		a->flight_poll_ms = 0;
		dismiss(a, wait_ms, -EAGAIN, why);
		ask_at(a, wait_ms);
		return;
	}
	/* When a call ends nobody knows: who has waited its time goes, the others ask again. */
	a->flight_poll_ms = a->flight_poll_ms ? a->flight_poll_ms * 2 : FLIGHT_POLL_MS;
	if (a->flight_poll_ms > FLIGHT_POLL_MAX_MS)
		a->flight_poll_ms = FLIGHT_POLL_MAX_MS;
	dismiss(a, 0, -EAGAIN, why);
	ask_at(a, wait_ms < a->flight_poll_ms ? wait_ms : a->flight_poll_ms);
}

static void answered(struct limit_agent *a, const struct acquire_call *c, const redisReply *reply)
{
	int64_t granted = reply_int(reply->element[0]), now_us = reply_int(reply->element[1]);
	char token[48];

	for (int i = 1; i <= granted; i++) {
		snprintf(token, sizeof(token), "%s:%d", c->token, i);
		if (a->first)
			grant(a, a->first, token, now_us, c->asked_us,
			      reply_int(reply->element[5]) > 0);
		else /* who wanted it was cancelled meanwhile */
			limit_amend(a, 'r', token, now_us, 0);
	}
	if (granted > 0)
		a->flight_poll_ms = 0;
	if (granted == 0)
		denied(a, reply_int(reply->element[2]), reply->element[3]->str);
	else if (a->first)
		agent_ask(a);
}

static void failed(struct limit_agent *a, const struct acquire_call *c, int rc, const char *text)
{
	char token[48];

	/* Granted or not is unknown: what may have been granted goes back as soon as Redis hears us. */
	for (int i = 1; rc == -ECONNRESET && i <= c->want; i++) {
		snprintf(token, sizeof(token), "%s:%d", c->token, i);
		limit_amend(a, 'x', token, 0, 0);
	}
	dismiss(a, rc == -ECONNRESET ? DOWN_RETRY_MS : INT32_MAX, rc,
		text ? text : "Redis is away");
	if (a->first)
		ask_at(a, DOWN_RETRY_MS);
	else
		a->next_ms = 0;
}

static void on_acquired(int rc, redisReply *reply, const char *text, void *arg)
{
	struct acquire_call *c = arg;
	struct limit_agent *a = c->agent;

	if (a) {
		a->call = NULL;
		if (rc == 0 && reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 6)
			answered(a, c, reply);
		else
			failed(a, c, rc ? rc : -EPROTO, text);
	}
	freeReplyObject(reply);
	free(c);
}

static int want_of(const struct limit_agent *a)
{
	int64_t want = a->n_waiting < WANT_MAX ? a->n_waiting : WANT_MAX;

	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < a->scopes[i].n_tiers; k++) {
			int64_t most = calls_of(&a->scopes[i].tiers[k]);

			if (most > 0 && most < want)
				want = most;
		}
	}
	return (int)want;
}

static int kind_of(const struct limit_tier *t)
{
	if (t->kind != LIMIT_SLIDING)
		return t->kind == LIMIT_FIXED ? 2 : 3;
	return t->charged || (t->limit > LIMIT_LOG_CALLS && t->window_ms > LIMIT_LOG_WINDOW_MS);
}

int64_t limit_margin_ms(int64_t window_ms)
{
	int64_t ms = LIMIT_MARGIN_MS + window_ms / LIMIT_MARGIN_PART;

	return ms < LIMIT_MARGIN_MAX_MS ? ms : LIMIT_MARGIN_MAX_MS;
}

void tier_args(struct redis_args *args, const struct limit_scope *s)
{
	redis_arg_int(args, s->n_tiers);
	for (int k = 0; k < s->n_tiers; k++) {
		const struct limit_tier *t = &s->tiers[k];
		int kind = kind_of(t);

		redis_arg_int(args, kind);
		redis_arg_int(args, kind || t->units < 2 ? t->limit : t->limit / t->units);
		redis_arg_int(args, t->window_ms * 1000);
		/* of a bucket the time between two calls is what matters, not the window its rate is told in */
		redis_arg_int(args,
			      limit_margin_ms(t->kind == LIMIT_BUCKET ? t->window_ms / t->limit
								      : t->window_ms) *
				      1000);
		redis_arg_int(args, kind && t->units > 1 ? t->units : 1);
		redis_arg_int(args,
			      t->kind == LIMIT_BUCKET ? t->burst : LIMIT_FIXED_GUARD_MS * 1000);
	}
}

static void scope_args(struct redis_args *args, const struct limit_scope *s)
{
	redis_arg_int(args, s->flight);
	redis_arg_int(args, s->flight_ttl_ms > 0 ? s->flight_ttl_ms : 60000);
	tier_args(args, s);
}

void agent_ask(struct limit_agent *a)
{
	struct limiter *l = a->limiter;
	struct redis_args args;

	if (a->call || !a->first)
		return;
	loop_timer_stop(a->timer);
	a->next_ms = 0;
	struct acquire_call *c = mem_new(struct acquire_call);
	c->agent = a;
	c->want = want_of(a);
	c->asked_us = clock_mono_us();
	snprintf(c->token, sizeof(c->token), "%s.%llx", l->prefix, (unsigned long long)++l->calls);
	a->call = c;
	redis_args_init(&args);
	redis_arg(&args, a->since);
	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < LIMIT_KEYS; k++)
			redis_arg(&args, a->keys[i][k]);
	}
	redis_arg_int(&args, c->want);
	redis_arg(&args, c->token);
	redis_arg(&args, redis_run_id(l->r));
	redis_arg_int(&args, a->high);
	redis_arg_int(&args, a->n_scopes);
	for (int i = 0; i < a->n_scopes; i++)
		scope_args(&args, &a->scopes[i]);
	redis_send_script(l->r, &lua_acquire, 1 + LIMIT_KEYS * a->n_scopes, &args, on_acquired, c);
	redis_args_clear(&args);
}

/* ---- the outside ---- */

struct limiter *limiter_new(struct redis *r, const char *epoch)
{
	struct limiter *l = mem_new(struct limiter);
	uint8_t random[5];

	(void)epoch; /* a token needs to be unique, not to be read; ten characters are dear enough */
	random_bytes(random, sizeof(random));
	crypto_hex(random, sizeof(random), l->prefix);
	l->r = r;
	l->refs = 1;
	l->flush = loop_timer_new(limit_flush, l);
	l->touch = loop_timer_new(limit_touch, l);
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
	for (int i = 0; i < LIMIT_BUCKETS; i++) {
		while (l->buckets[i]) {
			struct limit_agent *a = l->buckets[i];

			l->buckets[i] = a->next;
			agent_free(a);
		}
	}
	loop_timer_free(l->flush);
	loop_timer_free(l->touch);
	limiter_put(l);
}

/* Known already that it takes too long: no need to ask. */
static int64_t known_wait_ms(const struct limit_agent *a, int64_t now_ms)
{
	if (a->next_ms <= now_ms || a->flight_poll_ms)
		return 0;
	return a->next_ms - now_ms + row_ms(a, a->n_waiting);
}

static int wait_for(struct limit_agent *a, struct waiter *w, int64_t deadline_ms)
{
	int rc = 0;

	join(a, w);
	/* Not at once: all that come to wait in one turn of the loop ask together. */
	if (!a->call && !loop_timer_pending(a->timer))
		loop_timer_set(a->timer,
			       a->next_ms > loop_now_ms() ? a->next_ms - loop_now_ms() : 0);
	while (!w->done && rc == 0)
		rc = co_wait("permit", deadline_ms);
	a->used_ms = loop_now_ms();
	if (!w->done) {
		leave(a, w);
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
