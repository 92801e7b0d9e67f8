#include "drivers/kit/letter.h"

#include <string.h>

#include "common/base/card.h"
#include "common/base/crypto.h"
#include "common/base/secret.h"
#include "drivers/kit/event.h"

#define EVENT_TASK "process_webhook" /* common/queue/intake.h */

static void print(struct buf *out, const char *p, size_t len)
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

static void print_tree(struct buf *out, const cJSON *job, bool mask)
{
	struct buf text = BUF_INIT;

	json_print(job, &text);
	if (mask)
		card_mask(&text);
	print(out, buf_str(&text), text.len);
	secret_free_buf(&text);
}

/* Of any version of the driver: who prints it need not know which one the integration has. */
static const struct manifest *version_of(const struct manifest *m, int i)
{
	return i == 0 ? m : m->adapters[i - 1].manifest;
}

static bool is_action(const struct manifest *m, const char *task)
{
	bool is = false;

	for (int i = 0; i <= m->n_adapters; i++)
		is |= manifest_action(version_of(m, i), task) != NULL;
	return is;
}

static bool brings_credentials(const struct manifest *m, const char *event)
{
	bool brings = false;

	for (int i = 0; i <= m->n_adapters; i++) {
		const struct manifest_event *e = event_find(version_of(m, i), event);

		brings |= e && e->act == EVENT_CREDENTIALS_ROTATED;
	}
	return brings;
}

static void print_without_body(struct buf *out, const cJSON *job)
{
	cJSON *copy = cJSON_Duplicate(job, true);
	cJSON *body = cJSON_DetachItemFromObjectCaseSensitive(
		cJSON_GetObjectItemCaseSensitive(copy, "args"), "body");

	json_zero(body);
	cJSON_Delete(body);
	print_tree(out, copy, false);
	cJSON_Delete(copy);
}

void letter_payload_print(const struct driver *d, const cJSON *job, const char *p, size_t len,
			  struct buf *out)
{
	const char *task = job ? json_str(job, "task") : NULL,
		   *event = job ? json_str(job, "args.event") : NULL;
	bool acts = task && (strcmp(task, "notify") == 0 || (d && is_action(d->manifest, task)));

	if (task && d && event && strcmp(task, EVENT_TASK) == 0 &&
	    brings_credentials(d->manifest, event))
		print_without_body(out, job);
	else if (acts && card_is_in_json(job))
		print_tree(out, job, true); /* written anew, so that no escape hides a digit */
	else
		print(out, p, len);
}
