/* The partner's side of an import without the worker: GETs of the same answer, so many always under way.
 *   bench_http curl URL UNDER_WAY SECONDS      libcurl's multi interface, 64 connections a multi, on epoll
 *   bench_http sockets URL UNDER_WAY SECONDS   bare sockets: what the server itself can do */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/bench/bench.h"

#define SHARD 64 /* libcurl walks all connections of a multi for each transfer */
#define WARM_UP_US 1000000
#define EVENTS 512
#define FILES_MAX 20000

static struct {
	int epoll;
	int64_t from_us, until_us, first_us, last_us, done;
	double cpu_us;
} run;

static void answered(void)
{
	int64_t now_us = clock_mono_us();

	if (now_us < run.from_us)
		return;
	if (!run.done) {
		run.first_us = now_us;
		run.cpu_us = bench_cpu_us();
	}
	run.done++;
	run.last_us = now_us;
}

static void report(void)
{
	struct rusage ru;

	if (run.done < 2)
		bench_die("no answers");
	getrusage(RUSAGE_SELF, &ru);
	printf("{\"requests_per_s\": %.0f, \"cpu_us\": %.1f, \"max_rss_kib\": %ld}\n",
	       (double)run.done * 1e6 / (double)(run.last_us - run.first_us),
	       (bench_cpu_us() - run.cpu_us) / (double)run.done, ru.ru_maxrss);
}

static void watch(int fd, void *data, bool known, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = data };

	if (epoll_ctl(run.epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
		bench_die("epoll: %s", strerror(errno));
}

/* ---- libcurl ---- */
/* By descriptor: libcurl may drop a socket whose event is still in the batch at hand. */
static struct socket_watch {
	struct shard *shard; /* NULL: not watched */
	int fd;
} watches[FILES_MAX];

struct shard {
	CURLM *multi;
	int64_t due_us; /* 0: no timer */
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *per_socket)
{
	struct socket_watch *w = &watches[fd];
	bool known = w->shard != NULL;

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(run.epoll, EPOLL_CTL_DEL, fd, NULL);
		w->shard = NULL;
		return 0;
	}
	w->shard = arg;
	w->fd = fd;
	watch(fd, w, known,
	      (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0));
	return 0;
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct shard *s = arg;

	s->due_us = ms < 0 ? 0 : clock_mono_us() + ms * 1000;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_append(b, data, size * n);
	return size * n;
}

/* As a client would: the body is looked at, the handle goes again. */
static void collect(struct shard *s)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(s->multi, &left))) {
		CURL *easy = m->easy_handle;
		struct buf *body = NULL;
		long status = 0;

		if (m->msg != CURLMSG_DONE)
			continue;
		if (m->data.result != CURLE_OK)
			bench_die("curl: %s", curl_easy_strerror(m->data.result));
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&body);
		if (status != 200 || !body->len)
			bench_die("status %ld, %zu bytes", status, body->len);
		buf_reset(body);
		answered();
		curl_multi_remove_handle(s->multi, easy);
		curl_multi_add_handle(s->multi, easy);
	}
}

static void shard_init(struct shard *s, const char *url, int transfers)
{
	s->multi = curl_multi_init();
	curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
	curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
	curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)SHARD);
	for (int i = 0; i < transfers; i++) {
		CURL *easy = curl_easy_init();
		struct buf *body = mem_new(struct buf);

		curl_easy_setopt(easy, CURLOPT_URL, url);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
		curl_easy_setopt(easy, CURLOPT_PRIVATE, body);
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
		curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
		curl_multi_add_handle(s->multi, easy);
	}
}

static void run_timers(struct shard *shards, int n)
{
	int64_t now_us = clock_mono_us();
	int running;

	for (int i = 0; i < n; i++) {
		if (!shards[i].due_us || shards[i].due_us > now_us)
			continue;
		shards[i].due_us = 0;
		curl_multi_socket_action(shards[i].multi, CURL_SOCKET_TIMEOUT, 0, &running);
		collect(&shards[i]);
	}
}

static void run_curl(const char *url, int under_way)
{
	int n = (under_way + SHARD - 1) / SHARD, running;
	struct shard *shards = mem_zalloc((size_t)n * sizeof(*shards));
	static struct epoll_event events[EVENTS];

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		bench_die("curl did not start");
	for (int i = 0; i < n; i++)
		shard_init(&shards[i], url,
			   under_way - i * SHARD < SHARD ? under_way - i * SHARD : SHARD);
	while (clock_mono_us() < run.until_us) {
		run_timers(shards, n);
		int k = epoll_wait(run.epoll, events, EVENTS, 1);

		for (int i = 0; i < k; i++) {
			struct socket_watch *w = events[i].data.ptr;
			struct shard *s = w->shard;
			uint32_t e = events[i].events;

			if (!s)
				continue;
			curl_multi_socket_action(s->multi, w->fd,
						 (e & EPOLLIN ? CURL_CSELECT_IN : 0) |
							 (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
							 (e & (EPOLLERR | EPOLLHUP)
								  ? CURL_CSELECT_ERR
								  : 0),
						 &running);
			collect(s);
		}
	}
	free(shards); /* what libcurl holds ends with the process */
}

/* ---- bare sockets ---- */
struct client {
	int fd;
	size_t have, need; /* bytes of the answer; need is 0 until its head is there */
};

static struct sockaddr_in address_of(const char *url, char *request, size_t cap)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	char host[64];
	int port, at = 0;

	if (sscanf(url, "http://%63[0-9.]:%d%n", host, &port, &at) != 2 ||
	    inet_pton(AF_INET, host, &a.sin_addr) != 1)
		bench_die("%s: expected http://1.2.3.4:PORT/path", url);
	a.sin_port = htons((uint16_t)port);
	snprintf(request, cap, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: */*\r\n\r\n", url + at,
		 host, port);
	return a;
}

static void ask(const struct client *c, const char *request)
{
	size_t n = strlen(request);

	if (write(c->fd, request, n) != (ssize_t)n)
		bench_die("write: %s", strerror(errno));
}

static void head_read(struct client *c, const char *data, size_t n)
{
	const char *end = memmem(data, n, "\r\n\r\n", 4);
	const char *length = memmem(data, n, "Content-Length: ", 16);

	if (!end || !length || strncmp(data, "HTTP/1.1 200", 12) != 0)
		bench_die("an answer of another form");
	c->need = (size_t)(end - data) + 4 + strtoul(length + 16, NULL, 10);
}

static void client_read(struct client *c, const char *request)
{
	static char data[65536];
	ssize_t n = read(c->fd, data, sizeof(data));

	if (n <= 0)
		bench_die("the server closed: %s", n ? strerror(errno) : "end");
	if (!c->need)
		head_read(c, data, (size_t)n);
	c->have += (size_t)n;
	if (c->have < c->need)
		return;
	answered();
	c->have = c->need = 0;
	ask(c, request);
}

static void run_sockets(const char *url, int under_way)
{
	struct client *clients = mem_zalloc((size_t)under_way * sizeof(*clients));
	static struct epoll_event events[EVENTS];
	char request[1024];
	struct sockaddr_in a = address_of(url, request, sizeof(request));
	int one = 1;

	for (int i = 0; i < under_way; i++) {
		struct client *c = &clients[i];

		c->fd = socket(AF_INET, SOCK_STREAM, 0);
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			bench_die("connect: %s", strerror(errno));
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(c->fd, c, false, EPOLLIN);
		ask(c, request);
	}
	while (clock_mono_us() < run.until_us) {
		int k = epoll_wait(run.epoll, events, EVENTS, 10);

		for (int i = 0; i < k; i++)
			client_read(events[i].data.ptr, request);
	}
	for (int i = 0; i < under_way; i++)
		close(clients[i].fd);
	free(clients);
}

int main(int argc, char **argv)
{
	struct rlimit files = { FILES_MAX, FILES_MAX };

	if (argc != 5)
		bench_die("usage: bench_http curl|sockets URL UNDER_WAY SECONDS");
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		bench_die("20,000 files: %s", strerror(errno));
	run.epoll = epoll_create1(0);
	run.from_us = clock_mono_us() + WARM_UP_US;
	run.until_us = run.from_us + bench_int(argv[4]) * 1000000;
	if (strcmp(argv[1], "curl") == 0)
		run_curl(argv[2], (int)bench_int(argv[3]));
	else
		run_sockets(argv[2], (int)bench_int(argv[3]));
	report();
	return 0;
}
