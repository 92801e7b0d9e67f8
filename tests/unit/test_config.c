#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"

/* Settings of one process: each case runs in a child of its own, and what it printed comes back. */
static struct {
	const char *name, *url;
	int64_t count, grace_ms;
	bool dry;
	struct config_common common;
	const char *file;
	int rest;
} got;

static struct config_option options[5 + CONFIG_COMMON_COUNT];

static void options_make(void)
{
	const struct config_option own[5] = {
		{ "name", "TEST_NAME", "NAME", "who it is", CONFIG_STRING, "nobody", 0, 0,
		  &got.name },
		{ "url", NULL, "URL", "where it is", CONFIG_STRING, NULL, 0, 0, &got.url },
		{ "count", "TEST_COUNT", "N", "how many", CONFIG_INT, "3", 1, 100, &got.count },
		{ "grace", "TEST_GRACE", "TIME", "how long", CONFIG_DURATION_MS, "30s", 0, 60000,
		  &got.grace_ms },
		{ "dry", "TEST_DRY", NULL, "only look", CONFIG_BOOL, "false", 0, 0, &got.dry },
	};

	memcpy(options, own, sizeof(own));
	config_common_options(&got.common, options + 5);
}

static int load(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	options_make();
	return config_load("test-prog", "usage: test-prog [flags]", options, ARRAY_LEN(options),
			   argc, argv, &got.file, &got.rest);
}

struct result {
	char out[4096], err[4096];
	int exit;
};

static void slurp(FILE *f, char *text, size_t size)
{
	size_t n;

	rewind(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
}

static struct result *run(int (*fn)(void *), void *arg)
{
	static struct result r;
	FILE *out = tmpfile(), *err = tmpfile();
	int status;
	pid_t pid;

	assert_non_null(out);
	assert_non_null(err);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(err), STDERR_FILENO);
		status = fn(arg);
		fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	r.exit = WEXITSTATUS(status);
	slurp(out, r.out, sizeof(r.out));
	slurp(err, r.err, sizeof(r.err));
	return &r;
}

static void print_got(void)
{
	printf("name=%s url=%s count=%lld grace=%lld dry=%d rest=%d redis=%s key=%s file=%s\n",
	       got.name, got.url ? got.url : "-", (long long)got.count, (long long)got.grace_ms,
	       got.dry, got.rest, got.common.redis_url, got.common.secret_key_file, got.file);
}

static int load_and_print(void *argv)
{
	int rc = load(argv);

	if (rc == 0)
		print_got();
	return rc;
}

#define ARGS(...) ((char *[]){ "test-prog", __VA_ARGS__ __VA_OPT__(, ) NULL })

static void gives(char **argv, const char *want)
{
	struct result *r = run(load_and_print, argv);

	if (r->exit != 0)
		fail_msg("%d: %s", r->exit, r->err);
	assert_string_equal(r->err, "");
	if (strncmp(r->out, want, strlen(want)) != 0)
		fail_msg("%s instead of %s", r->out, want);
}

static void refuses(char **argv, const char *want)
{
	struct result *r = run(load_and_print, argv);

	assert_int_equal(r->exit, EXIT_MISUSED);
	assert_string_equal(r->out, "");
	assert_int_equal(strchr(r->err, '\n') - r->err, strlen(r->err) - 1); /* one line */
	if (!strstr(r->err, want))
		fail_msg("said: %swanted: %s", r->err, want);
}

static const char *file_of(const char *text)
{
	static char path[] = "/tmp/test_config.conf.XXXXXX";
	static bool made;
	FILE *f;

	if (!made)
		close(mkstemp(path));
	made = true;
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static void defaults(void **state)
{
	gives(ARGS(),
	      "name=nobody url=- count=3 grace=30000 dry=0 rest=1 redis=redis://127.0.0.1:6379/0 key= file=\n");
}

static void flags(void **state)
{
	gives(ARGS("--name", "x", "--count=7", "--grace", "250ms", "--dry"),
	      "name=x url=- count=7 grace=250 dry=1 rest=7");
	gives(ARGS("--dry=false", "--name=", "--url", "-"),
	      "name= url=- count=3 grace=30000 dry=0 rest=5");
	gives(ARGS("--count", "1", "status", "--count", "2"),
	      "name=nobody url=- count=1 grace=30000 dry=0 rest=3");
	gives(ARGS("--count", "1", "--", "--count", "2"),
	      "name=nobody url=- count=1 grace=30000 dry=0 rest=4");
	gives(ARGS("-", "--count", "2"), "name=nobody url=- count=3 grace=30000 dry=0 rest=1");
	gives(ARGS("--count", "1", "--count", "2"), "name=nobody url=- count=2");
	gives(ARGS("--name=--odd"), "name=--odd");
}

static void the_order_of_sources(void **state)
{
	char *path = (char *)file_of(
		"# settings\n\nname = from file\n count=4 \ngrace = 1s\nredis = redis://h/1\n"
		"name = a # is kept\n");

	gives(ARGS("--config", path),
	      "name=a # is kept url=- count=4 grace=1000 dry=0 rest=3 redis=redis://h/1");
	setenv("TEST_NAME", "env", 1);
	setenv("TEST_COUNT", "", 1); /* empty is not set */
	gives(ARGS("--config", path), "name=env url=- count=4");
	gives(ARGS("--config", path, "--name", "flag"), "name=flag url=- count=4");
	unsetenv("TEST_NAME");
	unsetenv("TEST_COUNT");
	setenv("LONGSHORE_CONFIG", path, 1);
	gives(ARGS(), "name=a # is kept url=- count=4");
	unsetenv("LONGSHORE_CONFIG");
	setenv("TEST_DRY", "yes", 1);
	gives(ARGS(), "name=nobody url=- count=3 grace=30000 dry=1");
	unsetenv("TEST_DRY");
}

static void bad_flags(void **state)
{
	refuses(ARGS("--cuont", "3"), "test-prog: unknown flag --cuont; did you mean --count?");
	refuses(ARGS("--zzzzzzzz"), "unknown flag --zzzzzzzz\n");
	refuses(ARGS("--token=hunter2"), "unknown flag --token\n");
	refuses(ARGS("-x"), "unknown flag -x");
	refuses(ARGS("--confg", "f"), "did you mean --config?");
	refuses(ARGS("--count"), "--count needs a value");
	refuses(ARGS("--name", "--dry"), "--name needs a value");
	refuses(ARGS("--config"), "--config needs a value");
	refuses(ARGS("--count", "x"), "--count: \"x\" is no number");
	refuses(ARGS("--count", "3x"), "--count: \"3x\" is no number");
	refuses(ARGS("--count", " 3"), "is no number");
	refuses(ARGS("--count="), "--count: \"\" is no number");
	refuses(ARGS("--count", "99999999999999999999"), "is no number");
	refuses(ARGS("--count", "0"), "--count: \"0\" is out of bounds (1 to 100)");
	refuses(ARGS("--count", "101"), "out of bounds");
	refuses(ARGS("--grace", "2m"), "--grace: \"2m\" is out of bounds (0ms to 60000ms)");
	refuses(ARGS("--grace", "soon"), "--grace: \"soon\" is no duration (250ms");
	refuses(ARGS("--dry=maybe"), "--dry: \"maybe\" is neither true nor false");
}

static void bad_sources(void **state)
{
	char *path = (char *)file_of("name = x\ncuont = 4\n");
	char want[300];

	snprintf(want, sizeof(want), "%s:2: unknown setting \"cuont\"; did you mean count?", path);
	refuses(ARGS("--config", path), want);
	file_of("count 4\n");
	snprintf(want, sizeof(want), "%s:1: expected name = value", path);
	refuses(ARGS("--config", path), want);
	file_of("\n\ncount = four\n");
	snprintf(want, sizeof(want), "%s:3: count: \"four\" is no number", path);
	refuses(ARGS("--config", path), want);
	refuses(ARGS("--config", "/nonexistent"),
		"cannot read /nonexistent: No such file or directory");
	refuses(ARGS("--config", "/tmp"), "cannot read /tmp: ");
	setenv("TEST_COUNT", "four", 1);
	refuses(ARGS(), "test-prog: TEST_COUNT: \"four\" is no number");
	gives(ARGS("--count", "4"), "name=nobody url=- count=4");
	unsetenv("TEST_COUNT");
}

static void passwords_are_no_flags(void **state)
{
	static const char *const bad[] = {
		"redis://:hunter2@h:6379/0",  "redis://user:hunter2@h",
		"postgresql://u:hunter2@/db", "postgresql:///db?password=hunter2",
		"host=h password=hunter2",    "host=h Password = hunter2",
		"redis://:hun/ter2@h:6379/0", "postgres:///db?user=x&password=hunter2",
	};
	static const char *const good[] = {
		"redis://h:6379/0",       "postgresql://user@h/db",
		"postgresql:///db",       "redis://user:@h",
		"host=h dbname=password", "http://h:80/a@b",
		"passwordless",           "unix:///run/redis.sock",
		"http://[::1]:80/x",      "postgresql:///db?passwordless=1"
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct result *r = run(load_and_print, ARGS("--redis", (char *)bad[i]));

		if (r->exit != EXIT_MISUSED)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(r->err, "--redis: a password"));
		assert_non_null(strstr(r->err, "LONGSHORE_REDIS_URL"));
		assert_null(strstr(r->err, "hunter2"));
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (run(load_and_print, ARGS("--redis", (char *)good[i]))->exit != 0)
			fail_msg("refused: %s", good[i]);
	refuses(ARGS("--url", "http://u:hunter2@h/"), "file for --config");
	setenv("LONGSHORE_REDIS_URL", "redis://:hunter2@h", 1);
	gives(ARGS(),
	      "name=nobody url=- count=3 grace=30000 dry=0 rest=1 redis=redis://:hunter2@h");
	unsetenv("LONGSHORE_REDIS_URL");
}

static void help_and_version(void **state)
{
	struct result *r = run(load_and_print, ARGS("--help"));

	assert_int_equal(r->exit, 0);
	assert_memory_equal(r->out, "usage: test-prog [flags]\n", 25);
	assert_non_null(
		strstr(r->out, "  --count N                 how many (TEST_COUNT; default 3)\n"));
	assert_non_null(
		strstr(r->out,
		       "  --dry                     only look (TEST_DRY; default false)\n"));
	assert_non_null(strstr(r->out, "  --url URL                 where it is\n"));
	assert_non_null(strstr(r->out, "--config FILE"));
	assert_non_null(strstr(r->out, "LONGSHORE_DATABASE_URL; default postgresql:///longshore"));
	assert_string_equal(r->err, "");
	assert_int_equal(run(load_and_print, ARGS("-h"))->exit, 0);
	r = run(load_and_print, ARGS("--version"));
	assert_int_equal(r->exit, 0);
	assert_string_equal(r->out, "test-prog " LONGSHORE_VERSION "\n");
	/* asked for together with what is unset elsewhere, help still answers */
	setenv("TEST_COUNT", "bad", 1);
	assert_int_equal(run(load_and_print, ARGS("--help"))->exit, 0);
	unsetenv("TEST_COUNT");
}

/* A command's own flags are a second table: the first one's names in the file, and its flags, stand. */
static int two_tables(void *path)
{
	static int64_t limit;
	static const struct config_option second[] = {
		{ "limit", NULL, "N", "at most", CONFIG_INT, "10", 0, 0, &limit },
		{ "count", NULL, "N", "how many", CONFIG_INT, "3", 0, 0, &got.count },
	};
	char **argv = ARGS("--config", path, "--count", "42", "list", "--limit", "5", "x");
	int rest;

	if (load(argv) != 0)
		return 1;
	setenv("LONGSHORE_CONFIG", path, 1);
	if (config_load("test-prog list", "usage", second, 2, 8 - got.rest, argv + got.rest, NULL,
			&rest) != 0)
		return 1;
	printf("limit=%d count=%d rest=%d name=%s\n", (int)limit, (int)got.count, rest, got.name);
	return 0;
}

static void tables_add_up(void **state)
{
	char *path = (char *)file_of("name = filed\n");
	struct result *r = run(two_tables, path);

	assert_string_equal(r->err, "");
	assert_string_equal(r->out, "limit=5 count=42 rest=3 name=filed\n");
}

static void drivers_have_a_default(void **state)
{
	options_make();
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strcmp(options[i].name, "drivers") == 0) {
			assert_int_equal(options[i].fallback[0], '/');
			assert_non_null(strstr(options[i].fallback, "/drivers"));
			return;
		}
	fail_msg("no option named drivers");
}

static void nearest_names(void **state)
{
	static const char *const names[] = { "listings", "reservations", "photos", "id", NULL };

	assert_string_equal(config_nearest("lsitings", names, 4), "listings");
	assert_string_equal(config_nearest("listing", names, 4), "listings");
	assert_string_equal(config_nearest("reservatoins", names, 4), "reservations");
	assert_string_equal(config_nearest("foto", names, 5) ? "x" : "none", "none");
	assert_string_equal(config_nearest("fotos", names, 4) ? "x" : "none", "none");
	assert_string_equal(config_nearest("phots", names, 4), "photos");
	assert_string_equal(config_nearest("id", names, 4), "id");
	assert_null(config_nearest("ix", names, 4));
	assert_null(config_nearest("", names, 4));
	assert_null(config_nearest(NULL, names, 4));
	assert_null(config_nearest("listings", names, 0));
	assert_null(config_nearest(
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", names,
		4));
}

static int remove_file(void **state)
{
	unlink(file_of(""));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(flags),
		cmocka_unit_test(the_order_of_sources),
		cmocka_unit_test(bad_flags),
		cmocka_unit_test(bad_sources),
		cmocka_unit_test(passwords_are_no_flags),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(tables_add_up),
		cmocka_unit_test(drivers_have_a_default),
		cmocka_unit_test(nearest_names),
	};

	unsetenv("LONGSHORE_CONFIG");
	unsetenv("LONGSHORE_REDIS_URL");
	unsetenv("LONGSHORE_SECRET_KEY_FILE");
	return cmocka_run_group_tests(tests, NULL, remove_file);
}
