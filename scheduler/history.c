/* The history of the row tables keeps its months: the leader has partitions made ahead and those dropped that retention lets go
 * (history_keep in Postgres).  When nobody does so for months, changes gather in the default partition, and are moved by the next look.
 * A writer may stand in the way for the moment that a lock is waited for: then it is tried again soon. */
#include "common/base/log.h"
#include "common/io/loop.h"
#include "common/store/history.h"
#include "scheduler/scheduler.h"

#define LOOK_MS (3600 * 1000LL)
#define AGAIN_MS 30000
#define FIRST_MS 2000

static void tell(const char *partition, const char *done, void *arg)
{
	log_event(LOG_INFO, "history_partition", LS("partition", partition), LS("done", done));
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	int64_t pause_ms = FIRST_MS;

	while (scheduler_sleep(s, pause_ms) == 0) {
		struct err err = { 0 };
		int rc;

		pause_ms = FIRST_MS;
		if (!leader_is_me(s) || !pg_is_up(s->pg))
			continue;
		rc = history_keep(s->pg, tell, NULL, &err);
		pause_ms = rc == 0 ? LOOK_MS : AGAIN_MS;
		if (rc < 0 && !s->stopping)
			log_event(LOG_WARN, "history_not_kept", LS("reason", err.text));
	}
}

int history_start(struct scheduler *s)
{
	return scheduler_spawn(s, "history", run, s);
}
