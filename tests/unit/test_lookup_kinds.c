/* Who answers lookups by kind: what the setting may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/lookup_kinds.h"

#define LONG_NAME "a123456789b123456789c123456789d123456789e123456789f123456789g"

static void take(const char *text)
{
	struct buf problem = BUF_INIT;

	if (lookup_kinds_parse(text, &problem) < 0)
		fail_msg("%s", buf_str(&problem));
	buf_clear(&problem);
}

static void choices(void **state)
{
	const struct lookup_kind *k;
	struct buf names = BUF_INIT;
	struct err err = { 0 };

	take("weather=weather/current,geocoding=nominatim/search:mine/place-2");
	k = lookup_kind("geocoding", &err);
	assert_non_null(k);
	assert_int_equal(k->n, 2);
	assert_string_equal(k->choices[0].partner, "nominatim");
	assert_string_equal(k->choices[0].name, "search");
	assert_string_equal(k->choices[1].partner, "mine");
	assert_string_equal(k->choices[1].name, "place-2");
	assert_null(lookup_kind("wether", &err));
	assert_int_equal(err.class, ERR_BAD_JOB);
	assert_string_equal(err.rule, "kind");
	assert_non_null(strstr(err.text, "did you mean \"weather\"?"));
	assert_non_null(strstr(err.text, "it names: weather, geocoding"));
	lookup_kinds_print(&names);
	assert_string_equal(buf_str(&names), "[\"weather\",\"geocoding\"]");
	buf_clear(&names);
	/* read anew */
	take("");
	assert_null(lookup_kind("weather", &err));
	assert_non_null(strstr(err.text, "it names: none"));
	take("weather=other/now");
	assert_string_equal(lookup_kind("weather", &err)->choices[0].partner, "other");
	lookup_kinds_free();
}

/* The emergency worker is given it. */
static void told_on(void **state)
{
	struct config_option o = { 0 };

	assert_int_equal(lookup_kinds_options(&o), 1);
	assert_string_equal(lookup_kinds_setting(), "");
	*(const char **)o.out = "weather=weather/current:other/now";
	assert_string_equal(lookup_kinds_setting(), "weather=weather/current:other/now");
	*(const char **)o.out = "";
}

static void refused(void **state)
{
	static const char *const texts[] = { "weather",
					     "weather=",
					     "=weather/current",
					     "weather=weather",
					     "weather=weather/",
					     "weather=weather/current,",
					     "weather=weather/current:",
					     "weather=a/b/c",
					     "Weather=weather/current",
					     "weather=weather/current, geocoding=a/b",
					     "weather=a/b,weather=c/d",
					     LONG_NAME "=weather/current",
					     "w=a/1:a/2:a/3:a/4:a/5:a/6:a/7:a/8:a/9" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct buf problem = BUF_INIT;
		struct err err = { 0 };

		if (lookup_kinds_parse(texts[i], &problem) != -EINVAL)
			fail_msg("taken: %s", texts[i]);
		assert_non_null(strstr(buf_str(&problem), "--lookup-kinds: \""));
		assert_null(lookup_kind("weather", &err));
		buf_clear(&problem);
	}
}

static void held_against_drivers(void **state)
{
	struct driver_set *set = NULL;
	struct buf problems = BUF_INIT;
	struct err err = { 0 };

	assert_int_equal(driver_set_load("drivers", &set, &problems, &err), 0);
	take("weather=weather/current,geocoding=nominatim/search:nominatim/reverse");
	lookup_kinds_check(set, &problems);
	assert_string_equal(buf_str(&problems), "");
	take("weather=wether/current:weather/curent");
	lookup_kinds_check(set, &problems);
	assert_string_equal(buf_str(&problems),
			    "--lookup-kinds: weather: there is no partner wether\n"
			    "--lookup-kinds: weather: there is no lookup curent of weather\n");
	buf_clear(&problems);
	lookup_kinds_free();
	driver_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choices),
		cmocka_unit_test(told_on),
		cmocka_unit_test(refused),
		cmocka_unit_test(held_against_drivers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
