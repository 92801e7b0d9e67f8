#include "common/queue/breaker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/io/co.h"
#include "common/queue/breaker_impl.h"

#define HOLD_SPREAD_MS 500

/* ---- telling ---- */

static int64_t slot_ms(const struct breaker *b)
{
	return b->rules.window_ms / BREAKER_SLOTS + 1;
}

static void count_ok(struct breaker *b)
{
	int64_t slot = redis_now_ms(b->partner->all->r) / slot_ms(b);
	int at = (int)(slot % BREAKER_SLOTS);

	if (b->ok[at].slot != slot) {
		b->ok[at].slot = slot;
		b->ok[at].n = 0;
	}
	b->ok[at].n++;
}

static void report_args(struct breaker *b, const char *outcome, const char *token, const char *why,
			struct redis_args *a)
{
	const struct breaker_rules *r = &b->rules;

	redis_args_init(a);
	redis_arg(a, b->key);
	redis_arg(a, b->partner->index);
	redis_arg(a, b->host);
	redis_arg(a, outcome);
	redis_arg(a, token);
	redis_arg(a, why ? why : "");
	redis_arg_int(a, r->failures);
	redis_arg_int(a, (int64_t)(r->share * 1000 + 0.5));
	redis_arg_int(a, r->calls);
	redis_arg_int(a, slot_ms(b));
	redis_arg_int(a, r->open_ms);
	redis_arg_int(a, r->open_max_ms);
	redis_arg_int(a, r->slow_start_ms);
	for (int i = 0; i < BREAKER_SLOTS; i++) {
		if (b->ok[i].n) {
			redis_arg_int(a, b->ok[i].slot);
			redis_arg_int(a, b->ok[i].n);
		}
		b->ok[i].n = 0;
	}
}

/* Without waiting: the next refresh brings what came of it. */
void breaker_tell_ok(struct breaker *b)
{
	struct redis_args a;

	report_args(b, "ok", "", NULL, &a);
	redis_send_script(b->partner->all->r, &lua_breaker, 2, &a, NULL, NULL);
	redis_args_clear(&a);
	b->in_a_row = false;
}

static void log_change(const struct breaker *b, int opens, const char *why)
{
	const char *partner = b->partner->name;
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);

	if (b->state == BREAKER_OPEN)
		log_event(LOG_WARN, "breaker_opened", LS("of", partner), LS("host", b->host),
			  LI("for_ms", left), LI("in_a_row", opens), LS("reason", why));
	else
		log_event(LOG_INFO, "breaker_closed", LS("of", partner), LS("host", b->host),
			  LI("slow_start_ms", left > 0 ? left : 0));
}

/* Whoever closed it lets its jobs into the rings; a scheduler does it again, should this process die here. */
static void let_in(struct breaker *b)
{
	struct queue *q = queue_new(b->partner->all->r, b->partner->name, NULL);
	struct err err = { 0 };

	if (queue_open(q, loop_now_ms() + BREAKER_REDIS_MS, &err) < 0)
		log_event(LOG_INFO, "breaker_not_walked", LS("host", b->host),
			  LS("reason", err.text));
	queue_free(q);
}

static void report(struct breaker *b, const char *outcome, const char *token, const char *why)
{
	struct redis *r = b->partner->all->r;
	redisReply *reply = NULL;
	struct redis_args a;
	struct err err = { 0 };
	int rc = 0;

	report_args(b, outcome, token, why, &a);
	b->telling++;
	if (co_is_cancelled())
		redis_send_script(r, &lua_breaker, 2, &a, NULL, NULL);
	else
		rc = redis_call_script(r, &lua_breaker, 2, &a, &reply,
				       loop_now_ms() + BREAKER_REDIS_MS, &err);
	redis_args_clear(&a);
	b->telling--;
	b->listed = true; /* the next refresh sets right what is not said here */
	if (rc < 0 || !reply_is(reply, REDIS_REPLY_ARRAY) || reply->elements != 5 ||
	    (b->telling && b->state == BREAKER_OPEN &&
	     reply->element[0]->len == strlen("closed"))) {
		freeReplyObject(reply); /* nothing, or older than what is being told */
		return;
	}
	b->state = breaker_state_parse(reply->element[0]->str, reply->element[0]->len);
	b->until_ms = reply_int(reply->element[1]);
	b->in_a_row = reply_int(reply->element[3]) > 0;
	if (reply_int(reply->element[4]) == 1) {
		log_change(b, (int)reply_int(reply->element[2]), why);
		if (b->state == BREAKER_CLOSED)
			let_in(b);
	}
	freeReplyObject(reply);
}

/* ---- at the call ---- */

static int refuse(const struct breaker *b, struct err *err)
{
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);
	int64_t ms = left > 0 && left < BREAKER_HOLD_MS ? left : BREAKER_HOLD_MS;

	if (b->state == BREAKER_OPEN && !b->until_ms)
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is open until it is closed by hand", b->host);
	else if (b->state == BREAKER_OPEN)
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is open for another %lld s", b->host,
			(long long)(left > 0 ? left / 1000 + 1 : 0));
	else
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is half open: another call probes", b->host);
	if (err)
		err->retry_after_ms = ms + random_below(HOLD_SPREAD_MS);
	return -EAGAIN;
}

static int ask_probe(struct breaker *b, int64_t probe_ms, struct breaker_pass *out, struct err *err)
{
	redisReply *reply = NULL;
	struct redis_args a;
	char token[ID_LEN + 1];
	int rc;

	id_new(token);
	redis_args_init(&a);
	redis_arg(&a, b->key);
	redis_arg(&a, b->partner->index);
	redis_arg(&a, b->host);
	redis_arg(&a, token);
	redis_arg_int(&a, probe_ms);
	rc = redis_call_script(b->partner->all->r, &lua_breaker_probe, 2, &a, &reply,
			       loop_now_ms() + BREAKER_REDIS_MS, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 3) {
		b->state = breaker_state_parse(reply->element[0]->str, reply->element[0]->len);
		b->until_ms = reply_int(reply->element[1]);
		if (reply_int(reply->element[2]) == 1)
			snprintf(out->token, sizeof(out->token), "%s", token);
	}
	freeReplyObject(reply);
	if (b->state == BREAKER_CLOSED || out->token[0])
		return 0;
	return refuse(b, err);
}

int breaker_enter(struct breaker *b, int64_t probe_ms, struct breaker_pass *out, struct err *err)
{
	struct breaker_partner *p = b->partner;

	out->token[0] = '\0';
	breaker_catch_up(p);
	breaker_keep_up(p);
	if (b->state == BREAKER_CLOSED)
		return 0;
	if (b->state == BREAKER_OPEN && (!b->until_ms || redis_now_ms(p->all->r) < b->until_ms))
		return refuse(b, err);
	return ask_probe(b, probe_ms, out, err);
}

int breaker_stands(const struct breaker *b, const struct breaker_pass *pass, struct err *err)
{
	return b->state == BREAKER_CLOSED || pass->token[0] ? 0 : refuse(b, err);
}

void breaker_leave(struct breaker *b, const struct breaker_rules *rules, struct breaker_pass *pass,
		   enum breaker_outcome outcome, const char *why)
{
	static const char *const names[] = { "ok", "failed", "none" };

	b->rules = *rules;
	b->partner->used_ms = loop_now_ms();
	if (pass->token[0]) {
		report(b, names[outcome], pass->token, why);
		pass->token[0] = '\0';
	} else if (b->state != BREAKER_CLOSED) {
		return; /* under way when it opened */
	} else if (outcome == BREAKER_FAILED) {
		if (++b->streak >= rules->failures) {
			/* Enough by ourselves: the calls that are next in line need not wait for Redis to say so. */
			b->state = BREAKER_OPEN;
			b->until_ms = redis_now_ms(b->partner->all->r) + rules->open_ms;
			b->streak = 0;
		}
		report(b, "failed", "", why);
	} else if (outcome == BREAKER_OK) {
		b->streak = 0;
		count_ok(b);
		if (b->in_a_row)
			breaker_tell_ok(b);
	}
}

bool breaker_is_closed(const struct breaker *b)
{
	return b->state == BREAKER_CLOSED;
}

int breaker_allows(const struct breaker *b, const struct breaker_rules *rules, int all)
{
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);
	int64_t whole = rules->slow_start_ms;
	int steps = 1;

	if (b->state != BREAKER_CLOSED || left <= 0 || whole <= 0)
		return all;
	/* Doubling: whatever the partner bore before, the first steps are small ones. */
	while (steps < 30 && all >> steps)
		steps++;
	if (left > whole)
		left = whole;
	return 1 << (steps * (whole - left) / (whole + 1));
}
