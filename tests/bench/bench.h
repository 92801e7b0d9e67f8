/* What the benchmark programs share: each makes one measurement and prints it as one JSON object on one line;
 * tests/bench/run does the rounds, medians and ratios.  A failure is said on stderr and ends the
 * program with 1, so that no figure comes from work that was not done. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/io/redis.h"

static inline void bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* User and system time of this process so far. */
static inline double bench_cpu_us(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static inline int64_t bench_int(const char *text)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	if (end == text || *end || n < 0)
		bench_die("\"%s\" is not a number", text);
	return n;
}

/* ---- a plain blocking connection ---- */
static inline redisContext *bench_redis(int64_t port)
{
	redisContext *c = redisConnect("127.0.0.1", (int)port);

	if (!c || c->err)
		bench_die("redis on port %lld: %s", (long long)port, c ? c->errstr : "no memory");
	return c;
}

/* The next answer of the pipeline; the caller frees. */
static inline redisReply *bench_reply(redisContext *c)
{
	redisReply *reply = NULL;

	if (redisGetReply(c, (void **)&reply) != REDIS_OK)
		bench_die("redis: %s", c->errstr);
	if (reply->type == REDIS_REPLY_ERROR)
		bench_die("redis: %s", reply->str);
	return reply;
}

/* What Redis itself has used so far, user and system. */
static inline double bench_redis_cpu_us(redisContext *c)
{
	static const char *const fields[] = { "used_cpu_sys:", "used_cpu_user:" };
	double seconds = 0;

	redisAppendCommand(c, "INFO cpu");
	redisReply *reply = bench_reply(c);
	for (int i = 0; i < 2; i++) {
		const char *at = strstr(reply->str, fields[i]);

		if (!at)
			bench_die("redis: INFO has no %s", fields[i]);
		seconds += strtod(at + strlen(fields[i]), NULL);
	}
	freeReplyObject(reply);
	return seconds * 1e6;
}

static inline void bench_load(redisContext *c, struct redis_script *s)
{
	redisAppendCommand(c, "SCRIPT LOAD %s", s->source);
	redisReply *reply = bench_reply(c);

	snprintf(s->sha, sizeof(s->sha), "%s", reply->str);
	freeReplyObject(reply);
}

/* Adds EVALSHA with these keys and arguments to the pipeline. */
static inline void bench_script(redisContext *c, const struct redis_script *s, int n_keys,
				const struct redis_args *a)
{
	struct redis_args all;

	redis_args_init(&all);
	redis_arg(&all, "EVALSHA");
	redis_arg(&all, s->sha);
	redis_arg_int(&all, n_keys);
	for (int i = 0; i < a->n; i++)
		redis_arg_bytes(&all, a->v[i], a->len[i]);
	redisAppendCommandArgv(c, all.n, all.v, all.len);
	redis_args_clear(&all);
}

#endif
