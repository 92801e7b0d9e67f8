/* The server, spoken to over raw sockets, since its manners are what is tested: clients that
 * vanish, drip, or say too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/httpd.h"
#include "common/io/loop.h"

static struct httpd *server;
static int entered, left, seen_body;

static void on_echo(struct httpd_request *q, void *arg)
{
	size_t len;
	const char *body = httpd_body(q, &len);
	struct buf out = BUF_INIT;

	buf_printf(&out, "%s %s q=%s h=%s peer=%s raw=%s body=%.*s", httpd_method(q), httpd_path(q),
		   httpd_query(q, "q") ? httpd_query(q, "q") : "-",
		   httpd_header(q, "x-h") ? httpd_header(q, "X-H") : "-", httpd_peer(q),
		   httpd_raw_query(q), (int)len, body);
	httpd_add_header(q, "X-Echo", arg);
	httpd_reply(q, 200, "text/plain", out.data, out.len);
	buf_clear(&out);
}

/* Waits for 100 ms, then looks at the request again: it must still be there, whatever the client
 * did. */
static void on_slow(struct httpd_request *q, void *arg)
{
	size_t len = 0;

	entered++;
	(void)co_sleep("slow", 100);
	httpd_body(q, &len);
	seen_body = (int)len;
	left++;
	httpd_reply_text(q, 200, "late");
}

static void on_silent(struct httpd_request *q, void *arg)
{
}

static void on_abort(struct httpd_request *q, void *arg)
{
	httpd_abort(q);
}

/* ---- a direct route, answered later ---- */

static int listener = -1; /* the client's end, looked at as soon as the answer was given */
static int at_once;

static void answer_later(void *arg)
{
	struct httpd_request *q = arg;
	const char *size = httpd_query(q, "n");
	size_t n = size ? strtoul(size, NULL, 10) : 5;
	char *body = mem_alloc(n), c;

	memset(body, 'x', n);
	entered++;
	(void)co_sleep("later", 20);
	httpd_reply(q, 200, "text/plain", body, n);
	left++;
	if (listener >= 0 && recv(listener, &c, 1, MSG_PEEK) == 1)
		at_once++;
	free(body);
}

static void on_later(struct httpd_request *q, void *arg)
{
	if (httpd_query(q, "now"))
		httpd_reply_text(q, 200, "now");
	else
		assert_non_null(co_spawn("later", answer_later, q));
}

static void on_named(struct httpd_request *q, void *arg)
{
	httpd_reply_text(q, 200, arg);
}

static struct httpd *start(struct httpd_options o)
{
	struct httpd *h = NULL;
	struct err err;

	o.listen = "127.0.0.1:0";
	assert_int_equal(httpd_new(&o, &h, &err), 0);
	assert_true(httpd_port(h) > 0);
	httpd_route(h, "*", "/echo", on_echo, "yes");
	httpd_route(h, "GET", "/slow", on_slow, NULL);
	httpd_route(h, "POST", "/slow", on_slow, NULL);
	httpd_route(h, "GET", "/silent", on_silent, NULL);
	httpd_route(h, "GET", "/abort", on_abort, NULL);
	httpd_route_direct(h, "GET", "/later", on_later, NULL);
	httpd_route(h, "GET", "/", on_named, "root");
	httpd_route(h, "GET", "/a/", on_named, "a");
	httpd_route(h, "GET", "/a/b/", on_named, "ab");
	httpd_route(h, "GET", "/a/exact", on_named, "exact");
	httpd_route(h, "POST", "/only-post", on_named, "posted");
	entered = left = seen_body = at_once = 0;
	return h;
}

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)httpd_port(server)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	return fd;
}

static void say(int fd, const char *s, size_t n)
{
	int64_t end = clock_mono_ms() + 5000;

	while (n > 0) {
		ssize_t sent = send(fd, s, n, MSG_NOSIGNAL);

		if (sent > 0) {
			s += sent;
			n -= (size_t)sent;
			continue;
		}
		if (errno != EAGAIN && errno != ENOTCONN)
			return;
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("send", 2), 0);
	}
}

/* Reads until `want` stands in what came, or the end; returns false at the end. */
static bool hear(int fd, struct buf *in, const char *want, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;
	char part[2048];

	for (;;) {
		ssize_t n = recv(fd, part, sizeof(part), 0);

		if (n > 0)
			buf_append(in, part, (size_t)n);
		if (want && strstr(buf_str(in), want))
			return true;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN))
			return false;
		assert_true(clock_mono_ms() < end);
		if (n < 0)
			assert_int_equal(co_sleep("recv", 2), 0);
	}
}

/* One request on its own connection, to the end of the connection. */
static void ask(const char *request, struct buf *in)
{
	int fd = dial();

	buf_reset(in);
	say(fd, request, strlen(request));
	hear(fd, in, NULL, 5000);
	close(fd);
}

#define CLOSE "Host: x\r\nConnection: close\r\n\r\n"

static void test_echo(void)
{
	struct buf in = BUF_INIT;

	ask("POST /ec%68o?q=a%20b&z=1 HTTP/1.1\r\nX-H: v\r\nContent-Length: 3\r\n" CLOSE "abc",
	    &in);
	assert_non_null(strstr(in.data, "200 OK"));
	assert_non_null(strstr(in.data, "X-Echo: yes"));
	assert_non_null(
		strstr(in.data, "POST /echo q=a b h=v peer=127.0.0.1 raw=q=a%20b&z=1 body=abc"));
	buf_clear(&in);
}

static void test_routes(void)
{
	struct buf in = BUF_INIT;

	ask("GET /a/b/c HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, "\r\n\r\nab"));
	ask("GET /a/exact HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, "\r\n\r\nexact"));
	ask("GET /a/exactly HTTP/1.1\r\n" CLOSE, &in);
	assert_string_equal(strstr(in.data, "\r\n\r\n") + 4, "a");
	ask("GET / HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, "\r\n\r\nroot"));
	ask("DELETE /only-post HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 405 "));
	ask("PUT /nowhere HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 405 ")); /* "/" is a prefix, for GET alone */
	ask("GET /a%00b HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 400 "));
	ask("GET /silent HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 500 "));
	ask("GET /abort HTTP/1.1\r\n" CLOSE, &in);
	assert_int_equal(in.len, 0);
	ask("nonsense\r\n\r\n", &in);
	assert_null(strstr(buf_str(&in), " 200 "));
	buf_clear(&in);
}

static void test_not_found(void)
{
	struct httpd_options o = { .listen = "127.0.0.1:0" };
	struct httpd *full = server;
	struct buf in = BUF_INIT;
	struct err err;

	assert_int_equal(httpd_new(&o, &server, &err), 0);
	ask("GET /x HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 404 "));
	httpd_route(server, "GET", "/x/", on_named, "x");
	httpd_route(server, "POST", "/x/y", on_named, "y");
	ask("DELETE /x/y HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 405 "));
	assert_non_null(strstr(in.data, "\r\nAllow: POST, GET, HEAD\r\n"));
	httpd_free(server);
	server = full;
	buf_clear(&in);
}

/* The answers to HEAD and to pipelined requests must not run into each other. */
static void test_keep_alive(void)
{
	static const char three[] = "HEAD /a/ HTTP/1.1\r\nHost: x\r\n\r\n"
				    "GET /a/exact HTTP/1.1\r\nHost: x\r\n\r\n"
				    "GET /a/b/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct buf in = BUF_INIT;
	int fd = dial();
	const char *at;

	say(fd, three, sizeof(three) - 1);
	assert_false(hear(fd, &in, NULL, 5000));
	at = strstr(in.data, "\r\n\r\n");
	assert_non_null(
		strstr(in.data,
		       "Content-Length: 1\r\n")); /* HEAD tells the length of what GET would have */
	assert_memory_equal(at + 4, "HTTP/1.1 200", 12);
	at = strstr(at + 4, "\r\n\r\nexact");
	assert_non_null(at);
	assert_memory_equal(at + 9, "HTTP/1.1 200", 12);
	assert_non_null(strstr(at, "\r\n\r\nab"));
	close(fd);
	buf_clear(&in);
}

static void wait_for(const int *what, int n)
{
	int64_t end = clock_mono_ms() + 5000;

	while (*what < n) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("condition", 2), 0);
	}
}

/* It goes out with the reply, not at the next look at the socket; what does not fit goes on by itself. */
static void test_answered_later(void)
{
	static const char two[] = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
				  "GET /later?now=1 HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char large[] = "GET /later?n=9000000 HTTP/1.1\r\nHost: x\r\n\r\n"
				    "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct linger reset = { .l_onoff = 1 };
	struct buf in = BUF_INIT;
	const char *at;

	listener = dial();
	for (int i = 1; i <= 3; i++) {
		buf_reset(&in);
		say(listener, two, sizeof(two) - 1);
		assert_true(hear(listener, &in, "\r\n\r\nnow", 5000));
		assert_memory_equal(strstr(in.data, "\r\n\r\nxxxxx") + 9, "HTTP/1.1 200", 12);
		assert_int_equal(at_once, i);
	}
	buf_reset(&in);
	say(listener, large, sizeof(large) - 1);
	assert_false(hear(listener, &in, NULL, 20000));
	at = strstr(in.data, "\r\n\r\n") + 4;
	assert_int_equal(strspn(at, "x"), 9000000);
	assert_memory_equal(at + 9000000, "HTTP/1.1 200", 12);
	assert_non_null(strstr(at + 9000000, "\r\n\r\nxxxxx"));
	close(listener);
	listener = -1;
	entered = left = 0;
	for (int i = 0; i < 10; i++) { /* who asks and goes */
		int fd = dial();

		say(fd, two, 32 + i);
		wait_for(&entered, i + 1);
		if (i % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	wait_for(&left, 10);
	ask("GET /later HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 200 "));
	assert_int_equal(httpd_drain(server, loop_now_ms() + 2000), 0);
	buf_clear(&in);
}

/* Whoever answers, it is a problem as JSON, with its length, and the end. */
static void refused(const char *request, const char *status, const char *detail)
{
	struct buf in = BUF_INIT;
	char line[80], member[80];
	const char *body;

	ask(request, &in);
	snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", status);
	snprintf(member, sizeof(member), "\"status\":%.3s,", status);
	body = in.data ? strstr(in.data, "\r\n\r\n") : NULL;
	if (!body || strncmp(in.data, line, strlen(line)) != 0)
		fail_msg("%s: %s", request, buf_str(&in));
	body += 4;
	assert_non_null(strstr(in.data, "\r\nContent-Type: application/problem+json\r\n"));
	assert_non_null(strstr(in.data, "\r\nDate: "));
	assert_int_equal(strlen(body), strtoul(strstr(in.data, "Content-Length: ") + 16, NULL, 10));
	assert_non_null(strstr(body, member));
	assert_non_null(strstr(body, detail));
	assert_string_equal(body + strlen(body) - 2, "\"}");
	buf_clear(&in);
}

#define CHUNKED "Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_refusals(void)
{
	char *big = mem_zalloc(5000);
	struct buf text = BUF_INIT;

	memset(big, 'x', 4999);
	refused("nonsense\r\n\r\n", "400 Bad Request", "does not read");
	refused("GET /echo HTTP/x\r\n" CLOSE, "400 Bad Request", "request line");
	refused("GET /echo HTTP/1.1\r\nno colon\r\n" CLOSE, "400 Bad Request", "a header");
	refused("POST /echo HTTP/1.1\r\nContent-Length: -1\r\n" CLOSE, "400 Bad Request", "length");
	refused("GET /echo HTTP/1.1\r\nContent-Length: 2\r\n" CLOSE "hi", "400 Bad Request",
		"body of GET");
	refused("POST /echo HTTP/1.1\r\nContent-Length : 2\r\n" CLOSE, "400 Bad Request",
		"blank before a colon");
	refused("GET /a%00b HTTP/1.1\r\n" CLOSE, "400 Bad Request", "address");
	refused("FETCH /echo HTTP/1.1\r\n" CLOSE, "501 Not Implemented", "none of GET");
	refused("TRACE /echo HTTP/1.1\r\n" CLOSE, "501 Not Implemented", "none of GET");
	refused("POST /echo HTTP/1.1\r\nExpect: cake\r\nContent-Length: 2\r\n" CLOSE "hi",
		"417 Expectation Failed", "100-continue");
	refused("DELETE /only-post HTTP/1.1\r\n" CLOSE, "405 Method Not Allowed", "method");
	refused("GET /silent HTTP/1.1\r\n" CLOSE, "500 Internal Server Error", "no answer");
	refused("POST /echo HTTP/1.1\r\nContent-Length: 2000\r\n" CLOSE, "413 Content Too Large",
		"larger than 1000 bytes");
	refused("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n" CLOSE,
		"413 Content Too Large", "larger than 1000 bytes");
	refused("POST /echo HTTP/1.1\r\n" CHUNKED "xyz\r\n", "413 Content Too Large",
		"chunks or trailers do not read");
	buf_printf(&text, "POST /echo HTTP/1.1\r\n" CHUNKED "bb7\r\n%.2999s\r\n0\r\n\r\n", big);
	refused(text.data, "413 Content Too Large", "larger than 1000 bytes");
	buf_reset(&text);
	buf_printf(&text, "GET /echo HTTP/1.1\r\nX-H: %s\r\n" CLOSE, big);
	refused(text.data, "431 Request Header Fields Too Large", "larger than 4000 bytes");
	buf_reset(&text);
	buf_printf(&text, "GET /echo?%s HTTP/1.1\r\n" CLOSE, big);
	refused(text.data, "431 Request Header Fields Too Large", "larger than 4000 bytes");
	buf_reset(&text); /* a trailer is none of the head, however much came before it */
	buf_printf(&text, "POST /echo HTTP/1.1\r\n" CHUNKED);
	for (int i = 0; i < 400; i++)
		buf_puts(&text, "0000000001\r\nx\r\n");
	buf_puts(&text, "0\r\nno colon\r\n\r\n");
	refused(text.data, "413 Content Too Large", "chunks or trailers");
	buf_reset(&text);
	buf_printf(&text, "GET /echo?%s", big); /* and no end of the line */
	refused(text.data, "431 Request Header Fields Too Large", "larger than 4000 bytes");
	free(big);
	buf_clear(&text);
}

/* Behind answers of handlers, and of those who go on sending: each gets what he is due, the server no burden. */
static void test_refused_late(void)
{
	static const char mixed[] = "GET /a/ HTTP/1.1\r\nHost: x\r\n\r\n"
				    "GET /later?n=9000000 HTTP/1.1\r\nHost: x\r\n\r\n"
				    "nonsense\r\n\r\n";
	static const char head[] = "POST /echo HTTP/1.1\r\nContent-Length: 8000000\r\n" CLOSE;
	enum { MUCH = 8000000 };
	char *much = mem_zalloc(MUCH);
	struct buf in = BUF_INIT;
	struct linger reset = { .l_onoff = 1 };
	int fd = dial();

	say(fd, mixed, sizeof(mixed) - 1);
	assert_false(hear(fd, &in, NULL, 20000));
	assert_non_null(strstr(in.data, "\r\n\r\naHTTP/1.1 200"));
	assert_non_null(strstr(in.data, "xHTTP/1.1 400 Bad Request\r\n"));
	assert_non_null(strstr(in.data, "problem+json"));
	close(fd);

	for (int i = 0; i < 4; i++) {
		buf_reset(&in);
		fd = dial();
		say(fd, head, sizeof(head) - 1);
		say(fd, much, MUCH); /* stops where the connection is gone */
		assert_true(send(fd, "x", 1, MSG_NOSIGNAL) == 1 || errno == EAGAIN);
		assert_false(hear(fd, &in, NULL, 5000));
		assert_non_null(strstr(buf_str(&in), " 413 "));
		if (i % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	fd = dial(); /* who never closes holds no drain up */
	say(fd, "nonsense\r\n\r\n", 12);
	buf_reset(&in);
	assert_false(hear(fd, &in, NULL, 5000));
	assert_int_equal(httpd_drain(server, loop_now_ms() + 2000), 0);
	close(fd);
	free(much);
	buf_clear(&in);
}

/* What evhttp keeps of those who were refused in the middle of a body, and stay, counts until they go. */
static void test_refused_held(void)
{
	enum { N = 3 };
	char *part = mem_zalloc(4000);
	struct buf text = BUF_INIT, in = BUF_INIT;
	int fd[N];

	memset(part, 'x', 3999);
	buf_printf(&text, "POST /echo HTTP/1.1\r\n" CHUNKED "f9f\r\n%s\r\nxyz\r\n", part);
	for (int i = 0; i < N; i++) {
		fd[i] = dial();
		say(fd[i], text.data, text.len);
		buf_reset(&in);
		assert_false(hear(fd[i], &in, NULL, 5000));
		assert_non_null(strstr(in.data, " 413 "));
	}
	ask(text.data, &in);
	assert_int_equal(in.len, 0); /* no room for a fourth, who is cut off */
	for (int i = 0; i < N; i++)
		close(fd[i]);
	for (int64_t end = clock_mono_ms() + 5000; in.len == 0;) {
		assert_true(clock_mono_ms() < end);
		assert_int_equal(co_sleep("room", 20), 0);
		ask(text.data, &in);
	}
	assert_non_null(strstr(in.data, " 413 "));
	assert_int_equal(httpd_drain(server, loop_now_ms() + 2000), 0);
	free(part);
	buf_clear(&text);
	buf_clear(&in);
}

static void test_client_gone(void)
{
	static const char ask_slow[] =
		"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
	struct linger reset = { .l_onoff = 1 };
	struct buf in = BUF_INIT;

	for (int i = 0; i < 20; i++) {
		int fd = dial();

		say(fd, ask_slow, sizeof(ask_slow) - 1);
		wait_for(&entered, i + 1);
		if (i % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	wait_for(&left, 20);
	assert_int_equal(seen_body, 5);
	ask("GET /a/ HTTP/1.1\r\n" CLOSE, &in);
	assert_non_null(strstr(in.data, " 200 "));
	assert_int_equal(httpd_drain(server, loop_now_ms() + 2000),
			 0); /* none is counted for ever */
	buf_clear(&in);
}

/* 300 ms for a request: a byte each 50 ms resets a timeout of silence again and again, and must
 * be cut off. */
static void test_slow_client(void)
{
	int64_t begun = clock_mono_ms();
	struct buf in = BUF_INIT;
	char end;
	int fd = dial();

	say(fd, "GET /a/ HTTP/1.1\r\nX: ", 21);
	while (recv(fd, &end, 1, 0) < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
		assert_true(clock_mono_ms() - begun < 3000);
		say(fd, "a", 1);
		assert_int_equal(co_sleep("drip", 50), 0);
	}
	assert_true(clock_mono_ms() - begun >= 250);
	close(fd);
	/* One that says nothing at all is cut off too. */
	fd = dial();
	assert_false(hear(fd, &in, NULL, 3000));
	close(fd);
	/* A connection that was used well for longer is not. */
	fd = dial();
	for (begun = clock_mono_ms(); clock_mono_ms() - begun < 900;) {
		buf_reset(&in);
		say(fd, "GET /a/ HTTP/1.1\r\nHost: x\r\n\r\n", 29);
		assert_true(hear(fd, &in, "\r\n\r\na", 3000));
		assert_int_equal(co_sleep("pause", 100), 0);
	}
	close(fd);
	buf_clear(&in);
}

static void test_overload(void)
{
	struct buf in = BUF_INIT;
	int fd[4];

	for (int i = 0; i < 4; i++) {
		fd[i] = dial();
		say(fd[i], "GET /slow HTTP/1.1\r\n" CLOSE, 18 + 2 + strlen(CLOSE));
		if (i < 3)
			wait_for(&entered, i + 1);
	}
	hear(fd[3], &in, NULL, 5000);
	assert_non_null(strstr(in.data, " 503 "));
	assert_non_null(strstr(in.data, "Retry-After: 1"));
	for (int i = 0; i < 3; i++) {
		buf_reset(&in);
		hear(fd[i], &in, NULL, 5000);
		assert_non_null(strstr(in.data, " 200 "));
		close(fd[i]);
	}
	close(fd[3]);
	buf_clear(&in);
}

static void test_no_slot(void)
{
	struct buf in = BUF_INIT;

	co_set_limit(co_count());
	ask("GET /a/ HTTP/1.1\r\n" CLOSE, &in);
	co_set_limit(16000);
	assert_non_null(strstr(in.data, " 503 "));
	buf_clear(&in);
}

static void test_drain(void)
{
	struct buf in = BUF_INIT;
	int fd = dial(), late;

	say(fd, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", 31);
	wait_for(&entered, 1);
	assert_int_equal(httpd_drain(server, loop_now_ms() + 1), -ETIMEDOUT);
	assert_int_equal(left, 0);
	assert_int_equal(httpd_drain(server, loop_now_ms() + 5000), 0);
	assert_int_equal(left, 1);
	assert_false(
		hear(fd, &in, NULL, 1000)); /* answered, then closed, though it asked to be kept */
	assert_non_null(strstr(in.data, " 200 "));
	close(fd);
	buf_reset(&in);
	late = dial();
	say(late, "GET /a/ HTTP/1.1\r\n" CLOSE, 16 + 2 + strlen(CLOSE));
	assert_false(hear(late, &in, NULL, 1000));
	assert_int_equal(in.len, 0); /* refused */
	close(late);
	buf_clear(&in);
}

static void test_free_under_way(void)
{
	struct buf in = BUF_INIT;
	int fd = dial();

	say(fd, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", 53);
	wait_for(&entered, 1);
	httpd_free(server);
	server = NULL;
	wait_for(&left, 1);
	assert_int_equal(seen_body, 2);
	assert_false(hear(fd, &in, NULL, 1000));
	assert_int_equal(in.len, 0);
	close(fd);
	buf_clear(&in);
}

static void test_bind_errors(void)
{
	static const char *const bad[] = {
		"", "8700", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "no.such.host:80"
	};
	struct httpd *h = NULL;
	struct httpd_options o;
	struct err err;
	char taken[40];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		o = (struct httpd_options){ .listen = bad[i] };
		assert_int_equal(httpd_new(&o, &h, &err), -EINVAL);
	}
	snprintf(taken, sizeof(taken), "127.0.0.1:%d", httpd_port(server));
	o = (struct httpd_options){ .listen = taken };
	assert_int_equal(httpd_new(&o, &h, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, taken));
	assert_null(h);
}

struct run {
	void (*fn)(void);
	struct httpd_options options;
};

static void in_coroutine(void *arg)
{
	struct run *r = arg;

	server = start(r->options);
	r->fn();
	httpd_free(server);
	loop_stop();
}

static void run(void **state)
{
	assert_non_null(co_spawn("test", in_coroutine, *state));
	assert_int_equal(loop_run(), 0);
}

#define T(f, ...)                                           \
	{                                                   \
#f, run, NULL, NULL, &(struct run)          \
		{                                           \
			.fn = f, .options = { __VA_ARGS__ } \
		}                                           \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_echo),
		T(test_routes),
		T(test_not_found),
		T(test_keep_alive),
		T(test_answered_later),
		T(test_refusals, .max_body_bytes = 1000, .max_header_bytes = 4000),
		T(test_refused_late, .max_body_bytes = 1000, .max_buffered_bytes = 100000),
		T(test_refused_held, .max_body_bytes = 8000, .max_buffered_bytes = 15000),
		T(test_client_gone),
		T(test_slow_client, .read_timeout_ms = 300),
		T(test_overload, .max_requests = 3),
		T(test_no_slot),
		T(test_drain),
		T(test_free_under_way),
		T(test_bind_errors),
	};
	int failed;

	loop_merge_changes(); /* as the scheduler does */
	if (loop_init() < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	loop_close();
	return failed;
}
