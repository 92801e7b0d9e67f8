#include "worker/keys.h"

#include <errno.h>

#include "common/base/log.h"
#include "common/io/loop.h"
#include "worker/tasks/tasks.h"

#define ANSWER_MS 10000
#define LOOK_AGAIN_MS 1000 /* while the other runs */
#define LOOK_AGAIN_LONG_MS 10000

/* Shed, and said: nobody must wonder where the job went (B4). */
static void shed(struct attempt *a, const struct key_answer *k)
{
	bool replaced = k->verdict == KEYS_REPLACED;

	a->skipped = replaced ? "replaced" : "duplicate";
	a->keys.n = 0; /* none of them is this job's */
	log_event(LOG_INFO, replaced ? "job_replaced" : "job_duplicate", LS("owner", k->label),
		  LS("owner_header", k->owner), LS("unique", a->job.unique),
		  LS("idempotency_key", a->job.idempotency_key));
}

static int look_again(struct attempt *a, const struct key_answer *k)
{
	return err_hold(&a->err, k->verdict == KEYS_WAIT ? LOOK_AGAIN_MS : LOOK_AGAIN_LONG_MS,
			"unique", "waits for job %s, which has the same key", k->label);
}

int keys_take(struct attempt *a)
{
	struct key_answer answer = { 0 };
	struct job job = a->job;
	int rc;

	/* A request's own row remembers its key, for good and with what was asked under it. */
	if (a->task && a->task->run == task_action)
		job.idempotency_key = NULL;
	if (!job.unique && !job.idempotency_key)
		return 0;
	job_keys_of(a->partner, &job, &a->keys);
	rc = queue_take_keys(a->lease.queue, &a->keys, &a->lease.header, a->job_id, a->job.parent,
			     &answer, loop_now_ms() + ANSWER_MS, &a->err);
	if (rc < 0)
		return rc;
	switch (answer.verdict) {
	case KEYS_TAKEN:
		return 0;
	case KEYS_DUPLICATE:
	case KEYS_REPLACED:
		shed(a, &answer);
		return 0;
	case KEYS_WAIT:
	case KEYS_WAIT_LONG:
		break;
	}
	return look_again(a, &answer);
}
