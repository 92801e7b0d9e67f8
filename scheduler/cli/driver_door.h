/* A door of the command's own, with a tape, for one integration: the calls of `driver record` and `driver check --live` take permits
 * and credentials like everybody's. */
#ifndef SCHEDULER_CLI_DRIVER_DOOR_H
#define SCHEDULER_CLI_DRIVER_DOOR_H

#include "drivers/kit/rehearse.h"
#include "scheduler/cli/cli.h"

struct driver_door {
	struct keyring *keys;
	struct integration integration;
	struct driver *own; /* with what the integration has otherwise; NULL: nothing */
	struct tape *tape;
	struct door *door;
	struct caller caller;
};
/* Waits.  0, or the exit code after the line was printed. */
int driver_door_open(struct cli *c, const struct driver *d, const char *integration_id,
		     struct driver_door *out) __attribute__((warn_unused_result));
void driver_door_close(struct driver_door *d);

#endif
