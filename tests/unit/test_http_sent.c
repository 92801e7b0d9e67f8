/* When a request counts as sent, over TLS: on new, kept and shared connections, over HTTP/2 and HTTP/1.1, and where libcurl begins
 * anew by itself.  The partner (tls_partner.py) writes down what arrived and when, on the clock that `sending` is called by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/loop.h"
#include "tests/unit/tls.h"

#define PATIENCE_MS 30000
#define CALLS_MAX 64
#define EVENTS_MAX 512

static char dir[] = "/tmp/longshore-sent-XXXXXX", cert[80], key[80], journal[80];
static struct http_pool *pool;
static pid_t partner;
static int port, checks_wrong;

/* In coroutines, where cmocka's longjmp must not go. */
#define OK(x)                                                                             \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			checks_wrong++;                                                   \
		}                                                                         \
	} while (0)

/* ---- the partner ---- */

/* hold_ms: before each handshake. */
static void partner_start(const char *streams, const char *hold_ms, bool h1)
{
	char *serve[] = { "/usr/bin/python3",
			  "tests/unit/tls_partner.py",
			  cert,
			  key,
			  journal,
			  (char *)streams,
			  (char *)hold_ms,
			  h1 ? "h1" : NULL,
			  NULL };

	unlink(journal);
	partner = start_server(serve, &port);
	OK(port > 0);
	pool = http_pool_new("test", 0);
}

static void partner_stop(void)
{
	http_pool_free(pool);
	kill(partner, SIGKILL);
	waitpid(partner, NULL, 0);
}

struct event {
	long long at_us;
	char what[16], path[80];
};
static struct event events[EVENTS_MAX];
static int n_events;

static void read_journal(void)
{
	FILE *f = fopen(journal, "r");

	n_events = 0;
	while (f && n_events < EVENTS_MAX &&
	       fscanf(f, "%lld %15s %79s", &events[n_events].at_us, events[n_events].what,
		      events[n_events].path) == 3)
		n_events++;
	if (f)
		fclose(f);
}

static int count_events(const char *what, const char *path)
{
	int n = 0;

	for (int i = 0; i < n_events; i++)
		n += strcmp(events[i].what, what) == 0 &&
		     (!path || strcmp(events[i].path, path) == 0);
	return n;
}

static long long event_us(const char *what, const char *path)
{
	for (int i = 0; i < n_events; i++)
		if (strcmp(events[i].what, what) == 0 && strcmp(events[i].path, path) == 0)
			return events[i].at_us;
	return 0;
}

/* ---- calls ---- */

struct one {
	char path[80];
	const char *method;
	int allowed; /* times that it may be sent; 0 = any */
	int times;   /* that it was said to be sent */
	int64_t at_us;
	int rc, status;
	char failure[16];
	bool done;
};
static struct one calls[CALLS_MAX];

static bool on_sending(void *arg)
{
	struct one *c = arg;

	if (c->allowed && c->times == c->allowed)
		return false;
	c->times++;
	c->at_us = clock_mono_us();
	return true;
}

static void call_one(void *arg)
{
	struct one *c = arg;
	struct http_response r;
	char url[160];
	struct http_request q = { .method = c->method,
				  .url = url,
				  .body = strcmp(c->method, "POST") == 0 ? "{}" : NULL,
				  .body_len = strcmp(c->method, "POST") == 0 ? 2 : 0,
				  .sending = on_sending,
				  .sending_arg = c };

	http_response_init(&r);
	snprintf(url, sizeof(url), "https://localhost:%d%s", port, c->path);
	c->rc = http_send(pool, &q, &r);
	c->status = r.status;
	snprintf(c->failure, sizeof(c->failure), "%s", r.failure ? r.failure : "");
	http_response_clear(&r);
	c->done = true;
}

static void begin_call(int i, const char *method, int allowed, const char *path)
{
	calls[i] = (struct one){ .method = method, .allowed = allowed };
	snprintf(calls[i].path, sizeof(calls[i].path), "%s", path);
	OK(co_spawn("call", call_one, &calls[i]) != NULL);
}

static void await_calls(int from, int to)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;

	for (int i = from; i < to; i++)
		while (!calls[i].done && clock_mono_ms() < end)
			OK(co_sleep("calls", 2) == 0);
	for (int i = from; i < to; i++)
		OK(calls[i].done);
	read_journal();
}

static void crowd(int from, int to, int answer_ms)
{
	char path[80];

	for (int i = from; i < to; i++) {
		snprintf(path, sizeof(path), "/c%d/%d", i, answer_ms);
		begin_call(i, "GET", 0, path);
	}
	await_calls(from, to);
}

/* Said once, before it arrived, and (for the slowest machine too) not before the connection could be used. */
static void check_once(const struct one *c)
{
	OK(c->rc == 0 && c->status == 200);
	OK(c->times == 1 && count_events("arrived", c->path) == 1);
	OK(c->at_us <= event_us("arrived", c->path));
	OK(c->at_us >= event_us("accepted", "0"));
}

/* ---- tests ---- */

static void body_shared_connection(void)
{
	partner_start("100", "300", false);
	crowd(0, 20, 20);
	for (int i = 0; i < 20; i++)
		check_once(&calls[i]);
	OK(count_events("accepted", NULL) == 1); /* HTTP/2, all of them */
	crowd(20, 30, 0);
	for (int i = 20; i < 30; i++)
		check_once(&calls[i]);
	OK(count_events("accepted", NULL) == 1);
	partner_stop();
}

static void body_own_connections(void)
{
	partner_start("100", "300", true);
	crowd(0, 8, 20);
	crowd(8, 16, 0);
	for (int i = 0; i < 16; i++)
		check_once(&calls[i]);
	OK(count_events("accepted", NULL) > 1);
	partner_stop();
}

/* The first go out before libcurl knows how many streams the partner bears, and those that are refused go again elsewhere: each time is
 * said.  Answers come when all have arrived: what was said to be sent does not wait for another's stream. */
static void body_few_streams(void)
{
	char path[80];

	partner_start("4", "0", false);
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "/gate/20/%d", i);
		begin_call(i, "GET", 0, path);
	}
	await_calls(0, 20);
	for (int i = 0; i < 20; i++) {
		const struct one *c = &calls[i];

		OK(c->rc == 0 && c->status == 200 && count_events("arrived", c->path) == 1);
		OK(c->times == 1 + count_events("refused", c->path));
		OK(c->at_us <= event_us("arrived", c->path));
	}
	OK(count_events("accepted", NULL) >= 5);
	partner_stop();
}

static void check_again(int i, const char *method, int allowed, const char *path, int rc,
			int arrived)
{
	begin_call(i, method, allowed, path);
	await_calls(i, i + 1);
	OK(calls[i].rc == rc && (rc || calls[i].status == 200));
	OK(calls[i].times == arrived && count_events("arrived", path) == arrived);
}

/* What libcurl begins anew by itself is said again, and may be forbidden; a redirect is an answer. */
static void body_begun_anew(void)
{
	partner_start("100", "0", true);
	crowd(0, 1, 0);
	check_again(1, "GET", 0, "/once/a", 0, 2);
	check_again(2, "POST", 0, "/once/b", 0, 2);
	check_again(3, "GET", 1, "/once/c", -ESTALE, 1);
	crowd(4, 5, 0);
	check_again(5, "POST", 1, "/once/d", -ESTALE, 1);
	begin_call(6, "GET", 0, "/moved/0");
	await_calls(6, 7);
	OK(calls[6].status == 302 && calls[6].times == 1);
	OK(count_events("arrived", "/moved/0") == 1 &&
	   count_events("arrived", "/elsewhere/0") == 0);
	partner_stop();
}

static void body_begun_anew_http2(void)
{
	partner_start("100", "0", false);
	crowd(0, 1, 0);
	check_again(1, "GET", 0, "/refused/a", 0, 2);
	check_again(2, "GET", 1, "/refused/b", -ESTALE, 1);
	begin_call(3, "GET", 0, "/once/c");
	await_calls(3, 4);
	OK(calls[3].rc == 0 && (calls[3].status == 200 || strcmp(calls[3].failure, "reset") == 0));
	OK(calls[3].times == count_events("arrived", "/once/c"));
	partner_stop();
}

static void on_co(void *arg)
{
	void (*body)(void) = (void (*)(void))(uintptr_t)arg;

	body();
	loop_stop();
}

static void play(void (*body)(void))
{
	checks_wrong = 0;
	assert_int_equal(loop_init(), 0);
	assert_non_null(co_spawn("test", on_co, (void *)(uintptr_t)body));
	loop_run();
	loop_close();
	assert_int_equal(checks_wrong, 0);
}

#define TEST(name)                     \
	static void name(void **state) \
	{                              \
		play(body_##name);     \
	}
TEST(shared_connection)
TEST(own_connections)
TEST(few_streams)
TEST(begun_anew)
TEST(begun_anew_http2)

static int setup(void **state)
{
	if (!mkdtemp(dir) || http_global_init() < 0)
		return -1;
	snprintf(cert, sizeof(cert), "%s/cert", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(journal, sizeof(journal), "%s/journal", dir);
	http_set_ca_file(cert);
	return make_certificate(key, cert);
}

static int teardown(void **state)
{
	http_set_ca_file(NULL);
	unlink(cert);
	unlink(key);
	unlink(journal);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_connection), cmocka_unit_test(own_connections),
		cmocka_unit_test(few_streams),       cmocka_unit_test(begun_anew),
		cmocka_unit_test(begun_anew_http2),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
