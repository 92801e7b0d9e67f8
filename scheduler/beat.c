/* Creates the periodic work: import_all_resources, once a slot of `--import-every`.  A slot is the whole number of
 * periods since 1970 on Redis' clock; its job has an id made of the slot and is delivered at most once (the mark and the
 * push are one script), so two schedulers that both believe to lead still fire once, and a slot missed while all were down is run once,
 * as the current one.
 *
 * A start whose lane is over its bound is skipped and counted (Q13), once a slot.  It is made up for within its slot once the lane has
 * drained to half its bound (at the bound it would start and skip in turn), but not in the slot's last tenth, when the next
 * start is near.  What it adds to is the lane itself and, of queue:{longshore}, what is delayed: fan-outs that pause. */
#include "scheduler/beat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define TASK "import_all_resources"

static int64_t fired_slot = -1, skipped_slot = -1;

static void fire(struct scheduler *s, int64_t slot)
{
	static const char payload[] = "{\"task\":\"" TASK "\"}";
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
		log_event(LOG_INFO, "beat", LS("task", TASK), LS("job", id),
			  LI("token", leader_token()));
}

enum beat_verdict beat_judge(int64_t waiting, int64_t bound, bool skipped, int64_t left_ms,
			     int64_t every_ms)
{
	if (!skipped)
		return waiting > bound ? BEAT_SKIP : BEAT_START;
	return waiting <= bound / 2 && left_ms >= every_ms / 10 ? BEAT_START : BEAT_WAIT;
}

static void skip(struct scheduler *s, int64_t slot, int64_t waiting)
{
	skipped_slot = slot;
	metric_add(metrics_counter("longshore_starts_skipped_total",
				   "Starts by the clock whose lane was over its bound.",
				   "queue_name", LONGSHORE_PARTNER, "task", TASK, NULL),
		   1);
	log_event(LOG_WARN, "start_skipped", LS("task", TASK), LS("queue", LONGSHORE_PARTNER),
		  LI("waiting", waiting), LI("bound", s->lane_bound),
		  LS("reason",
		     "its lane is over its bound: it is made up for when that has drained"));
}

static void look(struct scheduler *s)
{
	int64_t now = redis_now_ms(s->redis), slot = now / s->import_every_ms, waiting = 0;
	struct err err = { 0 };

	if (slot == fired_slot || recovery_holds(s, LONGSHORE_PARTNER))
		return;
	if (queue_waiting(s->redis, LONGSHORE_PARTNER, LANE_NORMAL, &waiting, loop_now_ms() + 5000,
			  &err) < 0) {
		log_event(LOG_WARN, "beat_failed", LS("reason", err.text));
		return;
	}
	switch (beat_judge(waiting, s->lane_bound, slot == skipped_slot,
			   (slot + 1) * s->import_every_ms - now, s->import_every_ms)) {
	case BEAT_START:
		fire(s, slot);
		break;
	case BEAT_SKIP:
		skip(s, slot, waiting);
		break;
	case BEAT_WAIT:
		break;
	}
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do {
		if (leader_is_me(s) && redis_is_up(s->redis))
			look(s);
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int beat_start(struct scheduler *s)
{
	return s->import_every_ms ? scheduler_spawn(s, "beat", run, s) : 0;
}
