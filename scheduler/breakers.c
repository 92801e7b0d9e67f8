/* What follows from breakers, once a second: those whose time is over are half open, slow starts end (every scheduler
 * does this: the script is idempotent).  The leader raises an alert for each that is not closed, and queues the one import
 * that follows where scheduled ones were left out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "common/queue/breaker.h"
#include "common/store/store.h"
#include "drivers/kit/call.h"
#include "drivers/kit/plan.h"
#include "scheduler/scheduler.h"

#define FIRST 1 /* queue: {longshore}'s jobs call nobody */
#define LOOK_MS 1000
#define STEP_MS 5000
#define ALERTS_MAX 200       /* our own network may be what is down: more of them say no more */
#define ALERT_AGAIN_MS 60000 /* an alert that lasts is told anew so often */
#define CATCH_UP_MS 3000
#define CATCH_UP_TTL_MS (24LL * 3600 * 1000)

struct part {
	struct breaker_list now;
	bool known; /* this look read it */
	struct metric *state;
};

static struct {
	struct scheduler *s;
	struct part parts[SCHEDULER_PARTNERS_MAX]; /* by index in s->queues */
	uint64_t told; /* what stands in alerts, as a hash; 0: unknown */
	int64_t told_ms, caught_up_ms;
} self;

/* ---- looking ---- */

static enum breaker_state worst(const struct breaker_list *l)
{
	enum breaker_state w = BREAKER_CLOSED;

	for (int i = 0; i < l->n; i++)
		w = l->v[i].state > w ? l->v[i].state : w;
	return w;
}

static void look(struct part *p, struct queue *q)
{
	int64_t dl = loop_now_ms() + STEP_MS;
	struct err err = { 0 };

	p->known = false;
	breaker_list_clear(&p->now);
	if (breaker_list(q, false, &p->now, dl, &err) < 0 ||
	    (p->now.n && breaker_tick(q, &p->now, dl, &err) < 0)) {
		log_event(LOG_WARN, "breakers_not_read", LS("partner", queue_partner(q)),
			  LS("reason", err.text));
		return;
	}
	p->known = true;
	metric_set(p->state, worst(&p->now));
}

/* ---- alerts ---- */

static void scope_of(const struct queue *q, const struct breaker_seen *b, char out[300])
{
	snprintf(out, 300, "%s %s", queue_partner(q), b->host);
}

static int raise_one(struct queue *q, struct breaker_seen *b, struct err *err)
{
	const struct driver *d = driver_find(self.s->drivers, queue_partner(q));
	bool critical = !d || d->manifest->critical;
	char scope[300], what[500], todo[400], until[CLOCK_ISO_MAX];

	if (breaker_details(q, b, loop_now_ms() + STEP_MS, err) < 0)
		return -EAGAIN;
	scope_of(q, b, scope);
	if (b->state == BREAKER_HALF_OPEN)
		snprintf(what, sizeof(what), "%s is called again with one call at a time: %s",
			 b->host, b->why);
	else
		snprintf(what, sizeof(what), "%s is not called%s%s: %s", b->host,
			 b->until_ms ? " until " : " until the breaker is closed by hand",
			 b->until_ms ? clock_iso(b->until_ms, until) : "", b->why);
	snprintf(todo, sizeof(todo),
		 "nothing is lost: its jobs wait and go on by themselves. See whether the partner"
		 " reports trouble; longshore breaker close %s %s tries at once",
		 queue_partner(q), b->host);
	return alert_raise(self.s->pg, "breaker_open", critical ? "critical" : "warning", scope,
			   what, todo, err);
}

/* Those that are not closed, by what a person would be told of them. */
static uint64_t news(void)
{
	uint64_t h = 1;

	for (int i = FIRST; i < self.s->n_queues; i++) {
		const struct breaker_list *l = &self.parts[i].now;

		for (int k = 0; k < l->n; k++) {
			if (l->v[k].state == BREAKER_CLOSED)
				continue;
			h = crypto_hash64(l->v[k].host, strlen(l->v[k].host), h + (uint64_t)i);
			if (l->v[k].state == BREAKER_OPEN)
				h = crypto_hash64(&l->v[k].until_ms, sizeof(l->v[k].until_ms), h);
		}
	}
	return h;
}

/* Whatever stands there and is not so any more, whoever raised it. */
static int tell(struct err *err)
{
	struct pg_array open;
	int rc = 0, told = 0;

	pg_array_init(&open, PG_TEXT);
	for (int i = FIRST; i < self.s->n_queues && rc == 0; i++) {
		struct breaker_list *l = &self.parts[i].now;

		for (int k = 0; k < l->n && rc == 0; k++) {
			char scope[300];

			if (l->v[k].state == BREAKER_CLOSED || ++told > ALERTS_MAX)
				continue;
			scope_of(self.s->queues[i], &l->v[k], scope);
			pg_array_text(&open, scope, strlen(scope));
			rc = raise_one(self.s->queues[i], &l->v[k], err);
		}
	}
	if (rc == 0)
		rc = alert_resolve_others(self.s->pg, "breaker_open", &open, err);
	pg_array_clear(&open);
	return rc;
}

static void alerts(void)
{
	uint64_t now = news();
	struct err err = { 0 };

	for (int i = FIRST; i < self.s->n_queues; i++)
		if (!self.parts[i].known)
			return;
	if (now == self.told && (now == 1 || loop_now_ms() - self.told_ms < ALERT_AGAIN_MS))
		return;
	if (tell(&err) < 0) {
		log_event(LOG_WARN, "alert_not_written", LS("kind", "breaker_open"),
			  LS("reason", err.text));
		return;
	}
	self.told = now;
	self.told_ms = loop_now_ms();
}

/* ---- catching up ---- */

bool breakers_hold(int queue, const char *environment, const char *base_url)
{
	const struct driver *d = driver_find(self.s->drivers, queue_partner(self.s->queues[queue]));
	struct integration i = { .environment = (char *)environment, .base_url = (char *)base_url };
	const struct breaker_seen *b;
	struct buf host = BUF_INIT;

	if (!d || !self.parts[queue].known)
		return true;
	call_host(d, &i, &host);
	b = breaker_find(&self.parts[queue].now, buf_str(&host));
	buf_clear(&host);
	return b && b->state == BREAKER_OPEN;
}

static int queue_index(const char *partner)
{
	for (int i = FIRST; i < self.s->n_queues; i++)
		if (strcmp(queue_partner(self.s->queues[i]), partner) == 0)
			return i;
	return -1;
}

/* The clock's own imports, whose ids begin with beat-, are never too old to run.  A second task of one is another job. */
static int queue_task(const struct catchup *c, struct queue *q, const char *task, bool second,
		      struct err *err)
{
	struct buf payload = BUF_INIT;
	struct queue_push push = { .lane = LANE_NORMAL, .integration = c->integration };
	char id[JOB_ID_MAX];
	bool fresh = false;
	int rc;

	snprintf(id, sizeof(id), JOB_CLOCK "catchup-%lld-%lld%s", (long long)c->integration,
		 (long long)c->since_us, second ? "-2" : "");
	job_print(&payload, task, c->integration, NULL, 0, NULL);
	push.id = id;
	push.payload = payload.data;
	push.len = payload.len;
	rc = queue_enqueue_once(q, &push, CATCH_UP_TTL_MS, &fresh, loop_now_ms() + STEP_MS, err);
	buf_clear(&payload);
	if (rc == 0 && fresh)
		log_event(LOG_INFO, "caught_up", LS("partner", c->partner),
			  LI("integration", c->integration), LS("task", task), LS("job", id));
	return rc;
}

/* At most once: the mark that it is owed goes after the push, whose id is made of the mark. */
static int catch_up(const struct catchup *c, struct queue *q, struct err *err)
{
	const struct driver *d = driver_find(self.s->drivers, c->partner);
	const char *tasks[PLAN_TASKS_MAX];
	int n = d ? plan_tasks(d->manifest, tasks) : 0, rc = 0;

	for (int i = 0; i < n && rc == 0; i++)
		rc = queue_task(c, q, tasks[i], i > 0, err);
	return rc == 0 ? catchup_paid(self.s->pg, c, err) : rc;
}

static void catch_up_all(void)
{
	struct catchup *v = NULL;
	struct err err = { 0 };
	int n = 0, rc;

	if (loop_now_ms() - self.caught_up_ms < CATCH_UP_MS)
		return;
	self.caught_up_ms = loop_now_ms();
	rc = catchup_due(self.s->pg, &v, &n, &err);
	for (int i = 0; i < n && rc == 0; i++) {
		int q = queue_index(v[i].partner);

		if (q >= 0 && !breakers_hold(q, v[i].environment, v[i].base_url))
			rc = catch_up(&v[i], self.s->queues[q], &err);
	}
	catchup_free(v, n);
	if (rc < 0)
		log_event(LOG_WARN, "catch_up_failed", LS("reason", err.text));
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do {
		for (int i = FIRST; i < s->n_queues && redis_is_up(s->redis); i++)
			look(&self.parts[i], s->queues[i]);
		if (!leader_is_me(s)) {
			self.told = 0;
		} else if (redis_is_up(s->redis) && pg_is_up(s->pg)) {
			alerts();
			catch_up_all();
		}
	} while (scheduler_sleep(s, LOOK_MS) == 0);
	for (int i = FIRST; i < s->n_queues; i++)
		breaker_list_clear(&self.parts[i].now);
}

int breakers_start(struct scheduler *s)
{
	self.s = s;
	for (int i = FIRST; i < s->n_queues; i++)
		self.parts[i].state = metrics_gauge(
			"integration_breaker_state",
			"0 closed, 1 half open, 2 open; the worst of the partner's hosts.",
			"partner", queue_partner(s->queues[i]), NULL);
	return scheduler_spawn(s, "breakers", run, s);
}
