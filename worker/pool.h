/* The pool of one worker process: claims jobs for the queues it serves while slots are free, runs each in a coroutine, stops
 * gracefully.  Free slots are shared over queues with work in turn; none holds more than half while others wait. */
#ifndef WORKER_POOL_H
#define WORKER_POOL_H

#include "worker/attempt.h"

struct pool_options {
	struct worker *worker;
	struct queue **queues;
	int n_queues; /* borrowed */
	const char *redis_url;
	int concurrency;       /* slots: jobs in flight in this process */
	int jobs;              /* no more than so many of each queue are claimed; 0: no bound */
	void (*on_over)(void); /* with a bound: it is reached, or there is nothing to do; once */
};
/* From a coroutine, Redis up.  -ENOMEM. */
int pool_start(const struct pool_options *o) __attribute__((warn_unused_result));
/* Waits.  Stops claiming, lets jobs finish for grace_ms, then cancels the rest, whose jobs go back unharmed; returns when all is settled. */
void pool_stop(int64_t grace_ms);
bool pool_is_stopping(void);
int pool_running(void);
/* The heartbeat got through lately, so leases may be believed. */
bool pool_in_touch(void);
void pool_on_redis_up(
	void);        /* claims' answers may have been lost: reconcile before the next claim */
void pool_beat(void); /* every second: heartbeats of the queues with leases; notes the touch */
void pool_note_touch(void);

#endif
