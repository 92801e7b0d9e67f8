/* Rights that die when nobody uses them are used in time; one that will lapse all the same is announced 7 days before, and
 * earlier than at a quarter of its time.  Run by the leader. */
#ifndef SCHEDULER_GRANTS_H
#define SCHEDULER_GRANTS_H

#include "scheduler/scheduler.h"

void grants_look(struct scheduler *s); /* waits */

#endif
