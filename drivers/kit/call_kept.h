/* call(), where an answer that is not older than so long will do: it is taken from the cache, and its own time with it, so that
 * it never passes for news.  It stands before the door.  Nothing stale is ever given: whoever imports wants the partner's word. */
#ifndef DRIVERS_KIT_CALL_KEPT_H
#define DRIVERS_KIT_CALL_KEPT_H

#include "drivers/kit/call.h"

/* Waits.  As call(); of an answer that was kept r->http is empty. name: of the answers, beside those of other kinds. */
int call_kept(struct caller *c, const struct call_spec *spec, const char *name, int64_t ttl_ms,
	      struct call_result *r, struct err *err) __attribute__((warn_unused_result));

#endif
