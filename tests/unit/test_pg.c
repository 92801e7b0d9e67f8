/* The pool against a Postgres of the test's own, over a unix socket and TCP, with what befalls
 * one: sessions terminated, a crash, a backend that freezes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/io/pg_conn.h"

static struct {
	char dir[64], data[80], bin[200], url[200], tcp_url[200], port[8];
	pid_t pid;
} server;

static struct pg *pg;

/* Postgres refuses to run as root. */
static void become_postgres(void)
{
	const struct passwd *user = getpwnam("postgres");

	if (getuid() != 0)
		return;
	if (!user || setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		_exit(126);
}

static pid_t launch(const char *program, char *const argv[])
{
	char path[300];
	pid_t pid = fork();

	if (pid == 0) {
		become_postgres();
		snprintf(path, sizeof(path), "%s/%s", server.bin, program);
		if (chdir(server.dir) < 0 || !freopen("log", "a", stdout) || dup2(1, 2) < 0)
			_exit(126);
		execv(path, argv);
		_exit(127);
	}
	return pid;
}

static int find_programs(void)
{
	glob_t found;

	if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0)
		return -1;
	snprintf(server.bin, sizeof(server.bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
	*strrchr(server.bin, '/') = '\0';
	globfree(&found);
	return 0;
}

static void pick_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&a, &len) == 0)
		snprintf(server.port, sizeof(server.port), "%d", ntohs(a.sin_port));
	close(fd);
}

static void server_start(void)
{
	char *serve[] = { "postgres",           "-D", server.data, "-k", server.dir,  "-h",
			  "127.0.0.1",          "-p", server.port, "-c", "fsync=off", "-c",
			  "max_connections=20", NULL };

	server.pid = launch("postgres", serve);
}

static void server_stop(int sig)
{
	kill(server.pid, sig);
	waitpid(server.pid, NULL, 0);
}

static int setup(void **state)
{
	char *init[] = { "initdb", "-D", server.data, "-A",          "trust",     "-U",
			 "tester", "-E", "UTF8",      "--no-locale", "--no-sync", NULL };
	const struct passwd *user = getpwnam("postgres");
	int status = -1;
	pid_t pid;

	snprintf(server.dir, sizeof(server.dir), "/tmp/longshore-pg-XXXXXX");
	if (find_programs() < 0 || !mkdtemp(server.dir))
		return -1;
	if (getuid() == 0 && (!user || chown(server.dir, user->pw_uid, user->pw_gid) < 0))
		return -1;
	snprintf(server.data, sizeof(server.data), "%s/data", server.dir);
	pid = launch("initdb", init);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return -1;
	pick_port();
	snprintf(server.url, sizeof(server.url),
		 "postgresql:///postgres?host=%s&port=%s&user=tester", server.dir, server.port);
	snprintf(server.tcp_url, sizeof(server.tcp_url),
		 "postgres://tester:tops3cret@localhost:%s/postgres", server.port);
	server_start();
	return loop_init();
}

static int teardown(void **state)
{
	char *clean[] = { "rm", "-rf", server.dir, NULL };
	pid_t pid;

	loop_close();
	server_stop(SIGINT); /* "fast" */
	pid = fork();
	if (pid == 0) {
		execvp(clean[0], clean);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

#define WAIT_UNTIL(what)                                          \
	for (int64_t end_ = clock_mono_ms() + 100000; !(what);) { \
		assert_true(clock_mono_ms() < end_);              \
		assert_int_equal(co_sleep("until " #what, 2), 0); \
	}

static int64_t in(int64_t ms)
{
	return loop_now_ms() + ms;
}

static struct pg *pool(const char *url, int connections, int64_t timeout_ms)
{
	struct pg_options o = { .url = url,
				.application_name = "test_pg",
				.max_connections = connections,
				.timeout_ms = timeout_ms };
	struct err err = { 0 };
	struct pg *p = NULL;

	assert_int_equal(pg_new(&o, &p, &err), 0);
	assert_false(pg_is_up(p));
	assert_int_equal(pg_wait_up(p, in(100000), &err), 0);
	return p;
}

static int64_t number(struct pg *p, const char *sql)
{
	PGresult *res = NULL;
	struct err err = { 0 };
	int64_t n;

	assert_int_equal(pg_exec(p, sql, NULL, &res, in(10000), &err), 0);
	n = pg_get_int(res, 0, 0);
	PQclear(res);
	return n;
}

static void do_sql(const char *sql)
{
	assert_int_equal(pg_exec(pg, sql, NULL, NULL, in(10000), NULL), 0);
}

static void check_text(const char *sql, struct pg_params *params, const char *want)
{
	PGresult *res = NULL;
	struct err err = { 0 };

	if (pg_exec(pg, sql, params, &res, in(10000), &err) < 0)
		fail_msg("%s: %s %s", sql, err.rule, err.text);
	if (want)
		assert_string_equal(pg_get(res, 0, 0), want);
	else
		assert_null(pg_get(res, 0, 0));
	PQclear(res);
	pg_params_clear(params);
	pg_params_init(params);
}

static void test_params(void)
{
	struct buf bytes = BUF_INIT;
	struct pg_params p;
	PGresult *res = NULL;

	pg_params_init(&p);
	pg_text(&p, "h\xc3\xa9'; drop table x --");
	check_text("select $1::text", &p, "h\xc3\xa9'; drop table x --");
	pg_text_n(&p, "abcdef", 3);
	check_text("select $1::text", &p, "abc");
	pg_text(&p, NULL);
	check_text("select $1::text", &p, NULL);
	pg_null(&p);
	check_text("select $1::int", &p, NULL);
	pg_int(&p, INT64_MIN);
	check_text("select $1", &p, "-9223372036854775808");
	pg_int(&p, 42);
	check_text("select $1 + 0::int4", &p, "42");
	pg_bool(&p, true);
	pg_bool(&p, false);
	check_text("select $1::text || $2::text", &p, "truefalse");
	buf_append(&bytes, "\0\1\xff", 3);
	pg_binary(&p, PG_BYTEA, &bytes);
	assert_null(bytes.data);
	check_text("select encode($1, 'hex')", &p, "0001ff");
	assert_int_equal(pg_execv(pg, &res, in(5000), NULL, "select $1::int + $2::int, null", "40",
				  "2", NULL),
			 0);
	assert_int_equal(pg_get_int(res, 0, 0), 42);
	assert_int_equal(pg_get_int(res, 0, 1), 0);
	PQclear(res);
	pg_params_clear(&p);
}

static void test_arrays(void)
{
	struct pg_params p;
	struct pg_array a;

	pg_params_init(&p);
	pg_array_init(&a, PG_INT8);
	pg_array_int8(&a, INT64_MAX);
	pg_array_null(&a);
	pg_array_int8(&a, -1);
	pg_array_param(&p, &a);
	check_text("select $1::text", &p, "{9223372036854775807,NULL,-1}");
	pg_array_init(&a, PG_TEXT);
	pg_array_text(&a, "a,\"b\\", 5);
	pg_array_text(&a, "", 0);
	pg_array_null(&a);
	pg_array_text(&a, "NULL", 4);
	pg_array_param(&p, &a);
	check_text("select to_json($1)::text", &p, "[\"a,\\\"b\\\\\",\"\",null,\"NULL\"]");
	pg_array_init(&a, PG_FLOAT8);
	pg_array_float8(&a, 0.1);
	pg_array_float8(&a, -1e300);
	pg_array_null(&a);
	pg_array_param(&p, &a);
	check_text("select $1::text", &p, "{0.1,-1e+300,NULL}");
	pg_array_init(&a, PG_BOOL);
	pg_array_bool(&a, true);
	pg_array_null(&a);
	pg_array_bool(&a, false);
	pg_array_param(&p, &a);
	check_text("select $1::text", &p, "{t,NULL,f}");
	pg_array_init(&a, PG_JSONB);
	pg_array_text(&a, "{\"a\": [1, null]}", 16);
	pg_array_null(&a);
	pg_array_param(&p, &a);
	check_text("select to_json($1)::text", &p, "[{\"a\": [1, null]},null]");
	pg_array_init(&a, PG_JSON);
	pg_array_text(&a, "[ ]", 3);
	pg_array_null(&a);
	pg_array_param(&p, &a);
	check_text("select to_json($1)::text", &p, "[[ ],null]");
	pg_array_init(&a, PG_BYTEA);
	pg_array_text(&a, "\0\xff", 2);
	pg_array_null(&a);
	pg_array_param(&p, &a);
	check_text("select encode(($1)[1], 'hex') || array_length($1, 1)", &p, "00ff2");
	pg_array_init(&a, PG_TIMESTAMPTZ);
	pg_array_time_us(&a, 1700000000123456);
	pg_array_null(&a);
	pg_array_time_us(&a, 0);
	pg_array_param(&p, &a);
	check_text(
		"select (select string_agg(coalesce((extract(epoch from t))::text, 'null'), ' ') from unnest($1) t)",
		&p, "1700000000.123456 null 0.000000");
	pg_array_init(&a, PG_DATE);
	pg_array_date(&a, 0);
	pg_array_null(&a);
	pg_array_date(&a, 19000);
	pg_array_param(&p, &a);
	check_text("select to_json($1)::text", &p, "[\"1970-01-01\",null,\"2022-01-08\"]");
	pg_params_clear(&p);
}

static void test_array_edges(void)
{
	struct pg_params p;
	struct pg_array a;

	pg_params_init(&p);
	pg_array_init(&a, PG_TEXT);
	pg_array_param(&p, &a);
	check_text("select count(*)::text || ($1 = '{}')::text from unnest($1)", &p, "0true");
	pg_array_init(&a, PG_INT8);
	pg_array_null(&a);
	pg_array_param(&p, &a);
	check_text("select $1::text", &p, "{NULL}");
	pg_array_init(&a, PG_INT8);
	for (int i = 1; i <= 100000; i++)
		pg_array_int8(&a, i);
	pg_array_param(&p, &a);
	check_text("select sum(x)::text from unnest($1) x", &p, "5000050000");
	pg_array_init(&a, PG_TEXT);
	pg_array_text(&a, "dropped", 7);
	pg_array_clear(&a);
	pg_params_clear(&p);
}

static void check_refusal(const char *sql, const char *state, enum err_class class)
{
	struct err err = { 0 };
	PGresult *res = (PGresult *)&err; /* must stay as it is */

	assert_int_equal(pg_exec(pg, sql, NULL, &res, in(5000), &err), -EPROTO);
	assert_ptr_equal(res, &err);
	assert_string_equal(err.rule, state);
	assert_int_equal(err.class, class);
	assert_true(err.text[0] != '\0');
}

static void test_refusals(void)
{
	do_sql("create table t (id int8 primary key, v text)");
	do_sql("insert into t values (1, 'one')");
	check_refusal("select 1/0", "22012", ERR_DATA);
	check_refusal("insert into t values (1)", "23505", ERR_DATA);
	check_refusal("select nonsense", "42703", ERR_INTERNAL);
	check_refusal("not sql", "42601", ERR_INTERNAL);
	check_refusal("select 1; select 2", "42601", ERR_INTERNAL);
	check_refusal("do $$ begin raise exception using errcode = '40001'; end $$", "40001",
		      ERR_TRANSIENT);
	check_refusal("do $$ begin raise exception using errcode = '53100'; end $$", "53100",
		      ERR_TRANSIENT);
	do_sql(""); /* an empty statement is one too */
	assert_int_equal(number(pg, "select count(*) from t"), 1);
	do_sql("drop table t");
}

static void test_exec_all(void)
{
	struct pg_statement good[] = { { "insert into t values (1)", NULL },
				       { "select count(*) from t", NULL },
				       { "update t set id = 2 returning id", NULL } };
	struct pg_statement bad[] = { { "insert into t values (3)", NULL },
				      { "insert into t values (1/0)", NULL },
				      { "insert into t values (4)", NULL } };
	PGresult *res[3] = { NULL };
	struct err err = { 0 };

	do_sql("create table t (id int8 primary key)");
	assert_int_equal(pg_exec_all(pg, good, 3, res, in(5000), &err), 0);
	assert_int_equal(pg_get_int(res[1], 0, 0), 1);
	assert_int_equal(pg_get_int(res[2], 0, 0), 2);
	for (int i = 0; i < 3; i++) {
		PQclear(res[i]);
		res[i] = NULL;
	}
	assert_int_equal(pg_exec_all(pg, bad, 3, res, in(5000), &err), -EPROTO);
	assert_string_equal(err.rule, "22012");
	assert_null(res[0]);
	assert_int_equal(number(pg, "select count(*) from t"), 1); /* neither 3 nor 4 */
	do_sql("drop table t");
}

/* Settings are for a transaction.  What is sent again and again is prepared where the session is ours alone; where that is
 * lost, the request is refused as one that may come again, and a new session serves it. */
static void test_session(void)
{
	/* of little patience: no statement before each, so that it may discard all */
	struct pg *p = pool(server.url, 1, 5000);
	const char *again = "select 1";
	struct err err = { 0 };
	int64_t pid = number(p, "select pg_backend_pid()");

	assert_int_equal(pg_exec(p, "select set_config('longshore.x', 'y', true)", NULL, NULL,
				 in(5000), NULL),
			 0);
	assert_int_equal(
		number(p, "select (coalesce(current_setting('longshore.x', true), '') = '')::int"),
		1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(number(p, again), 1);
	assert_int_equal(number(p, "select count(*) from pg_prepared_statements where statement ="
				   " 'select 1'"),
			 1);
	assert_int_equal(pg_exec(p, "discard all", NULL, NULL, in(5000), NULL), 0);
	assert_int_equal(pg_exec(p, again, NULL, NULL, in(5000), &err), -EPROTO);
	assert_string_equal(err.rule, "26000");
	assert_int_equal(err.class, ERR_TRANSIENT);
	assert_int_equal(number(p, again), 1);
	assert_true(number(p, "select pg_backend_pid()") != pid);
	pg_free(p);
}

/* A text that now and then brings another type, or none, is never sent under a name that expects the first. */
static void test_session_types(void)
{
	struct pg *p = pool(server.url, 1, 20000);
	PGresult *res = NULL;

	for (int i = 0; i < 8; i++) {
		struct pg_params params;

		pg_params_init(&params);
		if (i % 4 == 0)
			pg_null(&params);
		else if (i % 4 == 1)
			pg_int(&params, i);
		else
			pg_text(&params, "7");
		assert_int_equal(pg_exec(p, "select $1::int8", &params, &res, in(5000), NULL), 0);
		assert_int_equal(pg_get_int(res, 0, 0), i % 4 == 0 ? 0 : i % 4 == 1 ? i : 7);
		PQclear(res);
		pg_params_clear(&params);
	}
	pg_free(p);
}

struct many {
	int n, ok, refused, reset, timed_out, other;
	int64_t sum;
	bool poison_checked;
};

static void on_many(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct many *m = arg;

	m->n--;
	m->ok += rc == 0;
	m->refused += rc == -EPROTO;
	m->reset += rc == -ECONNRESET;
	m->timed_out += rc == -ETIMEDOUT;
	m->other += rc != 0 && rc != -EPROTO && rc != -ECONNRESET && rc != -ETIMEDOUT;
	if (rc == 0) {
		m->sum += pg_get_int(results[0], 0, 0);
		for (int i = 0; i < n; i++)
			PQclear(results[i]);
	} else {
		assert_non_null(err);
		assert_true(err->text[0] != '\0');
	}
}

static void send_many(struct pg *p, struct many *m, int n, const char *sql)
{
	for (int i = 0; i < n; i++) {
		struct pg_params params;
		struct pg_statement st = { sql, &params };

		pg_params_init(&params);
		pg_int(&params, i);
		m->n++;
		pg_send(p, &st, 1, on_many, m);
		pg_params_clear(&params);
	}
}

static void many_end(const struct many *m)
{
	WAIT_UNTIL(m->n == 0);
}

static void test_pipeline(void)
{
	struct many m = { 0 };

	send_many(pg, &m, 10000, "select $1::int8");
	assert_int_equal(m.ok, 0); /* nothing is called back from pg_send itself */
	many_end(&m);
	assert_int_equal(m.ok, 10000);
	assert_int_equal(m.sum, 49995000);
}

/* Large parameters and answers both ways at once, on one connection: a blocking client would
 * deadlock. */
static void test_both_ways(void)
{
	struct pg *one = pool(server.url, 1, 0);
	char *big = mem_alloc(1 << 20);
	struct many m = { 0 };

	memset(big, 'x', 1 << 20);
	for (int i = 0; i < 40; i++) {
		struct pg_params params;
		struct pg_statement st = { "select length($1) as n, repeat($1, 4) as r", &params };

		pg_params_init(&params);
		pg_text_n(&params, big, 1 << 20);
		m.n++;
		pg_send(one, &st, 1, on_many, &m);
		pg_params_clear(&params);
	}
	many_end(&m);
	assert_int_equal(m.ok, 40);
	assert_int_equal(m.sum, 40 << 20);
	free(big);
	pg_free(one);
}

/* One connection, so all stand in one pipeline: the poison is alone with its error. */
static void test_poison(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct many m = { 0 };

	send_many(one, &m, 60, "select 10 / ($1 - 30)");
	many_end(&m);
	assert_int_equal(m.refused, 1);
	assert_int_equal(m.ok, 59);
	pg_free(one);
}

static void test_terminated(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct many m = { 0 };
	struct err err = { 0 };
	int64_t pid = number(one, "select pg_backend_pid()");
	char sql[100];

	/* Idle: noticed, and replaced without anyone's failure. */
	snprintf(sql, sizeof(sql), "select pg_terminate_backend(%lld)", (long long)pid);
	do_sql(sql);
	WAIT_UNTIL(!pg_is_up(one));
	assert_int_equal(pg_wait_up(one, in(5000), &err), 0);
	pid = number(one, "select pg_backend_pid()");
	/* With requests under way: those before the end are answered, the others are told. */
	send_many(one, &m, 10, "select $1");
	send_many(one, &m, 10, "select $1 from pg_sleep(5)");
	WAIT_UNTIL(m.ok == 10);
	snprintf(sql, sizeof(sql), "select pg_terminate_backend(%lld)", (long long)pid);
	do_sql(sql);
	many_end(&m);
	assert_int_equal(m.ok, 10);
	assert_int_equal(m.reset, 10);
	assert_true(number(one, "select pg_backend_pid()") != pid);
	pg_free(one);
}

static void test_own_terminate(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct err err = { 0 };

	assert_int_equal(pg_exec(one, "select pg_terminate_backend(pg_backend_pid())", NULL, NULL,
				 in(5000), &err),
			 -ECONNRESET);
	assert_non_null(strstr(err.text, "administrator command"));
	assert_int_equal(err.class, ERR_TRANSIENT);
	assert_int_equal(number(one, "select 7"), 7);
	pg_free(one);
}

static void test_restart(void)
{
	static const char asleep[] =
		"select count(*) from pg_stat_activity where query like '%pg_sleep(0.5)' and state = 'active'";
	struct many before = { 0 }, while_down = { 0 };
	struct pg *watcher = pool(server.url, 1, 0);
	struct err err = { 0 };
	int64_t begun;

	send_many(pg, &before, 30, "select $1 from pg_sleep(0.5)");
	WAIT_UNTIL(number(watcher, asleep) == 4);
	pg_free(watcher);
	server_stop(SIGQUIT); /* "immediate" */
	WAIT_UNTIL(!pg_is_up(pg));
	assert_true(before.reset >= 4);
	assert_int_equal(pg_wait_up(pg, in(300), &err), -ETIMEDOUT);
	assert_true(err.text[0] != '\0');
	assert_null(strstr(err.text, "tops3cret"));
	send_many(pg, &while_down, 200, "select $1::int8");
	server_start();
	begun = clock_mono_ms();
	assert_int_equal(pg_wait_up(pg, in(100000), &err), 0);
	many_end(&while_down);
	many_end(&before);
	assert_int_equal(before.reset + before.ok,
			 30);                 /* what was not sent went to the next server */
	assert_int_equal(while_down.ok, 200); /* they waited, unsent */
	assert_true(clock_mono_ms() - begun < 15000);
}

static void test_frozen(void)
{
	struct pg *one = pool(server.url, 1, 400);
	int64_t pid = number(one, "select pg_backend_pid()"), begun = clock_mono_ms();
	struct many m = { 0 };
	struct err err = { 0 };

	kill((pid_t)pid, SIGSTOP);
	send_many(one, &m, 5, "select $1");
	many_end(&m);
	assert_int_equal(m.reset, 5);
	assert_true(clock_mono_ms() - begun < 3000);
	assert_int_equal(pg_wait_up(one, in(5000), &err), 0);
	assert_true(number(one, "select pg_backend_pid()") != pid);
	kill((pid_t)pid, SIGCONT);
	pg_free(one);
}

/* Together they take longer than the watchdog allows, but that is for each. */
static void test_slow_is_not_frozen(void)
{
	struct pg *one = pool(server.url, 1, 1000);
	struct many m = { 0 };

	send_many(one, &m, 4, "select $1 from pg_sleep(0.4)");
	many_end(&m);
	assert_int_equal(m.ok, 4);
	pg_free(one);
}

static void test_deadline_and_cancel(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct err err = { 0 };
	PGresult *res = NULL;
	int64_t begun = clock_mono_ms();

	assert_int_equal(pg_exec(one, "select pg_sleep(1)", NULL, &res, in(50), &err), -ETIMEDOUT);
	assert_null(res);
	assert_true(clock_mono_ms() - begun < 900);
	assert_int_equal(number(one, "select 1"), 1); /* behind the one that was given up */
	assert_int_equal(number(one, "select 2"), 2);
	pg_free(one);
}

struct sleeper {
	struct pg *pg;
	int rc;
	bool done;
};

static void sleeper(void *arg)
{
	struct sleeper *s = arg;
	PGresult *res = NULL;

	s->rc = pg_exec(s->pg, "select pg_sleep(0.3)", NULL, &res, CO_NO_DEADLINE, NULL);
	if (s->rc == 0)
		PQclear(res);
	/* Once cancelled, cleanup sends nothing more. */
	if (s->rc == -ECANCELED &&
	    pg_exec(s->pg, "create table never (x int)", NULL, NULL, in(5000), NULL) != -ECANCELED)
		s->rc = 1;
	s->done = true;
}

static void sleepers_end(const struct sleeper *s, int n)
{
	for (int i = 0; i < n; i++)
		WAIT_UNTIL(s[i].done);
}

/* Of 80 on one connection 64 are sent and 16 wait: both kinds are cancelled, the answers come
 * late. */
static void test_cancelled_waiters(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct sleeper s[80] = { { 0 } };
	struct co *co[80];

	for (int i = 0; i < 80; i++) {
		s[i].pg = one;
		co[i] = co_spawn("sleeper", sleeper, &s[i]);
		assert_non_null(co[i]);
	}
	assert_int_equal(co_sleep("settle", 20), 0);
	for (int i = 2; i < 80; i++)
		co_cancel(co[i]);
	sleepers_end(s, 80);
	for (int i = 0; i < 80; i++)
		assert_int_equal(s[i].rc, i < 2 ? 0 : -ECANCELED);
	assert_int_equal(number(pg, "select count(*) from pg_class where relname = 'never'"), 0);
	pg_free(one); /* with orphans under way */
}

/* A pooler would give the begin of a second to one server and its rest to another. */
static void test_one_at_a_time_behind_a_pooler(void)
{
	struct pg *one = pool(server.url, 1, 0);
	struct sleeper s[3] = { { 0 } };

	assert_true(one->conns[0].direct);
	one->conns[0].direct = false;
	for (int i = 0; i < 3; i++) {
		s[i].pg = one;
		assert_non_null(co_spawn("sleeper", sleeper, &s[i]));
	}
	WAIT_UNTIL(one->conns[0].sent.n + one->queue.n == 3 || s[0].done);
	for (int done = 0; done < 3; done = s[0].done + s[1].done + s[2].done) {
		assert_true(one->conns[0].sent.n <= 1);
		assert_int_equal(co_sleep("look", 5), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(s[i].rc, 0);
	pg_free(one);
}

static void test_freed_under_way(void)
{
	struct pg *two = pool(server.url, 2, 0), *down;
	struct pg_options o = { .url = "postgres://nobody@127.0.0.1:1/x" };
	struct sleeper s[90] = { { 0 } };
	struct many m = { 0 };

	for (int i = 0; i < 90; i++) {
		s[i].pg = two;
		assert_non_null(co_spawn("sleeper", sleeper, &s[i]));
	}
	assert_int_equal(co_sleep("settle", 20), 0);
	pg_free(two);
	sleepers_end(s, 90);
	for (int i = 0; i < 90; i++)
		assert_int_equal(s[i].rc, -ECONNRESET);
	assert_int_equal(pg_new(&o, &down, NULL), 0);
	send_many(down, &m, 10, "select $1");
	pg_free(down);
	assert_int_equal(m.reset, 10);
}

/* A second connection is opened when the first is busy, and no more than allowed. */
static void test_growth(void)
{
	struct pg *three = pool(server.url, 3, 0);
	struct sleeper s[12] = { { 0 } };
	int64_t begun = clock_mono_ms();

	for (int i = 0; i < 12; i++) {
		s[i].pg = three;
		assert_non_null(co_spawn("sleeper", sleeper, &s[i]));
	}
	sleepers_end(s, 12);
	assert_int_equal(
		number(pg,
		       "select count(*) from pg_stat_activity where application_name = 'test_pg' and "
		       "query like 'select pg_sleep(0.3)%'"),
		3);
	assert_true(clock_mono_ms() - begun < 12 * 300);
	pg_free(three);
}

static void test_unreachable(void)
{
	struct pg_options o = { .url = "postgres://u:tops3cret@127.0.0.1:1/x", .timeout_ms = 200 };
	struct pg *down = NULL;
	struct many m = { 0 };
	struct err err = { 0 };

	assert_int_equal(pg_new(&o, &down, &err), 0);
	assert_null(strstr(pg_url_shown(down), "tops3cret"));
	assert_non_null(strstr(pg_url_shown(down), "u@127.0.0.1:1/x"));
	assert_int_equal(pg_wait_up(down, in(200), &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "refused"));
	assert_null(strstr(err.text, "tops3cret"));
	send_many(down, &m, 3, "select $1");
	many_end(&m);
	assert_int_equal(m.timed_out, 3); /* which says that they were never sent */
	assert_int_equal(pg_last_ok_ms(down), 0);
	pg_free(down);
	o.url = "postgres://u:tops3cret@no-such-host.invalid/x";
	assert_int_equal(pg_new(&o, &down, &err), 0);
	assert_int_equal(pg_wait_up(down, in(1000), &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "no-such-host"));
	pg_free(down);
	o.url = "postgres://u:tops3cret@[::1/x";
	assert_int_equal(pg_new(&o, &down, &err), -EINVAL);
	assert_null(strstr(err.text, "tops3cret"));
}

/* By name, and with a first host that is not there. */
static void test_tcp_and_hosts(void)
{
	struct pg *p = pool(server.tcp_url, 1, 0);
	char url[200];

	assert_true(pg_last_ok_ms(p) > 0);
	assert_int_equal(number(p, "select (inet_server_addr() is not null)::int"), 1);
	assert_null(strstr(pg_url_shown(p), "tops3cret"));
	pg_free(p);
	snprintf(url, sizeof(url),
		 "postgres://tester@no-such-host.invalid:5,127.0.0.1:1,localhost:%s/postgres",
		 server.port);
	p = pool(url, 1, 0);
	assert_int_equal(number(p, "select 5"), 5);
	pg_free(p);
}

/* What waits is refused by the server, not left waiting there; who has set it otherwise is obeyed. */
static void test_bounds(void)
{
	struct err err = { 0 };
	PGresult *res = NULL;
	struct pg *p, *holder = pool(server.url, 1, 20000);

	assert_int_equal(pg_execv(pg, &res, in(5000), &err,
				  "select current_setting('lock_timeout'),"
				  " current_setting('statement_timeout')",
				  NULL),
			 0);
	assert_string_equal(pg_get(res, 0, 0), "20s");
	assert_string_equal(pg_get(res, 0, 1), "55s");
	PQclear(res);
	do_sql("alter role tester set lock_timeout = '30ms'");
	do_sql("create table held (x int)");
	p = pool(server.url, 2, 20000);
	struct pg_statement st[] = { { "select 1", NULL },
				     { "truncate held", NULL },
				     { "select pg_sleep(0.5)", NULL } };
	struct many held = { .n = 1 };
	pg_send(holder, st, 3, on_many, &held);
	WAIT_UNTIL(number(pg, "select count(*) from pg_locks where mode = 'AccessExclusiveLock'"
			      " and granted and relation = 'held'::regclass") == 1);
	assert_int_equal(pg_execv(p, NULL, in(5000), &err, "insert into held values (1)", NULL),
			 -EPROTO);
	assert_string_equal(err.rule, "55P03");
	assert_int_equal(err.class, ERR_TRANSIENT);
	WAIT_UNTIL(held.n == 0);
	pg_free(holder);
	pg_free(p);
	do_sql("alter role tester reset lock_timeout");
	p = pool(server.url, 1, 5000); /* little patience: the watchdog alone */
	assert_int_equal(pg_execv(p, &res, in(5000), &err, "select current_setting('lock_timeout')",
				  NULL),
			 0);
	assert_string_equal(pg_get(res, 0, 0), "0");
	PQclear(res);
	pg_free(p);
	do_sql("drop table held");
}

/* One that was made read-only while we were connected is left: a new connection finds it changed back. */
static void test_read_only(void)
{
	struct err err = { 0 };
	struct pg *p;

	do_sql("alter role tester set default_transaction_read_only = on");
	p = pool(server.url, 1, 0);
	assert_int_equal(number(p, "select 1"), 1);
	do_sql("alter role tester reset default_transaction_read_only");
	assert_int_equal(pg_execv(p, NULL, in(5000), &err, "create table w (x int)", NULL),
			 -EPROTO);
	assert_string_equal(err.rule, "25006");
	assert_int_equal(err.class, ERR_TRANSIENT);
	assert_int_equal(pg_execv(p, NULL, in(5000), &err, "create table w (x int)", NULL), 0);
	do_sql("drop table w");
	pg_free(p);
}

/* The first of two hosts takes connections and says nothing. */
static void test_silent_host(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char url[200];
	struct pg *p;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(url, sizeof(url),
		 "postgresql://tester@127.0.0.1:%d,127.0.0.1:%s/postgres?target_session_attrs=any",
		 ntohs(a.sin_port), server.port);
	p = pool(url, 1, 2000);
	assert_int_equal(pg_wait_up(p, in(5000), NULL), 0);
	assert_int_equal(number(p, "select 7"), 7);
	pg_free(p);
	close(fd);
}

static void test_script(void)
{
	struct err err = { 0 };

	assert_int_equal(pg_run_script_blocking(
				 server.url,
				 "create table s (x int); insert into s values (1), (2);", &err),
			 0);
	assert_int_equal(number(pg, "select count(*) from s"), 2);
	assert_int_equal(pg_run_script_blocking(server.url, "drop table s; select nonsense;", &err),
			 -EPROTO);
	assert_string_equal(err.rule, "42703");
	assert_int_equal(number(pg, "select count(*) from s"), 2); /* all or nothing */
	assert_int_equal(pg_run_script_blocking("postgres://u:tops3cret@127.0.0.1:1/x", "", &err),
			 -ECONNRESET);
	assert_null(strstr(err.text, "tops3cret"));
	assert_int_equal(pg_run_script_blocking("http://x", "", &err), -EINVAL);
	do_sql("drop table s");
}

static void in_coroutine(void *arg)
{
	void (**fn)(void) = arg;

	pg = pool(server.url, 0, 0);
	(*fn)();
	pg_free(pg);
	loop_stop();
}

static void run(void **state)
{
	assert_non_null(co_spawn("test", in_coroutine, *state));
	assert_int_equal(loop_run(), 0);
}

#define T(f)                                           \
	{                                              \
#f, run, NULL, NULL, &(void (*)(void)) \
		{                                      \
			f                              \
		}                                      \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_params),
		T(test_arrays),
		T(test_array_edges),
		T(test_refusals),
		T(test_exec_all),
		T(test_session),
		T(test_session_types),
		T(test_pipeline),
		T(test_both_ways),
		T(test_poison),
		T(test_terminated),
		T(test_own_terminate),
		T(test_restart),
		T(test_frozen),
		T(test_slow_is_not_frozen),
		T(test_deadline_and_cancel),
		T(test_cancelled_waiters),
		T(test_one_at_a_time_behind_a_pooler),
		T(test_freed_under_way),
		T(test_growth),
		T(test_unreachable),
		T(test_tcp_and_hosts),
		T(test_bounds),
		T(test_read_only),
		T(test_silent_host),
		T(test_script),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
