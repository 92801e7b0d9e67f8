/* Starts imports by the clock: of each integration what its schedule has made due (drivers/kit/plan.h), once a second, by the
 * leader alone.  When the earliest start that was not made is, stands in Postgres (import_schedules.next_at) and moves after
 * the push; that each slot is pushed once is the push's own doing (queue_fire).  So where this process dies
 *
 *   before the push            the next leader finds the slot due;
 *   between push and Postgres  it does too, and the push finds the slot made;
 *   after that                 it is done.
 *
 * Redis that lost all has lost the marks with the jobs: starts that no success followed are made again (restore).  A leader that
 * was stopped and goes on has an old token, which the push refuses.
 *
 * What may not start now is not moved on and is thereby owed: what is paused, behind an open breaker, with refused credentials,
 * or whose lane is over its bound (Q13).  Its catch_up says what becomes of slots that were missed. */
#include "scheduler/beat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"

#define FIRST 1 /* queue: {longshore} has no integrations */
#define LOOK_MS 1000
#define STEP_MS 5000
#define PAGE 500
#define FIRE_MAX 100 /* starts a script: about 1 ms of Redis */
#define LOST_MS 5000 /* how often it is looked whether Redis was emptied */
#define HELD_MS 3000 /* a partner whose starts wait for a breaker is looked at so often */
#define PAYLOAD_MAX 200

struct part {
	bool looked;     /* at its lane, in this look */
	bool closed;     /* the lane: over its bound */
	int64_t room;    /* what it takes in this look */
	int64_t held_ms; /* nothing but what a breaker holds was due then; 0: no */
	bool by_breaker; /* it held something in this look */
	int left_out[2]; /* that fell due in this look: by a breaker, by refused credentials */
	int skipped;     /* by the bound */
	int starts, full, missed;
	struct metric *started[2]; /* incremental, full */
};

/* One start, as it is pushed. */
struct shot {
	int64_t integration, slot_ms;
	char id[64], payload[PAYLOAD_MAX];
};

static struct {
	struct scheduler *s;
	struct part parts[SCHEDULER_PARTNERS_MAX]; /* by index in s->queues */
	int64_t token;                             /* of the term that the rest belongs to */
	int64_t told_ms;                           /* what fell due until then was counted */
	int64_t lost_ms;
	struct metric *overdue;
} self;

bool beat_is_closed(bool closed, int64_t waiting, int64_t bound)
{
	return waiting > (closed ? bound / 2 : bound);
}

static int part_of(const char *partner)
{
	for (int i = FIRST; i < self.s->n_queues; i++)
		if (strcmp(queue_partner(self.s->queues[i]), partner) == 0)
			return i;
	return -1;
}

/* ---- what holds starts up ---- */

static int look_room(int at, struct err *err)
{
	struct part *p = &self.parts[at];
	int64_t waiting = 0;
	int rc;

	if (p->looked)
		return 0;
	rc = queue_waiting(self.s->redis, queue_partner(self.s->queues[at]), LANE_NORMAL, &waiting,
			   loop_now_ms() + STEP_MS, err);
	if (rc < 0)
		return rc;
	p->looked = true;
	p->closed = beat_is_closed(p->closed, waiting, self.s->lane_bound);
	p->room = p->closed ? 0 : self.s->lane_bound + 1 - waiting;
	return 0;
}

/* Whether the row may not start now; what falls due for the first time is counted by why. */
static bool is_held(int at, const struct schedule *row)
{
	struct part *p = &self.parts[at];
	bool breaker = row->active && breakers_hold(at, row->environment, row->base_url);
	bool fresh = row->next_ms > self.told_ms;

	if (!row->active || breaker) {
		p->left_out[!row->active] += fresh;
		p->by_breaker |= breaker;
		return true;
	}
	if (p->room <= 0)
		p->skipped += fresh;
	return p->room <= 0;
}

static void tell_held(int at)
{
	static const char *const reasons[] = { "breaker", "auth_broken" };
	struct part *p = &self.parts[at];
	const char *partner = queue_partner(self.s->queues[at]);

	for (int k = 0; k < 2; k++) {
		if (!p->left_out[k])
			continue;
		metric_add(metrics_counter(
				   "integration_imports_left_out_total",
				   "Scheduled imports that were not queued: one catch-up follows.",
				   "partner", partner, "reason", reasons[k], NULL),
			   p->left_out[k]);
		log_event(LOG_INFO, "imports_left_out", LS("of", partner), LS("reason", reasons[k]),
			  LI("imports", p->left_out[k]));
	}
	if (!p->skipped)
		return;
	metric_add(metrics_counter("longshore_starts_skipped_total",
				   "Starts by the clock whose lane was over its bound.",
				   "queue_name", partner, NULL),
		   p->skipped);
	log_event(LOG_WARN, "start_skipped", LS("queue", partner), LI("starts", p->skipped),
		  LI("bound", self.s->lane_bound),
		  LS("reason",
		     "its lane is over its bound: it is made up for when that has drained"));
}

static void tell_started(int at)
{
	struct part *p = &self.parts[at];
	const char *partner = queue_partner(self.s->queues[at]);

	if (!p->starts)
		return;
	metric_add(p->started[1], p->full);
	metric_add(p->started[0], p->starts - p->full);
	log_event(LOG_INFO, p->missed ? "caught_up" : "beat", LS("of", partner),
		  LI("starts", p->starts), LI("full", p->full), LI("missed", p->missed),
		  LI("token", leader_token()));
}

/* ---- starting ---- */

/* Rows of one page that belong to one partner. */
struct volley {
	int at; /* the partner's */
	struct shot *shots;
	struct schedule_step *steps;
	int n_shots, cap_shots, n_steps;
};

/* A second task of a slot is another job. */
static void add_shot(struct volley *v, int64_t integration, int64_t slot_ms, const char *task,
		     bool second, const char *mode)
{
	struct shot *shot;

	if (v->n_shots == v->cap_shots) {
		v->cap_shots = v->cap_shots ? 2 * v->cap_shots : PAGE;
		v->shots = mem_realloc(v->shots, sizeof(*v->shots) * (size_t)v->cap_shots);
	}
	shot = &v->shots[v->n_shots++];
	shot->integration = integration;
	shot->slot_ms = slot_ms;
	snprintf(shot->id, sizeof(shot->id), "beat-%" PRId64 "-%" PRId64 "%s", integration, slot_ms,
		 second ? "-2" : "");
	snprintf(shot->payload, sizeof(shot->payload),
		 "{\"task\":\"%s\",\"integration_id\":%" PRId64 ",\"args\":{\"mode\":\"%s\"}}",
		 task, integration, mode);
}

static void add_row(struct volley *v, const struct schedule *row, const struct plan *plan,
		    int64_t now_ms)
{
	struct schedule_step *step = &v->steps[v->n_steps++];
	struct part *p = &self.parts[v->at];
	struct plan_due due;

	plan_due(plan, row->integration, row->next_ms, row->full_ms, now_ms, &due);
	for (int i = 0; i < due.n; i++) {
		for (int t = 0; t < plan->n_tasks; t++)
			add_shot(v, row->integration, due.v[i].slot_ms, plan->tasks[t], t > 0,
				 due.v[i].full ? "full" : "incremental");
		p->starts++;
		p->full += due.v[i].full;
		p->room--;
	}
	p->missed += (int)due.missed;
	*step = (struct schedule_step){ .integration = row->integration,
					.was_ms = row->next_ms,
					.slot_ms = due.n ? due.v[due.n - 1].slot_ms : 0,
					.full = due.n && due.v[due.n - 1].full,
					.full_ms = due.full_ms,
					.missed = due.missed,
					.next_ms = due.next_ms,
					.next_full = due.next_full };
}

/* Shots of one slot stay together. */
static int script_of(const struct volley *v, int from)
{
	int n = v->n_shots - from < FIRE_MAX ? v->n_shots - from : FIRE_MAX;
	const struct shot *s = v->shots + from;

	while (from + n < v->n_shots && s[n].integration == s[n - 1].integration &&
	       s[n].slot_ms == s[n - 1].slot_ms)
		n++;
	return n;
}

/* First Redis, then Postgres. */
static int fire(const struct volley *v, struct err *err)
{
	struct queue_start *starts = mem_alloc(sizeof(*starts) * (FIRE_MAX + 2));
	int rc = 0;

	for (int from = 0, n; from < v->n_shots && rc == 0; from += n) {
		n = script_of(v, from);
		for (int i = 0; i < n; i++) {
			const struct shot *s = &v->shots[from + i];

			starts[i] = (struct queue_start){ .integration = s->integration,
							  .slot_ms = s->slot_ms,
							  .id = s->id,
							  .payload = s->payload,
							  .len = strlen(s->payload) };
		}
		if (leader_is_me(self.s))
			rc = queue_fire(self.s->queues[v->at], self.token, starts, n,
					loop_now_ms() + STEP_MS, err);
		else
			rc = err_set(err, -ESTALE, ERR_INTERNAL, "leader",
				     "this scheduler leads no more");
	}
	free(starts);
	return rc == 0 ? schedules_step(self.s->pg, v->steps, v->n_steps, err) : rc;
}

/* The rows of a page that belong to the partner of the `first`; done[i] is set for them. */
static int start_partner(const struct schedules *page, int first, bool *done, int64_t now_ms,
			 struct err *err)
{
	const char *partner = page->v[first].partner;
	struct volley v = { .at = part_of(partner) };
	struct plan plan;
	int rc = v.at < 0 ? 0 : look_room(v.at, err);

	v.steps = mem_alloc(sizeof(*v.steps) * (size_t)(page->n - first));
	for (int i = first; i < page->n && rc == 0; i++) {
		if (done[i] || strcmp(page->v[i].partner, partner) != 0)
			continue;
		done[i] = true;
		/* One that has no plan any more is planned anew by whoever finds that it changed. */
		if (v.at >= 0 && !is_held(v.at, &page->v[i]) &&
		    beat_plan_of(self.s, &page->v[i], &plan))
			add_row(&v, &page->v[i], &plan, now_ms);
	}
	if (rc == 0)
		rc = fire(&v, err);
	free(v.shots);
	free(v.steps);
	return rc;
}

static int start_page(const struct schedules *page, int64_t now_ms, struct err *err)
{
	bool *done = mem_zalloc(PAGE * sizeof(*done));
	int rc = 0;

	for (int i = 0; i < page->n && rc == 0; i++)
		if (!done[i])
			rc = start_partner(page, i, done, now_ms, err);
	free(done);
	return rc;
}

/* Partners of which nothing but what a breaker holds was due a moment ago, and those whose lanes an outage filled. */
static void left_alone(struct pg_array *but)
{
	pg_array_init(but, PG_TEXT);
	for (int i = FIRST; i < self.s->n_queues; i++) {
		const char *partner = queue_partner(self.s->queues[i]);

		if (self.parts[i].held_ms || recovery_holds(self.s, partner))
			pg_array_text(but, partner, strlen(partner));
	}
}

/* Page by page, until nothing more is due. */
static int start_due(int64_t now_ms, struct err *err)
{
	int64_t after_ms = 0, after = 0, oldest = 0;
	struct schedules page = { 0 };
	int rc, n;

	do {
		struct pg_array but;

		left_alone(&but);
		rc = schedules_due(self.s->pg, now_ms, after_ms, after, self.told_ms, &but, PAGE,
				   &page, err);
		if (rc < 0)
			return rc;
		n = page.n;
		if (n) {
			oldest = oldest ? oldest : page.v[0].next_ms;
			after_ms = page.v[n - 1].next_ms;
			after = page.v[n - 1].integration;
			rc = start_page(&page, now_ms, err);
		}
		schedules_clear(&page);
	} while (rc == 0 && n == PAGE);
	if (rc == 0)
		metric_set(self.overdue, oldest ? (double)(now_ms - oldest) / 1000 : 0);
	return rc;
}

/* ---- the loop ---- */

static void begin_look(void)
{
	for (int i = FIRST; i < self.s->n_queues; i++) {
		struct part *p = &self.parts[i];
		bool held = p->held_ms && loop_now_ms() - p->held_ms < HELD_MS;

		*p = (struct part){ .closed = p->closed,
				    .held_ms = held ? p->held_ms : 0,
				    .started = { p->started[0], p->started[1] } };
	}
}

static void end_look(void)
{
	for (int i = FIRST; i < self.s->n_queues; i++) {
		struct part *p = &self.parts[i];

		tell_held(i);
		tell_started(i);
		if (p->by_breaker && !p->starts)
			p->held_ms = loop_now_ms();
	}
}

/* Of a Redis that knows no leader all starts are looked at: those whose job it may have lost with the rest are made again.
 * Postgres first: whoever dies between the two does it once more. */
static int restore(struct err *err)
{
	int rc = 0;

	if (self.lost_ms && loop_now_ms() - self.lost_ms < LOST_MS)
		return 0;
	for (int i = FIRST; i < self.s->n_queues && rc == 0; i++) {
		struct queue *q = self.s->queues[i];
		int64_t n = 0;
		bool known = true;

		rc = queue_fired_known(q, &known, loop_now_ms() + STEP_MS, err);
		if (rc < 0 || known)
			continue;
		rc = schedules_restore(self.s->pg, queue_partner(q), &n, err);
		if (rc == 0)
			rc = queue_fire(q, self.token, NULL, 0, loop_now_ms() + STEP_MS, err);
		if (n)
			log_event(LOG_WARN, "starts_restored", LS("of", queue_partner(q)),
				  LI("starts", n), LS("reason", "Redis has lost what was queued"));
	}
	if (rc == 0)
		self.lost_ms = loop_now_ms();
	return rc;
}

static int look(struct err *err)
{
	int64_t now = redis_now_ms(self.s->redis);
	int rc;

	if (self.token != leader_token()) {
		self.token = leader_token();
		self.lost_ms = 0;
		self.told_ms = now;
		beat_replan();
	}
	while ((rc = beat_plan_some(self.s, err)) > 0)
		;
	if (rc == 0)
		rc = restore(err);
	if (rc < 0)
		return rc;
	begin_look();
	rc = start_due(now, err);
	end_look();
	if (rc == 0)
		self.told_ms = now;
	return rc;
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	struct err err = { 0 };

	do {
		if (leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg) && look(&err) < 0)
			log_event(LOG_WARN, "beat_failed", LS("reason", err.text));
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int beat_start(struct scheduler *s)
{
	static const char *const modes[] = { "incremental", "full" };

	self.s = s;
	if (s->import_every_ms == 0)
		return 0;
	for (int i = FIRST; i < s->n_queues; i++)
		for (int k = 0; k < 2; k++)
			self.parts[i].started[k] =
				metrics_counter("longshore_starts_total",
						"Imports that the clock has started.", "partner",
						queue_partner(s->queues[i]), "mode", modes[k],
						NULL);
	self.overdue = metrics_gauge("longshore_starts_overdue_seconds",
				     "How long the earliest start that is due has waited.", NULL);
	return scheduler_spawn(s, "beat", run, s);
}
