/* Creates the periodic work: import_all_resources, once a slot of `--import-every`.  A slot is the whole number of
 * periods since 1970 on Redis' clock; its job has an id made of the slot and is delivered at most once (the mark and the
 * push are one script), so two schedulers that both believe to lead still fire once, and a slot missed while all were down is run once,
 * as the current one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/io/loop.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000

static int64_t fired_slot = -1;

static void fire(struct scheduler *s, int64_t slot)
{
	static const char payload[] = "{\"task\":\"import_all_resources\"}";
	struct queue *q = scheduler_queue(s, LONGSHORE_PARTNER);
	struct err err = { 0 };
	char id[JOB_ID_MAX];
	bool fresh = false;

	snprintf(id, sizeof(id), "beat-import-%" PRId64 "-%" PRId64, s->import_every_ms, slot);
	struct queue_push push = {
		.lane = LANE_NORMAL, .id = id, .payload = payload, .len = sizeof(payload) - 1
	};
	int rc = queue_enqueue_once(q, &push, 2 * s->import_every_ms, &fresh, loop_now_ms() + 5000,
				    &err);
	if (rc < 0) {
		log_event(LOG_WARN, "beat_failed", LS("reason", err.text));
		return; /* the slot is tried again at the next look */
	}
	fired_slot = slot;
	if (fresh)
		log_event(LOG_INFO, "beat", LS("task", "import_all_resources"), LS("job", id),
			  LI("token", leader_token()));
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do {
		int64_t slot = redis_now_ms(s->redis) / s->import_every_ms;
		if (leader_is_me(s) && redis_is_up(s->redis) && slot != fired_slot)
			fire(s, slot);
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int beat_start(struct scheduler *s)
{
	return s->import_every_ms ? scheduler_spawn(s, "beat", run, s) : 0;
}
