/* How long what found no room is to stay away: 1 to 30 s.  The more of them come back, the longer, so that a thousand that wait do not spend
 * the process on being refused; spread, or they would come back in step.  Nothing here waits. */
#ifndef WORKER_BUSY_H
#define WORKER_BUSY_H

#include <stdint.h>

struct busy { /* zero: nothing was refused yet */
	int64_t since_ms, away_ms;
	int refused; /* since then */
};
/* One more is refused. */
int64_t busy_refused_ms(struct busy *b, int64_t now_ms);

#endif
