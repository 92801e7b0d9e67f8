/* An action as a scenario: its steps by the rules of worker/tasks/flow_step.c (those of action_judge.c), with nothing written down between them.  An attempt goes on
 * from the step that the last one ended at; time stands still, so a list is believed at once and a key is never forgotten. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/request.h"
#include "drivers/kit/action.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/scenario_parts.h"
#include "drivers/kit/tape.h"

#define REFERENCE "0" /* of no request: there is none */
#define OWNER 1       /* keys are of an integration: the same one for a recording and its replay */

struct acting {
	struct caller *c;
	const struct manifest_action *action;
	cJSON *in, *kept;
	char entry[40]; /* a recording has keys of its own, and its replay the same */
	int64_t now_us;
	enum request_state state;
	struct err why; /* it is not done */
	int step;       /* that it is at */
	bool undo, doubt, replayed;
};

/* What becomes of a step in one attempt. */
enum { STEP_IS_DONE, END_OF_ATTEMPT, SEND_IT };

static const struct manifest_step *step_of(const struct acting *x)
{
	return &x->action->steps[x->step];
}

static int ended(struct acting *x, enum request_state state, const struct err *why)
{
	x->state = state;
	x->why = *why;
	return END_OF_ATTEMPT;
}

static struct action_values values_of(const struct acting *x, char key[ACTION_KEY_BYTES])
{
	char *step = mem_printf("%s%s#0", step_of(x)->name, x->undo ? " undo" : "");

	action_key(x->c->driver->manifest->partner, OWNER, x->action->name, x->entry, step, key);
	free(step);
	return (struct action_values){ .c = x->c,
				       .in = x->in,
				       .kept = x->kept,
				       .key = key,
				       .reference = REFERENCE,
				       .now_us = x->now_us };
}

/* ---- sending ---- */

/* Nothing is written: whoever dies here has no successor. */
static int write_mark(void *arg, struct err *err)
{
	return 0;
}

/* A tape has no connections: the word for what happened says whether the request had gone. */
static bool had_gone(const struct http_response *h)
{
	static const char *const before[] = { "refused", "dns", "tls", "wait_timeout", "private" };

	for (size_t i = 0; h->failure && i < ARRAY_LEN(before); i++)
		if (strcmp(h->failure, before[i]) == 0)
			return false;
	return true;
}

static int answered(struct acting *x, const struct call_result *r)
{
	struct err why = { 0 };

	if (!x->undo && action_keep(step_of(x), r, x->kept, &why) < 0)
		return ended(x, REQUEST_UNKNOWN, &why);
	return STEP_IS_DONE;
}

static int in_doubt(struct acting *x, const struct call_result *r, struct err *why)
{
	const struct manifest_step *s = step_of(x);
	bool replayed = action_is_replayed_failure(s, r);
	bool again = action_in_doubt(s, x->undo, s->keeps_ms > 0, replayed) != NEXT_PERSON;

	if (replayed)
		snprintf(why->rule, sizeof(why->rule), "replayed");
	x->doubt = again;
	x->replayed = replayed;
	return ended(x, again ? REQUEST_RUNNING : REQUEST_UNKNOWN, why);
}

static int judge(struct acting *x, const struct call_mark *mark, const struct call_result *r,
		 int rc, struct err *why)
{
	switch (action_judge(x->undo, mark, r, rc, why)) {
	case KNOWN_DONE:
		return answered(x, r);
	case KNOWN_NOT:
		return ended(x, REQUEST_RUNNING, why);
	case KNOWN_REFUSED:
		return ended(x, REQUEST_FAILED, why);
	case KNOWN_NOTHING:
		break;
	}
	return in_doubt(x, r, why);
}

static bool was_answered(int rc, const struct call_result *r, const struct err *why)
{
	return rc == 0 || (strcmp(why->rule, "replay") != 0 && (r->http.status || r->http.failure));
}

static int send_it(struct acting *x, struct err *err)
{
	const struct manifest_step *s = step_of(x);
	bool repeatable = action_is_repeatable(s, x->undo);
	struct call_mark mark = { .write = write_mark, .good_ms = INT32_MAX };
	char key[ACTION_KEY_BYTES];
	struct action_values v = values_of(x, key);
	struct action_call ask;
	struct call_result r = { 0 };
	struct err why = { 0 };
	int rc = action_call_make(x->undo ? &s->undo : &s->request, s, &v, &ask, &why);

	if (rc < 0) {
		action_call_clear(&ask);
		return ended(x, REQUEST_FAILED, &why);
	}
	ask.spec.repeatable = repeatable || s->keeps_ms;
	ask.spec.mark = repeatable ? NULL : &mark;
	rc = call(x->c, &ask.spec, &r, &why);
	if (tape_replays(x->c->door->tape) && !ask.spec.mail_to) { /* a mail's is found out */
		mark.written = 1;
		mark.handed = had_gone(&r.http);
	}
	if (was_answered(rc, &r, &why))
		rc = judge(x, ask.spec.mark, &r, rc, &why);
	else if (err)
		*err = why;
	call_result_clear(&r);
	action_call_clear(&ask);
	return rc;
}

/* ---- in doubt ---- */

static int found(struct acting *x, const struct call_result *r, int rc, struct err *why)
{
	switch (action_looked(step_of(x), r, rc, x->replayed, x->kept, why)) {
	case NEXT_DONE:
		return STEP_IS_DONE;
	case NEXT_PERSON:
		return ended(x, REQUEST_UNKNOWN, why);
	case NEXT_SEND:
		x->doubt = false;
		return SEND_IT;
	default:
		return ended(x, REQUEST_RUNNING, why);
	}
}

static int look_for_it(struct acting *x, struct err *err)
{
	char key[ACTION_KEY_BYTES];
	struct action_values v = values_of(x, key);
	struct action_call ask;
	struct call_result r = { 0 };
	struct err why = { 0 };
	int rc = action_call_make(&step_of(x)->find_first, NULL, &v, &ask, &why);

	if (rc < 0) {
		action_call_clear(&ask);
		return ended(x, REQUEST_FAILED, &why);
	}
	ask.spec.repeatable = true;
	rc = call(x->c, &ask.spec, &r, &why);
	if (was_answered(rc, &r, &why))
		rc = found(x, &r, rc, &why);
	else if (err)
		*err = why;
	call_result_clear(&r);
	action_call_clear(&ask);
	return rc;
}

static int settle_doubt(struct acting *x, struct err *err)
{
	const struct manifest_step *s = step_of(x);
	struct err why = { 0 };

	switch (action_in_doubt(s, x->undo, s->keeps_ms > 0, x->replayed)) {
	case NEXT_SEND:
		return SEND_IT;
	case NEXT_LOOK:
		return look_for_it(x, err);
	default:
		err_set(&why, 0, ERR_TRANSIENT, "no answer", "it was sent, and no answer is known");
		return ended(x, REQUEST_UNKNOWN, &why);
	}
}

/* ---- there, and back ---- */

static int do_step(struct acting *x, struct err *err)
{
	int rc = x->doubt ? settle_doubt(x, err) : SEND_IT;

	return rc == SEND_IT ? send_it(x, err) : rc;
}

static bool has_step(const struct acting *x)
{
	return x->step >= 0 && x->step < x->action->n_steps;
}

/* 0: the attempt has ended. */
static int attempt(struct acting *x, struct err *err)
{
	int rc = STEP_IS_DONE;

	while (has_step(x) && rc == STEP_IS_DONE) {
		if (!x->undo || request_path(&step_of(x)->undo, NULL))
			rc = do_step(x, err);
		if (rc != STEP_IS_DONE)
			return rc < 0 ? rc : 0;
		x->step += x->undo ? -1 : 1;
		x->doubt = x->replayed = false;
	}
	x->state = x->undo ? REQUEST_UNDONE : REQUEST_DONE;
	return 0;
}

static int work(struct acting *x, const struct scenario *s, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < s->attempts && x->state == REQUEST_RUNNING && rc == 0; i++) {
		rc = attempt(x, err);
		if (rc == 0 && s->undo && x->state == REQUEST_DONE) {
			x->undo = true;
			x->step = x->action->n_steps - 1;
			x->state = REQUEST_RUNNING;
			rc = attempt(x, err);
		}
	}
	return rc;
}

/* ---- what came of it ---- */

/* Those requests that would be pushed now. */
static int add_what_follows(const struct acting *x, cJSON *out, struct err *err)
{
	const struct manifest *m = x->c->driver->manifest;
	struct action_values v = {
		.c = x->c, .in = x->in, .kept = x->kept, .key = "", .now_us = x->now_us
	};
	cJSON *list = NULL;

	for (int i = 0; i < x->action->n_then; i++) {
		const struct manifest_then *t = &x->action->then[i];
		const char *missing;
		cJSON *args = NULL, *o;

		if (action_then(manifest_action(m, t->action), t, &v, &args, &missing, err) < 0)
			return -EINVAL;
		if (!args)
			continue;
		if (!list)
			list = cJSON_AddArrayToObject(out, "then");
		o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "action", t->action);
		cJSON_AddItemToObject(o, "args", args);
		cJSON_AddItemToArray(list, o);
	}
	return 0;
}

static int tell(struct acting *x, cJSON *out, struct err *err)
{
	const char *external = x->action->external;
	const cJSON *id = external ? cJSON_GetObjectItemCaseSensitive(x->kept, external) : NULL;

	cJSON_AddStringToObject(out, "state", request_state_name(x->state));
	cJSON_AddItemToObject(out, "kept", cJSON_Duplicate(x->kept, true));
	if (id)
		cJSON_AddItemToObject(out, "external_id", cJSON_Duplicate(id, true));
	if (x->state == REQUEST_DONE)
		return add_what_follows(x, out, err);
	if (x->state == REQUEST_UNDONE)
		return 0;
	if (x->in)
		cJSON_AddStringToObject(out, "step", step_of(x)->name);
	scenario_add_error(out, &x->why);
	return 0;
}

int scenario_act(struct caller *c, const struct scenario *s, cJSON *out, struct err *err)
{
	struct acting x = { .c = c,
			    .action = s->action,
			    .kept = cJSON_CreateObject(),
			    .now_us = door_asked_us(c->door),
			    .state = REQUEST_RUNNING };
	struct err why = { 0 };
	int rc = 0;

	snprintf(x.entry, sizeof(x.entry), "cassette:%lld", (long long)(x.now_us / 1000));
	if (action_in(s->action, s->params, &x.in, &why) < 0)
		(void)ended(&x, REQUEST_FAILED, &why);
	else
		rc = work(&x, s, err);
	if (rc == 0)
		rc = tell(&x, out, err);
	cJSON_Delete(x.in);
	cJSON_Delete(x.kept);
	return rc;
}
