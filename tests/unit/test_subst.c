#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/subst.h"

static const char *values(const char *name, void *arg)
{
	static const char *const pairs[][2] = {
		{ "id", "a/b c" },
		{ "since", "2026-01-02T03:04:05+00:00" },
		{ "cfg.site", "x\"y\\" },
		{ "cfg.empty", "" },
		{ "cfg.up", ".." },
		{ "parent.id", "42" },
		{ "unheard", "never asked for" },
	};

	++*(int *)arg;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (strcmp(pairs[i][0], name) == 0)
			return pairs[i][1];
	return NULL;
}

static void gives(const char *template, enum subst_escape how, const char *wanted)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	int asked = 0;

	buf_puts(&out, ">");
	if (subst(template, how, values, &asked, &out, &err) != 0)
		fail_msg("%s: %s", template, err.text);
	assert_string_equal(buf_str(&out) + 1, wanted);
	buf_clear(&out);
}

static void fails(const char *template, enum subst_escape how, int rc, const char *said)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	int asked = 0;

	buf_puts(&out, ">");
	assert_int_equal(subst(template, how, values, &asked, &out, &err), rc);
	assert_string_equal(buf_str(&out), ">");
	assert_int_equal(err.class, ERR_BAD_JOB);
	if (!strstr(err.text, said))
		fail_msg("%s: %s", template, err.text);
	buf_clear(&out);
}

static void plain(void **state)
{
	gives("", SUBST_RAW, "");
	gives("/listings", SUBST_PATH, "/listings");
	gives("{parent.id}", SUBST_RAW, "42");
	gives("/a/{parent.id}/b/{parent.id}", SUBST_PATH, "/a/42/b/42");
}

static void escaped(void **state)
{
	gives("/x/{id}", SUBST_PATH, "/x/a%2Fb%20c");
	gives("q={since}", SUBST_QUERY, "q=2026-01-02T03%3A04%3A05%2B00%3A00");
	gives("{id}", SUBST_FORM, "a%2Fb%20c");
	gives("{id}", SUBST_RAW, "a/b c");
	gives("{\"v\":\"{cfg.site}\"}", SUBST_JSON, "{\"v\":\"x\\\"y\\\\\"}");
}

static void braces(void **state)
{
	gives("[{\"field\":\"u\",\"value\":\"{since}\"}]", SUBST_JSON,
	      "[{\"field\":\"u\",\"value\":\"2026-01-02T03:04:05+00:00\"}]");
	gives("{\"a\":{\"b\":\"{parent.id}\"}}", SUBST_JSON, "{\"a\":{\"b\":\"42\"}}");
	gives("{{id}} is {parent.id}", SUBST_RAW, "{id} is 42");
	gives("{ id } { } {", SUBST_RAW, "{ id } { } {");
	gives("}}{{", SUBST_RAW, "}}{");
	gives("{cfg.empty}", SUBST_RAW, "");
}

static void without_value(void **state)
{
	fails("/a/{cursor}", SUBST_RAW, -ENOENT, "{cursor} has no value here");
	fails("{parent.id}{cfg.nothing}", SUBST_RAW, -ENOENT, "the setting \"nothing\"");
	fails("{unheard}", SUBST_RAW, -ENOENT, "{unheard} has no value");
	fails("/a/{cfg.empty}", SUBST_PATH, -EINVAL, "another address");
	fails("/a/{cfg.up}/b", SUBST_PATH, -EINVAL, "another address");
}

static void names(void **state)
{
	static const char *const known[] = { "id",     "ids",      "since",   "until",
					     "now",    "cursor",   "key",     "callback_url",
					     "events", "parent.x", "cfg.a_b", "cred.token",
					     "in.x",   "kept.y" };
	static const char *const unknown[] = { "",       "Id",  "cfg",  "cfg.",
					       "parent", "idx", "x.id", "webhook" };
	const char *p = "a{id}{\"x\":{1}}{{no}}{cfg.b}{c d}";
	char name[SUBST_NAME_MAX];

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		assert_true(subst_name_is_known(known[i]));
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_false(subst_name_is_known(unknown[i]));
	assert_true(subst_next(&p, name));
	assert_string_equal(name, "id");
	assert_true(subst_next(&p, name));
	assert_string_equal(name, "1");
	assert_true(subst_next(&p, name));
	assert_string_equal(name, "cfg.b");
	assert_false(subst_next(&p, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),  cmocka_unit_test(escaped),
		cmocka_unit_test(braces), cmocka_unit_test(without_value),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
