/* One question to a partner, answered from the cache where it can be.  It stands before the door: what is fresh costs one
 * command of Redis and no call; of all who ask the same over the whole fleet one calls, the others wait for its answer.
 *
 * An answer that is over its ttl, but not twice, is given as stale while somebody fetches it anew.  Where the partner fails or its breaker
 * is open, an older one is given as stale.  Without any, a critical partner's error is the caller's; for an optional one
 * (`critical`: false) the answer says that it is missing, and why, and carries the manifest's placeholder. */
#ifndef DRIVERS_KIT_LOOKUP_H
#define DRIVERS_KIT_LOOKUP_H

#include "drivers/kit/call.h"

enum lookup_state { LOOKUP_FRESH, LOOKUP_STALE, LOOKUP_PLACEHOLDER, LOOKUP_MISSING };

struct lookup_ask {
	const struct manifest_lookup *lookup;
	const cJSON *params; /* an object, or NULL */
	const char *
		owner; /* of the lease, without blanks: whoever asks again under it after a crash goes on at once; NULL: made here */
	bool refresh;  /* what is not fresh is fetched, though it could be answered */
	const char *
		kept_only; /* why nobody is called: what is kept is told, however old; else it is missing, of a critical partner -EAGAIN */
	bool patient; /* a wait for the rate limit is the caller's: -EAGAIN; else as if the partner had failed */
	int64_t wait_ms; /* for another's answer, at most; 0: as long as that may take */
};

struct lookup_answer {
	enum lookup_state state;
	struct buf data; /* JSON text; "null": none */
	int64_t age_ms;
	bool cached;      /* no call was made for it */
	bool none;        /* missing, for the partner knows of none: no failure */
	bool refresh;     /* the caller is to queue a lookup with `refresh`: nobody has yet */
	char reason[512]; /* why it is stale, a placeholder or missing; else "" */
};
void lookup_answer_clear(struct lookup_answer *a);

/* Waits.  0; -EINVAL with ERR_BAD_JOB: the params are wrong; else as call().  exchange: of a call that failed, for the dead
 * letter; appended. */
int lookup(struct caller *c, const struct lookup_ask *ask, struct lookup_answer *out,
	   struct buf *exchange, struct err *err) __attribute__((warn_unused_result));

/* {"data", "state", "fresh", "age_s", "partner", "name", "cached", "reason"}, appended. */
void lookup_print(const struct caller *c, const struct lookup_ask *ask,
		  const struct lookup_answer *a, struct buf *out);

#endif
