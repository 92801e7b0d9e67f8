/* Whether a partner is still what its driver takes it for: the fields that the manifest maps and the cassettes have are still there and of
 * the same type, the credential is taken, the limit headers say what `limits` says.  Called with a live door and a recording tape. */
#ifndef DRIVERS_KIT_CONTRACT_H
#define DRIVERS_KIT_CONTRACT_H

#include "drivers/kit/rehearse.h"

/* Waits.  Appends to `steps`, which is empty, an object for each thing looked at: what, problems (path, text, and class of an answer that was none), notes
 * (texts).  only: one collection; NULL: all.  Returns how many have problems; negative as call(), where it could not be found out. */
int contract_check(struct caller *c, struct tape *t, const char *only, cJSON *steps,
		   struct err *err) __attribute__((warn_unused_result));

#endif
