/* What the worker makes of an event: a job's args with a body as any partner, or whoever pushes jobs, may send it.  The first byte says which
 * event it is of, the rest is the args.  Whatever they say: an id is a text, an item is an object in the body, what is kept of it is JSON
 * without what is personal, credentials are an object, and no time lies far ahead of its arrival. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/event.h"
#include "drivers/kit/map.h"

#define BYTES_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static const struct manifest *manifest(void)
{
	static const char text[] =
		"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}},"
		"\"collections\": {"
		"\"guests\": {\"get\": \"/g\", \"id\": \"_id\", \"id_prefix\": \"g-\", \"table\": \"resources\", \"updated_at\": \"at\","
		" \"map\": {\"name\": \"name\"}, \"personal\": [\"name\", \"contact.mail\"], \"detail\": {\"get\": \"/g/{id}\"}},"
		"\"stays\": {\"get\": \"/s\", \"id\": \"id\", \"table\": \"transactions\", \"map\": {\"starts_on\": \"from\"}}},"
		"\"webhooks\": {\"verify\": \"github\", \"event\": \"type\", \"events\": {"
		"\"deep\": {\"collection\": \"guests\", \"id\": \"data.guest._id|guestId\", \"do\": \"upsert\"},"
		"\"flat\": {\"collection\": \"stays\", \"id\": \"id\", \"do\": \"delete\"},"
		"\"said\": {\"collection\": \"guests\", \"id\": \"ref\", \"item\": \"new\", \"do\": \"upsert\"},"
		"\"keys\": {\"do\": \"credentials_rotated\", \"credentials\": {\"api_key\": \"k.v\", \"api_user\": \"k.u\"}},"
		"\"none\": {\"do\": \"ignore\"}}}}";
	static struct manifest *m;
	struct buf problems = BUF_INIT;

	if (!m)
		need(manifest_parse("m", text, sizeof(text) - 1, &m, &problems) == 0);
	buf_clear(&problems);
	return m;
}

static void check_times(const struct manifest_collection *c, const cJSON *args)
{
	int64_t received = 0, said = 0, us;

	if (!json_int(args, "received_us", &received) || received <= 0 ||
	    !json_int(args, "happened_us", &said) || said < 0)
		return;
	us = event_happened_us(c, said, received);
	need(us >= 0 && (us == said || us == 0 || us == received));
	need(us - received <= 24 * 3600 * 1000000LL);
}

static void check_kept(const struct manifest *m, const struct manifest_event *e, const cJSON *body)
{
	cJSON *masked = event_masked(m, e, body), *again = NULL;
	struct buf text = BUF_INIT;

	json_print(masked, &text);
	need(json_parse(text.data, text.len, 2 * BYTES_MAX, &again, NULL) == 0);
	cJSON_Delete(again);
	cJSON_Delete(masked);
	buf_clear(&text);
}

/* As the worker would have it in a row. */
static void check_item(const struct manifest *m, const struct manifest_event *e,
		       const struct manifest_collection *c, const cJSON *body)
{
	const cJSON *item = event_item(e, c, body);
	struct map_context x = { .manifest = m,
				 .collection = c,
				 .integration_id = 7,
				 .observed_us = 1,
				 .arena = arena_new() };
	struct row *row = arena_alloc(x.arena, sizeof(*row));
	struct err err = { 0 };

	if (item) {
		need(cJSON_IsObject(item));
		if (map_item(&x, item, row, &err) == 0)
			need(row->external_id && *row->external_id);
	}
	arena_free(x.arena);
}

static void check_credentials(const struct manifest_event *e, const cJSON *body)
{
	struct secret old = SECRET_INIT, out = SECRET_INIT;
	struct err err = { 0 };
	cJSON *made = NULL;

	secret_set(&old, "{\"api_key\":\"old\",\"host\":\"h\"}", 28);
	if (event_credentials(e, body, &old, &out, &err) == 0) {
		need(json_parse(secret_reveal(&out), out.len, 2 * BYTES_MAX, &made, NULL) == 0);
		need(json_str(made, "api_key") && *json_str(made, "api_user") &&
		     strcmp(json_str(made, "host"), "h") == 0);
		cJSON_Delete(made);
	} else {
		need(out.len == 0 && err.class == ERR_DATA);
	}
	secret_clear(&out);
	secret_clear(&old);
}

static void check_event(const struct manifest *m, const struct manifest_event *e, const cJSON *args)
{
	const cJSON *body = json_path(args, "body");
	const struct manifest_collection *c =
		e->collection ? manifest_collection(m, e->collection) : NULL;
	struct buf id = BUF_INIT;

	check_times(c, args);
	if (c && event_id_of_job(e, c, args, &id))
		need(id.len > 0 && strlen(buf_str(&id)) == id.len);
	buf_clear(&id);
	if (!body)
		return;
	if (c)
		check_item(m, e, c, body);
	if (e->act == EVENT_CREDENTIALS_ROTATED)
		check_credentials(e, body);
	else
		check_kept(m, e, body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct manifest *m = manifest();
	cJSON *args = NULL;

	if (size < 1 || json_parse((const char *)data + 1, size - 1, BYTES_MAX, &args, NULL) < 0)
		return 0;
	check_event(m, &m->webhooks.events[data[0] % m->webhooks.n_events], args);
	check_kept(m, NULL, args);
	cJSON_Delete(args);
	return 0;
}
