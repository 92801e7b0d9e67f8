/* A Postgres of a test's own, in a folder of its own, on a unix socket; for the tests of what
 * only a real one can answer.  It is stopped, by its pid, and removed at the end.  Also runs a
 * test's body in a coroutine on the loop. */
#ifndef TESTS_UNIT_POSTGRES_H
#define TESTS_UNIT_POSTGRES_H

#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/io/pg.h"

static struct {
	char dir[64], data[96], bin[256], url[160];
	pid_t pid;
} postgres;

static int checks_failed;
/* For use in coroutines, where cmocka's longjmp must not go. */
#define CHECK(x)                                                                          \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			checks_failed++;                                                  \
		}                                                                         \
	} while (0)

/* Postgres refuses to run as root: then as the user that Debian's package made. */
static void become_postgres(void)
{
	const struct passwd *user = getpwnam("postgres");

	if (getuid() != 0)
		return;
	if (!user || setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		_exit(126);
}

static pid_t start(char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		become_postgres();
		if (chdir(postgres.dir) < 0 || !freopen("log", "a", stdout) || dup2(1, 2) < 0)
			_exit(126);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int run_and_wait(char *const argv[])
{
	int status = -1;
	pid_t pid = start(argv);

	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static int find_programs(void)
{
	glob_t found;
	int rc = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found);

	if (rc != 0)
		return -1;
	snprintf(postgres.bin, sizeof(postgres.bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
	*strrchr(postgres.bin, '/') = 0;
	globfree(&found);
	return 0;
}

static void program(char out[300], const char *name)
{
	snprintf(out, 300, "%s/%s", postgres.bin, name);
}

/* In memory where there is such a folder: many small files come and go. */
static bool make_folder(void)
{
	snprintf(postgres.dir, sizeof(postgres.dir), "/dev/shm/longshore-test-XXXXXX");
	if (mkdtemp(postgres.dir))
		return true;
	snprintf(postgres.dir, sizeof(postgres.dir), "/tmp/longshore-test-XXXXXX");
	return mkdtemp(postgres.dir);
}

/* tests/run-unit makes one cluster for all, to be copied: that takes a tenth of initdb. */
static bool copied(void)
{
	char *made = getenv("LONGSHORE_TEST_PGDATA");
	char *copy[] = { "/bin/cp", "-a", made, postgres.data, NULL };

	return made && run_and_wait(copy) == 0;
}

static int postgres_start(void **state)
{
	char initdb[300], server[300];
	char *init[] = { initdb,     "-D", postgres.data, "-A",          "trust",     "-U",
			 "postgres", "-E", "UTF8",        "--no-locale", "--no-sync", NULL };
	char *serve[] = { server,       "-D", postgres.data,       "-k",
			  postgres.dir, "-c", "listen_addresses=", "-c",
			  "fsync=off",  NULL };
	const struct passwd *user = getpwnam("postgres");

	if (find_programs() < 0 || !make_folder())
		return -1;
	if (getuid() == 0 && (!user || chown(postgres.dir, user->pw_uid, user->pw_gid) < 0))
		return -1;
	snprintf(postgres.data, sizeof(postgres.data), "%s/data", postgres.dir);
	snprintf(postgres.url, sizeof(postgres.url), "postgresql:///postgres?host=%s&user=postgres",
		 postgres.dir);
	program(initdb, "initdb");
	program(server, "postgres");
	if (!copied() && run_and_wait(init) != 0)
		return -1;
	postgres.pid = start(serve);
	return postgres.pid > 0 ? loop_init() : -1;
}

static int postgres_stop(void **state)
{
	char *clean[] = { "/bin/rm", "-rf", postgres.dir, NULL };
	pid_t pid;

	loop_close();
	kill(postgres.pid, SIGINT); /* "fast": ends sessions, then itself */
	waitpid(postgres.pid, NULL, 0);
	pid = fork();
	if (pid == 0) {
		execv(clean[0], clean);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

struct test_body {
	void (*fn)(struct pg *p);
	bool done;
};

static void run_body(void *arg)
{
	struct test_body *b = arg;
	struct pg_options o = { .url = postgres.url, .application_name = "test" };
	struct pg *p = NULL;
	struct err err = { 0 };
	int rc = pg_new(&o, &p, &err);

	/* The server may still be starting. */
	if (rc == 0)
		rc = pg_wait_up(p, loop_now_ms() + 30000, &err);
	if (rc < 0)
		fprintf(stderr, "no Postgres: %s\n", err.text);
	CHECK(rc == 0);
	if (rc == 0)
		b->fn(p);
	pg_free(p);
	b->done = true;
	loop_stop();
}

/* Returns how many checks failed. */
static int in_coroutine(void (*fn)(struct pg *p))
{
	struct test_body b = { .fn = fn };

	checks_failed = 0;
	if (!co_spawn("test", run_body, &b) || loop_run() < 0 || !b.done)
		return -1;
	return checks_failed;
}

#endif
