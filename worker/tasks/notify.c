/* notify: {"company_id", "template", "to", "values"} becomes a row for each recipient; schedulers see to the rest (drivers/kit/notify.h),
 * an outbound request for each attempt.  And what a request that is such an attempt heeds beside its deadline: quiet hours, and
 * whether its notification has gone on. */
#include "drivers/kit/notify.h"

#include <errno.h>

#include "common/base/log.h"
#include "drivers/kit/outbound.h"
#include "worker/outcome.h"
#include "worker/settle.h"
#include "worker/tasks/flow.h"
#include "worker/tasks/tasks.h"
#include "worker/tasks/webhook.h"

int task_notify(struct attempt *a)
{
	char origin[JOB_ID_MAX];
	struct notify_ask ask = { .args = a->job.args,
				  .idempotency_key = a->job.idempotency_key,
				  .origin = origin,
				  .job_id = a->job_id };
	struct buf ids = BUF_INIT;
	int rc;

	header_origin(&a->lease.header, origin);
	rc = notify_add(a->worker->pg, a->worker->drivers, &ask, &ids, &a->err);
	if (rc == -EEXIST || rc == -EKEYREJECTED)
		rc = -EINVAL;
	if (rc == 0 && outcome_is_wanted(a)) {
		buf_reset(&a->result);
		buf_printf(&a->result, "{\"notifications\":%s}", buf_str(&ids));
	}
	buf_clear(&ids);
	return rc;
}

/* A report of one that nobody knew of: it was sent. */
static int clear_up(struct attempt *a, int64_t request)
{
	if (!request)
		return 0;
	log_event(LOG_INFO, "request_told", LI("request", request));
	return outbound_told(a->worker->redis, a->worker->pg, a->driver, request,
			     attempt_deadline_ms(a), &a->err);
}

/* A text or a number at the path; NULL: none. */
static const char *text_at(const struct hook *h, const char *path, struct buf *keep)
{
	const cJSON *v = path ? json_path(h->body, path) : NULL;

	return v && json_scalar_text(v, keep) && keep->len ? buf_str(keep) : NULL;
}

/* What the partner tells of a message that it took.  It may come before our own row says that it was taken. */
int event_delivery(struct hook *h)
{
	static const char *const words[] = { [DELIVERY_SENT] = "sent",
					     [DELIVERY_DELIVERED] = "delivered",
					     [DELIVERY_FAILED] = "failed" };
	struct attempt *a = h->a;
	struct buf id = BUF_INIT, ours = BUF_INIT, reason = BUF_INIT;
	struct notification_report r = { .integration_id = a->integration->id,
					 .external_id = text_at(h, h->e->id, &id),
					 .reference = h->e->reference
							      ? text_at(h, h->e->reference, &ours)
							      : h->row.external_id,
					 .delivery = words[h->e->delivery],
					 .reason = text_at(h, h->e->reason, &reason),
					 .at_us = h->row.happened_us ? h->row.happened_us
								     : h->row.received_us };
	int64_t unknown = 0;
	int rc;

	if (!r.external_id && !r.reference) {
		rc = hook_end(h, WEBHOOK_IGNORED, "it is of no request of ours");
	} else {
		rc = notification_told(a->worker->pg, &r, &unknown, &a->err);
		if (rc == 0)
			rc = clear_up(a, unknown);
		rc = rc == -ENOENT ? hook_wait(h, "nothing was sent by that name (yet)")
		     : rc < 0      ? rc
				   : hook_end(h, WEBHOOK_DONE, NULL);
	}
	buf_clear(&id);
	buf_clear(&ours);
	buf_clear(&reason);
	return rc;
}

int notify_may_send(struct attempt *a, int64_t request_id)
{
	struct notification_look look;
	int64_t id = 0;
	int rc;

	if (!json_int(a->job.tree, "notification", &id))
		return 0;
	rc = notification_look(a->worker->pg, id, request_id, &look, &a->err);
	if (rc < 0)
		return rc;
	if (look.went_on) {
		err_set(&a->err, -EREMOTEIO, ERR_CLIENT, "went on",
			"notification %lld went on by the next channel: sent now, it would be told twice",
			(long long)id);
		a->err.action = ACT_DEAD;
		return -EREMOTEIO;
	}
	return look.quiet_ms > 0 ? err_hold(&a->err, look.quiet_ms, "quiet hours",
					    "the company wants it quiet now")
				 : 0;
}
