/* What keeps each partner's queue moving, run by every scheduler (the scripts are idempotent): raw pushes are
 * admitted so that depth and age are known even while no worker serves them, due jobs promoted, leases of lost workers
 * given back, children for other partners delivered, caps and pauses mirrored from Postgres.  One coroutine a partner, so that a
 * partner with a million due jobs does not hold up another's. */
#include <errno.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/control.h"
#include "scheduler/scheduler.h"

#define TURN_MS 1000    /* between two rounds; sooner when something falls due */
#define PROMOTE_MS 5    /* between two promotions, at least */
#define STEP_MS 10000   /* a round's commands */
#define MIRROR_MS 15000 /* control is written by whoever changes it; this repairs what was missed */
#define ADMIT_MAX 20000 /* raw pushes a round */

struct round {
	struct scheduler *s;
	struct queue *queue;
	const struct driver *driver;
	int index;
	int64_t mirrored_ms, looked_ms;
	struct metric *promoted, *reaped, *relayed, *admitted;
};

static struct queue_look looks[SCHEDULER_PARTNERS_MAX];

const struct queue_look *upkeep_look(int i)
{
	return &looks[i];
}

/* A step that failed is told once here and tried again in the next round; the others go on. */
static void failed(struct round *r, const char *step, const struct err *err)
{
	if (redis_is_up(r->s->redis))
		log_event(LOG_WARN, "upkeep_failed", LS("partner", queue_partner(r->queue)),
			  LS("step", step), LS("reason", err->text));
}

static void count(struct round *r, struct metric *m, const char *event, int n)
{
	if (!n)
		return;
	metric_add(m, n);
	log_event(LOG_DEBUG, event, LS("partner", queue_partner(r->queue)), LI("jobs", n));
}

static void reap(struct round *r)
{
	struct err err = { 0 };
	int n = 0;

	/* An outage of Redis made every heartbeat lapse: judge only after they had time to come back. */
	if (redis_same_run_ms(r->s->redis) < QUEUE_HEARTBEAT_MS + QUEUE_REAP_GRACE_MS)
		return;
	if (queue_reap(r->queue, NULL, &n, loop_now_ms() + STEP_MS, &err) < 0)
		failed(r, "reap", &err);
	count(r, r->reaped, "reaped", n); /* queue_reap has told whose they were */
}

static void mirror(struct round *r)
{
	struct err err = { 0 };

	if (r->mirrored_ms && loop_now_ms() - r->mirrored_ms < MIRROR_MS)
		return;
	/* Without Postgres jobs must still be promoted and reaped, not wait here. */
	if (!pg_is_up(r->s->pg))
		return;
	if (control_mirror(r->s->redis, r->s->pg, r->driver, queue_partner(r->queue), false,
			   loop_now_ms() + STEP_MS, &err) < 0)
		failed(r, "control", &err);
	else
		r->mirrored_ms = loop_now_ms();
}

static void promote(struct round *r, int64_t *next_due)
{
	struct err err = { 0 };
	int n = 0;

	if (queue_promote(r->queue, &n, next_due, loop_now_ms() + STEP_MS, &err) < 0)
		failed(r, "promote", &err);
	count(r, r->promoted, "promoted", n);
}

/* All but promotion, which has its own times. */
static void look_after(struct round *r)
{
	struct err err = { 0 };
	int n = 0;
	int64_t dl = loop_now_ms() + STEP_MS;

	r->looked_ms = loop_now_ms();
	mirror(r);
	if (queue_admit(r->queue, ADMIT_MAX, &n, dl, &err) < 0)
		failed(r, "admit", &err);
	count(r, r->admitted, "admitted", n);
	n = 0;
	if (queue_relay(r->queue, &n, dl, &err) < 0)
		failed(r, "relay", &err);
	count(r, r->relayed, "relayed", n);
	reap(r);
	if (queue_depth(r->queue, &looks[r->index].depth, dl, &err) == 0)
		looks[r->index].at_ms = loop_now_ms();
}

static int64_t at_least(int64_t ms, int64_t least)
{
	return ms < least ? least : ms;
}

static int64_t turn(struct round *r)
{
	int64_t next_due = 0, left = r->looked_ms + TURN_MS - loop_now_ms();

	if (!r->looked_ms || left <= 0) {
		look_after(r);
		left = TURN_MS;
	}
	promote(r, &next_due);
	if (next_due && next_due - redis_now_ms(r->s->redis) < left)
		left = next_due - redis_now_ms(r->s->redis);
	/* Thousands that fall due one after the other go in slices, not each in a turn of its own. */
	return at_least(left, PROMOTE_MS);
}

static void run(void *arg)
{
	struct round *r = arg;
	int64_t pause = TURN_MS;

	do {
		if (redis_is_up(r->s->redis))
			pause = turn(r);
		else
			pause = TURN_MS;
	} while (scheduler_sleep(r->s, pause) == 0);
	free(r);
}

static struct metric *counter(const char *what, const char *help, const char *partner)
{
	return metrics_counter(what, help, "partner", partner, NULL);
}

int upkeep_start(struct scheduler *s)
{
	for (int i = 0; i < s->n_queues; i++) {
		struct round *r = mem_new(struct round);
		const char *p = queue_partner(s->queues[i]);

		r->s = s;
		r->queue = s->queues[i];
		r->driver = driver_find(s->drivers, p);
		r->index = i;
		r->promoted =
			counter("longshore_jobs_promoted_total", "Delayed jobs that fell due.", p);
		r->reaped = counter("longshore_jobs_reaped_total",
				    "Jobs taken back from lost workers.", p);
		r->relayed = counter("longshore_jobs_relayed_total",
				     "Children delivered to other partners.", p);
		r->admitted = counter("longshore_jobs_admitted_total",
				      "Raw pushes admitted by schedulers.", p);
		int rc = scheduler_spawn(s, "upkeep", run, r);
		if (rc < 0) {
			free(r);
			return rc;
		}
	}
	return 0;
}
