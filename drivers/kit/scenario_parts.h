/* What the files of scenario.h have of one another. */
#ifndef DRIVERS_KIT_SCENARIO_PARTS_H
#define DRIVERS_KIT_SCENARIO_PARTS_H

#include "drivers/kit/scenario.h"

/* Why it did not come to more. */
void scenario_add_error(cJSON *out, const struct err *why);
/* scenario_action.c: an action, as its flow does it.  Waits.  As scenario_run. */
int scenario_act(struct caller *c, const struct scenario *s, cJSON *out, struct err *err)
	__attribute__((warn_unused_result));

#endif
