/* New credentials whose writer died (`longshore integration resume --credentials`, a rotation) before he had dropped what Redis holds of
 * the old ones: a token of another account, which would serve until it ends.  Run by the leader. */
#include "common/base/log.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "drivers/kit/auth.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 5000
#define LEFT_MS 60000 /* longer than a writer that lives takes */
#define LEFT_MAX 10
#define STEP_MS 5000

static void look(struct scheduler *s)
{
	struct credential_left v[LEFT_MAX];
	struct err err = { 0 };
	int n = 0, rc = credential_unsettled(s->pg, LEFT_MS, v, LEFT_MAX, &n, &err);

	for (int i = 0; i < n && rc == 0; i++) {
		rc = auth_drop(s->redis, v[i].partner, v[i].integration_id, loop_now_ms() + STEP_MS,
			       &err);
		if (rc == 0)
			rc = credential_settle(s->pg, v[i].integration_id, v[i].at, &err);
		if (rc == 0)
			log_event(LOG_WARN, "credentials_settled",
				  LI("integration_id", v[i].integration_id),
				  LS("why", "whoever stored them was cut off"));
	}
	if (rc < 0)
		log_event(LOG_WARN, "credentials_not_settled", LS("reason", err.text));
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do {
		if (leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg))
			look(s);
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int credentials_start(struct scheduler *s)
{
	return scheduler_spawn(s, "credentials", run, s);
}
