/* The integration of no company that a lookup partner has: what a job means that names none, and what one by kind asks with. */
#ifndef WORKER_HOME_H
#define WORKER_HOME_H

#include "worker/worker.h"

/* Waits.  As integration_home has it.  Kept for 5 s.  -ENOENT with ERR_BAD_JOB: there is none. */
int home_get(struct worker *w, const char *partner, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
/* After it: why nobody may call the partner ("": no reason was given); NULL: it is not paused.  Borrowed until the next wait. */
const char *home_paused(const char *partner);
/* Of its lookups by kind at most so many are under way in this process; false: they are.  What entered leaves. */
bool home_enter(const char *partner, int most) __attribute__((warn_unused_result));
void home_leave(const char *partner);
/* Of one that could not enter: how long it is to stay away. */
int64_t home_busy_ms(const char *partner);
void home_free_all(void);

#endif
