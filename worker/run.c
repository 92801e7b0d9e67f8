#include "worker/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/card.h"
#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/control.h"
#include "drivers/kit/letter.h"
#include "worker/fresh.h"
#include "worker/home.h"
#include "worker/integrations.h"
#include "worker/keys.h"
#include "worker/runs.h"
#include "worker/settle.h"
#include "worker/tasks/flow.h"
#include "worker/tasks/tasks.h"

#define ELSEWHERE_MS \
	2000 /* a task that another worker knows is left to it: looked at again after this */
#define PAUSED_MS 1000
#define PAUSED_UNHELD_MS \
	30000 /* of one that stands in the ring of no integration: it comes out again */
#define SUSPECT_MS 1000

void run_print_tasks(struct buf *out)
{
	buf_putc(out, '[');
	for (int i = 0; task_at(i); i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", task_at(i)->name);
	buf_putc(out, ']');
}

void run_print_actions(const struct driver_set *drivers, const char *const *partners, int n,
		       struct buf *out)
{
	bool first = true;

	buf_putc(out, '{');
	for (int i = 0; i < n; i++) {
		const struct driver *d = driver_find(drivers, partners[i]);

		if (!d || !d->manifest->n_actions)
			continue;
		buf_printf(out, "%s\"%s\":[", first ? "" : ",", partners[i]);
		for (int k = 0; k < d->manifest->n_actions; k++)
			buf_printf(out, "%s\"%s\"", k ? "," : "", d->manifest->actions[k].name);
		buf_putc(out, ']');
		first = false;
	}
	buf_putc(out, '}');
}

/* ---- tasks this build, and actions these manifests, do not know ---- */
struct search {
	const char *list, *name, *self, *partner; /* partner: of its actions too; NULL: not */
	bool found;
};

static bool has_text(const cJSON *list, const char *text)
{
	const cJSON *t;

	cJSON_ArrayForEach (t, list)
		if (cJSON_IsString(t) && strcmp(t->valuestring, text) == 0)
			return true;
	return false;
}

static void see_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct search *s = arg;
	cJSON *info = NULL;

	if (!info_json || !strcmp(epoch, s->self) ||
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	s->found = s->found || has_text(json_path(info, s->list), s->name);
	if (s->partner)
		s->found = s->found ||
			   has_text(cJSON_GetObjectItemCaseSensitive(json_path(info, "actions"),
								     s->partner),
				    s->name);
	cJSON_Delete(info);
}

static int search(struct attempt *a, struct search *s)
{
	struct err ignored = { 0 };

	s->self = a->worker->epoch;
	return fleet_each(a->worker->redis, see_worker, s, loop_now_ms() + 5000, &ignored);
}

int run_others_know(struct attempt *a, const char *list, const char *name, bool *known)
{
	struct search s = { .list = list, .name = name };
	int rc = search(a, &s);

	*known = s.found;
	return rc;
}

static int unknown_task(struct attempt *a)
{
	struct search s = { .list = "tasks", .name = a->job.task, .partner = a->partner };
	const char *names[64];
	int n = 0;

	if (search(a, &s) < 0 || s.found) {
		return err_hold(&a->err, ELSEWHERE_MS, "rolling upgrade",
				"another worker knows the task \"%.60s\"; this build does not",
				a->job.task);
	}
	for (; n < 64 && task_at(n); n++)
		names[n] = task_at(n)->name;
	const char *near = config_nearest(a->job.task, names, n);
	return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "unknown task",
		       "no worker knows the task \"%.60s\"%s%s%s", a->job.task,
		       near ? "; did you mean \"" : "", near ? near : "",
		       near ? "\"?" : "; `longshore push --help` lists the tasks");
}

/* ---- the integration ---- */
/* What brings new credentials does not wait with those that want them. */
static bool may_run(const struct attempt *a)
{
	const char *status = a->integration->status;

	return !strcmp(status, "active") ||
	       (!strcmp(status, "auth_broken") && webhook_mends_auth(a));
}

static int check_integration(struct attempt *a)
{
	const struct integration *i = a->integration;
	const char *partner = queue_partner(a->lease.queue);

	if (strcmp(i->partner, partner))
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "another partner's integration",
			"integration %lld belongs to partner %s: push its jobs to queue:{%s}, not queue:{%s}",
			(long long)i->id, i->partner, i->partner, partner);
	if (!may_run(a)) {
		struct err ignored = { 0 };
		/* Paused (or auth_broken) after it was claimed: it waits outside of the ring from now on. */
		if (control_mirror(a->worker->redis, a->worker->pg, a->driver, partner, false,
				   loop_now_ms() + 5000, &ignored) < 0)
			log_event(LOG_WARN, "control_not_mirrored", LS("reason", ignored.text));
		integrations_forget(i->id); /* resumed meanwhile? the next look is a fresh one */
		return err_hold(&a->err, a->lease.integration ? PAUSED_MS : PAUSED_UNHELD_MS,
				i->status, "integration %lld is %s%s%s", (long long)i->id,
				i->status, i->status_reason ? ": " : "",
				i->status_reason ? i->status_reason : "");
	}
	return 0;
}

/* Of several versions of the driver, the integration's. */
static int choose_adapter(struct attempt *a)
{
	const struct driver *d =
		driver_for(a->driver, a->integration->id, a->integration->settings, NULL, &a->err);

	if (!d)
		return -EINVAL;
	a->driver = d;
	return 0;
}

static int find_integration(struct attempt *a, const struct task *t)
{
	int64_t id = a->job.integration_id;
	int rc = 0;

	if (id == 0 && t->of_no_company)
		rc = home_get(a->worker, a->partner, &id, &a->err);
	if (rc < 0)
		return rc;
	if (id == 0)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "no integration",
			"task \"%s\" calls a partner and needs \"integration_id\": a number; `longshore integration list` shows them",
			a->job.task);
	rc = integrations_get(a->worker, id, &a->integration, &a->err);
	if (rc == -ENOENT)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "unknown integration",
			"integration %lld does not exist; `longshore integration list` shows those that do",
			(long long)id);
	a->job.integration_id = id; /* whose it turned out to be */
	if (rc == 0)
		rc = check_integration(a);
	if (rc == 0)
		rc = choose_adapter(a);
	if (rc < 0)
		return rc;
	a->driver = integrations_driver(a->integration, a->driver, &a->err);
	return a->driver ? 0 : -EINVAL;
}

/* ---- from payload to task ---- */
static int check_time(struct attempt *a)
{
	int64_t now = redis_now_ms(a->worker->redis);

	if (a->job.run_at_ms > now)
		return err_hold(&a->err, a->job.run_at_ms - now, "run_at", "not before its run_at");
	return 0;
}

/* A fan-out that has begun goes on, or it would leave children out. */
static int check_expiry(struct attempt *a)
{
	bool over = false;
	int rc = 0;

	if (a->job.expires_in_s && !a->fanned)
		rc = fresh_waited_beyond(a, a->job.expires_in_s * 1000, &over);
	if (rc == 0 && over)
		return err_set(&a->err, -EINVAL, ERR_EXPIRED, "expires_in",
			       "waited longer than its expires_in of %lld s",
			       (long long)a->job.expires_in_s);
	return rc;
}

/* A job that was on the CPU when a process died runs with no other such job beside it: if it dies again it takes one suspect
 * along, not several (Q5).  The others wait, uncharged. */
static int run_suspect(struct attempt *a, const struct task *t)
{
	static bool one_runs;
	int rc;

	if (one_runs)
		return err_hold(&a->err, SUSPECT_MS, "suspect",
				"another job that was running when a worker crashed runs here");
	one_runs = true;
	rc = t->run(a);
	one_runs = false;
	return rc;
}

/* Card numbers may not come in: what holds one is refused before anything is written of it (O2).  A lookup looks at its texts itself. */
static int card_check(struct attempt *a)
{
	bool accepted = false;
	int rc = 0;

	if (!a->card || a->task->run == task_lookup || a->task->run == task_lookup_kind)
		return 0;
	if (a->task->run == task_action)
		rc = flow_was_accepted(a, &accepted);
	if (rc < 0 || accepted)
		return rc;
	return err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "card number",
		"a card number stands in it: have the partner make a token of the card, and send that");
}

static int start_task(struct attempt *a)
{
	const struct task *t = a->task;
	bool partnerless = !strcmp(a->partner, LONGSHORE_PARTNER);
	int rc;

	if (!t)
		return unknown_task(a);
	if (t->without_partner && !partnerless)
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "wrong queue",
			       "task \"%s\" is of no partner: push it to queue:{%s}", t->name,
			       LONGSHORE_PARTNER);
	if (t->needs_integration && partnerless)
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "wrong queue",
			       "task \"%s\" calls a partner: push it to that partner's queue",
			       t->name);
	rc = card_check(a);
	if (rc == 0)
		rc = runs_check(a);
	if (rc == 0)
		rc = keys_take(a);
	if (rc == 0 && !a->skipped)
		rc = check_time(a);
	if (rc == 0 && !a->skipped && t->needs_integration)
		rc = find_integration(a, t);
	if (rc == 0 && !a->skipped && t->run != task_action) /* a request ends in its row */
		rc = check_expiry(a);
	if (rc == 0 && !a->skipped)
		rc = fresh_check(a);
	if (rc < 0 || a->skipped)
		return rc;
	a->caller = (struct caller){ .door = a->worker->door,
				     .driver = a->driver,
				     .integration = a->integration,
				     .memory = a->memory,
				     .high = a->lease.lane == LANE_HIGH };
	return a->lease.header.crashes ? run_suspect(a, t) : t->run(a);
}

/* The hint of admit only routes; the payload's own integration decides, but for what stands in the ring of none (queue_event.unheld).
 * Uncharged. */
static bool misrouted(const struct attempt *a)
{
	return a->job.integration_id != a->lease.integration &&
	       (a->lease.integration || !webhook_mends_auth(a));
}

static void send_home(struct attempt *a)
{
	struct queue *q = a->lease.queue;
	struct settlement *s = settlement_new(&a->lease, SETTLE_AGAIN);

	settlement_set_integration(s, a->job.integration_id);
	queue_settle(q, s, NULL, NULL);
}

static void prepare(struct attempt *a)
{
	a->arena = arena_new();
	a->started_ms = loop_now_ms();
	a->partner = queue_partner(a->lease.queue);
	a->driver = driver_find(a->worker->drivers, a->partner);
	snprintf(a->job_id, sizeof(a->job_id), "%s", a->lease.header.id);
	a->run_id = header_number(&a->lease.header, RAN_RUN);
	a->step = header_number(&a->lease.header, RAN_AT);
	a->beyond = header_number(&a->lease.header, RAN_BEYOND);
	a->small = (int)header_number(&a->lease.header, RAN_SMALL);
	a->memory = &a->own_memory;
	a->memory->limit = a->worker->job_memory_bytes;
	a->fanned = header_number(&a->lease.header, RAN_FANNED);
	a->auth_refused = header_number(&a->lease.header, RAN_AUTH);
	/* One that died ('0': given back or reaped) could not say how it left things. */
	a->unclean = a->lease.member[0] == '0' || header_number(&a->lease.header, RAN) > 1;
	co_set_deadline(co_self(), a->started_ms + a->worker->hard_limit_ms);
}

static void release(struct attempt *a)
{
	attempt_children_clear(a);
	integrations_put(a->integration);
	co_set_data(co_self(), NULL);
	job_clear(&a->job);
	lease_clear(&a->lease);
	buf_clear(&a->exchange);
	buf_clear(&a->result);
	arena_free(a->arena);
}

static void know_task(struct attempt *a)
{
	const struct task *t = task_known(a->driver, a->job.task);

	a->task = t;
	if (!t)
		return;
	a->label = t->run == task_action ? manifest_action(a->driver->manifest, a->job.task)->name
					 : t->name;
}

static void mask_text(char *text, size_t size)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, text);
	card_mask(&b);
	snprintf(text, size, "%s", buf_str(&b));
	secret_free_buf(&b);
}

static void know_card(struct attempt *a)
{
	struct buf task = BUF_INIT;

	if (!letter_hides_cards(a->job.task))
		return;
	a->card = a->job.tree ? card_is_in_json(a->job.tree)
			      : card_is_in(a->lease.payload, a->lease.payload_len);
	if (!a->card || a->task || !a->job.task)
		return;
	buf_puts(&task, a->job.task);
	card_mask(&task);
	a->job.task = arena_strdup(a->arena, buf_str(&task));
	secret_free_buf(&task);
}

void run_attempt(struct attempt *a)
{
	int rc;

	prepare(a);
	rc = job_parse(a->lease.payload, a->lease.payload_len, &a->job, &a->err);
	if (rc == 0 && misrouted(a)) {
		send_home(a);
	} else {
		if (rc == 0)
			know_task(a);
		know_card(a);
		if (rc == 0 && a->job.id && !a->card)
			snprintf(a->job_id, sizeof(a->job_id), "%s", a->job.id);
		oncpu_tell(&a->oncpu, a->job_id, rc == 0 ? a->job.task : "");
		if (rc == 0)
			rc = start_task(a);
		if (a->card)
			mask_text(a->err.text, sizeof(a->err.text));
		settle(a, rc);
	}
	release(a);
}
