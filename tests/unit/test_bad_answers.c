/* What partners send on bad days: a server that says raw bytes, and the door before it.  No answer may crash, hang or bloat us,
 * and each ends in a class and a rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <zlib.h>

#include "tests/unit/partner.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"
#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
#define MIB (1024 * 1024)

/* ---- the server, a process of its own ---- */

static struct {
	pid_t pid;
	int port;
} raw;

static bool say(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

static void say_text(int fd, const char *text)
{
	(void)say(fd, text, strlen(text));
}

static void say_nested(int fd)
{
	static char deep[10000];

	say_text(fd, OK_HEAD "\r\n{\"a\":");
	memset(deep, '[', sizeof(deep));
	(void)say(fd, deep, sizeof(deep));
	memset(deep, ']', sizeof(deep));
	(void)say(fd, deep, sizeof(deep));
	say_text(fd, "}");
}

/* Until the other side has had enough. */
static void say_much(int fd, const char *head, bool chunked)
{
	static char page[65536];
	char size[16];

	memset(page, ' ', sizeof(page));
	say_text(fd, head);
	snprintf(size, sizeof(size), "%zx\r\n", sizeof(page));
	for (int i = 0; i < 16384; i++) { /* 1 GiB */
		if (chunked)
			say_text(fd, size);
		if (!say(fd, page, sizeof(page)))
			return;
		if (chunked)
			say_text(fd, "\r\n");
	}
}

/* 256 MiB of blanks in a quarter of a MiB. */
static void say_bomb(int fd)
{
	static unsigned char in[MIB], out[MIB];
	z_stream z = { 0 };

	memset(in, ' ', sizeof(in));
	if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return;
	say_text(fd, OK_HEAD "Content-Encoding: gzip\r\n\r\n");
	for (int i = 0; i <= 256; i++) {
		z.next_in = in;
		z.avail_in = i < 256 ? sizeof(in) : 0;
		do {
			z.next_out = out;
			z.avail_out = sizeof(out);
			(void)deflate(&z, i < 256 ? Z_NO_FLUSH : Z_FINISH);
			if (!say(fd, out, sizeof(out) - z.avail_out)) {
				deflateEnd(&z);
				return;
			}
		} while (z.avail_out == 0);
	}
	deflateEnd(&z);
}

static void say_drip(int fd)
{
	say_text(fd, OK_HEAD "Content-Length: 100\r\n\r\n");
	while (say(fd, " ", 1)) {
		struct timespec pause = { 0, 20 * 1000000 };

		nanosleep(&pause, NULL);
	}
}

static void answer_raw(int fd, const char *what)
{
	static const struct {
		const char *name, *text;
	} plain[] = {
		{ "html", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n"
			  "<html><body>maintenance</body></html>" },
		{ "html503", "HTTP/1.1 503 Down\r\nConnection: close\r\n\r\n<html>down</html>" },
		{ "truncated", OK_HEAD "Content-Length: 100\r\n\r\n{\"a\": [1, 2" },
		{ "half", OK_HEAD "\r\n{\"a\": [1, 2" },
		{ "latin1", OK_HEAD "\r\n{\"name\": \"Caf\xe9\"}" },
		{ "type",
		  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: image/png\r\n\r\n[]" },
		{ "empty", OK_HEAD "Content-Length: 0\r\n\r\n" },
		{ "badgzip", OK_HEAD "Content-Encoding: gzip\r\n\r\n\x1f\x8b nonsense" },
		{ "nothttp", "SSH-2.0-OpenSSH_9.2\r\n" },
		{ "status", "HTTP/1.1 999 What\r\nConnection: close\r\n\r\n[]" },
		{ "nan", OK_HEAD "\r\n{\"a\": NaN}" },
		{ "huge", OK_HEAD "\r\n{\"a\": 1e999999}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (strcmp(plain[i].name, what) == 0)
			say_text(fd, plain[i].text);
	if (strcmp(what, "nested") == 0)
		say_nested(fd);
	else if (strcmp(what, "endless") == 0)
		say_much(fd, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n", true);
	else if (strcmp(what, "gigabyte") == 0)
		say_much(fd, OK_HEAD "Content-Length: 1073741824\r\n\r\n", false);
	else if (strcmp(what, "headers") == 0)
		say_much(fd, "HTTP/1.1 200 OK\r\nX-Long: ", false);
	else if (strcmp(what, "bomb") == 0)
		say_bomb(fd);
	else if (strcmp(what, "drip") == 0)
		say_drip(fd);
	else if (strcmp(what, "silent") == 0)
		(void)recv(fd, (char[1]){ 0 }, 1, 0); /* until the other side leaves */
}

static void serve(int listener)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		static char head[8192];
		char what[32] = "";
		ssize_t n = fd < 0 ? -1 : recv(fd, head, sizeof(head) - 1, 0);

		if (n > 0) {
			head[n] = '\0';
			if (sscanf(head, "GET /v1/%31[a-z0-9]", what) == 1)
				answer_raw(fd, what);
		}
		close(fd);
	}
}

static int raw_start(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	raw.port = ntohs(a.sin_port);
	raw.pid = fork();
	if (raw.pid == 0)
		serve(fd);
	close(fd);
	return raw.pid > 0 ? 0 : -1;
}

/* ---- what is made of it ---- */

static const struct bad {
	const char *what;
	enum err_class class;
	const char *rule, *words;
} bad[] = {
	{ "html", ERR_DATA, "", "" },
	{ "html503", ERR_TRANSIENT, "status 5xx", "down" },
	{ "truncated", ERR_TRANSIENT, "network reset", "" },
	{ "half", ERR_DATA, "not JSON", "" },
	{ "badgzip", ERR_TRANSIENT, "network", "" },
	{ "nothttp", ERR_TRANSIENT, "network", "" },
	{ "status", ERR_DATA, "status unknown", "" },
	{ "nan", ERR_DATA, "not JSON", "" },
	{ "nested", ERR_DATA, "not JSON", "" },
	{ "endless", ERR_MEMORY, "answer size", "16384 KiB" },
	{ "gigabyte", ERR_MEMORY, "answer size", "16384 KiB" },
	{ "bomb", ERR_MEMORY, "answer size", "16384 KiB" },
	{ "headers", ERR_TRANSIENT, "network", "" },
	{ "drip", ERR_TRANSIENT, "network timeout", "" },
	{ "silent", ERR_TRANSIENT, "network timeout", "silent" },
};

static int ask(struct bench *b, const char *what, struct err *err, size_t *body_bytes)
{
	char path[40];
	struct call_spec spec = { .endpoint = "/things", .method = "GET", .path = path };
	struct call_result r;
	int rc;

	snprintf(path, sizeof(path), "/%s", what);
	memset(err, 0, sizeof(*err));
	rc = call(&b->caller, &spec, &r, err);
	*body_bytes = r.http.body.cap;
	call_result_clear(&r);
	return rc;
}

static void answer_nothing(struct httpd_request *q, int number)
{
	reply_json(q, 404, "{}"); /* the raw one is asked */
}

static void body_bad(void)
{
	struct budget memory = { .limit = 512 * MIB };
	struct bench b;
	struct err err;
	size_t bytes;

	partner.answer = answer_nothing;
	bench_open(&b, ",\"timeout\":{\"connect\":\"2s\",\"read\":\"1500ms\",\"total\":\"60s\"}",
		   ",\"breaker\":{\"failures\":1000,\"calls\":100000}" COLLECTION, NULL, 1, 300);
	b.caller.memory = &memory;
	free(b.integration.base_url);
	b.integration.base_url = mem_printf("http://127.0.0.1:%d/v1", raw.port);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct bad *v = &bad[i];
		bool right;
		int rc;

		b.manifest->total_ms = strcmp(v->what, "drip") == 0 ? 900 : 60000;
		rc = ask(&b, v->what, &err, &bytes);
		right = rc == -EREMOTEIO && err.class == v->class &&
			strncmp(err.rule, v->rule, strlen(v->rule)) == 0 &&
			strstr(err.text, v->words) && bytes <= 40 * MIB;
		if (!right)
			fprintf(stderr, "%s: %d %s, rule %s: %s (%zu bytes)\n", v->what, rc,
				err_class_name(err.class), err.rule, err.text, bytes);
		OK(right);
	}
	OK(memory.held == 0);
	/* what is odd, and good enough */
	OK(ask(&b, "type", &err, &bytes) == 0);
	OK(ask(&b, "empty", &err, &bytes) == 0);
	OK(ask(&b, "latin1", &err, &bytes) == 0);
	bench_close(&b);
}

static void test_bad(void **state)
{
	assert_int_equal(on_loop(body_bad), 0);
}

static int setup(void **state)
{
	return raw_start() < 0 || partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	kill(raw.pid, SIGKILL);
	waitpid(raw.pid, NULL, 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad, begin, end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
