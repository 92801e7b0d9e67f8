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

static int settle(struct scheduler *s, const struct credential_left *l)
{
	struct err err = { 0 };
	int rc = auth_drop(s->redis, l->partner, l->integration_id, loop_now_ms() + STEP_MS, &err);

	if (rc == 0)
		rc = credential_settle(s->pg, l->integration_id, l->at, &err);
	if (rc == 0)
		log_event(LOG_WARN, "credentials_settled", LI("integration_id", l->integration_id),
			  LS("why", "whoever stored them was cut off"));
	else
		log_event(LOG_WARN, "credentials_not_settled",
			  LI("integration_id", l->integration_id), LS("partner", l->partner),
			  LS("reason", err.text));
	return rc;
}

/* One whose keys Redis does not let go (an ACL, a slot) keeps no other's old token alive. */
static void look(struct scheduler *s)
{
	struct credential_left v[LEFT_MAX];
	struct err err = { 0 };
	int n = 0, rc = credential_unsettled(s->pg, LEFT_MS, v, LEFT_MAX, &n, &err);

	if (rc < 0)
		log_event(LOG_WARN, "credentials_not_settled", LS("reason", err.text));
	for (int i = 0; i < n && !scheduler_store_is_away(rc); i++)
		rc = settle(s, &v[i]);
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
