/* Several versions of a driver in one manifest, and who gets which. */
#include "tests/unit/manifests.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/driver.h"

#define LISTS                                                                                        \
	", \"collections\": {\"a\": {\"get\": \"/v1/a\", \"id\": \"id\", \"table\": \"resources\", " \
	"\"map\": {\"name\": \"n\", \"city\": \"c\"}}}, \"errors\": [{\"status\": 418, \"class\": \"client\"}]"
#define SECOND                                                                                                 \
	", \"adapters\": {\"//\": \"the new one\", \"2\": {\"collections\": {\"a\": {\"get\": \"/v2/a\", "     \
	"\"map\": {\"name\": \"title\", \"city\": null}}}}, \"three\": {\"api\": {\"base\": {\"production\": " \
	"\"https://h.example/v3\"}}, \"pagination\": {\"kind\": \"link\"}}}"

#define ROTATED(keys)                                                                              \
	", \"webhooks\": {\"verify\": \"github\", \"event\": \"e\", \"events\": {\"x\": {\"do\": " \
	"\"credentials_rotated\", \"credentials\": {\"k\": \"data.k\"}}}}" keys

static struct manifest *read_with(const char *keys, struct buf *problems)
{
	char *text = mem_printf(LEAST, keys);
	struct manifest *m = parse(text, problems);

	free(text);
	return m;
}

static struct manifest *good(const char *keys)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = read_with(keys, &problems);

	if (!m)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

static void overlays(void **state)
{
	struct manifest *m = good(LISTS SECOND);
	const struct manifest *two, *three;

	assert_int_equal(m->n_adapters, 2);
	assert_string_equal(m->adapters[0].name, "2");
	two = m->adapters[0].manifest;
	three = m->adapters[1].manifest;
	assert_string_equal(m->collections[0].get, "/v1/a");
	assert_int_equal(m->collections[0].n_map, 2);
	assert_string_equal(two->collections[0].get, "/v2/a");
	assert_int_equal(two->collections[0].n_map, 1);
	assert_string_equal(two->collections[0].map[0].path, "title");
	assert_int_equal(two->n_errors, m->n_errors);
	assert_int_equal(two->n_adapters, 0);
	assert_string_equal(three->base_production, "https://h.example/v3");
	assert_int_equal(three->collections[0].paging.kind, PAGING_LINK);
	assert_string_equal(three->collections[0].get, "/v1/a");
	manifest_free(m);
	/* What brings credentials in each version, or is not there in one, may be. */
	manifest_free(good(LISTS ROTATED(
		", \"adapters\": {\"2\": {}, \"3\": {\"webhooks\": {\"events\": {\"x\": null, \"y\": {\"do\": \"ignore\"}}}}}")));
}

static void printed(void **state)
{
	struct manifest *m = good(
		LISTS SECOND
		", \"rollout\": {\"adapter\": {\"2\": 12.5, \"three\": {\"percent\": 0, \"flag\": \"new\"}}}");
	struct buf once = BUF_INIT, twice = BUF_INIT, problems = BUF_INIT;
	struct manifest *again;

	assert_true(m->adapters[0].percent == 12.5);
	assert_string_equal(m->adapters[1].flag, "new");
	manifest_print(m, &once);
	again = parse(once.data, &problems);
	if (!again)
		fail_msg("%s\n%s", once.data, buf_str(&problems));
	manifest_print(again, &twice);
	assert_string_equal(once.data, twice.data);
	assert_non_null(strstr(once.data, "\"rollout\":{\"adapter\":{\"2\":{\"percent\":12.5}"));
	manifest_free(m);
	manifest_free(again);
	buf_clear(&once);
	buf_clear(&twice);
}

static const char *const refused[][2] = {
	{ ", \"adapters\": []", "adapters: expected an object" },
	{ ", \"adapters\": {\"2\": 1}", "adapters.2: expected an object" },
	{ ", \"adapters\": {\"1\": {}}", "adapters.1: a name is" },
	{ ", \"adapters\": {\"V 2\": {}}", "a name is" },
	{ ", \"adapters\": {\"2\": {\"limits\": []}}", "adapters.2.limits: is of the partner" },
	{ ", \"adapters\": {\"2\": {\"partner\": \"q\"}}",
	  "adapters.2.partner: is of the partner" },
	{ ", \"adapters\": {\"2\": {\"api\": {\"base\": {\"production\": \"https://other/v1\"}}}}",
	  "adapters.2.api.base: is on another host" },
	{ ", \"adapters\": {\"2\": {\"collections\": {\"a\": {\"gett\": \"/a\"}}}}",
	  "p/manifest.json (adapter 2):1: collections.a.gett: unknown key; did you mean \"get\"?" },
	{ ", \"adapters\": {\"2\": {\"collections\": {\"a\": {\"get\": null}}}}",
	  "(adapter 2):1: collections.a.get: missing" },
	{ ROTATED(", \"adapters\": {\"2\": {\"webhooks\": {\"events\": {\"x\": {\"do\": \"ignore\", \"credentials\": null}}}}}"),
	  "webhooks.events.x.do: is \"credentials_rotated\" in one adapter and not in another" },
	{ ", \"rollout\": {\"adapter\": {\"2\": 5}}",
	  "rollout.adapter.2: \"adapters\" has no \"2\"" },
	{ ", \"rollout\": {}", "rollout.adapter: missing" },
	{ ", \"adapters\": {\"2\": {}}, \"rollout\": {\"adapter\": {\"2\": 101}}",
	  "rollout.adapter.2: expected 0 to 100 percent" },
	{ ", \"adapters\": {\"2\": {}}, \"rollout\": {\"adapter\": {\"2\": {\"share\": 1}}}",
	  "rollout.adapter.2.share: unknown key" },
	{ ", \"adapters\": {\"2\": {}}, \"rollout\": {\"adapter\": {\"2\": {\"flag\": \"A B\"}}}",
	  "cannot name a flag" },
	{ ", \"adapters\": {\"2\": {}, \"3\": {}}, \"rollout\": {\"adapter\": {\"2\": 60, \"3\": 60}}",
	  "rollout.adapter: 120 percent in all" },
};

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		char *keys = mem_printf("%s%s", LISTS, refused[i][0]);
		struct buf problems = BUF_INIT;
		struct manifest *m = read_with(keys, &problems);

		if (m || !strstr(buf_str(&problems), refused[i][1]))
			fail_msg("%s\nwanted: %s\nfound: %s", refused[i][0], refused[i][1],
				 m ? "accepted" : buf_str(&problems));
		buf_clear(&problems);
		free(keys);
	}
}

/* ---- who gets which ---- */

static const char *name_of(const struct driver *d, int64_t id, const char *setting,
			   const char *wanted_why)
{
	cJSON *settings = cJSON_CreateObject();
	const char *why = NULL;
	const struct driver *v;
	struct err err = { 0 };

	if (setting)
		cJSON_AddStringToObject(settings, "adapter", setting);
	v = driver_for(d, id, settings, &why, &err);
	cJSON_Delete(settings);
	if (!v) {
		assert_int_equal(err.class, ERR_CLIENT);
		return NULL;
	}
	if (wanted_why)
		assert_string_equal(why, wanted_why);
	return v->adapter ? v->adapter : ADAPTER_FIRST;
}

static int in_rollout(const struct driver *d)
{
	int n = 0;

	for (int id = 1; id <= 2000; id++)
		n += strcmp(name_of(d, id, NULL, NULL), "2") == 0;
	return n;
}

/* A set of one driver, from a folder as any. */
static struct driver_set *load(const char *keys, char dir[64])
{
	char *text = mem_printf(LEAST, keys), *path, *folder;
	struct driver_set *s = NULL;
	struct buf problems = BUF_INIT;
	struct err err = { 0 };
	FILE *f;

	strncpy(dir, "/tmp/longshore-test-XXXXXX", 64);
	assert_non_null(mkdtemp(dir));
	folder = mem_printf("%s/p", dir);
	path = mem_printf("%s/manifest.json", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	if (driver_set_load(dir, &s, &problems, &err) < 0 || problems.len)
		fail_msg("%s %s", err.text, buf_str(&problems));
	unlink(path);
	rmdir(folder);
	rmdir(dir);
	free(text);
	free(path);
	free(folder);
	return s;
}

static void chosen(void **state)
{
	char dir[64];
	struct driver_set *s = load(
		LISTS SECOND
		", \"rollout\": {\"adapter\": {\"2\": 10, \"three\": {\"flag\": \"new_one\"}}}",
		dir);
	const struct driver *d = driver_find(s, "p");
	int n = in_rollout(d);

	assert_true(n > 140 && n < 260); /* of 2000, 10 percent */
	assert_int_equal(in_rollout(d), n);
	assert_string_equal(name_of(d, 7, "three", "setting"), "three");
	assert_string_equal(name_of(d, 7, "1", "setting"), "1");
	assert_null(name_of(d, 7, "4", NULL));
	driver_flags("other, new_one");
	assert_string_equal(name_of(d, 7, NULL, "flag"), "three");
	assert_string_equal(name_of(d, 7, "2", "setting"), "2");
	driver_flags("new_on,new_one_");
	assert_string_not_equal(name_of(d, 7, NULL, NULL), "three");
	driver_flags("");
	driver_set_free(s);
}

/* Who is in stays in while the percentage grows. */
static void grows(void **state)
{
	char dir[64];
	struct driver_set *few = load(LISTS SECOND ", \"rollout\": {\"adapter\": {\"2\": 5}}", dir);
	struct driver_set *more =
		load(LISTS SECOND ", \"rollout\": {\"adapter\": {\"2\": {\"percent\": 30}}}", dir);
	struct driver_set *all =
		load(LISTS SECOND ", \"rollout\": {\"adapter\": {\"2\": 100}}", dir);

	for (int id = 1; id <= 2000; id++) {
		if (strcmp(name_of(driver_find(few, "p"), id, NULL, NULL), "2") == 0)
			assert_string_equal(name_of(driver_find(more, "p"), id, NULL, "percent"),
					    "2");
		assert_string_equal(name_of(driver_find(all, "p"), id, NULL, "percent"), "2");
	}
	driver_set_free(few);
	driver_set_free(more);
	driver_set_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlays), cmocka_unit_test(printed), cmocka_unit_test(refusals),
		cmocka_unit_test(chosen),   cmocka_unit_test(grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
