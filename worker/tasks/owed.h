/* Scheduled imports that are not queued, since their partner can't be called now: they would only pile up.  They are
 * counted, and one import is owed, which a scheduler queues once the partner can be called again (R7). */
#ifndef WORKER_TASKS_OWED_H
#define WORKER_TASKS_OWED_H

#include "common/queue/breaker.h"
#include "worker/attempt.h"

struct owed {
	struct {
		char partner[64];
		struct breaker_list breakers;
		struct breaker_homes homes;
		int left_out;
	} * partners; /* those of the integrations so far */
	int n_partners;
	int64_t *ids;
	int n;
};
/* Waits: looks at a partner's breakers, once.  After that owed_check of its integrations does not wait. */
int owed_look(struct attempt *a, struct owed *o, const char *partner)
	__attribute__((warn_unused_result));
/* 1: this integration's import is owed, not queued.  Waits for a partner that was not looked at. */
int owed_check(struct attempt *a, struct owed *o, int64_t integration, const char *partner)
	__attribute__((warn_unused_result));
/* Waits.  Writes down what is owed, and says it. */
int owed_write(struct attempt *a, struct owed *o) __attribute__((warn_unused_result));
void owed_clear(struct owed *o);
/* Waits.  All imports of integrations whose credentials are refused. */
int owed_broken(struct attempt *a) __attribute__((warn_unused_result));

#endif
