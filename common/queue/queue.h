/* One partner's queue in Redis.  Every arrow of a job's life is one script of lua/, the only code that may
 * move a job; all keys carry the partner as hash tag.  design.md sections 4, 5, 9 have the formats and the reasons.
 *
 *   public lane -admit-> ready -claim-> in flight -settle-> gone | ready again | delayed | dead | outbox
 *                          ^---------- promote, reap, open ----------'
 *
 * A lease belongs to a worker process (an epoch).  Settling says whether the lease was still held; if not, nothing
 * of the settlement happened.  Functions marked "waits" need a coroutine. */
#ifndef COMMON_QUEUE_QUEUE_H
#define COMMON_QUEUE_QUEUE_H

#include "common/io/redis.h"
#include "common/queue/job.h"

#define QUEUE_HEARTBEAT_MS 8000 /* life of worker:{p}:EPOCH */
#define QUEUE_REAP_GRACE_MS \
	2000 /* added before a missing heartbeat is believed after a Redis restart */
#define QUEUE_SLICE_JOBS 400           /* admit, promote: at most this many a script … */
#define QUEUE_SLICE_BYTES (256 * 1024) /* … or this many bytes: Redis is never held over 5 ms */
#define QUEUE_DEFAULT_PARTNER_CAP 2000
#define QUEUE_DEFAULT_INTEGRATION_CAP 64
#define LONGSHORE_PARTNER "longshore" /* reserved: jobs of no partner */

struct queue;

/* `epoch` names this process's leases ([A-Za-z0-9_.-], no colon; e.g. host-pid-id); NULL for one that never claims
 * (scheduler, command).  Copies. */
struct queue *queue_new(struct redis *r, const char *partner, const char *epoch);
void queue_free(struct queue *q);
const char *queue_partner(const struct queue *q);
bool queue_name_is_valid(const char *partner); /* [a-z0-9_]{1,40} */

/* ---- pushing ---- */
struct queue_push {
	enum lane lane;
	int64_t integration;
	int64_t run_at_ms; /* 0 = now, else into delayed */
	const char *id;    /* NULL: made here */
	const char *
		origin; /* the header id of the job that this one is again (a dead letter's); NULL: none */
	const char *payload;
	size_t len;
};
/* Waits.  Puts n jobs into ready (or delayed), at most 500. */
int queue_enqueue(struct queue *q, const struct queue_push *v, int n, int64_t deadline_ms,
		  struct err *err) __attribute__((warn_unused_result));

/* Waits.  One job with an id of the caller's, delivered at most once within ttl_ms: the mark and the push are one script.
 * *fresh: it was not there before. */
int queue_enqueue_once(struct queue *q, const struct queue_push *v, int64_t ttl_ms, bool *fresh,
		       int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

/* ---- starts by the clock (fire.c) ---- */
struct queue_start {
	int64_t integration, slot_ms;
	const char *id, *payload;
	size_t len;
	bool fresh; /* out: queued now; false: it had been before */
};
/* Waits.  Into the normal lane: each slot of an integration at most once, whoever asks however often, and none after a later one,
 * for as long as Redis remembers.  At most 200; starts of one slot stand together.  token: the leader's (role_hold).
 * -ESTALE: one with a greater token has been here, nothing was queued.  n 0: only that token is left. */
int queue_fire(struct queue *q, int64_t token, struct queue_start *v, int n, int64_t deadline_ms,
	       struct err *err) __attribute__((warn_unused_result));
/* Waits.  *known false: no leader has been here since Redis was emptied: what was queued before is gone. */
int queue_fired_known(struct queue *q, bool *known, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* ---- claiming ---- */
struct lease {
	char id[96]; /* epoch:seq:lane:integration, the field of flight:{p} */
	struct queue *queue;
	enum lane lane;
	int64_t integration;       /* as routed; the payload's own wins */
	int64_t generation, fence; /* grows with each claim; checkpoints refuse a smaller one */
	struct job_header header;
	char *member; /* owned */
	const char *payload;
	size_t payload_len; /* inside member */
};
void lease_clear(struct lease *l);

struct claim_result {
	struct lease *leases;
	int n;     /* caller: lease_clear each (or take it), free(leases) */
	bool more; /* something may be claimable still: ask again */
	bool no_control; /* control:{p} is missing (new partner, or Redis was emptied): see queue_control_set */
	bool at_partner_cap; /* only the partner's cap stands in the way: the doorbell watches HLEN flight */
};
/* Waits.  Admits what is in the public lanes until they are empty, then claims up to want (<= 500) jobs:
 * lanes in order, integrations in turn, caps from control. Refreshes the heartbeat. */
int queue_claim(struct queue *q, int want, struct claim_result *out, int64_t deadline_ms,
		struct err *err) __attribute__((warn_unused_result));
/* Waits.  Moves raw pushes into ready, all lanes, until empty or max jobs; *moved counts. The scheduler does so too, so that depth and age are known while no worker serves. */
int queue_admit(struct queue *q, int max, int *moved, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Sends the heartbeat if this epoch holds leases and the last was sent over a second ago.  Does not wait. */
void queue_beat(struct queue *q);
int queue_held(const struct queue *q); /* leases held by this process, as it believes */
/* Waits.  After the connection was lost a claim's answer may be lost with it: gives back leases of this epoch that nobody here holds. */
int queue_reconcile(struct queue *q, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* ---- settling ---- */
enum settle_kind {
	SETTLE_DONE,
	SETTLE_AGAIN, /* back to ready, first in its integration's row: misrouted, handed back, shut down */
	SETTLE_DELAY, /* into delayed until due_ms: a retry or a hold */
	SETTLE_DEAD   /* letter goes to dead:{p} */
};
struct settlement; /* one job's outcome and its children: all or nothing */
/* Takes over the lease (moves it in; the caller's is emptied). */
struct settlement *settlement_new(struct lease *l, enum settle_kind kind);
void settlement_free(struct settlement *s); /* before it was given to queue_settle */
void settlement_set_header(struct settlement *s,
			   const struct job_header *h); /* AGAIN, DELAY: attempts, crashes */
void settlement_set_integration(struct settlement *s,
				int64_t integration); /* AGAIN: the true one */
void settlement_set_due(struct settlement *s, int64_t due_ms);
void settlement_set_letter(struct settlement *s, int64_t failed_at_ms, const char *id,
			   const char *json, size_t len); /* copies */
/* A child; `partner` other than the lease's goes through the outbox.  Copies. */
void settlement_add_child(struct settlement *s, const char *partner,
			  const struct queue_push *child);
typedef void (*settled_fn)(
	bool held, void *arg); /* on the loop; held false: the lease was lost, nothing happened */
/* Takes s.  Batched (2 ms or 500); sent again after a lost connection until Redis has answered.  Does not wait. */
void queue_settle(struct queue *q, struct settlement *s, settled_fn cb, void *arg);
int queue_unsettled(const struct queue *q); /* not answered yet; a stopping worker waits for 0 */

/* ---- upkeep: idempotent, any number of processes may run them ---- */
int queue_promote(struct queue *q, int *moved, int64_t *next_due_ms, int64_t deadline_ms,
		  struct err *err)
	__attribute__((
		warn_unused_result)); /* waits; all that is due, in slices; next_due 0 = none */
/* Waits.  Gives back the leases of dead epochs.  only_epoch NULL: every epoch whose heartbeat is missing (the caller has
 * checked redis_same_run_ms > HEARTBEAT + GRACE); else that epoch's, whose heartbeat is removed first (its supervisor saw it die). */
int queue_reap(struct queue *q, const char *only_epoch, int *reaped, int64_t deadline_ms,
	       struct err *err) __attribute__((warn_unused_result));
/* Waits.  A lease of another process, one that died, so that its job can be settled on its behalf.  -ENOENT: not in flight. */
int queue_lease_find(struct queue *q, const char *id, struct lease *out, int64_t deadline_ms,
		     struct err *err) __attribute__((warn_unused_result));
/* Waits.  Delivers outbox:{p} to the other partners' slots, each child once. */
int queue_relay(struct queue *q, int *moved, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* ---- control: caps and pauses, mirrored from Postgres ---- */
struct queue_control {
	int64_t generation; /* written only where none is there yet */
	int partner_cap;    /* 0 = paused */
	int default_cap;    /* per integration; integration 0 has none but the partner's */
	struct {
		int64_t integration;
		int cap;
	} * over;
	int n_over; /* others than the default; 0 = paused */
	const char *
		host; /* that integrations call; NULL = unknown: no breaker holds them in the ring */
	struct {
		int64_t integration;
		char *host;
	} * hosts;
	int n_hosts; /* others than `host` */
	bool past_breakers; /* jobs are claimed behind an open breaker too: they may have an answer without a call */
};
/* Waits.  Replaces the whole hash and puts back into the ring whoever may run again. */
int queue_control_set(struct queue *q, const struct queue_control *c, int64_t deadline_ms,
		      struct err *err) __attribute__((warn_unused_result));
/* Waits.  There is none: Redis has lost it, or never had it. */
int queue_control_lost(struct queue *q, bool *lost, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  Puts into the rings whoever may run: what held some of them has ended. */
int queue_open(struct queue *q, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* ---- looking ---- */
struct queue_depth {
	int64_t ready[4], delayed, in_flight, dead, held;
	int64_t held_in[4]; /* held, by lane: ready - held_in could run */
	int64_t oldest_age_ms[4];
}; /* by enum lane; [0] unused. held: ready jobs of integrations whose cap is 0 (a paused partner: all) */
int queue_depth(struct queue *q, struct queue_depth *out, int64_t deadline_ms, struct err *err)
	__attribute__((
		warn_unused_result)); /* waits; O(1) per lane but for held, which is O(paused integrations) */

/* Waits, O(1).  Jobs that wait in a lane, held ones too: what a producer of ours stops at.  Of LONGSHORE_PARTNER those that are
 * delayed as well, which are mostly fan-outs that were put off.  The partner need not be served here. */
int queue_waiting(struct redis *r, const char *partner, enum lane lane, int64_t *out,
		  int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
#define QUEUE_LANE_BOUND 10000 /* --lane-bound */

/* ---- dead letters ---- */
/* Waits.  Up to max letters with failed_at_ms > after (or equal and id beyond after_id); for each calls fn(id, failed_at_ms, json). */
typedef void (*dead_fn)(const char *id, int64_t failed_at_ms, const char *json, size_t len,
			void *arg);
int queue_dead_list(struct queue *q, int64_t after_ms, int max, dead_fn fn, void *arg,
		    int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* Waits.  One script: removes the letter; replay true: its job goes back to its lane with attempts 0. 0 | -ENOENT. */
int queue_dead_take(struct queue *q, int64_t failed_at_ms, const char *letter, size_t len,
		    bool replay, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
int queue_dead_trim(struct queue *q, const char *const *letters, const size_t *lens, int n,
		    int64_t deadline_ms, struct err *err)
	__attribute__((
		warn_unused_result)); /* waits; those exact members, which Postgres has and which are older than is kept */

/* ---- the fleet ---- */
/* workers:{longshore} (zset: epoch -> last beat, ms) and worker:{longshore}:EPOCH (JSON, 8 s to live). */
int fleet_beat(struct redis *r, const char *epoch, const char *info_json, int64_t deadline_ms,
	       struct err *err) __attribute__((warn_unused_result)); /* waits */
int fleet_leave(struct redis *r, const char *epoch, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
#define FLEET_INFO_MAX_BYTES \
	(1024 * 1024) /* for who reads it: of hundreds of partners it is long */
typedef void (*fleet_fn)(const char *epoch, int64_t last_beat_ms,
			 const char *info_json /* NULL: expired */, void *arg);
int fleet_each(struct redis *r, fleet_fn fn, void *arg, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result)); /* forgets those gone for an hour */

/* ---- a lease on a role, with a fencing token (the leading scheduler) ---- */
/* Waits.  1: held by `owner` now (token in *token, grows with each new holder), 0: by someone else. */
int role_hold(struct redis *r, const char *role, const char *owner, int64_t ttl_ms, int64_t *token,
	      int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
int role_leave(struct redis *r, const char *role, const char *owner, int64_t deadline_ms,
	       struct err *err) __attribute__((warn_unused_result));

#endif
