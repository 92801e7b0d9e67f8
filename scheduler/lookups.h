/* Questions that callers of the HTTP API ask of partners.  Each is asked by a coroutine of its own, through this scheduler's door: the
 * cache, the single flight, limits and breakers are those of Redis, the same as the workers'.  Who asked waits for its answer as long as
 * he likes; a call that is under way goes on without him, so that the next one who asks finds what it brought. */
#ifndef SCHEDULER_LOOKUPS_H
#define SCHEDULER_LOOKUPS_H

#include "drivers/kit/lookup.h"
#include "scheduler/scheduler.h"

struct lookup_question {
	const char *partner, *name;
	int64_t integration_id; /* 0: the partner's of no company */
	const cJSON *params;    /* an object, or NULL */
};
struct asked;

/* Waits for Postgres alone.  until_ms: as long a wait for the rate limit is waited for.  -ENOENT, -EINVAL with ERR_BAD_JOB: there is no
 * such thing (err->rule `partner`, `name`, `integration_id`, or a param); -EBUSY: too many are under way; else as pg_exec. */
int lookups_ask(struct scheduler *s, const struct lookup_question *q, int64_t until_ms,
		struct asked **out, struct err *err) __attribute__((warn_unused_result));

/* Waits until then at most; then it is what is kept, or -ETIME.  Else as lookup(): 0 and an answer (borrowed until asked_put), which is
 * appended to text in JSON, or an error. */
int asked_wait(struct asked *a, int64_t until_ms, const struct lookup_answer **answer,
	       struct buf *text, struct err *err) __attribute__((warn_unused_result));
bool asked_is_critical(const struct asked *a); /* as the manifest says of the partner */
void asked_put(struct asked *a);               /* NULL is fine */

/* Waits.  Those under way are unwound.  What is remembered of integrations goes after the loop. */
void lookups_stop(int64_t deadline_ms);
void lookups_free(void);

#endif
