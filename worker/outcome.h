/* What is kept of a job's end for whoever asks: a row in Postgres ("record"), a result in Redis ("result_ttl"). */
#ifndef WORKER_OUTCOME_H
#define WORKER_OUTCOME_H

#include "worker/attempt.h"

enum job_end { JOB_DONE, JOB_DEAD, JOB_DROPPED };

/* Whether anybody asked: what a task has to tell goes into a->result, a JSON object. */
bool outcome_is_wanted(const struct attempt *a);
/* Waits.  What Postgres is to know before the job may go: the row, and of a root its run.  Written again it is the same. */
int outcome_write(struct attempt *a, enum job_end end) __attribute__((warn_unused_result));
/* With the settlement, after its children: the job's run, and its result. */
void outcome_settle(struct attempt *a, struct settlement *s, enum job_end end);

#endif
