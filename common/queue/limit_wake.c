/* Who waits for a call in flight to end: a list in order of denial, woken by ends in this process at once, and by Redis
 * (client tracking, over the doorbell's connection) of ends in others.  Redis tells nothing of our own writes and forgets
 * then that we watch, so the watch is set anew after them. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/doorbell.h"
#include "common/queue/limit_impl.h"

#define WATCH_AGAIN_MS 5 /* own writes of so long are one */

static struct limiter *limiters;

void limit_unground(struct limit_agent *a)
{
	struct limiter *l = a->limiter;

	if (!a->grounded)
		return;
	if (a->ground_prev)
		a->ground_prev->ground_next = a->ground_next;
	else
		l->ground_first = a->ground_next;
	if (a->ground_next)
		a->ground_next->ground_prev = a->ground_prev;
	else
		l->ground_last = a->ground_prev;
	a->ground_prev = a->ground_next = NULL;
	a->grounded = false;
}

void limit_ground(struct limit_agent *a)
{
	struct limiter *l = a->limiter;

	limit_unground(a);
	a->ground_prev = l->ground_last;
	if (l->ground_last)
		l->ground_last->ground_next = a;
	else
		l->ground_first = a;
	l->ground_last = a;
	a->grounded = true;
}

static const char *ground_key(const struct limit_agent *a)
{
	return a->place >= 0 && a->place < a->n_scopes ? a->keys[a->place][1] : "";
}

/* In order, those that wait for a place under this key. */
static void wake_key(struct limiter *l, const char *key, int n)
{
	for (struct limit_agent *a = l->ground_first, *next; a && n > 0; a = next) {
		next = a->ground_next;
		if (strcmp(ground_key(a), key) != 0)
			continue;
		n--;
		agent_ask(a);
	}
}

void limit_wake(struct limit_agent *by, int n)
{
	struct limiter *l = by->limiter;

	for (int i = 0; l->ground_first && i < by->n_scopes; i++)
		if (by->scopes[i].flight > 0)
			wake_key(l, by->keys[i][1], n);
}

/* ---- ends in other processes ---- */

struct watch {
	struct limiter *limiter;
	int cap;
	char key[];
};

static void on_watched(int rc, redisReply *reply, const char *text, void *arg)
{
	struct watch *w = arg;
	int64_t flying = rc == 0 ? reply_int(reply) : w->cap;

	if (flying < w->cap)
		wake_key(w->limiter, w->key, (int)(w->cap - flying));
	limiter_put(w->limiter);
	freeReplyObject(reply);
	free(w);
}

bool limit_watch(struct limit_agent *a)
{
	struct limiter *l = a->limiter;
	const char *key = ground_key(a);
	struct redis_args args;

	if (!doorbell_watch(l->r))
		return false;
	struct watch *w = mem_alloc(sizeof(*w) + strlen(key) + 1);
	w->limiter = l;
	w->cap = a->scopes[a->place].flight;
	memcpy(w->key, key, strlen(key) + 1);
	l->refs++;
	redis_args_init(&args);
	redis_arg(&args, "ZCARD");
	redis_arg(&args, w->key);
	redis_send(l->r, &args, on_watched, w);
	redis_args_clear(&args);
	return true;
}

/* Of each key that somebody waits under, once. */
void limit_watch_all(void *arg)
{
	struct limiter *l = arg;

	for (struct limit_agent *a = l->ground_first; a; a = a->ground_next) {
		const struct limit_agent *b = l->ground_first;

		while (b != a && strcmp(ground_key(a), ground_key(b)) != 0)
			b = b->ground_next;
		if (b == a && !limit_watch(a))
			return;
	}
}

void limit_watch_again(struct limiter *l)
{
	if (l->ground_first && !loop_timer_pending(l->watch))
		loop_timer_set(l->watch, WATCH_AGAIN_MS);
}

/* key NULL: all. */
static void on_told(const char *key)
{
	for (struct limiter *l = limiters; l; l = l->next)
		for (struct limit_agent *a = l->ground_first; a; a = a->ground_next)
			if (!key || strcmp(ground_key(a), key) == 0) {
				(void)limit_watch(a); /* the answer says how many may ask */
				break;
			}
}

void limit_listen(struct limiter *l)
{
	l->next = limiters;
	limiters = l;
	doorbell_on_limit(on_told);
}

void limit_unlisten(struct limiter *l)
{
	for (struct limiter **p = &limiters; *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			return;
		}
	}
}

/* ---- rows of other processes ---- */

void limit_leave_row(struct limit_agent *a)
{
	if (a->first || a->call)
		return;
	limit_unground(a);
	if (!a->in_row)
		return;
	a->in_row = false;
	for (int k = 0; a->row_keys[a->place][0] && k < LIMIT_ROW_KEYS; k++) {
		struct redis_args args;

		redis_args_init(&args);
		redis_arg(&args, "ZREM");
		redis_arg(&args, a->row_keys[a->place][k]);
		redis_arg(&args, a->who);
		redis_send(a->limiter->r, &args, NULL, NULL);
		redis_args_clear(&args);
	}
}
