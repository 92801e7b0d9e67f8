/* The supervisor starts N worker processes, starts another for each that dies (with backoff when it keeps dying), gives a dead
 * one's jobs back at once, forwards signals, and answers /metrics for all.  A process is this same program, executed anew: it
 * shares nothing but one page of memory, in which it writes its epoch, the job on the CPU and its metrics. */
#ifndef WORKER_SUPERVISOR_H
#define WORKER_SUPERVISOR_H

#include "common/base/metrics.h"
#include "worker/oncpu.h"
#include "worker/settings.h"

/* What supervisor and process share; metrics follow at the next page boundary. */
struct shared_page {
	char epoch[64]; /* written by the process once it knows it; "" before */
	struct oncpu_page oncpu;
};
#define SHARED_HEAD_BYTES 4096
#define SHARED_BYTES (SHARED_HEAD_BYTES + METRICS_PAGE_BYTES)
#define CHILD_ENV "LONGSHORE_CHILD" /* "INDEX:FD" in a worker process's environment */

int supervisor_main(const struct settings *s, char **argv);
/* In a process: maps its page.  NULL: this is no child of a supervisor. */
struct shared_page *supervisor_page(void);

#endif
