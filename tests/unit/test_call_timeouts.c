/* What ends a call before there is an answer, as the door tells it: its rule, its class, its series, what the breaker makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/unit/partner.h"
#include "tests/unit/tls.h"

#define UPLOAD_BYTES (64 * 1024 * 1024) /* far more than two kernels hold for a socket */
#define ONE_BREAKS ",\"breaker\":{\"failures\":1}"

static char dir[] = "/tmp/longshore-call-XXXXXX", good[80], expired[80], key[80], journal[80],
	    request[80];

/* ---- timeouts ---- */

static void count_is(const char *endpoint, const char *status)
{
	char line[160];

	snprintf(
		line, sizeof(line),
		"integration_api_calls_total{endpoint=\"%s\",partner=\"acme\",status_code=\"%s\"} 1",
		endpoint, status);
	OK(printed(line));
}

/* Listens, and reads nothing. */
static int deaf_listener(char out[64])
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	OK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 4) == 0);
	OK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	snprintf(out, 64, "http://127.0.0.1:%d/v1", ntohs(a.sin_port));
	return fd;
}

static void body_write(void)
{
	struct bench b;
	char *body = mem_zalloc(UPLOAD_BYTES), url[64];
	struct call_spec spec = { .endpoint = "/upload",
				  .method = "POST",
				  .path = "/upload",
				  .body = body,
				  .body_len = UPLOAD_BYTES };
	int fd = deaf_listener(url);
	struct call_result r;
	struct err err = { 0 };

	bench_open(&b, ",\"timeout\":{\"write\":\"200ms\",\"read\":\"50s\"}", ONE_BREAKS, NULL, 1,
		   0);
	free(b.integration.base_url);
	b.integration.base_url = mem_strdup(url);
	/* the partner's fault: its breaker opens, and the call is held */
	OK(call(&b.caller, &spec, &r, &err) == -EAGAIN &&
	   strcmp(r.http.failure, "write_timeout") == 0);
	OK(strcmp(err.rule, "network write_timeout") == 0);
	count_is("/upload", "write_timeout");
	call_result_clear(&r);
	bench_close(&b);
	close(fd);
	free(body);
}

static bool let_go;

static void answer_when_let_go(struct httpd_request *q, int number)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;

	while (number == 1 && !let_go && clock_mono_ms() < end)
		OK(co_sleep("hold", 2) == 0);
	reply_json(q, 200, "{}");
}

static void take_the_connection(void *arg)
{
	struct bench *b = arg;
	struct err err = { 0 };

	OK(get(&b->caller, "/held", &err) == 0);
	let_go = false;
}

/* As many connections as calls may be under way is the rule; here there is one for two. */
static void body_wait(void)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;
	struct door_partner *p;
	struct call_spec spec = { .endpoint = "/waits", .method = "GET", .path = "/waits" };
	struct call_result r;
	struct err err = { 0 };
	struct bench b;

	let_go = false;
	partner.answer = answer_when_let_go;
	bench_open(&b, ",\"timeout\":{\"wait\":\"200ms\"}", ONE_BREAKS, NULL, 1, 0);
	p = door_partner(b.door, b.manifest);
	http_pool_free(p->pool);
	p->pool = http_pool_new("acme", 1);
	OK(co_spawn("held", take_the_connection, &b) != NULL);
	while (partner.n < 1 && clock_mono_ms() < end)
		OK(co_sleep("arrival", 2) == 0);
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT);
	OK(strcmp(err.rule, "network wait_timeout") == 0);
	count_is("/waits", "wait_timeout");
	call_result_clear(&r);
	OK(partner.n == 1); /* it never got there */
	let_go = true;
	while (let_go && clock_mono_ms() < end)
		OK(co_sleep("let go", 2) == 0);
	/* our fault: one failure would open the breaker */
	OK(call(&b.caller, &spec, &r, &err) == 0 && partner.n == 2);
	call_result_clear(&r);
	bench_close(&b);
}

static void test_write(void **state)
{
	assert_int_equal(on_loop(body_write), 0);
}

static void test_wait(void **state)
{
	assert_int_equal(on_loop(body_wait), 0);
}

/* ---- TLS ---- */

/* Both sign themselves; one ended a day before it began. */
static int make_certificates(void)
{
	char *newkey[] = { "openssl", "genpkey",  "-algorithm",
			   "EC",      "-pkeyopt", "ec_paramgen_curve:prime256v1",
			   "-out",    key,        NULL };
	char *now[] = { "openssl", "req", "-x509", "-new", "-key",        key,
			"-out",    good,  "-days", "2",    TLS_LOCALHOST, NULL };
	char *ask[] = {
		"openssl", "req", "-new", "-key", key, "-out", request, TLS_LOCALHOST, NULL
	};
	char *before[] = { "openssl",  "x509", "-req",  "-in", request,
			   "-signkey", key,    "-days", "-1",  "-copy_extensions",
			   "copy",     "-out", expired, NULL };

	return run_quietly(newkey) < 0 || run_quietly(now) < 0 || run_quietly(ask) < 0
		       ? -1
		       : run_quietly(before);
}

static pid_t serve_tls(char *cert, int *port)
{
	char *serve[] = { "/usr/bin/python3",
			  "tests/unit/tls_partner.py",
			  cert,
			  key,
			  journal,
			  "100",
			  "0",
			  NULL };
	pid_t pid = start_server(serve, port);

	OK(*port > 0);
	return pid;
}

/* rule "": it is answered. */
static void call_tls(const char *trusted, const char *host, int port, const char *rule)
{
	struct call_spec spec = { .endpoint = "/tls/0", .method = "GET", .path = "/tls/0" };
	struct call_result r;
	struct err err = { 0 };
	struct bench b;

	http_set_ca_file(trusted);
	bench_open(&b, "", "", NULL, 1, 0);
	free(b.integration.base_url);
	b.integration.base_url = mem_printf("https://%s:%d", host, port);
	OK(call(&b.caller, &spec, &r, &err) == (*rule ? -EREMOTEIO : 0));
	OK(strcmp(err.rule, rule) == 0);
	OK(!*rule || (err.class == ERR_TRANSIENT && strcmp(r.http.failure, "tls") == 0));
	if (strcmp(err.rule, rule) != 0)
		fprintf(stderr, "%s in place of %s: %s\n", err.rule, rule, err.text);
	call_result_clear(&r);
	bench_close(&b);
	http_set_ca_file(NULL);
}

static void body_tls(void)
{
	int good_port, expired_port;
	pid_t pids[2] = { serve_tls(good, &good_port), serve_tls(expired, &expired_port) };

	call_tls(good, "localhost", good_port, "");
	call_tls(good, "127.0.0.1", good_port, "network tls wrong host");
	call_tls(expired, "localhost", good_port, "network tls untrusted");
	call_tls(expired, "localhost", expired_port, "network tls expired");
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

static void test_tls(void **state)
{
	assert_int_equal(on_loop(body_tls), 0);
}

/* ---- the frame ---- */

static int setup(void **state)
{
	if (!mkdtemp(dir) || http_global_init() < 0)
		return -1;
	snprintf(good, sizeof(good), "%s/good", dir);
	snprintf(expired, sizeof(expired), "%s/expired", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(journal, sizeof(journal), "%s/journal", dir);
	snprintf(request, sizeof(request), "%s/request", dir);
	return make_certificates() < 0 ? -1 : partner_setup(state);
}

static int teardown(void **state)
{
	unlink(good);
	unlink(expired);
	unlink(key);
	unlink(journal);
	unlink(request);
	rmdir(dir);
	return partner_teardown(state);
}

static int begin(void **state)
{
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(test_write),
		ON_LOOP(test_wait),
		ON_LOOP(test_tls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
