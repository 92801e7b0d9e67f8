#include "worker/tasks/flow.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "drivers/kit/outbound.h"
#include "worker/fresh.h"
#include "worker/outcome.h"
#include "worker/settle.h"
#include "worker/tasks/tasks.h"

/* ---- what follows ---- */

/* Its row, before its parent's says that it is done: Redis may lose the parent's settlement, and with it the job; what is in Postgres
 * is queued again.  Where the args do not fit, the job's own end says so. */
static int record_child(struct flow *f, const struct manifest_then *t, const cJSON *args,
			const char *key, const struct buf *payload)
{
	struct attempt *a = f->a;
	const struct manifest_action *of = manifest_action(a->driver->manifest, t->action);
	struct buf entry = BUF_INIT, print = BUF_INIT;
	struct request_new n = { .partner = a->partner,
				 .action = t->action,
				 .lane = lane_name((enum lane)t->lane),
				 .idempotency_key = key,
				 .source = "job",
				 .job = buf_str(payload),
				 .integration_id = f->row.integration_id,
				 .parent_id = f->row.id,
				 .generation = a->lease.generation };
	cJSON *in = NULL;
	int64_t id;
	int rc = 0;

	if (!of || action_in(of, args, &in, NULL) < 0)
		return 0;
	n.steps = of->n_steps;
	n.deadline_in_ms = of->deadline_ms;
	rc = outbound_entry(of, n.integration_id, in, key, NULL, &entry, &a->err);
	outbound_fingerprint(args, &print);
	n.entry = buf_str(&entry);
	n.fingerprint = buf_str(&print);
	if (rc == 0)
		rc = request_add(a->worker->pg, &n, &id, &a->err);
	cJSON_Delete(in);
	buf_clear(&entry);
	buf_clear(&print);
	return rc;
}

/* Each as a job of its own, once: its key says whose it is. */
static int queue_child(struct flow *f, const struct manifest_then *t, const cJSON *args)
{
	struct attempt *a = f->a;
	struct buf key = BUF_INIT, *payload;
	int rc = 0;

	buf_printf(&key, "then:%lld:%s", (long long)f->row.id, t->action);
	attempt_child(a, NULL, (enum lane)t->lane, t->action, f->row.integration_id, args,
		      a->job.run_id);
	payload = &a->children[a->n_children - 1].payload;
	job_print_keys(payload, NULL, false, buf_str(&key));
	payload->len--; /* the brace */
	buf_printf(payload, ",\"parent_request\":%lld}", (long long)f->row.id);
	if (f->row.state != REQUEST_DONE)
		rc = record_child(f, t, args, buf_str(&key), payload);
	buf_clear(&key);
	return rc;
}

static int queue_what_follows(struct flow *f)
{
	struct attempt *a = f->a;
	struct action_values v = { .c = &a->caller,
				   .in = f->in,
				   .kept = f->row.kept,
				   .key = f->key,
				   .now_us = f->row.created_us };
	int rc = 0;

	for (int i = 0; i < f->action->n_then && rc == 0; i++) {
		const struct manifest_then *t = &f->action->then[i];
		const char *missing;
		cJSON *args = NULL;

		rc = action_then(manifest_action(a->driver->manifest, t->action), t, &v, &args,
				 &missing, &a->err);
		if (rc == 0 && args)
			rc = queue_child(f, t, args);
		else if (rc == 0 && missing)
			log_event(LOG_WARN, "then_left_out", LS("action", t->action),
				  LI("request", f->row.id), LS("arg", missing),
				  LS("reason", "what it names has no value"));
		cJSON_Delete(args);
	}
	return rc;
}

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

/* ---- there, and back ---- */

static int do_all(struct flow *f)
{
	int rc = 0;

	for (int i = 0; i < f->action->n_steps && rc == 0; i++)
		rc = flow_step(f, i, false);
	return rc;
}

/* Done already, by a person's word or an attempt that died: only the row does not say so. */
static int close_row(struct flow *f, enum request_state state)
{
	struct attempt *a = f->a;
	int rc;

	if (f->request->ended)
		return 0;
	rc = request_put(a->worker->pg, f->row.id, &f->request->claim,
			 &(struct request_end){ .state = state }, &a->err);
	if (rc == 0) {
		f->request->ended = true;
		f->row.state = state;
	}
	return rc;
}

/* Nobody knows yet whether there is anything to take back. */
static bool may_be_done(const struct manifest_step *s, const struct request_step *known)
{
	return (known->state == STEP_SENT || known->doubt_ms) && request_path(&s->find_first, NULL);
}

/* The last first; what was never done needs nothing. */
static int undo_all(struct flow *f)
{
	int rc = 0;

	for (int i = f->action->n_steps - 1; i >= 0 && rc == 0; i--) {
		const struct manifest_step *s = &f->action->steps[i];
		const struct request_step *known = flow_known(f, i, false);

		if (!known || !request_path(&s->undo, NULL))
			continue;
		if (may_be_done(s, known))
			rc = flow_seek(f, i);
		if (rc == 0 && known->state == STEP_DONE)
			rc = flow_step(f, i, true);
	}
	return rc;
}

static int check_expiry(struct flow *f)
{
	struct attempt *a = f->a;
	bool over = false;
	int rc;

	if (!a->job.expires_in_s || f->n_steps)
		return 0;
	rc = fresh_waited_beyond(a, a->job.expires_in_s * 1000, &over);
	if (rc == 0 && over)
		return err_set(&a->err, -EINVAL, ERR_EXPIRED, "expires_in",
			       "waited longer than its expires_in of %lld s",
			       (long long)a->job.expires_in_s);
	return rc;
}

static int work(struct flow *f)
{
	int rc = f->row.undo ? 0 : check_expiry(f);

	if (rc == 0 && !f->row.undo)
		rc = notify_may_send(f->a, f->row.id);
	if (rc == 0)
		rc = f->row.undo ? undo_all(f) : do_all(f);
	if (rc == 0 && !f->row.undo)
		rc = queue_what_follows(f);
	if (rc == 0)
		rc = close_row(f, f->row.undo ? REQUEST_UNDONE : REQUEST_DONE);
	return rc;
}

int task_action(struct attempt *a)
{
	struct flow f = { .a = a, .action = manifest_action(a->driver->manifest, a->job.task) };
	int rc;

	if (!f.action)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "unknown action",
			"the version of %s that integration %lld has knows no action \"%.60s\"",
			a->partner, (long long)a->integration->id, a->job.task);
	rc = flow_enter(&f);
	if (rc == 0) {
		rc = f.row.state == REQUEST_DONE ? queue_what_follows(&f) : work(&f);
		if (rc == FLOW_UNKNOWN)
			a->skipped = "unknown";
		if (rc >= 0)
			tell(&f);
	}
	request_clear(&f.row);
	free(f.steps);
	cJSON_Delete(f.in);
	return rc < 0 ? rc : 0;
}
