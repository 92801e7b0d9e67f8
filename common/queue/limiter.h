/* Permits for calls to partners: sliding-window logs in Redis, on Redis' clock, shared by all workers.  All
 * tiers of all scopes are taken or none, in one script (lua/acquire.lua).  In no window of a tier's length
 * (plus the margin) are more than `limit` permits granted, whatever the number of processes.  A scope may also bound calls in
 * flight over the cluster, and be held (Retry-After): then nobody gets a permit before the hold ends.
 *
 * One agent per process and set of keys: waiting coroutines stand in a row, one script call at most is under way for
 * them, and asks for as many permits as wait.  A permit is for sending now: one that is not used is
 * refunded.  After Redis' log is lost (marker missing) the scope starts full for one window, unless empty_ok. */
#ifndef COMMON_QUEUE_LIMITER_H
#define COMMON_QUEUE_LIMITER_H

#include "common/io/redis.h"

/* What may pass between grant and arrival at the partner: the permit may be this old when it is sent (DOOR_PERMIT_STALE_MS,
 * 60 ms), then the request travels.  Windows are longer by it: 10 % of a 1 s window, nothing of an hour. */
#define LIMIT_MARGIN_MS 100
#define LIMIT_TIERS_MAX 6
#define LIMIT_SCOPES_MAX 4

struct limit_tier {
	int64_t limit, window_ms;
}; /* limit: the share is taken off already */
struct limit_scope {
	char name
		[160]; /* "guesty.example:443:i7": host and scope; the key is limit:{partner}:name */
	struct limit_tier tiers[LIMIT_TIERS_MAX];
	int n_tiers;
	int flight;            /* calls in flight over the cluster; 0 = unbounded */
	int64_t flight_ttl_ms; /* a call that was never released counts this long (its total timeout) */
};
struct limit_set {
	const char *partner;
	struct limit_scope scopes[LIMIT_SCOPES_MAX];
	int n_scopes;
};

struct limiter;
struct permit {
	struct limit_agent *agent;
	char token[48];
	int64_t granted_ms;
	bool flight;
};

struct limiter *limiter_new(struct redis *r, const char *epoch);
void limiter_free(struct limiter *l);

/* Waits, at most max_wait_ms.  0: *out granted, send now.  -EAGAIN: it would take longer; *wait_ms says how long from now (give the
 * job back until then; no retry used).  -ETIMEDOUT, -ECANCELED, -ECONNRESET as everywhere. waited_ms (may be NULL) = time spent. */
int limiter_acquire(struct limiter *l, const struct limit_set *set, int64_t max_wait_ms,
		    struct permit *out, int64_t *wait_ms, int64_t *waited_ms, int64_t deadline_ms,
		    struct err *err) __attribute__((warn_unused_result));
/* The call has ended: frees its place in flight.  Does not wait. */
void limiter_release(struct limiter *l, struct permit *p);
/* It was never sent: frees its place in every tier.  Does not wait. */
void limiter_refund(struct limiter *l, struct permit *p);
/* Holds a scope for everyone until then (epoch ms on Redis' clock); never shortens a hold.  Waits for Redis. */
int limiter_hold(struct limiter *l, const char *partner, const char *scope_name, int64_t until_ms,
		 const char *reason, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

#endif
