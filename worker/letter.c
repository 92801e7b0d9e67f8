/* The dead letter: everything a person needs to see why a job could not be done, and to run it again.  Secrets were removed
 * where they were seen; they are once more by value here. */
#include <string.h>

#include "common/base/config.h"
#include "common/base/secret.h"
#include "drivers/kit/letter.h"
#include "worker/settle.h"

static void text(struct buf *out, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(out, ",\"%s\":", key);
	json_quote(out, value, strlen(value));
}

static void number(struct buf *out, const char *key, int64_t n)
{
	buf_printf(out, ",\"%s\":", key);
	buf_putint(out, n);
}

void letter_print(const struct attempt *a, const char *id, int64_t failed_at_ms, struct buf *out)
{
	const struct lease *l = &a->lease;
	char origin[JOB_ID_MAX];

	header_origin(&l->header, origin);
	buf_puts(out, "{\"id\":");
	json_quote(out, id, strlen(id));
	text(out, "job", a->job_id);
	text(out, "header", strcmp(a->job_id, l->header.id) ? l->header.id : NULL);
	text(out, "origin", origin);
	text(out, "queue", queue_partner(l->queue));
	text(out, "lane", lane_name(l->lane));
	number(out, "integration_id",
	       a->job.integration_id ? a->job.integration_id : l->integration);
	text(out, "task", a->job.task);
	text(out, "class", err_class_name(a->err.class));
	text(out, "rule", a->err.rule);
	text(out, "action", err_action_name(a->err.action));
	text(out, "where", a->err.where);
	text(out, "error", a->err.text);
	number(out, "attempts", l->header.attempts + 1);
	number(out, "crashes", l->header.crashes);
	number(out, "first_seen", l->header.born_ms);
	number(out, "failed_at", failed_at_ms);
	text(out, "worker", a->worker->epoch);
	text(out, "version", LONGSHORE_VERSION);
	if (a->exchange.len) {
		buf_puts(out, ",\"exchange\":");
		buf_append(out, a->exchange.data, a->exchange.len);
	}
	secret_redact(out);
	letter_payload_print(a->driver, a->job.tree, l->payload, l->payload_len, out);
	buf_putc(out, '}');
}
