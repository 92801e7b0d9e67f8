/* Once a day each partner whose manifest names collections in checks.daily is asked, through its limits and with an integration that it
 * has, whether it is still what its driver takes it for.  What is not raises the alert contract_broken.  Run by the leader. */
#ifndef SCHEDULER_CONTRACTS_H
#define SCHEDULER_CONTRACTS_H

#include "scheduler/scheduler.h"

void contracts_look(struct scheduler *s); /* waits */

#endif
