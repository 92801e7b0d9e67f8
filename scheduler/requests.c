/* Outbound requests that are in Postgres and not in their queue: what came by HTTP while Redis was away, what a person decided, and all
 * that was open when Redis lost its data (B8). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/notify.h"
#include "drivers/kit/outbound.h"
#include "scheduler/scheduler.h"

#define EVERY_MS 1000
#define MIN_AGE_MS 1000 /* whoever wrote it queues it himself */
#define STEP_MS 5000
#define LATE_LOOK_MS 5000
#define LATE_MIN_MS 30000 /* who is at it may need a moment to say how it ended */
#define LATE_KIND "outbound_late"

/* ---- into their queues ---- */

/* Where each partner's next turn begins: behind those that were tried, until its end was reached, so that what its queue does not take
 * (a key of another type, an ACL, a bound) keeps no other out: no other partner's at all, and of its own other lanes' only for as many looks
 * as REQUEST_TURN goes into those that stand before them. */
struct turns {
	struct request_turn v[SCHEDULER_PARTNERS_MAX];
	char *names[SCHEDULER_PARTNERS_MAX]; /* what v points to */
	int tried[SCHEDULER_PARTNERS_MAX], queued[SCHEDULER_PARTNERS_MAX];
	int n;
};

static int find_turn(struct turns *t, const char *partner)
{
	int i = 0;

	while (i < t->n && strcmp(t->names[i], partner) != 0)
		i++;
	if (i == SCHEDULER_PARTNERS_MAX)
		return -1; /* it begins at its head each time */
	if (i == t->n) {
		t->names[i] = mem_strdup(partner);
		t->v[i] = (struct request_turn){ .partner = t->names[i] };
		t->tried[i] = t->queued[i] = 0;
		t->n++;
	}
	return i;
}

static void note_tried(struct turns *t, const struct request_due *d, bool queued)
{
	int i = find_turn(t, d->partner);

	if (i < 0)
		return;
	t->v[i].after_id = d->id;
	t->tried[i]++;
	t->queued[i] += queued;
}

/* Whose end was reached begins anew.  Whether a partner has more, and its queue takes it. */
static bool end_turns(struct turns *t, bool cut)
{
	bool more = false;
	int kept = 0;

	for (int i = 0; i < t->n; i++) {
		if (t->tried[i] < REQUEST_TURN && !(cut && t->tried[i])) {
			free(t->names[i]);
			continue;
		}
		more |= t->queued[i] > 0;
		t->v[kept] = t->v[i];
		t->names[kept] = t->names[i];
		t->tried[kept] = t->queued[kept] = 0;
		kept++;
	}
	t->n = kept;
	return more;
}

/* Whether there is more to do at once. */
static bool relay(struct scheduler *s, struct turns *t)
{
	struct request_due *v = NULL;
	struct err err = { 0 };
	int n = 0, queued = 0, one, rc = request_due(s->pg, MIN_AGE_MS, t->v, t->n, &v, &n, &err);
	bool more = false;

	for (int i = 0; i < n && !scheduler_store_is_away(rc); i++) {
		rc = outbound_queue(s->redis, s->pg, &v[i], 1, &one, loop_now_ms() + STEP_MS, &err);
		queued += one;
		if (!scheduler_store_is_away(rc))
			note_tried(t, &v[i], one);
	}
	if (!scheduler_store_is_away(rc))
		more = end_turns(t, n == REQUEST_TURNS);
	if (rc < 0 || queued < n)
		log_event(LOG_INFO, "requests_not_queued", LI("n", n - queued),
			  LS("reason", err.text));
	if (queued)
		log_event(LOG_INFO, "requests_queued", LI("n", queued));
	request_due_free(v, n);
	return more;
}

/* Each scheduler does: every statement of it has one winner. */
static bool notify(struct scheduler *s)
{
	struct err err = { 0 };
	bool more = false;

	if (notify_go_on(s->redis, s->pg, loop_now_ms() + STEP_MS, &more, &err) < 0) {
		log_event(LOG_INFO, "notifications_wait", LS("reason", err.text));
		return false;
	}
	return more;
}

/* ---- late ones ---- */

struct late {
	struct scheduler *s;
	struct pg_array scopes;
	char *partners[SCHEDULER_PARTNERS_MAX];
	int64_t counts[SCHEDULER_PARTNERS_MAX], oldest[SCHEDULER_PARTNERS_MAX];
	int n;
};

/* Collected first: an alert is written on a connection too. */
static void see_late(const char *partner, int64_t n, int64_t oldest, void *arg)
{
	struct late *l = arg;

	if (l->n == SCHEDULER_PARTNERS_MAX)
		return;
	l->partners[l->n] = mem_strdup(partner);
	l->counts[l->n] = n;
	l->oldest[l->n++] = oldest;
}

static int tell_late(struct late *l, int i, struct err *err)
{
	char scope[64];
	char *what = mem_printf(
		"%lld outbound request%s of %s still wait%s after their deadline; the oldest is %lld",
		(long long)l->counts[i], l->counts[i] == 1 ? "" : "s", l->partners[i],
		l->counts[i] == 1 ? "s" : "", (long long)l->oldest[i]);
	char *todo = mem_printf(
		"longshore request list --state late; longshore request show %lld says what it waits for (a pause, an open breaker, a limit, no worker)",
		(long long)l->oldest[i]);
	int rc;

	snprintf(scope, sizeof(scope), "partner:%s", l->partners[i]);
	pg_array_text(&l->scopes, scope, strlen(scope));
	rc = alert_raise(l->s->pg, LATE_KIND, "warning", scope, what, todo, err);
	free(what);
	free(todo);
	return rc;
}

static void look_for_late(struct scheduler *s)
{
	struct late *l = mem_new(struct late);
	struct err err = { 0 };
	int rc;

	l->s = s;
	pg_array_init(&l->scopes, PG_TEXT);
	rc = request_late_each(s->pg, LATE_MIN_MS, see_late, l, &err);
	for (int i = 0; i < l->n && rc == 0; i++)
		rc = tell_late(l, i, &err);
	if (rc == 0)
		rc = alert_resolve_others(s->pg, LATE_KIND, &l->scopes, &err);
	if (rc < 0)
		log_event(LOG_WARN, "alert_not_written", LS("kind", LATE_KIND),
			  LS("reason", err.text));
	pg_array_clear(&l->scopes);
	for (int i = 0; i < l->n; i++)
		free(l->partners[i]);
	free(l);
}

static void run_late(void *arg)
{
	struct scheduler *s = arg;

	do {
		if (leader_is_me(s) && pg_is_up(s->pg))
			look_for_late(s);
	} while (scheduler_sleep(s, LATE_LOOK_MS) == 0);
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	struct turns *t = mem_new(struct turns);
	bool more = false;

	while (scheduler_sleep(s, more ? 1 : EVERY_MS) == 0) {
		more = relay(s, t);
		more |= notify(s);
	}
	for (int i = 0; i < t->n; i++)
		free(t->names[i]);
	free(t);
}

int requests_start(struct scheduler *s)
{
	int rc = scheduler_spawn(s, "requests", run, s);

	return rc < 0 ? rc : scheduler_spawn(s, "late requests", run_late, s);
}
