/* A redis-server of a test's own, in a folder of its own, on a unix socket, for the tests of common/queue: what they
 * prove is what the scripts do.  It is stopped, by its pid, and the folder removed.  Also runs a body in a
 * coroutine on the loop, and has a plain blocking connection to look at keys with. */
#ifndef TESTS_UNIT_QUEUE_REDIS_H
#define TESTS_UNIT_QUEUE_REDIS_H

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/io/redis.h"

static struct {
	pid_t pid;
	char folder[64], socket[80], url[96];
	redisContext *plain;
} server;

static int checks_failed;
/* For coroutines, where cmocka's longjmp must not go. */
#define CHECK(x)                                                                          \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			checks_failed++;                                                  \
		}                                                                         \
	} while (0)

static inline int64_t soon(void)
{
	return loop_now_ms() + 60000; /* on any machine */
}

/* Of this process alone, forked or not. */
static inline const char *own_epoch(void)
{
	static char epoch[24];

	snprintf(epoch, sizeof(epoch), "e-%d", (int)getpid());
	return epoch;
}

static inline redisContext *plain_connect(void)
{
	for (int i = 0; i < 500; i++) {
		redisContext *c = redisConnectUnix(server.socket);
		redisReply *reply = c && !c->err ? redisCommand(c, "PING") : NULL;

		if (reply && reply->type == REDIS_REPLY_STATUS) {
			freeReplyObject(reply);
			return c;
		}
		freeReplyObject(reply);
		redisFree(c);
		usleep(10000);
	}
	return NULL;
}

/* extra: one more setting and its value, or NULL. */
static inline int server_start(const char *setting, const char *value)
{
	snprintf(server.folder, sizeof(server.folder), "/tmp/longshore-test-XXXXXX");
	if (!mkdtemp(server.folder))
		return -1;
	snprintf(server.socket, sizeof(server.socket), "%s/redis", server.folder);
	snprintf(server.url, sizeof(server.url), "unix:%s", server.socket);
	server.pid = fork();
	if (server.pid == 0) {
		char log[96];

		snprintf(log, sizeof(log), "%s/log", server.folder);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server.socket,
		       "--dir", server.folder, "--save", "", "--logfile", log, setting, value,
		       NULL);
		_exit(127);
	}
	server.plain = plain_connect();
	return server.plain ? 0 : -1;
}

static inline void server_stop(void)
{
	char log[96];

	redisFree(server.plain);
	kill(server.pid, SIGKILL);
	waitpid(server.pid, NULL, 0);
	snprintf(log, sizeof(log), "%s/log", server.folder);
	unlink(log);
	unlink(server.socket);
	rmdir(server.folder);
}

/* Words with blanks between; %s and %b as hiredis has them.  Never NULL. */
static inline redisReply *plain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	redisReply *reply = redisvCommand(server.plain, fmt, ap);
	va_end(ap);
	if (!reply) {
		fprintf(stderr, "redis: %s\n", server.plain->errstr);
		abort();
	}
	return reply;
}

static inline long long plain_int(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	redisReply *reply = redisvCommand(server.plain, fmt, ap);
	va_end(ap);
	long long n = reply && reply->type == REDIS_REPLY_INTEGER  ? reply->integer
		      : reply && reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
								   : -1;
	freeReplyObject(reply);
	return n;
}

/* A key that is there now, or NULL; the caller frees. */
static inline char *some_key_but(const char *const *allowed)
{
	redisReply *keys = plain("KEYS *");
	char *found = NULL;

	for (size_t i = 0; i < keys->elements && !found; i++) {
		bool fine = false;

		for (const char *const *a = allowed; *a && !fine; a++)
			fine = strncmp(keys->element[i]->str, *a, strlen(*a)) == 0;
		if (!fine)
			found = mem_strdup(keys->element[i]->str);
	}
	freeReplyObject(keys);
	return found;
}

/* ---- on the loop ---- */

static struct redis *conn;
static void (*run_body)(void);

static inline void run_co(void *arg)
{
	CHECK(redis_wait_up(conn, soon()) == 0);
	if (redis_is_up(conn))
		run_body();
	loop_stop();
}

static inline void run(void (*body)(void))
{
	/* A slow machine takes its time for a reply of megabytes. */
	struct redis_options o = { .url = server.url, .client_name = "test", .timeout_ms = 30000 };
	struct err err = { 0 };

	checks_failed = 0;
	freeReplyObject(plain("FLUSHALL"));
	run_body = body;
	CHECK(loop_init() == 0);
	CHECK(redis_new(&o, &conn, &err) == 0);
	CHECK(co_spawn("test", run_co, NULL) != NULL);
	loop_run();
	redis_free(conn);
	loop_close();
}

#endif
