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
#define LIMIT_KEYS 6     /* log, flight, hold, run, sum, set */
#define LIMIT_ROW_KEYS 2 /* turn, due: of shared scopes, one pair a lane */
#define LIMIT_TOUCH_MS 100
#define LIMIT_PREFIX 11 /* of tokens: 40 bits that name the process, as hex */

struct limit_agent {
	struct limiter *limiter;
	char partner[PARTNER_MAX + 1];
	char *signature;
	struct limit_scope scopes[LIMIT_SCOPES_MAX];
	int n_scopes;
	char *keys[LIMIT_SCOPES_MAX][LIMIT_KEYS];
	char *row_keys[LIMIT_SCOPES_MAX][LIMIT_ROW_KEYS]; /* NULL: not shared */
	char *since, *gone;
	char who[24];
	struct waiter *first, *last;
	int n_waiting, permits;    /* permits given out and not returned yet */
	struct acquire_call *call; /* the one under way */
	struct loop_timer *timer;
	int64_t next_ms; /* nobody gets one before; 0 = unknown */
	int place,
		sharers; /* of the last denial: the scope, from 0, and how many others wait for it */
	bool in_row;     /* of a shared scope, as Redis knows it */
	bool grounded;   /* in the limiter's list of those that wait for a call to end */
	struct limit_agent *ground_prev, *ground_next;
	int64_t timer_ms;                         /* when `timer` asks */
	int64_t flight_poll_ms, used_ms, told_ms; /* told: what is left was asked for */
	int64_t old_us; /* a permit may be this old when its call goes out */
	bool high;
	struct amends amends;
	bool dirty; /* in the limiter's list of those with something to say */
	struct limit_agent *next_dirty, *next;
};

/* A script under way can't be recalled: it finds agent NULL when the limiter is gone. */
struct acquire_call {
	struct limit_agent *agent;
	int want, waiting;
	bool tell; /* what is left */
	int64_t asked_us;
	char token[32];
};

struct limiter {
	struct redis *r;
	int refs;                  /* its owner's, and each amend under way */
	char prefix[LIMIT_PREFIX]; /* of tokens: this process */
	struct limit_agent *buckets[LIMIT_BUCKETS], *dirty;
	struct loop_timer *flush, *touch;
	struct permit *unsent;
	struct limit_agent *ground_first, *ground_last;
	struct loop_timer *age;
	struct loop_timer *watch; /* after own writes, of which Redis does not tell */
	struct limiter *next;     /* all of the process */
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

/* limit_ask.c */
void agent_ask(struct limit_agent *a);
/* How long those before it in the row keep the one at `place` waiting, at the slowest tier's pace. */
int64_t limit_row_ms(const struct limit_agent *a, int place);

/* limit_wake.c */
void limit_ground(struct limit_agent *a);
void limit_unground(struct limit_agent *a);
/* n places of `by`'s calls in flight came free: as many of those that wait for one ask, in order. */
void limit_wake(struct limit_agent *by, int n);
/* Makes Redis tell of ends of calls in other processes; false: it can't be. */
bool limit_watch(struct limit_agent *a);
void limit_watch_again(struct limiter *l); /* after an own write; soon, for all */
void limit_watch_all(void *limiter);       /* the timer of that */
void limit_listen(struct limiter *l);
void limit_unlisten(struct limiter *l);
/* Nobody waits any more: others need not leave a place for this integration. */
void limit_leave_row(struct limit_agent *a);

/* limit_left.c */
bool limit_left_due(struct limit_agent *a); /* once a second and agent */
void limit_left_told(struct limit_agent *a, redisReply *const *left, size_t n);
void limit_left_age(void); /* now and then */

/* limit_gone.c */
void limit_prefix(const char *epoch, char out[LIMIT_PREFIX]);

/* limiter.c */
void limiter_put(struct limiter *l);
void row_end(struct limit_agent *a, struct waiter *w, int rc);

#endif
