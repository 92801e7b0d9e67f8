/* What one integration has otherwise: put over the manifest, refused with path and line. */
#include "tests/unit/manifests.h"

#include "drivers/driver.h"
#include "drivers/kit/overlay.h"

static const char base_text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example/v1\"}},"
	" \"limits\": [{\"rate\": 10, \"window\": \"1s\"}, {\"scope\": \"partner\", \"rate\": 100, \"window\": \"1s\"}],"
	" \"limit_headers\": [{\"window\": \"1s\", \"limit\": \"L\"}],"
	" \"collections\": {\"a\": {\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\","
	" \"map\": {\"name\": \"n\", \"city\": \"c\"}, \"extra\": [\"x\"]}}}";

static struct manifest *base(void)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(base_text, &problems);

	assert_non_null(m);
	return m;
}

static const struct manifest_column *column(const struct manifest *m, const char *name)
{
	const struct manifest_collection *c = manifest_collection(m, "a");

	for (int i = 0; i < c->n_map; i++)
		if (strcmp(c->map[i].name, name) == 0)
			return &c->map[i];
	return NULL;
}

static void put_over(void **state)
{
	static const char text[] =
		"{\"//\": \"why\", \"limits\": [{\"rate\": 30, \"window\": \"1s\"}, {\"rate\": 600, \"window\": \"60s\"}],"
		" \"collections\": {\"a\": {\"map\": {\"name\": {\"path\": \"title\", \"required\": true}, \"capacity\": \"sleeps\"},"
		" \"extra\": [\"*\"]}}}";
	struct manifest *m = base(), *own = NULL;
	struct buf problems = BUF_INIT;

	assert_int_equal(manifest_overlay(m, "o.json", text, strlen(text), &own, &problems), 0);
	assert_int_equal(problems.len, 0);
	assert_int_equal(own->n_limits, 3);
	assert_int_equal(own->limits[0].rate, 30);
	assert_int_equal(own->limits[1].rate, 600);
	assert_int_equal(own->limits[2].scope, SCOPE_PARTNER);
	assert_int_equal(own->limits[2].rate, 100);
	assert_string_equal(column(own, "name")->path, "title");
	assert_true(column(own, "name")->required);
	assert_string_equal(column(own, "city")->path, "c");
	assert_string_equal(column(own, "capacity")->path, "sleeps");
	assert_string_equal(own->collections[0].extra[0], "*");
	assert_true(own->collections[0].columns != m->collections[0].columns);
	assert_string_equal(own->path, m->path);
	/* the manifest is as it was, and its overlay lives on without it */
	assert_string_equal(column(m, "name")->path, "n");
	assert_int_equal(m->limits[0].rate, 10);
	manifest_free(m);
	assert_string_equal(own->partner, "p");
	manifest_free(own);
}

static const char *const refused[][2] = {
	{ "[]", "o/x.json:1: expected an object, found a list" },
	{ "{", "o/x.json:1: not JSON" },
	{ "{\n\"limts\": []}", "o/x.json:2: limts: unknown key; did you mean \"limits\"?" },
	{ "{\"limits\": [\n{\"rate\": 5}]}", "o/x.json:2: limits[0].window: missing" },
	{ "{\"limits\": [{\"rate\": 5, \"window\": \"1s\", \"scope\": \"partner\"}]}",
	  "limits[0].scope: is a limit of all integrations together" },
	/* what only the whole shows */
	{ "{\n\"limits\": [{\"rate\": 5, \"window\": \"2s\"}, {\"rate\": 5, \"window\": \"2s\"}]}",
	  "o/x.json:2: limits[1]: the same scope and window as limits[0]" },
	{ "{\"limits\": [{\"rate\": 1, \"window\": \"1s\"}]}",
	  "limits[0]: a share of 0.8 of 1 leaves no call" },
	{ "{\"collections\": {\"b\": {}}}", "collections.b: there is no collection \"b\"" },
	{ "{\"collections\": {\"a\": {\"get\": \"/x\"}}}", "collections.a.get: unknown key" },
	{ "{\"collections\": {\"a\": {\n\"map\": {\"nme\": \"n\"}}}}",
	  "o/x.json:2: collections.a.map.nme: the table resources has no such column; did you mean \"name\"?" },
	{ "{\"collections\": {\"a\": {\"map\": {\"name\": 5}}}}",
	  "collections.a.map.name: expected a path or an object" },
	{ "{\"base_url\": \"https://x\"}", "base_url: unknown key" },
};

static void refusals(void **state)
{
	struct manifest *m = base(), *own = NULL;

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct buf problems = BUF_INIT;

		assert_int_equal(manifest_overlay(m, "o/x.json", refused[i][0],
						  strlen(refused[i][0]), &own, &problems),
				 -EINVAL);
		assert_null(own);
		if (!strstr(buf_str(&problems), refused[i][1]))
			fail_msg("wanted: %s\nsaid: %s", refused[i][1], buf_str(&problems));
		buf_clear(&problems);
	}
	manifest_free(m);
}

static void drivers(void **state)
{
	struct manifest *m = base();
	struct driver d = { .manifest = m, .dir = "/x" }, *one = NULL, *two = NULL;
	struct buf problems = BUF_INIT;

	assert_int_equal(driver_overlaid(&d, "o", "{}", &one, &problems), 0);
	assert_int_equal(driver_overlaid(&d, "o", "{\"limits\": 5}", &two, &problems), -EINVAL);
	buf_reset(&problems);
	assert_int_equal(driver_overlaid(&d, "o",
					 "{\"limits\": [{\"rate\": 20, \"window\": \"1s\"}]}", &two,
					 &problems),
			 0);
	assert_true(one->serial && two->serial && one->serial != two->serial);
	assert_string_equal(one->dir, "/x");
	driver_overlaid_free(one);
	driver_overlaid_free(two);
	driver_overlaid_free(NULL);
	manifest_free(m);
	buf_clear(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(put_over), cmocka_unit_test(refusals),
					    cmocka_unit_test(drivers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
