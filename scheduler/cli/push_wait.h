#ifndef SCHEDULER_CLI_PUSH_WAIT_H
#define SCHEDULER_CLI_PUSH_WAIT_H

#include "common/queue/queue.h"
#include "scheduler/cli/cli.h"

/* Waits for the result of a job that was pushed with a result_ttl, and shows it; after wait_ms how far the job is.  0: it is
 * done; else an exit code. */
int push_wait(struct cli *c, struct queue *q, const char *id, int64_t wait_ms)
	__attribute__((warn_unused_result));

#define PUSH_RESULT_MORE_S \
	600 /* a result is kept so much beyond the wait, for whoever asks once more */
/* --wait */
struct config_option push_wait_option(int64_t *wait_ms);

#endif
