/* The run of a job (common/queue/run.h): which it is, who joins it, what Postgres is told of its root. */
#ifndef WORKER_RUNS_H
#define WORKER_RUNS_H

#include "common/queue/run.h"
#include "worker/attempt.h"

/* -EINVAL with ERR_BAD_JOB where args.on_done is not {"task", "integration_id", "args"}, or of an integration that
 * does not exist; sets a->asks.  Waits where it names an integration. */
int runs_check(struct attempt *a) __attribute__((warn_unused_result));
/* As what this job takes part; id 0: in none that is counted. */
void runs_ref(const struct attempt *a, struct run_ref *out);
/* Whether a child with that run joins it, and where that run is at home (NULL: it does not join). */
const char *runs_home(const struct attempt *a, int64_t run_id);
/* Waits.  One child with an id: as queue_spawn, or as queue_enqueue_once for a job that is of no run.  *fresh: it was
 * not queued before. */
int runs_spawn(struct attempt *a, const struct queue_push *v, bool *fresh)
	__attribute__((warn_unused_result));
/* Waits.  Before a root that began others, or asks for its end, is settled: its row says so.  state as runs.state. */
int runs_note_root(struct attempt *a, const char *state) __attribute__((warn_unused_result));
/* With the settlement, after its children. */
void runs_settle(const struct attempt *a, struct settlement *s, enum run_fate fate);

#endif
