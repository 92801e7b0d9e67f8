/* What one worker process has: everything that an attempt may use.  One of them, made in worker/main.c after the
 * process was started by its supervisor. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "common/base/crypto.h"
#include "common/io/pg.h"
#include "common/io/redis.h"
#include "common/queue/queue.h"
#include "drivers/driver.h"
#include "drivers/kit/call.h"

struct sink;

struct worker {
	char epoch[64]; /* names this process's leases: host-pid-random */
	struct redis *redis;
	struct pg *pg;
	struct keyring *
		keyring; /* NULL: no secret key given; partners that need credentials are refused */
	struct driver_set *drivers;
	struct door *door;
	struct sink *sink;
	int64_t soft_limit_ms, hard_limit_ms; /* Q9: 300 s, 360 s of running */
	int64_t job_memory_bytes;             /* Q9: what one job may hold; 0: no limit */
	int concurrency;                      /* jobs in flight */
	int64_t lane_bound;                   /* Q13: fan-outs stop at so many jobs in a lane */
};

#endif
