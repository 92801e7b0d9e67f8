/* lookup: one question to a partner, by {"name": …, "params": {…}}; the answer is the job's result.  A question is asked for
 * now: where it has no answer the job ends, unless it says itself how often it wants to be tried again. */
#include "worker/tasks/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/io/loop.h"
#include "worker/outcome.h"

#define NAMES_MAX 64
#define PUSH_MS 2000

static int no_such_lookup(struct attempt *a, const char *name)
{
	const struct manifest *m = a->driver->manifest;
	const char *names[NAMES_MAX], *near;
	struct buf all = BUF_INIT;
	int n = m->n_lookups < NAMES_MAX ? m->n_lookups : NAMES_MAX;

	for (int i = 0; i < n; i++) {
		names[i] = m->lookups[i].name;
		buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
	}
	near = name ? config_nearest(name, names, n) : NULL;
	if (!n)
		err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.name",
			"partner %s has no lookups: its manifest declares none", m->partner);
	else if (near)
		err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.name",
			"%s has no lookup \"%.60s\"; did you mean \"%s\"?", m->partner, name, near);
	else
		err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.name",
			"args.name must be one of %s's lookups: %s", m->partner, buf_str(&all));
	buf_clear(&all);
	return -EINVAL;
}

static int is_by_kind(struct attempt *a, const char *name)
{
	return err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "args.kind",
		name ? "args.kind and args.name exclude each other: leave args.kind out, or push it without args.name to queue:{%s}"
		     : "a lookup by kind is of no partner: push it to queue:{%s}, or say in args.name which lookup of this partner's",
		LONGSHORE_PARTNER);
}

static int find_lookup(struct attempt *a, struct lookup_ask *ask)
{
	const char *name = json_str(a->job.args, "name");

	if (a->job.args && json_path(a->job.args, "kind"))
		return is_by_kind(a, name);
	ask->lookup = name ? manifest_lookup(a->driver->manifest, name) : NULL;
	return ask->lookup ? 0 : no_such_lookup(a, name);
}

void lookup_ask_of(struct attempt *a, struct lookup_ask *ask, char *owner, size_t size)
{
	snprintf(owner, size, "job:%s", a->lease.header.id);
	ask->owner = owner;
	ask->params = json_path(a->job.args, "params");
	ask->refresh = a->job.args && json_bool(a->job.args, "refresh", false);
	ask->patient = !ask->refresh;
}

/* At once, not with the settlement: it need not happen, and nobody waits for it.  It joins no run. */
static void queue_refresh(struct attempt *a)
{
	cJSON *args = cJSON_Duplicate(a->job.args, true);
	struct queue_push push = { .lane = LANE_LOW, .integration = a->job.integration_id };
	struct buf payload = BUF_INIT;
	struct err err = { 0 };

	cJSON_DeleteItemFromObjectCaseSensitive(args, "refresh");
	cJSON_AddTrueToObject(args, "refresh");
	job_print(&payload, "lookup", push.integration, args, 0, a->job_id);
	push.payload = payload.data;
	push.len = payload.len;
	if (queue_enqueue(a->lease.queue, &push, 1, loop_now_ms() + PUSH_MS, &err) < 0)
		log_event(LOG_INFO, "refresh_not_queued", LS("reason", err.text));
	buf_clear(&payload);
	cJSON_Delete(args);
}

static void tell(struct attempt *a, const struct lookup_ask *ask, const struct lookup_answer *out)
{
	if (!outcome_is_wanted(a))
		return;
	buf_reset(&a->result);
	lookup_print(&a->caller, ask, out, &a->result);
}

int lookup_end(struct attempt *a, const struct lookup_ask *ask, struct lookup_answer *out, int rc)
{
	if (rc == 0) {
		tell(a, ask, out);
		if (out->refresh)
			queue_refresh(a);
	} else if (rc == -EREMOTEIO && a->job.max_retries < 0) {
		a->job.no_retry = true;
	}
	lookup_answer_clear(out);
	if (!ask->refresh || (rc != -EREMOTEIO && rc != -EAGAIN))
		return rc;
	/* What could not be fetched anew stays as old as it is. */
	memset(&a->err, 0, sizeof(a->err));
	return 0;
}

int task_lookup(struct attempt *a)
{
	struct lookup_ask ask = { 0 };
	struct lookup_answer out = { 0 };
	char owner[JOB_ID_MAX + 8];
	int rc = find_lookup(a, &ask);

	if (rc < 0)
		return rc;
	lookup_ask_of(a, &ask, owner, sizeof(owner));
	rc = lookup(&a->caller, &ask, &out, &a->exchange, &a->err);
	return lookup_end(a, &ask, &out, rc);
}
