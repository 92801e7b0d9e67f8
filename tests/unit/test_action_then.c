/* What follows an action: with which args, and where it does not. */
#include "tests/unit/manifests.h"

#include "drivers/kit/action.h"

static const char text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}, \"actions\": {"
	"\"give\": {\"params\": {\"to\": {\"as\": \"text\"}, \"mail\": {\"as\": \"text\", \"optional\": true},"
	" \"name\": {\"as\": \"text\", \"optional\": true}, \"keep\": {\"as\": \"bool\", \"optional\": true}},"
	" \"steps\": [{\"name\": \"a\", \"post\": \"/a\", \"keep\": {\"id\": \"id\"}}], \"then\": ["
	"  {\"action\": \"thank\", \"args\": {\"mail\": \"{in.mail}\", \"name\": \"{in.name}\"}},"
	"  {\"action\": \"save\", \"when\": \"{in.keep}\", \"args\": {\"gift\": \"{kept.id}\", \"mail\": \"{in.mail}\", \"name\": \"{in.name}\"}}]},"
	"\"thank\": {\"params\": {\"mail\": {\"as\": \"text\"}, \"name\": {\"as\": \"text\", \"optional\": true}},"
	" \"steps\": [{\"name\": \"a\", \"post\": \"/t\"}]},"
	"\"save\": {\"params\": {\"gift\": {\"as\": \"text\"}, \"mail\": {\"as\": \"text\"}, \"name\": {\"as\": \"text\", \"default\": \"somebody\"}},"
	" \"steps\": [{\"name\": \"a\", \"post\": \"/s\"}]}}}";

static struct manifest *m;

/* then[i] after this input: the args; or "missing ARG"; or "". */
static void follows(int i, const char *in_text, const char *wanted)
{
	const struct manifest_then *t = &manifest_action(m, "give")->then[i];
	cJSON *in = cJSON_Parse(in_text), *kept = cJSON_Parse("{\"id\": \"g-1\"}"), *args = NULL;
	const struct action_values v = { .in = in, .kept = kept };
	const char *missing = NULL;
	struct err err = { 0 };
	struct buf out = BUF_INIT;

	assert_int_equal(action_then(manifest_action(m, t->action), t, &v, &args, &missing, &err),
			 0);
	if (args)
		json_print(args, &out);
	else if (missing)
		buf_printf(&out, "missing %s", missing);
	assert_string_equal(buf_str(&out), wanted);
	buf_clear(&out);
	cJSON_Delete(args);
	cJSON_Delete(in);
	cJSON_Delete(kept);
}

static void without_when_all_args_must_be_there(void **state)
{
	follows(0, "{\"to\": \"x\", \"mail\": \"m\", \"name\": \"n\"}",
		"{\"mail\":\"m\",\"name\":\"n\"}");
	follows(0, "{\"to\": \"x\", \"mail\": \"m\"}", "missing name");
	follows(0, "{\"to\": \"x\", \"mail\": null, \"name\": \"n\"}", "missing mail");
}

static void with_when_what_may_be_left_out_is(void **state)
{
	follows(1, "{\"to\": \"x\", \"keep\": true, \"mail\": \"m\", \"name\": \"n\"}",
		"{\"gift\":\"g-1\",\"mail\":\"m\",\"name\":\"n\"}");
	follows(1, "{\"to\": \"x\", \"keep\": false, \"mail\": \"m\"}",
		"{\"gift\":\"g-1\",\"mail\":\"m\"}");
	follows(1, "{\"to\": \"x\", \"keep\": true, \"name\": \"n\"}", "missing mail");
	follows(1, "{\"to\": \"x\", \"mail\": \"m\", \"name\": \"n\"}", "");
}

static int setup(void **state)
{
	struct buf problems = BUF_INIT;

	m = parse(text, &problems);
	buf_clear(&problems);
	return 0;
}

static int teardown(void **state)
{
	manifest_free(m);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_when_all_args_must_be_there),
		cmocka_unit_test(with_when_what_may_be_left_out_is),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
