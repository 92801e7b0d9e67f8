/* The client against httpd in the same loop, and against raw sockets where a server has to
 * misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/httpd.h"
#include "common/io/loop.h"
#include "tests/unit/tls.h"

static struct httpd *server;
static struct http_pool *pool;
static int inside, most_inside, arrived;
static char base[64];

static void on_echo(struct httpd_request *q, void *arg)
{
	size_t len;
	const char *body = httpd_body(q, &len), *type = httpd_header(q, "Content-Type");
	struct buf out = BUF_INIT;

	buf_printf(&out, "%s %s?%s type=%s expect=%s empty=%s agent=%s len=%zu ", httpd_method(q),
		   httpd_path(q), httpd_raw_query(q), type ? type : "-",
		   httpd_header(q, "Expect") ? "yes" : "no",
		   httpd_header(q, "X-Empty") ? "sent" : "-", httpd_header(q, "User-Agent"), len);
	buf_append(&out, body, len < 20 ? len : 20);
	httpd_add_header(q, "X-Mixed-Case", " padded ");
	httpd_reply(q, 200, "text/plain", out.data, out.len);
	buf_clear(&out);
}

static void on_slow(struct httpd_request *q, void *arg)
{
	const char *ms = httpd_query(q, "ms");

	arrived++;
	if (++inside > most_inside)
		most_inside = inside;
	(void)co_sleep("slow", ms ? strtol(ms, NULL, 10) : 50);
	inside--;
	httpd_reply_text(q, 200, "slow");
}

static void on_status(struct httpd_request *q, void *arg)
{
	httpd_add_header(q, "Location", "/echo");
	httpd_reply_text(q, (int)strtol(httpd_query(q, "s"), NULL, 10), "status");
}

static void on_large(struct httpd_request *q, void *arg)
{
	char *big = mem_zalloc(100000);

	httpd_reply(q, 200, "application/octet-stream", big, 100000);
	free(big);
}

/* A hundred thousand zeros: printf '%0100000d' 0 | gzip -9n */
static void on_gzip(struct httpd_request *q, void *arg)
{
	static const unsigned char packed[133] = {
		0x1f, 0x8b, 0x08, [8] = 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01, [17] = 0xc2,
		0xa0, 0x4a, 0xeb, 0x9f,       0xce, 0x1a, 0x1e, 0x40, 0x01, [123] = 0xaf,
		0x06, 0x85, 0xc2, 0x4d,       0xc5, 0xa0, 0x86, 0x01,
	};
	const char *accepted = httpd_header(q, "Accept-Encoding");

	if (accepted && strstr(accepted, "gzip"))
		httpd_add_header(q, "Content-Encoding", "gzip");
	httpd_reply(q, 200, "text/plain", packed, sizeof(packed));
}

static void on_abort(struct httpd_request *q, void *arg)
{
	httpd_abort(q);
}

static void url(char out[160], const char *path)
{
	snprintf(out, 160, "%s%s", base, path);
}

static int get(const char *path, struct http_response *r)
{
	char u[160];
	struct http_request q = { .method = "GET", .url = u };

	url(u, path);
	return http_send(pool, &q, r);
}

static void test_round_trip(void)
{
	const struct http_header h[] = { { "X-Empty", "" }, { "User-Agent", "me" } };
	struct http_request q = { .method = "GET", .headers = h, .n_headers = 2 };
	struct http_response r;
	char u[160];

	http_response_init(&r);
	url(u, "/echo/a%20b/../c?x=%26#frag");
	q.url = u;
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_null(r.failure);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body.data,
			    "GET /echo/a b/../c?x=%26 type=- expect=no empty=sent agent=me len=0 ");
	assert_string_equal(http_response_header(&r, "x-mixed-case"), "padded");
	assert_string_equal(http_response_header(&r, "content-type"), "text/plain");
	assert_null(http_response_header(&r, "padded"));
	assert_false(r.reused);
	assert_true(llabs(clock_real_us() - r.sent_at_us) < 5000000);
	assert_true(r.bytes_up > 50 && r.bytes_down > (int64_t)r.body.len);
	assert_int_equal(get("/echo", &r),
			 0); /* the same response again: nothing of the first is left */
	assert_string_equal(r.body.data,
			    "GET /echo? type=- expect=no empty=- agent=longshore len=0 ");
	assert_true(r.reused);
	http_response_clear(&r);
}

static void check_method(const char *method, const char *body, const char *type, const char *want)
{
	const struct http_header h[] = { { "content-type", type } };
	struct http_request q = {
		.method = method, .headers = h, .n_headers = type ? 1 : 0, .body = body
	};
	struct http_response r;
	char u[160];

	http_response_init(&r);
	url(u, "/echo");
	q.url = u;
	q.body_len = body ? strlen(body) : 0;
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(buf_str(&r.body), want);
	http_response_clear(&r);
}

/* In an order that makes each reused handle forget what the one before it set. */
static void test_methods(void)
{
	char *big = mem_zalloc(2000001), want[200];

	memset(big, 'b', 2000000);
	check_method(
		"POST", "{}", "application/json",
		"POST /echo? type=application/json expect=no empty=- agent=longshore len=2 {}");
	check_method("GET", NULL, NULL,
		     "GET /echo? type=- expect=no empty=- agent=longshore len=0 ");
	check_method("DELETE", NULL, NULL,
		     "DELETE /echo? type=- expect=no empty=- agent=longshore len=0 ");
	check_method("PUT", "x", NULL,
		     "PUT /echo? type=- expect=no empty=- agent=longshore len=1 x");
	check_method("HEAD", NULL, NULL, "");
	check_method("POST", NULL, NULL,
		     "POST /echo? type=- expect=no empty=- agent=longshore len=0 ");
	check_method("PATCH", "ab", "t/x",
		     "PATCH /echo? type=t/x expect=no empty=- agent=longshore len=2 ab");
	check_method("GET", NULL, NULL,
		     "GET /echo? type=- expect=no empty=- agent=longshore len=0 ");
	check_method("DELETE", "why", NULL,
		     "DELETE /echo? type=- expect=no empty=- agent=longshore len=3 why");
	snprintf(want, sizeof(want),
		 "POST /echo? type=- expect=no empty=- agent=longshore len=2000000 %.20s", big);
	check_method("POST", big, NULL, want);
	check_method("GET", NULL, NULL,
		     "GET /echo? type=- expect=no empty=- agent=longshore len=0 ");
	free(big);
}

static void test_refused_requests(void)
{
	static const char *const urls[] = { "ftp://127.0.0.1/",
					    "file:///etc/passwd",
					    "127.0.0.1/",
					    "http://",
					    "http:///x",
					    "http://a:0/",
					    "http://a:65536/",
					    "http://[::1/",
					    "http://a b/",
					    "http://h/\r\nX: y",
					    "" };
	const struct http_header bad[] = { { "X-A", "b\r\nX-Evil: 1" } },
				 bad_name[] = { { "X\nY", "b" } };
	struct http_request q = { .method = "GET" };
	struct http_response r;
	char u[160];

	http_response_init(&r);
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		q.url = urls[i];
		assert_int_equal(http_send(pool, &q, &r), -EINVAL);
	}
	url(u, "/slow");
	q = (struct http_request){ .method = "GET", .url = u, .headers = bad, .n_headers = 1 };
	assert_int_equal(http_send(pool, &q, &r), -EINVAL);
	q.headers = bad_name;
	assert_int_equal(http_send(pool, &q, &r), -EINVAL);
	q = (struct http_request){ .method = "GET /x HTTP/1.1\r\n", .url = u };
	assert_int_equal(http_send(pool, &q, &r), -EINVAL);
	assert_int_equal(arrived, 0);
	http_response_clear(&r);
}

static void test_statuses(void)
{
	struct http_response r;

	http_response_init(&r);
	assert_int_equal(get("/status?s=302", &r), 0);
	assert_int_equal(r.status, 302); /* not followed */
	assert_string_equal(http_response_header(&r, "location"), "/echo");
	assert_int_equal(get("/status?s=503", &r), 0);
	assert_int_equal(r.status, 503);
	assert_int_equal(get("/status?s=204", &r), 0);
	assert_int_equal(r.body.len, 0);
	assert_int_equal(get("/status?s=304", &r), 0);
	assert_int_equal(r.status, 304);
	assert_null(r.failure);
	http_response_clear(&r);
}

static void check_failure(const char *u, int64_t ms, size_t max, const char *word)
{
	struct http_request q = {
		.method = "GET", .url = u, .total_ms = ms, .max_body_bytes = max
	};
	struct http_response r;

	http_response_init(&r);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_int_equal(r.status, 0);
	assert_non_null(r.failure);
	assert_string_equal(r.failure, word);
	assert_true(r.detail[0] != '\0');
	assert_int_equal(r.body.len, 0);
	http_response_clear(&r);
}

/* A socket that listens and is served by nobody but the test. */
static int listener(char out[160], const char *scheme)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(out, 160, "%s://127.0.0.1:%d/", scheme, ntohs(a.sin_port));
	return fd;
}

static void test_failures(void)
{
	char u[160];
	int fd = listener(u, "http");

	close(fd); /* nobody listens at that port now */
	check_failure(u, 0, 0, "refused");
	check_failure("http://no-such-host.invalid/", 0, 0, "dns");
	url(u, "/abort");
	check_failure(u, 0, 0, "reset");
	url(u, "/large");
	check_failure(u, 0, 99999, "too_large");
	url(u, "/slow?ms=500");
	check_failure(u, 100, 0, "timeout");
	fd = listener(u, "http");
	check_failure(u, 100, 0, "timeout"); /* accepted by the kernel, answered by nobody */
	close(fd);
	snprintf(u, sizeof(u), "https%s/echo", base + 4);
	check_failure(u, 0, 0, "tls");
}

struct script {
	const char *answer;
	/* how long it goes on holding the connection; < 0: until the client goes */
	int64_t then_ms;
	char url[160];
	int fd;
	int requests;
};

static int accept_one(int fd, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;
	int c;

	while ((c = accept(fd, NULL, NULL)) < 0) {
		if (clock_mono_ms() > end || co_sleep("accept", 2) < 0)
			return -1;
	}
	return c;
}

/* Reads a request's head, says its part, then closes. */
static void scripted(void *arg)
{
	struct script *s = arg;
	char in[1024];
	int c = accept_one(s->fd, 5000);
	ssize_t n;

	if (c < 0)
		return;
	while ((n = recv(c, in, sizeof(in), MSG_DONTWAIT)) < 0 && errno == EAGAIN)
		if (co_sleep("recv", 2) < 0)
			break;
	s->requests += n > 0;
	n = send(c, s->answer, strlen(s->answer), MSG_NOSIGNAL);
	if (s->then_ms >= 0)
		(void)co_sleep("hold", s->then_ms);
	while (s->then_ms < 0 && recv(c, in, sizeof(in), MSG_DONTWAIT) != 0 &&
	       co_sleep("hold", 2) == 0)
		;
	close(c);
	close(s->fd);
	s->fd = -1;
}

static void script_begin(struct script *s, const char *answer, int64_t then_ms)
{
	*s = (struct script){ .answer = answer, .then_ms = then_ms };
	s->fd = listener(s->url, "http");
	assert_non_null(co_spawn("script", scripted, s));
}

static void script_end(const struct script *s)
{
	int64_t end = clock_mono_ms() + 5000;

	while (s->fd >= 0) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("script", 2), 0);
	}
}

/* What a body says of itself is not believed: it is counted as it comes. */
static void test_bad_answers(void)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct script s;
	char *chunked = mem_alloc(3000);

	snprintf(chunked, 3000, "%s800\r\n%02048d\r\n0\r\n\r\n", head, 0);
	script_begin(&s, chunked, 0);
	check_failure(s.url, 0, 2000, "too_large");
	script_end(&s);
	script_begin(&s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", 0);
	check_failure(s.url, 0, 0, "reset");
	script_end(&s);
	script_begin(&s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", -1);
	check_failure(s.url, 200, 0, "timeout");
	script_end(&s);
	script_begin(&s, "not HTTP at all", 0);
	check_failure(s.url, 0, 0, "network");
	script_end(&s);
	free(chunked);
}

/* A small answer that unpacks into a large one is bounded by what it becomes. */
static void test_packed(void)
{
	struct http_response r;
	char u[160];

	http_response_init(&r);
	assert_int_equal(get("/gzip", &r), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.body.len, 100000);
	assert_int_equal(strspn(r.body.data, "0"), 100000);
	assert_true(r.bytes_down < 1000);
	http_response_clear(&r);
	url(u, "/gzip");
	check_failure(u, 0, 99999, "too_large");
}

static void test_silence(void)
{
	struct script s;
	struct http_request q = { .method = "GET", .url = s.url, .read_ms = 200 };
	struct http_response r;
	int64_t begun = clock_mono_ms();

	http_response_init(&r);
	script_begin(&s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", -1);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_string_equal(r.failure, "timeout");
	assert_string_equal(r.detail, "silent for 200 ms");
	assert_true(clock_mono_ms() - begun >= 200 && clock_mono_ms() - begun < 2000);
	script_end(&s);
	http_response_clear(&r);
}

static void wait_for(const int *what, int n)
{
	int64_t end = clock_mono_ms() + 10000;

	while (*what < n) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("condition", 2), 0);
	}
}

struct upload {
	const char *url;
	size_t bytes;
	int64_t write_ms, read_ms;
};

static void check_upload(const struct upload *u, const char *word, const char *detail)
{
	char *body = mem_zalloc(u->bytes);
	struct http_request q = { .method = "POST",
				  .url = u->url,
				  .body = body,
				  .body_len = u->bytes,
				  .write_ms = u->write_ms,
				  .read_ms = u->read_ms };
	struct http_response r;

	http_response_init(&r);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_string_equal(r.failure, word);
	assert_string_equal(r.detail, detail);
	http_response_clear(&r);
	free(body);
}

/* A partner that accepts and reads nothing: what does not fit between the two kernels stalls, what does is waited for as an answer is. */
static void test_upload(void)
{
	char u[160];
	int fd = listener(u, "http");
	size_t large = 64 * 1024 * 1024;
	static const size_t small[] = { 1, 100000 };

	check_upload(&(struct upload){ u, large, 200, 30000 }, "write_timeout",
		     "nothing of the body was taken for 200 ms");
	for (size_t i = 0; i < ARRAY_LEN(small); i++)
		check_upload(&(struct upload){ u, small[i], 30000, 200 }, "timeout",
			     "silent for 200 ms");
	close(fd);
}

struct waiting {
	char url[160];
	int64_t wait_ms, connect_ms;
	int status;
	char failure[16], detail[160];
	bool done;
};

static void wait_one(void *arg)
{
	struct waiting *w = arg;
	struct http_request q = {
		.method = "GET", .url = w->url, .wait_ms = w->wait_ms, .connect_ms = w->connect_ms
	};
	struct http_response r;

	http_response_init(&r);
	if (http_send(pool, &q, &r) == 0) {
		w->status = r.status;
		snprintf(w->failure, sizeof(w->failure), "%s", r.failure ? r.failure : "");
		snprintf(w->detail, sizeof(w->detail), "%s", r.detail);
	}
	http_response_clear(&r);
	w->done = true;
}

static void wait_begin(struct waiting *w, const char *path, int64_t wait_ms, int64_t connect_ms)
{
	*w = (struct waiting){ .wait_ms = wait_ms, .connect_ms = connect_ms };
	url(w->url, path);
	assert_non_null(co_spawn("waiting", wait_one, w));
}

static void wait_end(const struct waiting *w)
{
	int64_t end = clock_mono_ms() + 20000;

	while (!w->done) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("waiting", 2), 0);
	}
}

/* One connection and three calls: one has it, one gives up, and one waits longer than connecting may take, on another host. */
static void test_wait_for_connection(void)
{
	struct waiting has, gives_up, waits;

	http_pool_free(pool);
	pool = http_pool_new("test", 1);
	wait_begin(&has, "/slow?ms=1000", 0, 0);
	wait_for(&arrived, 1);
	wait_begin(&gives_up, "/echo", 200, 0);
	wait_begin(&waits, "/echo", 30000, 300);
	snprintf(waits.url, sizeof(waits.url), "http://localhost%s/echo", strrchr(base, ':'));
	wait_end(&gives_up);
	assert_false(has.done);
	assert_int_equal(gives_up.status, 0);
	assert_string_equal(gives_up.failure, "wait_timeout");
	assert_string_equal(gives_up.detail, "no connection was free for 200 ms");
	wait_end(&has);
	wait_end(&waits);
	assert_int_equal(has.status, 200);
	assert_int_equal(waits.status, 200);
	assert_int_equal(arrived, 1);
}

/* TCP is there, TLS never comes. */
static void test_connect_timeout(void)
{
	struct http_response r;
	char u[160];
	int fd = listener(u, "https");
	struct http_request q = { .method = "GET", .url = u, .connect_ms = 200 };

	http_response_init(&r);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_string_equal(r.failure, "timeout");
	assert_string_equal(r.detail, "no connection within 200 ms");
	http_response_clear(&r);
	close(fd);
}

/* libcurl would send it again on a new connection; `once` forbids it. */
static void test_once(void)
{
	char u[160];
	struct http_request q = {
		.method = "POST", .url = u, .body = "x", .body_len = 1, .once = true
	};
	struct http_response r;

	http_response_init(&r);
	url(u, "/echo");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_send(pool, &q, &r), 0);
		assert_int_equal(r.status, 200);
		assert_false(r.reused);
	}
	q.once = false;
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_true(r.reused);
	http_response_clear(&r);
}

static int asked_to_send;
static int64_t asked_at_us;

static bool may_send(void *arg)
{
	const bool *yes = arg;

	asked_to_send++;
	asked_at_us = clock_mono_us();
	return *yes;
}

/* Asked once a request, when the connection is there, a kept one too; a no is nothing sent. */
static void test_sending(void)
{
	bool yes = true;
	char u[160];
	struct http_request q = {
		.method = "GET", .url = u, .sending = may_send, .sending_arg = &yes
	};
	struct http_response r;
	int before;

	http_response_init(&r);
	url(u, "/slow?ms=2");
	asked_to_send = 0;
	before = arrived;
	for (int i = 0; i < 3; i++) {
		int64_t from = clock_mono_us();

		assert_int_equal(http_send(pool, &q, &r), 0);
		assert_true(r.status == 200 && r.reused == (i > 0));
		assert_true(asked_to_send == i + 1 && asked_at_us >= from);
	}
	assert_int_equal(arrived, before + 3);
	yes = false;
	assert_int_equal(http_send(pool, &q, &r), -ESTALE);
	assert_true(asked_to_send == 4 && arrived == before + 3);
	yes = true;
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_true(r.status == 200 && arrived == before + 4);
	http_response_clear(&r);
}

static void test_1xx_and_duplicates(void)
{
	struct script s;
	struct http_request q = { .method = "GET", .url = s.url };
	struct http_response r;

	http_response_init(&r);
	script_begin(
		&s,
		"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
		"HTTP/1.1 200 OK\r\nX-Twice: a\r\nX-TWICE: b\r\nX-None:\r\nContent-Length: 0\r\n\r\n",
		0);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_int_equal(r.status, 200);
	assert_null(http_response_header(&r, "x-early"));
	assert_string_equal(http_response_header(&r, "x-twice"), "a");
	assert_string_equal(http_response_header(&r, "x-none"), "");
	script_end(&s);
	http_response_clear(&r);
}

struct crowd {
	int left, ok, cancelled, timed_out, failed;
	const char *path;
	int64_t deadline_ms;
	struct co *member[2000];
};

static void crowd_member(void *arg)
{
	struct crowd *c = arg;
	struct http_response r;
	int rc;

	http_response_init(&r);
	if (c->deadline_ms)
		co_set_deadline(co_self(), loop_now_ms() + c->deadline_ms);
	rc = get(c->path, &r);
	c->ok += rc == 0 && r.status == 200;
	c->failed += rc == 0 && r.status != 200;
	c->cancelled += rc == -ECANCELED;
	c->timed_out += rc == -ETIMEDOUT;
	http_response_clear(&r);
	c->left--;
}

static void crowd_begin(struct crowd *c, int n)
{
	c->left = n;
	for (int i = 0; i < n; i++) {
		c->member[i] = co_spawn("crowd", crowd_member, c);
		assert_non_null(c->member[i]);
	}
}

static void crowd_end(struct crowd *c)
{
	int64_t end = clock_mono_ms() + 20000;

	while (c->left) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("crowd", 2), 0);
	}
}

static void test_many(void)
{
	struct crowd *c = mem_new(struct crowd);

	c->path = "/slow?ms=100";
	http_pool_free(pool);
	pool = http_pool_new("test", 400);
	crowd_begin(c, 400);
	crowd_end(c);
	assert_int_equal(c->ok, 400);
	assert_true(most_inside > 200); /* they were under way together */
	free(c);
}

/* More transfers than connections: the rest waits inside libcurl, and none is forgotten there. */
static void test_few_connections(void)
{
	struct crowd *c = mem_new(struct crowd);

	c->path = "/slow?ms=5";
	http_pool_free(pool);
	pool = http_pool_new("test", 5);
	crowd_begin(c, 200);
	crowd_end(c);
	assert_int_equal(c->ok, 200);
	assert_in_range(most_inside, 2, 5);
	free(c);
}

static void test_deadline_and_cancel(void)
{
	struct crowd *c = mem_new(struct crowd);

	c->path = "/slow?ms=3000";
	c->deadline_ms = 200;
	crowd_begin(c, 20);
	crowd_end(c);
	assert_int_equal(c->timed_out, 20);
	memset(c, 0, sizeof(*c));
	c->path = "/slow?ms=3000";
	arrived = 0;
	crowd_begin(c, 60);
	for (int i = 0; i < 20; i++)
		co_cancel(c->member[i]); /* before they ran */
	wait_for(&arrived, 40);
	for (int i = 20; i < 60; i++)
		co_cancel(c->member[i]);
	crowd_end(c);
	assert_int_equal(c->cancelled, 60);
	memset(c, 0, sizeof(*c));
	c->path = "/echo";
	crowd_begin(c, 60); /* and the pool is none the worse */
	crowd_end(c);
	assert_int_equal(c->ok, 60);
	free(c);
}

/* Cancelled at any moment of an exchange; what is left over must not disturb the next. */
static void test_cancel_storm(void)
{
	struct crowd *c = mem_new(struct crowd);

	for (int round = 0; round < 40; round++) {
		memset(c, 0, sizeof(*c));
		c->path = "/slow?ms=3";
		crowd_begin(c, 20);
		assert_int_equal(co_sleep("moment", round % 8), 0);
		for (int i = 0; i < 20; i += 2)
			if (c->left == 20)
				co_cancel(c->member[i]);
		crowd_end(c);
		assert_int_equal(c->ok + c->cancelled, 20);
		assert_true(c->ok >= 10);
	}
	free(c);
}

static void test_pool_freed(void)
{
	struct crowd *c = mem_new(struct crowd);

	c->path = "/slow?ms=3000";
	crowd_begin(c, 50);
	wait_for(&arrived, 50);
	http_pool_free(pool);
	pool = NULL;
	crowd_end(c);
	assert_int_equal(c->cancelled, 50);
	free(c);
}

static void ask_unknown_host(void *arg)
{
	int *rc = arg;
	struct http_request q = { .method = "GET", .url = "http://no-such-host.invalid:81/" };
	struct http_response r;

	http_response_init(&r);
	*rc = http_send(pool, &q, &r);
	http_response_clear(&r);
}

static void test_pool_freed_while_resolving(void)
{
	int64_t end = clock_mono_ms() + 5000;
	int rc = 1;

	assert_non_null(co_spawn("dns", ask_unknown_host, &rc));
	assert_int_equal(co_yield (), 0);
	if (rc == 1) { /* unless the answer was that fast */
		http_pool_free(pool);
		pool = NULL;
	}
	while (rc == 1) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("dns", 2), 0);
	}
	assert_true(rc == -ECANCELED || (rc == 0 && pool));
}

static void test_names_and_proxies(void)
{
	struct http_request q = { .method = "GET" };
	struct http_response r;
	char u[160];

	http_response_init(&r);
	setenv("http_proxy", "http://127.0.0.1:1", 1); /* would refuse */
	snprintf(u, sizeof(u), "http://LocalHost:%d/echo", httpd_port(server));
	q.url = u;
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_int_equal(r.status, 200);
	snprintf(u, sizeof(u), "http://user:secret@localhost:%d/echo", httpd_port(server));
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_int_equal(r.status, 200);
	unsetenv("http_proxy");
	http_response_clear(&r);
}

/* A server that ends its kept connections between two requests. */
static void test_server_restarts(void)
{
	struct httpd_options o = { .listen = base + 7 };
	struct http_response r;
	struct err err;

	http_response_init(&r);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get("/echo", &r), 0);
		assert_int_equal(r.status, 200);
		httpd_free(server);
		server = NULL;
		assert_int_equal(httpd_new(&o, &server, &err), 0);
		httpd_route(server, "*", "/echo", on_echo, NULL);
	}
	http_response_clear(&r);
}

static pid_t run_openssl(const char *dir, char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		if (chdir(dir) < 0 || !freopen("/dev/null", "r", stdin) ||
		    !freopen("log", "a", stdout) || dup2(1, 2) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void remove_dir(const char *dir)
{
	static const char *const names[] = { "key", "cert", "log" };
	char path[200];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* Certificates are verified, name and chain, unless they are signed by whom we trust. */
static void test_tls(void)
{
	char dir[] = "/tmp/longshore-tls-XXXXXX", port[8], u[160], cert[80], key[80], unused[160];
	char *serve[] = { "openssl", "s_server", "-accept", port,       "-key", "key",
			  "-cert",   "cert",     "-www",    "-naccept", "50",   NULL };
	int fd = listener(unused, "http");
	int64_t end = clock_mono_ms() + 10000;
	struct http_request q = { .method = "GET", .url = u };
	struct http_response r;
	pid_t pid;

	http_response_init(&r);
	assert_non_null(mkdtemp(dir));
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(cert, sizeof(cert), "%s/cert", dir);
	assert_int_equal(make_certificate(key, cert), 0);
	snprintf(port, sizeof(port), "%s", strrchr(unused, ':') + 1);
	port[strcspn(port, "/")] = '\0';
	close(fd);
	pid = run_openssl(dir, serve);
	snprintf(u, sizeof(u), "https://localhost:%s/", port);
	do {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(http_send(pool, &q, &r), 0);
	} while (r.failure && strcmp(r.failure, "refused") == 0 && co_sleep("server", 20) == 0);
	assert_string_equal(r.failure, "tls"); /* self-signed */
	http_set_ca_file(cert);
	http_pool_free(pool);
	pool = http_pool_new("test", 0);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_null(r.failure);
	assert_int_equal(r.status, 200);
	snprintf(u, sizeof(u), "https://127.0.0.1:%s/", port);
	assert_int_equal(http_send(pool, &q, &r), 0);
	assert_string_equal(r.failure, "tls"); /* another name */
	http_set_ca_file(NULL);
	http_response_clear(&r);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	remove_dir(dir);
}

static void test_escape(void **state)
{
	struct buf b = BUF_INIT;

	http_escape(&b, "a b/\xc3\xa9~-_.+&=%\0", 15);
	assert_string_equal(b.data, "a%20b%2F%C3%A9~-_.%2B%26%3D%25%00");
	buf_clear(&b);
}

static void serve(void)
{
	struct httpd_options o = { .listen = "127.0.0.1:0", .max_body_bytes = 4000000 };
	struct err err;

	assert_int_equal(httpd_new(&o, &server, &err), 0);
	httpd_route(server, "*", "/echo", on_echo, NULL);
	httpd_route(server, "*", "/echo/", on_echo, NULL);
	httpd_route(server, "GET", "/slow", on_slow, NULL);
	httpd_route(server, "GET", "/status", on_status, NULL);
	httpd_route(server, "GET", "/large", on_large, NULL);
	httpd_route(server, "GET", "/gzip", on_gzip, NULL);
	httpd_route(server, "GET", "/abort", on_abort, NULL);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", httpd_port(server));
	inside = most_inside = arrived = 0;
}

static void in_coroutine(void *arg)
{
	void (**fn)(void) = arg;

	serve();
	pool = http_pool_new("test", 0);
	(*fn)();
	http_pool_free(pool);
	httpd_free(server);
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
		T(test_round_trip),
		T(test_methods),
		T(test_refused_requests),
		T(test_statuses),
		T(test_failures),
		T(test_bad_answers),
		T(test_packed),
		T(test_silence),
		T(test_upload),
		T(test_wait_for_connection),
		T(test_connect_timeout),
		T(test_once),
		T(test_sending),
		T(test_1xx_and_duplicates),
		T(test_many),
		T(test_few_connections),
		T(test_deadline_and_cancel),
		T(test_cancel_storm),
		T(test_pool_freed),
		T(test_pool_freed_while_resolving),
		T(test_names_and_proxies),
		T(test_server_restarts),
		T(test_tls),
		cmocka_unit_test(test_escape),
	};
	int failed;

	if (loop_init() < 0 || http_global_init() < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	loop_close();
	return failed;
}
