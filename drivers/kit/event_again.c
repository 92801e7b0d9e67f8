#include "drivers/kit/event_again.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/queue/intake.h"

#define ONCE_MS 600000

static void text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "\"%s\":", key);
	json_quote(out, value, strlen(value));
	buf_putc(out, ',');
}

/* As the way in makes it (common/queue/intake.h). */
static void print_job(const struct webhook_event *e, struct buf *out)
{
	buf_printf(out, "{\"task\":\"" INTAKE_TASK "\",\"integration_id\":%lld,",
		   (long long)e->integration_id);
	if (e->job_id)
		text(out, "id", e->job_id);
	buf_puts(out, "\"args\":{");
	text(out, "event", e->event);
	text(out, "event_id", e->event_id);
	buf_printf(out, "\"received_us\":%lld,", (long long)e->received_us);
	if (e->external_id)
		text(out, "row_id", e->external_id);
	if (e->happened_us)
		buf_printf(out, "\"happened_us\":%lld,", (long long)e->happened_us);
	buf_printf(out, "\"believed\":%s,\"body\":", e->believed ? "true" : "false");
	buf_puts(out, e->body);
	buf_puts(out, "}}");
}

/* Of the same event in the same state the same. */
static void name_job(const struct webhook_seen *v, char out[JOB_ID_MAX])
{
	struct buf what = BUF_INIT;
	char hex[41];

	buf_printf(&what, "%lld %lld %lld %s", (long long)v->e.integration_id,
		   (long long)v->e.generation, (long long)v->attempts, v->e.event_id);
	crypto_sha1_hex(what.data, what.len, hex);
	snprintf(out, JOB_ID_MAX, "wha-%s", hex);
	buf_clear(&what);
}

int event_again(struct queue *q, struct pg *pg, const struct webhook_seen *v, const char *reason,
		int64_t deadline_ms, struct err *err)
{
	struct buf payload = BUF_INIT;
	bool auth = v->e.action && (strcmp(v->e.action, "auth_revoked") == 0 ||
				    strcmp(v->e.action, "credentials_rotated") == 0);
	char name[JOB_ID_MAX];
	bool fresh = false;
	int rc;

	if (!v->e.body)
		return err_set(err, -ENODATA, ERR_CLIENT, "webhook",
			       "event %.80s brought credentials, and was not kept", v->e.event_id);
	print_job(&v->e, &payload);
	name_job(v, name);
	struct queue_push push = { .lane = auth ? LANE_HIGH : LANE_NORMAL,
				   .integration = v->e.integration_id,
				   .id = name,
				   .payload = payload.data,
				   .len = payload.len };
	rc = queue_enqueue_once(q, &push, ONCE_MS, &fresh, deadline_ms, err);
	if (rc == 0)
		rc = webhook_queued_again(pg, v->e.integration_id, v->e.event_id, v->attempts,
					  reason, err);
	buf_clear(&payload);
	return rc < 0 ? rc : !fresh;
}
