/* What one job does several times over (a list for each of its parents, items by their ids), some of them at a time (D7).
 *
 * Each branch is a coroutine with a copy of the import and of its attempt, so that an error, a page and counts are its own; memory, the lease
 * and the run are the job's.  What a branch has done is added up after each unit.  The job's place (a->step) is the first that
 * is not done, and a->beyond what is done beyond it, so a job that was put back asks for none of them twice. */
#ifndef WORKER_TASKS_UNITS_H
#define WORKER_TASKS_UNITS_H

#include "worker/tasks/import.h"

#define UNITS_BRANCHES_MAX \
	4000 /* of a process, beside the jobs' own coroutines: two mappings each */

struct units {
	int64_t n;    /* items in all; those before a->step are done */
	int per;      /* items of a unit */
	int parallel; /* units at a time, at most */
	/* Waits.  On the branch's copy.  0 | <0 as a task, with im->a->err. */
	int (*run)(struct import *im, int64_t first, int n, void *arg);
	void *arg;
};
/* Waits.  0: all are done, or im->yielded.  Else the first error; units under way were brought to their end, and none begun after
 * it. */
int units_run(struct import *im, const struct units *u) __attribute__((warn_unused_result));
/* At the start of a process. */
void units_set_branches(int most);

#endif
