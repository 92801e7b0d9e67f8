/* One step of a flow: sent, sent again, looked for, or left to a person. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/outbound.h"
#include "worker/tasks/flow.h"

#define MARK_GOOD_MS 4000 /* less than a heartbeat lives: then another has the job */
#define STORE_AGAIN_MS 500
#define STORE_ROOM_MS \
	10000 /* of the attempt's time, kept back while an answer waits for Postgres */
#define KEEPS_MARGIN_MS 60000 /* before a key is forgotten, at least */

/* A step on its way. */
struct doing {
	struct flow *f;
	const struct manifest_step *s;
	int i;
	bool undo;
	struct request_step step; /* as it is known */
	struct action_values values;
	struct action_call call;
	struct call_mark mark;
	struct call_result result;
};

struct request_step *flow_known(struct flow *f, int i, bool undo)
{
	for (int n = 0; n < f->n_steps; n++)
		if (f->steps[n].step == i && f->steps[n].undo == undo)
			return &f->steps[n];
	return NULL;
}

static const struct manifest_request *request_of(const struct doing *d)
{
	return d->undo ? &d->s->undo : &d->s->request;
}

static bool is_repeatable(const struct doing *d)
{
	return action_is_repeatable(d->s, d->undo);
}

static int64_t doubt_since(const struct doing *d)
{
	return d->step.doubt_ms ? d->step.doubt_ms : d->step.sent_ms;
}

/* The partner still knows the key under which it was sent first, and gives the same answer again. */
static bool is_kept(const struct doing *d)
{
	int64_t keeps = d->s->keeps_ms, margin = keeps / 10;

	if (!d->s->idempotency_header || !keeps)
		return false;
	if (margin < KEEPS_MARGIN_MS)
		margin = keeps > 2 * KEEPS_MARGIN_MS ? KEEPS_MARGIN_MS : keeps / 2;
	return d->f->row.now_ms - doubt_since(d) < keeps - margin;
}

/* ---- writing ---- */

/* What is known of a step is not known again: it is written as long as the attempt has time. */
static int store(struct doing *d, const struct step_end *e)
{
	struct attempt *a = d->f->a;
	struct err err = { 0 };
	int rc;

	for (;;) {
		rc = request_step_put(a->worker->pg, d->f->row.id, &d->f->request->claim, &d->step,
				      d->s->name, e, &err);
		if (rc != -ECONNRESET && rc != -ETIMEDOUT &&
		    !(rc == -EPROTO && err.class == ERR_TRANSIENT))
			break;
		if (loop_now_ms() > attempt_deadline_ms(a) - STORE_ROOM_MS ||
		    co_sleep("postgres", STORE_AGAIN_MS) < 0)
			break;
	}
	if (rc < 0)
		a->err = err;
	return rc;
}

static int write_mark(void *arg, struct err *err)
{
	struct doing *d = arg;
	struct flow *f = d->f;
	int rc;

	if (!attempt_holds_lease(f->a))
		return err_set(err, -EAGAIN, ERR_HOLD, "lease",
			       "Redis was not heard of for too long: another may have this job");
	rc = request_step_mark(f->a->worker->pg, f->row.id, &f->request->claim, &d->step,
			       d->s->name, d->s->idempotency_header ? d->values.key : NULL,
			       d->mark.written > 1, err);
	if (rc == 0)
		f->request->doubt = true;
	return rc;
}

/* ---- ends ---- */

static const char *external_id(const struct doing *d, struct buf *text)
{
	const char *name = d->f->action->external;
	const cJSON *v = name ? cJSON_GetObjectItemCaseSensitive(d->f->row.kept, name) : NULL;

	return v && json_scalar_text(v, text) ? buf_str(text) : NULL;
}

static int done(struct doing *d, const char *how)
{
	struct flow *f = d->f;
	struct buf external = BUF_INIT;
	/* What follows is written down before it is said to be done. */
	bool last = !f->row.undo && d->i + 1 == f->action->n_steps && !f->action->n_then;
	struct step_end e = { .state = STEP_DONE,
			      .how = how,
			      .status = d->result.http.status,
			      .kept = f->row.kept,
			      .steps_done = d->undo ? -1 : d->i + 1,
			      .external_id = external_id(d, &external),
			      .request = last ? REQUEST_DONE : REQUEST_RUNNING };
	int rc = store(d, &e);

	if (rc == 0) {
		f->request->doubt = false;
		f->request->ended = last;
		if (last)
			f->row.state = REQUEST_DONE;
		log_event(LOG_INFO, d->undo ? "step_undone" : "step_done", LI("request", f->row.id),
			  LS("step", d->s->name), LS("how", how));
	}
	buf_clear(&external);
	return rc;
}

/* A person must look. */
static int unknown(struct doing *d, const struct err *why)
{
	struct flow *f = d->f;
	struct step_end e = { .state = STEP_UNKNOWN,
			      .doubt = true,
			      .status = d->result.http.status,
			      .why = why,
			      .steps_done = -1,
			      .request = REQUEST_UNKNOWN };
	struct buf what = BUF_INIT;
	int rc;

	buf_printf(&what, "nobody knows whether step %s was %s: %s", d->s->name,
		   d->undo ? "undone" : "done", why->text);
	rc = request_alert(f->a, buf_str(&what),
			   &f->a->err); /* before the row: it is never forgotten */
	if (rc == 0)
		rc = store(d, &e);
	if (rc == 0) {
		f->request->ended = true;
		f->row.state = REQUEST_UNKNOWN;
		log_event(LOG_WARN, "request_unknown", LI("request", f->row.id),
			  LS("step", d->s->name), LS("reason", why->text));
	}
	buf_clear(&what);
	if (rc == 0)
		request_clear_up(f->a);
	return rc < 0 ? rc : FLOW_UNKNOWN;
}

/* Not done, and that is sure; or sure no more than it was before. */
static int not_done(struct doing *d, enum step_state state, int rc)
{
	struct flow *f = d->f;
	struct err why = f->a->err;
	bool doubt = state == STEP_PENDING && d->step.doubt_ms;
	struct step_end e = { .state = state,
			      .doubt = doubt,
			      .status = d->result.http.status,
			      .why = &why,
			      .steps_done = -1,
			      .request = REQUEST_RUNNING };
	int stored = store(d, &e);

	if (stored < 0)
		return stored;
	f->request->doubt = doubt;
	f->a->err = why;
	return rc;
}

static int in_doubt(struct doing *d, int rc)
{
	struct flow *f = d->f;
	struct err why = f->a->err;
	struct step_end e = { .state = STEP_UNKNOWN,
			      .doubt = true,
			      .status = d->result.http.status,
			      .why = &why,
			      .steps_done = -1,
			      .request = REQUEST_RUNNING };
	bool replayed = action_is_replayed_failure(d->s, &d->result);
	int stored;

	if (replayed)
		snprintf(why.rule, sizeof(why.rule), "replayed");
	if (action_in_doubt(d->s, d->undo, d->s->keeps_ms > 0, replayed) == NEXT_PERSON)
		return unknown(d, &why);
	stored = store(d, &e);
	if (stored < 0)
		return stored;
	f->a->err = why;
	if (rc != -EAGAIN) { /* garbled: as a failure of the network's */
		f->a->err.class = ERR_TRANSIENT;
		f->a->err.action = ACT_NONE;
	}
	return rc == -EAGAIN ? rc : -EREMOTEIO;
}

/* ---- sending ---- */

static void keep_exchange(struct doing *d)
{
	struct attempt *a = d->f->a;

	if (!d->result.http.status && !d->result.http.failure)
		return;
	buf_reset(&a->exchange);
	call_exchange_print(&a->caller, &d->call.spec, &d->result, &a->exchange);
}

static int answered(struct doing *d)
{
	struct attempt *a = d->f->a;
	struct err why = { 0 };

	if (!d->undo && action_keep(d->s, &d->result, d->f->row.kept, &why) < 0) {
		keep_exchange(d);
		return unknown(d, &why); /* it was done, and cannot be gone on from */
	}
	a->err = (struct err){ 0 };
	return done(d, "answered");
}

static int not_too_late(struct doing *d)
{
	struct attempt *a = d->f->a;

	if (redis_now_ms(a->worker->redis) < d->f->request->deadline_ms)
		return 0;
	err_set(&a->err, -EREMOTEIO, ERR_EXPIRED, "deadline",
		"its deadline has passed before step %s could be done%s%s", d->s->name,
		d->f->row.error ? "; last: " : "", d->f->row.error ? d->f->row.error : "");
	a->err.action = ACT_DEAD;
	return -EREMOTEIO;
}

__attribute__((noinline)) static int send_it(struct doing *d)
{
	struct attempt *a = d->f->a;
	int rc = not_too_late(d);

	if (rc < 0)
		return rc;
	rc = action_call_make(request_of(d), d->s, &d->values, &d->call, &a->err);
	if (rc == 0) {
		d->call.spec.repeatable = is_repeatable(d) || d->s->keeps_ms;
		if (!is_repeatable(d))
			d->call.spec.mark = &d->mark;
		rc = call(&a->caller, &d->call.spec, &d->result, &a->err);
	}
	if (rc == -ECANCELED || rc == -ESTALE)
		return rc; /* the mark stands: who comes next is in doubt */
	if (rc == -EINVAL)
		return rc;
	switch (action_judge(d->undo, &d->mark, &d->result, rc, &a->err)) {
	case KNOWN_DONE:
		return answered(d);
	case KNOWN_NOT:
		return d->mark.written ? not_done(d, STEP_PENDING, rc) : rc;
	case KNOWN_REFUSED:
		keep_exchange(d);
		return not_done(d, STEP_FAILED, rc);
	case KNOWN_NOTHING:
		break;
	}
	if (rc != -EAGAIN && rc != -EREMOTEIO)
		return rc;
	keep_exchange(d);
	return in_doubt(d, rc);
}

/* ---- in doubt ---- */

static int too_soon(struct doing *d)
{
	struct attempt *a = d->f->a;
	int64_t ms = d->step.sent_ms + d->s->find_after_ms - d->f->row.now_ms;

	if (ms <= 0)
		return 0;
	return err_hold(
		&a->err, ms, "find_first",
		"step %s may have been done: the partner's list is believed %lld s after it was sent",
		d->s->name, (long long)d->s->find_after_ms / 1000);
}

/* *next: what it brought, where 0 is returned. */
static int look_for_it(struct doing *d, enum action_next *next)
{
	static const char *const words[] = { [NEXT_SEND] = "no",
					     [NEXT_DONE] = "yes",
					     [NEXT_PERSON] = "not plain",
					     [NEXT_AGAIN] = "not known" };
	struct attempt *a = d->f->a;
	struct action_call ask = { 0 };
	struct call_result r = { 0 };
	int rc = too_soon(d);

	if (rc < 0)
		return rc;
	*next = NEXT_AGAIN;
	rc = action_call_make(&d->s->find_first, NULL, &d->values, &ask, &a->err);
	if (rc == 0) {
		ask.spec.repeatable = true;
		rc = call(&a->caller, &ask.spec, &r, &a->err);
		*next = action_looked(d->s, &r, rc, d->step.replayed, d->f->row.kept, &a->err);
		if (*next >= NEXT_PERSON && (r.http.status || r.http.failure)) {
			buf_reset(&a->exchange);
			call_exchange_print(&a->caller, &ask.spec, &r, &a->exchange);
		}
	}
	call_result_clear(&r);
	action_call_clear(&ask);
	log_event(LOG_INFO, "step_looked_for", LI("request", d->f->row.id), LS("step", d->s->name),
		  LS("found", words[*next]));
	return *next == NEXT_AGAIN ? rc : 0;
}

/* Not done, and that is sure. */
static int is_not_done(struct doing *d, bool *ends)
{
	struct attempt *a = d->f->a;
	int rc;

	d->step.doubt_ms = 0;
	rc = not_done(d, STEP_PENDING, 0);
	if (rc == 0)
		a->err = (struct err){ 0 };
	*ends = rc < 0;
	return rc;
}

/* 0 and *ends: it was done; 0: it was not. */
static int look(struct doing *d, bool *ends)
{
	enum action_next next;
	struct err why;
	int rc = look_for_it(d, &next);

	*ends = true;
	if (rc < 0)
		return rc;
	if (next == NEXT_DONE)
		return done(d, "found");
	if (next == NEXT_SEND)
		return is_not_done(d, ends);
	why = d->f->a->err;
	return unknown(d, &why);
}

static int nobody_knows(struct doing *d)
{
	const char *before = d->f->row.error;
	struct err why = { 0 };

	err_set(&why, 0, ERR_TRANSIENT, "no answer",
		"it was sent, and no answer is known; the manifest knows no way to find out%s%s",
		before ? ": " : "", before ? before : "");
	return unknown(d, &why);
}

/* 0: to be sent, again. */
__attribute__((noinline)) static int settle_doubt(struct doing *d, bool *ends)
{
	enum action_next next = action_in_doubt(d->s, d->undo, is_kept(d), d->step.replayed);

	*ends = true;
	if (d->step.told && !d->undo && d->f->action->n_steps == 1) {
		outbound_keep_told(d->f->action, d->f->row.external_id, d->f->row.kept);
		return done(d, "told");
	}
	*ends = next != NEXT_SEND;
	if (next == NEXT_SEND)
		return 0;
	if (next == NEXT_PERSON)
		return nobody_knows(d);
	return look(d, ends);
}

/* The same at each attempt, until the partner has refused it for good. */
static void name_key(struct doing *d)
{
	struct flow *f = d->f;
	struct buf step = BUF_INIT;

	buf_printf(&step, "%s%s#%lld", d->s->name, d->undo ? " undo" : "",
		   (long long)d->step.round);
	action_key(f->a->partner, f->row.integration_id, f->action->name, f->row.entry,
		   buf_str(&step), f->key);
	buf_clear(&step);
}

static void set_out(struct doing *d)
{
	struct flow *f = d->f;

	f->request->step = d->s->name;
	name_key(d);
	d->values = (struct action_values){ .c = &f->a->caller,
					    .in = f->in,
					    .kept = f->row.kept,
					    .key = f->key,
					    .reference = f->reference,
					    .now_us = f->row.created_us };
}

/* Of an error that does not say it itself. */
static void say_where(const struct doing *d, int rc)
{
	struct err *e = &d->f->a->err;

	if (rc < 0 && !e->where[0])
		snprintf(e->where, sizeof(e->where), "step %s%s", d->s->name,
			 d->undo ? ", undo" : "");
}

int flow_seek(struct flow *f, int i)
{
	struct request_step *known = flow_known(f, i, false);
	struct doing d = { .f = f, .s = &f->action->steps[i], .i = i, .step = *known };
	bool ends = true;
	int rc;

	set_out(&d);
	rc = look(&d, &ends);
	if (rc == 0)
		known->state = ends ? STEP_DONE : STEP_PENDING;
	say_where(&d, rc);
	call_result_clear(&d.result);
	action_call_clear(&d.call);
	return rc;
}

int flow_step(struct flow *f, int i, bool undo)
{
	const struct manifest_step *s = &f->action->steps[i];
	const struct request_step *known = flow_known(f, i, undo);
	struct doing d = {
		.f = f, .s = s, .i = i, .undo = undo, .step = { .step = i, .undo = undo }
	};
	bool ends = false;
	int rc = 0;

	if (known)
		d.step = *known;
	if (d.step.state == STEP_DONE)
		return 0;
	if (d.step.state == STEP_FAILED)
		d.step.round++;
	set_out(&d);
	d.mark = (struct call_mark){ .write = write_mark, .arg = &d, .good_ms = MARK_GOOD_MS };
	if (d.step.state == STEP_SENT || d.step.doubt_ms)
		rc = settle_doubt(&d, &ends);
	if (rc == 0 && !ends)
		rc = send_it(&d);
	say_where(&d, rc);
	call_result_clear(&d.result);
	action_call_clear(&d.call);
	return rc;
}
