/* Q5: whose fault a crash was.  The supervisor charges the one job that was on the CPU when a process died of a fault of its
 * own; at the second process it becomes a dead letter of class poison.  Jobs that waited in the process, and all jobs of one
 * that was killed from outside (operator, out of memory, lost host), are not charged.
 * The payload is never parsed here: it may be what killed the process. */
#ifndef WORKER_CHARGE_H
#define WORKER_CHARGE_H

#include "worker/supervisor.h"
#include "worker/worker.h"

#define POISON_CRASHES 2

struct crash {
	char epoch[64];
	int signo;
	struct oncpu oncpu;
	char waited_for[24];
};

/* From a dead process's page, which a crash may have trampled on.  False: nobody is to be charged. */
bool crash_read(struct crash *c, const struct shared_page *page, int n_queues, int signo);
/* Waits.  Gives the job back with one crash more, or buries it.  0 also when it is not in flight any more.  d: the queue's, NULL: none. */
int charge(struct queue *q, struct redis *r, const struct driver *d, const struct crash *c,
	   int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

#endif
