/* When a start by the clock goes ahead (Q13), apart from Redis and the clock itself. */
#ifndef SCHEDULER_BEAT_H
#define SCHEDULER_BEAT_H

#include <stdbool.h>
#include <stdint.h>

enum beat_verdict { BEAT_START, BEAT_SKIP, BEAT_WAIT };
/* waiting: jobs in the lane.  skipped: this slot's start was skipped already.  left_ms: until the next slot. */
enum beat_verdict beat_judge(int64_t waiting, int64_t bound, bool skipped, int64_t left_ms,
			     int64_t every_ms);

#endif
