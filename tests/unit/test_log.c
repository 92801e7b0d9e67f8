#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/log_hold.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

/* stderr goes into a datagram socket: what one write(2) sent is what one recv gives back. */
static int sink[2], saved_stderr;

static int redirect(void **state)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sink), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_int_equal(dup2(sink[1], STDERR_FILENO), STDERR_FILENO);
	return 0;
}

static int restore(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(sink[0]);
	close(sink[1]);
	return 0;
}

static char line[65536];

/* One line, without its time, which is checked here. */
static const char *got(void)
{
	ssize_t n = recv(sink[0], line, sizeof(line) - 1, MSG_DONTWAIT);
	bool json = n > 0 && line[0] == '{';
	int64_t us;
	char *ts;

	if (n <= 0)
		return "";
	line[n] = '\0';
	assert_int_equal(line[n - 1], '\n');
	line[n - 1] = '\0';
	assert_null(strchr(line, '\n'));
	ts = line + (json ? 7 : 3);
	assert_memory_equal(line, json ? "{\"ts\":\"" : "ts=", json ? 7 : 3);
	assert_int_equal(ts[23], 'Z');
	ts[24] = '\0';
	assert_int_equal(clock_parse_time(ts, &us, NULL), 0);
	assert_true(llabs(us / 1000 - clock_real_ms()) < 60000);
	return ts + 25;
}

static void logfmt_lines(void **state)
{
	log_init("longshore-worker", LOG_INFO, false);
	log_event(LOG_INFO, "job_done", LS("task", "import_resources"), LI("dur_ms", -103),
		  LD("load", 0.25), LB("ok", true), LS("absent", NULL));
	assert_string_equal(got(),
			    "level=info prog=longshore-worker event=job_done task=import_resources "
			    "dur_ms=-103 load=0.25 ok=true");
	log_event(LOG_WARN, "bare");
	assert_string_equal(got(), "level=warn prog=longshore-worker event=bare");
	log_init(NULL, LOG_INFO, false);
	log_event(LOG_ERROR, "odd", LS("a", ""), LS("b", "two words"), LS("c", "x=\"1\""),
		  LS("d", "l\n2\t\\"), LS("e", "h\xc3\xa9"), LS("f", "bad\xff"), LS("g", "\x01"));
	assert_string_equal(
		got(), "level=error event=odd a=\"\" b=\"two words\" c=\"x=\\\"1\\\"\" "
		       "d=\"l\\n2\\t\\\\\" e=\"h\xc3\xa9\" f=\"bad\xef\xbf\xbd\" g=\"\\u0001\"");
}

static void json_lines(void **state)
{
	cJSON *v = NULL;

	log_init("longshore", LOG_DEBUG, true);
	log_event(LOG_DEBUG, "odd", LS("a", "x\"\n\xff"), LI("i", INT64_MIN), LD("d", 1e300),
		  LD("n", 0.0 / 0.0), LB("b", 0));
	got();
	line[31] = '"'; /* where got() cut the time off */
	assert_int_equal(json_parse(line, strlen(line), sizeof(line), &v, NULL), 0);
	assert_string_equal(json_str(v, "level"), "debug");
	assert_string_equal(json_str(v, "prog"), "longshore");
	assert_string_equal(json_str(v, "event"), "odd");
	assert_string_equal(json_str(v, "a"), "x\"\n\xef\xbf\xbd");
	assert_non_null(strstr(line, "\"i\":-9223372036854775808,"));
	assert_true(json_path(v, "d")->valuedouble == 1e300);
	assert_true(cJSON_IsNull(json_path(v, "n")));
	assert_false(json_bool(v, "b", true));
	cJSON_Delete(v);
	log_init(NULL, LOG_INFO, false);
}

static void levels(void **state)
{
	enum log_level level = LOG_WARN;
	int evaluated = 0;

	log_init(NULL, LOG_WARN, false);
	assert_false(log_enabled(LOG_INFO));
	assert_true(log_enabled(LOG_WARN));
	log_event(LOG_INFO, "quiet", LI("n", ++evaluated));
	assert_string_equal(got(), "");
	assert_int_equal(evaluated, 0);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
	assert_int_equal(level, LOG_ERROR);
	log_init(NULL, LOG_INFO, false);
}

static const struct log_kv *context(void)
{
	static const struct log_kv kv[] = {
		LS("partner", "guesty"), LI("integration", 7), LS("none", NULL), { 0 }
	};

	return kv;
}

static const struct log_kv *no_context(void)
{
	return NULL;
}

static void context_is_added_once(void **state)
{
	log_set_context(context);
	log_event(LOG_INFO, "api_call", LI("status", 200));
	assert_string_equal(got(),
			    "level=info event=api_call partner=guesty integration=7 status=200");
	log_event(LOG_INFO, "api_call", LI("integration", 8), LS("partner", NULL));
	assert_string_equal(got(), "level=info event=api_call partner=guesty integration=8");
	log_set_context(no_context);
	log_event(LOG_INFO, "api_call");
	assert_string_equal(got(), "level=info event=api_call");
	log_set_context(NULL);
}

static void long_values_are_cut(void **state)
{
	char *big = mem_alloc(5001);
	const char *text;

	memset(big, 'x', 5000);
	big[5000] = '\0';
	log_event(LOG_INFO, "e", LS("a", big), LI("z", 1));
	text = strstr(got(), " a=");
	assert_int_equal(strspn(text + 3, "x"), 2048);
	assert_string_equal(text + 3 + 2048, " z=1");
	memcpy(big + 2046, "\xf0\x9f\x98\x80", 4); /* over the cut */
	log_event(LOG_INFO, "e", LS("a", big), LI("z", 1));
	text = strstr(got(), " a=");
	assert_int_equal(strspn(text + 3, "x"), 2046);
	assert_string_equal(text + 3 + 2046, " z=1");
	free(big);
}

static void secrets_do_not_show(void **state)
{
	struct secret s = SECRET_INIT;
	char *big = mem_alloc(4001);

	secret_set(&s, "pass \"word\"", 11);
	log_event(LOG_INFO, "e", LS("url", "http://h/?t=pass \"word\"&x=1"),
		  LS("b", "pass%20%22word%22"));
	assert_string_equal(got(), "level=info event=e url=\"http://h/?t=***&x=1\" b=***");
	memset(big, 'x', 4000);
	big[4000] = '\0';
	memcpy(big + 2043, "pass \"word\"", 11); /* the cut must not leave half of it */
	log_event(LOG_INFO, "e", LS("a", big));
	assert_null(strstr(got(), "pass"));
	log_init("p", LOG_INFO, true);
	log_event(LOG_INFO, "e", LS("a", "pass \"word\""));
	assert_non_null(strstr(got(), "\"a\":\"***\"}"));
	log_init(NULL, LOG_INFO, false);
	secret_clear(&s);
	free(big);
}

static void errno_survives(void **state)
{
	errno = ENOENT;
	log_event(LOG_INFO, "e");
	assert_int_equal(errno, ENOENT);
	got();
}

/* How many lines the next write(2) had; they are in `line`. */
static int written(void)
{
	ssize_t n = recv(sink[0], line, sizeof(line) - 1, MSG_DONTWAIT);
	int lines = 0;

	line[n > 0 ? n : 0] = '\0';
	for (const char *p = line; (p = strchr(p, '\n')); p++)
		lines++;
	return lines;
}

static void held_lines_go_together(void **state)
{
	log_hold();
	log_event(LOG_INFO, "one");
	log_event(LOG_INFO, "two");
	assert_int_equal(written(), 0);
	log_event(LOG_WARN, "three"); /* who is warned sees what came before */
	assert_int_equal(written(), 3);
	assert_true(strstr(line, "event=one") < strstr(line, "event=two"));
	assert_non_null(strstr(line, "event=three"));
	log_event(LOG_INFO, "four");
	assert_int_equal(written(), 0);
	log_release();
	assert_int_equal(written(), 1);
	log_event(LOG_INFO, "five");
	assert_int_equal(written(), 1);
	assert_non_null(strstr(line, "event=five"));
	log_hold();
	for (int i = 0; i < 1000; i++)
		log_event(LOG_INFO, "many", LS("text", "some words"));
	assert_in_range(written(), 300, 600); /* 32 KiB */
	log_release();
	log_release();
	while (written() > 0)
		continue;
}

/* A pipe that is full and non-blocking: nothing may be lost, and the writer waits for its reader. */
static void a_full_pipe_loses_nothing(void **state)
{
	int fds[2], status, lines = 0;
	pid_t pid;
	char p[1024];
	ssize_t n;

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		for (int i = 0; i < 5000; i++)
			log_event(LOG_INFO, "tick", LI("i", i),
				  LS("text", "some words to fill the pipe"));
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
	while ((n = read(fds[0], p, sizeof(p))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += p[i] == '\n';
	assert_int_equal(lines, 5000);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(logfmt_lines, redirect, restore),
		cmocka_unit_test_setup_teardown(json_lines, redirect, restore),
		cmocka_unit_test_setup_teardown(levels, redirect, restore),
		cmocka_unit_test_setup_teardown(context_is_added_once, redirect, restore),
		cmocka_unit_test_setup_teardown(long_values_are_cut, redirect, restore),
		cmocka_unit_test_setup_teardown(secrets_do_not_show, redirect, restore),
		cmocka_unit_test_setup_teardown(errno_survives, redirect, restore),
		cmocka_unit_test_setup_teardown(held_lines_go_together, redirect, restore),
		cmocka_unit_test(a_full_pipe_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
