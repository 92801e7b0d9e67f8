/* One claimed lease from its parse to its settlement; runs in the job's coroutine. */
#ifndef WORKER_RUN_H
#define WORKER_RUN_H

#include "worker/attempt.h"

/* Waits.  Takes what the lease holds; settles it in the end whatever happens. */
void run_attempt(struct attempt *a);

/* JSON array of the tasks this build knows, for the fleet; appends. */
void run_print_tasks(struct buf *out);
/* JSON object of the actions that its manifests have, by partner; appends. */
void run_print_actions(const struct driver_set *drivers, const char *const *partners, int n,
		       struct buf *out);

#endif
