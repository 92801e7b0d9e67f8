/* lookup by kind: {"kind": …, "params": {…}} in queue:{longshore}.  The setting --lookup-kinds says who answers: the first, and where he has
 * no answer, not even an old one, the next (O4).  Each is asked as a lookup by name asks him: with his integration of no company, through
 * the door with its cache, breaker and limits.  Only for the last one the job waits.
 *
 * Its job is of no partner, so no breaker, pause or cap of theirs has kept it from being claimed: what they say is looked at here.  None of
 * them may hold many slots of a process, nor any one job for long, or `notify` and the fan-outs would wait for a partner that is slow.
 * a->called_id is whom settle.c marks where the last one refuses our credentials; of the others refused.c does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/lookup_kinds.h"
#include "worker/home.h"
#include "worker/integrations.h"
#include "worker/run.h"
#include "worker/tasks/lookup.h"

#define ELSEWHERE_MS 2000 /* a kind that another worker knows is left to it */
#define HELD_MS 30000     /* paused: looked at again after this */
#define SLOTS_PART 4      /* of a process' slots one partner holds a quarter at most */

struct walk {
	struct attempt *a;
	const struct lookup_kind *kind;
	int choice;
	struct lookup_ask ask;
	struct lookup_answer out;
	bool held, busy; /* nobody may be called; or too many wait for it already */
};

/* ---- what is asked ---- */

static int refuse(struct attempt *a, const char *field, const char *why)
{
	return err_set(&a->err, -EINVAL, ERR_BAD_JOB, field, "%s", why);
}

/* In the wrong queue: where it belongs. */
static int is_by_name(struct attempt *a, const char *name)
{
	const struct driver_set *all = a->worker->drivers;
	struct buf queues = BUF_INIT;
	int rc;

	for (int i = 0; name && i < driver_set_count(all); i++)
		if (manifest_lookup(driver_at(all, i)->manifest, name))
			buf_printf(&queues, "%squeue:{%s}", queues.len ? ", " : "",
				   driver_at(all, i)->manifest->partner);
	rc = err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "args.name",
		"a lookup by name is of one partner: push it to %s; or say args.kind in its place here",
		queues.len ? buf_str(&queues) : "that partner's queue");
	buf_clear(&queues);
	return rc;
}

static int no_kind(struct attempt *a)
{
	struct buf all = BUF_INIT;
	int rc;

	lookup_kinds_tell(&all);
	rc = err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "args.kind",
		"args.kind must be one of --lookup-kinds: %s; a lookup by args.name goes to its partner's queue",
		buf_str(&all));
	buf_clear(&all);
	return rc;
}

static int no_such_kind(struct attempt *a, const char *kind)
{
	bool known = false;
	int rc = run_others_know(a, "lookup_kinds", kind, &known);

	if (rc < 0 || known)
		return err_hold(
			&a->err, ELSEWHERE_MS, "rolling settings",
			"another worker's --lookup-kinds names the kind \"%.60s\"; this one's does not",
			kind);
	(void)lookup_kind(kind, &a->err);
	snprintf(a->err.rule, sizeof(a->err.rule), "args.kind");
	return -EINVAL;
}

static int read_args(struct walk *w)
{
	struct attempt *a = w->a;
	const char *kind = a->job.args ? json_str(a->job.args, "kind") : NULL;
	struct err unknown;

	if (a->job.args && json_path(a->job.args, "name"))
		return kind ? refuse(a, "args.name",
				     "args.kind and args.name exclude each other: leave args.name out; or push it without args.kind to the partner's queue")
			    : is_by_name(a, json_str(a->job.args, "name"));
	if (!kind)
		return no_kind(a);
	if (a->job.integration_id)
		return refuse(
			a, "integration_id",
			"a kind is asked of partners, not of an integration: leave integration_id out");
	w->kind = lookup_kind(kind, &unknown);
	return w->kind ? 0 : no_such_kind(a, kind);
}

/* ---- who is asked ---- */

static const char *partner_of(const struct walk *w)
{
	return w->kind->choices[w->choice].partner;
}

static const char *name_of(const struct walk *w)
{
	return w->kind->choices[w->choice].name;
}

static bool is_last(const struct walk *w)
{
	return w->choice + 1 >= w->kind->n;
}

static void forget_choice(struct walk *w)
{
	struct attempt *a = w->a;

	integrations_put(a->integration);
	a->integration = a->caller.integration = NULL;
	a->caller.driver = NULL;
	a->called_id = 0;
	a->err = (struct err){ 0 };
	buf_reset(&a->exchange);
	lookup_answer_clear(&w->out);
	w->ask.lookup = NULL;
	w->ask.kept_only = NULL;
	w->held = w->busy = false;
}

/* Paused, or its credentials are broken: as for a job by name, whose queue waits. */
static const char *held(const struct walk *w)
{
	const struct attempt *a = w->a;
	const struct integration *i = a->integration;
	const char *paused = home_paused(partner_of(w));

	if (strcmp(i->status, "active") != 0)
		return arena_printf(a->arena, "integration %lld is %s%s%s", (long long)i->id,
				    i->status, i->status_reason ? ": " : "",
				    i->status_reason ? i->status_reason : "");
	if (paused)
		return arena_printf(a->arena, "%s is paused%s%s", i->partner, *paused ? ": " : "",
				    paused);
	return NULL;
}

static int find_driver(struct walk *w, const struct driver *d)
{
	struct attempt *a = w->a;
	const struct integration *i = a->integration;

	d = driver_for(d, i->id, i->settings, NULL, &a->err);
	d = d ? integrations_driver(i, d, &a->err) : NULL;
	if (!d)
		return -EINVAL;
	w->ask.lookup = manifest_lookup(d->manifest, name_of(w));
	a->caller.driver = d;
	a->caller.integration = i;
	return w->ask.lookup ? 0
			     : err_set(&a->err, -ENOENT, ERR_BAD_JOB, "args.kind",
				       "--lookup-kinds: it has no such lookup");
}

static int choose(struct walk *w)
{
	struct attempt *a = w->a;
	const struct driver *d = driver_find(a->worker->drivers, partner_of(w));
	int rc;

	if (!d)
		return err_set(&a->err, -ENOENT, ERR_BAD_JOB, "args.kind",
			       "--lookup-kinds: there is no such partner");
	rc = home_get(a->worker, partner_of(w), &a->called_id, &a->err);
	if (rc == 0)
		rc = integrations_get(a->worker, a->called_id, &a->integration, &a->err);
	if (rc == 0)
		rc = find_driver(w, d);
	if (rc == 0)
		w->ask.kept_only = held(w);
	w->held = rc == 0 && w->ask.kept_only;
	return rc;
}

/* ---- one choice ---- */

static int most_at_once(const struct walk *w)
{
	int part = w->a->worker->concurrency / SLOTS_PART;
	int most = w->a->caller.driver->manifest->jobs_integration;

	part = part > 1 ? part : 1;
	return most > 0 && most < part ? most : part;
}

static int ask_him(struct walk *w)
{
	struct attempt *a = w->a;
	bool entered = !w->held && home_enter(partner_of(w), most_at_once(w));
	int rc;

	w->busy = !w->held && !entered;
	if (w->busy)
		w->ask.kept_only =
			"as many lookups by kind wait for it in this process as may at once";
	rc = lookup(&a->caller, &w->ask, &w->out, &a->exchange, &a->err);
	if (entered)
		home_leave(partner_of(w));
	if (rc == -EAGAIN && (w->held || w->busy))
		a->err.retry_after_ms = w->held ? HELD_MS : home_busy_ms(partner_of(w));
	return rc;
}

/* Half of what is left until the soft limit, so that whoever is next has time too. */
static int64_t share_ms(const struct attempt *a)
{
	int64_t end = a->started_ms + a->caller.permit_waited_ms + a->worker->soft_limit_ms;
	int64_t left = end - loop_now_ms();

	return left > 0 ? left / 2 : 0;
}

/* Waits for permits move the coroutine's deadline on: so they do afterwards. */
static int ask_for_a_while(struct walk *w)
{
	struct co *co = co_self();
	int64_t before = co_deadline(co), ms = share_ms(w->a), mine = loop_now_ms() + ms;
	bool over;
	int rc;

	if (mine >= before)
		return ask_him(w);
	co_set_deadline(co, mine);
	rc = ask_him(w);
	over = rc == -ETIMEDOUT && loop_now_ms() >= co_deadline(co);
	if (before != CO_NO_DEADLINE)
		before += co_deadline(co) - mine;
	co_set_deadline(co, before);
	if (!over)
		return rc;
	return err_set(&w->a->err, -EREMOTEIO, ERR_TRANSIENT, "lookup",
		       "it had no answer within its share of the time, %lld ms", (long long)ms);
}

static int ask(struct walk *w)
{
	int rc;

	forget_choice(w);
	rc = choose(w);
	if (rc < 0)
		return rc;
	rc = is_last(w) ? ask_him(w) : ask_for_a_while(w);
	if (rc == 0 && !w->out.cached)
		integrations_answered(w->a->called_id);
	return rc;
}

/* ---- and the next one ---- */

/* Neither where the question itself is wrong, nor where it only has to come again. */
static bool goes_on(const struct walk *w, int rc)
{
	const struct err *e = &w->a->err;

	if (is_last(w) || w->busy)
		return false;
	if (rc == 0)
		return w->out.state >= LOOKUP_PLACEHOLDER && !w->out.none;
	return !lookup_failure_is_ours(rc, e) && !(rc == -EINVAL && e->class == ERR_BAD_JOB);
}

static void pass_over(struct walk *w, int rc)
{
	struct attempt *a = w->a;

	log_event(LOG_INFO, "lookup_goes_on", LS("kind", w->kind->name), LS("of", partner_of(w)),
		  LS("name", name_of(w)), LS("next", w->kind->choices[w->choice + 1].partner),
		  LS("reason", rc < 0 ? a->err.text : w->out.reason));
	if (rc < 0 && a->called_id)
		integrations_passed_over(a->worker, a->called_id, rc, &a->err, loop_now_ms());
	w->choice++;
}

static void say_who(const struct walk *w)
{
	struct err *e = &w->a->err, first = *e;

	if (!first.text[0])
		return;
	err_set(e, 0, first.class, first.rule, "%s/%s%s: %s", partner_of(w), name_of(w),
		w->choice ? ", the last that was asked" : "", first.text);
	e->action = first.action;
	e->retry_after_ms = first.retry_after_ms;
	memcpy(e->where, first.where, sizeof(e->where));
}

/* The process is stopping: who was asked is not asked again. */
static int put_off(struct walk *w)
{
	struct attempt *a = w->a;

	forget_choice(w);
	a->step = w->choice;
	attempt_continue(a);
	return 0;
}

int task_lookup_kind(struct attempt *a)
{
	struct walk w = { .a = a };
	char owner[JOB_ID_MAX + 8];
	int rc = read_args(&w);

	if (rc < 0)
		return rc;
	lookup_ask_of(a, &w.ask, owner, sizeof(owner));
	w.choice = a->step < w.kind->n ? (int)a->step : 0;
	a->step = 0;
	rc = ask(&w);
	while (goes_on(&w, rc)) {
		pass_over(&w, rc);
		if (attempt_should_yield(a))
			return put_off(&w);
		rc = ask(&w);
	}
	if (rc < 0)
		say_who(&w);
	return lookup_end(a, &w.ask, &w.out, rc);
}
