/* One script call at most is under way for an agent: it asks for as many permits as wait, and says when to ask again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define WANT_MAX 64       /* permits a script: 1 to 2 us each */
#define FLIGHT_POLL_MS 20 /* where Redis does not tell of ends of calls in other processes … */
#define FLIGHT_POLL_MAX_MS 200 /* … and asking for long means asking less */
#define REPLY_HEAD 8           /* elements before what is left of each tier */

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
	row_end(a, w, 0);
}

static int64_t calls_of(const struct limit_tier *t)
{
	return t->units > 1 ? t->limit / t->units : t->limit;
}

int64_t limit_row_ms(const struct limit_agent *a, int place)
{
	int64_t most = 0;

	for (int i = 0; i < a->n_scopes; i++) {
		/* Others take turns with us there: we get our part of its pace. */
		int64_t parts = i == a->place ? a->sharers + 1 : 1;

		for (int k = 0; k < a->scopes[i].n_tiers; k++) {
			const struct limit_tier *t = &a->scopes[i].tiers[k];
			int64_t calls = calls_of(t),
				ms = calls > 0 ? place * parts / calls * t->window_ms : 0;

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
		int64_t ms = wait_ms + limit_row_ms(a, place);

		next = w->next;
		if (now_ms + ms <= w->until_ms) {
			place++;
			continue;
		}
		w->wait_ms = ms;
		snprintf(w->text, sizeof(w->text), "%s", text);
		row_end(a, w, rc);
	}
}

/* ---- asking ---- */

static void ask_at(struct limit_agent *a, int64_t delay_ms)
{
	/* A little chance, so that processes do not come in step. */
	delay_ms += (int64_t)random_below(3);
	a->timer_ms = loop_now_ms() + delay_ms;
	if (a->first)
		loop_timer_set(a->timer, delay_ms);
}

/* Until the first of the row has waited its time. */
static int64_t patience_ms(const struct limit_agent *a)
{
	int64_t least = INT64_MAX, now_ms = loop_now_ms();

	for (const struct waiter *w = a->first; w; w = w->next)
		if (w->until_ms < least)
			least = w->until_ms;
	return least > now_ms ? least - now_ms : 0;
}

/* When a call ends is told, by this process or by Redis; where Redis can't, it is asked. */
static void wait_for_end(struct limit_agent *a, int64_t again_ms)
{
	int64_t patience;

	dismiss(a, 0, -EAGAIN, "flight");
	if (!a->first)
		return;
	limit_ground(a);
	if (limit_watch(a)) {
		a->flight_poll_ms = again_ms;
	} else {
		a->flight_poll_ms = a->flight_poll_ms ? a->flight_poll_ms * 2 : FLIGHT_POLL_MS;
		if (a->flight_poll_ms > FLIGHT_POLL_MAX_MS)
			a->flight_poll_ms = FLIGHT_POLL_MAX_MS;
		if (a->flight_poll_ms > again_ms)
			a->flight_poll_ms = again_ms;
	}
	patience = patience_ms(a);
	ask_at(a, patience < a->flight_poll_ms ? patience : a->flight_poll_ms);
}

static void denied(struct limit_agent *a, redisReply *const *e)
{
	int64_t wait_ms = (reply_int(e[2]) + 999) / 1000, again_ms = (reply_int(e[6]) + 999) / 1000;
	const char *why = e[3]->str;

	a->place = (int)reply_int(e[4]) - 1;
	a->sharers = (int)reply_int(e[7]);
	a->in_row = a->place >= 0 && a->place < a->n_scopes && a->row_keys[a->place][0];
	if (strcmp(why, "flight") == 0) {
		wait_for_end(a, again_ms);
		return;
	}
	a->flight_poll_ms = 0;
	a->next_ms = loop_now_ms() + wait_ms;
	dismiss(a, wait_ms, -EAGAIN, why);
	ask_at(a, again_ms);
	/* The place is another integration's: it may be one of ours. */
	if (strcmp(why, "turn") == 0)
		limit_wake(a, 1);
}

static void answered(struct limit_agent *a, const struct acquire_call *c, const redisReply *reply)
{
	int64_t granted = reply_int(reply->element[0]), now_us = reply_int(reply->element[1]);
	char token[48];

	if (c->tell && reply->elements > REPLY_HEAD)
		limit_left_told(a, reply->element + REPLY_HEAD, reply->elements - REPLY_HEAD);
	for (int i = 1; i <= granted; i++) {
		snprintf(token, sizeof(token), "%s:%d", c->token, i);
		if (a->first)
			grant(a, a->first, token, now_us, c->asked_us,
			      reply_int(reply->element[5]) > 0);
		else /* who wanted it was cancelled meanwhile */
			limit_amend(a, 'r', token, now_us, 0);
	}
	if (granted == 0) {
		denied(a, reply->element);
	} else {
		a->flight_poll_ms = 0;
		a->in_row = a->in_row && granted < c->waiting;
		if (has_flight(a))
			limit_watch_again(a->limiter);
	}
	if (granted > 0 && a->first)
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
	a->next_ms = a->first ? loop_now_ms() + DOWN_RETRY_MS : 0;
	ask_at(a, DOWN_RETRY_MS);
}

static void on_acquired(int rc, redisReply *reply, const char *text, void *arg)
{
	struct acquire_call *c = arg;
	struct limit_agent *a = c->agent;

	if (a) {
		a->call = NULL;
		if (rc == 0 && reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements >= REPLY_HEAD)
			answered(a, c, reply);
		else
			failed(a, c, rc ? rc : -EPROTO, text);
		limit_leave_row(a);
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
	redis_arg_int(args, s->shared);
	tier_args(args, s);
}

static int key_args(struct redis_args *args, const struct limit_agent *a)
{
	int n = 1;

	redis_arg(args, a->since);
	for (int i = 0; i < a->n_scopes; i++, n += LIMIT_KEYS)
		for (int k = 0; k < LIMIT_KEYS; k++)
			redis_arg(args, a->keys[i][k]);
	for (int i = 0; i < a->n_scopes; i++) {
		if (!a->row_keys[i][0])
			continue;
		for (int k = 0; k < LIMIT_ROW_KEYS; k++, n++)
			redis_arg(args, a->row_keys[i][k]);
	}
	redis_arg(args, a->gone);
	return n + 1;
}

void agent_ask(struct limit_agent *a)
{
	static uint64_t calls; /* of the process, since limiters of one epoch share a prefix */
	struct limiter *l = a->limiter;
	struct redis_args args;
	int n_keys;

	if (a->call || !a->first)
		return;
	loop_timer_stop(a->timer);
	limit_unground(a);
	a->next_ms = 0;
	struct acquire_call *c = mem_new(struct acquire_call);
	c->agent = a;
	c->want = want_of(a);
	c->waiting = a->n_waiting;
	c->tell = limit_left_due(a);
	c->asked_us = clock_mono_us();
	snprintf(c->token, sizeof(c->token), "%s.%llx", l->prefix, (unsigned long long)++calls);
	a->call = c;
	redis_args_init(&args);
	n_keys = key_args(&args, a);
	redis_arg_int(&args, c->want);
	redis_arg(&args, c->token);
	redis_arg(&args, redis_run_id(l->r));
	redis_arg_int(&args, a->high);
	redis_arg_int(&args, a->n_scopes);
	redis_arg(&args, a->who);
	redis_arg_int(&args, c->waiting);
	redis_arg_int(&args, c->tell);
	for (int i = 0; i < a->n_scopes; i++)
		scope_args(&args, &a->scopes[i]);
	redis_send_script(l->r, &lua_acquire, n_keys, &args, on_acquired, c);
	redis_args_clear(&args);
}
