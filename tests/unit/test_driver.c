/* Folders of drivers; the drivers that are shipped; and every manifest that the documentation shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "drivers/driver.h"

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/test_driver.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Makes DIR/PARTNER/manifest.json. */
static void make_driver(const char *dir, const char *folder, const char *partner, const char *more)
{
	char *path = mem_printf("%s/%s", root, dir), *file;
	FILE *f;

	mkdir(path, 0755);
	free(path);
	path = mem_printf("%s/%s/%s", root, dir, folder);
	mkdir(path, 0755);
	file = mem_printf("%s/manifest.json", path);
	f = fopen(file, "we");
	assert_non_null(f);
	fprintf(f,
		"{\"partner\": \"%s\", \"manifest\": 1,\n\"api\": {\"base\": {\"production\": \"https://h\"}}%s}",
		partner, more);
	fclose(f);
	free(file);
	free(path);
}

static struct driver_set *load(const char *dirs, struct buf *problems)
{
	struct driver_set *s = NULL;
	struct err err = { 0 };

	if (driver_set_load(dirs, &s, problems, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void two_folders(void **state)
{
	char *dirs = mem_printf("%s/one:%s/two/", root, root);
	struct buf problems = BUF_INIT;
	struct driver_set *s;

	make_driver("one", "bee", "bee", "");
	make_driver("one", "ant", "ant", ", \"title\": \"first\"");
	make_driver("two", "ant", "ant", ", \"title\": \"second\"");
	make_driver("two", "cat", "cat", "");
	make_driver("two", "kit", "kit", ", \"wrong\": 1");
	make_driver("two", "template", "template", ", \"wrong\": 1");
	make_driver("two", ".git", "x", ", \"wrong\": 1");
	s = load(dirs, &problems);
	assert_string_equal(buf_str(&problems), "");
	assert_int_equal(driver_set_count(s), 3);
	assert_string_equal(driver_at(s, 0)->manifest->partner, "ant");
	assert_string_equal(driver_at(s, 1)->manifest->partner, "bee");
	assert_string_equal(driver_at(s, 2)->manifest->partner, "cat");
	assert_null(driver_at(s, 3));
	assert_null(driver_at(s, -1));
	assert_string_equal(driver_find(s, "ant")->manifest->title, "first");
	assert_non_null(strstr(driver_find(s, "cat")->dir, "/two/cat"));
	assert_null(driver_find(s, "cat")->hooks);
	assert_null(driver_find(s, "dog"));
	driver_set_free(s);
	buf_clear(&problems);
	free(dirs);
}

static void broken_ones_are_left_out(void **state)
{
	char *dir = mem_printf("%s/three", root);
	struct buf problems = BUF_INIT;
	struct driver_set *s;

	make_driver("three", "fine", "fine", "");
	make_driver("three", "odd", "other", "");
	make_driver("three", "typo", "typo", ",\n\"titel\": \"x\"");
	make_driver("three", "hook", "hook", ", \"hooks\": {\"decode_body\": true}");
	s = load(dir, &problems);
	assert_int_equal(driver_set_count(s), 1);
	assert_non_null(driver_find(s, "fine"));
	assert_non_null(strstr(
		problems.data,
		"/three/odd/manifest.json:1: partner: \"other\" stands in the folder \"odd\""));
	assert_non_null(
		strstr(problems.data,
		       "/three/typo/manifest.json:3: titel: unknown key; did you mean \"title\"?"));
	assert_non_null(strstr(problems.data, "has no decode_body"));
	driver_set_free(s);
	buf_clear(&problems);
	free(dir);
}

static void no_folder(void **state)
{
	struct driver_set *s = NULL;
	struct buf problems = BUF_INIT;
	struct err err = { 0 };

	assert_int_equal(driver_set_load("/nowhere/drivers", &s, &problems, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/drivers"));
	assert_null(s);
	driver_set_free(NULL);
	buf_clear(&problems);
}

static void shipped(void **state)
{
	struct buf problems = BUF_INIT;
	struct driver_set *s = load("drivers", &problems);
	const struct driver *guesty = driver_find(s, "guesty");

	assert_string_equal(buf_str(&problems), "");
	assert_non_null(guesty);
	assert_int_equal(guesty->manifest->auth.mint_count, 5);
	assert_int_equal(guesty->manifest->concurrency_integration, 12);
	assert_int_equal(guesty->manifest->n_limits, 3);
	assert_string_equal(manifest_collection(guesty->manifest, "photos")->embedded, "pictures");
	driver_set_free(s);
	buf_clear(&problems);
}

static void the_template(void **state)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;

	if (manifest_load("drivers/template/manifest.json", &m, &problems) != 0)
		fail_msg("%s", problems.data);
	assert_string_equal(m->partner, "template");
	manifest_free(m);
	buf_clear(&problems);
}

static char *read_all(const char *path)
{
	struct buf text = BUF_INIT;
	char block[512];
	size_t n;
	FILE *f = fopen(path, "re");

	if (!f)
		return NULL;
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_append(&text, block, n);
	fclose(f);
	return buf_detach(&text);
}

/* What stands between ```json and ``` and begins a manifest must be one. Returns how many did. */
static int check_examples(const char *path)
{
	char *text = read_all(path);
	int n = 0;

	assert_non_null(text);
	for (const char *p = strstr(text, "```json\n"); p; p = strstr(p, "```json\n")) {
		const char *start = p + 8, *end = strstr(start, "```");
		struct buf problems = BUF_INIT;
		struct manifest *m = NULL;

		assert_non_null(end);
		p = end + 3;
		if (!memmem(start, (size_t)(end - start), "\"manifest\"", 10))
			continue;
		if (manifest_parse("manifest.json", start, (size_t)(end - start), &m, &problems) !=
		    0)
			fail_msg("%s: %s", path, problems.data);
		manifest_free(m);
		buf_clear(&problems);
		n++;
	}
	free(text);
	return n;
}

static void examples(void **state)
{
	assert_int_equal(check_examples("drivers/README.md"), 1);
	check_examples("README.md");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_folders),  cmocka_unit_test(broken_ones_are_left_out),
		cmocka_unit_test(no_folder),    cmocka_unit_test(shipped),
		cmocka_unit_test(the_template), cmocka_unit_test(examples),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
