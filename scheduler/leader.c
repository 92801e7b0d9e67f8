/* Who leads: a lease of 5 s in Redis, renewed every 1.5 s, with a fencing token that grows at each change.
 * A leader steps down by its own clock a second before the lease could have ended, so two never lead at once
 * even when one of them was stopped for a while. */
#include <errno.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "scheduler/scheduler.h"

#define LEASE_MS 5000
#define RENEW_MS 1500
#define STEP_DOWN_MS (LEASE_MS - 1000)

static struct {
	int64_t token;      /* 0: not ours */
	int64_t renewed_ms; /* loop time before the renewal was sent */
} term;

bool leader_is_me(const struct scheduler *s)
{
	return term.token && loop_now_ms() - term.renewed_ms < STEP_DOWN_MS;
}

int64_t leader_token(void)
{
	return term.token;
}

static void renew(struct scheduler *s)
{
	struct err err = { 0 };
	int64_t asked = loop_now_ms(), token = 0;
	bool was = term.token != 0;
	int rc =
		role_hold(s->redis, "scheduler", s->name, LEASE_MS, &token, asked + RENEW_MS, &err);

	if (rc == 1) {
		term.token = token;
		term.renewed_ms = asked;
	} else if (rc == 0 || !leader_is_me(s)) {
		term.token = 0;
	}
	if (was != (term.token != 0))
		log_event(LOG_INFO, term.token ? "leading" : "leading_ended", LI("token", token),
			  LS("reason", rc < 0 ? err.text : NULL));
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	struct metric *leading =
		metrics_gauge("longshore_scheduler_leading", "1 while this scheduler leads.", NULL);

	do {
		renew(s);
		metric_set(leading, leader_is_me(s));
	} while (scheduler_sleep(s, RENEW_MS) == 0);
}

int leader_start(struct scheduler *s)
{
	return scheduler_spawn(s, "leader", run, s);
}

int leader_leave(struct scheduler *s)
{
	struct err err = { 0 };

	if (!term.token)
		return 0;
	term.token = 0;
	return role_leave(s->redis, "scheduler", s->name, loop_now_ms() + 1000, &err);
}
