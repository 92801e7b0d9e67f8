/* What lasts of webhooks' events, beyond the job that does them.  Run by the leader.
 *
 *   unmatched   once their record is there, whoever brought it, they are queued again.  Who writes rows knows nothing of this: the
 *               few events that wait are held against the tables, in slices, so no writer is slowed, and none that dies forgets it
 *   lost        events that were still open when Redis lost its data (an older generation) are queued again
 *   too old     go, in slices (--keep-webhooks)
 *   failing     over 5 % of a partner's events of the last hour: alert webhook_failures, resolved under 5 % */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "drivers/kit/event_again.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define SLICE 500
#define STEP_MS 10000
#define LOST_MS 5000
#define RATES_MS 30000
#define EXPIRE_MS 60000
#define EXPIRE_SLICE 5000
#define EXPIRE_SLICES 20
#define KEEP_MIN_MS (24 * 3600 * 1000LL) /* a day of duplicates is told by these */
#define KEEP_MAX_MS (3650 * KEEP_MIN_MS)
#define KIND "webhook_failures"
#define RATE_PERCENT 5
#define EVENTS_MIN 20 /* fewer say nothing of a share */

struct events {
	struct scheduler *s;
	struct webhook_place at; /* in the unmatched ones */
	int64_t lost_ms, rates_ms, expire_ms;
};

static void warn(const char *event, const struct err *err)
{
	log_event(LOG_WARN, event, LS("reason", err->text));
}

/* ---- queued again ---- */

/* One that cannot be is no reason to leave the others. */
static int queue_all(struct events *e, struct webhook_list *l, const char *reason)
{
	struct err err = { 0 };
	int queued = 0;

	for (int i = 0; i < l->n && !e->s->stopping; i++) {
		struct queue *q = scheduler_queue(e->s, l->v[i].e.partner);
		int rc = q ? event_again(q, e->s->pg, &l->v[i], reason, loop_now_ms() + STEP_MS,
					 &err)
			   : -ENOENT; /* its driver is gone: a later one may know it */

		queued += rc == 0;
		if (rc == -ECANCELED || rc == -ECONNRESET)
			break;
		if (rc < 0 && rc != -ENOENT && rc != -ENODATA)
			warn("webhook_not_queued", &err);
	}
	webhook_list_clear(l);
	return queued;
}

static void look_for_matched(struct events *e)
{
	struct webhook_list l = { 0 };
	struct err err = { 0 };
	int rc = webhook_matched(e->s->pg, &e->at, SLICE, &l, &err), n;

	if (rc < 0) {
		warn("unmatched_not_read", &err);
		return;
	}
	n = queue_all(e, &l, "its record has appeared");
	if (n)
		log_event(LOG_INFO, "webhooks_matched", LI("events", n));
}

static void look_for_lost(struct events *e)
{
	struct webhook_list l = { 0 };
	struct err err = { 0 };
	int rc = webhook_lost(e->s->pg, SLICE, &l, &err), n;

	if (rc < 0) {
		warn("lost_webhooks_not_read", &err);
		return;
	}
	n = queue_all(e, &l, "queued again: Redis had lost it");
	if (n)
		log_event(LOG_WARN, "webhooks_rebuilt", LI("events", n));
}

/* ---- too old ---- */

static void expire(struct events *e)
{
	int64_t before_us = redis_now_us(e->s->redis) - e->s->keep_webhooks_ms * 1000, gone = 0,
		all = 0;
	struct err err = { 0 };

	for (int i = 0; i < EXPIRE_SLICES; i++) {
		if (webhook_expire(e->s->pg, before_us, EXPIRE_SLICE, &gone, &err) < 0) {
			warn("webhooks_not_expired", &err);
			break;
		}
		all += gone;
		if (gone < EXPIRE_SLICE || scheduler_sleep(e->s, 50) < 0)
			break;
	}
	if (all)
		log_event(LOG_INFO, "webhooks_expired", LI("events", all));
}

/* ---- failing ---- */

struct rates {
	struct {
		char partner[64];
		int64_t ended, failed;
	} v[SCHEDULER_PARTNERS_MAX];
	int n;
};

static void see_rate(const char *partner, int64_t ended, int64_t failed, void *arg)
{
	struct rates *r = arg;

	if (r->n == SCHEDULER_PARTNERS_MAX)
		return;
	snprintf(r->v[r->n].partner, sizeof(r->v[0].partner), "%s", partner);
	r->v[r->n].ended = ended;
	r->v[r->n++].failed = failed;
}

static bool is_failing(const struct rates *r, int i)
{
	return r->v[i].ended >= EVENTS_MIN && r->v[i].failed * 100 > r->v[i].ended * RATE_PERCENT;
}

static int raise_failing(struct events *e, const char *scope, int64_t failed, int64_t ended,
			 struct err *err)
{
	char what[160];

	snprintf(what, sizeof(what), "%lld of %lld webhooks of the last hour failed (over %d %%)",
		 (long long)failed, (long long)ended, RATE_PERCENT);
	return alert_raise(
		e->s->pg, KIND, "warning", scope, what,
		"the table webhook_events and the view dead_letter_patterns say why; once the cause is"
		" mended, `longshore webhook replay --since 1h`",
		err);
}

static void look_at_rates(struct events *e)
{
	struct rates *r = mem_new(struct rates);
	struct pg_array failing;
	struct err err = { 0 };
	char scope[80];
	int rc = webhook_rates(e->s->pg, see_rate, r, &err);

	pg_array_init(&failing, PG_TEXT);
	for (int i = 0; rc == 0 && i < r->n; i++) {
		metric_set(
			metrics_gauge("webhook_failure_ratio",
				      "Share of a partner's webhooks of the last hour that failed.",
				      "partner", r->v[i].partner, NULL),
			r->v[i].ended ? (double)r->v[i].failed / (double)r->v[i].ended : 0);
		if (!is_failing(r, i))
			continue;
		snprintf(scope, sizeof(scope), "partner:%s", r->v[i].partner);
		pg_array_text(&failing, scope, strlen(scope));
		rc = raise_failing(e, scope, r->v[i].failed, r->v[i].ended, &err);
	}
	if (rc == 0)
		rc = alert_resolve_others(e->s->pg, KIND, &failing, &err);
	else
		pg_array_clear(&failing);
	if (rc < 0)
		warn("webhook_rates_not_told", &err);
	free(r);
}

static bool is_due(int64_t *last_ms, int64_t every_ms)
{
	if (*last_ms && loop_now_ms() - *last_ms < every_ms)
		return false;
	*last_ms = loop_now_ms();
	return true;
}

static void run(void *arg)
{
	struct events *e = mem_new(struct events); /* too large for a stack under the sanitizers */

	e->s = arg;
	while (scheduler_sleep(e->s, LOOK_MS) == 0) {
		if (!leader_is_me(e->s) || !redis_is_up(e->s->redis) || !pg_is_up(e->s->pg))
			continue;
		look_for_matched(e);
		if (is_due(&e->lost_ms, LOST_MS))
			look_for_lost(e);
		if (is_due(&e->rates_ms, RATES_MS))
			look_at_rates(e);
		if (is_due(&e->expire_ms, EXPIRE_MS))
			expire(e);
	}
	free(e);
}

int events_options(struct scheduler *s, struct config_option *out)
{
	out[0] = (struct config_option){ .name = "keep-webhooks",
					 .env = "LONGSHORE_KEEP_WEBHOOKS",
					 .value_name = "DURATION",
					 .help = "how long events of webhooks are kept in Postgres",
					 .type = CONFIG_DURATION_MS,
					 .fallback = "30d",
					 .min = KEEP_MIN_MS,
					 .max = KEEP_MAX_MS,
					 .out = &s->keep_webhooks_ms };
	return 1;
}

int events_start(struct scheduler *s)
{
	return scheduler_spawn(s, "events", run, s);
}
