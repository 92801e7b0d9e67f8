/* What the two ways of a lookup share: by name in its partner's queue (lookup.c), by kind in queue:{longshore} (lookup_kind.c). */
#ifndef WORKER_TASKS_LOOKUP_H
#define WORKER_TASKS_LOOKUP_H

#include "drivers/kit/lookup.h"
#include "worker/tasks/tasks.h"

/* What is asked, beside which of whose lookups.  owner: the same in a next attempt; at least JOB_ID_MAX + 8 bytes, good as long as ask. */
void lookup_ask_of(struct attempt *a, struct lookup_ask *ask, char *owner, size_t size);
/* The end of the task, after lookup() ended so: what it returns.  Clears out. */
int lookup_end(struct attempt *a, const struct lookup_ask *ask, struct lookup_answer *out, int rc)
	__attribute__((warn_unused_result));

#endif
