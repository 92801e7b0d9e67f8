/* A real redis-server in a folder of its own, on a unix socket and a free port: what is tested
 * here is mostly what happens when it goes away, freezes, forgets or refuses. */
#include "common/io/redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/io/redis_net.h"
#include "common/io/redis_url.h"

#define PASSWORD "open-sesame-42"
#define PATIENCE_MS 20000
#define TEN "0123456789"

static struct {
	pid_t pid;
	int port;
	char folder[64], socket[96], url[160], tcp_url[160];
	const char *password; /* NULL: none */
} server;

/* Checked on the main stack after the loop: an assertion must not jump from one stack to
 * another. */
static char failure[512];

#define CHECK(what)                                                                         \
	do {                                                                                \
		if (!(what)) {                                                              \
			if (!failure[0])                                                    \
				snprintf(failure, sizeof(failure), "line %d: %s", __LINE__, \
					 #what);                                            \
			goto out;                                                           \
		}                                                                           \
	} while (0)

static struct redis *shared;
static int blocked_rc;
static struct completion unblocked;

static int64_t soon(void)
{
	return loop_now_ms() + PATIENCE_MS;
}

static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void server_start(void)
{
	char port[16], log[96];

	snprintf(port, sizeof(port), "%d", server.port);
	snprintf(log, sizeof(log), "%s/log", server.folder);
	server.pid = fork();
	if (server.pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test is killed */
	execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1",
	       "--unixsocket", server.socket, "--dir", server.folder, "--save", "", "--logfile",
	       log, server.password ? "--requirepass" : NULL, server.password, NULL);
	_exit(127);
}

static void server_kill(void)
{
	if (server.pid <= 0)
		return;
	kill(server.pid, SIGKILL); /* works on a stopped one too; awake it would still answer */
	waitpid(server.pid, NULL, 0);
	server.pid = 0;
}

static void server_use_password(const char *password)
{
	server.password = password;
	snprintf(server.url, sizeof(server.url), "unix:%s", server.socket);
	snprintf(server.tcp_url, sizeof(server.tcp_url), "redis://127.0.0.1:%d", server.port);
	server_start();
}

static int begin(void **state)
{
	failure[0] = '\0';
	snprintf(server.folder, sizeof(server.folder), "/tmp/longshore-test-redis-XXXXXX");
	if (!mkdtemp(server.folder))
		return -1;
	snprintf(server.socket, sizeof(server.socket), "%s/sock", server.folder);
	server.port = free_port();
	server_use_password(NULL);
	return loop_init();
}

static int end(void **state)
{
	static const char *const files[] = { "sock", "log", "dump.rdb", "stderr",
					     "cert", "key", "fake" };
	char path[160];

	server_kill();
	loop_close();
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", server.folder, files[i]);
		unlink(path);
	}
	return rmdir(server.folder);
}

static void run_fn(void (*fn)(void *))
{
	assert_non_null(co_spawn("test", fn, NULL));
	assert_int_equal(loop_run(), 0);
	if (failure[0])
		fail_msg("%s", failure);
	assert_int_equal(co_count(), 0);
}

#define CO_TEST(name)                       \
	static void name##_body(void *arg); \
	static void name(void **state)      \
	{                                   \
		run_fn(name##_body);        \
	}                                   \
	static void name##_body(void *arg)

static int connect_impatiently(const char *url, int64_t timeout_ms, struct redis **r)
{
	struct redis_options o = { .url = url, .client_name = "test", .timeout_ms = timeout_ms };
	int rc = redis_new(&o, r, NULL);

	return rc < 0 ? rc : redis_wait_up(*r, soon());
}

static int connect_to(const char *url, struct redis **r)
{
	return connect_impatiently(url, 0, r);
}

static bool str_is(const redisReply *reply, const char *s)
{
	return reply && reply->str && strcmp(reply->str, s) == 0;
}

static void drop_reply(redisReply **reply)
{
	freeReplyObject(*reply);
	*reply = NULL;
}

CO_TEST(commands_over_both_kinds_of_socket)
{
	const char *urls[] = { server.url, server.tcp_url };
	struct redis *r = NULL;
	redisReply *reply = NULL;

	for (int i = 0; i < 2; i++) {
		CHECK(connect_to(urls[i], &r) == 0);
		CHECK(redis_is_up(r));
		CHECK(redis_callv(r, &reply, soon(), NULL, "SET", "k", "value", NULL) == 0);
		CHECK(str_is(reply, "OK"));
		drop_reply(&reply);
		CHECK(redis_callv(r, &reply, soon(), NULL, "GET", "k", NULL) == 0);
		CHECK(str_is(reply, "value"));
		drop_reply(&reply);
		CHECK(redis_callv(r, &reply, soon(), NULL, "CLIENT", "GETNAME", NULL) == 0);
		CHECK(str_is(reply, "test"));
		drop_reply(&reply);
		redis_free(r);
		r = NULL;
	}
out:
	freeReplyObject(reply);
	redis_free(r);
	loop_stop();
}

CO_TEST(arguments_are_bytes_and_numbers)
{
	struct redis *r = NULL;
	redisReply *reply = NULL;
	struct redis_args a;

	redis_args_init(&a);
	CHECK(connect_to(server.url, &r) == 0);
	redis_arg(&a, "RPUSH");
	redis_arg(&a, "list");
	redis_arg_bytes(&a, "a\0b\r\n", 5);
	redis_arg_bytes(&a, "", 0);
	redis_arg_int(&a, INT64_MIN);
	for (int i = 0; i < 100; i++)
		redis_arg_int(&a, i * 1000003);
	CHECK(redis_call(r, &a, &reply, soon(), NULL) == 0);
	CHECK(reply->integer == 103);
	drop_reply(&reply);
	CHECK(redis_callv(r, &reply, soon(), NULL, "LRANGE", "list", "0", "-1", NULL) == 0);
	CHECK(reply->elements == 103);
	CHECK(reply->element[0]->len == 5 && memcmp(reply->element[0]->str, "a\0b\r\n", 5) == 0);
	CHECK(reply->element[1]->len == 0);
	CHECK(str_is(reply->element[2], "-9223372036854775808"));
	CHECK(str_is(reply->element[3], "0"));
	CHECK(str_is(reply->element[102], "99000297"));
out:
	redis_args_clear(&a);
	freeReplyObject(reply);
	redis_free(r);
	loop_stop();
}

CO_TEST(errors_carry_redis_words)
{
	struct redis *r = NULL;
	redisReply *reply = NULL;
	struct err err = { 0 };

	CHECK(connect_to(server.url, &r) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "SET", "s", "x", NULL) == 0);
	CHECK(redis_callv(r, &reply, soon(), &err, "LPUSH", "s", "x", NULL) == -EPROTO);
	CHECK(!reply);
	CHECK(strstr(err.text, "WRONGTYPE"));
	CHECK(redis_is_up(r)); /* the connection goes on */
out:
	redis_free(r);
	loop_stop();
}

CO_TEST(a_database_is_selected)
{
	char url[200];
	struct redis *zero = NULL, *three = NULL;
	redisReply *reply = NULL;

	snprintf(url, sizeof(url), "%s/3", server.tcp_url);
	CHECK(connect_to(url, &three) == 0);
	CHECK(connect_to(server.tcp_url, &zero) == 0);
	CHECK(redis_callv(three, NULL, soon(), NULL, "SET", "here", "3", NULL) == 0);
	CHECK(redis_callv(zero, &reply, soon(), NULL, "EXISTS", "here", NULL) == 0);
	CHECK(reply->integer == 0);
	redis_free(three);
	snprintf(url, sizeof(url), "%s?db=3", server.url);
	CHECK(connect_to(url, &three) == 0);
	drop_reply(&reply);
	CHECK(redis_callv(three, &reply, soon(), NULL, "EXISTS", "here", NULL) == 0);
	CHECK(reply->integer == 1);
out:
	freeReplyObject(reply);
	redis_free(zero);
	redis_free(three);
	loop_stop();
}

/* What was logged while fn ran. */
static char *stderr_of(void (*fn)(void *))
{
	char path[160];
	int file, saved = dup(STDERR_FILENO);
	struct stat st;
	char *text;

	snprintf(path, sizeof(path), "%s/stderr", server.folder);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(file >= 0 && saved >= 0);
	dup2(file, STDERR_FILENO);
	assert_non_null(co_spawn("test", fn, NULL));
	assert_int_equal(loop_run(), 0);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(fstat(file, &st), 0);
	text = mem_zalloc((size_t)st.st_size + 1);
	assert_int_equal(pread(file, text, (size_t)st.st_size, 0), st.st_size);
	close(file);
	if (failure[0])
		fail_msg("%s; log: %s", failure, text);
	return text;
}

static int count_of(const char *text, const char *what)
{
	int n = 0;

	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		n++;
	return n;
}

static void try_passwords(void *arg)
{
	struct redis *wrong = NULL, *none = NULL, *right = NULL, *local = NULL;
	char url[256];

	/* While the wrong ones try again and again (several backoffs long), the right one gets
	 * in. */
	snprintf(url, sizeof(url), "redis://:wrong-" PASSWORD "@127.0.0.1:%d", server.port);
	CHECK(redis_new(&(struct redis_options){ .url = url }, &wrong, NULL) == 0);
	CHECK(redis_wait_up(wrong, loop_now_ms() + 1000) == -ETIMEDOUT);
	snprintf(url, sizeof(url), "redis://:open%%2Dsesame-42@127.0.0.1:%d/1", server.port);
	CHECK(connect_to(url, &right) == 0);
	CHECK(redis_callv(right, NULL, soon(), NULL, "SET", "k", "v", NULL) == 0);
	CHECK(!strstr(redis_url_shown(right), "sesame"));
	snprintf(url, sizeof(url), "unix://default:" PASSWORD "@%s", server.socket);
	CHECK(connect_to(url, &local) == 0);
	CHECK(!strstr(redis_url_shown(local), "sesame"));
	CHECK(redis_new(&(struct redis_options){ .url = server.tcp_url }, &none, NULL) == 0);
	CHECK(redis_wait_up(none, loop_now_ms() + 500) == -ETIMEDOUT);
	CHECK(!redis_is_up(wrong));
out:
	redis_free(wrong);
	redis_free(none);
	redis_free(right);
	redis_free(local);
	loop_stop();
}

static void passwords_are_sent_and_never_shown(void **state)
{
	char *log;

	server_kill();
	server_use_password(PASSWORD);
	log = stderr_of(try_passwords);
	assert_int_equal(count_of(log, "sesame"), 0);
	/* Once each, however often it was tried: the wrong password, none; and the server's late
	 * start at most once each. */
	assert_in_range(count_of(log, "redis_down"), 2, 4);
	assert_int_equal(count_of(log, "redis_up"), 2);
	free(log);
}

static struct redis_script adder = { .name = "adder",
				     .source = "return {KEYS[1], ARGV[1] + ARGV[2], ARGV[3]}" };

static int call_adder(struct redis *r, int64_t a, int64_t b, int64_t *sum)
{
	struct redis_args args;
	redisReply *reply = NULL;
	int rc;

	redis_args_init(&args);
	redis_arg(&args, "key");
	redis_arg_int(&args, a);
	redis_arg_int(&args, b);
	redis_arg_bytes(&args, "\0\xff", 2);
	rc = redis_call_script(r, &adder, 1, &args, &reply, soon(), NULL);
	redis_args_clear(&args);
	if (rc < 0)
		return rc;
	if (reply->elements == 3 && str_is(reply->element[0], "key") && reply->element[2]->len == 2)
		*sum = reply->element[1]->integer;
	freeReplyObject(reply);
	return 0;
}

CO_TEST(scripts_survive_being_flushed)
{
	struct redis *r = NULL;
	int64_t sum = 0;

	CHECK(connect_to(server.url, &r) == 0);
	CHECK(call_adder(r, 1, 2, &sum) == 0 && sum == 3);
	CHECK(strlen(adder.sha) == 40);
	CHECK(redis_callv(r, NULL, soon(), NULL, "SCRIPT", "FLUSH", NULL) == 0);
	CHECK(call_adder(r, 30, 4, &sum) == 0 && sum == 34); /* NOSCRIPT, then EVAL */
	CHECK(call_adder(r, 5, 6, &sum) == 0 && sum == 11);
	redis_drop(r, "test");
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "SCRIPT", "FLUSH", NULL) == 0);
	CHECK(call_adder(r, 7, 8, &sum) == 0 && sum == 15);
out:
	redis_free(r);
	loop_stop();
}

CO_TEST(a_failing_script_is_a_refusal)
{
	static struct redis_script bad = { .name = "bad",
					   .source = "return redis.error_reply('ERR told you')" };
	struct redis *r = NULL;
	struct redis_args args;
	struct err err = { 0 };

	redis_args_init(&args);
	CHECK(connect_to(server.url, &r) == 0);
	CHECK(redis_call_script(r, &bad, 0, &args, NULL, soon(), &err) == -EPROTO);
	CHECK(strstr(err.text, "told you"));
out:
	redis_args_clear(&args);
	redis_free(r);
	loop_stop();
}

static struct {
	int ok, reset, refused, ups, downs;
	bool during_send, called_in_send;
	struct completion all;
	int expected;
} tally;

static void count_reply(int rc, redisReply *reply, const char *text, void *arg)
{
	tally.ok += rc == 0;
	tally.reset += rc == -ECONNRESET && text;
	tally.refused += rc == -EPROTO;
	tally.called_in_send |= tally.during_send;
	freeReplyObject(reply);
	if (tally.ok + tally.reset + tally.refused == tally.expected)
		completion_done(&tally.all);
}

static void expect_replies(int n)
{
	memset(&tally, 0, sizeof(tally));
	tally.expected = n;
}

static void send_words(struct redis *r, const char *a, const char *b, redis_cb cb)
{
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, a);
	redis_arg(&args, b);
	tally.during_send = true;
	redis_send(r, &args, cb, NULL);
	tally.during_send = false;
	redis_args_clear(&args);
}

CO_TEST(a_hundred_thousand_commands_in_one_go)
{
	struct redis *r = NULL;
	redisReply *reply = NULL;

	expect_replies(100000);
	CHECK(connect_to(server.url, &r) == 0);
	for (int i = 0; i < 100000; i++)
		send_words(r, "INCR", "n", count_reply);
	CHECK(completion_wait(&tally.all, "replies", soon()) == 0);
	CHECK(tally.ok == 100000);
	CHECK(!tally.called_in_send);
	CHECK(redis_callv(r, &reply, soon(), NULL, "GET", "n", NULL) == 0);
	CHECK(str_is(reply, "100000"));
out:
	freeReplyObject(reply);
	redis_free(r);
	loop_stop();
}

CO_TEST(a_large_value_goes_both_ways)
{
	size_t size = 20 * 1024 * 1024;
	char *big = mem_alloc(size);
	struct redis *r = NULL;
	redisReply *reply = NULL;
	struct redis_args a;

	memset(big, 'x', size);
	big[size / 2] = '\0';
	redis_args_init(&a);
	redis_arg(&a, "ECHO");
	redis_arg_bytes(&a, big, size);
	CHECK(connect_to(server.tcp_url, &r) == 0);
	CHECK(redis_call(r, &a, &reply, soon(), NULL) == 0);
	CHECK(reply->len == size && memcmp(reply->str, big, size) == 0);
out:
	redis_args_clear(&a);
	freeReplyObject(reply);
	redis_free(r);
	free(big);
	loop_stop();
}

/* A server played by the test itself, for what a real one does too rarely or too fast. */
static struct {
	const char *ping; /* its answer to the last word of the greeting */
	int greeted;      /* connections that came so far */
	size_t slowly;    /* bytes to be read at 64 KiB every 20 ms after the greeting … */
	const char *then; /* … and what is said after them */
	struct completion over;
	bool quit;
} fake;

static int fake_listen(char *url, size_t n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/fake", server.folder);
	snprintf(url, n, "unix:%s", a.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		return -1;
	return fd;
}

static void fake_read_slowly(int fd)
{
	static char bytes[64 * 1024];

	for (size_t got = 0; got < fake.slowly && !fake.quit;) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n == 0 || co_sleep("slowly", 20) < 0)
			return;
		got += n > 0 ? (size_t)n : 0;
	}
	if (!fake.quit)
		send(fd, fake.then, strlen(fake.then), MSG_NOSIGNAL);
}

/* Answers CLIENT SETNAME, INFO, TIME and PING. */
static void fake_greet(int fd)
{
	static const char answers[] =
		"+OK\r\n$14\r\nrun_id:a_run\r\n\r\n*2\r\n$10\r\n1500000000\r\n$1\r\n7\r\n";
	char words[1024];
	size_t len = 0;

	while (len < sizeof(words) - 1) {
		ssize_t n = recv(fd, words + len, sizeof(words) - 1 - len, 0);

		if (n == 0 || co_sleep("greeting", 1) < 0)
			return;
		len += n > 0 ? (size_t)n : 0;
		words[len] = '\0';
		if (strstr(words, "PING\r\n"))
			break;
	}
	send(fd, answers, sizeof(answers) - 1, MSG_NOSIGNAL);
	send(fd, fake.ping, strlen(fake.ping), MSG_NOSIGNAL);
	fake.greeted++;
}

static void fake_serve(void *arg)
{
	int listening = *(int *)arg, fd = -1;

	while (!fake.quit && co_sleep("accept", 1) == 0) {
		int next = accept4(listening, NULL, NULL, SOCK_NONBLOCK);

		if (next < 0)
			continue;
		if (fd >= 0)
			close(fd);
		fd = next;
		fake_greet(fd);
		if (fake.then)
			fake_read_slowly(fd);
	}
	if (fd >= 0)
		close(fd);
	close(listening);
	completion_done(&fake.over);
}

static int fake_start(const char *ping, char *url, size_t n, int *listening)
{
	memset(&fake, 0, sizeof(fake));
	fake.ping = ping;
	*listening = fake_listen(url, n);
	return *listening >= 0 && co_spawn("fake", fake_serve, listening) ? 0 : -1;
}

/* Coroutines must be gone before the next test. */
static void fake_stop(void)
{
	fake.quit = true;
	if (completion_wait(&fake.over, "fake", soon()) < 0 && !failure[0])
		snprintf(failure, sizeof(failure), "the fake server does not end");
}

CO_TEST(a_slow_upload_is_no_silence)
{
	size_t size = 8 * 1024 * 1024;
	char *big = mem_zalloc(size), url[160];
	struct redis *r = NULL;
	struct redis_args a;
	int64_t began_ms;
	int listening;

	expect_replies(1);
	redis_args_init(&a);
	redis_arg(&a, "SET");
	redis_arg(&a, "big");
	redis_arg_bytes(&a, big, size);
	CHECK(fake_start("+PONG\r\n", url, sizeof(url), &listening) == 0);
	fake.slowly = size;
	fake.then = "+OK\r\n";
	CHECK(connect_impatiently(url, 1000, &r) == 0);
	began_ms = loop_now_ms();
	redis_send(r, &a, count_reply, NULL);
	CHECK(completion_wait(&tally.all, "answer", began_ms + 60000) == 0);
	CHECK(tally.ok == 1);
	CHECK(loop_now_ms() - began_ms > 1500); /* or it proved nothing */
out:
	fake_stop();
	redis_args_clear(&a);
	redis_free(r);
	free(big);
	loop_stop();
}

CO_TEST(a_server_that_is_loading_is_waited_for)
{
	struct redis *r = NULL;
	char url[160];
	int listening;

	CHECK(fake_start("-LOADING Redis is loading the dataset in memory\r\n", url, sizeof(url),
			 &listening) == 0);
	CHECK(redis_new(&(struct redis_options){ .url = url, .client_name = "test" }, &r, NULL) ==
	      0);
	while (fake.greeted < 3)
		CHECK(co_sleep("tries", 5) == 0);
	CHECK(!redis_is_up(r));
	fake.ping = "+PONG\r\n";
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(strcmp(redis_run_id(r), "a_run") == 0);
	/* Its clock is far from ours. */
	CHECK(redis_now_ms(r) >= 1500000000000 && redis_now_ms(r) < 1500000060000);
out:
	fake_stop();
	redis_free(r);
	loop_stop();
}

CO_TEST(nonsense_ends_the_connection_and_no_more)
{
	static const char *const nonsense[] = { "+PONG\r\n+nobody asked\r\n",
						"+PONG\r\n-ERR farewell\r\n", "?what\r\n",
						"$99999999999999999999\r\n", "*-7\r\n" };
	struct redis *r = NULL;
	char url[160];
	int listening;

	CHECK(fake_start("+PONG\r\n", url, sizeof(url), &listening) == 0);
	CHECK(redis_new(&(struct redis_options){ .url = url, .client_name = "test" }, &r, NULL) ==
	      0);
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		int greeted = fake.greeted;

		fake.ping = nonsense[i];
		redis_drop(r, "next");
		while (fake.greeted < greeted + 2) /* it came again by itself */
			CHECK(co_sleep("tries", 5) == 0);
	}
	fake.ping = "+PONG\r\n";
	CHECK(redis_wait_up(r, soon()) == 0);
out:
	fake_stop();
	redis_free(r);
	loop_stop();
}

static void on_up(struct redis *r, void *arg)
{
	tally.ups++;
}

static void on_down(struct redis *r, const char *why, void *arg)
{
	tally.downs++;
}

static void kill_and_restart(void *arg)
{
	struct redis_options o = { .url = server.tcp_url, .on_up = on_up, .on_down = on_down };
	struct redis *r = NULL;
	char first_run[64] = "";

	expect_replies(10);
	CHECK(redis_new(&o, &r, NULL) == 0);
	CHECK(redis_wait_up(r, soon()) == 0);
	snprintf(first_run, sizeof(first_run), "%s", redis_run_id(r));
	CHECK(strlen(first_run) == 40);
	CHECK(co_sleep("age", 30) == 0);
	CHECK(redis_same_run_ms(r) >= 30);
	for (int i = 0; i < 10; i++)
		send_words(r, "BLPOP", "nothing", NULL); /* refused: no timeout given */
	kill(server.pid, SIGSTOP);
	for (int i = 0; i < 10; i++)
		send_words(r, "INCR", "n", count_reply);
	CHECK(co_yield () == 0 && co_yield () == 0);
	server_kill();
	CHECK(completion_wait(&tally.all, "resets", soon()) == 0);
	CHECK(tally.reset == 10);
	CHECK(!redis_is_up(r));
	CHECK(co_yield () == 0 && co_yield () == 0);
	CHECK(tally.downs == 1 && tally.ups == 1);
	CHECK(redis_callv(r, NULL, soon(), NULL, "PING", NULL) == -ECONNRESET);
	CHECK(co_sleep("stay down", 300) == 0);
	server_start();
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(tally.ups == 2);
	CHECK(redis_callv(r, NULL, soon(), NULL, "PING", NULL) == 0);
	CHECK(strlen(redis_run_id(r)) == 40 && strcmp(redis_run_id(r), first_run) != 0);
	CHECK(redis_same_run_ms(r) < 5000);
out:
	redis_free(r);
	loop_stop();
}

static void killed_and_restarted_it_reconnects(void **state)
{
	char *log = stderr_of(kill_and_restart);

	assert_int_equal(count_of(log, "redis_up"), 2);
	assert_in_range(count_of(log, "redis_down"), 1,
			2); /* one more if the server was slow to start at first */
	free(log);
}

CO_TEST(a_dropped_connection_keeps_the_run)
{
	struct redis *r = NULL;
	char run[64] = "";

	CHECK(connect_to(server.url, &r) == 0);
	snprintf(run, sizeof(run), "%s", redis_run_id(r));
	CHECK(co_sleep("age", 50) == 0);
	redis_drop(r, "test");
	CHECK(!redis_is_up(r));
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(strcmp(run, redis_run_id(r)) == 0);
	CHECK(redis_same_run_ms(r) >= 50);
out:
	redis_free(r);
	loop_stop();
}

CO_TEST(a_frozen_server_is_noticed)
{
	struct redis *r = NULL;
	int64_t began_ms;
	struct err err = { 0 };

	CHECK(connect_impatiently(server.url, 400, &r) == 0);
	kill(server.pid, SIGSTOP);
	began_ms = clock_mono_ms();
	CHECK(redis_callv(r, NULL, soon(), &err, "PING", NULL) == -ECONNRESET);
	CHECK(clock_mono_ms() - began_ms >= 390 && clock_mono_ms() - began_ms < 5000);
	CHECK(strstr(err.text, "no answer for"));
	/* Connecting to it succeeds (the kernel does that), yet it isn't up. */
	CHECK(redis_wait_up(r, loop_now_ms() + 1000) == -ETIMEDOUT);
	kill(server.pid, SIGCONT);
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "PING", NULL) == 0);
out:
	kill(server.pid, SIGCONT);
	redis_free(r);
	loop_stop();
}

CO_TEST(an_idle_connection_is_left_alone)
{
	struct redis *r = NULL;

	CHECK(connect_impatiently(server.url, 400, &r) == 0);
	CHECK(co_sleep("idle", 1000) == 0); /* twice the watchdog's time and more */
	CHECK(redis_is_up(r));
	CHECK(redis_callv(r, NULL, soon(), NULL, "PING", NULL) == 0);
out:
	redis_free(r);
	loop_stop();
}

static void wait_blocked(void *arg)
{
	redisReply *reply = NULL;

	blocked_rc =
		redis_callv(shared, &reply, CO_NO_DEADLINE, NULL, "BLPOP", "nothing", "0.2", NULL);
	freeReplyObject(reply);
	completion_done(&unblocked);
}

CO_TEST(a_waiting_coroutine_can_be_cancelled)
{
	struct co *co;

	unblocked = (struct completion){ 0 };
	CHECK(connect_to(server.url, &shared) == 0);
	co = co_spawn("blocked", wait_blocked, NULL);
	CHECK(co);
	CHECK(co_sleep("let it wait", 20) == 0);
	co_cancel(co);
	CHECK(completion_wait(&unblocked, "unblocked", loop_now_ms() + 100) == 0);
	CHECK(blocked_rc == -ECANCELED);
	/* Its late reply finds nobody, and the next one its own caller. */
	CHECK(redis_callv(shared, NULL, soon(), NULL, "PING", NULL) == 0);
	CHECK(redis_callv(shared, NULL, loop_now_ms() + 50, NULL, "BLPOP", "nothing", "0.2",
			  NULL) == -ETIMEDOUT);
	CHECK(redis_callv(shared, NULL, soon(), NULL, "PING", NULL) == 0);
	CHECK(redis_is_up(shared));
out:
	redis_free(shared);
	loop_stop();
}

CO_TEST(down_means_refused_but_never_at_once)
{
	char url[200];
	struct redis *r = NULL;

	expect_replies(3);
	snprintf(url, sizeof(url), "unix:%s/nobody", server.folder);
	CHECK(redis_new(&(struct redis_options){ .url = url }, &r, NULL) == 0);
	for (int i = 0; i < 3; i++)
		send_words(r, "INCR", "n", count_reply);
	CHECK(!tally.called_in_send && tally.reset == 0);
	CHECK(completion_wait(&tally.all, "refusals", soon()) == 0);
	CHECK(tally.reset == 3);
	CHECK(redis_wait_up(r, loop_now_ms() + 50) == -ETIMEDOUT);
	expect_replies(2);
	send_words(r, "INCR", "n", count_reply);
	send_words(r, "INCR", "n", count_reply);
	redis_free(r); /* after it nobody is called */
	r = NULL;
	CHECK(tally.reset == 2);
out:
	redis_free(r);
	loop_stop();
}

static void free_in_reply(int rc, redisReply *reply, const char *text, void *arg)
{
	freeReplyObject(reply);
	tally.ok += rc == 0;
	redis_free(shared);
	shared = NULL;
	tally.called_in_send = tally.reset < 2; /* the others were told before free returned */
}

CO_TEST(it_may_be_freed_in_its_own_callback)
{
	expect_replies(3);
	CHECK(connect_to(server.url, &shared) == 0);
	send_words(shared, "INCR", "n", free_in_reply);
	send_words(shared, "INCR", "n", count_reply);
	send_words(shared, "INCR", "n", count_reply);
	CHECK(completion_wait(&tally.all, "replies", soon()) == 0);
	CHECK(tally.ok == 1 && tally.reset == 2 && !tally.called_in_send);
out:
	redis_free(shared);
	loop_stop();
}

static void drop_in_reply(int rc, redisReply *reply, const char *text, void *arg)
{
	count_reply(rc, reply, text, arg);
	redis_drop(shared, "dropped by a callback");
}

CO_TEST(it_may_be_dropped_in_its_own_callback)
{
	expect_replies(3);
	CHECK(connect_to(server.url, &shared) == 0);
	send_words(shared, "INCR", "n", drop_in_reply);
	send_words(shared, "INCR", "n", count_reply);
	send_words(shared, "INCR", "n", count_reply);
	CHECK(completion_wait(&tally.all, "replies", soon()) == 0);
	CHECK(tally.ok == 1 && tally.reset == 2);
	CHECK(redis_wait_up(shared, soon()) == 0);
out:
	redis_free(shared);
	shared = NULL;
	loop_stop();
}

static void wait_up_or_gone(void *arg)
{
	blocked_rc = redis_wait_up(shared, CO_NO_DEADLINE);
	completion_done(&unblocked);
}

CO_TEST(who_waits_for_it_hears_that_it_was_freed)
{
	char url[200];

	unblocked = (struct completion){ 0 };
	snprintf(url, sizeof(url), "unix:%s/nobody", server.folder);
	CHECK(redis_new(&(struct redis_options){ .url = url }, &shared, NULL) == 0);
	CHECK(co_spawn("waiter", wait_up_or_gone, NULL));
	CHECK(co_sleep("let it wait", 10) == 0);
	redis_free(shared);
	shared = NULL;
	CHECK(completion_wait(&unblocked, "told", soon()) == 0);
	CHECK(blocked_rc == -ECONNRESET);
out:
	redis_free(shared);
	loop_stop();
}

static struct {
	int messages, everything;
	char last[64];
	struct completion heard;
} radio;

static void on_message(struct redis *r, const redisReply *message, void *arg)
{
	const redisReply *body = message->element[2];

	radio.messages++;
	if (body->type == REDIS_REPLY_ARRAY)
		snprintf(radio.last, sizeof(radio.last), "%s", body->element[0]->str);
	else if (body->type == REDIS_REPLY_NIL)
		radio.everything++;
	else
		snprintf(radio.last, sizeof(radio.last), "%s", body->str);
	completion_done(&radio.heard);
}

static int next_message(void)
{
	int rc = completion_wait(&radio.heard, "message", soon());

	radio.heard.done = false;
	return rc;
}

CO_TEST(messages_and_invalidations_are_heard)
{
	struct redis *r = NULL, *ear = NULL;
	redisReply *reply = NULL;
	char id[32];

	memset(&radio, 0, sizeof(radio));
	CHECK(redis_new(&(struct redis_options){ .url = server.url, .on_message = on_message },
			&ear, NULL) == 0);
	CHECK(redis_wait_up(ear, soon()) == 0);
	CHECK(connect_to(server.url, &r) == 0);
	CHECK(redis_callv(ear, &reply, soon(), NULL, "CLIENT", "ID", NULL) == 0);
	snprintf(id, sizeof(id), "%lld", reply->integer);
	drop_reply(&reply);
	CHECK(redis_callv(ear, &reply, soon(), NULL, "SUBSCRIBE", "news", "__redis__:invalidate",
			  NULL) == 0);
	CHECK(reply->elements == 3 &&
	      reply->element[2]->integer == 2); /* the answer to the last channel */
	drop_reply(&reply);
	CHECK(redis_callv(ear, NULL, soon(), NULL, "PING", NULL) ==
	      0); /* allowed, and not taken for a message */
	CHECK(redis_callv(r, NULL, soon(), NULL, "PUBLISH", "news", "hello", NULL) == 0);
	CHECK(next_message() == 0);
	CHECK(strcmp(radio.last, "hello") == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "CLIENT", "TRACKING", "ON", "REDIRECT", id,
			  NULL) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "EXISTS", "queue:{x}", NULL) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "LPUSH", "queue:{x}", "job", NULL) == 0);
	CHECK(next_message() == 0);
	CHECK(strcmp(radio.last, "queue:{x}") == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "FLUSHALL", NULL) == 0);
	CHECK(next_message() == 0);
	CHECK(radio.everything == 1);
out:
	freeReplyObject(reply);
	redis_free(r);
	redis_free(ear);
	loop_stop();
}

CO_TEST(its_clock_is_known)
{
	struct redis *r = NULL;
	int64_t before_us, after_us;

	CHECK(connect_to(server.url, &r) == 0);
	before_us = clock_real_us();
	after_us =
		redis_now_us(r); /* the same host: the same clock, give or take a slow round trip */
	CHECK(after_us - before_us < 500000 && before_us - after_us < 500000);
	CHECK(after_us - before_us <= redis_clock_error_us(r) + 100000);
	CHECK(redis_clock_error_us(r) > 0);
	before_us = redis_now_us(r) - clock_mono_us();
	CHECK(co_sleep("time passes", 20) == 0);
	after_us = redis_now_us(r) - clock_mono_us();
	CHECK(after_us - before_us < 100000 && before_us - after_us < 100000);
out:
	redis_free(r);
	loop_stop();
}

static void use_restricted(void *arg)
{
	struct redis *admin = NULL, *r = NULL;
	char url[200], run[64];

	CHECK(connect_to(server.url, &admin) == 0);
	CHECK(redis_callv(admin, NULL, soon(), NULL, "ACL", "SETUSER", "app", "on", ">" PASSWORD,
			  "~*", "+@all", "-info", "-time", "-ping", "-script", NULL) == 0);
	snprintf(url, sizeof(url), "redis://app:" PASSWORD "@127.0.0.1:%d", server.port);
	CHECK(connect_to(url, &r) == 0);
	snprintf(run, sizeof(run), "%s", redis_run_id(r));
	CHECK(strlen(run) > 20);
	CHECK(call_adder(r, 20, 3, &(int64_t){ 0 }) == 0); /* SCRIPT LOAD is refused, EVAL is not */
	CHECK(redis_now_ms(r) > 1600000000000);
	redis_drop(r, "test");
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(strcmp(redis_run_id(r), run) != 0); /* can't be told from a restart */
out:
	redis_free(admin);
	redis_free(r);
	loop_stop();
}

static void a_restricted_user_can_work(void **state)
{
	char *log = stderr_of(use_restricted);

	assert_int_equal(count_of(log, "redis_info_refused"), 1);
	assert_int_equal(count_of(log, "redis_time_refused"), 1);
	assert_int_equal(count_of(log, "sesame"), 0);
	free(log);
}

static int put_by_script(struct redis *r, struct err *err)
{
	static struct redis_script put = { .name = "put",
					   .source = "return redis.call('SET', KEYS[1], 'v')" };
	struct redis_args args;
	int rc;

	redis_args_init(&args);
	redis_arg(&args, "k");
	rc = redis_call_script(r, &put, 1, &args, NULL, soon(), err);
	redis_args_clear(&args);
	return rc;
}

CO_TEST(a_replica_is_left_for_another)
{
	struct redis *r = NULL, *admin = NULL;

	CHECK(connect_to(server.url, &r) == 0);
	CHECK(connect_to(server.url, &admin) == 0);
	CHECK(redis_callv(admin, NULL, soon(), NULL, "REPLICAOF", "127.0.0.1", "1", NULL) == 0);
	/* Not executed, and to be tried again: as good as a lost connection. */
	CHECK(redis_callv(r, NULL, soon(), NULL, "SET", "k", "v", NULL) == -ECONNRESET);
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(put_by_script(r, NULL) == -ECONNRESET);
	CHECK(redis_callv(admin, NULL, soon(), NULL, "REPLICAOF", "NO", "ONE", NULL) == 0);
	CHECK(redis_wait_up(r, soon()) == 0);
	CHECK(redis_callv(r, NULL, soon(), NULL, "SET", "k", "v", NULL) == 0);
out:
	redis_free(r);
	redis_free(admin);
	loop_stop();
}

/* As Redis before 7 says it of a script's command. */
CO_TEST(a_replica_that_says_so_of_a_script_is_left_too)
{
	struct redis *r = NULL;
	char url[160];
	int listening;

	CHECK(fake_start("+PONG\r\n", url, sizeof(url), &listening) == 0);
	fake.slowly = 1;
	fake.then =
		"+OK\r\n-ERR Error running script (call to f_0123): @user_script:1: @user_script: 1:"
		" -READONLY You can't write against a read only replica.\r\n";
	CHECK(connect_to(url, &r) == 0);
	CHECK(call_adder(r, 1, 2, &(int64_t){ 0 }) == -ECONNRESET);
	while (fake.greeted < 2)
		CHECK(co_sleep("comes again", 5) == 0);
out:
	fake_stop();
	redis_free(r);
	loop_stop();
}

CO_TEST(a_full_server_refuses_for_now)
{
	static const char *const most[] = { "0", "1" };
	struct redis *r = NULL;

	CHECK(connect_to(server.url, &r) == 0);
	for (int full = 1; full >= 0; full--) {
		int wanted = full ? -EPROTO : 0;
		struct err a = { 0 }, b = { 0 };

		CHECK(redis_callv(r, NULL, soon(), NULL, "CONFIG", "SET", "maxmemory", most[full],
				  NULL) == 0);
		CHECK(redis_callv(r, NULL, soon(), &a, "SET", "k", "v", NULL) == wanted);
		CHECK(put_by_script(r, &b) == wanted);
		CHECK(!full || (a.class == ERR_TRANSIENT && b.class == ERR_TRANSIENT));
	}
out:
	redis_free(r);
	loop_stop();
}

static void be_too_many(void *arg)
{
	struct redis *first = NULL, *second = NULL;

	CHECK(connect_to(server.url, &first) == 0);
	CHECK(redis_callv(first, NULL, soon(), NULL, "CONFIG", "SET", "maxclients", "1", NULL) ==
	      0);
	CHECK(redis_new(&(struct redis_options){ .url = server.url }, &second, NULL) == 0);
	CHECK(redis_wait_up(second, loop_now_ms() + 200) == -ETIMEDOUT);
	CHECK(redis_callv(first, NULL, soon(), NULL, "CONFIG", "SET", "maxclients", "100", NULL) ==
	      0);
	CHECK(redis_wait_up(second, soon()) == 0);
out:
	redis_free(first);
	redis_free(second);
	loop_stop();
}

static void too_many_clients_is_said_and_tried_again(void **state)
{
	char *log = stderr_of(be_too_many);

	assert_int_equal(count_of(log, "max number of clients"), 1);
	assert_int_equal(count_of(log, "redis_info_refused"), 0);
	free(log);
}

CO_TEST(a_name_is_resolved_and_a_wrong_one_is_no_end)
{
	char url[200];
	struct redis *r = NULL, *lost = NULL;

	snprintf(url, sizeof(url), "redis://127.1:%d",
		 server.port); /* through the resolver's thread */
	CHECK(connect_to(url, &r) == 0);
	snprintf(url, sizeof(url), "redis://%s.x/",
		 "x1234567890123456789012345678901234567890123456789012345678901234567");
	CHECK(redis_new(&(struct redis_options){ .url = url }, &lost, NULL) == 0);
	CHECK(redis_wait_up(lost, loop_now_ms() + 200) == -ETIMEDOUT);
	CHECK(redis_callv(lost, NULL, soon(), NULL, "PING", NULL) == -ECONNRESET);
out:
	redis_free(r);
	redis_free(lost);
	loop_stop();
}

static void urls_are_read_and_refused(void **state)
{
	static const struct {
		const char *url, *shown, *host, *password;
		int port, db;
	} good[] = {
		{ "redis://h", "redis://h:6379/0", "h", "", 6379, 0 },
		{ "redis://", "redis://localhost:6379/0", "localhost", "", 6379, 0 },
		{ "redis://h:1/", "redis://h:1/0", "h", "", 1, 0 },
		{ "redis://u:p%40:s@h:7/2", "redis://u@h:7/2", "h", "p@:s", 7, 2 },
		{ "redis://:pass@word@[::1]:7/15?db=3", "redis://[::1]:7/3", "::1", "pass@word", 7,
		  3 },
		{ "rediss://:secret99@h/1", "rediss://h:6379/1", "h", "secret99", 6379, 1 },
		{ "unix:/a/b?db=4", "unix:/a/b?db=4", NULL, "", 0, 4 },
		{ "unix:///a/b", "unix:/a/b?db=0", NULL, "", 0, 0 },
		{ "unix://u:p%25w%3f@/a/b?db=1", "unix://u@/a/b?db=1", NULL, "p%w?", 0, 1 },
	};
	static const char *const refused[] = {
		"",
		"http://h",
		"redis:h",
		"redis://h:port",
		"redis://h:0",
		"redis://h:70000",
		"redis://h/x",
		"redis://h/1x",
		"redis://h/-1",
		"redis://h?db=",
		"redis://h?what=1",
		"redis://u:sesame%4@h",
		"redis://u:sesame%00@h",
		"redis://u:sesame%zz@h",
		"redis://[::1",
		"redis://[::1]x",
		"unix:",
		"unix:relative",
		"unix://u:sesame/path",
		"redis://h?cacert=/x",
		"unix:/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN,
	};
	struct redis_url u;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(redis_url_parse(good[i].url, &u, &err), 0);
		assert_string_equal(u.shown, good[i].shown);
		assert_string_equal(secret_reveal(&u.password), good[i].password);
		if (good[i].host)
			assert_string_equal(u.host, good[i].host);
		assert_int_equal(u.port, good[i].port);
		assert_int_equal(u.db, good[i].db);
		redis_url_clear(&u);
	}
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		memset(&err, 0, sizeof(err));
		assert_int_equal(redis_url_parse(refused[i], &u, &err), -EINVAL);
		assert_true(strlen(err.text) > 10);
		assert_null(strstr(err.text, "sesame"));
	}
}

static void speak_tls(void *arg)
{
	struct redis *r = NULL, *stranger = NULL;
	redisReply *reply = NULL;
	char url[256];

	snprintf(url, sizeof(url), "rediss://127.0.0.1:%d?cacert=%s/cert", server.port,
		 server.folder);
	CHECK(connect_to(url, &r) == 0);
	CHECK(redis_callv(r, &reply, soon(), NULL, "ECHO", "in private", NULL) == 0);
	CHECK(str_is(reply, "in private"));
	expect_replies(20000);
	for (int i = 0; i < 20000; i++)
		send_words(r, "INCR", "n", count_reply);
	CHECK(completion_wait(&tally.all, "replies", soon()) == 0);
	CHECK(tally.ok == 20000);
	/* Without cacert= nobody vouches for it. */
	snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", server.port);
	CHECK(redis_new(&(struct redis_options){ .url = url }, &stranger, NULL) == 0);
	CHECK(redis_wait_up(stranger, loop_now_ms() + 2000) == -ETIMEDOUT);
out:
	freeReplyObject(reply);
	redis_free(r);
	redis_free(stranger);
	loop_stop();
}

static void tls_is_spoken_and_the_certificate_checked(void **state)
{
	char command[512], port[16], *log;

	server_kill();
	snprintf(command, sizeof(command),
		 "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 "
		 "-subj /CN=test -addext subjectAltName=IP:127.0.0.1 2>/dev/null && touch stderr",
		 server.folder);
	assert_int_equal(system(command), 0);
	snprintf(port, sizeof(port), "%d", server.port);
	server.pid = fork();
	if (server.pid == 0) {
		if (chdir(server.folder) == 0)
			execlp("redis-server", "redis-server", "--port", "0", "--tls-port", port,
			       "--tls-cert-file", "cert", "--tls-key-file", "key",
			       "--tls-auth-clients", "no", "--save", "", "--logfile", "log", NULL);
		_exit(127);
	}
	log = stderr_of(speak_tls);
	assert_non_null(strstr(log, "certificate"));
	free(log);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_read_and_refused),
		T(commands_over_both_kinds_of_socket),
		T(arguments_are_bytes_and_numbers),
		T(errors_carry_redis_words),
		T(a_database_is_selected),
		T(passwords_are_sent_and_never_shown),
		T(scripts_survive_being_flushed),
		T(a_failing_script_is_a_refusal),
		T(a_hundred_thousand_commands_in_one_go),
		T(a_large_value_goes_both_ways),
		T(a_slow_upload_is_no_silence),
		T(a_server_that_is_loading_is_waited_for),
		T(nonsense_ends_the_connection_and_no_more),
		T(killed_and_restarted_it_reconnects),
		T(a_dropped_connection_keeps_the_run),
		T(a_frozen_server_is_noticed),
		T(an_idle_connection_is_left_alone),
		T(a_waiting_coroutine_can_be_cancelled),
		T(down_means_refused_but_never_at_once),
		T(it_may_be_freed_in_its_own_callback),
		T(it_may_be_dropped_in_its_own_callback),
		T(who_waits_for_it_hears_that_it_was_freed),
		T(messages_and_invalidations_are_heard),
		T(its_clock_is_known),
		T(a_restricted_user_can_work),
		T(a_replica_is_left_for_another),
		T(a_replica_that_says_so_of_a_script_is_left_too),
		T(a_full_server_refuses_for_now),
		T(too_many_clients_is_said_and_tried_again),
		T(a_name_is_resolved_and_a_wrong_one_is_no_end),
		T(tls_is_spoken_and_the_certificate_checked),
	};

	log_init("test", LOG_INFO, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
