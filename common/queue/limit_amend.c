/* What is said of permits after their grant, gathered for one turn of the loop: that they were sent, and when; that they
 * were not; that the call has ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

/* ---- telling ---- */

struct amend_call {
	struct limiter *limiter;
	int64_t sent_us;
};

static void on_amended(int rc, redisReply *reply, const char *text, void *arg)
{
	struct amend_call *c = arg;

	/* One connection keeps the order: what was sent before an answered one was heard. */
	if (rc == 0 && c->sent_us > c->limiter->told_us)
		c->limiter->told_us = c->sent_us;
	if (rc < 0 && c->sent_us > c->limiter->unsure_us)
		c->limiter->unsure_us = c->sent_us;
	limiter_put(c->limiter);
	freeReplyObject(reply);
	free(c);
}

/* Nothing but ends of calls, as nearly always. */
static void send_ends(struct limiter *l, const char *flight, const struct amends *m)
{
	struct redis_args args;
	const char *text = m->text.data;

	redis_args_init(&args);
	redis_arg(&args, "ZREM");
	redis_arg(&args, flight);
	for (int i = 0; i < m->n; i++) {
		redis_arg(&args, text);
		for (int k = 0; k < 3; k++)
			text += strlen(text) + 1;
	}
	redis_send(l->r, &args, NULL, NULL);
	redis_args_clear(&args);
}

static void send_amends(struct limit_agent *a, int scope, const struct amends *m)
{
	const struct limit_scope *s = &a->scopes[scope];
	struct amend_call *c = mem_new(struct amend_call);
	struct redis_args args;
	const char *text = m->text.data;

	*c = (struct amend_call){ a->limiter, clock_mono_us() };
	a->limiter->refs++;
	redis_args_init(&args);
	redis_arg(&args, a->keys[scope][0]);
	redis_arg(&args, a->keys[scope][4]);
	redis_arg(&args, a->keys[scope][1]);
	tier_args(&args, s);
	for (int i = 0; i < m->n; i++) {
		bool marked = strchr("ch", m->ops.data[i]) != NULL,
		     ours = !marked || *text - '0' == scope;

		if (ours)
			redis_arg_bytes(&args, m->ops.data + i, 1);
		for (int k = 0; k < 3; k++) {
			if (ours)
				redis_arg(&args, text + (marked && k == 0));
			text += strlen(text) + 1;
		}
	}
	redis_send_script(a->limiter->r, &lua_amend, 3, &args, on_amended, c);
	redis_args_clear(&args);
}

static void agent_flush(struct limit_agent *a)
{
	struct amends *m = &a->amends;
	int n = m->n;
	bool plain = m->plain;

	for (int i = 0; m->n && i < a->n_scopes; i++) {
		const struct limit_scope *s = &a->scopes[i];

		if (!m->plain && (s->n_tiers > 0 || s->flight > 0))
			send_amends(a, i, m);
		else if (m->plain && s->flight > 0)
			send_ends(a->limiter, a->keys[i][1], m);
	}
	buf_reset(&m->ops);
	buf_reset(&m->text);
	m->n = 0;
	a->dirty = false;
	/* Freed places may be what others wait for, and the same connection keeps the order. */
	if (a->limiter->ground_first) {
		limit_wake(a, n);
		limit_watch_again(a->limiter);
	}
	if (a->first && !plain && !a->grounded)
		agent_ask(a);
}

void limit_flush(void *arg)
{
	struct limiter *l = arg;

	if (!redis_is_up(l->r)) {
		loop_timer_set(l->flush, DOWN_RETRY_MS);
		return;
	}
	while (l->dirty) {
		struct limit_agent *a = l->dirty;

		l->dirty = a->next_dirty;
		agent_flush(a);
	}
}

void limit_amend(struct limit_agent *a, char op, const char *token, int64_t granted_us,
		 int64_t number)
{
	struct limiter *l = a->limiter;
	struct amends *m = &a->amends;

	m->plain = op == 'e' && (m->n == 0 || m->plain);
	buf_putc(&m->ops, op);
	buf_append(&m->text, token, strlen(token) + 1);
	buf_putint(&m->text, granted_us);
	buf_putc(&m->text, '\0');
	buf_putint(&m->text, number);
	buf_putc(&m->text, '\0');
	m->n++;
	if (a->dirty)
		return;
	a->dirty = true;
	a->next_dirty = l->dirty;
	l->dirty = a;
	if (!loop_timer_pending(l->flush))
		loop_timer_set(l->flush, 0);
}

/* ---- between grant and sending ---- */

/* On Redis' clock, never too early: the grant came after it was asked for. */
static int64_t counted_now_us(const struct permit *p, int64_t now_us)
{
	return p->granted_us + (now_us - p->asked_us);
}

static void move(struct permit *p, int64_t now_us)
{
	limit_amend(p->agent, p->moves++ ? 'n' : 'm', p->token, p->granted_us,
		    counted_now_us(p, now_us));
}

/* What was said of it at touched_us is believed once something said later, or that itself, was answered. */
static void confirm(const struct limiter *l, struct permit *p)
{
	if (!p->touched_us || l->told_us < p->touched_us)
		return;
	if (l->unsure_us < p->touched_us)
		p->kept_us = p->touched_us;
	p->touched_us = 0;
}

static void unlink_unsent(struct limiter *l, struct permit *p)
{
	if (!p->waits)
		return;
	if (p->prev)
		p->prev->next = p->next;
	else
		l->unsent = p->next;
	if (p->next)
		p->next->prev = p->prev;
	p->prev = p->next = NULL;
	p->waits = false;
	if (!l->unsent)
		loop_timer_stop(l->touch);
}

void limit_touch(void *arg)
{
	struct limiter *l = arg;
	int64_t now_us = clock_mono_us();

	for (struct permit *p = l->unsent; p; p = p->next) {
		confirm(l, p);
		if (p->touched_us || now_us - p->kept_us < p->agent->old_us / 4)
			continue;
		move(p, now_us);
		p->touched_us = now_us;
	}
	if (l->dirty)
		limit_flush(l);
}

void limiter_sending(struct limiter *l, struct permit *p)
{
	if (!p->agent || p->waits)
		return;
	p->waits = true;
	p->prev = NULL;
	p->next = l->unsent;
	if (l->unsent)
		l->unsent->prev = p;
	else
		loop_timer_every(l->touch, LIMIT_TOUCH_MS);
	l->unsent = p;
}

bool limiter_sent(struct limiter *l, struct permit *p)
{
	int64_t now_us = clock_mono_us();

	if (!p->agent)
		return true;
	confirm(l, p);
	if (now_us - p->kept_us > p->agent->old_us)
		return false;
	if (now_us - p->asked_us > LIMIT_LATE_MS * 1000)
		move(p, now_us);
	p->sent = true;
	unlink_unsent(l, p);
	return true;
}

static void give_back(struct limiter *l, struct permit *p, char op)
{
	if (!p->agent)
		return;
	unlink_unsent(l, p);
	p->agent->permits--;
	if (op != 'e' || p->flight)
		limit_amend(p->agent, op, p->token, p->granted_us, 0);
	memset(p, 0, sizeof(*p));
}

void limiter_release(struct limiter *l, struct permit *p)
{
	give_back(l, p, 'e');
}

/* One that was moved has its units somewhere near: in counters they stay, which is the safe side. */
void limiter_refund(struct limiter *l, struct permit *p)
{
	give_back(l, p, p->moves ? 'x' : 'r');
}

/* Of one scope alone: its number stands before the text, and is cut off by send_amends. */
static void amend_scope(const struct permit *p, char op, int scope, const struct buf *text,
			int64_t number)
{
	char *whole = mem_printf("%c%s", '0' + scope, buf_str(text));

	limit_amend(p->agent, op, whole, p->granted_us, number);
	free(whole);
}

void limiter_charge(struct limiter *l, const struct permit *p, int scope, int64_t window_ms,
		    int64_t more)
{
	struct buf text = BUF_INIT;

	if (!p->agent || !more)
		return;
	buf_putint(&text, window_ms * 1000);
	amend_scope(p, 'c', scope, &text, more);
	buf_clear(&text);
}

void limiter_heed(struct limiter *l, const struct permit *p, int scope, int64_t window_ms,
		  int64_t left, int64_t until_us)
{
	struct buf text = BUF_INIT;

	if (!p->agent)
		return;
	buf_printf(&text, "%s %lld %lld", p->token, (long long)window_ms * 1000,
		   (long long)until_us);
	amend_scope(p, 'h', scope, &text, left);
	buf_clear(&text);
}

void limiter_eased(struct limiter *l, const struct permit *p)
{
	if (p->agent && p->paced)
		limit_amend(p->agent, 's', p->token, p->granted_us, 0);
}
