/* Which job is on the CPU.  A process writes it into the page that it shares with its supervisor whenever a coroutine is
 * switched in or out, so that after a crash the one job that ran is charged with it (Q5) and those that waited are not.
 * Everything is copied: nothing in the page points into a process that is gone. */
#ifndef WORKER_ONCPU_H
#define WORKER_ONCPU_H

#include "common/queue/job.h"

struct oncpu {
	char lease[96];
	char job_id[JOB_ID_MAX];
	char task[36]; /* cut: it is shown, not looked up; "" until the payload was parsed */
	int queue; /* in the order of the settings, which supervisor and process have in common */
};

struct oncpu_page {
	volatile int busy; /* a job's coroutine runs: the rest is its */
	struct oncpu job;
	char waited_for
		[24]; /* what its last wait was for, "" = it had not waited yet; may lack its NUL */
};

/* In a process: tells the page from now on. */
void oncpu_start(struct oncpu_page *page);
/* Of an attempt: before it runs; once it is known what it is (from its own coroutine). */
void oncpu_init(struct oncpu *o, int queue, const char *lease);
void oncpu_tell(struct oncpu *o, const char *job_id, const char *task);

#endif
