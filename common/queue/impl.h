/* What the files of this folder share about a queue; nobody else includes it. */
#ifndef COMMON_QUEUE_IMPL_H
#define COMMON_QUEUE_IMPL_H

#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "common/queue/scripts.h"

#define PARTNER_MAX 40
#define EPOCH_MAX 47 /* a lease id has 96 bytes with its numbers */
#define KEY_MAX (PARTNER_MAX + 24)
#define CLAIM_MAX 500 /* Lua's unpack and one HSET bear no more */
#define SETTLE_LINGER_MS 2
#define SETTLE_BATCH_JOBS 500
#define SETTLE_SCRIPT_JOBS 100 /* settle.lua: about 1 ms of Redis */
#define SETTLE_SCRIPT_BYTES (256 * 1024)
#define SETTLE_SCRIPT_CHILDREN 400
#define SEEN_TTL_MS (24 * 3600 * 1000)

/* By enum lane; [0] unused. */
struct queue_keys {
	char queue[4][KEY_MAX], ready[4][KEY_MAX], ring[4][KEY_MAX];
	char flight[KEY_MAX], busy[KEY_MAX], control[KEY_MAX], seq[KEY_MAX], fence[KEY_MAX];
	char delayed[KEY_MAX], dead[KEY_MAX], outbox[KEY_MAX], breakers[KEY_MAX];
	char packed[KEY_MAX];
};

/* The numbers of the leases this process holds: a hash set, open addressing; 0 marks a free place. */
struct held_set {
	int64_t *slots;
	size_t size, count;
};
void held_add(struct held_set *h, int64_t n);
void held_remove(struct held_set *h, int64_t n); /* not there: nothing happens */
bool held_has(const struct held_set *h, int64_t n);
void held_clear(struct held_set *h);

struct settlement;
struct settle_batch;
struct relay;
struct intake_delivery;

struct queue {
	struct redis *r; /* borrowed */
	char partner[PARTNER_MAX + 1], epoch[EPOCH_MAX + 1];
	char worker[KEY_MAX + EPOCH_MAX]; /* worker:{p}:EPOCH, "" without epoch */
	struct queue_keys keys;

	int64_t next_number; /* of lease ids, never used twice in an epoch; lease_number_at() */
	struct held_set held;
	int64_t claimed;     /* jobs that claims brought, ever */
	int64_t partner_cap; /* as the last claim saw it, -1 = not yet */
	unsigned
		raw_lanes; /* public lanes that had pushes lately: admitted in the claim's own round trip */
	int passed_over;            /* claims in a row that lower lanes waited through */
	bool rotate_low;            /* whose turn is next: low's or normal's */
	bool big_reply;             /* the last claim's answer was over 1 MiB */
	bool lost_claim;            /* an answer may be lost: leases that nobody here knows */
	int64_t reconcile_again_ms; /* once more then: an old connection's bytes may be read late. 0 = no */
	int64_t beat_ms;            /* last heartbeat sent, claims that got jobs included */

	struct settlement *pending, **pending_tail;
	int n_pending, n_unsettled;
	struct loop_timer *linger;
	struct settle_batch *batches; /* sent, or waiting to be sent again */
	bool settle_failing;          /* said once in the log */
	struct relay *relay;          /* under way for this queue */

	struct intake_delivery *intake, **intake_tail; /* to be sent at the end of this turn */
	bool intake_due;
};

void queue_keys_init(struct queue_keys *k, const char *partner);
/* KEYS in the order that most scripts have them. */
void args_lanes(struct redis_args *a, const char keys[4][KEY_MAX]);
/* Tells the doorbell of an own write, which Redis does not announce to us (NOLOOP). */
void queue_wrote(const char *partner);
void queue_on_wrote(void (*fn)(const char *partner)); /* the doorbell registers itself */
/* Where this lease ends: whoever asks for reconciliation must know that nobody holds it. */
void lease_forget(const struct lease *l);
int64_t lease_number(const char *id);
/* Lease numbers tell when the claim was: 10 us since LEASE_SINCE_MS, at least; a process that claims more than 100,000 a second runs
 * ahead.  14 digits until 2051, which is what Lua prints of a number. */
#define LEASE_SINCE_MS 1577836800000LL /* 2020-01-01 */
int64_t lease_number_at(int64_t now_us);
int64_t lease_number_ms(int64_t number); /* 0: it tells no time */
/* "ID" fit for a header: printable, no blank, not too long. */
bool header_id_is_valid(const char *id);
/* " I HEADER\nPAYLOAD" of a new job, appended. */
void member_rest_print(struct buf *out, const char *id, int64_t integration, int64_t born_ms,
		       const char *origin, const char *payload, size_t len);
/* The integer of a reply element: integers, and texts that hold one; 0 for others. */
int64_t reply_int(const redisReply *r);
bool reply_is(const redisReply *r, int type);
/* Waits.  Gives back leases of the epoch that `worker` belongs to; if_dead: only while its heartbeat is missing.  *back grows. */
int reap_leases(struct queue *q, const char *worker, bool if_dead, const struct redis_args *leases,
		int *back, int64_t deadline_ms, struct err *err);
/* Delivers the outbox soon, in a coroutine of its own. */
void relay_soon(struct queue *q);
void relay_detach(struct queue *q);
void settle_free(struct queue *q);
void intake_free(struct queue *q); /* what was not sent yet has failed */

#endif
