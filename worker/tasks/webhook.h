/* What becomes of an event that a partner told us of (process_webhook).  webhook.c reads it and tells what became of it,
 * event.c does what concerns an item, event_auth.c what concerns credentials.
 *
 * Nothing is ordered by when it came.  A fetch reads what the partner has now; an item in the body goes by its own time, or the
 * event's; a deletion counts where it is newer than what is held.  So events may come late, twice and in any order. */
#ifndef WORKER_TASKS_WEBHOOK_H
#define WORKER_TASKS_WEBHOOK_H

#include "drivers/kit/event.h"
#include "worker/tasks/import.h"

struct hook {
	struct attempt *a;
	const struct manifest_event *e;      /* NULL: the manifest names none */
	const struct manifest_collection *c; /* of an item, else NULL */
	const cJSON *body;                   /* NULL: it is sealed */
	const char *sealed;                  /* as intake.h has it; NULL: it is not */
	const char *id;                      /* the partner's own, of the item; NULL: none found */
	int64_t happened_us; /* as event_happened_us has it; the row keeps what was said */
	struct webhook_event
		row; /* as it will be written; its texts are the arena's, but for the body */
	struct buf body_text;
	bool told;          /* it stands in Postgres as received */
	int64_t missing_us; /* out: a call sent then found that the partner has none; 0: nobody knows */
};

/* Waits.  What became of it; reason NULL: plain.  0, or an error of Postgres'. */
int hook_end(struct hook *h, enum webhook_state state, const char *reason)
	__attribute__((warn_unused_result));
/* Waits.  From here on it may take a while: Postgres knows of it from now on. */
int hook_begin(struct hook *h) __attribute__((warn_unused_result));
/* Waits.  Its record is not there: it is looked for again in a moment, and in the end when it appears. */
int hook_wait(struct hook *h, const char *reason) __attribute__((warn_unused_result));

/* event.c, event_auth.c.  All wait. */
/* What was read after the event came in holds what it tells of. */
int event_is_covered(struct hook *h, bool *covered) __attribute__((warn_unused_result));
int event_covered(struct hook *h) __attribute__((warn_unused_result));
int event_fetch(struct hook *h) __attribute__((warn_unused_result));
int event_upsert(struct hook *h) __attribute__((warn_unused_result));
int event_delete(struct hook *h) __attribute__((warn_unused_result));
int event_revoked(struct hook *h) __attribute__((warn_unused_result));
int event_rotated(struct hook *h) __attribute__((warn_unused_result));
int event_delivery(struct hook *h) __attribute__((warn_unused_result)); /* notify.c */

#endif
