/* What limiter.c and limit_agent.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_LIMIT_IMPL_H
#define COMMON_QUEUE_LIMIT_IMPL_H

#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/impl.h"
#include "common/queue/limiter.h"

#define DOWN_RETRY_MS 100 /* Redis is away: those who still have time wait on */
#define LIMIT_BUCKETS 1024

/* Stands on the waiting coroutine's stack, and leaves the row before that returns. */
struct waiter {
	struct co *co;
	struct waiter *prev, *next;
	int64_t until_ms; /* may wait so long */
	bool done;
	int rc;
	int64_t wait_ms;
	char text[160];
	struct permit permit;
};

/* What is to be said of a permit: amend.lua's ops. */
struct amends {
	struct buf ops;  /* a byte each */
	struct buf text; /* token, granted us, number: each with its NUL */
	int n;
	bool plain; /* nothing but ends of calls: one ZREM does */
};
#define LIMIT_KEYS 6 /* log, flight, hold, run, sum, set */
#define LIMIT_TOUCH_MS 100

struct limit_agent {
	struct limiter *limiter;
	char partner[PARTNER_MAX + 1];
	char *signature;
	struct limit_scope scopes[LIMIT_SCOPES_MAX];
	int n_scopes;
	char *keys[LIMIT_SCOPES_MAX][LIMIT_KEYS];
	char *since;
	struct waiter *first, *last;
	int n_waiting, permits;    /* permits given out and not returned yet */
	struct acquire_call *call; /* the one under way */
	struct loop_timer *timer;
	int64_t next_ms; /* nobody gets one before; 0 = unknown */
	int64_t flight_poll_ms, used_ms;
	int64_t old_us; /* a permit may be this old when its call goes out */
	bool high;
	struct amends amends;
	bool dirty; /* in the limiter's list of those with something to say */
	struct limit_agent *next_dirty, *next;
};

/* A script under way can't be recalled: it finds agent NULL when the limiter is gone. */
struct acquire_call {
	struct limit_agent *agent;
	int want;
	int64_t asked_us;
	char token[32];
};

struct limiter {
	struct redis *r;
	int refs;        /* its owner's, and each amend under way */
	char prefix[12]; /* of tokens: this process */
	uint64_t calls;
	struct limit_agent *buckets[LIMIT_BUCKETS], *dirty;
	struct loop_timer *flush, *touch;
	struct permit *unsent;
	int64_t told_us,
		unsure_us; /* our clock: amends sent until then were heard; some of before then were perhaps not */
	int64_t swept_ms;
};

/* limit_agent.c */
struct limit_agent *agent_of(struct limiter *l, const struct limit_set *set);
void agent_free(struct limit_agent *a);
void tier_args(struct redis_args *args, const struct limit_scope *s);

/* limit_amend.c */
void limit_amend(struct limit_agent *a, char op, const char *token, int64_t granted_us,
		 int64_t number);
void limit_flush(void *limiter); /* sends what is to be said */
void limit_touch(void *limiter); /* the timer of those unsent */

/* limiter.c */
void limiter_put(struct limiter *l);
void agent_ask(struct limit_agent *a);

#endif
