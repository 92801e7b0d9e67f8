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
#define TRIM_SLICES 50 /* a look: more than 50 letters a ms do not die for long */

/* queue_dead_list never splits a millisecond, so a slice may be longer than SLICE. */
struct slice {
	char **text;
	size_t *len;
	int64_t last_ms;
	int n, cap;
};

/* Letters up to here are in Postgres; 0 after a start: all are looked at again. */
static int64_t copied_ms[SCHEDULER_PARTNERS_MAX];

static void take(const char *id, int64_t failed_at_ms, const char *json, size_t len, void *arg)
{
	struct slice *sl = arg;

	if (sl->n == sl->cap) {
		sl->cap += SLICE;
		sl->text = mem_realloc(sl->text, sl->cap * sizeof(*sl->text));
		sl->len = mem_realloc(sl->len, sl->cap * sizeof(*sl->len));
	}
	sl->text[sl->n] = mem_strndup(json, len);
	sl->len[sl->n++] = len;
	sl->last_ms = failed_at_ms;
}

static void release(struct slice *sl)
{
	for (int i = 0; i < sl->n; i++)
		free(sl->text[i]);
	free(sl->text);
	free(sl->len);
	*sl = (struct slice){ 0 };
}

static int copy(struct scheduler *s, struct queue *q, const struct slice *sl, int n,
		struct err *err)
{
	return deadletter_copy(s->pg, queue_partner(q), (const char *const *)sl->text, sl->len, n,
			       err);
}

/* How many of the slice, the oldest there are, may go. */
static int too_old(struct scheduler *s, const struct slice *sl, int64_t card)
{
	if (card > KEEP_COUNT)
		return card - KEEP_COUNT < sl->n ? (int)(card - KEEP_COUNT) : sl->n;
	return sl->n && sl->last_ms < redis_now_ms(s->redis) - KEEP_MS ? sl->n : 0;
}

/* One slice; how many went, 0: none is to go. */
static int trim_slice(struct scheduler *s, struct queue *q, int64_t card)
{
	struct slice sl = { 0 };
	struct err err = { 0 };
	int64_t dl = loop_now_ms() + STEP_MS;
	int rc = queue_dead_list(q, 0, SLICE, take, &sl, dl, &err);
	int old = rc == 0 ? too_old(s, &sl, card) : 0;

	/* Copied again right before: what is trimmed is what Postgres confirmed, whatever this process believed. */
	if (old)
		rc = copy(s, q, &sl, old, &err);
	if (old && rc == 0)
		rc = queue_dead_trim(q, (const char *const *)sl.text, sl.len, old, dl, &err);
	if (rc < 0)
		log_event(LOG_WARN, "dead_letters_not_trimmed", LS("partner", queue_partner(q)),
			  LS("reason", err.text));
	release(&sl);
	return rc < 0 ? rc : old;
}

/* What Postgres has may go from Redis once it is old, or once too many stand there. */
static void trim(struct scheduler *s, struct queue *q, int64_t card)
{
	int gone;

	for (int i = 0; i < TRIM_SLICES && (gone = trim_slice(s, q, card)) > 0; i++)
		card -= gone;
}

/* Walks on from the last one seen; for a while from a little before it (a settlement that was sent again after an outage
 * lands late), and from the start once an hour. */
static int copy_queue(struct scheduler *s, int i)
{
	struct queue *q = s->queues[i];
	struct slice sl = { 0 };
	struct err err = { 0 };
	bool settled = copied_ms[i] < redis_now_ms(s->redis) - LATE_MS;
	int64_t at = settled ? copied_ms[i] : copied_ms[i] - LATE_MS;
	int rc = 0, n = SLICE;

	while (rc == 0 && n >= SLICE) {
		rc = queue_dead_list(q, at, SLICE, take, &sl, loop_now_ms() + STEP_MS, &err);
		n = sl.n;
		if (rc == 0 && n)
			rc = copy(s, q, &sl, n, &err);
		if (rc == 0 && n) {
			at = sl.last_ms;
			copied_ms[i] = at > copied_ms[i] ? at : copied_ms[i];
		}
		release(&sl);
	}
	if (rc < 0)
		log_event(LOG_WARN, "dead_letters_not_copied", LS("partner", queue_partner(q)),
			  LS("reason", err.text));
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
