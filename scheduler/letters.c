/* Dead letters into Postgres: born in Redis (safe without Postgres), copied by id soon after, and trimmed from Redis only
 * when Postgres has them and they are older than a week, or more than 10,000 stand there. Every scheduler does this: copying twice
 * changes nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define SLICE 100
#define KEEP_MS (7LL * 24 * 3600 * 1000)
#define KEEP_COUNT 10000
#define STEP_MS 10000
#define LATE_MS 10000
#define SWEEP_MS (3600 * 1000)

struct slice {
	char *text[SLICE];
	size_t len[SLICE];
	int64_t last_ms;
	int n;
};

static int64_t copied_ms
	[SCHEDULER_PARTNERS_MAX]; /* letters up to here are in Postgres; 0 after a start: all are looked at again */

static void take(const char *id, int64_t failed_at_ms, const char *json, size_t len, void *arg)
{
	struct slice *sl = arg;

	if (sl->n == SLICE)
		return;
	sl->text[sl->n] = mem_strndup(json, len);
	sl->len[sl->n++] = len;
	sl->last_ms = failed_at_ms;
}

static void release(struct slice *sl)
{
	for (int i = 0; i < sl->n; i++)
		free(sl->text[i]);
	sl->n = 0;
}

/* What Postgres has may go from Redis once it is old, or once too many stand there. */
static void trim(struct scheduler *s, struct queue *q, int64_t card)
{
	struct slice sl = { .n = 0 };
	struct err err = { 0 };
	int64_t dl = loop_now_ms() + STEP_MS;
	int old = 0;

	if (queue_dead_list(q, 0, SLICE, take, &sl, dl, &err) < 0)
		goto out;
	if (card > KEEP_COUNT)
		old = card - KEEP_COUNT < sl.n ? (int)(card - KEEP_COUNT) : sl.n;
	else if (sl.n && sl.last_ms < redis_now_ms(s->redis) - KEEP_MS)
		old = sl.n;
	if (!old)
		goto out;
	/* Copied again right before: what is trimmed is what Postgres confirmed, whatever this process believed. */
	if (deadletter_copy(s->pg, queue_partner(q), (const char *const *)sl.text, sl.len, old,
			    &err) < 0 ||
	    queue_dead_trim(q, (const char *const *)sl.text, sl.len, old, dl, &err) < 0)
		log_event(LOG_WARN, "dead_letters_not_trimmed", LS("partner", queue_partner(q)),
			  LS("reason", err.text));
out:
	release(&sl);
}

/* Walks from a little before the last one seen (a settlement sent again after an outage lands late), and from the start once an
 * hour.  Letters of one instant may straddle two slices: each slice begins with the last one's last instant. */
static int copy_queue(struct scheduler *s, int i)
{
	struct slice sl = { .n = 0 };
	struct err err = { 0 };
	int64_t at = copied_ms[i] > LATE_MS ? copied_ms[i] - LATE_MS : 0;
	int rc = 0;
	bool more = true;

	while (more && rc == 0) {
		rc = queue_dead_list(s->queues[i], at, SLICE, take, &sl, loop_now_ms() + STEP_MS,
				     &err);
		if (rc == 0 && sl.n)
			rc = deadletter_copy(s->pg, queue_partner(s->queues[i]),
					     (const char *const *)sl.text, sl.len, sl.n, &err);
		more = sl.n == SLICE;
		if (rc == 0 && sl.n) {
			at = sl.last_ms - 1 > at ? sl.last_ms - 1 : sl.last_ms;
			if (sl.last_ms > copied_ms[i])
				copied_ms[i] = sl.last_ms;
		}
		release(&sl);
	}
	if (rc < 0)
		log_event(LOG_WARN, "dead_letters_not_copied",
			  LS("partner", queue_partner(s->queues[i])), LS("reason", err.text));
	return rc;
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	int64_t swept_ms = loop_now_ms();

	do {
		if (!redis_is_up(s->redis) || !pg_is_up(s->pg))
			continue;
		if (loop_now_ms() - swept_ms > SWEEP_MS) {
			memset(copied_ms, 0, sizeof(copied_ms));
			swept_ms = loop_now_ms();
		}
		for (int i = 0; i < s->n_queues; i++) {
			const struct queue_look *look = upkeep_look(i);

			if (look->at_ms && !look->depth.dead)
				continue;
			if (copy_queue(s, i) == 0)
				trim(s, s->queues[i], look->depth.dead);
		}
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int letters_start(struct scheduler *s)
{
	return scheduler_spawn(s, "letters", run, s);
}
