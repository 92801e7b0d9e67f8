/* Tasks that end their process, for tests of what happens then.  Linked with the worker's own objects into a worker that only
 * the tests have: no worker that is installed knows them. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/co.h"
#include "worker/attempt.h"

/* Waits args.ms, so that a job shares the process with others that crash it. */
static int task_wait(struct attempt *a)
{
	int64_t ms = 1000;

	json_int(a->job.args, "ms", &ms);
	return co_sleep("its time", ms) < 0 ? -ECANCELED : 0;
}

static int deep(int n)
{
	volatile char room[1024];

	room[n % 1024] = (char)n;
	return n > 1 << 20 ? 0 : deep(n + 1) + room[(n + 1) % 1024];
}

/* args.how: "abort" (the default), "write" (where nothing is), "deep" (off the end of its stack), "kill" (from outside, as far
 * as anyone can tell).  args.after: "wait" = after a wait; args.times = only so often, then it waits
 * args.ms. */
static int task_crash(struct attempt *a)
{
	const char *how = a->job.args ? json_str(a->job.args, "how") : NULL;
	const char *after = a->job.args ? json_str(a->job.args, "after") : NULL;
	volatile uintptr_t nowhere = 16;
	int64_t times = INT32_MAX;

	json_int(a->job.args, "times", &times);
	if (a->lease.header.crashes >= times)
		return task_wait(a);
	if (after && co_sleep("a moment", 50) < 0)
		return -ECANCELED;
	if (how && !strcmp(how, "write"))
		*(volatile int *)nowhere = 1;
	if (how && !strcmp(how, "deep"))
		return deep(0);
	if (how && !strcmp(how, "kill"))
		raise(SIGKILL);
	abort();
}

const struct task extra_tasks[] = {
	{ "crash", task_crash, false, false, false },
	{ "wait", task_wait, false, false, false },
	{ NULL, NULL, false, false, false },
};
