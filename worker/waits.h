/* What the jobs of this process wait for, and since when: told in the log when USR1 asks (each), and with every beat (in sum),
 * which is what `longshore worker show` prints.  Nothing here waits. */
#ifndef WORKER_WAITS_H
#define WORKER_WAITS_H

#include "common/base/buf.h"

/* One line for each coroutine, `coroutine`, and one at the end, `coroutines`, that says how many there are. */
void waits_log(void);
/* Appends {"http": {"jobs": 12, "longest_ms": 340}, …}; jobs that do not wait right now are under "cpu". */
void waits_print(struct buf *out);

#endif
