/* What a recovery takes out of a lane and what it queues instead, apart from Redis, Postgres and the clock. */
#ifndef SCHEDULER_RECOVERY_H
#define SCHEDULER_RECOVERY_H

#include "common/queue/look.h"

#define RECOVERY_JOBS_MAX 20000               /* of one pass … */
#define RECOVERY_BYTES_MAX (16 * 1024 * 1024) /* … or so many bytes */
#define RECOVERY_STALE_MS (3600 * 1000)
#define RECOVERY_FRESH JOB_CLOCK "fresh-"

enum recovery_strategy { RECOVERY_PURGE, RECOVERY_DRAIN, RECOVERY_PAUSE, RECOVERY_OFF };

/* Imports of a lane that have not begun and that another one may do the work of. */
struct sifted {
	struct sifted_job {
		uint64_t
			kind; /* the same: task, integration and args, but for mode, parents and import */
		uint64_t *
			parents; /* of an import for some parents: whose, by their hashes; NULL: for all */
		int n_parents;
		bool full, fresh, goes;
		char seq[15];
		struct job_seen seen; /* its bytes owned, a pack's by the first of its jobs */
		bool owns_pack;
	} * v;
	int n, cap;
	size_t bytes;
	enum recovery_strategy strategy;
	int64_t now_ms;
};
void sifted_clear(struct sifted *s);
/* A job_seen_fn; arg: a struct sifted.  False: full. */
bool sifted_see(const struct job_seen *j, void *arg);
/* After the last one: sorts them, and marks those that go.  For each kind of which all go (purge) fn is called before
 * anything else happens with them: it queues another one like `like`, and none of them goes where that fails. */
typedef int (*sifted_fresh_fn)(const struct sifted_job *like, void *arg);
int sifted_decide(struct sifted *s, sifted_fresh_fn fn, void *arg)
	__attribute__((warn_unused_result));

#endif
