/* Manifests: webhooks, actions, settings, versions and formats; what is read, and what is refused and how. */
#include "tests/unit/manifests.h"

/* The whole of an example: what a manifest of a property manager says of these. */
static const char whole[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example/v1\"},"
	" \"version\": {\"value\": \"2024-07\", \"in\": \"header\", \"name\": \"X-Version\"}, \"format\": \"xml\", \"body\": \"form\"},\n"
	"\"settings\": {\"hotel\": {\"as\": \"int\", \"required\": true, \"about\": \"the hotel's number\"}, \"lang\": {\"default\": \"en\","
	" \"choices\": [\"en\", \"de\"]}, \"shop\": \"url\"},\n"
	"\"collections\": {\"listings\": {\"get\": \"/listings/{cfg.hotel}\", \"query\": {\"to\": \"{until}\"}, \"records\": \"a.b\","
	" \"id\": \"_id\", \"updated_at\": \"u\", \"incremental\": {\"param\": \"since\", \"format\": \"%Y-%m-%d %H:%M:%S\", \"tz\": \"Europe/Lisbon\","
	" \"step\": \"60d\", \"lookback_first\": \"1d\"}, \"detail\": {\"get\": \"/listings/{id}\"}, \"table\": \"resources\","
	" \"map\": {\"name\": \"n.v[0]\", \"partner_created_at\": {\"path\": \"t\", \"tz\": \"America/New_York\"}}}},\n"
	"\"webhooks\": {\"verify\": {\"scheme\": \"standard_webhooks\", \"prefix\": \"svix-\", \"tolerance\": \"5m\","
	" \"secret\": {\"get\": \"/webhooks-v2/secret\", \"query\": {\"url\": \"{callback_url}\"}, \"path\": \"key\"}},"
	" \"event\": \"event\", \"event_id\": \"header:Svix-Id\", \"happened_at\": \"publishedAt\","
	" \"register\": {\"post\": \"/webhooks\", \"json\": {\"url\": \"{callback_url}\", \"events\": \"{events}\"}, \"id\": \"_id\","
	" \"list\": {\"get\": \"/webhooks\"}, \"remove\": {\"delete\": \"/webhooks/{webhook.id}\"}},"
	" \"events\": {\"listing.new\": {\"collection\": \"listings\", \"id\": \"listing._id\"},"
	" \"listing.removed\": {\"collection\": \"listings\", \"id\": \"listing._id\", \"do\": \"delete\"}, \"gone\": {\"do\": \"auth_revoked\"}}},\n"
	"\"actions\": {\"push_status\": {\"steps\": [{\"name\": \"create\", \"post\": \"/tasks\", \"json\": {\"title\": \"{in.title}\","
	" \"l\": [{\"id\": \"{in.id}\"}]}, \"find_first\": {\"get\": \"/tasks\", \"query\": {\"externalId\": \"{key}\"}, \"records\": \"results\","
	" \"id\": \"_id\"}, \"idempotency\": {\"header\": \"Idempotency-Key\"}, \"keep\": {\"task_id\": \"_id\"},"
	" \"undo\": {\"delete\": \"/tasks/{kept.task_id}\"}}, {\"name\": \"update\", \"put\": \"/tasks/{kept.task_id}\","
	" \"json\": {\"status\": \"{in.status}\"}, \"repeatable\": true}]}}}";

static struct manifest *good(const char *text)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(text, &problems);

	if (!m)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

static void webhooks_are_read(void **state)
{
	struct manifest *m = good(whole);
	const struct manifest_webhooks *w = &m->webhooks;
	const char *method = NULL;

	assert_int_equal(w->verify.scheme, VERIFY_STANDARD);
	assert_string_equal(w->verify.prefix, "svix-");
	assert_int_equal(w->verify.tolerance_ms, 300000);
	assert_string_equal(request_path(&w->verify.secret, &method), "/webhooks-v2/secret");
	assert_string_equal(method, "GET");
	assert_string_equal(w->verify.secret.query.v[0].value, "{callback_url}");
	assert_string_equal(w->verify.secret_path, "key");
	assert_string_equal(w->event_id, "header:svix-id");
	assert_string_equal(request_path(&w->enrol, &method), "/webhooks");
	assert_string_equal(method, "POST");
	assert_string_equal(json_str(w->enrol.json, "events"), "{events}");
	assert_string_equal(request_path(&w->unenrol, &method), "/webhooks/{webhook.id}");
	assert_string_equal(method, "DELETE");
	assert_int_equal(w->n_events, 3);
	assert_int_equal(w->events[0].act, EVENT_FETCH);
	assert_int_equal(w->events[1].act, EVENT_DELETE);
	assert_string_equal(w->events[1].name, "listing.removed");
	assert_int_equal(w->events[2].act, EVENT_AUTH_REVOKED);
	manifest_free(m);
}

static void actions_are_read(void **state)
{
	struct manifest *m = good(whole);
	const struct manifest_step *s = m->actions[0].steps;

	assert_int_equal(m->n_actions, 1);
	assert_int_equal(m->actions[0].n_steps, 2);
	assert_string_equal(s[0].request.post, "/tasks");
	assert_string_equal(s[0].find_first.get, "/tasks");
	assert_string_equal(s[0].find_records, "results");
	assert_string_equal(s[0].keep.v[0].name, "task_id");
	assert_string_equal(s[0].idempotency_header, "idempotency-key");
	assert_string_equal(s[0].idempotency_key, "{key}");
	assert_false(s[0].repeatable);
	assert_string_equal(s[0].undo.remove, "/tasks/{kept.task_id}");
	assert_true(s[1].repeatable);
	assert_null(s[1].idempotency_header);
	manifest_free(m);
}

static void api_is_read(void **state)
{
	struct manifest *m = good(whole);

	assert_int_equal(m->format, FORMAT_XML);
	assert_int_equal(m->body, BODY_FORM);
	assert_int_equal(m->version_in, VERSION_IN_HEADER);
	assert_string_equal(m->version_name, "X-Version");
	assert_int_equal(m->collections[0].incremental.step_ms, INT64_C(60) * 86400000);
	assert_non_null(m->collections[0].incremental.tz);
	assert_non_null(m->collections[0].map[1].tz);
	assert_int_equal(m->n_xml_lists,
			 2); /* a.b, since they are the records; n.v, which is indexed */
	assert_string_equal(m->xml_lists[0].parent, "a");
	assert_string_equal(m->xml_lists[0].name, "b");
	assert_string_equal(m->xml_lists[1].name, "v");
	manifest_free(m);
	m = good(
		"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}, \"version\": \"v1\"}}");
	assert_int_equal(m->version_in, VERSION_SAID);
	assert_int_equal(m->format, FORMAT_JSON);
	assert_int_equal(m->webhooks.verify.scheme, VERIFY_NO_WEBHOOKS);
	manifest_free(m);
}

static void settings_are_typed(void **state)
{
	struct manifest *m = good(whole);
	struct buf wanted = BUF_INIT;

	assert_int_equal(m->n_typed, 3);
	assert_int_equal(m->n_settings, 3);
	assert_null(manifest_setting(m, "hote"));
	assert_true(setting_fits(manifest_setting(m, "hotel"), "17", &wanted));
	assert_int_equal(wanted.len, 0);
	assert_false(setting_fits(manifest_setting(m, "hotel"), "1.7", &wanted));
	assert_string_equal(wanted.data, "a whole number");
	buf_reset(&wanted);
	assert_false(setting_fits(manifest_setting(m, "lang"), "fr", &wanted));
	assert_string_equal(wanted.data, "one of en, de");
	assert_true(setting_fits(manifest_setting(m, "lang"), "de", &wanted));
	assert_false(setting_fits(manifest_setting(m, "lang"), "", &wanted));
	assert_true(setting_fits(manifest_setting(m, "shop"), "https://x.example/y", &wanted));
	assert_false(setting_fits(manifest_setting(m, "shop"), "x.example", &wanted));
	buf_clear(&wanted);
	manifest_free(m);
}

/* What is printed is read again, and is the same. */
static void printed(void **state)
{
	struct buf one = BUF_INIT, two = BUF_INIT;
	struct manifest *m = good(whole), *again;

	manifest_print(m, &one);
	again = good(one.data);
	manifest_print(again, &two);
	assert_string_equal(one.data, two.data);
	assert_non_null(strstr(one.data, "\"do\":\"fetch\""));
	assert_non_null(strstr(one.data, "\"tz\":\"America/New_York\""));
	assert_non_null(strstr(one.data, "\"key\":\"webhook_secret\""));
	manifest_free(m);
	manifest_free(again);
	buf_clear(&one);
	buf_clear(&two);
}

#define COLLECTION                                                                                         \
	", \"collections\": {\"c\": {\"get\": \"/c\", \"id\": \"id\", \"table\": \"resources\", \"map\": " \
	"{\"name\": \"n\"}, \"detail\": {\"get\": \"/c/{id}\"}}}"
#define VERIFIED(verify)                                              \
	", \"webhooks\": {\"verify\": " verify ", \"event\": \"e\", " \
	"\"events\": {\"x\": {\"collection\": \"c\", \"id\": \"i\"}}}" COLLECTION
#define EVENT(event)                                                                                \
	", \"webhooks\": {\"verify\": \"url_secret\", \"event\": \"e\", \"events\": {\"x\": " event \
	"}}" COLLECTION
#define SIGNED(event)                                                                           \
	", \"webhooks\": {\"verify\": \"github\", \"event\": \"e\", \"events\": {\"x\": " event \
	"}}" COLLECTION
#define REGISTER_OF(event, keys)                                                          \
	", \"webhooks\": {\"verify\": \"github\", \"event\": \"e\", \"register\": {" keys \
	"}, \"events\": {\"" event "\": {\"collection\": \"c\", \"id\": \"i\"}}}" COLLECTION
#define REGISTER(keys) REGISTER_OF("x/made", keys)
#define STEP(step) ", \"actions\": {\"a\": {\"steps\": [{\"name\": \"s\", " step "}]}}"
#define CALLBACK(verify, callback, delivery)                                                   \
	", \"webhooks\": {\"verify\": " verify ", \"callback\": " callback                     \
	", \"event\": \"e\", \"events\": {\"x\": " delivery                                    \
	"}}, \"actions\": {\"a\": {\"steps\": [{\"name\": \"s\", \"post\": \"/x\", \"json\": " \
	"{\"u\": \"{callback_url}\", \"r\": \"{reference}\"}}]}}"
#define DELIVERY "{\"do\": \"delivery\", \"delivery\": \"sent\", \"id\": \"i\"}"

static const char *const accepted[] = {
	CALLBACK("\"twilio\"", "\"ours\"", DELIVERY),
	CALLBACK("\"basic\"", "{\"param\": \"ours\", \"setting\": \"other_url\"}", DELIVERY),
	CALLBACK("{\"header\": \"X-S\", \"signed\": \"{url}{body}\"}", "\"ours\"", DELIVERY),
	VERIFIED("\"stripe\""),
	VERIFIED("\"slack\""),
	VERIFIED("\"twilio\""),
	VERIFIED("\"sendgrid\""),
	VERIFIED("\"github\""),
	VERIFIED("\"shopify\""),
	VERIFIED("\"basic\""),
	VERIFIED("\"url_secret\""),
	VERIFIED("{\"scheme\": \"header_token\", \"header\": \"X-Token\"}"),
	VERIFIED("{\"scheme\": \"sha256_suffix\", \"header\": \"X-Sum\"}"),
	VERIFIED("{\"scheme\": \"none\", \"i_know\": true}"),
	VERIFIED(
		"{\"signed\": \"{ts}.{body}\", \"header\": \"X-S\", \"timestamp\": \"X-T\", \"alg\": \"sha512\"}"),
	VERIFIED(
		"{\"signed\": \"{ts}.{body}\", \"header\": \"X-S\", \"split\": \"t=,v1=\", \"encoding\": \"base64\"}"),
	EVENT("{\"do\": \"ignore\"}"),
	SIGNED("{\"do\": \"upsert\", \"collection\": \"c\", \"id\": \"data.id\"}"),
	SIGNED("{\"do\": \"upsert\", \"collection\": \"c\", \"id\": \"ref\", \"item\": \"data\"}"),
	SIGNED("{\"do\": \"credentials_rotated\", \"credentials\": {\"api_key\": \"data.key\"}}"),
	REGISTER(
		"\"post\": \"/{event}\", \"json\": {\"o\": \"{event.object}\", \"a\": \"{event.action}\"}, \"id\": \"id\","
		" \"list\": {\"get\": \"/l\"}, \"records\": \"data\", \"enabled\": \"on\", \"remove\": {\"delete\": \"/{webhook.id}\"}"),
	STEP("\"post\": \"/x\", \"json\": {\"a\": \"{key} {now} {cfg.b}\", \"//\": \"{for people}\"}"),
};

static const char *const refused[][2] = {
	{ CALLBACK("\"github\"", "\"ours\"", DELIVERY),
	  "webhooks.callback: the scheme \"github\" does not sign the address" },
	{ CALLBACK("{\"header\": \"X-S\", \"signed\": \"{body}\"}", "\"ours\"", DELIVERY),
	  "does not sign the address" },
	{ CALLBACK("\"twilio\"", "\"o=1&p\"", DELIVERY), "webhooks.callback.param: a name is" },
	{ CALLBACK("\"twilio\"", "\"ours\"", "{\"do\": \"ignore\"}"),
	  "webhooks.callback: no event does \"delivery\"" },
	{ STEP("\"post\": \"/x\", \"json\": {\"u\": \"{event.object}\"}"),
	  "actions.a.steps[0].json.u: {event.object} cannot be used here" },
	{ STEP("\"post\": \"/x\", \"json\": {\"u\": \"{callback_url}\"}"),
	  "actions.a.steps[0]: {callback_url} needs \"webhooks.callback\"" },
	{ STEP("\"post\": \"/x\", \"undo\": {\"delete\": \"/{reference}\"}"),
	  "actions.a.steps[0].undo.delete: {reference} cannot be used here" },
	{ ", \"webhooks\": {\"verify\": \"twilio\", \"event\": \"e\", \"events\": {\"x\": " DELIVERY
	  "}}",
	  "webhooks.events.x: \"delivery\" is of what an action sent" },
	{ VERIFIED("\"strpe\""),
	  "webhooks.verify.scheme: unknown word \"strpe\"; did you mean \"stripe\"?" },
	{ VERIFIED("\"none\""), "webhooks.verify.i_know: missing: anybody can send" },
	{ VERIFIED("{\"scheme\": \"github\", \"i_know\": true}"),
	  "i_know: is for the scheme \"none\" alone" },
	{ VERIFIED("\"header_token\""), "webhooks.verify.header: missing" },
	{ VERIFIED("{\"header\": \"X-S\"}"), "webhooks.verify.signed: missing" },
	{ VERIFIED("{\"header\": \"X-S\", \"signed\": \"{bdy}\"}"),
	  "{bdy} is not known; did you mean \"body\"?" },
	{ VERIFIED("{\"header\": \"X-S\", \"signed\": \"{ts}{body}\"}"),
	  "{ts} needs \"timestamp\"" },
	{ VERIFIED("{\"header\": \"X-S\", \"signed\": \"{id}{body}\"}"), "{id} needs \"id\"" },
	{ VERIFIED("{\"scheme\": \"stripe\", \"signed\": \"{body}\"}"),
	  "signed: means nothing with the scheme" },
	{ VERIFIED("{\"scheme\": \"standard_webhooks\", \"prefix\": \"x-\"}"),
	  "expected \"webhook-\" or \"svix-\"" },
	{ VERIFIED("{\"scheme\": \"github\", \"secret\": {\"get\": \"/s\"}}"),
	  "verify.secret.path: missing" },
	{ VERIFIED("{\"scheme\": \"github\", \"secret\": {\"get\": \"/{in.x}\", \"path\": \"a\"}}"),
	  "webhooks.verify.secret.get: {in.x} cannot be used here ({cfg.X} {events} {callback_url} {webhook.id} can)" },
	{ VERIFIED(
		  "{\"scheme\": \"github\", \"secret\": {\"get\": \"/{webhook.id}\", \"path\": \"a\"}}"),
	  "webhooks.verify.secret: {webhook.id} needs \"register\" with \"id\"" },
	{ REGISTER("\"post\": \"/{event.actn}\""), "{event.actn} is not known" },
	{ REGISTER("\"post\": \"/{event}\", \"id\": \"id\", \"list\": {\"get\": \"/l\"}"),
	  "webhooks.register: one call for each {event} needs" },
	{ REGISTER_OF("x/", "\"post\": \"/{event.object}\""),
	  "webhooks.events.x/: has no {event.object} and {event.action}" },
	{ REGISTER("\"post\": \"/x\", \"enabled\": \"on\""),
	  "\"records\" and \"enabled\" are paths in the answer of \"list\"" },
	{ REGISTER("\"post\": \"/x\", \"list\": {\"get\": \"/{event}\"}"),
	  "webhooks.register.list.get: {event} cannot be used here" },
	{ ", \"webhooks\": {}", "webhooks.event: missing" },
	{ ", \"webhooks\": {\"event\": \"e\", \"events\": {}}", "webhooks.events: names no event" },
	{ ", \"webhooks\": {\"event\": \"e\", \"events\": {}}", "\"verify\" is missing" },
	{ EVENT("{\"do\": \"delete\", \"collection\": \"c\", \"id\": \"i\"}"),
	  "webhooks.events.x.do: the scheme \"url_secret\" signs nothing" },
	{ EVENT("{\"do\": \"auth_revoked\"}"), "signs nothing" },
	{ EVENT("{}"), "webhooks.events.x: needs \"collection\" and \"id\"" },
	{ EVENT("{\"collection\": \"cc\", \"id\": \"i\"}"), "there is no collection \"cc\"" },
	{ EVENT("{\"do\": \"ignore\", \"id\": \"i\"}"), "mean nothing here" },
	{ SIGNED("{\"do\": \"upsert\", \"collection\": \"c\", \"id\": \"ref\"}"),
	  "webhooks.events.x: \"upsert\" needs \"item\"" },
	{ SIGNED("{\"do\": \"auth_revoked\", \"item\": \"data\"}"), "mean nothing here" },
	{ SIGNED("{\"do\": \"credentials_rotated\"}"), "webhooks.events.x.credentials: missing" },
	{ SIGNED("{\"do\": \"credentials_rotated\", \"credentials\": {\"api_key\": \"a..b\"}}"),
	  "\"a..b\" is no path" },
	{ SIGNED("{\"do\": \"ignore\", \"credentials\": {\"api_key\": \"a\"}}"),
	  "is for \"do\": \"credentials_rotated\" alone" },
	{ EVENT("{\"do\": \"fech\"}"), "did you mean \"fetch\"?" },
	{ ", \"actions\": {\"a\": {\"steps\": []}}", "actions.a: has no step" },
	{ ", \"actions\": {\"A b\": {\"steps\": []}}", "actions.A b: a name is 1 to 40" },
	{ ", \"actions\": {\"a\": {}}", "actions.a.steps: missing" },
	{ STEP("\"json\": {}"),
	  "actions.a.steps[0]: missing: one of get, post, put, patch and delete" },
	{ STEP("\"get\": \"/a\", \"post\": \"/a\""), "one request is one of" },
	{ STEP("\"get\": \"/a\", \"json\": {}"), "\"json\" is a body, and a get has none" },
	{ STEP("\"post\": \"a\""), "a path begins with /" },
	{ STEP("\"post\": \"/a/{kept.x}\""),
	  "actions.a.steps[0].post: {kept.x}: no step before keeps it" },
	{ STEP("\"post\": \"/a\", \"json\": {\"l\": [{\"k\": \"{since}\"}]}"),
	  "actions.a.steps[0].json.l[0].k: {since} cannot be used here" },
	{ STEP("\"post\": \"/a\", \"keep\": {\"x\": \"a..b\"}"), "keep.x: \"a..b\" is no path" },
	{ STEP("\"post\": \"/a\", \"find_first\": {\"post\": \"/x\", \"id\": \"i\"}"),
	  "only a get changes nothing" },
	{ STEP("\"post\": \"/a\", \"idempotency\": {}"), "idempotency.header: missing" },
	{ ", \"settings\": {\"every\": {}}", "settings.every: every integration has this setting" },
	{ ", \"settings\": {\"a\": \"txt\"}",
	  "settings.a.as: unknown word \"txt\"; did you mean \"text\"?" },
	{ ", \"settings\": {\"a\": {\"as\": \"int\", \"default\": \"x\"}}",
	  "settings.a.default: \"x\" does not fit" },
	{ ", \"settings\": {\"a\": {\"default\": \"x\", \"choices\": [\"y\"]}}",
	  "expected one of y" },
	{ ", \"settings\": {\"a\": {\"default\": \"x\", \"required\": true}}",
	  "drop \"required\"" },
	{ ", \"settings\": {\"A\": \"text\"}", "\"A\" cannot name a setting" },
};

/* The same, of "api". */
static const char *const refused_api[][2] = {
	{ "\"version\": {\"value\": \"1\", \"in\": \"header\"}", "api.version.name: missing" },
	{ "\"version\": {\"value\": \"1\", \"in\": \"path\", \"name\": \"X\"}",
	  "is for \"in\": \"header\" alone" },
	{ "\"version\": {\"value\": \"a/b\", \"in\": \"path\"}",
	  "\"a/b\" is no one part of a path" },
	{ "\"version\": {\"value\": \"1\", \"in\": \"header\", \"name\": \"X\"}, \"headers\": {\"x\": \"2\"}",
	  "api.headers.x: \"api.version\" sets this header already" },
	{ "\"drop\": [\"Card\"]", "api.drop: names elements of XML, and \"format\" says that" },
	{ "\"format\": \"jsn\"", "api.format: unknown word \"jsn\"; did you mean \"json\"?" },
	{ "\"body\": \"soap\"", "api.body: unknown word \"soap\"" },
};

static void refuses(const char *text, const char *wanted)
{
	struct buf problems = BUF_INIT;

	if (parse(text, &problems))
		fail_msg("accepted: %s", text);
	if (!strstr(problems.data, wanted))
		fail_msg("wanted: %s\nsaid: %s\nof: %s", wanted, problems.data, text);
	buf_clear(&problems);
}

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		char *text = mem_printf(LEAST, refused[i][0]);

		refuses(text, refused[i][1]);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(refused_api); i++) {
		char *text = mem_printf(
			"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}, %s}}",
			refused_api[i][0]);

		refuses(text, refused_api[i][1]);
		free(text);
	}
}

static void acceptances(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
		char *text = mem_printf(LEAST, accepted[i]);

		manifest_free(good(text));
		free(text);
	}
}

#define FORMAT_OF                                                                                                          \
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"format\": \"%s\", \"base\": {\"production\": \"https://h\"}}, " \
	"\"collections\": {\"c\": {\"get\": \"/c\", %s\"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}}}}"

static void formats_and_records(void **state)
{
	static const char *const cases[][3] = {
		{ "csv", "\"records\": \"data\", ",
		  "collections.c.records: the lines of csv are the records" },
		{ "jsonl", "\"records\": \"data\", ", "the lines of jsonl are the records" },
		{ "text", "", "collections.c: an answer that is one text has no records" },
		{ "csv", "", NULL },
		{ "xml", "\"records\": \"a.b\", ", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *made = mem_printf(FORMAT_OF, cases[i][0], cases[i][1]);

		if (cases[i][2])
			refuses(made, cases[i][2]);
		else
			manifest_free(good(made));
		free(made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(webhooks_are_read), cmocka_unit_test(actions_are_read),
		cmocka_unit_test(api_is_read),       cmocka_unit_test(settings_are_typed),
		cmocka_unit_test(printed),           cmocka_unit_test(acceptances),
		cmocka_unit_test(refusals),          cmocka_unit_test(formats_and_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
