/* The outbound request that an attempt works on: its row (common/store/request.h), and what settle.c tells it of the attempt's end.
 * Flows are worker/tasks/flow.c. */
#ifndef WORKER_REQUEST_H
#define WORKER_REQUEST_H

#include "common/store/request.h"
#include "worker/attempt.h"

struct attempt_request {
	int64_t id;
	struct request_claim claim;
	int64_t deadline_ms; /* on Redis' clock */
	int retries;         /* -1: until the deadline */
	bool doubt;          /* a step may have been done: it cannot end as failed */
	bool ended;          /* its row says its end already */
	const char *step;    /* where it is; NULL */
};

/* A retry in ms still fits. */
bool request_may_retry(const struct attempt *a, int64_t ms);
/* All wait, and do nothing for an attempt without a request.
 * It goes on in ms: pending, and why. */
void request_goes_on(struct attempt *a, int64_t ms);
/* It will be a dead letter with this id, or was dropped: failed, or unknown.  Before the job is settled. */
int request_ends(struct attempt *a, const char *letter_id) __attribute__((warn_unused_result));
/* Its row says that nobody knows: where the partner has reported meanwhile that it was done, somebody does.  Waits. */
void request_clear_up(struct attempt *a);
/* A person must decide: the alert of kind outbound_unknown.  Waits. */
int request_alert(struct attempt *a, const char *what, struct err *err)
	__attribute__((warn_unused_result));

#endif
