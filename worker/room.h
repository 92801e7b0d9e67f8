/* How many more children a lane takes: our own producers stop at its bound (Q13), raw pushes never do.  Looked
 * up at most once a second a lane; what this process has queued since is taken off, so that thousands of fan-outs
 * of one process do not all fill the same room.  Several processes may pass the bound together, by what they queue in a second. */
#ifndef WORKER_ROOM_H
#define WORKER_ROOM_H

#include "worker/attempt.h"

/* Waits.  *room > 0: so many; else none.  As a Redis call. */
int room_in(struct attempt *a, const char *partner, enum lane lane, int64_t *room)
	__attribute__((warn_unused_result));
/* n children were queued there, or are about to be. */
void room_take(const char *partner, enum lane lane, int64_t n);
/* How long one that found no room waits before it looks again; less for one that found some. */
int64_t room_pause_ms(bool some);

#endif
