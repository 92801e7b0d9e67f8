/* Starts by the clock, in parts: plans (beat_plan.c), what is due (beat.c), and whether a lane has room for it. */
#ifndef SCHEDULER_BEAT_H
#define SCHEDULER_BEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/schedule.h"
#include "drivers/kit/plan.h"
#include "scheduler/scheduler.h"

/* A lane over its bound is closed to starts until it has drained to half of it (Q13): at the bound it would open and close in
 * turn.  closed: as it was. */
bool beat_is_closed(bool closed, int64_t waiting, int64_t bound);

/* The plan of an integration as it stands now.  False: nothing is started by the clock, `out` says why. */
bool beat_plan_of(const struct scheduler *s, const struct schedule *row, struct plan *out);
/* Plans what is new or has changed; after beat_replan everything, which others may have planned by other manifests.  Waits.
 * 1: there is more to do, 0, or an error. */
void beat_replan(void);
int beat_plan_some(struct scheduler *s, struct err *err) __attribute__((warn_unused_result));

#endif
