/* What an event of a webhook says: whom it is about, where its item stands, what of it may be kept. */
#include "drivers/kit/event.h"

#include <errno.h>
#include <unistd.h>

#include "drivers/kit/letter.h"
#include "drivers/kit/sealed_body.h"
#include "drivers/kit/webhook.h"
#include "tests/unit/manifests.h"

static const char text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example\"}},"
	"\"collections\": {\"guests\": {\"get\": \"/g\", \"id\": \"_id\", \"id_prefix\": \"g-\", \"table\": \"resources\","
	" \"map\": {\"name\": \"name\"}, \"personal\": [\"name\", \"contact\"], \"detail\": {\"get\": \"/g/{id}\"}}},"
	"\"webhooks\": {\"verify\": \"github\", \"event\": \"type\", \"events\": {"
	"\"deep\": {\"collection\": \"guests\", \"id\": \"data.guest._id|guestId\", \"do\": \"upsert\"},"
	"\"flat\": {\"collection\": \"guests\", \"id\": \"_id\"},"
	"\"said\": {\"collection\": \"guests\", \"id\": \"ref\", \"item\": \"new\", \"do\": \"upsert\"},"
	"\"keys\": {\"do\": \"credentials_rotated\", \"credentials\": {\"api_key\": \"k.v\", \"api_user\": \"k.u\"}}}}}";

static cJSON *json(const char *s)
{
	cJSON *tree = NULL;

	assert_int_equal(json_parse(s, strlen(s), 1 << 20, &tree, NULL), 0);
	return tree;
}

static struct manifest *whole(void)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(text, &problems);

	if (!m)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

static void whom_and_where(void **state)
{
	static const struct {
		const char *event, *body, *id, *item; /* item: its name; NULL: none is found */
	} cases[] = {
		{ "deep", "{\"data\": {\"guest\": {\"_id\": 7, \"name\": \"A\"}}}", "7", "A" },
		{ "deep", "{\"guestId\": \"x\"}", "x", NULL },
		{ "deep", "{\"data\": {\"guest\": \"x\"}}", NULL, NULL },
		{ "flat", "{\"_id\": \"f\", \"name\": \"B\"}", "f", "B" },
		{ "said", "{\"ref\": \"s\", \"new\": {\"name\": \"C\"}}", "s", "C" },
		{ "said", "{\"ref\": {\"a\": 1}, \"new\": [1]}", NULL, NULL },
		{ "flat", "[1]", NULL, NULL },
		{ "flat", "{\"_id\": \"\"}", NULL, NULL },
	};
	struct manifest *m = whole();

	assert_null(event_find(m, "other"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct manifest_event *e = event_find(m, cases[i].event);
		cJSON *body = json(cases[i].body);
		struct buf id = BUF_INIT;
		const cJSON *item;

		assert_int_equal(event_id(e, body, &id), cases[i].id != NULL);
		if (cases[i].id)
			assert_string_equal(buf_str(&id), cases[i].id);
		item = event_item(e, m->collections, body);
		if (cases[i].item)
			assert_string_equal(json_str(item, "name"), cases[i].item);
		else
			assert_true(!item || !json_str(item, "name"));
		buf_clear(&id);
		cJSON_Delete(body);
	}
	manifest_free(m);
}

static void whom_its_job_names(void **state)
{
	static const struct {
		const char *args, *id;
	} cases[] = {
		{ "{\"body\": {\"_id\": \"f\"}, \"external_id\": \"said\", \"row_id\": \"g-r\"}",
		  "said" },
		{ "{\"body\": {\"_id\": \"f\"}, \"row_id\": \"g-r\"}", "f" },
		{ "{\"body\": {}, \"row_id\": \"g-r\"}", "r" },
		{ "{\"body\": {\"_id\": \"\"}, \"row_id\": \"g-r\"}", "r" },
		{ "{\"body\": {}, \"row_id\": \"g-\"}", NULL },
		{ "{\"body\": {}, \"row_id\": \"x-r\"}", NULL },
		{ "{\"external_id\": \"\"}", NULL },
	};
	struct manifest *m = whole();
	const struct manifest_event *e = event_find(m, "flat");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cJSON *args = json(cases[i].args);
		struct buf id = BUF_INIT;

		assert_int_equal(event_id_of_job(e, m->collections, args, &id),
				 cases[i].id != NULL);
		if (cases[i].id)
			assert_string_equal(buf_str(&id), cases[i].id);
		buf_clear(&id);
		cJSON_Delete(args);
	}
	manifest_free(m);
}

static void a_clock_ahead_shuts_nothing_out(void **state)
{
	const int64_t now = 1700000000000000, minute = 60000000, day = 1440 * minute;
	struct manifest *m = whole();
	const struct manifest_collection *c = m->collections;
	struct manifest_collection unread = *c;

	unread.detail = NULL;
	assert_int_equal(event_happened_us(c, now - day, now), now - day);
	assert_int_equal(event_happened_us(c, now + 5 * minute, now), now + 5 * minute);
	assert_int_equal(event_happened_us(c, now + 6 * minute, now), 0);
	assert_int_equal(event_happened_us(NULL, now + 6 * minute, now), 0);
	assert_int_equal(event_happened_us(c, 0, now), 0);
	assert_int_equal(event_happened_us(&unread, now + 14 * 60 * minute, now),
			 now + 14 * 60 * minute);
	assert_int_equal(event_happened_us(&unread, now + day + 1, now), now);
	assert_int_equal(event_happened_us(&unread, INT64_MAX, now), now);
	manifest_free(m);
}

static void nothing_personal_is_kept(void **state)
{
	static const char *const bodies[][2] = {
		{ "deep",
		  "{\"data\": {\"guest\": {\"_id\": \"7\", \"name\": \"Ada\", \"contact\": {\"mail\": \"ada@x.example\"}}}}" },
		{ NULL,
		  "{\"type\": \"new\", \"name\": \"Ada\", \"thing\": {\"contact\": [\"ada@x.example\"], \"name\": \"Ada\"}}" },
	};
	struct manifest *m = whole();

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		const struct manifest_event *e = bodies[i][0] ? event_find(m, bodies[i][0]) : NULL;
		cJSON *body = json(bodies[i][1]), *masked = event_masked(m, e, body);
		struct buf out = BUF_INIT;

		json_print(masked, &out);
		assert_null(strstr(out.data, "Ada"));
		assert_null(strstr(out.data, "ada@"));
		assert_non_null(strstr(out.data, "Xxx"));
		buf_reset(&out);
		json_print(body, &out);
		assert_non_null(strstr(out.data, "Ada")); /* which is what is worked with */
		buf_clear(&out);
		cJSON_Delete(masked);
		cJSON_Delete(body);
	}
	manifest_free(m);
}

static void credentials_are_put_together(void **state)
{
	struct manifest *m = whole();
	const struct manifest_event *e = event_find(m, "keys");
	cJSON *body = json("{\"k\": {\"v\": \"new-key-1\", \"u\": 12}}"),
	      *lacking = json("{\"k\": {\"v\": \"new-key-1\"}}"), *made;
	struct secret old = SECRET_INIT, out = SECRET_INIT;
	struct err err = { 0 };

	secret_set(&old, "{\"api_key\":\"old-key-1\",\"host\":\"h\"}", 34);
	assert_int_equal(event_credentials(e, body, &old, &out, &err), 0);
	made = json(secret_reveal(&out));
	assert_string_equal(json_str(made, "api_key"), "new-key-1");
	assert_string_equal(json_str(made, "api_user"), "12");
	assert_string_equal(json_str(made, "host"), "h");
	cJSON_Delete(made);
	secret_clear(&out);
	assert_int_equal(event_credentials(e, lacking, &old, &out, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "no \"api_user\" at k.u"));
	assert_null(strstr(err.text, "new-key"));
	assert_int_equal(out.len, 0);
	secret_clear(&old);
	cJSON_Delete(body);
	cJSON_Delete(lacking);
	manifest_free(m);
}

/* What died of it is kept for a replay, byte for byte, but not what it brings. */
static void letters_hold_no_credentials(void **state)
{
#define JOB(event)                                                       \
	"{\"task\": \"process_webhook\", \"args\": {\"event\": \"" event \
	"\", \"body\": {\"k\": {\"v\": \"new-key-1\"}}, \"sealed\": \"v1.a.AAAA\", \"event_id\": \"e1\"}}"
	static const char *const jobs[] = { JOB("keys"), JOB("flat"), JOB("unknown") };
#undef JOB
	struct manifest *m = whole();
	const struct driver d = { .manifest = m };

	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		cJSON *job = json(jobs[i]), *letter;
		struct buf out = BUF_INIT;

		buf_puts(&out, "{\"id\":1");
		letter_payload_print(&d, job, jobs[i], strlen(jobs[i]), &out);
		buf_putc(&out, '}');
		letter = json(buf_str(&out));
		if (i > 0) {
			assert_string_equal(json_str(letter, "payload"), jobs[i]);
		} else {
			assert_null(strstr(buf_str(&out), "new-key-1"));
			assert_null(strstr(buf_str(&out), "v1.a."));
			assert_non_null(strstr(json_str(letter, "payload"), "\"event_id\":\"e1\""));
		}
		cJSON_Delete(letter);
		cJSON_Delete(job);
		buf_clear(&out);
	}
	manifest_free(m);
}

/* Keys of 32 bytes of one letter each, the first of them the one that seals. */
static struct keyring *keys(const char *letters)
{
	char path[] = "/tmp/test_event.XXXXXX", raw[32];
	struct keyring *k = NULL;
	struct buf lines = BUF_INIT;
	int fd = mkstemp(path);

	for (const char *c = letters; *c; c++) {
		memset(raw, *c, sizeof(raw));
		buf_printf(&lines, "%c ", *c);
		base64_encode(&lines, raw, sizeof(raw));
		buf_putc(&lines, '\n');
	}
	assert_int_equal(write(fd, lines.data, lines.len), lines.len);
	close(fd);
	assert_int_equal(keyring_load(path, &k, NULL), 0);
	unlink(path);
	buf_clear(&lines);
	return k;
}

static void check_open(const char *letters, const cJSON *args, int64_t integration, int want)
{
	struct keyring *k = *letters ? keys(letters) : NULL;
	cJSON *body = NULL;

	assert_int_equal(body_unseal(k, args, integration, &body), want);
	assert_int_equal(body != NULL, want == 0);
	if (body)
		assert_string_equal(json_str(body, "k.v"), "new-key-1");
	json_zero(body);
	cJSON_Delete(body);
	keyring_free(k);
}

/* The job of the only event of `body`. */
static int print_job(const struct keyring *k, const char *body, bool believed, struct buf *out)
{
	const struct hook_values none = { 0 };
	struct manifest *m = whole();
	struct webhook_delivery d;
	struct err err = { 0 };
	char hash[INTAKE_HASH_CHARS + 1];
	int rc;

	buf_reset(out);
	assert_int_equal(webhook_read(m, NULL, body, strlen(body), &d, &err), 0);
	assert_int_equal(webhook_split(m, &none, NULL, NULL, &d, &err), 0);
	assert_int_equal(d.n, 1);
	webhook_hash(&d.v[0], 7, hash);
	rc = webhook_job(&d.v[0], k, 7, hash, 1, believed, out);
	webhook_clear(&d);
	manifest_free(m);
	return rc;
}

/* What brings credentials lies in its job under seal, and opens for that event of that integration alone, whatever key is the first. */
static void jobs_hold_no_credentials(void **state)
{
	static const char event[] = "{\"type\": \"keys\", \"k\": {\"v\": \"new-key-1\"}}";
	struct keyring *k = keys("a");
	struct buf out = BUF_INIT;
	cJSON *job, *args;

	assert_int_equal(print_job(NULL, event, true, &out), -ENOKEY);
	assert_int_equal(print_job(NULL, event, false, &out), 0); /* nothing of it is believed */
	assert_null(strstr(buf_str(&out), "new-key"));
	assert_int_equal(print_job(NULL, "{\"type\": \"flat\", \"_id\": \"x\"}", true, &out), 0);
	assert_non_null(strstr(buf_str(&out), "\"body\":{\"type\""));
	assert_int_equal(print_job(k, event, true, &out), 0);
	assert_null(strstr(buf_str(&out), "new-key"));
	job = json(buf_str(&out));
	args = cJSON_GetObjectItemCaseSensitive(job, "args");
	check_open("a", args, 7, 0);
	check_open("ba", args, 7, 0);
	check_open("b", args, 7, -ENOKEY);
	check_open("", args, 7, -ENOKEY);
	check_open("a", args, 8, -EBADMSG);
	cJSON_ReplaceItemInObjectCaseSensitive(args, "event_id", cJSON_CreateString("e2"));
	check_open("a", args, 7, -EBADMSG);
	cJSON_Delete(job);
	buf_clear(&out);
	keyring_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whom_and_where),
		cmocka_unit_test(whom_its_job_names),
		cmocka_unit_test(a_clock_ahead_shuts_nothing_out),
		cmocka_unit_test(nothing_personal_is_kept),
		cmocka_unit_test(credentials_are_put_together),
		cmocka_unit_test(letters_hold_no_credentials),
		cmocka_unit_test(jobs_hold_no_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
