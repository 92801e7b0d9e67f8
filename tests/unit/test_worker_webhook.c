/* Events as their jobs have them, up to where something would wait. */
#include "worker/tasks/webhook.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/manifests.h"

#define HOOKS                                                                                       \
	", \"collections\": {\"a\": {\"get\": \"/v1/a\", \"id\": \"id\", \"table\": \"resources\"," \
	" \"map\": {\"name\": \"n\"}}}, \"webhooks\": {\"verify\": \"github\", \"event\": "         \
	"\"event\", \"events\": {\"new\": {\"do\": \"upsert\", \"collection\": \"a\", \"id\": \"id\"}}}"

/* A job whose body was sealed, of an event that brings no credentials by this manifest. */
static void only_what_brings_credentials_comes_sealed(void **state)
{
	static const char *const said[][2] = { { "new",
						 "manifest says \"do\": \"upsert\": replay" },
					       { "old", "manifest says nothing: replay" } };

	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		char *args = mem_printf(
			     "{\"event\": \"%s\", \"event_id\": \"e1\", \"believed\": true,"
			     " \"received_us\": 5, \"sealed\": \"v1.a.AAAA\"}",
			     said[i][0]),
		     *text = mem_printf(LEAST, HOOKS);
		struct buf problems = BUF_INIT;
		struct manifest *m = parse(text, &problems);
		const struct driver d = { .manifest = m };
		const struct integration row = { .id = 7, .partner = "p", .status = "active" };
		struct attempt a = { .partner = "p", .driver = &d, .integration = &row };
		cJSON *tree = NULL;

		if (!m)
			fail_msg("%s", buf_str(&problems));
		assert_int_equal(json_parse(args, strlen(args), 4096, &tree, NULL), 0);
		a.job = (struct job){ .task = "process_webhook",
				      .integration_id = 7,
				      .args = tree };
		a.arena = arena_new();
		assert_int_equal(task_process_webhook(&a), -EINVAL);
		assert_int_equal(a.err.class, ERR_BAD_JOB);
		assert_string_equal(a.err.rule, "args.sealed");
		if (!strstr(a.err.text, said[i][1]))
			fail_msg("%s", a.err.text);
		arena_free(a.arena);
		cJSON_Delete(tree);
		manifest_free(m);
		free(args);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_brings_credentials_comes_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
