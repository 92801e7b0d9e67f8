/* What one scheduler process has.  Any number of schedulers run; all do the upkeep (idempotent scripts), one
 * leads and creates work (leader.h). */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include <errno.h>

#include "common/io/httpd.h"
#include "common/io/pg.h"
#include "common/io/redis.h"
#include "common/queue/queue.h"
#include "drivers/driver.h"
#include "drivers/kit/call.h"

#define SCHEDULER_PARTNERS_MAX 512

struct config_common;
struct config_option;

struct scheduler {
	char name[64]; /* host-pid-random: who leads, for people */
	const struct config_common *common;
	struct redis *redis;
	struct pg *pg;
	struct driver_set *drivers;
	struct queue *queues[SCHEDULER_PARTNERS_MAX]; /* one a partner, longshore's first */
	int n_queues;
	struct keyring *keyring; /* NULL: none was given; nobody can sign in, no right is used */
	struct door *door;
	const char *public_url; /* as partners see it, without a slash at its end; NULL: not said */
	int64_t import_every_ms; /* of integrations that have none of their own; -1: by strategy; 0: no beat */
	int64_t lane_bound;    /* Q13 */
	int64_t recovery_over; /* S6 */
	struct {
		const char *program; /* "off", or "": longshore-worker beside this very program */
		int64_t over, age_ms, every_ms, jobs;
	} emergency;              /* S7 */
	int64_t keep_webhooks_ms; /* how long webhook_events are kept */
	bool stopping;
};

struct queue *scheduler_queue(struct scheduler *s, const char *partner); /* NULL */

/* Spawn their coroutines; each runs until s->stopping and its wait is cut short by scheduler_stop. */
int leader_start(struct scheduler *s) __attribute__((warn_unused_result));
bool leader_is_me(const struct scheduler *s);
int64_t leader_token(void); /* fencing token of the present term; 0 when another leads */
int leader_leave(struct scheduler *s)
	__attribute__((warn_unused_result)); /* waits; so that another takes over at once */
int beat_start(struct scheduler *s) __attribute__((warn_unused_result));
int upkeep_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* admit, promote, reap, relay, control: per partner */
int letters_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* dead letters into Postgres */
int requests_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* outbound requests into their queues */
int runs_start(struct scheduler *s) __attribute__((warn_unused_result)); /* the end of runs */
int breakers_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* breakers by time, their alerts, catching up */
/* Whether the API host of such an integration may not be called now, or is not known yet.  queue: index in s->queues. */
bool breakers_hold(int queue, const char *environment, const char *base_url);
int pauses_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* ends pauses whose time is over */
int watch_start(struct scheduler *s) __attribute__((warn_unused_result)); /* alerts */
int standing_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* alerts that last as long as their cause */
int credentials_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* new ones whose writer died half-way */
int grants_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* rights that die unused or lapse */
int contracts_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* whether partners are what their drivers say */
int events_start(struct scheduler *s) __attribute__((
	warn_unused_result)); /* webhooks' events that wait, were lost, are old, fail */
int history_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* partitions of the row tables' history */
int registrations_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* whether partners still send us webhooks */
int recovery_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* lanes that an outage filled (recovery.c) */
/* Nothing is to be started by the clock for this partner now (LONGSHORE_PARTNER: for all). */
bool recovery_holds(struct scheduler *s, const char *partner);
int emergency_start(struct scheduler *s)
	__attribute__((warn_unused_result)); /* queues that nobody serves (emergency.c) */
/* Waits.  Ends the worker that was started, with its jobs handed back. */
void emergency_leave(struct scheduler *s);
/* Their settings; how many. */
int recovery_options(struct scheduler *s, struct config_option *out);
int emergency_options(struct scheduler *s, struct config_option *out);
int events_options(struct scheduler *s, struct config_option *out);
int pages_start(struct scheduler *s, struct httpd *h)
	__attribute__((warn_unused_result)); /* /healthz /readyz /metrics */
/* Waits ms, or less when the scheduler stops. 0 | -ECANCELED. */
int scheduler_sleep(struct scheduler *s, int64_t ms) __attribute__((warn_unused_result));
/* Redis or Postgres, and so for whatever else would be tried: not one that is refused. */
static inline bool scheduler_store_is_away(int rc)
{
	return rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ECANCELED;
}
/* Spawns a coroutine that scheduler_sleep's wake list knows. */
int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
	__attribute__((warn_unused_result));

/* The last look at each queue, for /metrics (filled by upkeep). */
struct queue_look {
	struct queue_depth depth;
	int64_t at_ms;
};
const struct queue_look *upkeep_look(int i); /* by index in s->queues; at_ms 0: none yet */

/* Who works now (serving.c).  A worker that ends after some jobs is alive, and serves nobody. */
struct serving {
	int alive;
	bool by[SCHEDULER_PARTNERS_MAX]; /* by index in s->queues */
};
int serving_look(struct scheduler *s, struct serving *out, int64_t deadline_ms)
	__attribute__((warn_unused_result)); /* waits */

#endif
