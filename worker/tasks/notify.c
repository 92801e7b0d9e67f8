/* notify: {"company_id", "template", "to", "values"} becomes a row for each recipient; schedulers see to the rest (drivers/kit/notify.h),
 * an outbound request for each attempt.  And what a request that is such an attempt heeds beside its deadline: quiet hours. */
#include "drivers/kit/notify.h"

#include <errno.h>

#include "worker/outcome.h"
#include "worker/settle.h"
#include "worker/tasks/flow.h"
#include "worker/tasks/tasks.h"

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

int notify_is_quiet(struct attempt *a)
{
	int64_t id = 0, ms = 0;
	int rc;

	if (!json_int(a->job.tree, "notification", &id))
		return 0;
	rc = notification_quiet_ms(a->worker->pg, id, &ms, &a->err);
	if (rc < 0 || ms <= 0)
		return rc;
	a->err.retry_after_ms = ms;
	err_set(&a->err, -EAGAIN, ERR_HOLD, "quiet hours", "the company wants it quiet now");
	a->err.retry_after_ms = ms;
	return -EAGAIN;
}
