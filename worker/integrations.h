/* The integrations this process works for: rows of Postgres, kept for 5 s, shared by all attempts. */
#ifndef WORKER_INTEGRATIONS_H
#define WORKER_INTEGRATIONS_H

#include "common/store/store.h"
#include "worker/worker.h"

/* Waits.  *out is borrowed until integrations_put, which every successful get owes. 0 | -ENOENT | as pg_exec. */
int integrations_get(struct worker *w, int64_t id, const struct integration **out, struct err *err)
	__attribute__((warn_unused_result));
void integrations_put(const struct integration *i); /* NULL is fine */

/* The driver with what the integration has otherwise; borrowed as the integration is.  base, where it has nothing.  NULL with err:
 * its overrides do not fit the manifest (any more). */
const struct driver *integrations_driver(const struct integration *i, const struct driver *base,
					 struct err *err);

bool integrations_is_broken(struct worker *w, int64_t id); /* as last seen */
/* Waits (skipped when the coroutine is cancelled).  Auth is broken for good: marks the row, raises
 * the alert (reason NULL: both were done already), takes its jobs out of the ring. */
void integrations_mark_broken(struct worker *w, int64_t id, const char *reason);
/* Waits (skipped when cancelled).  suspend.c: pauses what the partner has suspended, the integration or, where its limits
 * are of the partner as a whole, the partner; raises the alert. */
void integrations_suspend(struct worker *w, int64_t id, const struct err *why);
/* Waits (skipped when cancelled).  refused.c: a call with it failed so, and the job goes on with another partner's. */
void integrations_passed_over(struct worker *w, int64_t id, int rc, const struct err *err,
			      int64_t now_ms);
void integrations_answered(int64_t id); /* a call with it was answered */
void integrations_forget(int64_t id);   /* read anew next time */
void integrations_free_all(void);

#endif
