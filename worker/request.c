#include "worker/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/outbound.h"

#define TELL_MS 5000 /* what is told of an attempt whose own time is over */

bool request_may_retry(const struct attempt *a, int64_t ms)
{
	const struct attempt_request *r = a->request;

	return redis_now_ms(a->worker->redis) + ms <= r->deadline_ms;
}

static void give_time(const struct attempt *a)
{
	if (attempt_deadline_ms(a) < loop_now_ms() + TELL_MS)
		co_set_deadline(co_self(), loop_now_ms() + TELL_MS);
}

void request_goes_on(struct attempt *a, int64_t ms)
{
	struct attempt_request *r = a->request;
	const struct err *e = &a->err;
	struct err err = { 0 };
	struct request_end end = { .state = REQUEST_PENDING,
				   .class = e->class ? err_class_name(e->class) : NULL,
				   .rule = e->rule,
				   .at_step = r ? r->step : NULL,
				   .error = e->text,
				   .again_in_ms = ms };
	int rc;

	if (!r || r->ended || co_is_cancelled())
		return;
	give_time(a);
	rc = request_put(a->worker->pg, r->id, &r->claim, &end, &err);
	if (rc < 0) /* it says "running" until the next attempt */
		log_event(LOG_INFO, "request_not_told", LI("request", r->id),
			  LS("reason", err.text));
}

int request_alert(struct attempt *a, const char *what, struct err *err)
{
	struct attempt_request *r = a->request;
	char *scope = mem_printf("request:%lld", (long long)r->id);
	char *text = mem_printf("request %lld (%s of %s, integration %lld): %s", (long long)r->id,
				a->job.task, a->partner, (long long)a->job.integration_id, what);
	char *todo = mem_printf(
		"look at the partner whether it was done, then: longshore request resolve %lld done|retry|undo",
		(long long)r->id);
	int rc = alert_raise(a->worker->pg, "outbound_unknown", "critical", scope, text, todo, err);

	free(scope);
	free(text);
	free(todo);
	return rc;
}

void request_clear_up(struct attempt *a)
{
	int64_t id = a->request->id;
	struct request_step *v = NULL;
	struct err err = { 0 };
	bool told = false;
	int n = 0, rc = request_steps(a->worker->pg, id, &v, &n, &err);

	for (int i = 0; i < n; i++)
		told |= v[i].told && !v[i].undo;
	free(v);
	if (rc == 0 && told)
		rc = outbound_told(a->worker->redis, a->worker->pg, a->driver, id,
				   attempt_deadline_ms(a), &err);
	if (rc < 0) /* the next report, or a person, does it */
		log_event(LOG_WARN, "request_not_told", LI("request", id), LS("reason", err.text));
	else if (told)
		log_event(LOG_INFO, "request_told", LI("request", id));
}

int request_ends(struct attempt *a, const char *letter_id)
{
	struct attempt_request *r = a->request;
	struct err e = a->err, err = { 0 };
	struct request_end end = { .state = r && r->doubt ? REQUEST_UNKNOWN : REQUEST_FAILED,
				   .class = err_class_name(e.class),
				   .rule = e.rule,
				   .at_step = r ? r->step : NULL,
				   .error = e.text,
				   .letter_id = letter_id };
	int rc;

	if (!r || r->ended)
		return 0;
	give_time(a);
	if (r->doubt && (rc = request_alert(a, e.text, &a->err)) < 0)
		return rc;
	rc = request_put(a->worker->pg, r->id, &r->claim, &end, &err);
	if (rc < 0)
		a->err = err;
	else if (r->doubt)
		request_clear_up(a);
	return rc;
}
