/* How jobs ended that asked for a row ("record": true). */
#ifndef COMMON_STORE_OUTCOME_H
#define COMMON_STORE_OUTCOME_H

#include "common/store/store.h"

/* Borrowed; NULL and 0 = none. */
struct outcome {
	const char *queue, *job_id, *task;
	int64_t integration_id, run_id;
	const char *state; /* done | dead | dropped */
	const char *why, *class, *error, *worker;
	const char *result; /* JSON */
	int64_t attempts, first_seen_ms, ended_ms;
};
/* n at once, each (queue, job) once in the end: written again it says what the last one said. */
const char *outcome_upsert_sql(void);
void outcome_upsert_params(struct pg_params *out, const struct outcome *v, int n);

#endif
