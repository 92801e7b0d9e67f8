/* For tests of what calls a partner: a real redis-server in a folder of its own on a unix socket, and an HTTP server in
 * this process that plays the partner.  Each test sets `answer`; every request is written down before it is answered. */
#ifndef TESTS_UNIT_PARTNER_H
#define TESTS_UNIT_PARTNER_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/httpd.h"
#include "common/io/loop.h"
#include "drivers/kit/call_door.h"

#define PATIENCE_MS 60000
#define ARRIVALS_MAX 512
#define KEY_BASE64 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

struct arrival {
	int64_t at_ms;
	char method[8], path[200], query[600], auth[300], body[600], accept[80], agent[80],
		pinned[80], cookie[120];
};

static struct {
	struct arrival arrivals[ARRIVALS_MAX];
	int n, under_way, most_under_way;
	int port;
	char root[64]; /* http://127.0.0.1:PORT */
	struct httpd *httpd;
	void (*answer)(struct httpd_request *q, int number); /* number: from 1 */
} partner;

static struct {
	pid_t pid;
	char dir[64], socket[96], url[128];
} redis_server;

static struct redis *redis;
static struct keyring *keyring;
static int checks_wrong;

/* For use in coroutines, where cmocka's longjmp must not go. */
#define OK(x)                                                                             \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			checks_wrong++;                                                   \
		}                                                                         \
	} while (0)

static void keep(char *out, size_t size, const char *s)
{
	size_t n = s ? strnlen(s, size - 1) : 0;

	memcpy(out, s ? s : "", n);
	out[n] = '\0';
}

static void on_request(struct httpd_request *q, void *arg)
{
	struct arrival *a =
		&partner.arrivals[partner.n < ARRIVALS_MAX ? partner.n : ARRIVALS_MAX - 1];
	size_t len;
	const char *body = httpd_body(q, &len);

	partner.n++;
	a->at_ms = clock_mono_ms();
	keep(a->method, sizeof(a->method), httpd_method(q));
	keep(a->path, sizeof(a->path), httpd_path(q));
	keep(a->query, sizeof(a->query), httpd_raw_query(q));
	keep(a->auth, sizeof(a->auth), httpd_header(q, "Authorization"));
	keep(a->accept, sizeof(a->accept), httpd_header(q, "Accept"));
	keep(a->agent, sizeof(a->agent), httpd_header(q, "User-Agent"));
	keep(a->pinned, sizeof(a->pinned), httpd_header(q, "X-Account"));
	keep(a->cookie, sizeof(a->cookie), httpd_header(q, "Cookie"));
	snprintf(a->body, sizeof(a->body), "%.*s", (int)len, body ? body : "");
	partner.under_way++;
	if (partner.under_way > partner.most_under_way)
		partner.most_under_way = partner.under_way;
	partner.answer(q, partner.n);
	partner.under_way--;
}

static inline void reply_json(struct httpd_request *q, int status, const char *json)
{
	httpd_reply(q, status, "application/json", json, strlen(json));
}

static int redis_start(void)
{
	snprintf(redis_server.dir, sizeof(redis_server.dir), "/tmp/longshore-test-XXXXXX");
	if (!mkdtemp(redis_server.dir))
		return -1;
	snprintf(redis_server.socket, sizeof(redis_server.socket), "%s/sock", redis_server.dir);
	snprintf(redis_server.url, sizeof(redis_server.url), "unix:%s", redis_server.socket);
	redis_server.pid = fork();
	if (redis_server.pid != 0)
		return redis_server.pid < 0 ? -1 : 0;
	if (!freopen("/dev/null", "w", stdout))
		_exit(126);
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", redis_server.socket,
	       "--dir", redis_server.dir, "--save", "", NULL);
	_exit(127);
}

static void redis_kill(void)
{
	if (redis_server.pid <= 0)
		return;
	kill(redis_server.pid, SIGKILL);
	waitpid(redis_server.pid, NULL, 0);
	redis_server.pid = 0;
}

static void redis_remove(void)
{
	redis_kill();
	unlink(redis_server.socket);
	rmdir(redis_server.dir);
}

static void redis_run(const char *a, const char *b)
{
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, a, b, NULL) == 0);
}

struct play {
	void (*fn)(void);
	bool done;
};

static void partner_open(void)
{
	struct httpd_options h = { .listen = "127.0.0.1:0" };
	struct redis_options o = { .url = redis_server.url, .client_name = "test" };
	struct err err = { 0 };

	memset(&partner, 0, sizeof(partner));
	OK(httpd_new(&h, &partner.httpd, &err) == 0);
	partner.port = httpd_port(partner.httpd);
	httpd_route(partner.httpd, "*", "/", on_request, NULL);
	snprintf(partner.root, sizeof(partner.root), "http://127.0.0.1:%d", partner.port);
	OK(redis_new(&o, &redis, &err) == 0);
	OK(redis_wait_up(redis, loop_now_ms() + PATIENCE_MS) == 0);
	redis_run("FLUSHALL", NULL);
}

static void play_body(void *arg)
{
	struct play *b = arg;

	partner_open();
	b->fn();
	OK(httpd_drain(partner.httpd, loop_now_ms() + PATIENCE_MS) == 0);
	httpd_free(partner.httpd);
	redis_free(redis);
	b->done = true;
	loop_stop();
}

/* Returns how many checks failed. */
static int on_loop(void (*fn)(void))
{
	struct play b = { .fn = fn };

	checks_wrong = 0;
	if (!co_spawn("test", play_body, &b) || loop_run() < 0 || !b.done)
		return -1;
	return checks_wrong;
}

/* ---- who calls ---- */

struct bench {
	struct manifest *manifest;
	struct driver driver;
	struct integration integration;
	struct door *door;
	struct caller caller;
};

static struct manifest *manifest_of(const char *text)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;

	if (manifest_parse("acme/manifest.json", text, strlen(text), &m, &problems) < 0)
		fprintf(stderr, "%s\n", buf_str(&problems));
	buf_clear(&problems);
	OK(m != NULL);
	return m;
}

/* rest: members of the manifest after "api", each beginning with a comma. */
static inline void bench_open(struct bench *b, const char *api, const char *rest, struct pg *pg,
			      int64_t id, int64_t permit_wait_ms)
{
	struct door_options o = { .redis = redis,
				  .pg = pg,
				  .keyring = keyring,
				  .epoch = "test-1",
				  .permit_wait_ms = permit_wait_ms };
	char *text = mem_printf(
		"{\"partner\":\"acme\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://api.acme.example/v1\"}"
		"%s}%s}",
		api, rest);

	memset(b, 0, sizeof(*b));
	b->manifest = manifest_of(text);
	free(text);
	b->driver = (struct driver){ .manifest = b->manifest, .dir = "test" };
	b->integration = (struct integration){ .id = id,
					       .company = (char *)"Sunny",
					       .partner = (char *)"acme",
					       .environment = (char *)"production",
					       .status = (char *)"active" };
	b->integration.base_url = mem_printf("%s/v1", partner.root);
	b->integration.settings = cJSON_CreateObject();
	b->door = door_new(&o);
	b->caller = (struct caller){ .door = b->door,
				     .driver = &b->driver,
				     .integration = &b->integration };
}

static inline void bench_close(struct bench *b)
{
	door_free(b->door);
	free(b->integration.base_url);
	cJSON_Delete(b->integration.settings);
	manifest_free(b->manifest);
}

/* Another process of the same fleet: what is in Redis is all it has. */
static inline void bench_twin(struct bench *b, const struct bench *of, struct pg *pg,
			      int64_t permit_wait_ms)
{
	struct door_options o = { .redis = redis,
				  .pg = pg,
				  .keyring = keyring,
				  .epoch = "test-2",
				  .permit_wait_ms = permit_wait_ms };

	*b = *of;
	b->door = door_new(&o);
	b->caller = (struct caller){ .door = b->door,
				     .driver = &of->driver,
				     .integration = &of->integration };
}

static inline int get(struct caller *c, const char *path, struct err *err)
{
	struct call_spec spec = {
		.endpoint = path, .method = "GET", .path = path, .repeatable = true
	};
	struct call_result r;
	int rc = call(c, &spec, &r, err);

	call_result_clear(&r);
	return rc;
}

static inline bool printed(const char *line)
{
	struct buf out = BUF_INIT;
	bool found;

	metrics_print_own(&out);
	found = strstr(buf_str(&out), line) != NULL;
	buf_clear(&out);
	return found;
}

/* n coroutines at once, each runs fn with its number; returns when all are done. */
struct crowd {
	void (*fn)(int i, void *arg);
	void *arg;
	int next, left;
	struct co *waiter;
};

static void crowd_one(void *arg)
{
	struct crowd *c = arg;

	c->fn(c->next++, c->arg);
	if (--c->left == 0)
		co_wake(c->waiter);
}

static inline void crowd_run(int n, void (*fn)(int i, void *arg), void *arg)
{
	struct crowd c = { fn, arg, 0, n, co_self() };

	for (int i = 0; i < n; i++)
		OK(co_spawn("crowd", crowd_one, &c) != NULL);
	while (c.left > 0)
		OK(co_wait("crowd", loop_now_ms() + PATIENCE_MS) == 0);
}

static int partner_setup(void **state)
{
	struct err err = { 0 };

	setenv("LONGSHORE_SECRET_KEY", KEY_BASE64, 1);
	metrics_init(NULL);
	if (keyring_load("", &keyring, &err) < 0 || redis_start() < 0)
		return -1;
	return 0;
}

static int partner_teardown(void **state)
{
	redis_remove();
	keyring_free(keyring);
	return 0;
}

#endif
