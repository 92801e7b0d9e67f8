/* What follows from an attempt: the one place that decides between done, again, later and dead (requirements.md E1, E2). */
#ifndef WORKER_SETTLE_H
#define WORKER_SETTLE_H

#include "common/queue/run.h"
#include "worker/attempt.h"

struct attempt_child {
	const char *partner; /* in the attempt's arena */
	struct queue_push
		push; /* payload and len are set from the buffer below when it is settled */
	struct buf payload;
	bool kin; /* it joins the job's run */
};
void attempt_children_clear(struct attempt *a);

/* Words in a job's header that outlive an attempt; a number follows each but the last. */
#define RAN " ran="           /* 1: it ran before: look for a checkpoint; 2: and was unclean */
#define RAN_AUTH " auth="     /* 1: it met a 401 with a fresh token once */
#define RAN_RUN RUN_HEADER    /* the run it belongs to */
#define RAN_AT " at="         /* where it goes on, for tasks without a checkpoint */
#define RAN_BEYOND " beyond=" /* what is done beyond that, as bits */
#define RAN_SMALL " small="   /* items a page, after one that took too much memory */
#define RAN_FANNED " fanned=" /* children that it has queued */
#define RAN_CRASH \
	" crash=" /* epochs of the processes that died while it was on the CPU, by commas */
int64_t header_number(const struct job_header *h, const char *word); /* 0: not there */
/* The header id that the job had before any dead letter of its was replayed. */
void header_origin(const struct job_header *h, char out[JOB_ID_MAX]);

/* Settles the attempt's lease by rc and a->err: hands it to the queue and forgets it.  Waits only
 * where an alert or a broken integration has to be written, and not when cancelled. */
void settle(struct attempt *a, int rc);

/* The dead letter of an attempt, as JSON; `id` is its own. Appends. */
void letter_print(const struct attempt *a, const char *id, int64_t failed_at_ms, struct buf *out);

#endif
