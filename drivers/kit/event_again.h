/* Events of webhooks that are done once more, from their rows: a person asks for it, their record has appeared, Redis was lost. */
#ifndef DRIVERS_KIT_EVENT_AGAIN_H
#define DRIVERS_KIT_EVENT_AGAIN_H

#include "common/queue/queue.h"
#include "common/store/webhook.h"

/* Waits.  Queued first, noted then: who dies in between leaves an event that is queued once more, and done once.  Done twice would do no
 * harm.  0 | 1: it was queued a moment ago | -ENODATA: its body was not kept | as queue_enqueue_once, webhook_queued_again. */
int event_again(struct queue *q, struct pg *pg, const struct webhook_seen *v, const char *reason,
		int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

#endif
