/* What is known of limits beside the manifest, in Redis, by scope and window: set by hand (Postgres has it, this mirrors it),
 * stated by the partner's headers, met by its refusals.  Acquire heeds what is set by hand, or else stated and lower than the
 * manifest's share.  What was stated is forgotten a day after it was said last, refusals after 30 days. */
#ifndef COMMON_QUEUE_LIMIT_LEARN_H
#define COMMON_QUEUE_LIMIT_LEARN_H

#include "common/queue/limiter.h"

struct limit_by_hand {
	char *name; /* of the scope */
	int64_t window_ms, calls;
};
/* Waits.  Those of a partner, all of them: others that Redis has are taken away. */
int limit_mirror(struct redis *r, const char *partner, const struct limit_by_hand *v, int n,
		 int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* A header stated a limit; `ours` is our share of it where that is to be kept to, or 0: it is only shown.  Does not wait. */
void limit_stated(struct redis *r, const char *partner, const char *scope_name,
		  const struct limit_tier *t, int64_t stated, int64_t ours);
/* The partner has refused: how many calls were counted in each window of the scope is remembered.  Waits. */
int limit_met(struct redis *r, const char *partner, const struct limit_scope *s,
	      int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

/* Redis' data is gone, and so many units are known to have been used in each tier's window: they count as used now.  Once a minute at most,
 * whoever asks.  Waits. */
int limit_seed(struct redis *r, const char *partner, const struct limit_scope *s,
	       const int64_t used[LIMIT_TIERS_MAX], int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

#endif
