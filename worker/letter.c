/* The dead letter: everything a person needs to see why a job could not be done, and to run it again.  Secrets were removed
 * where they were seen; they are once more by value here. */
#include <string.h>

#include "common/base/card.h"
#include "common/base/config.h"
#include "common/base/crypto.h"
#include "common/base/secret.h"
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

/* As it was pushed: text where it is text, else base64, so that nothing is lost. */
static void payload(struct buf *out, const char *p, size_t len)
{
	if (utf8_is_valid(p, len) && !memchr(p, '\0', len)) {
		buf_puts(out, ",\"payload\":");
		json_quote(out, p, len);
		return;
	}
	buf_puts(out, ",\"payload_base64\":\"");
	base64_encode(out, p, len);
	buf_puts(out, "\"");
}

/* Written anew where it reads: an exponent may hide digits. */
static void masked(const struct attempt *a, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (a->job.tree)
		json_print(a->job.tree, &text);
	else
		buf_append(&text, a->lease.payload, a->lease.payload_len);
	card_mask(&text);
	payload(out, buf_str(&text), text.len);
	secret_free_buf(&text);
}

void letter_print(const struct attempt *a, const char *id, int64_t failed_at_ms, struct buf *out)
{
	const struct lease *l = &a->lease;
	char origin[JOB_ID_MAX];

	header_origin(&l->header, origin);
	buf_puts(out, "{\"id\":");
	json_quote(out, id, strlen(id));
	text(out, "job", a->job_id);
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
	if (a->card)
		masked(a, out);
	else
		payload(out, l->payload, l->payload_len);
	buf_putc(out, '}');
}
