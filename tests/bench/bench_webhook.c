/* Webhooks as a crowd of partners sends them, over kept connections, each signed and with an id of its own; and a bare evhttp
 * that answers every one of them with the same words.
 *
 *   bench_webhook serve                                      prints its port, answers until stdin ends
 *   bench_webhook load PORT PATH SECRET N CONNECTIONS RATE   RATE a second in all; 0: each as soon as its last was answered
 *   bench_webhook get PORT PATH TOKEN N CONNECTIONS RATE     the same of GETs with a bearer token */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/base/hmac.h"
#include "tests/bench/bench.h"

#define BODY_BYTES 500

/* ---- the constant answer ---- */

static void answer(struct evhttp_request *req, void *arg)
{
	evbuffer_add_printf(evhttp_request_get_output_buffer(req),
			    "{\"accepted\":1,\"duplicates\":0}\n");
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
			  "application/json");
	evhttp_send_reply(req, 202, "Accepted", NULL);
}

static void on_stdin(evutil_socket_t fd, short what, void *arg)
{
	char c;

	if (read(fd, &c, 1) <= 0)
		event_base_loopbreak(arg);
}

static void serve(void)
{
	struct event_base *base = event_base_new();
	struct evhttp *http = evhttp_new(base);
	struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	struct event *end = event_new(base, 0, EV_READ | EV_PERSIST, on_stdin, base);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	if (!bound || getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&a, &len))
		bench_die("no socket to serve on");
	evhttp_set_gencb(http, answer, NULL);
	event_add(end, NULL);
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	event_base_dispatch(base);
	event_free(end);
	evhttp_free(http);
	event_base_free(base);
}

/* ---- the crowd ---- */

struct line {
	int fd;
	bool waits; /* for an answer */
	int64_t since_us;
	size_t got;
	char in[2048];
};

static struct {
	const char *path, *secret;
	int epoll, n_lines;
	struct line *lines;
	bool gets;
	int64_t n, sent, answered, wrong, began_us;
	double rate;
	int64_t *took_us;
} crowd;

static void request_print(struct buf *out)
{
	static const char digits[] = "0123456789abcdef";
	static int64_t salt;
	char body[BODY_BYTES + 1], hex[2 * HMAC_BYTES_MAX + 1];
	uint8_t mac[HMAC_BYTES_MAX];
	int n;

	if (crowd.gets) {
		buf_reset(out);
		buf_printf(out,
			   "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
			   crowd.path, crowd.secret);
		return;
	}
	if (!salt)
		salt = clock_real_us();
	n = snprintf(
		body, sizeof(body),
		"{\"event\":\"thing.changed\",\"id\":\"%llx-%lld\",\"thing\":{\"id\":\"t-%lld\",\"text\":\"",
		(long long)salt, (long long)crowd.sent, (long long)(crowd.sent % 1000));
	while (n < BODY_BYTES - 3) {
		body[n] = digits[n & 15];
		n++;
	}
	memcpy(body + n, "\"}}", 4);
	n += 3;
	crypto_hex(mac, hmac(HMAC_SHA256, crowd.secret, strlen(crowd.secret), body, (size_t)n, mac),
		   hex);
	buf_reset(out);
	buf_printf(out,
		   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		   "X-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\n\r\n%s",
		   crowd.path, hex, n, body);
}

static void line_send(struct line *l, int64_t due_us)
{
	static struct buf out;

	request_print(&out);
	if (write(l->fd, out.data, out.len) != (ssize_t)out.len)
		bench_die("a request did not fit: %s", strerror(errno));
	l->since_us = due_us;
	l->waits = true;
	l->got = 0;
	crowd.sent++;
}

/* Answers are short and have a Content-Length: whole when head and that many bytes are here. */
static bool line_read(struct line *l)
{
	ssize_t n = read(l->fd, l->in + l->got, sizeof(l->in) - 1 - l->got);
	char *end, *length;

	if (n <= 0)
		bench_die("the connection ended: %s", n ? strerror(errno) : "closed");
	l->got += (size_t)n;
	l->in[l->got] = '\0';
	end = strstr(l->in, "\r\n\r\n");
	length = strcasestr(l->in, "Content-Length: ");
	if (!end || !length || l->got < (size_t)(end + 4 - l->in) + strtoul(length + 16, NULL, 10))
		return false;
	crowd.took_us[crowd.answered++] = clock_mono_us() - l->since_us;
	if (strncmp(l->in, "HTTP/1.1 20", 11) != 0) {
		if (!crowd.wrong++)
			fprintf(stderr, "%.200s\n", l->in);
	}
	l->waits = false;
	return true;
}

static void line_open(struct line *l, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = l };
	int on = 1;

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		bench_die("connecting: %s", strerror(errno));
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, l->fd, &e);
}

/* When the next is due; without a rate it is due now. */
static int64_t due_us(void)
{
	return crowd.rate > 0 ? crowd.began_us + (int64_t)((double)crowd.sent / crowd.rate * 1e6)
			      : clock_mono_us();
}

/* Sends what is due over connections that are free. */
static void send_due(void)
{
	static int next;

	for (int i = 0; i < crowd.n_lines && crowd.sent < crowd.n; i++) {
		struct line *l = &crowd.lines[next];
		int64_t due = due_us();

		if (due > clock_mono_us())
			return;
		next = (next + 1) % crowd.n_lines;
		if (!l->waits)
			line_send(l, due);
	}
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void load(int port)
{
	struct epoll_event ready[256];
	double cpu = bench_cpu_us();

	crowd.epoll = epoll_create1(0);
	crowd.lines = calloc((size_t)crowd.n_lines, sizeof(*crowd.lines));
	crowd.took_us = calloc((size_t)crowd.n, sizeof(*crowd.took_us));
	for (int i = 0; i < crowd.n_lines; i++)
		line_open(&crowd.lines[i], port);
	crowd.began_us = clock_mono_us();
	while (crowd.answered < crowd.n) {
		send_due();
		int n = epoll_wait(crowd.epoll, ready, 256, crowd.rate > 0 ? 1 : -1);
		for (int i = 0; i < n; i++) {
			struct line *l = ready[i].data.ptr;

			if (line_read(l) && crowd.rate == 0 && crowd.sent < crowd.n)
				line_send(l, clock_mono_us());
		}
	}
	double s = (double)(clock_mono_us() - crowd.began_us) / 1e6;
	qsort(crowd.took_us, (size_t)crowd.n, sizeof(*crowd.took_us), by_size);
	if (crowd.wrong)
		bench_die("%lld of %lld were not accepted", (long long)crowd.wrong,
			  (long long)crowd.n);
	printf("{\"per_s\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"client_us\":%.2f}\n",
	       (double)crowd.n / s, (double)crowd.took_us[crowd.n / 2] / 1e3,
	       (double)crowd.took_us[crowd.n * 99 / 100] / 1e3,
	       (bench_cpu_us() - cpu) / (double)crowd.n);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "serve") == 0) {
		serve();
		return 0;
	}
	if (argc != 8 || (strcmp(argv[1], "load") != 0 && strcmp(argv[1], "get") != 0))
		bench_die("usage: see the head of bench_webhook.c");
	crowd.gets = argv[1][0] == 'g';
	crowd.path = argv[3];
	crowd.secret = argv[4];
	crowd.n = bench_int(argv[5]);
	crowd.n_lines = (int)bench_int(argv[6]);
	crowd.rate = (double)strtoll(argv[7], NULL, 10);
	load((int)bench_int(argv[2]));
	return 0;
}
