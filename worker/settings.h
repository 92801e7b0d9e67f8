/* The worker's settings: flags, environment, file (common/base/config.h). */
#ifndef WORKER_SETTINGS_H
#define WORKER_SETTINGS_H

#include "common/base/config.h"
#include "common/queue/queue.h"
#include "drivers/driver.h"

#define WORKER_PARTNERS_MAX 512

struct settings {
	struct config_common common;
	const char *partners; /* a,b; "" = all there are drivers for, and longshore */
	int64_t concurrency, processes;
	const char *egress;          /* "" = the host's name */
	const char *public_url_said; /* as it was given; "" = not */
	char *public_url; /* without a slash at its end; NULL = not given.  As long as the process */
	const char *metrics; /* HOST:PORT; "" = none */
	int64_t soft_limit_ms, hard_limit_ms, grace_ms;
	int64_t lane_bound, job_memory_mib;
	int64_t jobs; /* a process ends after so many of each partner; 0: never */
	const char *names
		[WORKER_PARTNERS_MAX]; /* the partners served, borrowed from the drivers or `partners` */
	char *list;                    /* what names were cut from */
	int n_names;
	struct driver_set *drivers;
};

/* Prints what is wrong and returns an exit code; 0 = go on.  Loads the drivers. */
int settings_load(struct settings *s, int argc, char **argv) __attribute__((warn_unused_result));
/* Whether a start with them would be taken now: settings, manifests (a broken one is a reason, unlike at a start, which serves the
 * others), keys.  Prints why not; an exit code.  For a process that ends with it. */
int settings_check(int argc, char **argv) __attribute__((warn_unused_result));

#endif
