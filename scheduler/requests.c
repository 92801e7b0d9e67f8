/* Outbound requests that are in Postgres and not in their queue: what came by HTTP while Redis was away, what a person decided, and all
 * that was open when Redis lost its data (B8). */
#include "common/base/log.h"
#include "common/io/loop.h"
#include "drivers/kit/notify.h"
#include "drivers/kit/outbound.h"
#include "scheduler/scheduler.h"

#define EVERY_MS 1000
#define MIN_AGE_MS 1000 /* whoever wrote it queues it himself */
#define SLICE 200
#define STEP_MS 5000

static int relay(struct scheduler *s, int *more)
{
	struct request_due *v = NULL;
	struct err err = { 0 };
	int n = 0, queued = 0, rc = request_due(s->pg, MIN_AGE_MS, SLICE, &v, &n, &err);

	if (rc == 0)
		rc = outbound_queue(s->redis, s->pg, v, n, &queued, loop_now_ms() + STEP_MS, &err);
	if (rc < 0)
		log_event(LOG_INFO, "requests_not_queued", LS("reason", err.text));
	if (queued)
		log_event(LOG_INFO, "requests_queued", LI("n", queued));
	*more = rc == 0 && n == SLICE;
	request_due_free(v, n);
	return rc;
}

/* Each scheduler does: every statement of it has one winner. */
static bool notify(struct scheduler *s)
{
	struct err err = { 0 };
	bool more = false;

	if (notify_go_on(s->redis, s->pg, loop_now_ms() + STEP_MS, &more, &err) < 0) {
		log_event(LOG_INFO, "notifications_wait", LS("reason", err.text));
		return false;
	}
	return more;
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	int more = 0;

	while (scheduler_sleep(s, more ? 1 : EVERY_MS) == 0) {
		if (relay(s, &more) < 0)
			more = 0;
		more |= notify(s);
	}
}

int requests_start(struct scheduler *s)
{
	return scheduler_spawn(s, "requests", run, s);
}
