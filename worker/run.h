/* One claimed lease from its parse to its settlement; runs in the job's coroutine. */
#ifndef WORKER_RUN_H
#define WORKER_RUN_H

#include "worker/attempt.h"

/* Waits.  Takes what the lease holds; settles it in the end whatever happens. */
void run_attempt(struct attempt *a);

/* Waits.  Whether another worker's heartbeat names this under that list (of print_info in process.c).  As fleet_each. */
int run_others_know(struct attempt *a, const char *list, const char *name, bool *known)
	__attribute__((warn_unused_result));

/* JSON array of the tasks this build knows, for the fleet; appends. */
void run_print_tasks(struct buf *out);
/* JSON object of the actions that its manifests have, by partner; appends. */
void run_print_actions(const struct driver_set *drivers, const char *const *partners, int n,
		       struct buf *out);

#endif
