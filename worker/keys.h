/* Unique and idempotency keys of the job that an attempt is about to run (Q8). */
#ifndef WORKER_KEYS_H
#define WORKER_KEYS_H

#include "worker/attempt.h"

/* Waits only for a job that has keys.  0: run it, or a->skipped says as what it ends.  -EAGAIN with ERR_HOLD: another
 * job with the key is not through yet.  The settlement gives the keys up (settle.c). */
int keys_take(struct attempt *a) __attribute__((warn_unused_result));

#endif
