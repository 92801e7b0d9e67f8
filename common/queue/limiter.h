/* Permits for calls to partners, in Redis, on Redis' clock, shared by all workers.  All tiers of all scopes are taken or
 * none, in one script (lua/acquire.lua).  In no window of a tier's length are more calls *sent* than `limit`,
 * whatever the number of processes.  A scope may also bound calls in flight over the cluster, and be held
 * (Retry-After): then nobody gets a permit before the hold ends.
 *
 * One agent per process and set of keys: waiting coroutines stand in a row, one script call at most is under way for
 * them, and asks for as many permits as wait.  A permit counts from its grant; one whose call goes out later than
 * LIMIT_LATE_MS after that is counted from then instead (common/README.md, The limiter, has the reasoning).  One that
 * is never used is refunded. */
#ifndef COMMON_QUEUE_LIMITER_H
#define COMMON_QUEUE_LIMITER_H

#include "common/io/redis.h"

/* Windows are longer by this, for what passes between the instant that is counted and the arrival at the partner: 20 ms and
 * a fiftieth of the window, at most 100 ms.  4 % of a 1 s window, nothing of an hour. */
#define LIMIT_MARGIN_MS 20
#define LIMIT_MARGIN_PART 50
#define LIMIT_MARGIN_MAX_MS 100
#define LIMIT_LATE_MS 5 /* a call sent this much after its grant counts from when it was sent */
/* A tier of the kind sliding with more calls than this, in a window longer than that, is counted in 60 sub-buckets a window
 * in place of a log: never over, at most a sixtieth under. */
#define LIMIT_LOG_CALLS 500
#define LIMIT_LOG_WINDOW_MS 10000
#define LIMIT_FIXED_GUARD_MS \
	1000 /* how far the partner's clock may be from Redis', for kind fixed */
#define LIMIT_TIERS_MAX 6
#define LIMIT_SCOPES_MAX 4

enum limit_kind {
	LIMIT_SLIDING,
	LIMIT_FIXED, /* windows of the clock: each minute from :00 to :59 */
	LIMIT_BUCKET /* refilled at limit a window, holds `burst` */
};
struct limit_tier {
	int64_t limit, window_ms; /* limit: the share is taken off already */
	enum limit_kind kind;
	int64_t burst; /* LIMIT_BUCKET */
	int64_t units; /* a call takes; 0 = 1 */
	bool charged; /* units are corrected afterwards (limiter_charge), or differ between calls */
	int64_t documented; /* for people: the manifest's number, before the share */
};
struct limit_scope {
	char name
		[160]; /* "guesty.example:443:i7": host and scope; the key is limit:{partner}:name */
	struct limit_tier tiers[LIMIT_TIERS_MAX];
	int n_tiers;
	char kind
		[56]; /* for the metric: "partner", "integration", "egress", "endpoints:GROUP"; "": not shown */
	bool shared;           /* by several integrations: they take turns (limit_set.who) */
	int flight;            /* calls in flight over the cluster; 0 = unbounded */
	int64_t flight_ttl_ms; /* a call that was never released counts this long (its total timeout) */
};
struct limit_set {
	const char *partner;
	struct limit_scope scopes[LIMIT_SCOPES_MAX];
	int n_scopes;
	int64_t who; /* takes turns with others in shared scopes: the integration's id */
	bool high; /* a person waits for it: may use the part of each tier that is kept for such */
};

struct limiter;
struct permit {
	struct limit_agent *agent;
	char token[48];
	int64_t granted_ms, granted_us; /* Redis' clock */
	int64_t asked_us; /* our clock, when it was asked for: before the grant, so that ages are never too small */
	bool flight, sent, paced;
	/* The limiter's own. */
	int64_t kept_us,
		touched_us; /* our clock: counted from then at least; said so, not answered yet */
	int moves;
	int64_t units[LIMIT_SCOPES_MAX][LIMIT_TIERS_MAX]; /* it took */
	struct permit *prev, *next;                       /* of those that wait to be sent */
	bool waits;
};

/* `epoch` names this process and no other, ever: tokens of permits begin with what is made of it.  NULL: one that nobody watches. */
struct limiter *limiter_new(struct redis *r, const char *epoch);
void limiter_free(struct limiter *l);

/* Waits, at most max_wait_ms.  0: *out granted, send now.  -EAGAIN: it would take longer; *wait_ms says how long from now (give the
 * job back until then; no retry used).  -ETIMEDOUT, -ECANCELED, -ECONNRESET as everywhere. waited_ms (may be NULL) = time spent. */
int limiter_acquire(struct limiter *l, const struct limit_set *set, int64_t max_wait_ms,
		    struct permit *out, int64_t *wait_ms, int64_t *waited_ms, int64_t deadline_ms,
		    struct err *err) __attribute__((warn_unused_result));
/* The request was handed over but waits, for a connection perhaps: until limiter_sent, release or refund its permit is kept young.
 * *p must stay where it is until then. */
void limiter_sending(struct limiter *l, struct permit *p);
/* Called at the very instant that the request goes out.  False: the permit is too old to be counted right, do not send. */
bool limiter_sent(struct limiter *l, struct permit *p);
/* The call has ended: frees its place in flight.  Does not wait. */
void limiter_release(struct limiter *l, struct permit *p);
/* It was never sent: frees its place in every tier.  Does not wait. */
void limiter_refund(struct limiter *l, struct permit *p);
/* It cost more or less than its tier's units, as the answer said.  Before release.  Does not wait. */
void limiter_charge(struct limiter *l, const struct permit *p, int scope, int64_t window_ms,
		    int64_t more);
/* Its answer said that so many units are left of a window, until then (Redis' clock): no more are given out by anyone, less what
 * was sent meanwhile.  Before release.  Does not wait. */
void limiter_heed(struct limiter *l, const struct permit *p, int scope, int64_t window_ms,
		  int64_t left, int64_t until_us);
/* Its call succeeded: where calls are paced, a little faster.  Before release.  Does not wait. */
void limiter_eased(struct limiter *l, const struct permit *p);
/* Holds a scope for everyone until then (epoch ms on Redis' clock); never shortens a hold.  `refused`: the partner said no (429), and
 * calls are paced from now on: 75 ms apart, half as much again at each further refusal, 10 ms less at each success, until
 * below 50 ms.  Waits for Redis. */
int limiter_hold(struct limiter *l, const char *partner, const char *scope_name, int64_t until_ms,
		 const char *reason, bool refused, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* Waits.  The process of that epoch is dead, and its connections closed: where calls in flight are at their bound, those it left are
 * not counted any more.  Its calls stay in the windows. */
int limiter_gone(struct redis *r, const char *partner, const char *epoch, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));

/* ---- looking (limit_usage.c) ---- */
struct limit_usage {
	int64_t now_us;               /* Redis' clock */
	int64_t hold_ms;              /* nobody gets a permit for so long; 0 = not held */
	int64_t in_flight;            /* calls */
	int64_t pace_us;              /* between calls, since a refusal; 0 = not paced */
	int64_t refusals, refused_ms; /* 429s met, and when the last; 0 = none */
	char hold_why[100], refused_why[100];
	struct {
		int64_t limit,
			used;    /* in force now: what was set by hand, or the manifest's share */
		int64_t wait_us; /* until there is room for a call; 0 = now */
		int64_t told_left, told_until_us; /* by a header; -1 = none */
		/* limit_learn.h; 0 = none: set by hand; stated by a header; counted here when a call was refused */
		int64_t by_hand, stated, stated_ms, met, met_ms;
	} tiers[LIMIT_TIERS_MAX];
};
/* Waits.  Reads only. */
int limit_usage(struct redis *r, const char *partner, const struct limit_scope *s,
		struct limit_usage *out, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Who waits in this process, by the narrowest scope. */
typedef void (*limit_waiting_fn)(const char *partner, const char *scope_name, int jobs, void *arg);
void limiter_waiting(const struct limiter *l, limit_waiting_fn fn, void *arg);

int64_t limit_margin_ms(int64_t window_ms);

#endif
