/* Inside of lookup: what lookup*.c share. */
#ifndef DRIVERS_KIT_LOOKUP_PARTS_H
#define DRIVERS_KIT_LOOKUP_PARTS_H

#include "common/queue/cache.h"
#include "drivers/kit/lookup.h"

/* A question in its one form: where it is sent, and by what name its answer is kept. */
struct question {
	struct arena *arena;
	const char *path;
	struct manifest_pair *query;
	int n_query;
	struct cache_key key;
};
/* -EINVAL, -ENOENT with ERR_BAD_JOB: a param is wrong, missing or unknown; a setting is missing.  Cleared on failure. */
int question_make(const struct caller *c, const struct manifest_lookup *l, const cJSON *params,
		  struct question *out, struct err *err) __attribute__((warn_unused_result));
void question_clear(struct question *q);
/* The call that asks it; borrows from both. */
struct call_spec question_call(const struct manifest_lookup *l, const struct question *q);

/* What the manifest makes of an answer, appended to out.  0; -ENODATA: there is none; -EBADMSG with ERR_DATA. */
int lookup_data(const struct manifest_lookup *l, const cJSON *json, struct buf *out,
		struct err *err) __attribute__((warn_unused_result));

/* Coroutines of this process that wait for another one's fetch. */
struct flight {
	const char *key;
	struct sharer *sharers;
	struct flight *next;
};
void flight_begin(struct flight *f, const char *key);
void flight_end(struct flight *f);
/* Waits until a fetch of this key ends that runs in this process, else for pause_ms.  0, -ECANCELED, -ETIMEDOUT: of the coroutine. */
int flight_wait(const char *key, int64_t pause_ms, int64_t deadline_ms)
	__attribute__((warn_unused_result));

#endif
