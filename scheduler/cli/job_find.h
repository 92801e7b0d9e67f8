/* One job, wherever it stands, and why it does not run. */
#ifndef SCHEDULER_CLI_JOB_FIND_H
#define SCHEDULER_CLI_JOB_FIND_H

#include "scheduler/cli/jobs.h"
#include "scheduler/cli/letters.h"

struct found_job {
	struct job_seen seen; /* its strings are the found job's own */
	struct view view;
	char *member, *pack, *lease;
};
void found_job_free(struct found_job *j); /* NULL is fine */

/* Waits.  By its id or the pusher's: in flight, ready, delayed, of every partner; the first one found.  0 or an exit code: said.
 * A dead letter is no job any more: that is said, with what to do. */
int job_find(struct cli *c, const char *id, struct found_job **out)
	__attribute__((warn_unused_result));
/* Waits.  Everything there is to say of it, `why` as an array of reasons; dead letters too. 0 or an exit code. */
int job_describe(struct cli *c, const char *id, cJSON **out) __attribute__((warn_unused_result));
cJSON *letter_row(const struct letter *l, int64_t now_ms); /* as job_row */

#endif
