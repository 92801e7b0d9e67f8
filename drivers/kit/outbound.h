/* Outbound requests on their way from Postgres into their queues, and what people decide of them: for the scheduler and the command.
 * How they are worked on is worker/tasks/flow.c. */
#ifndef DRIVERS_KIT_OUTBOUND_H
#define DRIVERS_KIT_OUTBOUND_H

#include "common/io/redis.h"
#include "common/store/request.h"
#include "drivers/driver.h"

/* Waits.  Puts them into their queues, each once however often it is tried; *n_queued of them were. */
int outbound_queue(struct redis *r, struct pg *p, const struct request_due *v, int n, int *n_queued,
		   int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* The same for one that was just written, or decided: where Redis is away a scheduler does it later.  Waits. */
void outbound_queue_one(struct redis *r, struct pg *p, int64_t id, int64_t deadline_ms);

/* A request from outside, checked: its integration is there, its action is known, its args are right, it holds no card number.
 * Waits.  *fresh: it was not there before.  -EINVAL (what is wrong is in err->text), -ENOENT (no such integration), -EEXIST (its key
 * has other args), -EKEYREJECTED (a card number), or Postgres' errors. */
struct outbound_ask {
	const char *partner, *action, *lane; /* lane NULL: normal */
	int64_t integration_id;
	const cJSON *args;           /* NULL: none */
	const char *idempotency_key; /* NULL: none */
	int64_t max_retries;         /* -1: not said */
	int64_t expires_in_s;        /* 0: never */
};
int outbound_add(struct pg *p, const struct driver_set *drivers, const struct outbound_ask *ask,
		 int64_t *id, bool *fresh, struct err *err) __attribute__((warn_unused_result));

/* -EKEYREJECTED: a card number stands in it; err->text begins with where. */
int outbound_refuse_card(const cJSON *args, const char *idempotency_key, struct err *err)
	__attribute__((warn_unused_result));

/* A person decides: done, retry or undo.  Waits.  -ENOENT, -EPERM (its state does not allow that), -EINVAL (what "done" must keep is
 * missing, or the action has nothing to undo). */
int outbound_resolve(struct redis *r, struct pg *p, const struct driver_set *drivers, int64_t id,
		     const char *as, const cJSON *kept, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* The partner itself has told that the only step of a request that is unknown was done, be it that it told no more than that: as if a
 * person had.  Waits.  0 also where it is unknown no more. */
int outbound_told(struct redis *r, struct pg *p, const struct driver *d, int64_t id,
		  int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

/* What the step would have kept of its answer: the partner's name for it, where the report had that; of the rest null says that it is not
 * known. */
void outbound_keep_told(const struct manifest_action *a, const char *external_id, cJSON *kept);

/* The identity of a request by its args, in whatever order they were written (flow_entry.c and outbound_add agree on it). */
void outbound_fingerprint(const cJSON *args, struct buf *out);
/* As rows of the version before have it: of the args as they were written. */
void outbound_fingerprint_before(const cJSON *args, struct buf *out);
/* 0: the row that was found has these args, in whatever order they were written.  -EEXIST: it has others; by_key: it was found by the caller's
 * key, not by the action's `once`. */
int outbound_check_same(const struct request *row, const cJSON *args, bool by_key, struct err *err)
	__attribute__((warn_unused_result));
/* in: what action_in made.  origin: the job's header id, or NULL: a new one is made.  -EINVAL. */
int outbound_entry(const struct manifest_action *a, int64_t integration_id, const cJSON *in,
		   const char *idempotency_key, const char *origin, struct buf *out,
		   struct err *err) __attribute__((warn_unused_result));

#endif
