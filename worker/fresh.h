/* Imports that are not worth running any more (Q7, B4).
 *
 * Superseded: another import of the same integration, task and mode began after this one was queued, and succeeded: it
 * saw all that this one could.  Stale: one that somebody pushed, and that waited over an hour in which it could have run.  What Longshore
 * queued itself (the clock's imports and every child) is never stale: run late is as good as queued afresh.
 * An import that has begun goes on whatever its age. */
#ifndef WORKER_FRESH_H
#define WORKER_FRESH_H

#include "worker/attempt.h"

#define FRESH_STALE_MS (3600 * 1000)

/* Since when the job could run, as far as its header tells: hand-backs by a limit or pause start it anew, retries don't. */
int64_t fresh_waits_since(const struct attempt *a);
/* *out: it could have run for longer than that and did not.  Time before its partner or integration was resumed, or its host's breaker
 * closed, is left out.  Waits for Postgres only if it is that old. */
int fresh_waited_beyond(struct attempt *a, int64_t most_ms, bool *out)
	__attribute__((warn_unused_result));
/* 0: run it, or a->skipped says as what it ends.  Waits for Postgres only if the job is older than the
 * integration's last success, or over an hour old. */
int fresh_check(struct attempt *a) __attribute__((warn_unused_result));
/* A whole import succeeded; started_ms on Redis' clock. */
void fresh_success(struct attempt *a, const char *mode, int64_t started_ms);

#endif
