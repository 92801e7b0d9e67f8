/* What Postgres knows about whether an old job is worth running.  Both wait. */
#ifndef COMMON_STORE_FRESH_H
#define COMMON_STORE_FRESH_H

#include "common/store/store.h"

/* *out: a whole import of that task and mode began after the instant and succeeded. */
int run_newer_exists(struct pg *p, int64_t integration_id, const char *task, const char *mode,
		     int64_t after_ms, bool *out, struct err *err)
	__attribute__((warn_unused_result));
/* When the integration (0: none) or its partner was paused or resumed last, or the breaker of the host that it calls closed (still
 * open: now); 0 = never. */
int resumed_ms(struct pg *p, const char *partner, int64_t integration_id, const char *host,
	       int64_t *out, struct err *err) __attribute__((warn_unused_result));

#endif
