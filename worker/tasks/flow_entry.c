/* How a job comes to its request: one row for what is one request, whoever pushes it how often. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "drivers/kit/outbound.h"
#include "worker/outcome.h"
#include "worker/settle.h"
#include "worker/tasks/flow.h"

#define BUSY_WAIT_MS 1000
#define BUSY_SLACK_MS 30000 /* beyond the hard limit: then whoever had it is gone */

static int add(struct flow *f, const char *entry, const char *fingerprint, int64_t *id)
{
	struct attempt *a = f->a;
	struct buf job = BUF_INIT;
	struct request_new n = { .partner = a->partner,
				 .action = f->action->name,
				 .lane = lane_name(a->lease.lane),
				 .entry = entry,
				 .idempotency_key = f->in ? a->job.idempotency_key : NULL,
				 .fingerprint = fingerprint,
				 .source = "job",
				 .integration_id = a->integration->id,
				 .steps = f->action->n_steps,
				 .deadline_in_ms = f->action->deadline_ms,
				 .generation = a->lease.generation };
	int rc;

	(void)json_int(a->job.tree, "parent_request", &n.parent_id);
	json_print(a->job.tree, &job);
	n.job = buf_str(&job);
	rc = request_add(a->worker->pg, &n, id, &a->err);
	buf_clear(&job);
	return rc;
}

/* A job that Longshore made for a row that was there before it. */
static int64_t own_request(const char *origin)
{
	long long id, times;

	return sscanf(origin, REQUEST_JOB, &id, &times) == 2 ? id : 0;
}

int flow_was_accepted(struct attempt *a, bool *was)
{
	struct request_who who = { .integration_id = a->job.integration_id,
				   .action = a->job.task,
				   .idempotency_key = a->job.idempotency_key };
	struct request row = { 0 };
	char origin[JOB_ID_MAX];
	int64_t parent = 0;
	int rc;

	header_origin(&a->lease.header, origin);
	*was = own_request(origin) > 0;
	if (*was || a->job.unique || !who.integration_id || !who.idempotency_key ||
	    !json_int(a->job.tree, "parent_request", &parent))
		return 0;
	rc = request_find(a->worker->pg, &who, &row, &a->err);
	*was = rc == 0;
	request_clear(&row);
	return rc == -ENOENT ? 0 : rc;
}

static int find(struct flow *f, const char *origin)
{
	struct attempt *a = f->a;
	struct buf entry = BUF_INIT, print = BUF_INIT;
	struct request_who who = { .id = own_request(origin) };
	int64_t id = 0;
	int rc = 0;

	if (!who.id) {
		rc = outbound_entry(f->action, a->integration->id, f->in, a->job.idempotency_key,
				    origin, &entry, &a->err);
		outbound_fingerprint(a->job.args, &print);
		if (rc == 0)
			rc = add(f, buf_str(&entry), buf_str(&print), &id);
		who = (struct request_who){ .partner = a->partner, .entry = buf_str(&entry) };
		if (f->in && a->job.idempotency_key) {
			who.integration_id = a->integration->id;
			who.action = f->action->name;
			who.idempotency_key = a->job.idempotency_key;
		}
	}
	if (rc == 0)
		rc = request_find(a->worker->pg, &who, &f->row, &a->err);
	if (rc == -ENOENT)
		rc = err_set(&a->err, -EINVAL, ERR_BAD_JOB, "request",
			     "there is no outbound request %lld any more", (long long)who.id);
	if (rc == 0 && !own_request(origin) &&
	    outbound_check_same(&f->row, a->job.args, a->job.idempotency_key, &a->err) < 0)
		rc = -EINVAL;
	buf_clear(&entry);
	buf_clear(&print);
	return rc;
}

/* ---- what has ended ---- */

static void tell(struct flow *f)
{
	struct attempt *a = f->a;

	if (!outcome_is_wanted(a))
		return;
	buf_reset(&a->result);
	buf_printf(&a->result, "{\"request\":%lld,\"state\":\"%s\",\"kept\":", (long long)f->row.id,
		   request_state_name(f->row.state));
	json_print(f->row.kept, &a->result);
	buf_putc(&a->result, '}');
}

static int is_ended(struct flow *f)
{
	tell(f);
	log_event(LOG_INFO, "request_had_ended", LI("request", f->row.id),
		  LS("state", request_state_name(f->row.state)));
	return 1;
}

/* As it failed before: the same letter's worth of text. */
static int failed_before(struct flow *f)
{
	struct attempt *a = f->a;
	const char *why = f->row.error ? f->row.error : "it failed";
	enum err_class class = err_class_parse(f->row.class);

	a->request = NULL; /* its row says so already */
	err_set(&a->err, -EREMOTEIO, class == ERR_CLASS_COUNT ? ERR_CLIENT : class,
		f->row.rule ? f->row.rule : "request",
		"request %lld failed: %s; `longshore request resolve %lld retry` tries it again",
		(long long)f->row.id, why, (long long)f->row.id);
	a->err.action = ACT_DEAD;
	return -EREMOTEIO;
}

/* 1: nothing is left to do; 0: to be worked on. */
static int look_at_state(struct flow *f, bool replayed)
{
	struct attempt *a = f->a;
	bool mine = f->row.job_id && strcmp(f->row.job_id, a->lease.header.id) == 0;

	switch (f->row.state) {
	case REQUEST_DONE:
		/* Died before it was settled: what follows it is queued with that. */
		return mine && !f->row.undo ? 0 : is_ended(f);
	case REQUEST_UNDONE:
		return is_ended(f);
	case REQUEST_UNKNOWN:
		a->skipped = "unknown";
		return is_ended(f);
	case REQUEST_FAILED:
		return replayed && !mine ? 0 : failed_before(f);
	default:
		return 0;
	}
}

static int busy(struct flow *f)
{
	struct attempt *a = f->a;

	return err_hold(&a->err, BUSY_WAIT_MS, "request", "job %s has request %lld",
			f->row.job_id ? f->row.job_id : "?", (long long)f->row.id);
}

static int take(struct flow *f)
{
	struct attempt *a = f->a;
	struct attempt_request *r = arena_alloc(a->arena, sizeof(*r));
	int rc;

	*r = (struct attempt_request){
		.id = f->row.id,
		.claim = { .job_id = arena_strdup(a->arena, a->lease.header.id),
			   .worker = a->worker->epoch,
			   .generation = a->lease.generation,
			   .fence = a->lease.fence },
		/* Postgres' clock to Redis' */
		.deadline_ms = f->row.deadline_ms - f->row.now_ms + redis_now_ms(a->worker->redis),
		.retries = f->action->retries
	};
	rc = request_take(a->worker->pg, f->row.id, &r->claim,
			  a->worker->hard_limit_ms + BUSY_SLACK_MS, &a->err);
	if (rc == -EBUSY)
		return busy(f);
	if (rc == 0)
		rc = request_steps(a->worker->pg, f->row.id, &f->steps, &f->n_steps, &a->err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < f->n_steps; i++)
		r->doubt |= f->steps[i].undo == f->row.undo &&
			    (f->steps[i].state == STEP_SENT || f->steps[i].doubt_ms);
	f->request = a->request = r;
	return 0;
}

int flow_enter(struct flow *f)
{
	struct attempt *a = f->a;
	char origin[JOB_ID_MAX];
	bool replayed;
	struct err wrong = { 0 };
	int in, rc;

	header_origin(&a->lease.header, origin);
	replayed = strcmp(origin, a->lease.header.id) != 0;
	in = action_in(f->action, a->job.args, &f->in, &wrong);
	rc = find(f, origin);
	snprintf(f->reference, sizeof(f->reference), "%lld", (long long)f->row.id);
	if (rc == 0)
		rc = look_at_state(f, replayed);
	if (rc == 0 && f->row.state == REQUEST_DONE)
		return 0;
	if (rc == 0)
		rc = take(f);
	if (rc == 0 && in < 0) {
		a->err = wrong;
		rc = in;
	}
	return rc;
}
