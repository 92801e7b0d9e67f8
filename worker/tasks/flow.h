/* A flow: the steps of an action, done one after another, each written down before the next begins (O1).
 *
 * A step whose effect must not come twice is marked as sent before it may reach the partner, with the call's permit in hand.  Whoever finds a
 * mark without an answer is in doubt: the step is repeated where it may be (repeatable, or under the same key while the partner keeps
 * keys), looked for (find_first), or left to a person.  So a step is done twice at no partner, whoever dies where. */
#ifndef WORKER_TASKS_FLOW_H
#define WORKER_TASKS_FLOW_H

#include "drivers/kit/action.h"
#include "worker/request.h"

struct flow {
	struct attempt *a;
	const struct manifest_action *action;
	struct attempt_request *request; /* the attempt's */
	struct request row;
	struct request_step *steps; /* those that were begun */
	int n_steps;
	cJSON *in;
	char key[ACTION_KEY_BYTES]; /* of the step that it is at */
	char reference[24];         /* its number: what the partner is told that it may tell us */
};

/* flow_entry.c: the row of this job's request, made or found, and taken.  Waits.  0: to be worked on; 1: it has ended, and the attempt
 * says how; -EAGAIN (ERR_HOLD): another job has it. */
int flow_enter(struct flow *f) __attribute__((warn_unused_result));

/* Waits.  Whether this job's request was there before it: accepted by HTTP, or written down as what follows another.  What stands in it was looked
 * at then, or is the partner's own. */
int flow_was_accepted(struct attempt *a, bool *was) __attribute__((warn_unused_result));

/* flow_step.c: one step, to its end.  Waits.  0: done, and written; FLOW_UNKNOWN: a person must decide, and that is written; else as
 * call(): the attempt ends, and settle.c decides. */
enum { FLOW_UNKNOWN = 1 };
int flow_step(struct flow *f, int i, bool undo) __attribute__((warn_unused_result));

/* Before a step in doubt is taken back: whether it was done, by its find_first; it is done then, or pending.  Waits.  As flow_step. */
int flow_seek(struct flow *f, int i) __attribute__((warn_unused_result));

/* notify.c: an attempt at a notification waits while it is quiet, and is not sent where the next channel had its turn.  Waits.  -EAGAIN
 * (ERR_HOLD), -EREMOTEIO. */
int notify_may_send(struct attempt *a, int64_t request_id) __attribute__((warn_unused_result));

/* What of this request is known of a step; NULL: it was not begun. */
struct request_step *flow_known(struct flow *f, int i, bool undo);

#endif
