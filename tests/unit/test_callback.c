/* The address that a partner is told with a call, and what the call leaves out where there is none. */
#include "tests/unit/manifests.h"

#include "drivers/kit/action.h"
#include "drivers/kit/call_door.h"

static const char text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}},"
	" \"webhooks\": {\"verify\": \"twilio\", \"event\": \"e\", %s \"callback\": {\"param\": \"ours\", \"setting\": \"other_url\"},"
	" \"events\": {\"x\": {\"do\": \"delivery\", \"delivery\": \"sent\", \"id\": \"i\"}}},"
	" \"actions\": {\"a\": {\"steps\": [{\"name\": \"s\", \"post\": \"/x\", \"json\":"
	" {\"a\": 1, \"back\": \"{callback_url}\", \"ref\": \"{reference}\"}}]}}}";

/* other: the integration's setting; public: ours. */
static void says(const char *more, const char *public, const char *other, const char *wanted)
{
	char *whole = mem_printf(text, more);
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(whole, &problems);
	struct driver driver = { .manifest = m };
	struct integration i = { .id = 7, .settings = cJSON_CreateObject() };
	struct door door = { .public_url = (char *)public };
	struct caller c = { .door = &door, .driver = &driver, .integration = &i };
	const struct action_values v = { .c = &c, .reference = "42", .key = "" };
	struct action_call call;
	struct err err = { 0 };

	if (other)
		cJSON_AddStringToObject(i.settings, "other_url", other);
	assert_int_equal(action_call_make(&m->actions[0].steps[0].request, NULL, &v, &call, &err),
			 0);
	assert_string_equal(buf_str(&call.body), wanted);
	action_call_clear(&call);
	cJSON_Delete(i.settings);
	manifest_free(m);
	buf_clear(&problems);
	free(whole);
}

static void names_the_request(void **state)
{
	says("", "https://ls.example/in", NULL,
	     "{\"a\":1,\"back\":\"https://ls.example/in/webhooks/p/7?ours=42\",\"ref\":\"42\"}");
	says("\"integration\": {\"path\": \"w\", \"setting\": \"account\"},", "https://ls.example",
	     NULL, "{\"a\":1,\"back\":\"https://ls.example/webhooks/p?ours=42\",\"ref\":\"42\"}");
}

static void a_setting_goes_first(void **state)
{
	says("", "https://ls.example", "https://else.example/w/7",
	     "{\"a\":1,\"back\":\"https://else.example/w/7?ours=42\",\"ref\":\"42\"}");
	says("", NULL, "https://else.example/w?a=b#rc=2",
	     "{\"a\":1,\"back\":\"https://else.example/w?a=b&ours=42#rc=2\",\"ref\":\"42\"}");
}

static void without_an_address_nobody_is_told_one(void **state)
{
	says("", NULL, NULL, "{\"a\":1,\"ref\":\"42\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_request),
		cmocka_unit_test(a_setting_goes_first),
		cmocka_unit_test(without_an_address_nobody_is_told_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
