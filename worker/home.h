/* The integration of no company that a lookup partner has: what a job means that names none. */
#ifndef WORKER_HOME_H
#define WORKER_HOME_H

#include "worker/worker.h"

/* Waits.  As integration_home has it.  Kept for 5 s.  -ENOENT with ERR_BAD_JOB: there is none. */
int home_get(struct worker *w, const char *partner, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
void home_free_all(void);

#endif
