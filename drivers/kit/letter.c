#include "drivers/kit/letter.h"

#include <string.h>

#include "common/base/card.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
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

bool letter_hides_cards(const char *task)
{
	static const char *const of_numbers[] = { "import_all_resources",
						  "import_company_resources",
						  "import_resources",
						  "import_resource",
						  "import_transactions",
						  "import_media",
						  EVENT_TASK };

	for (size_t i = 0; task && i < ARRAY_LEN(of_numbers); i++)
		if (strcmp(task, of_numbers[i]) == 0)
			return false;
	return true;
}

static void print_masked(struct buf *out, const char *p, size_t len)
{
	struct buf text = BUF_INIT;

	buf_append(&text, p, len);
	card_mask(&text);
	print(out, buf_str(&text), text.len);
	secret_free_buf(&text);
}

static void print_tree(struct buf *out, const cJSON *job, bool mask)
{
	struct buf text = BUF_INIT;

	json_print(job, &text);
	if (mask)
		print_masked(out, buf_str(&text), text.len);
	else
		print(out, buf_str(&text), text.len);
	secret_free_buf(&text);
}

/* Nor what was sealed of it. */
static void print_without_body(struct buf *out, const cJSON *job)
{
	cJSON *copy = cJSON_Duplicate(job, true);
	cJSON *args = cJSON_GetObjectItemCaseSensitive(copy, "args");
	cJSON *body = cJSON_DetachItemFromObjectCaseSensitive(args, "body");

	json_zero(body);
	cJSON_Delete(body);
	cJSON_DeleteItemFromObjectCaseSensitive(args, "sealed");
	print_tree(out, copy, false);
	cJSON_Delete(copy);
}

void letter_payload_print(const struct driver *d, const cJSON *job, const char *p, size_t len,
			  struct buf *out)
{
	const char *task = job ? json_str(job, "task") : NULL,
		   *event = job ? json_str(job, "args.event") : NULL;
	bool hides = letter_hides_cards(task);

	if (task && d && event && strcmp(task, EVENT_TASK) == 0 &&
	    event_brings_credentials(d->manifest, event))
		print_without_body(out, job);
	else if (hides && job && card_is_in_json(job))
		print_tree(out, job, true); /* written anew: an exponent may hide digits */
	else if (hides && !job && card_is_in(p, len))
		print_masked(out, p, len);
	else
		print(out, p, len);
}
