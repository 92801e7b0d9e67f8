/* The seven hooks of tests/drivers/hooked, each where it is really called: through the door, a redis-server, a partner in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>

#include "common/base/secret.h"
#include "drivers/kit/hooks.h"
#include "drivers/kit/paginate.h"
#include "drivers/kit/scenario.h"
#include "drivers/kit/tape.h"
#include "tests/unit/partner.h"

#define ID 31
#define SECRET_KEY "the-very-long-key-of-hooked"

static struct driver *hooked;
static char signatures[8][100];

/* ---- the partner's side ---- */

static void hex_of(const char *text, char out[2 * SHA256_BYTES + 1])
{
	uint8_t sum[SHA256_BYTES];

	crypto_sha256(text, strlen(text), sum);
	crypto_hex(sum, sizeof(sum), out);
}

static bool signature_is_right(struct httpd_request *q, const char *body)
{
	char wanted[2 * SHA256_BYTES + 1], query[400];
	const char *nonce = httpd_header(q, "X-Nonce"), *said = httpd_header(q, "X-Signature");
	char *at, *text;
	bool right;

	snprintf(query, sizeof(query), "%s", httpd_raw_query(q));
	at = strstr(query, "at=");
	if (!nonce || !said || !at)
		return false;
	at[at > query ? -1 : 0] = '\0'; /* it was signed without that */
	text = mem_printf("%s:%s %s%s%s%s %s %s", SECRET_KEY, httpd_method(q), partner.root,
			  httpd_path(q), *query ? "?" : "", query, nonce, body);
	hex_of(text, wanted);
	right = strcmp(wanted, said) == 0;
	free(text);
	return right;
}

static void answer_session(struct httpd_request *q, const char *body)
{
	char proof[2 * SHA256_BYTES + 1], wanted[200];

	hex_of(SECRET_KEY ":pepper", proof);
	snprintf(wanted, sizeof(wanted), "{\"user\":\"u7\",\"proof\":\"%s\"}", proof);
	if (strcmp(httpd_path(q), "/v1/challenge") == 0)
		reply_json(q, 200, "{\"salt\":\"pepper\"}");
	else if (strcmp(body, wanted) == 0)
		reply_json(q, 200, "{\"session\":\"session-0123456789\"}");
	else
		reply_json(q, 401, "{}");
}

static void answer_things(struct httpd_request *q)
{
	static const char first[] = "1;Loft;1250\n2;Barn;secret\n", second[] = "3;Mill;7\n";
	const char *after = httpd_query(q, "after");

	if (!after)
		httpd_add_header(q, "X-Next", "next=2");
	else
		OK(strcmp(after, "2") == 0);
	httpd_reply(q, 200, "text/plain", after ? second : first,
		    after ? sizeof(second) - 1 : sizeof(first) - 1);
}

static bool task_is_there;

static void answer_task(struct httpd_request *q, const char *body)
{
	OK(strcmp(httpd_query(q, "key") ? httpd_query(q, "key") : "k1", "k1") == 0);
	if (strcmp(httpd_method(q), "GET") == 0) {
		reply_json(q, task_is_there ? 200 : 404, task_is_there ? "{\"id\":\"t9\"}" : "{}");
		return;
	}
	OK(strcmp(body, "{\"status\":\"clean\"}") == 0);
	OK(strcmp(httpd_header(q, "Idempotency-Key"), "k1") == 0);
	reply_json(q, 201, "{\"id\":\"t1\"}");
}

static void answer(struct httpd_request *q, int number)
{
	const struct arrival *a = &partner.arrivals[number - 1];

	if (strcmp(a->path, "/v1/challenge") == 0 || strcmp(a->path, "/v1/session") == 0) {
		OK(!httpd_header(q, "X-Signature"));
		answer_session(q, a->body);
		return;
	}
	OK(strcmp(a->auth, "Bearer session-0123456789") == 0);
	OK(signature_is_right(q, a->body));
	keep(signatures[number % 8], sizeof(signatures[0]), httpd_header(q, "X-Nonce"));
	if (strcmp(a->path, "/v1/tasks") == 0)
		answer_task(q, a->body);
	else
		answer_things(q);
}

/* ---- our side ---- */

static void store_credential(void)
{
	static const char json[] = "{\"user_id\":\"u7\",\"key\":\"" SECRET_KEY "\"}";
	struct buf sealed = BUF_INIT;
	char context[40], key[40];

	snprintf(context, sizeof(context), "credential:%d", ID);
	snprintf(key, sizeof(key), "cred:{hooked}:%d", ID);
	OK(crypto_seal(keyring, context, json, strlen(json), &sealed) == 0);
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "SET", key, sealed.data,
		       NULL) == 0);
	buf_clear(&sealed);
}

static void open_hooked(struct bench *b, struct tape *tape)
{
	struct door_options o = { .redis = redis,
				  .keyring = keyring,
				  .epoch = "test-1",
				  .permit_wait_ms = 5000,
				  .tape = tape };

	memset(b, 0, sizeof(*b));
	partner.answer = answer;
	store_credential();
	b->integration = (struct integration){ .id = ID,
					       .partner = (char *)"hooked",
					       .environment = (char *)"production",
					       .status = (char *)"active" };
	b->integration.base_url = mem_printf("%s/v1", partner.root);
	b->integration.settings = cJSON_CreateObject();
	b->door = door_new(&o);
	b->caller = (struct caller){ .door = b->door,
				     .driver = hooked,
				     .integration = &b->integration };
}

/* A setting that is not set is what the manifest says of it. */
static void test_settings(void **state)
{
	cJSON *wide = cJSON_CreateString("wide"), *set = cJSON_Parse("{\"size\":7}");
	const struct manifest_setting typed = { .name = "shape", .fallback = wide };
	const struct manifest m = { .typed = &typed, .n_typed = 1 };
	const struct integration i = { .settings = set };
	struct hook_settings s = { &m, &i, arena_new() };
	struct hook_values v = hook_settings_of(&s);

	assert_string_equal(hook_value(&v, "size"), "7");
	assert_string_equal(hook_value(&v, "shape"), "wide");
	assert_null(hook_value(&v, "color"));
	cJSON_AddStringToObject(set, "shape", "narrow");
	assert_string_equal(hook_value(&v, "shape"), "narrow");
	arena_free(s.arena);
	cJSON_Delete(wide);
	cJSON_Delete(set);
}

static cJSON *scan_things(struct bench *b)
{
	const struct scenario s = { .collection = &hooked->manifest->collections[0] };
	struct err err = { 0 };
	cJSON *rows = NULL;

	if (scenario_run(&b->caller, &s, &rows, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	OK(rows != NULL);
	return rows;
}

static void rows_are(const cJSON *rows)
{
	struct buf text = BUF_INIT;

	json_print(rows, &text);
	OK(strcmp(buf_str(&text),
		  "{\"rows\":[{\"collection\":\"things\",\"table\":\"resources\",\"external_id\":\"1\",\"name\":\"The Loft\","
		  "\"internal_name\":\"Loft\",\"price_minor\":1250},{\"collection\":\"things\",\"table\":\"resources\","
		  "\"external_id\":\"3\",\"name\":\"The Mill\",\"internal_name\":\"Mill\",\"price_minor\":7}],"
		  "\"set_aside\":[{\"collection\":\"things\",\"external_id\":\"2\",\"field\":\"price_minor\","
		  "\"reason\":\"price_minor: its price is not told\"}],\"pages\":2,\"complete\":true}") ==
	   0);
	buf_clear(&text);
}

/* login, sign_request, decode_body, next_page, adapt_item. */
static void scan(void)
{
	struct bench b;
	cJSON *rows;

	open_hooked(&b, NULL);
	rows = scan_things(&b);
	rows_are(rows);
	OK(partner.n == 4); /* a challenge, a session, two pages */
	OK(strlen(signatures[3]) == 32 && strcmp(signatures[3], signatures[4]) != 0);
	cJSON_Delete(rows);
	bench_close(&b);
}

static void test_scan(void **state)
{
	assert_int_equal(on_loop(scan), 0);
}

/* What a hook asks is recorded without its secrets, and a replay needs neither login nor signature. */
static void taped(void)
{
	struct tape *tape = tape_recording(1000000), *again;
	struct buf text = BUF_INIT;
	struct bench b;
	cJSON *rows, *kept, *auth;

	open_hooked(&b, tape);
	rows = scan_things(&b);
	cJSON_Delete(rows);
	kept = tape_take(tape, false);
	auth = tape_take(tape, true);
	OK(cJSON_GetArraySize(kept) == 2 && cJSON_GetArraySize(auth) == 2);
	json_print(kept, &text);
	json_print(auth, &text);
	secret_redact(&text);
	OK(!strstr(text.data, SECRET_KEY) && !strstr(text.data, "session-01") &&
	   !strstr(text.data, "X-Signature"));
	door_free(b.door);
	again = tape_replaying(kept, 1000000);
	b.door = door_new(&(struct door_options){ .epoch = "replay", .tape = again });
	b.caller.door = b.door;
	partner.n = 0;
	rows = scan_things(&b);
	rows_are(rows);
	OK(partner.n == 0);
	cJSON_Delete(rows);
	cJSON_Delete(kept);
	cJSON_Delete(auth);
	buf_clear(&text);
	bench_close(&b);
	tape_free(again);
	tape_free(tape);
}

static void test_taped(void **state)
{
	assert_int_equal(on_loop(taped), 0);
}

static void act(bool there, const char *wanted)
{
	struct arena *a = arena_new();
	struct bench b;
	cJSON *in = cJSON_Parse("{\"status\":\"clean\"}");
	const cJSON *result = NULL;
	struct buf text = BUF_INIT;
	struct err err = { 0 };

	open_hooked(&b, NULL);
	task_is_there = there;
	OK(hook_run_action(&b.caller, "push_status", in, "k1", a, &result, &err) == 0);
	json_print(result, &text);
	OK(strcmp(buf_str(&text), wanted) == 0);
	OK(hook_run_action(&b.caller, "dance", in, "k1", a, &result, &err) == -EINVAL &&
	   strstr(err.text, "no action dance"));
	buf_clear(&text);
	cJSON_Delete(in);
	bench_close(&b);
	arena_free(a);
}

static void actions(void)
{
	act(true, "{\"task_id\":\"t9\",\"how\":\"found\"}");
	act(false, "{\"task_id\":\"t1\",\"how\":\"made\"}");
}

static void test_actions(void **state)
{
	assert_int_equal(on_loop(actions), 0);
}

/* ---- webhooks: no call, no loop ---- */

static const char *header_value(const char *name, void *arg)
{
	return strcmp(name, "x-proof") == 0 ? arg : NULL;
}

static const char *key_value(const char *name, void *arg)
{
	return strcmp(name, "key") == 0 ? SECRET_KEY : NULL;
}

static int verify(const char *body, char *proof, struct hook_event *out, struct err *err)
{
	struct arena *a = arena_new();
	cJSON *json = cJSON_Parse(body);
	const struct hook_webhook in = { .method = "POST",
					 .headers = { header_value, proof },
					 .credential = { key_value, NULL },
					 .body = body,
					 .body_len = strlen(body),
					 .json = json };
	int rc = hook_verify_webhook(hooked, &in, a, out, err);

	if (rc == 0) {
		assert_string_equal(out->type, "changed");
		assert_string_equal(out->external_id, "7");
		assert_int_equal(out->happened_ms, 1700000000000);
	}
	cJSON_Delete(json);
	arena_free(a);
	return rc;
}

static void test_webhooks(void **state)
{
	static const char body[] =
		"{\"event\":\"changed\",\"thing\":{\"id\":\"7\"},\"at\":1700000000}";
	char *text = mem_printf("%s:%s", SECRET_KEY, body), proof[2 * SHA256_BYTES + 1];
	const struct driver plain = { .manifest = hooked->manifest };
	struct hook_event event = { 0 };
	struct err err = { 0 };

	hex_of(text, proof);
	free(text);
	assert_int_equal(verify(body, proof, &event, &err), 0);
	proof[3] = proof[3] == 'a' ? 'b' : 'a';
	assert_int_equal(verify(body, proof, &event, &err), -EACCES);
	assert_int_equal(hook_verify_webhook(&plain, NULL, NULL, &event, &err), -ENOSYS);
}

/* ---- JSON of an arena ---- */

static void test_json(void **state)
{
	struct arena *a = arena_new();
	cJSON *item = cJSON_Parse("{\"a\":1,\"b\":{\"c\":[1,2]},\"d\":null}"), *copy;
	struct buf text = BUF_INIT;

	copy = hook_copy(a, item);
	hook_set(a, copy, "a", hook_text(a, "x"));
	hook_set(a, copy, "d", hook_number(a, 4));
	hook_set(a, copy, "e", hook_object(a));
	hook_set(a, copy, "f", hook_text(a, NULL));
	json_print(copy, &text);
	assert_string_equal(text.data,
			    "{\"a\":\"x\",\"b\":{\"c\":[1,2]},\"d\":4,\"e\":{},\"f\":null}");
	buf_reset(&text);
	json_print(item, &text);
	assert_string_equal(text.data, "{\"a\":1,\"b\":{\"c\":[1,2]},\"d\":null}");
	buf_clear(&text);
	cJSON_Delete(item);
	arena_free(a);
}

static void test_fields(void **state)
{
	struct hook_fields f = { .n = 0 };
	struct hook_values none = { 0 };

	for (int i = 0; i < HOOK_FIELDS_MAX; i++)
		assert_int_equal(hook_add(&f, "n", "v"), 0);
	assert_int_equal(hook_add(&f, "n", "v"), -E2BIG);
	assert_null(hook_value(&none, "x"));
}

/* ---- what the manifest and the C must agree on ---- */

/* The manifest of hooked, in a folder of its own, with one text in the place of another. */
static int read_changed(const char *was, const char *is, struct buf *problems)
{
	char root[] = "/tmp/test_hooks.XXXXXX", *file, *dir, *text = NULL, *at;
	struct driver *d = NULL;
	size_t n = 0;
	FILE *f = fopen("tests/drivers/hooked/manifest.json", "re");
	int rc;

	assert_non_null(f);
	assert_true(getdelim(&text, &n, '\0', f) > 0);
	fclose(f);
	at = strstr(text, was);
	assert_non_null(at);
	assert_non_null(mkdtemp(root));
	dir = mem_printf("%s/hooked", root);
	assert_int_equal(mkdir(dir, 0755), 0);
	file = mem_printf("%s/manifest.json", dir);
	f = fopen(file, "we");
	assert_non_null(f);
	fprintf(f, "%.*s%s%s", (int)(at - text), text, is, at + strlen(was));
	fclose(f);
	rc = driver_read(file, &d, problems);
	if (rc == 0)
		driver_free(d);
	unlink(file);
	rmdir(dir);
	rmdir(root);
	free(file);
	free(dir);
	free(text);
	return rc;
}

static void refused(const char *was, const char *is, const char *why)
{
	struct buf problems = BUF_INIT;

	assert_int_equal(read_changed(was, is, &problems), -EINVAL);
	if (!strstr(buf_str(&problems), why))
		fail_msg("%s is not in: %s", why, problems.data);
	buf_clear(&problems);
}

static void test_names(void **state)
{
	struct buf problems = BUF_INIT;

	assert_int_equal(read_changed("\"hooks\"", "\"hooks\"", &problems), 0);
	refused("\"adapt_item\": true, ", "",
		"hooks.adapt_item: missing, though driver_hooked in C has it");
	refused("\"adapt_item\": true", "\"adapt_item\": false", "hooks.adapt_item: missing");
	refused("\"adapt_item\"", "\"adapt_itm\"",
		"hooks.adapt_itm: unknown key; did you mean \"adapt_item\"?");
	buf_clear(&problems);
}

static int setup(void **state)
{
	struct buf problems = BUF_INIT;

	if (driver_read("tests/drivers/hooked/manifest.json", &hooked, &problems) < 0) {
		fprintf(stderr, "%s", buf_str(&problems));
		return -1;
	}
	return loop_init() < 0 || http_global_init() < 0 ? -1 : partner_setup(state);
}

static int teardown(void **state)
{
	driver_free(hooked);
	loop_close();
	return partner_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),    cmocka_unit_test(test_taped),
		cmocka_unit_test(test_actions), cmocka_unit_test(test_webhooks),
		cmocka_unit_test(test_json),    cmocka_unit_test(test_fields),
		cmocka_unit_test(test_names),   cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
